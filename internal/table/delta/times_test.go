package delta_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/tabletest"
)

// copied makes a table whose log objects have the given modification times.
func copied(t *testing.T, modified ...int64) *tabletest.Store {
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
		p, err := l.Point(t.Context(), table.Choice{At: time.Unix(tc.at, 0)})
		if err != nil || p.Snapshot.Version.Number != tc.want || p.Time.From != table.ObjectTime || (len(p.Warnings) > 0) != tc.warned {
			t.Errorf("%s: version %+v by %s, %q, %v; want %d", name, p.Snapshot, p.Time.From, p.Warnings, err, tc.want)
		}
		times, err := l.Times(t.Context())
		if err != nil || !slices.IsSortedFunc(times.Versions, func(a, b table.Version) int { return a.Time.Compare(b.Time) }) {
			t.Errorf("%s: times contradict the order of versions: %v, %v", name, times.Versions, err)
		}
	}
	l := open(t, copied(t, 100, 200), "t")
	if _, err := l.Point(t.Context(), table.Choice{At: time.Unix(99, 0)}); !errors.Is(err, table.ErrTooEarly) {
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
				p, err := l.Point(t.Context(), table.Choice{At: time.UnixMilli(ms)})
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
		p, err := l.Point(t.Context(), table.Choice{At: time.Unix(at, 0)})
		if err != nil || p.Time.Number != want.version || p.Time.From != want.from {
			t.Errorf("at %d s: %+v, %v; want %+v", at, p.Time, err, want)
		}
	}
}

func TestTimes(t *testing.T) {
	s := appends(t, "t", 5)
	put(t, s, jsonKey("t", 2), infoLine(900)+"\n"+addLine("f2.parquet", 2, 1)) // a clock that went back
	put(t, s, jsonKey("t", 3), addLine("f3.parquet", 3, 1))                    // no commitInfo
	put(t, s, jsonKey("t", 4), `{"commitInfo":{"timestamp":5,"inCommitTimestamp":6,"operation":"WRITE"}}`+"\n"+
		strings.Replace(metadataLine, `"configuration":{}`, `"configuration":{"delta.enableInCommitTimestamps":"true"}`, 1))
	var got []string
	for c, err := range open(t, s, "t").History(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		v := c.Version
		if v.From == table.ObjectTime {
			v.Time = time.UnixMilli(0)
		}
		got = append(got, fmt.Sprintf("%d %s", v.Time.UnixMilli(), v.From))
		if snap, err := open(t, s, "t").Snapshot(t.Context(), v.Number); err != nil || snap.Version != c.Version {
			t.Errorf("version %d: history says %v, snapshot %v, %v", v.Number, c.Version, snap.Version, err)
		}
	}
	want := []string{"1000 commit info", "1001 commit info", "900 commit info", "0 object time", "6 in-commit"}
	if !slices.Equal(got[:5], want) {
		t.Errorf("times %q\nwant  %q", got, want)
	}
}

// In-commit timestamps are the engine's own, to the millisecond, and are used
// only while the table's configuration says so: one fixture switches them on at
// version 4, and off at 7 by restoring 3.
func TestInCommitTimestamps(t *testing.T) {
	store := deltatest.Loaded(t, "ict", "ict_enabled_later")
	for _, truth := range deltatest.All(t) {
		if !strings.HasPrefix(truth.Name, "ict") {
			continue
		}
		for _, want := range truth.Versions {
			snap, err := open(t, store, truth.Prefix).Snapshot(t.Context(), want.Version)
			if err != nil {
				t.Fatal(err)
			}
			from, v := table.InCommit, snap.Version
			if truth.Name != "ict" && (want.Version < 4 || want.Version > 6) {
				from = table.CommitInfo
			}
			if v.From != from || truth.Name == "ict" && v.Time.UnixMilli() != want.Millis {
				t.Errorf("%s %d: %+v; want %s, %d", truth.Name, want.Version, v, from, want.Millis)
			}
		}
	}
}

// A commit's own time counts up to the store's. A clock that is a month ahead, or that
// counts microseconds, costs its own commit's time and no later one's, wherever reading
// begins, and is named.
func TestClockAhead(t *testing.T) {
	const begun = int64(1_700_000_000)
	for name, stamp := range map[string]int64{
		"a month ahead": (begun + 30*24*3600) * 1000,
		"microseconds":  (begun + 20) * 1_000_000,
		"nanoseconds":   (begun + 20) * 1_000_000_000,
	} {
		s := &tabletest.Store{}
		put(t, s, jsonKey("t", 0), strings.Join([]string{infoLine(begun * 1000), protocolLine, metadataLine}, "\n"))
		want := []string{time.Unix(begun, 0).UTC().String()}
		for v := int64(1); v <= 5; v++ {
			at := (begun + 10*v) * 1000
			if v == 2 {
				at = stamp
			}
			put(t, s, fmt.Sprintf("t/f%d", v), "x")
			put(t, s, jsonKey("t", int(v)), infoLine(at)+"\n"+addLine(fmt.Sprintf("f%d", v), 1, 1))
			want = append(want, time.Unix(begun+10*v, 0).UTC().String())
		}
		for v := range 6 {
			s.Touch(jsonKey("t", v), time.Unix(begun+10*int64(v), 0))
		}
		l := open(t, s, "t")
		for from := range int64(6) {
			var got []string
			for c, err := range l.History(t.Context(), from) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, c.Version.Time.String())
			}
			if !slices.Equal(got, want[from:]) {
				t.Errorf("%s, read from version %d:\n got %q\nwant %q", name, from, got, want[from:])
			}
		}
		p, err := l.Point(t.Context(), table.Choice{})
		if err != nil || len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "_delta_log/00000000000000000002.json: its writer's clock said") {
			t.Errorf("%s: %q, %v", name, p.Warnings, err)
		}
	}
}
