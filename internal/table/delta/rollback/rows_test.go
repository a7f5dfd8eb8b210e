package rollback_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/rollback"
)

// reads counts the data files that are read.
type reads struct {
	store
	mu   sync.Mutex
	data map[string]bool
}

func (r *reads) ReadAt(ctx context.Context, key string, p []byte, off int64) (int, error) {
	if !strings.Contains(key, "_delta_log") && strings.HasSuffix(key, ".parquet") {
		r.mu.Lock()
		r.data[key] = true
		r.mu.Unlock()
	}
	return r.store.ReadAt(ctx, key, p, off)
}

// sameRows looks at a table whose newest version is a restore of one over the version
// below, and says how many data files that took.
func sameRows(t *testing.T, s store, name string, target int64) (table.Look, int) {
	t.Helper()
	r := &reads{store: s, data: map[string]bool{}}
	l := open(t, r, name)
	at := func(v int64) *delta.Snapshot {
		snap, err := l.Snapshot(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		return snap
	}
	look := rollback.SameRows(t.Context(), r, l, l.Head()-1, at(target), nil, at(l.Head()), nil)
	return look, len(r.data)
}

// TestSameRowsOfEveryTable: what a restore brings back reads as the target does, and
// only the files that came back are read.
func TestSameRowsOfEveryTable(t *testing.T) {
	t.Parallel()
	read, of := 0, 0
	for _, truth := range deltatest.All(t) {
		if truth.Name == "clone_shallow" { // needs its source beside it
			continue
		}
		target := int64(-1)
		for i, v := range truth.Versions {
			if v.Readable && (target < 0 || i <= len(truth.Versions)/2) {
				target = v.Version
			}
		}
		s := load(t, truth.Name)
		p := plan(t, s, truth.Name, target)
		if p.Empty() {
			continue
		}
		commit(t, s, p, "there")
		files := map[string]bool{} // one may come back with several deletion vectors
		for _, path := range p.Added() {
			files[path] = true
		}
		look, n := sameRows(t, s, truth.Name, target)
		if !look.OK || look.Err != nil || n != len(files) {
			t.Errorf("%s to %d: %d files are read, %d came back: %+v", truth.Name, target, n, len(files), look)
		}
		read, of = read+n, of+p.Metrics.FilesAfter
	}
	if read == 0 || read >= of {
		t.Errorf("%d of %d files are read", read, of)
	}
}

// TestSameRowsIsRed breaks a restore in every way that changes what is read.
func TestSameRowsIsRed(t *testing.T) {
	t.Parallel()
	corrupt := func(l table.Look) bool { return errors.Is(l.Err, delta.ErrCorrupt) }
	unequal := func(l table.Look) bool { return l.Err == nil && !l.OK }
	sound := func(l table.Look) bool { return l.Err == nil && l.OK }
	const head, target = 8, 3
	for name, tc := range map[string]struct {
		table string
		from  string // in the restore's commit
		to    string
		data  func(t *testing.T, s store, key string) // done to a file that came back
		is    func(table.Look) bool
	}{
		"as it is":                             {table: "dv", is: sound},
		"another partition value":              {table: "dv_part_nocheckpoint", from: `"partitionValues":{"p":"`, to: `"partitionValues":{"p":"9`, is: unequal},
		"another vector":                       {table: "dv", from: `"cardinality":`, to: `"cardinality":1`, is: corrupt},
		"another number of rows":               {table: "dv", from: `numRecords\":`, to: `numRecords\":1`, is: corrupt},
		"a column with another name":           {table: "dv", from: `{\"name\":\"id\"`, to: `{\"name\":\"di\"`, is: unequal},
		"a property that says nothing of rows": {table: "dv", from: `"configuration":{`, to: `"configuration":{"a":"b",`, is: sound},
		"a file of the same size that is none": {table: "dv", is: corrupt, data: func(t *testing.T, s store, key string) {
			body, err := s.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			s.Write(key, bytes.Repeat([]byte("x"), len(body)), noon)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := load(t, tc.table)
			headAt(s, tc.table, head)
			p := plan(t, s, tc.table, target)
			commit(t, s, p, "there")
			if tc.from != "" {
				rewrite(t, s, tc.table, head+1, func(text string) string {
					changed := strings.ReplaceAll(text, tc.from, tc.to)
					if changed == text {
						t.Fatalf("the commit has no %s", tc.from)
					}
					return changed
				})
			}
			if tc.data != nil {
				tc.data(t, s, fmt.Sprintf("delta/%s/%s", tc.table, p.Added()[0]))
			}
			look, n := sameRows(t, s, tc.table, target)
			if !tc.is(look) || len(p.Added()) == 0 {
				t.Errorf("%d files read: %+v", n, look)
			}
		})
	}
}
