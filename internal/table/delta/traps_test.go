package delta_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
)

// A checkpoint without all its parts or sidecars does not exist. An older start
// serves, and where there is none, nothing is replayed from the middle.
func TestIncompleteCheckpoints(t *testing.T) {
	const (
		multi = "delta/checkpoint_multipart"
		v2    = "delta/checkpoint_v2"
		v2j   = "delta/checkpoint_v2_json"
	)
	first := func(s *deltatest.Store, prefix, contains string) string {
		i := slices.IndexFunc(s.Keys(prefix), func(k string) bool { return strings.Contains(k, contains) })
		return s.Keys(prefix)[i]
	}
	for name, tc := range map[string]struct {
		prefix string
		damage func(t *testing.T, s *deltatest.Store)
	}{
		"part missing": {multi, func(_ *testing.T, s *deltatest.Store) { s.Delete(first(s, multi, "0000000007.0000000013.parquet")) }},
		"part of zeros": {multi, func(_ *testing.T, s *deltatest.Store) {
			s.Damage(first(s, multi, "0000000002.00000"), func(b []byte) { clear(b) })
		}},
		"sidecar missing": {v2, func(_ *testing.T, s *deltatest.Store) { s.Delete(first(s, v2, "_sidecars/00000000000000000009")) }},
		"another sidecar": {v2j, func(t *testing.T, s *deltatest.Store) { // good in itself, but not this one
			other, err := s.Get(t.Context(), first(s, v2j, "_sidecars/00000000000000000003"))
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, first(s, v2j, "_sidecars/00000000000000000006"), string(other))
			for _, k := range s.Keys(v2j) { // which would notice too
				if strings.HasSuffix(k, ".crc") {
					s.Delete(k)
				}
			}
		}},
		"json's sidecar": {v2j, func(_ *testing.T, s *deltatest.Store) { s.Delete(first(s, v2j, "_sidecars/00000000000000000006")) }},
		"top file cut short": {v2j, func(t *testing.T, s *deltatest.Store) {
			put(t, s, first(s, v2j, "6.checkpoint."), `{"checkpointMetadata":{"vers`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := deltatest.Loaded(t)
			l := open(t, s, tc.prefix)
			want, err := l.Snapshot(t.Context(), l.Head())
			if err != nil {
				t.Fatal(err)
			}
			tc.damage(t, s)
			got, err := open(t, s, tc.prefix).Snapshot(t.Context(), l.Head())
			if err != nil || got.Start >= want.Start || filesSHA(got, true) != filesSHA(want, true) {
				t.Fatalf("without the checkpoint: %+v, %v", got, err)
			}
			// The log as cleanup leaves it, with the damaged checkpoint its only start.
			for v := range int(want.Start) {
				s.Delete(jsonKey(tc.prefix, v))
			}
			for _, k := range s.Keys(tc.prefix + "/_delta_log/") {
				if strings.Contains(k, ".checkpoint") && !strings.Contains(k, fmt.Sprintf("%020d.checkpoint", want.Start)) {
					s.Delete(k)
				}
			}
			if got, err := open(t, s, tc.prefix).Snapshot(t.Context(), l.Head()); !errors.Is(err, delta.ErrNoStart) {
				t.Errorf("without a start: %+v, %v", got, err)
			}
			if got, err := open(t, s, tc.prefix).NewestComplete(t.Context(), time.Time{}); !errors.Is(err, table.ErrNoneComplete) {
				t.Errorf("without a start: newest is %+v, %v", got.Snapshot, err)
			}
		})
	}
}

// Contiguous commits without their beginning replay to a plausible wrong table.
func TestMissingPrefixIsRefused(t *testing.T) {
	s := appends(t, "t", 6)
	s.Delete(jsonKey("t", 0))
	s.Delete(jsonKey("t", 1))
	l := open(t, s, "t")
	if got, err := l.Snapshot(t.Context(), 6); !errors.Is(err, delta.ErrNoStart) {
		t.Errorf("Snapshot = %+v, %v", got, err)
	}
	if l.Versions() != nil {
		t.Errorf("Versions = %v", l.Versions())
	}
	// Even where version 2 carries protocol and metadata, it is no beginning.
	put(t, s, jsonKey("t", 2), protocolLine+"\n"+metadataLine+"\n"+addLine("f2.parquet", 2, 20))
	if got, err := open(t, s, "t").NewestComplete(t.Context(), time.Time{}); !errors.Is(err, table.ErrNoneComplete) || len(got.Above) == 0 {
		t.Errorf("NewestComplete = %+v, %v", got, err)
	}
}

func TestUnknownFeaturesAreRefusedByName(t *testing.T) {
	for name, protocol := range map[string]string{
		"catalogManaged":     `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors","catalogManaged"],"writerFeatures":["catalogManaged"]}}`,
		"minReaderVersion 4": `{"protocol":{"minReaderVersion":4,"minWriterVersion":7}}`,
	} {
		s := appends(t, "t", 3)
		put(t, s, jsonKey("t", 2), protocol)
		l := open(t, s, "t")
		if _, err := l.Snapshot(t.Context(), 1); err != nil {
			t.Errorf("before %s: %v", name, err)
		}
		_, err := l.Snapshot(t.Context(), 3)
		_, nerr := l.NewestComplete(t.Context(), time.Time{})
		for _, err := range []error{err, nerr} {
			var f *delta.FeatureError
			if !errors.As(err, &f) || !slices.Equal(f.Features, []string{name}) || f.Version != 2 {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A file live under two deletion vectors would count its rows twice.
func TestFileLiveTwiceIsCorrupt(t *testing.T) {
	dv := func(id string) string {
		return strings.Replace(addLine("f1.parquet", 1, 10), `"dataChange"`, `"deletionVector":{"storageType":"u","pathOrInlineDv":"`+id+`","offset":1,"sizeInBytes":34,"cardinality":1},"dataChange"`, 1)
	}
	s := appends(t, "t", 1)
	put(t, s, jsonKey("t", 2), dv("@n:}SA2zyxZRx+7KyJH)"))
	if _, err := open(t, s, "t").Snapshot(t.Context(), 2); !errors.Is(err, delta.ErrCorrupt) {
		t.Errorf("added beside itself: %v", err)
	}
	put(t, s, jsonKey("t", 2), dv("@n:}SA2zyxZRx+7KyJH)")+"\n"+`{"remove":{"path":"f1.parquet","dataChange":true}}`)
	got, err := open(t, s, "t").Snapshot(t.Context(), 2)
	if err != nil || got.Len() != 1 || got.Rows() != 9 {
		t.Errorf("replaced: %+v, %v", got, err)
	}
	if rows, err := open(t, s, "t").CommitRows(t.Context(), 2); err != nil || rows != 0 {
		t.Errorf("a replaced vector brings %d rows, %v", rows, err)
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
	want := []string{"1000 commit info", "1001 commit info", "1002 commit info", "0 object time", "6 in-commit"}
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

// Moving a cut aside makes exactly that version the head, for every version of
// every fixture, and nothing is lost by it.
func TestCutMakesTheHead(t *testing.T) {
	for _, truth := range deltatest.All(t) {
		t.Run(truth.Name, func(t *testing.T) {
			whole := deltatest.Loaded(t, truth.Name)
			for _, want := range truth.Versions {
				s := whole.Clone()
				l := open(t, s, truth.Prefix)
				before := len(s.Keys(""))
				cut, err := l.LaterThan(t.Context(), want.Version)
				if err != nil {
					t.Fatal(err)
				}
				move(t, s, cut)
				if after := len(s.Keys("")); after < before {
					t.Errorf("cut at %d: %d objects of %d left", want.Version, after, before)
				}
				after := open(t, s, truth.Prefix)
				if after.Head() != want.Version {
					t.Errorf("cut at %d: head is %d", want.Version, after.Head())
				}
				if snap, err := after.Snapshot(t.Context(), want.Version); err != nil || snap.Len() != want.LiveFiles || snap.Bytes() != want.LiveBytes {
					t.Errorf("cut at %d: %+v, %v", want.Version, snap, err)
				}
				if body, err := s.Get(t.Context(), cut.Hint); err == nil {
					if h, err := delta.ParseHint(body); err != nil || h.Version > want.Version || len(s.Keys(logKey(truth.Prefix, fmt.Sprintf("%020d.checkpoint", h.Version)))) == 0 {
						t.Errorf("cut at %d: hint %s, %v", want.Version, body, err)
					}
				}
				if again, err := after.LaterThan(t.Context(), want.Version); err != nil || len(again.Aside) > 0 || !again.KeepHint {
					t.Errorf("cut at %d again: %+v, %v", want.Version, again, err)
				}
			}
		})
	}
	if _, err := open(t, deltatest.Loaded(t, "dv"), "delta/dv").LaterThan(t.Context(), 99); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a version that is not there: %v", err)
	}
}

// move does what a caller of LaterThan does.
func move(t *testing.T, s *deltatest.Store, cut delta.Cut) {
	t.Helper()
	aside := func(key string) {
		body, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, "quarantine/"+key, string(body))
		s.Delete(key)
	}
	switch {
	case cut.KeepHint:
	case cut.HintBody != nil:
		put(t, s, cut.Hint, string(cut.HintBody))
	default:
		aside(cut.Hint)
	}
	for _, key := range cut.Aside {
		aside(key)
	}
}

// Compacted commits and checksums above the cut go too, and the order never
// leaves a hole below a commit.
func TestCutOrder(t *testing.T) {
	s := appends(t, "t", 4)
	for _, name := range []string{"00000000000000000001.00000000000000000003.compacted.json", "00000000000000000004.crc", "00000000000000000002.crc", "00000000000000000003.checkpoint.0000000001.0000000002.parquet"} {
		put(t, s, logKey("t", name), "{}")
	}
	cut, err := open(t, s, "t").LaterThan(t.Context(), 2)
	want := []string{
		"00000000000000000003.checkpoint.0000000001.0000000002.parquet", "00000000000000000001.00000000000000000003.compacted.json",
		"00000000000000000004.json", "00000000000000000004.crc", "00000000000000000003.json",
	}
	for i := range want {
		want[i] = logKey("t", want[i])
	}
	if err != nil || !slices.Equal(cut.Aside, want) {
		t.Errorf("%q, %v\nwant %q", cut.Aside, err, want)
	}
}

// A gap is known from the listing: nothing is read to run into it.
func TestGapCostsNoReads(t *testing.T) {
	s := deltatest.Loaded(t, "basic_part")
	s.Delete(jsonKey("delta/basic_part", 13))
	s.Delete(jsonKey("delta/basic_part", 10))
	put(t, s, jsonKey("delta/basic_part", 14), infoLine(1))
	l := open(t, s, "delta/basic_part")
	_, err := l.Snapshot(t.Context(), 14)
	if _, gets := s.Calls(); !errors.Is(err, delta.ErrNoStart) || gets > 0 {
		t.Errorf("%d reads, %v", gets, err)
	}
	if got := l.Gaps(); !slices.Equal(got, []table.Range{{First: 10, Last: 10}, {First: 13, Last: 13}}) {
		t.Errorf("Gaps = %v", got)
	}
	if got := l.Versions(); !slices.Equal(got, []table.Range{{First: 0, Last: 9}, {First: 12, Last: 12}}) {
		t.Errorf("Versions = %v", got)
	}
}

// A log that changes under its reader is noticed: the listing and what it named
// no longer belong together.
func TestChangedSinceListing(t *testing.T) {
	s := appends(t, "t", 2)
	l := open(t, s, "t")
	put(t, s, jsonKey("t", 2), infoLine(1002)+"\n"+addLine("another.parquet", 2, 20))
	if got, err := l.Snapshot(t.Context(), 2); !errors.Is(err, delta.ErrCorrupt) {
		t.Errorf("%+v, %v", got, err)
	}
}

// A hint at a checkpoint that lacks a part is replaced by one at a whole one.
func TestCutReplacesAHintAtHalfACheckpoint(t *testing.T) {
	const p = "delta/checkpoint_multipart"
	s := deltatest.Loaded(t, "checkpoint_multipart")
	s.Delete(logKey(p, "00000000000000000005.checkpoint.0000000003.0000000013.parquet"))
	put(t, s, logKey(p, "_last_checkpoint"), `{"version":5,"size":1,"parts":13}`)
	cut, err := open(t, s, p).LaterThan(t.Context(), 9)
	if err != nil || cut.KeepHint || len(cut.Aside) != 0 || strings.Contains(string(cut.HintBody), `"version":5`) {
		t.Errorf("%+v %s, %v", cut, cut.HintBody, err)
	}
}
