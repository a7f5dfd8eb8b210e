package perform_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/port"
)

// state is what a reader sees: content by key.
func state(t *testing.T, b objectstore.Bucket) map[string]string {
	t.Helper()
	all := map[string]string{}
	for o, err := range b.List(t.Context(), "") {
		var body []byte
		if err == nil {
			body, _, err = b.Get(t.Context(), o.Key)
		}
		if err != nil {
			t.Fatal(err)
		}
		all[o.Key] = string(body)
	}
	return all
}

// stir writes and deletes at random.
func stir(t *testing.T, r *rand.Rand, b objectstore.Bucket, n int) {
	t.Helper()
	for range n {
		key := fmt.Sprintf("p/%s/%020d.json", []string{"t/_delta_log", "data"}[r.IntN(2)], r.IntN(12))
		var err error
		if r.IntN(3) == 0 {
			_, err = b.Delete(t.Context(), key)
		} else {
			_, err = b.Put(t.Context(), key, []byte(fmt.Sprint(r.IntN(5))))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

var free = table.Work{Guard: func(context.Context) error { return nil }, Progress: func(int64, int64, string) {}}

// dying is a store that breaks after so many changes.
type dying struct {
	*memory.Store
	left *atomic.Int64
}

var errDied = errors.New("it died")

func (d dying) may() error {
	if d.left.Add(-1) < 0 {
		return errDied
	}
	return nil
}

func (d dying) DeleteMany(ctx context.Context, bucket string, all []objectstore.Deletion) (int, error) {
	for i, one := range all {
		if err := d.may(); err != nil {
			return i, err
		}
		if _, err := d.Store.DeleteMany(ctx, bucket, []objectstore.Deletion{one}); err != nil {
			return i, err
		}
	}
	return len(all), nil
}

func (d dying) Copier() objectstore.Copier { return dyingCopier{d, d.Store.Copier()} }

type dyingCopier struct {
	d  dying
	of objectstore.Copier
}

func (c dyingCopier) Copy(ctx context.Context, r objectstore.CopyRequest) (objectstore.Object, error) {
	if err := c.d.may(); err != nil {
		return objectstore.Object{}, err
	}
	return c.of.Copy(ctx, r)
}

// world is a bucket that was stirred, and what it held at a time between.
type world struct {
	server *memory.Server
	place  perform.Place
	was    map[string]string
	now    map[string]string
}

func newWorld(t *testing.T, seed uint64) world {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // to be drawn again
	m := memory.New()
	m.Create("lake", memory.Versioned)
	b := objectstore.Bind(m.Owner(), "lake")
	stir(t, r, b, 40)
	w := world{server: m, was: state(t, b), place: perform.Place{From: b, Prefix: "p/", To: b, ToPrefix: "p/", At: time.Now(), Entries: port.Format{}.Entry}}
	stir(t, r, b, 40)
	w.now = state(t, b)
	return w
}

// draw draws a place, and keeps the lines.
func draw(t *testing.T, p perform.Place, choice rewind.Choice, shown int) (d perform.Drawn, lines []rewind.Line, err error) {
	t.Helper()
	d, err = p.Draw(t.Context(), choice, shown, func() perform.Put {
		lines = nil
		return func(_ context.Context, more []rewind.Line) error { lines = append(lines, more...); return nil }
	})
	return d, lines, err
}

func (w world) draw(t *testing.T, unmark bool) []rewind.Line {
	t.Helper()
	_, lines, err := draw(t, w.place, rewind.Choice{Unmark: unmark}, 3)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// parts cuts lines into parts of a size.
func parts(lines []rewind.Line, size int) (all perform.Lines) {
	for part := range slices.Chunk(lines, size) {
		all = append(all, perform.Whole(part)...)
	}
	return all
}

func (w world) is(t *testing.T, when string, want map[string]string) {
	t.Helper()
	if got := state(t, w.place.To); !maps.Equal(got, want) {
		t.Errorf("%s it is %v, want %v", when, got, want)
	}
}

// Whatever was done, Apply brings it back, and the lines turned round bring that
// back; also where it is broken off again and again.
func TestThereAndBack(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed)
		lines := w.draw(t, seed%2 == 0)
		apply := func(when string, make func(b objectstore.Bucket) *perform.Changes, want map[string]string) {
			t.Helper()
			changed := int64(0)
			for attempt := 0; ; attempt++ {
				left := &atomic.Int64{}
				left.Store(int64(attempt)) // an old marker is counted again, so one at a time would never end
				n, err := make(objectstore.Bind(dying{w.server.Owner(), left}, "lake")).Apply(t.Context(), free)
				changed += n
				if err == nil {
					break
				}
				if !errors.Is(err, errDied) || attempt > 100 {
					t.Fatalf("seed %d, %s, attempt %d: %v", seed, when, attempt, err)
				}
			}
			w.is(t, when, want)
			if n, err := make(w.place.To).Apply(t.Context(), free); n != 0 || err != nil {
				t.Errorf("seed %d, %s, once more: %d changes, %v", seed, when, n, err)
			}
			if len(lines) > 0 && changed == 0 {
				t.Errorf("seed %d, %s: nothing was changed", seed, when)
			}
		}
		apply("rewound", func(b objectstore.Bucket) *perform.Changes {
			p := w.place
			p.From, p.To = b, b
			return p.Changes(parts(lines, 1+int(seed)))
		}, w.was)
		back := make([]rewind.Line, len(lines))
		for i, l := range lines {
			back[i] = l.Back()
		}
		apply("taken back", func(b objectstore.Bucket) *perform.Changes {
			return &perform.Changes{To: b, From: b, Prefixes: []string{"p/"}, Lines: parts(back, 1+int(seed)), Entries: w.place.Entries}
		}, w.now)
	}
}

// A key that is not as planned stops everything, before anything is changed.
func TestMoved(t *testing.T) {
	for name, change := range map[string]func(objectstore.Bucket, rewind.Line) error{
		"written over": func(b objectstore.Bucket, l rewind.Line) error {
			_, err := b.Put(t.Context(), l.Key, []byte("a stranger's"))
			return err
		},
		"lost what was to come back": func(b objectstore.Bucket, l rewind.Line) error {
			return b.DeleteVersion(t.Context(), l.Key, l.Then.ID)
		},
		"another key came": func(b objectstore.Bucket, _ rewind.Line) error {
			_, err := b.Put(t.Context(), "p/stranger", []byte("x"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			lines := w.draw(t, true)
			for _, l := range lines {
				if l.Do == rewind.Copy {
					if err := change(w.place.To, l); err != nil {
						t.Fatal(err)
					}
					break
				}
			}
			before := state(t, w.place.To)
			n, err := w.place.Changes(parts(lines, 2)).Apply(t.Context(), free)
			if n != 0 || !errors.Is(err, perform.ErrMoved) || !strings.Contains(err.Error(), "s3://lake/p/") {
				t.Errorf("Apply = %d, %v; want ErrMoved, by the key's name", n, err)
			}
			w.is(t, "refused,", before)
		})
	}
}

func TestGuard(t *testing.T) {
	w := newWorld(t, 2)
	no := errors.New("a newer epoch")
	work := free
	work.Guard = func(context.Context) error { return no }
	if n, err := w.place.Changes(parts(w.draw(t, true), 2)).Apply(t.Context(), work); n != 0 || !errors.Is(err, no) {
		t.Errorf("Apply = %d, %v; want the guard's error and nothing done", n, err)
	}
	w.is(t, "guarded,", w.now)
}

// The state comes to another place, which must be empty.
func TestElsewhere(t *testing.T) {
	w := newWorld(t, 3)
	w.server.Create("other", memory.Versioned)
	w.place.To, w.place.ToPrefix = objectstore.Bind(w.server.Owner(), "other"), "back/"
	lines := w.draw(t, false)
	for range 2 {
		if _, err := w.place.Changes(parts(lines, 2)).Apply(t.Context(), free); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{}
	for k, v := range w.was {
		want["back/"+strings.TrimPrefix(k, "p/")] = v
	}
	w.is(t, "elsewhere", want)
	if lines := w.draw(t, false); len(lines) > 0 {
		t.Errorf("there is still something to do: %v", lines)
	}
	if _, err := w.place.To.Put(t.Context(), "back/stranger", []byte("x")); err != nil {
		t.Fatal(err)
	}
	var taken *perform.TakenError
	if _, _, err := draw(t, w.place, rewind.Choice{}, 0); !errors.As(err, &taken) || taken.Key != "back/stranger" {
		t.Errorf("Draw over something else = %v, want that it is taken", err)
	}
}

// bare is a store that makes no exact copies.
type bare struct{ objectstore.Store }

func TestAStoreThatLacksCopies(t *testing.T) {
	w := newWorld(t, 4)
	w.place.To = objectstore.Bind(bare{w.server.Owner()}, "lake")
	w.place.From = w.place.To
	_, lines, err := draw(t, w.place, rewind.Choice{}, 0)
	if err == nil {
		_, err = w.place.Changes(perform.Whole(lines)).Apply(t.Context(), free)
	}
	if !errors.Is(err, objectstore.ErrLacks) {
		t.Errorf("%v; want a refusal that says what the store lacks", err)
	}
	w.is(t, "refused,", w.now)
}
