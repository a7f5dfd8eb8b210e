package location_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/rollback"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/location"
)

// TestArchivedIsNotComplete: a live file that lies in an archive is there and cannot be
// read: its version is not complete, and says what to do; a restored one is as any other.
func TestArchivedIsNotComplete(t *testing.T) {
	for _, tc := range []struct {
		class    string
		restored bool
		whole    bool
	}{{"GLACIER", false, false}, {"DEEP_ARCHIVE", false, false}, {"GLACIER", true, true}, {"GLACIER_IR", true, true},
		{"INTELLIGENT_TIERING", false, false}, {"INTELLIGENT_TIERING", true, true}} {
		m := memory.New()
		m.Create("lake", memory.Versioned)
		b := location.Bucket{Of: objectstore.Bind(m.Owner(), "lake")}
		root := table.Root{Bucket: "lake", Prefix: "t"}
		clock := time.Now().Add(-time.Hour)
		w, err := write.Create(t.Context(), deltatest.Writing{Bucket: b}, root, []write.Column{{Name: "id", Type: write.Int64}}, write.Options{Now: func() time.Time { return clock }})
		if err == nil {
			_, err = w.Append(t.Context(), []write.Row{{int64(1)}})
		}
		if err != nil {
			t.Fatal(err)
		}
		for o, err := range b.List(t.Context(), "t/") {
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(o.Key, ".parquet") {
				if err := m.Archive("lake", o.Key, tc.class, tc.restored); err != nil {
					t.Fatal(err)
				}
			}
		}
		l, err := delta.Open(t.Context(), b, root)
		if err != nil {
			t.Fatal(err)
		}
		head := l.Head()
		p, err := l.Point(t.Context(), table.Choice{Version: &head})
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Snapshot(t.Context(), l.Head())
		if err != nil {
			t.Fatal(err)
		}
		lacks, n, err := table.Lacking(t.Context(), s.Closure(), b.List(t.Context(), "t/"))
		if err != nil || n == 0 || (len(lacks) == 0) != tc.whole || p.Complete != tc.whole {
			t.Errorf("%s, restored %v: %d of %d lack, complete %v, %v; want whole %v", tc.class, tc.restored, len(lacks), n, p.Complete, err, tc.whole)
		}
		if !tc.whole && (len(p.Lacks) != 1 || p.Lacks[0].Fault != table.Archived || !strings.Contains(p.Lacks[0].String(), "restore it from there first")) {
			t.Errorf("%s: it says %v", tc.class, p.Lacks)
		}
	}
}

// counted is a store that counts how often it is asked about single objects.
type counted struct {
	objectstore.Store
	asked *atomic.Int64
}

func (c counted) Head(ctx context.Context, bucket, key string) (objectstore.Object, error) {
	c.asked.Add(1)
	return c.Store.Head(ctx, bucket, key)
}

// TestTieredObjectsAreAskedOnce: of the objects that Intelligent-Tiering may have moved to
// an archive, those that are needed are asked, once each, and no other; a rollback to a
// version that needs such a one is refused with the next move.
func TestTieredObjectsAreAskedOnce(t *testing.T) {
	m := memory.New()
	m.Create("lake", memory.Versioned)
	var asked atomic.Int64
	b := location.Bucket{Of: objectstore.Bind(counted{m.Owner(), &asked}, "lake")}
	root := table.Root{Bucket: "lake", Prefix: "t"}
	w, err := write.Create(t.Context(), deltatest.Writing{Bucket: b}, root, []write.Column{{Name: "id", Type: write.Int64}}, write.Options{})
	for id := range int64(5) {
		if err == nil {
			_, err = w.Append(t.Context(), []write.Row{{id}})
		}
	}
	if err == nil {
		_, err = b.Of.Put(t.Context(), "t/nobodys.parquet", []byte("of no version"))
	}
	if err != nil {
		t.Fatal(err)
	}
	for o, err := range b.List(t.Context(), "t/") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(o.Key, ".parquet") {
			if err := m.Archive("lake", o.Key, "INTELLIGENT_TIERING", true); err != nil {
				t.Fatal(err)
			}
		}
	}
	l, err := delta.Open(t.Context(), b, root)
	if err != nil {
		t.Fatal(err)
	}
	asked.Store(0)
	n, err := l.NewestComplete(t.Context(), time.Time{})
	if err != nil || n.Snapshot.Version.Number != l.Head() || asked.Load() != 5 {
		t.Errorf("newest complete: %+v, %v; %d objects were asked, want 5", n.Snapshot, err, asked.Load())
	}
	if _, err := rollback.New(t.Context(), b, l, 2); err != nil {
		t.Errorf("rollback: %v", err)
	}
	s, err := l.Snapshot(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	for f := range s.Files() {
		if err := m.Archive("lake", f.Needs()[0].Key, "INTELLIGENT_TIERING", false); err != nil {
			t.Fatal(err)
		}
		break
	}
	if _, err := rollback.New(t.Context(), b, l, 2); err == nil || !strings.Contains(err.Error(), "lies in an archive: restore it from there first") {
		t.Errorf("rollback to a version with a file in an archive: %v", err)
	}
	asked.Store(0)
	readable := 0
	for s, err := range l.States(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if s.Complete() {
			readable++
		}
	}
	if asked.Load() != 5 || readable == 0 || readable == 6 {
		t.Errorf("%d versions can be read, and %d objects were asked, want 5", readable, asked.Load())
	}
}
