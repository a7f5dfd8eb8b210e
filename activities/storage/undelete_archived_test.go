package storage

import (
	"errors"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/port"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/location"
)

// TestUndeleteFromAnArchive: whether it was deleted or not, an object in an archive leaves
// the version unreadable, so that the plan says to restore it first.
func TestUndeleteFromAnArchive(t *testing.T) {
	for name, tc := range map[string]struct {
		class             string
		restored, deleted bool
		refused           bool
	}{
		"deleted, in Glacier":             {"GLACIER", false, true, true},
		"deleted, and restored":           {"GLACIER", true, true, false},
		"deleted, tiered down":            {"INTELLIGENT_TIERING", false, true, true},
		"deleted, tiered, and readable":   {"INTELLIGENT_TIERING", true, true, false},
		"there, tiered down":              {"INTELLIGENT_TIERING", false, false, true},
		"deleted, read at once":           {"GLACIER_IR", true, true, false},
		"deleted, in a class like others": {"STANDARD_IA", true, true, false},
	} {
		m := memory.New()
		m.Create("lake", memory.Versioned)
		b := objectstore.Bind(m.Owner(), "lake")
		site := lake.Table{Name: "t", Region: "here", Bucket: b, Format: port.Format{}, Store: location.Bucket{Of: b}, Root: table.Root{Bucket: "lake", Prefix: "t"}}
		w, err := write.Create(t.Context(), deltatest.Writing{Bucket: location.Bucket{Of: b}}, site.Root, []write.Column{{Name: "id", Type: write.Int64}}, write.Options{})
		if err == nil {
			_, err = w.Append(t.Context(), []write.Row{{int64(1)}})
		}
		var snap table.Snapshot
		if err == nil {
			var l table.Table
			if l, err = site.Open(t.Context()); err == nil {
				snap, err = l.Snapshot(t.Context(), 1)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		for f, err := range snap.Closure() {
			if err != nil || !strings.HasSuffix(f.Key, ".parquet") {
				continue
			}
			if err := m.Archive("lake", f.Key, tc.class, tc.restored); err != nil {
				t.Fatal(err)
			}
			if tc.deleted {
				if _, err := b.Delete(t.Context(), f.Key); err != nil {
					t.Fatal(err)
				}
			}
		}
		u, err := site.Undelete(t.Context(), snap, false)
		switch refused := errors.Is(err, action.ErrRefused); {
		case tc.refused != refused, !refused && err != nil:
			t.Errorf("%s: %v; want refused %v", name, err, tc.refused)
		case refused && (!strings.Contains(err.Error(), "s3://lake/t/part-") || !strings.Contains(err.Error(), "restore it from there first")):
			t.Errorf("%s: it says %v", name, err)
		case !refused && len(u.Lines) != 1:
			t.Errorf("%s: lines %+v", name, u.Lines)
		}
	}
}
