package location_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/location"
)

// putting writes to a bucket as a table's writer does.
type putting struct{ location.Bucket }

func (p putting) Put(ctx context.Context, key string, body []byte) error {
	_, err := p.Of.Put(ctx, key, body)
	return err
}

// TestArchivedIsNotComplete: a live file that lies in an archive is there and cannot be
// read: its version is not complete, and says what to do; a restored one is as any other.
func TestArchivedIsNotComplete(t *testing.T) {
	for _, tc := range []struct {
		class    string
		restored bool
		whole    bool
	}{{"GLACIER", false, false}, {"DEEP_ARCHIVE", false, false}, {"GLACIER", true, true}, {"GLACIER_IR", true, true}} {
		m := memory.New()
		m.Create("lake", memory.Versioned)
		b := location.Bucket{Of: objectstore.Bind(m.Owner(), "lake")}
		root := table.Root{Bucket: "lake", Prefix: "t"}
		clock := time.Now().Add(-time.Hour)
		w, err := write.Create(t.Context(), putting{b}, root, []write.Column{{Name: "id", Type: write.Int64}}, write.Options{Now: func() time.Time { return clock }})
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
		lacks, n, err := table.Lacking(s.Closure(), b.List(t.Context(), "t/"))
		if err != nil || n == 0 || (len(lacks) == 0) != tc.whole || p.Complete != tc.whole {
			t.Errorf("%s, restored %v: %d of %d lack, complete %v, %v; want whole %v", tc.class, tc.restored, len(lacks), n, p.Complete, err, tc.whole)
		}
		if !tc.whole && (len(p.Lacks) != 1 || p.Lacks[0].Fault != table.Archived || !strings.Contains(p.Lacks[0].String(), "restore it from there first")) {
			t.Errorf("%s: it says %v", tc.class, p.Lacks)
		}
	}
}
