package backup

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/backup/depot"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/madeup"
)

// heap is a backup place with a number of objects that nobody has stored: a third of
// them is named by the one backup, a fifth is held for long, a seventh was never held.
type heap struct {
	objectstore.Vault
	keys    *madeup.Store
	objects int64
	now     time.Time
	without int64 // the number of an object that is not there; -1 for none
	seals   atomic.Int64
	most    atomic.Int64 // bytes in use at the looks at it
	mu      sync.Mutex
	gone    amount
}

const heapTables = 4

func heapKey(i int64) string {
	return "orders/data/000000000001/" + strconv.FormatUint(uint64(i)<<20|1<<60, 16)
}

func newHeap(objects, without int64) *heap {
	h := &heap{objects: objects, now: time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC), without: without}
	n := objects + heapTables
	if without >= 0 {
		n--
	}
	h.keys = &madeup.Store{Keys: madeup.Keys{N: n, Key: func(i int64) string {
		if without >= 0 && i >= without {
			i++
		}
		if i < objects {
			return "p/" + heapKey(i)
		}
		return fmt.Sprint("p/orders/lists/", i-objects)
	}}}
	return h
}

func (*heap) Endpoint() string { return "made up" }

func (h *heap) ListVersions(ctx context.Context, bucket, prefix string) iter.Seq2[objectstore.Version, error] {
	return h.keys.ListVersions(ctx, bucket, prefix)
}

func (h *heap) ListSpan(ctx context.Context, bucket string, of objectstore.Span) iter.Seq2[objectstore.Version, error] {
	return h.keys.ListSpan(ctx, bucket, of)
}

func (h *heap) Seal(_ context.Context, _, key, _ string) (s objectstore.Sealed, _ error) {
	if h.seals.Add(1)%max(h.objects/8, 1) == 0 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		h.most.Store(max(h.most.Load(), int64(m.HeapAlloc)))
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(key, "p/orders/data/000000000001/"), 16, 64)
	if err != nil {
		return s, fs.ErrNotExist
	}
	s.Hold.Until = h.until(int64(n &^ (1 << 60) >> 20))
	return s, nil
}

func (h *heap) until(i int64) time.Time {
	switch {
	case i%5 == 0:
		return h.now.AddDate(1, 0, 0)
	case i%7 == 0:
		return time.Time{}
	}
	return h.now.AddDate(0, 0, -1)
}

// VersionReader writes a table's list as it is read.
func (h *heap) VersionReader(_ context.Context, _, key, _ string) (io.ReadCloser, objectstore.Object, error) {
	r, w := io.Pipe()
	go func() {
		b := bufio.NewWriter(w)
		e := json.NewEncoder(b)
		var err error
		for i := 3 * int64(key[len(key)-1]-'0'); i < h.objects && err == nil; i += 3 * heapTables {
			err = e.Encode(backup.Object{Key: "k", Copy: backup.Stored{Key: heapKey(i), Version: "v", Size: 1}})
		}
		_ = w.CloseWithError(errors.Join(err, b.Flush()))
	}()
	return r, objectstore.Object{}, nil
}

func (h *heap) DeleteMany(_ context.Context, _ string, all []objectstore.Deletion) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range all {
		h.gone.take(backup.Stored{Key: strings.TrimPrefix(d.Key, "p/"), Version: d.VersionID, Size: 1})
	}
	return len(all), nil
}

// expiring looks at the heap with so much of what is needed in memory.
func (h *heap) expiring(atMost int) *expiring {
	m := backup.Manifest{Group: "orders", Seq: 2, LockedUntil: h.now.AddDate(0, 1, 0)}
	for i := range int64(heapTables) {
		t := backup.Table{Table: fmt.Sprint("table ", i), List: backup.Stored{Key: fmt.Sprint("orders/lists/", i), Version: "v", Size: 1}}
		for o := 3 * i; o < h.objects; o += 3 * heapTables {
			t.Objects, t.Bytes = t.Objects+1, t.Bytes+1
		}
		m.Tables = append(m.Tables, t)
	}
	return &expiring{
		Backups: lake.Backups{
			Depot: depot.Depot{Reader: h, Bucket: "vault", Prefix: "p/"}, Group: &estate.Group{Group: "orders"},
			All: []backup.Found{{Seq: 2, SHA256: "two", Manifest: m}},
		},
		now: h.now, folders: []string{"orders/"}, known: map[int64]bool{2: true}, atMost: atMost,
	}
}

var quiet = action.Request{Progress: func(int64, int64, string) {}, Guard: func(context.Context) error { return nil }}

// What there is and what is needed need not fit into memory, and the plan names a few of
// what goes, however much that is: exactly what no backup needs and no lock holds.
func TestExpireGrowsWithNothing(t *testing.T) {
	const atMost = 5_000
	plan := func(objects int64) (bytes int, most int64) {
		h := newHeap(objects, -1)
		x := h.expiring(atMost)
		var goes, kept amount
		unheld := int64(0)
		for i := range objects {
			v := backup.Stored{Key: heapKey(i), Version: "v", Size: 1}
			switch until := h.until(i); {
			case i%3 == 0: // needed
			case backup.Free(until, h.now):
				goes.take(v)
			default:
				kept.take(v)
				if until.IsZero() {
					unheld++
				}
			}
		}
		is, err := x.surveyOf(quiet, x.All, nil).do(t.Context())
		if err != nil || is.goes != goes || is.kept != kept || is.unheld != unheld || is.lacking > 0 || is.named != (objects+2)/3+heapTables || len(is.first) != shown {
			t.Fatalf("of %d objects %d go, want %d; %d are kept, want %d; %d of %d lack; %v", objects, is.goes.Count, goes.Count, is.kept.Count, kept.Count, is.lacking, is.named, err)
		}
		p := expirePlan{Newest: backup.Link{Seq: 2, SHA256: "two"}, Goes: &is.goes, Kept: &is.kept, Shown: is.first}
		ch, err := x.change(p, nil, is.rest, is.probes)
		if err != nil {
			t.Fatal(err)
		}
		r := &removing{expiring: x, c: quiet, expirer: h, planned: goes.Count}
		if err := r.do(t.Context(), p); err != nil || h.gone != goes || r.removed != goes {
			t.Errorf("%d were removed, and counted as %d, want %d; %v", h.gone.Count, r.removed.Count, goes.Count, err)
		}
		return len(ch.Data), h.most.Load()
	}
	small, before := plan(8_000)
	large, after := plan(80_000)
	if large > small+20 {
		t.Errorf("a plan has %d bytes, and one of ten times as many objects %d", small, large)
	}
	t.Logf("%d MB in use, and %d MB with ten times as many objects", before>>20, after>>20)
	if after > before+6<<20 {
		t.Errorf("%d bytes in use, and %d with ten times as many objects", before, after)
	}
}

// Of what a backup needs and does not have the first is named, in whichever stretch it is;
// and a plan from which something else would follow by now is refused before anything goes.
func TestExpireLooksFirst(t *testing.T) {
	for _, without := range []int64{0, 3, 5997} {
		x := newHeap(6000, without).expiring(500)
		is, err := x.surveyOf(quiet, x.All, nil).do(t.Context())
		if err != nil || is.lacking != 1 || !strings.Contains(is.lacks, heapKey(without)) {
			t.Errorf("without %d: %d lack, the first: %s; %v", without, is.lacking, is.lacks, err)
		}
	}
	h := newHeap(6000, -1)
	x := h.expiring(500)
	is, err := x.surveyOf(quiet, x.All, nil).do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*expirePlan){
		"more is held":           func(p *expirePlan) { p.Kept.Count-- },
		"something else is held": func(p *expirePlan) { p.Kept.Digest[2]++ },
		"more would go":          func(p *expirePlan) { p.Goes.Count-- },
		"something else would":   func(p *expirePlan) { p.Goes.Digest[0]++ },
		"a manifest is gone":     func(p *expirePlan) { p.Staying = append(p.Staying, backup.Link{Seq: 1, SHA256: "one"}) },
		"a manifest is another":  func(p *expirePlan) { p.Newest.SHA256 = "other" },
	} {
		goes, kept := is.goes, is.kept
		p := expirePlan{Newest: backup.Link{Seq: 2, SHA256: "two"}, Staying: []backup.Link{{Seq: 2, SHA256: "two"}}, Goes: &goes, Kept: &kept}
		change(&p)
		r := &removing{expiring: x, c: quiet, expirer: h}
		if err := r.do(t.Context(), p); err == nil || !strings.Contains(err.Error(), action.ErrMoved.Error()) || h.gone.Count > 0 {
			t.Errorf("%s: %v, and %d were removed", what, err, h.gone.Count)
		}
	}
}
