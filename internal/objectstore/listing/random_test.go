package listing_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/listing"
	"breakwater/internal/poll"
	"breakwater/internal/reach"
)

// shelf is a store of versions in their order, which fails now and then.
type shelf struct {
	objectstore.Store
	all   []objectstore.Version
	fails func() error // asked before each page
}

func (s *shelf) ListSpan(ctx context.Context, _ string, of objectstore.Span) iter.Seq2[objectstore.Version, error] {
	return func(yield func(objectstore.Version, error) bool) {
		size := of.Page
		if size == 0 {
			size = 1000
		}
		from := sort.Search(len(s.all), func(i int) bool { return s.all[i].Key > of.After && s.all[i].Key >= of.Prefix })
		for n, v := range s.all[from:] {
			if !strings.HasPrefix(v.Key, of.Prefix) {
				return
			}
			if n%size == 0 {
				err := poll.Wait(ctx, time.Duration(50+rand.IntN(100))*time.Millisecond)
				if err == nil && s.fails != nil {
					err = s.fails()
				}
				if err != nil {
					yield(objectstore.Version{}, err)
					return
				}
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// names are keys as they come: folders in folders of very different sizes, and
// characters of all kinds.
func names(draw *rand.Rand, n int) []string {
	parts := []string{"a", "b=1", "b=10", "part-0000", "part-0001", "0", "1", "f", "é", "日本", "\U0001f600", "_delta_log", "~", "Z", "x.y", "\uffee"}
	all := map[string]bool{}
	for len(all) < n {
		folder := ""
		for range draw.IntN(4) {
			folder += parts[int(draw.ExpFloat64()*2)%len(parts)] + "/"
		}
		for range 1 + draw.IntN(1+n/5) {
			all["p/"+folder+parts[draw.IntN(len(parts))]+fmt.Sprint(draw.IntN(1<<(4+draw.IntN(40))))] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// histories says of every key what the buckets have of it.
type histories map[string]string

func read(_ context.Context, keys []listing.Key) (histories, error) {
	h := histories{}
	for _, k := range keys {
		text := ""
		for _, side := range k {
			for _, v := range side {
				text += v.VersionID + " "
			}
			text += "| "
		}
		h[k.Name()] += text
	}
	return h, nil
}

func merge(sum *histories, part histories) {
	if *sum == nil {
		*sum = histories{}
	}
	for k, text := range part {
		(*sum)[k] += text // twice, if it was looked at twice
	}
}

// drawn are two buckets, and what a walk has to find.
func drawn(draw *rand.Rand) (all [2]*shelf, want histories) {
	all[0], all[1], want = &shelf{}, &shelf{}, histories{}
	for n, key := range names(draw, 5000+draw.IntN(10_000)) {
		var k listing.Key
		which := draw.IntN(3)
		for side := range k {
			if which == side {
				continue
			}
			versions := 1
			if n%500 == 7 {
				versions = 1 + draw.IntN(2500) // more than two pages
			} else if n%7 == 0 {
				versions += draw.IntN(4)
			}
			for i := range versions {
				k[side] = append(k[side], objectstore.Version{Object: objectstore.Object{Key: key, VersionID: fmt.Sprint(side, ".", i)}})
			}
			all[side].all = append(all[side].all, k[side]...)
		}
		if h, err := read(context.Background(), []listing.Key{k}); err == nil {
			merge(&want, h)
		}
	}
	return all, want
}

func walk(all [2]*shelf, progress func(listing.State[histories])) listing.Walk[histories] {
	return listing.Walk[histories]{
		Buckets: []objectstore.Bucket{objectstore.Bind(all[0], "source"), objectstore.Bind(all[1], "target")},
		Look:    read, Add: merge, Progress: progress, AtOnce: 8,
	}
}

func differ(t *testing.T, got, want histories) {
	t.Helper()
	wrong := 0
	for k, text := range want {
		if got[k] != text {
			if wrong++; wrong < 4 {
				t.Errorf("%q was seen as %.60q, and is %.60q", k, got[k], text)
			}
		}
	}
	if len(got) != len(want) || wrong > 0 {
		t.Errorf("%d keys, want %d; %d are wrong", len(got), len(want), wrong)
	}
}

var errGone = fmt.Errorf("no answer: %w", reach.ErrUnreachable)

// Whatever the keys are, and wherever the store fails to answer, each is looked at once,
// with all of its versions from both buckets.
func TestEachOnce(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				draw := rand.New(rand.NewPCG(seed, 1))
				all, want := drawn(draw)
				var asked, failed atomic.Int64
				all[seed%2].fails = func() error {
					if asked.Add(1)%13 == 0 {
						failed.Add(1)
						return errGone
					}
					return nil
				}
				got, err := walk(all, nil).Do(t.Context(), listing.Below[histories]("p/"))
				if err != nil || failed.Load() == 0 {
					t.Fatalf("%d failures, %v", failed.Load(), err)
				}
				differ(t, got, want)
			})
		})
	}
}

// A walk that was broken off is gone on with by another, from what it said last.
func TestGoesOn(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all, want := drawn(rand.New(rand.NewPCG(seed, 2)))
				var said []byte
				ctx, stop := context.WithCancel(t.Context())
				_, err := walk(all, func(s listing.State[histories]) {
					var e error
					if said, e = json.Marshal(s); e != nil {
						t.Error(e)
					}
					stop()
				}).Do(ctx, listing.Below[histories]("p/"))
				var s listing.State[histories]
				if e := json.Unmarshal(said, &s); e != nil {
					t.Fatal(e)
				}
				if !errors.Is(err, context.Canceled) && len(s.Left) > 0 || len(s.Sum) == 0 {
					t.Fatalf("broken off with %d keys and %d ranges left: %v", len(s.Sum), len(s.Left), err)
				}
				got, err := walk(all, nil).Do(t.Context(), s)
				if err != nil {
					t.Fatal(err)
				}
				differ(t, got, want)
			})
		})
	}
}

// A store that never answered is not waited for, one that answered before for a few
// seconds, and one that says no not at all.
func TestGivesUp(t *testing.T) {
	for name, tc := range map[string]struct {
		after int64 // pages
		with  error
		waits time.Duration
	}{
		"never answered":  {0, errGone, 0},
		"answers no more": {3, errGone, 7 * time.Second},
		"says no":         {3, fmt.Errorf("no: %w", fs.ErrPermission), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all, _ := drawn(rand.New(rand.NewPCG(1, 3)))
				var asked atomic.Int64
				var since time.Time
				all[1].fails = func() error {
					if asked.Add(1) <= tc.after {
						return nil
					}
					if since.IsZero() {
						since = time.Now()
					}
					return tc.with
				}
				_, err := walk(all, nil).Do(t.Context(), listing.Below[histories]("p/"))
				var at *listing.BucketError
				if !errors.As(err, &at) || at.Bucket != 1 || !errors.Is(err, tc.with) {
					t.Fatal(err)
				}
				if took := time.Since(since); took < tc.waits || took > tc.waits+3*time.Second {
					t.Errorf("it took %s, want about %s", took, tc.waits)
				}
			})
		})
	}
}

// deafTo lists from the beginning, wherever it is to begin.
type deafTo struct{ *shelf }

func (s deafTo) ListSpan(ctx context.Context, bucket string, of objectstore.Span) iter.Seq2[objectstore.Version, error] {
	of.After = ""
	return s.shelf.ListSpan(ctx, bucket, of)
}

// From a listing that is not in order nothing is concluded.
func TestDisorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, _ := drawn(rand.New(rand.NewPCG(1, 4)))
		w := walk(all, nil)
		w.Buckets[1] = objectstore.Bind(deafTo{all[1]}, "target")
		late := listing.State[histories]{Left: []listing.Range{{Prefix: "p/", After: all[1].all[3000].Key}}}
		if _, err := w.Do(t.Context(), late); err == nil || !strings.Contains(err.Error(), "order") {
			t.Errorf("who lists from the beginning: %v", err)
		}
		slices.Reverse(all[0].all)
		if _, err := walk(all, nil).Do(t.Context(), listing.Below[histories]("p/")); err == nil || !strings.Contains(err.Error(), "order") {
			t.Errorf("out of order: %v", err)
		}
	})
}
