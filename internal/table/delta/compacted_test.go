package delta_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/tabletest"
)

func compactedKey(prefix string, first, last int64) string {
	return logKey(prefix, fmt.Sprintf("%020d.%020d.compacted.json", first, last))
}

// compact writes a log compaction file for commits that are there.
func compact(t *testing.T, s *tabletest.Store, prefix string, first, last int64) string {
	t.Helper()
	var commits [][]byte
	for v := first; v <= last; v++ {
		body, err := s.Get(t.Context(), jsonKey(prefix, int(v)))
		if err != nil {
			t.Fatal(err)
		}
		commits = append(commits, body)
	}
	body, err := deltatest.Compacted(commits...)
	if err != nil {
		t.Fatal(err)
	}
	key := compactedKey(prefix, first, last)
	put(t, s, key, string(body))
	return key
}

// A compaction changes no version of any table, and says what its commits say.
func TestCompactionsDecideNothing(t *testing.T) {
	store := deltatest.Loaded(t)
	compared := 0
	for _, truth := range deltatest.All(t) {
		l := open(t, store, truth.Prefix)
		for _, r := range l.Versions() {
			commits := slices.DeleteFunc(l.Commits(), func(v int64) bool { return v < r.First || v > r.Last })
			if len(commits) < 4 {
				continue
			}
			compact(t, store, truth.Prefix, commits[1], commits[len(commits)-2])
			compact(t, store, truth.Prefix, commits[0], commits[len(commits)-1])
		}
		l = open(t, store, truth.Prefix)
		for _, want := range truth.Versions {
			if s, err := l.Snapshot(t.Context(), want.Version); err != nil || s.Len() != want.LiveFiles || s.Bytes() != want.LiveBytes {
				t.Errorf("%s at version %d: %+v, %v", truth.Name, want.Version, s, err)
			}
		}
		for _, c := range l.Compactions() {
			if differs, err := l.Compare(t.Context(), c); err != nil || differs != "" {
				t.Errorf("%s: %s %s, %v", truth.Name, c.Key, differs, err)
			}
			compared++
		}
		if beyond := l.Beyond(); len(beyond) > 0 {
			t.Errorf("%s: beyond the head: %q", truth.Name, beyond)
		}
	}
	if compared < 40 {
		t.Errorf("%d compactions compared", compared)
	}
}

// Where a commit is absent, the versions from it on stay unreadable, since no
// engine reads them either, and whoever looks is told which file has its content.
func TestAbsentCommitNamesItsCompaction(t *testing.T) {
	s := appends(t, "t", 6)
	key := compact(t, s, "t", 2, 4)
	name := strings.TrimPrefix(key, "t/")
	s.Delete(jsonKey("t", 3))
	l := open(t, s, "t")
	for v := int64(3); v <= 6; v++ {
		if got, err := l.Snapshot(t.Context(), v); !errors.Is(err, delta.ErrNoStart) || !strings.Contains(err.Error(), name+" tells of versions 2 to 4") || !strings.Contains(err.Error(), "bring the commit back") {
			t.Errorf("version %d: %+v, %v", v, got, err)
		}
	}
	n, err := l.NewestComplete(t.Context(), time.Time{})
	if err != nil || n.Snapshot.Version.Number != 2 || len(n.Above) == 0 || !strings.Contains(n.Above[0].Why(), name) {
		t.Errorf("newest complete: %+v, %v", n, err)
	}
	if _, err := l.Compare(t.Context(), l.Compactions()[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("compared with an absent commit: %v", err)
	}
	s.Delete(key)
	if _, err := open(t, s, "t").Snapshot(t.Context(), 4); !errors.Is(err, delta.ErrNoStart) || strings.Contains(err.Error(), "tells of versions") {
		t.Errorf("without a compaction: %v", err)
	}
}

// What tells of commits that were moved aside goes with them: Spark reads a
// compaction in place of the commits that come to stand under these numbers.
func TestCutTakesCompactionsThatReachAboveIt(t *testing.T) {
	whole := appends(t, "t", 6)
	for first := int64(0); first < 6; first++ {
		for last := first + 1; last <= 6; last++ {
			compact(t, whole, "t", first, last)
		}
	}
	for v := int64(0); v <= 6; v++ {
		s := whole.Clone()
		cut, err := open(t, s, "t").LaterThan(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		move(t, s, cut)
		l := open(t, s, "t")
		for _, c := range l.Compactions() {
			if c.Last > v {
				t.Errorf("cut at %d: %s is still there", v, c.Key)
			}
		}
		if kept := len(l.Compactions()); int64(kept) != v*(v+1)/2 || l.Head() != v || len(l.Beyond()) > 0 {
			t.Errorf("cut at %d: head %d, %d compactions, beyond it %q", v, l.Head(), kept, l.Beyond())
		}
	}
}

// A compaction that tells of other commits than those that are there is found out.
func TestCompactionThatContradictsItsCommits(t *testing.T) {
	const p, first, last = "t", 1, 4
	removed := `{"remove":{"path":"f1.parquet","dataChange":true}}` + "\n"
	table := func() *tabletest.Store {
		s := appends(t, p, 5)
		put(t, s, jsonKey(p, 3), infoLine(1003)+"\n"+removed+addLine("f3.parquet", 3, 30)+"\n"+`{"txn":{"appId":"stream","version":7}}`+"\n")
		put(t, s, jsonKey(p, 4), infoLine(1004)+"\n"+strings.Replace(metadataLine, `"configuration":{}`, `"configuration":{"a":"b"}`, 1)+"\n"+protocolLine+"\n")
		return s
	}
	for name, tc := range map[string]struct{ from, to, says string }{
		"whole":               {"", "", ""},
		"a file less":         {addLine("f2.parquet", 2, 20) + "\n", "", "does not add t/f2.parquet"},
		"a file more":         {removed, removed + addLine("f9.parquet", 9, 90) + "\n", "adds t/f9.parquet"},
		"another size":        {`"f3.parquet","partitionValues":{},"size":3`, `"f3.parquet","partitionValues":{},"size":4`, "does not add t/f3.parquet"},
		"a remove more":       {removed, removed + `{"remove":{"path":"f0.parquet","dataChange":true}}` + "\n", "removes t/f0.parquet"},
		"resurrected":         {removed, addLine("f1.parquet", 1, 10) + "\n", "adds t/f1.parquet"},
		"another transaction": {`"version":7`, `"version":8`, "transactions"},
		"other metadata":      {`"a":"b"`, `"a":"c"`, "other metadata"},
		"another protocol":    {`"minWriterVersion":2`, `"minWriterVersion":3`, "another protocol"},
		"cut short":           {`{"txn"`, `{"tx`, "corrupt"},
		"its own remove left": {removed, "", ""}, // of a file that its range brought
	} {
		s := table()
		key := compact(t, s, p, first, last)
		body, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(body), tc.from, tc.to, 1)
		if tc.from != tc.to && changed == string(body) {
			t.Fatalf("%s: the compaction has no %s:\n%s", name, tc.from, body)
		}
		put(t, s, key, changed)
		l := open(t, s, p)
		got, err := l.Compare(t.Context(), l.Compactions()[0])
		if err != nil || !strings.Contains(got, tc.says) || (got == "") != (tc.says == "") {
			t.Errorf("%s: %q, %v; want %q", name, got, err, tc.says)
		}
	}
	s := table()
	put(t, s, compactedKey(p, 4, 2), "{}")
	if got, err := open(t, s, p).Compare(t.Context(), open(t, s, p).Compactions()[0]); err != nil || !strings.Contains(got, "4 to 2") {
		t.Errorf("a name that runs backwards: %q, %v", got, err)
	}
	s = table()
	compact(t, s, p, 2, 4) // that file came before its range: its remove must be told
	key := compactedKey(p, 2, 4)
	body, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, key, strings.Replace(string(body), removed, "", 1))
	if got, err := open(t, s, p).Compare(t.Context(), open(t, s, p).Compactions()[0]); err != nil || !strings.Contains(got, "does not remove t/f1.parquet") {
		t.Errorf("a remove less: %q, %v", got, err)
	}
}

// What speaks of versions above the head is named.
func TestBeyondTheHead(t *testing.T) {
	s := appends(t, "t", 4)
	compact(t, s, "t", 2, 4)
	compact(t, s, "t", 1, 3)
	put(t, s, logKey("t", "00000000000000000003.crc"), "{}")
	put(t, s, logKey("t", "00000000000000000004.crc"), "{}")
	if got := open(t, s, "t").Beyond(); len(got) > 0 {
		t.Errorf("beyond a whole log: %q", got)
	}
	s.Delete(jsonKey("t", 4))
	want := []string{compactedKey("t", 2, 4), logKey("t", "00000000000000000004.crc")}
	if got := open(t, s, "t").Beyond(); !slices.Equal(got, want) {
		t.Errorf("beyond the head: %q, want %q", got, want)
	}
}
