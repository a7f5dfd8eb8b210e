package write_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/rows"
	"breakwater/internal/table/delta/scan"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/tabletest"
)

var (
	where   = table.Root{Bucket: "lake", Prefix: "tables/orders"}
	columns = []write.Column{
		{Name: "id", Type: write.Int64}, {Name: "name", Type: write.String}, {Name: "at", Type: write.Timestamp},
		{Name: "amount", Type: write.Float64}, {Name: "region", Type: write.String, Partition: true},
	}
)

func create(t *testing.T, s *tabletest.Store, opts write.Options) *write.Table {
	t.Helper()
	table, err := write.Create(t.Context(), s, where, columns, opts)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// batch is n rows that begin with id from, over three partitions, with nulls.
func batch(from, n int) []write.Row {
	regions := []any{"eu", "a b/ü%", nil}
	var rows []write.Row
	for id := from; id < from+n; id++ {
		row := write.Row{int64(id), fmt.Sprintf("order %d", id), time.UnixMicro(1_700_000_000_000_001 * int64(id%3)), float64(id) / 3, regions[id%3]}
		if id%5 == 0 {
			row[1], row[2], row[3] = nil, nil, nil
		}
		rows = append(rows, row)
	}
	return rows
}

func head(t *testing.T, s *tabletest.Store) *delta.Snapshot {
	t.Helper()
	l, err := delta.Open(t.Context(), s, where)
	if err != nil {
		t.Fatal(err)
	}
	n, err := l.NewestComplete(t.Context(), time.Time{})
	if err != nil || n.Above != nil || n.Snapshot.Version.Number != l.Head() {
		t.Fatalf("%+v, %v", n, err)
	}
	return n.Snapshot
}

func TestAppendsAreReadBack(t *testing.T) {
	s := &tabletest.Store{}
	table := create(t, s, write.Options{CheckpointEvery: 3, App: map[string]string{"run": "drill-7"}})
	if _, err := write.Create(t.Context(), s, where, columns, write.Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created twice: %v", err)
	}
	for i := range 7 {
		v, err := table.Append(t.Context(), batch(i*10, 10))
		if err != nil || v != int64(i+1) {
			t.Fatalf("append %d: version %d, %v", i, v, err)
		}
	}
	snap := head(t, s)
	if snap.Rows() != 70 || snap.Start != 6 || snap.Len() != 21 {
		t.Errorf("%d rows in %d files from checkpoint %d", snap.Rows(), snap.Len(), snap.Start)
	}
	var sum int64
	content, err := rows.Of(s, snap)
	if err != nil {
		t.Fatal(err)
	}
	r, err := content.Read(t.Context(), []string{"id", "region", "name"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	for r.Next() {
		b := r.RecordBatch()
		ids, regions, names := b.Column(0).(*array.Int64), b.Column(1).(*array.String), b.Column(2)
		for i := range int(b.NumRows()) {
			id := ids.Value(i)
			if want := []string{"eu", "a b/ü%", ""}[id%3]; regions.Value(i) != want || (want == "") != regions.IsNull(i) {
				t.Errorf("row %d is in region %q", id, regions.Value(i))
			}
			if names.IsNull(i) != (id%5 == 0) {
				t.Errorf("row %d has name %s", id, names.ValueStr(i))
			}
			sum += id
		}
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if sum != 69*70/2 {
		t.Errorf("ids add up to %d", sum)
	}
	l, err := delta.Open(t.Context(), s, where)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Commit(t.Context(), 4)
	if err != nil || c.Rows != 10 || !bytes.Contains(c.Info, []byte(`"app":{"run":"drill-7"}`)) {
		t.Errorf("commit 4: %+v, %v", c, err)
	}
	again, err := write.Open(t.Context(), s, where, columns, write.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := again.Append(t.Context(), batch(70, 1)); err != nil || v != 8 {
		t.Errorf("append after reopening: %d, %v", v, err)
	}
	if _, err := write.Open(t.Context(), s, where, columns[:2], write.Options{}); err == nil {
		t.Error("opened with other columns")
	}
}

// The order is data, then log: a writer killed in between leaves data that
// nothing names, and one whose answer was lost commits once.
func TestKilledBetweenDataAndLog(t *testing.T) {
	s := &tabletest.Store{}
	table := create(t, s, write.Options{})
	staged, err := table.Stage(t.Context(), batch(0, 6))
	if err != nil {
		t.Fatal(err)
	}
	if snap := head(t, s); snap.Version.Number != 0 || snap.Rows() != 0 {
		t.Errorf("staged rows are visible: %+v", snap.Version)
	}
	s.Fail = func(op, key string) error {
		if op == "put" && strings.HasSuffix(key, ".json") {
			return syscall.ECONNRESET
		}
		return nil
	}
	if _, err := table.Commit(t.Context(), staged); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("commit without a log: %v", err)
	}
	s.Fail = nil
	for range 2 {
		if v, err := table.Commit(t.Context(), staged); err != nil || v != 1 {
			t.Errorf("commit again: %d, %v", v, err)
		}
	}
	if snap := head(t, s); snap.Version.Number != 1 || snap.Rows() != 6 {
		t.Errorf("version %d has %d rows", snap.Version.Number, snap.Rows())
	}
}

// lossy is a store whose client repeats a put of which it lost the answer, and
// so is told that its own object is in the way.
type lossy struct{ *tabletest.Store }

func (s lossy) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	if err := s.Store.PutIfAbsent(ctx, key, body); err != nil {
		return err
	}
	if strings.HasSuffix(key, ".json") {
		return s.Store.PutIfAbsent(ctx, key, body)
	}
	return nil
}

func TestOwnCommitIsNotAConflict(t *testing.T) {
	s := &tabletest.Store{}
	create(t, s, write.Options{})
	table, err := write.Open(t.Context(), lossy{s}, where, columns, write.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := table.Append(t.Context(), batch(0, 3)); err != nil || v != 1 {
		t.Errorf("version %d, %v", v, err)
	}
	if snap := head(t, s); snap.Version.Number != 1 || snap.Rows() != 3 {
		t.Errorf("version %d has %d rows", snap.Version.Number, snap.Rows())
	}
}

func TestConcurrentAppendsAllCount(t *testing.T) {
	s := &tabletest.Store{}
	table := create(t, s, write.Options{CheckpointEvery: 5})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 5 {
				if _, err := table.Append(t.Context(), batch((w*5+i)*10, 10)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if snap := head(t, s); snap.Version.Number != 20 || snap.Rows() != 200 {
		t.Errorf("version %d has %d rows", snap.Version.Number, snap.Rows())
	}
}

func TestBadTablesAndRowsAreRefused(t *testing.T) {
	for _, c := range []write.Column{{Name: "a b", Type: write.Int64}, {Name: "a", Type: "map"}, {Name: "a", Type: write.Int64, Partition: true}, {Name: "a", Type: write.String, Partition: true}} {
		if _, err := write.Create(t.Context(), &tabletest.Store{}, where, []write.Column{c}, write.Options{}); err == nil {
			t.Errorf("created a table of %+v", c)
		}
	}
	table := create(t, &tabletest.Store{}, write.Options{})
	good := batch(1, 1)[0]
	for i, bad := range []any{"x", int64(1), "x", "x", ""} {
		row := append(write.Row{}, good...)
		row[i] = bad
		if _, err := table.Append(t.Context(), []write.Row{row}); err == nil {
			t.Errorf("column %d took %#v", i, bad)
		}
	}
	if _, err := table.Append(t.Context(), []write.Row{good[:2]}); err == nil {
		t.Error("took a short row")
	}
}

// engine runs delta-rs over directories and returns its answers in order. Its
// interpreter comes from the build; without one, only Go reads what Go wrote.
func engine(t *testing.T, dirs []string) []answer {
	t.Helper()
	python := os.Getenv("BREAKWATER_PYTHON")
	if python == "" {
		t.Log("BREAKWATER_PYTHON is not set: compared with our own reader only, not with delta-rs")
		return nil
	}
	cmd := exec.CommandContext(t.Context(), python, append([]string{"testdata/digest.py"}, dirs...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s cannot run delta-rs; it needs the packages deltalake and pyarrow (pip install deltalake pyarrow): %v: %s", python, err, &stderr)
	}
	var answers []answer
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var a answer
		if err := dec.Decode(&a); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	if len(answers) != len(dirs) {
		t.Fatalf("%d answers for %d tables: %s", len(answers), len(dirs), &stderr)
	}
	return answers
}

type answer struct {
	Version int64
	Rows    int64
	Sum     string
	Error   string
}

func (a answer) digest() string { return fmt.Sprintf("%d:%s", a.Rows, a.Sum) }

// unpack writes a table's objects as files.
func unpack(t *testing.T, s *tabletest.Store, prefix string) string {
	t.Helper()
	dir := t.TempDir()
	for _, key := range s.Keys(prefix + "/") {
		body, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, strings.TrimPrefix(key, prefix))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// delta-rs reads what we write, with and without our checkpoint, and finds the
// same rows.
func TestDeltaRSReadsOurTables(t *testing.T) {
	s := &tabletest.Store{}
	table := create(t, s, write.Options{CheckpointEvery: 4})
	for i := range 5 {
		if _, err := table.Append(t.Context(), batch(i*100, 100)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := scan.Sum(t.Context(), s, head(t, s))
	if err != nil {
		t.Fatal(err)
	}
	whole := unpack(t, s, where.Prefix)
	for v := range 4 { // so that it must read the checkpoint
		s.Delete(fmt.Sprintf("%s/_delta_log/%020d.json", where.Prefix, v))
	}
	truncated := unpack(t, s, where.Prefix)
	if ours, err := scan.Sum(t.Context(), s, head(t, s)); err != nil || ours != want {
		t.Errorf("from the checkpoint we read %v, %v; want %v", ours, err, want)
	}
	for i, got := range engine(t, []string{whole, truncated}) {
		if got.Error != "" || got.Version != 5 || got.digest() != want.String() {
			t.Errorf("delta-rs reads table %d as %+v; want %v", i, got, want)
		}
	}
}

// The digest of every fixture is the one that delta-rs and an own implementation
// of the encoding give, but for the two that delta-rs does not read: a shallow
// clone, whose source it looks for in S3, and widened types.
func TestDeltaRSFindsTheSameDigests(t *testing.T) {
	s := deltatest.Loaded(t)
	var dirs, want []string
	for _, truth := range deltatest.All(t) {
		l, err := delta.Open(t.Context(), s, table.Root{Bucket: deltatest.Bucket, Prefix: truth.Prefix})
		if err != nil {
			t.Fatal(err)
		}
		snap, err := l.Snapshot(t.Context(), l.Head())
		if err != nil {
			t.Fatal(err)
		}
		d, err := scan.Sum(t.Context(), s, snap)
		if err != nil {
			t.Fatal(err)
		}
		dirs, want = append(dirs, unpack(t, s, truth.Prefix)), append(want, d.String())
	}
	same := 0
	answers := engine(t, dirs)
	for i, got := range answers {
		switch {
		case got.Error != "":
			t.Logf("%s: delta-rs refuses: %.200s", deltatest.All(t)[i].Name, got.Error)
		case got.digest() != want[i]:
			t.Errorf("%s: delta-rs finds %s, we %s", deltatest.All(t)[i].Name, got.digest(), want[i])
		default:
			same++
		}
	}
	if answers != nil && same < 29 {
		t.Errorf("only %d tables could be compared", same)
	}
}

// After a cut, delta-rs opens the table at the version that was asked for and
// finds its rows: our own reader's word alone would prove little.
func TestDeltaRSReadsACutTable(t *testing.T) {
	var dirs, want []string
	var versions []int64
	for name, at := range map[string][]int64{"basic_part": {3, 7, 9, 11}, "checkpoint_multipart": {4, 6, 9}, "dv": {5, 8, 13}, "checkpoint_v2": {7, 8}} {
		for _, v := range at {
			s, err := deltatest.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			root := table.Root{Bucket: deltatest.Bucket, Prefix: "delta/" + name}
			l, err := delta.Open(t.Context(), s, root)
			if err != nil {
				t.Fatal(err)
			}
			snap, err := l.Snapshot(t.Context(), v)
			if err != nil {
				t.Fatal(err)
			}
			d, err := scan.Sum(t.Context(), s, snap)
			if err != nil {
				t.Fatal(err)
			}
			cut, err := l.LaterThan(t.Context(), v)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range cut.Aside {
				s.Delete(key)
			}
			if cut.HintBody != nil {
				err = s.Put(t.Context(), cut.Hint, cut.HintBody)
			} else if !cut.KeepHint {
				s.Delete(cut.Hint)
			}
			if err != nil {
				t.Fatal(err)
			}
			dirs, want, versions = append(dirs, unpack(t, s, root.Prefix)), append(want, d.String()), append(versions, v)
		}
	}
	for i, got := range engine(t, dirs) {
		if got.Error != "" || got.Version != versions[i] || got.digest() != want[i] {
			t.Errorf("delta-rs reads %+v; want version %d, %s", got, versions[i], want[i])
		}
	}
}
