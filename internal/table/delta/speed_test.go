package delta_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/tabletest"

	"github.com/parquet-go/parquet-go"
)

// large is a table whose log is one checkpoint of that many files.
func large(t testing.TB, files int) *tabletest.Store {
	t.Helper()
	body, err := deltatest.LargeCheckpoint(files)
	if err != nil {
		t.Fatal(err)
	}
	s := &tabletest.Store{}
	put(t, s, logKey("t", "00000000000000000010.checkpoint.parquet"), string(body))
	put(t, s, jsonKey("t", 10), infoLine(1000))
	return s
}

// plainScan decodes the columns of a checkpoint that a reader of it needs, and
// does nothing with them: what reading cannot be faster than.
func plainScan(t testing.TB, body []byte) (values int) {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(body), int64(len(body)), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	needed := []string{"txn.", "add.path", "add.partitionValues", "add.size", "add.dataChange", "add.stats", "metaData.", "protocol."}
	buf := make([]parquet.Value, 1024)
	for _, g := range f.RowGroups() {
		for i, c := range g.ColumnChunks() {
			name := strings.Join(f.Schema().Columns()[i], ".")
			if !slices.ContainsFunc(needed, func(n string) bool { return strings.HasPrefix(name, n) }) {
				continue
			}
			pages := c.Pages()
			for {
				p, err := pages.ReadPage()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				vs := p.Values()
				for {
					n, err := vs.ReadValues(buf)
					values += n
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := pages.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return values
}

func files(s *delta.Snapshot) (n int) {
	for range s.Files() {
		n++
	}
	return n
}

// A large checkpoint gives the files that were written to it.
func TestLargeCheckpoint(t *testing.T) {
	const n = 20_000
	snap, err := open(t, large(t, n), "t").Snapshot(t.Context(), 10)
	if err != nil || snap.Len() != n || files(snap) != n {
		t.Fatalf("%+v, %v", snap, err)
	}
	want := map[string]int64{}
	for i := range n {
		path, size := deltatest.LargeFile(i)
		want[path] = size
	}
	for a := range snap.Files() {
		if _, key := a.File(); want[a.Path] != a.Size || key != "t/"+a.Path || len(a.PartitionValues) != 1 || !strings.HasPrefix(a.Path, "p="+*a.PartitionValues["p"]+"/") || a.Records < 10 {
			t.Fatalf("%+v at %s", a, key)
		}
		delete(want, a.Path)
	}
}

// Reading a checkpoint of a million files, beside the Parquet library's plain scan
// of the same columns. It prints a ratio and is part of make bench alone.
func TestSpeedOfACheckpoint(t *testing.T) {
	if os.Getenv("BREAKWATER_BENCH") == "" {
		return
	}
	s := large(t, 1_000_000)
	body, err := s.Get(t.Context(), logKey("t", "00000000000000000010.checkpoint.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("checkpoint of 1,000,000 files: %d MB", len(body)>>20)
	var scans, reads []time.Duration
	var busy [2]time.Duration
	const rounds = 25 // one by one, since the machine's pace differs more than what is measured
	for range rounds {
		runtime.GC()
		at, cpu := time.Now(), processor(t)
		plainScan(t, body)
		scans = append(scans, time.Since(at))
		busy[0] += processor(t) - cpu
		l := open(t, s, "t")
		runtime.GC()
		at, cpu = time.Now(), processor(t)
		snap, err := l.Snapshot(t.Context(), 10)
		reads = append(reads, time.Since(at))
		busy[1] += processor(t) - cpu
		if err != nil || snap.Len() != 1_000_000 {
			t.Fatalf("%+v, %v", snap, err)
		}
	}
	slices.Sort(scans)
	slices.Sort(reads)
	t.Logf("plain scans %v", scans)
	t.Logf("snapshots   %v", reads)
	t.Logf("processor time of a scan %v, of a snapshot %v", busy[0]/rounds, busy[1]/rounds)
	t.Logf("ratio of the fastest: %.2f, of the medians: %.2f (wanted: at most 1.5)",
		reads[0].Seconds()/scans[0].Seconds(), reads[len(reads)/2].Seconds()/scans[len(scans)/2].Seconds())
}

// processor is the time that this process has had of the cores.
func processor(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
