package rows_test

import (
	"errors"
	"hash/crc32"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/deltatest/damage"
	"breakwater/internal/table/delta/rows"
)

func snapshot(t testing.TB, s table.Store, prefix string, v int64) *delta.Snapshot {
	t.Helper()
	l, err := delta.Open(t.Context(), s, table.Root{Bucket: deltatest.Bucket, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	snap, err := l.Snapshot(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// reading reads with an allocator that tells at the end of the test whether all
// that was taken was given back.
func reading(t testing.TB, s table.Store, snap *delta.Snapshot) *rows.Table {
	t.Helper()
	tab, err := rows.Of(s, snap)
	if err != nil {
		t.Fatal(err)
	}
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	t.Cleanup(func() { mem.AssertSize(t, 0) })
	tab.Memory = mem
	return tab
}

// The rows of every readable version of every fixture are the engine's, read
// whole and read by that one column.
func TestRowsAreTheEngines(t *testing.T) {
	store := deltatest.Loaded(t)
	var read int
	for truth, want := range deltatest.Readable(t) {
		tab := reading(t, store, snapshot(t, store, "delta/"+truth.Name, want.Version))
		for _, columns := range [][]string{nil, {"id"}} {
			n, sum, crc := sums(t, tab, columns)
			if n != want.Rows || sum != want.SumID || crc != want.CRC32Sum {
				t.Errorf("%s at version %d, columns %v: rows %d, sum %d, crc %d; want %d, %d, %d", truth.Name, want.Version, columns, n, sum, crc, want.Rows, want.SumID, want.CRC32Sum)
			}
		}
		read++
	}
	if read < 250 {
		t.Errorf("only %d versions were read", read)
	}
}

func sums(t *testing.T, tab *rows.Table, columns []string) (n, sum, crc int64) {
	t.Helper()
	r, err := tab.Read(t.Context(), columns)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	for r.Next() {
		b := r.RecordBatch()
		at := b.Schema().FieldIndices("id")
		for i := range int(b.NumRows()) {
			var id int64
			switch c := b.Column(at[0]).(type) {
			case *array.Int64:
				id = c.Value(i)
			case *array.Int32:
				id = int64(c.Value(i))
			default:
				t.Fatalf("id is %s", c.DataType())
			}
			n, sum = n+1, sum+id
			crc += int64(crc32.ChecksumIEEE([]byte(strconv.FormatInt(id, 10))))
		}
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return n, sum, crc
}

// Without columns the rows are still counted, hidden ones not among them, and
// nothing but the ends of files is read.
func TestCountNeedsNoColumn(t *testing.T) {
	s := deltatest.Loaded(t, "dv")
	tab := reading(t, s, snapshot(t, s, "delta/dv", 5))
	r, err := tab.Read(t.Context(), []string{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	var n int64
	for r.Next() {
		n += r.RecordBatch().NumRows()
	}
	whole, _, _ := sums(t, tab, nil)
	if r.Err() != nil || n != whole || n == 0 {
		t.Errorf("counted %d of %d rows, %v", n, whole, r.Err())
	}
}

// Rows come in the same order each time, whatever file is read first.
func TestOrderStays(t *testing.T) {
	s := deltatest.Loaded(t, "many_commits")
	tab := reading(t, s, snapshot(t, s, "delta/many_commits", 20))
	ids := func() (ids []string) {
		r, err := tab.Read(t.Context(), []string{"id"})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Release()
		for r.Next() {
			c := r.RecordBatch().Column(0)
			for i := range c.Len() {
				ids = append(ids, c.ValueStr(i))
			}
		}
		return ids
	}
	first := strings.Join(ids(), " ")
	for range 5 {
		if again := strings.Join(ids(), " "); again != first || again == "" {
			t.Fatalf("%s, then %s", first, again)
		}
	}
}

// A reader that is let go in the middle gives everything back, and stops
// reading. table's allocator looks.
func TestReleasedEarly(t *testing.T) {
	s := deltatest.Loaded(t, "many_commits")
	tab := reading(t, s, snapshot(t, s, "delta/many_commits", 20))
	for read := range 3 {
		r, err := tab.Read(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for range read {
			if !r.Next() {
				t.Fatal(r.Err())
			}
		}
		r.Release()
	}
}

// What is damaged is an error that names the table and the file, after which
// nothing more comes.
func TestDamageIsAnError(t *testing.T) {
	for name, tc := range damage.Kinds() {
		t.Run(name, func(t *testing.T) {
			s := deltatest.Loaded(t, "dv")
			snap := snapshot(t, s, "delta/dv", 5)
			var data, vector, path string
			for a := range snap.Files() {
				if a.Vector != nil {
					_, data = a.File()
					_, vector = a.Vector.File()
					path = a.Path
				}
			}
			tc.Do(s, data, vector)
			r, err := reading(t, s, snap).Read(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Release()
			for r.Next() {
				continue
			}
			if err := r.Err(); !errors.Is(err, tc.Want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "delta/dv") {
				t.Errorf("%v; want %v", err, tc.Want)
			}
		})
	}
}

// No more than AtOnce files are asked for at the same time, and more than one.
func TestFilesAtOnce(t *testing.T) {
	s := deltatest.Loaded(t, "many_commits")
	snap := snapshot(t, s, "delta/many_commits", 20)
	var now, most atomic.Int64
	held := make(chan struct{})
	s.Fail = func(_, key string) error {
		if !strings.HasSuffix(key, ".parquet") {
			return nil
		}
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			continue
		}
		if n == rows.AtOnce {
			select {
			case <-held:
			default:
				close(held)
			}
		}
		<-held
		return nil
	}
	tab := reading(t, s, snap)
	if n, _, _ := sums(t, tab, nil); n == 0 || most.Load() != rows.AtOnce {
		t.Errorf("%d rows, %d files at once", n, most.Load())
	}
}

func TestNoSuchColumn(t *testing.T) {
	s := deltatest.Loaded(t, "dv")
	if _, err := reading(t, s, snapshot(t, s, "delta/dv", 5)).Read(t.Context(), []string{"idd"}); err == nil || !strings.Contains(err.Error(), `no column "idd"`) {
		t.Error(err)
	}
}

// A cancelled reading ends with that, and never looks like a shorter table.
func TestCancelled(t *testing.T) {
	s := deltatest.Loaded(t, "many_commits")
	ctx, cancel := withCancel(t)
	r, err := reading(t, s, snapshot(t, s, "delta/many_commits", 20)).Read(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if !r.Next() {
		t.Fatal(r.Err())
	}
	cancel()
	for r.Next() {
		continue
	}
	if !errors.Is(r.Err(), ctx.Err()) {
		t.Error(r.Err())
	}
}
