package delta_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/internal/reach"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/tabletest"
)

func logKey(prefix, name string) string { return prefix + "/_delta_log/" + name }
func jsonKey(prefix string, v int) string {
	return logKey(prefix, fmt.Sprintf("%020d.json", v))
}

// put stores a hand-written object.
func put(t testing.TB, s *tabletest.Store, key, body string) {
	t.Helper()
	if err := s.Put(t.Context(), key, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

const (
	protocolLine = `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}`
	metadataLine = `{"metaData":{"id":"m","format":{"provider":"parquet"},"schemaString":"{}","partitionColumns":[],"configuration":{}}}`
)

func infoLine(ms int64) string {
	return fmt.Sprintf(`{"commitInfo":{"timestamp":%d,"operation":"WRITE"}}`, ms)
}

func addLine(path string, size, rows int) string {
	return fmt.Sprintf(`{"add":{"path":%q,"partitionValues":{},"size":%d,"dataChange":true,"stats":"{\"numRecords\":%d}"}}`, path, size, rows)
}

// appends makes a table whose version n > 0 appends one file of n bytes and 10n rows.
func appends(t testing.TB, prefix string, versions int) *tabletest.Store {
	t.Helper()
	s := &tabletest.Store{}
	put(t, s, jsonKey(prefix, 0), strings.Join([]string{infoLine(1000), protocolLine, metadataLine}, "\n"))
	for v := 1; v <= versions; v++ {
		name := fmt.Sprintf("f%d.parquet", v)
		put(t, s, prefix+"/"+name, strings.Repeat("x", v))
		put(t, s, jsonKey(prefix, v), infoLine(int64(1000+v))+"\n"+addLine(name, v, 10*v)+"\n")
	}
	return s
}

func TestNewestComplete(t *testing.T) {
	const p = "lake/orders"
	for name, tc := range map[string]struct {
		fault func(*testing.T, *tabletest.Store)
		want  int64
		above []string // version, rows, own lacks, inherited, start of the fault
	}{
		"whole": {func(*testing.T, *tabletest.Store) {}, 6, nil},
		"trap 3: log entry without its data file": {func(_ *testing.T, s *tabletest.Store) { s.Delete(p + "/f5.parquet") }, 4,
			[]string{"5-5 rows=50 lacks=1 inherited=0 ", "6-6 rows=60 lacks=0 inherited=1 "}},
		"size differs": {func(t *testing.T, s *tabletest.Store) { put(t, s, p+"/f6.parquet", "x") }, 5,
			[]string{"6-6 rows=60 lacks=1 inherited=0 "}},
		"gap": {func(_ *testing.T, s *tabletest.Store) { s.Delete(jsonKey(p, 3)); s.Delete(jsonKey(p, 4)) }, 2,
			[]string{"3-4 rows=-1 lacks=0 inherited=0 version cannot", "5-5 rows=50 lacks=0 inherited=0 cannot be", "6-6 rows=60 lacks=0 inherited=0 cannot be"}},
		"entry cut short": {func(t *testing.T, s *tabletest.Store) { put(t, s, jsonKey(p, 5), `{"add":{"path":"f5.pa`) }, 4,
			[]string{"5-5 rows=-1 lacks=0 inherited=0 corrupt delta", "6-6 rows=60 lacks=0 inherited=0 cannot be"}},
		"missing file removed later": {func(t *testing.T, s *tabletest.Store) {
			s.Delete(p + "/f2.parquet")
			put(t, s, jsonKey(p, 6), infoLine(1006)+"\n"+`{"remove":{"path":"f2.parquet","dataChange":true}}`)
		}, 6, nil},
		"the same file added twice": {func(t *testing.T, s *tabletest.Store) {
			put(t, s, jsonKey(p, 6), addLine("f6.parquet", 6, 60)+"\n"+addLine("f6.parquet", 6, 60))
		}, 5, []string{"6-6 rows=-1 lacks=0 inherited=0 corrupt delta"}},
		"checksum of another log": {func(t *testing.T, s *tabletest.Store) {
			put(t, s, logKey(p, "00000000000000000006.crc"), `{"numFiles":7,"tableSizeBytes":21}`)
		}, 5, []string{"6-6 rows=60 lacks=0 inherited=0 corrupt delta"}},
		"absurd version": {func(t *testing.T, s *tabletest.Store) {
			put(t, s, logKey(p, "09000000000000000000.json"), infoLine(1))
		}, 6, []string{"7-8999999999999999999 rows=-1 lacks=0 inherited=0 version cannot", "9000000000000000000-9000000000000000000 rows=0 lacks=0 inherited=0 cannot be"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := appends(t, p, 6)
			tc.fault(t, s)
			got, err := open(t, s, p).NewestComplete(t.Context(), time.Time{})
			if err != nil || got.Snapshot.Version.Number != tc.want {
				t.Fatalf("NewestComplete = %+v, %v; want %d", got.Snapshot, err, tc.want)
			}
			if len(got.Above) != len(tc.above) {
				t.Fatalf("above: %+v", got.Above)
			}
			for i, a := range got.Above {
				line := fmt.Sprintf("%d-%d rows=%d lacks=%d inherited=%d %s", a.Version.Number, a.Through, a.Rows, len(a.Lacks), a.Inherited, a.Fault)
				if !strings.HasPrefix(line, tc.above[i]) {
					t.Errorf("above %d: %s\nwant %s", i, line, tc.above[i])
				}
				if a.Commit == a.Version.Time.IsZero() && !strings.HasPrefix(a.Fault, "corrupt") {
					t.Errorf("version %d: commit %v, time %v", a.Version.Number, a.Commit, a.Version.Time)
				}
			}
		})
	}
}

// One listing of the table, one of its log, each commit at most twice: the cost
// must not grow with files times versions.
func TestNewestCompleteIsIncremental(t *testing.T) {
	s := appends(t, "t", 100)
	s.Delete("t/f51.parquet")
	l := open(t, s, "t")
	got, err := l.NewestComplete(t.Context(), time.Time{})
	if err != nil || got.Snapshot.Version.Number != 50 || len(got.Above) != 50 {
		t.Fatalf("%+v, %v", got, err)
	}
	if lists, gets := s.Calls(); lists != 2 || gets > 2*101 {
		t.Errorf("%d listings and %d reads", lists, gets)
	}
	early, err := l.NewestComplete(t.Context(), time.UnixMilli(1030))
	if err != nil || early.Snapshot.Version.Number != 30 || early.Above[0].Fault == "" || early.Above[0].Rows != 310 {
		t.Errorf("not after version 30's time: %+v, %v", early.Snapshot, err)
	}
	if len(early.Snapshot.Outside()) != 0 || early.Snapshot.Rows() != 10*30*31/2 {
		t.Errorf("rows %d", early.Snapshot.Rows())
	}
}

func TestNewestCompleteOfWhatIsGone(t *testing.T) {
	s := appends(t, "t", 1)
	l := open(t, s, "t")
	put(t, s, "u/_delta_log/00000000000000000003.json", infoLine(1))
	if _, err := open(t, s, "u").NewestComplete(t.Context(), time.Time{}); !errors.Is(err, table.ErrNoneComplete) {
		t.Errorf("log without a start: %v", err)
	}
	if got, err := l.NewestComplete(t.Context(), time.UnixMilli(1)); !errors.Is(err, table.ErrNoneComplete) || len(got.Above) != 2 {
		t.Errorf("before the first version: %+v, %v", got, err)
	}
	if _, err := delta.Open(t.Context(), s, root("nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty prefix: %v", err)
	}
}

// What could not be asked is unknown: never an older version, never "complete".
func TestNoAnswerIsNoVerdict(t *testing.T) {
	for name, cut := range map[string]func(op, key string) bool{
		"log listing":  func(op, key string) bool { return op == "list" && strings.HasSuffix(key, "_delta_log/") },
		"data listing": func(op, key string) bool { return op == "list" && key == "delta/basic_part/" },
		"commit":       func(op, key string) bool { return strings.HasSuffix(key, "13.json") },
		"checkpoint":   func(op, key string) bool { return strings.Contains(key, "checkpoint.parquet") },
		"checksum":     func(op, key string) bool { return strings.HasSuffix(key, "13.crc") },
	} {
		t.Run(name, func(t *testing.T) {
			s := deltatest.Loaded(t, "basic_part")
			s.Fail = func(op, key string) error {
				if cut(op, key) {
					return fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
				}
				return nil
			}
			l, err := delta.Open(t.Context(), s, root("delta/basic_part"))
			if err == nil {
				_, err = l.NewestComplete(t.Context(), time.Time{})
			}
			if !reach.Unreachable(err) {
				t.Errorf("%v", err)
			}
			if errors.Is(err, delta.ErrCorrupt) {
				t.Errorf("an unreachable store passes for a corrupt log: %v", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := open(t, deltatest.Loaded(t, "basic_part"), "delta/basic_part")
	cancel()
	if _, err := l.NewestComplete(ctx, time.Time{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Every fixture's newest complete version is its last, while its objects are
// there, and an earlier one once an object that only the last has is gone.
func TestNewestCompleteOfTheFixtures(t *testing.T) {
	store := deltatest.Loaded(t)
	for _, truth := range deltatest.All(t) {
		t.Run(truth.Name, func(t *testing.T) {
			last := truth.Versions[len(truth.Versions)-1]
			got, err := open(t, store, truth.Prefix).NewestComplete(t.Context(), time.Time{})
			if err != nil || got.Snapshot.Version.Number != last.Version || got.Above != nil {
				t.Fatalf("NewestComplete = %+v, %v; want %d", got, err, last.Version)
			}
			if outside := len(got.Outside) > 0; outside != (truth.Name == "clone_shallow") {
				t.Errorf("Outside = %q", got.Outside)
			}
		})
	}
}

// Trap 22: the hint is stale, of another log or garbage. The listing decides.
func TestTrap22HintIsOnlyAHint(t *testing.T) {
	for _, hint := range []string{`{"version":4,"size":3}`, `{"version":99,"size":3}`, `{"version":8,"size":1,"parts":7}`, `nonsense`, ``} {
		s := deltatest.Loaded(t, "basic_part")
		put(t, s, logKey("delta/basic_part", "_last_checkpoint"), hint)
		got, err := open(t, s, "delta/basic_part").NewestComplete(t.Context(), time.Time{})
		if err != nil || got.Snapshot.Version.Number != 13 {
			t.Errorf("hint %q: %+v, %v", hint, got.Snapshot, err)
		}
	}
}

// Trap 8: two vectors of one file are two files; one of them gone is not both.
func TestDeletionVectorIsPartOfTheFile(t *testing.T) {
	s := deltatest.Loaded(t, "dv")
	l := open(t, s, "delta/dv")
	before, err := l.Snapshot(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	after, err := l.Snapshot(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	vector := func(s *delta.Snapshot) map[string]string {
		ids := map[string]string{}
		for a := range s.Files() {
			ids[a.Path] = a.Vector.ID()
		}
		return ids
	}
	was, is := vector(before), vector(after)
	var gone string
	for path := range is {
		if _, ok := was[path]; ok && was[path] != is[path] {
			gone = path
		}
	}
	if gone == "" || before.Bytes() != after.Bytes() || before.Rows() <= after.Rows() {
		t.Fatalf("a delete by vectors: %d rows before, %d after", before.Rows(), after.Rows())
	}
	for f, err := range after.Closure() {
		if err != nil {
			t.Fatal(err)
		}
		if f.Why == table.DeletionVector {
			s.Delete(f.Key)
			break
		}
	}
	got, err := open(t, s, "delta/dv").NewestComplete(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if v := got.Snapshot.Version.Number; v == 5 {
		t.Errorf("version %d passes for complete without its vectors", v)
	}
}

// Trap 27: a clone whose source stayed behind is not complete.
func TestTrap27CloneNeedsItsSource(t *testing.T) {
	s := deltatest.Loaded(t, "clone_shallow")
	got, err := open(t, s, "delta/clone_shallow").NewestComplete(t.Context(), time.Time{})
	if !errors.Is(err, table.ErrNoneComplete) || len(got.Above) != 3 || got.Above[0].Lacks[0].Fault != table.Absent {
		t.Errorf("without its source: %+v, %v", got, err)
	}
	all := deltatest.Loaded(t, "clone_shallow", "clone_source")
	l, err := delta.Open(t.Context(), all, table.Root{Bucket: "standby-lake", Prefix: "delta/clone_shallow"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err = l.NewestComplete(t.Context(), time.Time{}); !errors.Is(err, table.ErrNoneComplete) || got.Above[0].Lacks[0].Fault != table.Elsewhere {
		t.Errorf("at the standby: %+v, %v", got, err)
	}
	snap, err := l.Snapshot(t.Context(), 2)
	if err != nil || !slices.Equal(snap.Outside(), []string{"s3://primary-lake/delta/clone_source"}) {
		t.Errorf("Outside = %q, %v", snap.Outside(), err)
	}
}
