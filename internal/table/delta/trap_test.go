package delta_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
)

// Trap 3: a log that arrived before its data is not the recovery point, however
// well it reads.
func TestTrap03LogBeforeData(t *testing.T) {
	s := deltatest.Loaded(t, "many_commits")
	l := open(t, s, "delta/many_commits")
	head, err := l.Snapshot(t.Context(), l.Head())
	if err != nil {
		t.Fatal(err)
	}
	before, err := l.Snapshot(t.Context(), l.Head()-1)
	if err != nil {
		t.Fatal(err)
	}
	var late []string // objects that the head alone needs
	had := map[string]bool{}
	for f := range before.Closure() {
		had[f.Key] = true
	}
	for f := range head.Closure() {
		if f.Why != table.LogEntry && !had[f.Key] {
			late = append(late, f.Key)
		}
	}
	if len(late) == 0 {
		t.Fatal("the newest commit brought no object")
	}
	for _, key := range late {
		some := s.Clone()
		some.Delete(key)
		got, err := open(t, some, "delta/many_commits").NewestComplete(t.Context(), time.Time{})
		if err != nil || got.Snapshot.Version.Number != l.Head()-1 || len(got.Above) != 1 || got.Above[0].Lacks[0].File.Key != key {
			t.Errorf("without %s: %+v, %v", key, got, err)
		}
	}
}

// copied makes a table whose log objects have the given modification times.
func copied(t *testing.T, modified ...int64) *deltatest.Store {
	t.Helper()
	s := appends(t, "t", len(modified)-1)
	for v, sec := range modified {
		s.Touch(jsonKey("t", v), time.Unix(sec, 0))
	}
	return s
}

// Trap 21: a copy changes the times by which readers travel. Where they
// contradict the order of versions it is said, and a time recorded inside of the
// commits is at hand.
func TestTrap21CopiedTimes(t *testing.T) {
	for name, tc := range map[string]struct {
		modified []int64
		at       int64
		want     int64
		warned   bool
	}{
		"as written":                     {[]int64{100, 200, 300, 400}, 250, 1, false},
		"at the very time":               {[]int64{100, 200, 300, 400}, 300, 2, false},
		"after the head":                 {[]int64{100, 200, 300, 400}, 999, 3, false},
		"all within one second":          {[]int64{100, 100, 100, 100}, 101, 3, false},
		"copied in another order":        {[]int64{400, 100, 300, 200}, 401, 3, true},
		"one copied later":               {[]int64{100, 900, 300, 400}, 500, 0, true},
		"one copied later, and after it": {[]int64{100, 900, 300, 400}, 901, 3, true},
	} {
		l := open(t, copied(t, tc.modified...), "t")
		p, err := l.Point(t.Context(), delta.Want{At: time.Unix(tc.at, 0)})
		if err != nil || p.Snapshot.Version.Number != tc.want || p.Time.From != table.ObjectTime || (len(p.Warnings) > 0) != tc.warned {
			t.Errorf("%s: version %+v by %s, %q, %v; want %d", name, p.Snapshot, p.Time.From, p.Warnings, err, tc.want)
		}
		times, err := l.Times(t.Context())
		if err != nil || !slices.IsSortedFunc(times.Versions, func(a, b table.Version) int { return a.Time.Compare(b.Time) }) {
			t.Errorf("%s: times contradict the order of versions: %v, %v", name, times.Versions, err)
		}
	}
	l := open(t, copied(t, 100, 200), "t")
	if _, err := l.Point(t.Context(), delta.Want{At: time.Unix(99, 0)}); !errors.Is(err, table.ErrTooEarly) {
		t.Errorf("before the first version: %v", err)
	}
}

// In-commit timestamps are not changed by a copy, and are found by exactly the
// millisecond that the engine said.
func TestTimeTravelByInCommitTimestamps(t *testing.T) {
	s := deltatest.Loaded(t, "ict")
	for i, key := range s.Keys("delta/ict/_delta_log/") {
		s.Touch(key, time.Unix(int64(9_000_000_000-i), 0)) // in the wrong order, and much later
	}
	l := open(t, s, "delta/ict")
	for _, truth := range deltatest.All(t) {
		if truth.Name != "ict" {
			continue
		}
		for _, want := range truth.Versions {
			for ms, number := range map[int64]int64{want.Millis: want.Version, want.Millis - 1: want.Version - 1} {
				p, err := l.Point(t.Context(), delta.Want{At: time.UnixMilli(ms)})
				if number < 0 {
					if !errors.Is(err, table.ErrTooEarly) {
						t.Errorf("at %d: %v", ms, err)
					}
					continue
				}
				if err != nil || p.Snapshot.Version.Number != number || p.Time.From != table.InCommit || len(p.Warnings) > 0 {
					t.Errorf("at %d: %+v %q, %v; want %d", ms, p.Time, p.Warnings, err, number)
				}
			}
		}
	}
}

// Where in-commit timestamps were enabled later, the versions before that have the
// times of their files.
func TestTimesOfBothKinds(t *testing.T) {
	s := appends(t, "t", 5)
	enabled := strings.Replace(metadataLine, `"configuration":{}`,
		`"configuration":{"delta.enableInCommitTimestamps":"true","delta.inCommitTimestampEnablementVersion":"3","delta.inCommitTimestampEnablementTimestamp":"5000000"}`, 1)
	info := func(ms string) string {
		return `{"commitInfo":{"inCommitTimestamp":` + ms + `,"timestamp":1,"operation":"WRITE"}}` + "\n"
	}
	put(t, s, jsonKey("t", 3), info("5000000")+enabled)
	put(t, s, jsonKey("t", 4), info("6000000"))
	put(t, s, jsonKey("t", 5), info("7000000"))
	for v := range 3 {
		s.Touch(jsonKey("t", v), time.Unix(int64(1000*(v+1)), 0))
	}
	l := open(t, s, "t")
	for at, want := range map[int64]struct {
		version int64
		from    table.TimeSource
	}{1500: {0, table.ObjectTime}, 3000: {2, table.ObjectTime}, 4999: {2, table.ObjectTime}, 5000: {3, table.InCommit}, 6999: {4, table.InCommit}, 7000: {5, table.InCommit}} {
		p, err := l.Point(t.Context(), delta.Want{At: time.Unix(at, 0)})
		if err != nil || p.Time.Number != want.version || p.Time.From != want.from {
			t.Errorf("at %d s: %+v, %v; want %+v", at, p.Time, err, want)
		}
	}
}

// Trap 24: a table whose commits a catalog ratifies is refused with what lies
// beside its log.
func TestTrap24StagedCommits(t *testing.T) {
	s := appends(t, "t", 2)
	put(t, s, jsonKey("t", 0), `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["catalogManaged"],"writerFeatures":["catalogManaged","inCommitTimestamp"]}}`+"\n"+metadataLine)
	put(t, s, logKey("t", "_staged_commits/00000000000000000003.0c8b9a52-1b0e-4f0a-9a53-0d3f5c1f7c11.json"), infoLine(1))
	_, err := open(t, s, "t").NewestComplete(t.Context(), time.Time{})
	var f *delta.FeatureError
	if !errors.As(err, &f) || f.Staged != 1 || !strings.Contains(err.Error(), "managed by a catalog (catalogManaged)") || !strings.Contains(err.Error(), "1 staged") {
		t.Errorf("%v", err)
	}
}

// Trap 24, for tables whose writers ask a commit coordinator: what is published is
// read, and what is not is no reason to take an older version for the newest.
func TestTrap24UnpublishedCommits(t *testing.T) {
	property := strings.Replace(metadataLine, `"configuration":{}`, `"configuration":{"delta.coordinatedCommits.commitCoordinator-preview":"dynamodb"}`, 1)
	feature := `{"protocol":{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["coordinatedCommits-preview","inCommitTimestamp"]}}`
	for name, first := range map[string]string{
		"dynamodb":                   protocolLine + "\n" + property,
		"coordinatedCommits-preview": feature + "\n" + metadataLine,
	} {
		s := appends(t, "t", 2)
		put(t, s, jsonKey("t", 0), infoLine(1000)+"\n"+first)
		put(t, s, logKey("t", "_commits/00000000000000000002.0c8b9a52-1b0e-4f0a-9a53-0d3f5c1f7c11.json"), infoLine(1)) // published since
		snap, err := open(t, s, "t").Snapshot(t.Context(), 2)
		if err != nil || snap.Len() != 2 || !strings.Contains(snap.Coordinator(), name) {
			t.Errorf("%s, all published: %+v, %v", name, snap, err)
		}
		put(t, s, logKey("t", "_commits/00000000000000000003.0c8b9a52-1b0e-4f0a-9a53-0d3f5c1f7c11.json"), infoLine(1))
		for what, read := range map[string]func(*delta.Log) error{
			"newest complete": func(l *delta.Log) error { _, err := l.NewestComplete(t.Context(), time.Time{}); return err },
			"version 1":       func(l *delta.Log) error { _, err := l.Snapshot(t.Context(), 1); return err },
		} {
			var f *delta.FeatureError
			err := read(open(t, s, "t"))
			if !errors.As(err, &f) || f.Staged != 1 || !f.Managed() || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "have it publish (backfill) them") {
				t.Errorf("%s, one not published, %s: %v", name, what, err)
			}
		}
	}
	for _, feature := range []string{"catalogManaged", "catalogManaged-preview", "catalogOwned", "catalogOwned-preview"} {
		s := appends(t, "t", 2)
		put(t, s, jsonKey("t", 0), `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["`+feature+`"],"writerFeatures":["`+feature+`"]}}`+"\n"+metadataLine)
		var f *delta.FeatureError
		if _, err := open(t, s, "t").Snapshot(t.Context(), 2); !errors.As(err, &f) || !f.Managed() || !strings.Contains(err.Error(), "managed by a catalog ("+feature+")") || !strings.Contains(err.Error(), "recover it through its catalog") {
			t.Errorf("%s: %v", feature, err)
		}
	}
	plain := appends(t, "t", 2) // nobody's commits: a table that put-if-absent decides about
	put(t, plain, logKey("t", "_commits/00000000000000000003.0c8b9a52-1b0e-4f0a-9a53-0d3f5c1f7c11.json"), infoLine(1))
	if snap, err := open(t, plain, "t").Snapshot(t.Context(), 2); err != nil || snap.Coordinator() != "" {
		t.Errorf("of a table without a coordinator: %+v, %v", snap, err)
	}
}

// The checksum file tells where the log's content is not what was committed.
func TestChecksumFile(t *testing.T) {
	const at = "delta/dv/_delta_log/00000000000000000005.crc"
	for _, change := range [][2]string{
		{`"numFiles":`, `"numFiles":1`}, {`"tableSizeBytes":`, `"tableSizeBytes":1`},
		{`"numDeletedRecordsOpt":`, `"numDeletedRecordsOpt":1`}, {`"numDeletionVectorsOpt":`, `"numDeletionVectorsOpt":1`},
		{`"configuration":{`, `"configuration":{"delta.appendOnly":"true",`}, {`"partitionColumns":[`, `"partitionColumns":["p"`},
		{`"writerFeatures":[`, `"writerFeatures":["identityColumns",`}, {`"minReaderVersion":3`, `"minReaderVersion":2`},
		{`"setTransactions":[`, `"setTransactions":[{"appId":"stream","version":7}`},
	} {
		s := deltatest.Loaded(t, "dv")
		body, err := s.Get(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(body), change[0], change[1], 1)
		if changed == string(body) {
			t.Errorf("the checksum file has no %s", change[0])
		}
		put(t, s, at, changed)
		if _, err := open(t, s, "delta/dv").Snapshot(t.Context(), 5); !errors.Is(err, delta.ErrCorrupt) {
			t.Errorf("with %s: %v", change[1], err)
		}
	}
}
