package diff_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/go-cmp/cmp"

	"breakwater/internal/query"
	"breakwater/internal/query/duckdb"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/diff"
	"breakwater/internal/table/delta/rows"
	"breakwater/internal/table/delta/scan"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/difference"
	"breakwater/internal/table/tabletest"
)

func open(t testing.TB, s table.Store, prefix string) *delta.Log {
	t.Helper()
	l, err := delta.Open(t.Context(), s, table.Root{Bucket: deltatest.Bucket, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func snapshot(t testing.TB, l *delta.Log, v int64) *delta.Snapshot {
	t.Helper()
	s, err := l.Snapshot(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// all counts every live row of a version, by what its columns hold.
func all(t testing.TB, store table.Store, s *delta.Snapshot, columns []string) (map[string]int, map[string]string) {
	t.Helper()
	r, err := rows.Of(store, s)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := r.Read(t.Context(), columns)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Release()
	count, key := map[string]int{}, map[string]string{}
	id := slices.Index(columns, "id")
	for reader.Next() {
		batch := reader.RecordBatch()
		encode, err := scan.Encoding(batch.Columns(), columns)
		if err != nil {
			t.Fatal(err)
		}
		for n := range int(batch.NumRows()) {
			row := string(encode(nil, n))
			count[row]++
			if id >= 0 {
				only, err := scan.Encoding([]arrow.Array{batch.Column(id)}, []string{"id"})
				if err != nil {
					t.Fatal(err)
				}
				key[row] = string(only(nil, n))
			}
		}
	}
	if err := reader.Err(); err != nil {
		t.Fatal(err)
	}
	return count, key
}

// TestAgainstAllRows: of every pair of versions of the tables that Spark and delta-rs
// wrote, the difference is that of all their rows, and no shared file is read.
func TestAgainstAllRows(t *testing.T) {
	truths, err := deltatest.Tables()
	if err != nil {
		t.Fatal(err)
	}
	store, err := deltatest.Load() // clones need their sources
	if err != nil {
		t.Fatal(err)
	}
	pairs, differ, keyed := 0, 0, 0
	for _, truth := range truths {
		l := open(t, store, truth.Prefix)
		var readable []int64
		for _, v := range truth.Versions {
			if v.Readable {
				readable = append(readable, v.Version)
			}
		}
		for i, v := range readable {
			for _, w := range slices.Compact([]int64{readable[max(0, i-1)], readable[i*3%len(readable)]}) {
				if (v+w)%2 == 0 && w != readable[0] {
					continue // enough remain
				}
				from, to := snapshot(t, l, v), snapshot(t, l, w)
				d, err := diff.Between(t.Context(), store, from, to, difference.Options{})
				if errors.Is(err, table.ErrColumn) {
					continue // a type that nobody here reads
				}
				if err != nil {
					t.Fatalf("%s, %d to %d: %v", truth.Name, v, w, err)
				}
				pairs++
				if len(d.Columns) > 0 {
					continue // see TestColumns
				}
				was, key := all(t, store, from, d.Compared)
				is, more := all(t, store, to, d.Compared)
				for row, k := range more {
					key[row] = k
				}
				for row, n := range was {
					is[row] -= n
				}
				var want difference.Counts
				went, came := map[string]int64{}, map[string]int64{}
				for row, n := range is {
					want.Added += int64(max(n, 0))
					want.Removed += int64(max(-n, 0))
					came[key[row]] += int64(max(n, 0))
					went[key[row]] += int64(max(-n, 0))
				}
				if d.Counts != want {
					t.Errorf("%s, %d to %d: %+v, want %+v", truth.Name, v, w, d.Counts, want)
				}
				if want != (difference.Counts{}) {
					differ++
				}
				if !slices.Contains(d.Compared, "id") {
					continue
				}
				for k, n := range came {
					both := min(n, went[k])
					want.Added, want.Removed, want.Changed = want.Added-both, want.Removed-both, want.Changed+both
				}
				o := difference.Options{Key: []string{"id"}, Samples: 3, Memory: 1000, Scratch: func() (difference.Scratch, error) { return os.CreateTemp(t.TempDir(), "") }}
				d, err = diff.Between(t.Context(), store, from, to, o)
				if err != nil || d.Counts != want {
					t.Errorf("%s, %d to %d by id: %+v, %v, want %+v", truth.Name, v, w, d.Counts, err, want)
				}
				var sum difference.Counts
				for _, p := range d.Partitions {
					sum.Added, sum.Removed, sum.Changed = sum.Added+p.Added, sum.Removed+p.Removed, sum.Changed+p.Changed
				}
				if len(to.Metadata.PartitionColumns) > 0 && sum != d.Counts {
					t.Errorf("%s, %d to %d: partitions come to %+v, want %+v", truth.Name, v, w, sum, d.Counts)
				}
				if want.Changed > 0 {
					keyed++
				}
			}
		}
	}
	t.Logf("%d pairs of versions, %d differ, %d in rows of one key", pairs, differ, keyed)
	if pairs < 250 || differ < 100 || keyed < 10 {
		t.Errorf("of %d pairs %d differ, %d in rows of one key: the test shows too little", pairs, differ, keyed)
	}
}

// TestReadsOnlyWhatDiffers: of two versions of 100,000 files, those that one of them has
// alone are read, whatever became of the others.
func TestReadsOnlyWhatDiffers(t *testing.T) {
	store := &tabletest.Store{}
	columns := []write.Column{{Name: "id", Type: write.Int64}, {Name: "p", Type: write.String, Partition: true}}
	w, err := write.Create(t.Context(), store, table.Root{Bucket: deltatest.Bucket, Prefix: "small"}, columns, write.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, rows := range [][]write.Row{{{int64(1), "a"}, {int64(2), "a"}}, {{int64(2), "a"}, {int64(3), "a"}, {int64(3), "a"}}} {
		if _, err := w.Append(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
	}
	// Two files of it join a table of 100,000 that are not there at all.
	const files = 100_000
	checkpoint, err := deltatest.LargeCheckpoint(files)
	if err != nil {
		t.Fatal(err)
	}
	store.Write("large/_delta_log/00000000000000000010.checkpoint.parquet", checkpoint, time.Now())
	var adds []string
	for _, v := range []int{1, 2} {
		body, err := store.Get(t.Context(), fmt.Sprintf("small/_delta_log/%020d.json", v))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(body)) {
			if strings.HasPrefix(line, `{"add"`) {
				adds = append(adds, strings.TrimSpace(line))
			}
		}
	}
	for _, key := range store.Keys("small/p=a/") {
		body, err := store.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		store.Write("large/"+strings.TrimPrefix(key, "small/"), body, time.Now())
	}
	path, _ := deltatest.LargeFile(7)
	commit := func(v int, lines ...string) {
		store.Write(fmt.Sprintf("large/_delta_log/%020d.json", v), []byte(strings.Join(lines, "\n")), time.Now())
	}
	commit(11, `{"commitInfo":{"timestamp":1}}`, adds[0])
	commit(12, `{"commitInfo":{"timestamp":2}}`, strings.Replace(adds[0], `{"add"`, `{"remove"`, 1), adds[1])
	commit(13, `{"commitInfo":{"timestamp":3}}`, fmt.Sprintf(`{"remove":{"path":%q,"dataChange":true}}`, path))
	l := open(t, store, "large")
	from, to := snapshot(t, l, 11), snapshot(t, l, 12)
	data := func(key string) bool {
		return strings.HasSuffix(key, ".parquet") && !strings.Contains(key, "_delta_log")
	}
	before := store.Reads(data)
	began := time.Now()
	d, err := diff.Between(t.Context(), store, from, to, difference.Options{Key: []string{"id"}, Samples: 5})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("compared in %v, read %d times", time.Since(began), store.Reads(data)-before)
	a := "a"
	want := difference.Difference{
		Compared: []string{"id", "p"}, Key: []string{"id"}, Files: difference.Files{From: 1, To: 1, Both: files}, Rows: 5, Repeated: 1,
		Counts:     difference.Counts{Added: 2, Removed: 1},
		Partitions: []difference.Partition{{Values: []difference.Value{{Column: "p", Value: &a}}, Counts: difference.Counts{Added: 2, Removed: 1}}},
	}
	samples := d.Samples
	d.Samples = difference.Samples{}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
	if lines := told(t, samples.Added); lines != `[3,"a"] [3,"a"]` {
		t.Errorf("added: %s", lines)
	}
	if lines := told(t, samples.Removed); lines != `[1,"a"]` {
		t.Errorf("removed: %s", lines)
	}
	if n := store.Reads(data) - before; n == 0 || n > 12 { // each of two files, and once more for its samples
		t.Errorf("data files were read %d times", n)
	}
	// A file that went, and is not there: what it held cannot be said.
	_, err = diff.Between(t.Context(), store, to, snapshot(t, l, 13), difference.Options{})
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v, want that of %s", err, path)
	}
}

func told(t testing.TB, rows query.Table) string {
	t.Helper()
	if rows == nil {
		return ""
	}
	r, err := duckdb.Engine{}.Query(t.Context(), map[string]query.Table{"t": rows}, "SELECT * FROM t")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(r.Lines(), " ")
}

// TestColumns: what became of columns is said, and those are compared that are the same.
func TestColumns(t *testing.T) {
	const protocol, mapped = `{"protocol":{"minReaderVersion":2,"minWriterVersion":5}}`, `{"delta.columnMapping.mode":"name"}`
	field := func(name, physical, typ string) string {
		return fmt.Sprintf(`{"name":%q,"type":%s,"nullable":true,"metadata":{"delta.columnMapping.id":1,"delta.columnMapping.physicalName":%q}}`, name, typ, physical)
	}
	meta := func(fields ...string) string {
		return fmt.Sprintf(`{"metaData":{"id":"m","format":{"provider":"parquet"},"schemaString":%q,"partitionColumns":[],"configuration":%s}}`,
			`{"type":"struct","fields":[`+strings.Join(fields, ",")+`]}`, mapped)
	}
	store := &tabletest.Store{}
	for v, body := range []string{
		protocol + "\n" + meta(field("id", "c1", `"integer"`), field("note", "c2", `"string"`), field("old", "c3", `"long"`), field("again", "c4", `"long"`), field("price", "c5", `"string"`), field("v", "c6", `{"type":"array","elementType":"integer","containsNull":true}`)),
		meta(field("id", "c1", `"long"`), field("remark", "c2", `"string"`), field("again", "c9", `"long"`), field("price", "c5", `"double"`), field("new", "c8", `"date"`), field("v", "c6", `{"type":"array","elementType":"long","containsNull":true}`)),
	} {
		store.Write(fmt.Sprintf("t/_delta_log/%020d.json", v), []byte(body), time.Now())
	}
	l := open(t, store, "t")
	from, to := snapshot(t, l, 0), snapshot(t, l, 1)
	d, err := diff.Between(t.Context(), store, from, to, difference.Options{Key: []string{"remark"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []difference.Column{
		{Name: "id", Was: "integer", Is: "long", Compared: true}, {Name: "remark", Former: "note", Was: "string", Is: "string", Compared: true}, {Name: "again", Is: "long"},
		{Name: "price", Was: "string", Is: "double"}, {Name: "new", Is: "date"}, {Name: "v", Was: "array<integer>", Is: "array<long>", Compared: true}, {Name: "old", Was: "long"}, {Name: "again", Was: "long"},
	}
	if diff := cmp.Diff(want, d.Columns); diff != "" || !slices.Equal(d.Compared, []string{"id", "remark", "v"}) || d.Same() {
		t.Errorf("compared %q\n%s", d.Compared, diff)
	}
	for key, says := range map[string]string{"price": "column price is not the same in both", "nope": `no column "nope"; choose from id, remark, v`} {
		if _, err := diff.Between(t.Context(), store, from, to, difference.Options{Key: []string{key}}); !errors.Is(err, difference.ErrKey) || !strings.Contains(err.Error(), says) {
			t.Errorf("key %s: %v, want %q", key, err, says)
		}
	}
}

// TestEnds: who gives up ends the comparison.
func TestEnds(t *testing.T) {
	store, err := deltatest.Load("dv")
	if err != nil {
		t.Fatal(err)
	}
	l := open(t, store, "delta/dv")
	from, to := snapshot(t, l, 0), snapshot(t, l, 8)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := diff.Between(ctx, store, from, to, difference.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was given up", err)
	}
}
