package check_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/internal/reach"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/check"
	"breakwater/internal/table/delta/deltatest"
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

// What real engines wrote is sound, read whole, and of every version it is known
// whether it can still be read.
func TestTheEnginesTablesAreSound(t *testing.T) {
	store := deltatest.Loaded(t)
	for _, truth := range deltatest.All(t) {
		l := open(t, store, truth.Prefix)
		r, err := check.Table(t.Context(), store, l, check.Options{Sample: -1, Now: time.Now()})
		if err != nil || !r.Sound() || r.Version != l.Head() {
			t.Errorf("%s: %+v, %v", truth.Name, r, err)
			continue
		}
		last := truth.Versions[len(truth.Versions)-1]
		if r.Sampled || r.Footers != last.LiveFiles || r.Vectors != last.DVFiles || r.Objects < r.Footers {
			t.Errorf("%s: %d footers of %d, %d vectors of %d, %d objects", truth.Name, r.Footers, last.LiveFiles, r.Vectors, last.DVFiles, r.Objects)
		}
		var readable []int64
		for _, v := range truth.Versions {
			if v.Readable {
				readable = append(readable, v.Version)
			}
		}
		if want := table.Ranges(readable); !slices.Equal(r.Travel.Readable, want) {
			t.Errorf("%s: versions %v can be read, want %v", truth.Name, r.Travel.Readable, want)
		}
	}
}

// Each damage is found and called by its name, and nothing else is.
func TestDamages(t *testing.T) {
	const p, d = "delta/basic_part", "delta/dv"
	live := func(t *testing.T, s *tabletest.Store, prefix string, v int64, vector bool) string {
		snap, err := open(t, s, prefix).Snapshot(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		for f, err := range snap.Closure() {
			if err != nil {
				t.Fatal(err)
			}
			if f.Why == table.DeletionVector && vector || f.Why == table.Data && !vector {
				return f.Key
			}
		}
		t.Fatal("it has no such object")
		return ""
	}
	put := func(t *testing.T, s *tabletest.Store, key, body string) {
		if err := s.Put(t.Context(), key, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		prefix  string
		version int64
		damage  func(t *testing.T, s *tabletest.Store)
		want    string // complete, missing, resized, kinds
		text    string
	}{
		"nothing": {p, 13, func(*testing.T, *tabletest.Store) {}, "true 0 0 []", ""},
		"data file gone": {p, 13, func(t *testing.T, s *tabletest.Store) { s.Delete(live(t, s, p, 13, false)) },
			"false 1 0 []", ""},
		"data file cut short": {p, 13, func(t *testing.T, s *tabletest.Store) { put(t, s, live(t, s, p, 13, false), "PAR1") },
			"false 0 1 []", ""},
		"last magic": {p, 13, func(t *testing.T, s *tabletest.Store) {
			s.Damage(live(t, s, p, 13, false), func(b []byte) { b[len(b)-1] ^= 1 })
		}, "true 0 0 [data file]", "malformed parquet"},
		"first magic": {p, 13, func(t *testing.T, s *tabletest.Store) {
			s.Damage(live(t, s, p, 13, false), func(b []byte) { b[0] ^= 1 })
		}, "true 0 0 [data file]", "malformed parquet"},
		"row count": {p, 13, func(t *testing.T, s *tabletest.Store) {
			body, err := s.Get(t.Context(), jsonKey(p, 13))
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, jsonKey(p, 13), strings.Replace(string(body), `{\"numRecords\":`, `{\"numRecords\":1`, 1))
		}, "true 0 0 [data file]", "its footer counts"},
		"vector's bytes": {d, 5, func(t *testing.T, s *tabletest.Store) {
			s.Damage(live(t, s, d, 5, true), func(b []byte) { b[len(b)-6] ^= 1 })
		}, "true 0 0 [deletion vector]", "checksum"},
		"vector gone": {d, 5, func(t *testing.T, s *tabletest.Store) { s.Delete(live(t, s, d, 5, true)) },
			"false 1 0 []", ""},
		"gap": {p, 13, func(_ *testing.T, s *tabletest.Store) { s.Delete(jsonKey(p, 10)) },
			"true 0 0 [log]", "no commit of version 10"},
		"no way to the head": {p, 13, func(_ *testing.T, s *tabletest.Store) {
			for _, k := range s.Keys(p + "/_delta_log/") {
				if strings.Contains(k, ".checkpoint.") || strings.HasSuffix(k, "00010.json") {
					s.Delete(k)
				}
			}
		}, "false 0 0 [log log hint]", "cannot be reconstructed"},
		"checksum": {p, 13, func(t *testing.T, s *tabletest.Store) {
			put(t, s, p+"/_delta_log/00000000000000000013.crc", `{"numFiles":99}`)
		}, "false 0 0 [log]", "records numFiles 99"},
		"compaction that lies": {p, 13, func(t *testing.T, s *tabletest.Store) {
			put(t, s, p+"/_delta_log/00000000000000000002.00000000000000000004.compacted.json", `{"add":{"path":"x.parquet","size":1,"dataChange":true}}`)
		}, "true 0 0 [log]", "contradicts the commits 2 to 4 that it stands for: it adds delta/basic_part/x.parquet"},
		"compaction of commits that are gone": {p, 13, func(t *testing.T, s *tabletest.Store) {
			put(t, s, p+"/_delta_log/00000000000000000012.00000000000000000015.compacted.json", `{"txn":{"appId":"a","version":1}}`)
		}, "true 0 0 [log]", "speak of versions above the head 13"},
		"compaction over a gap": {p, 13, func(t *testing.T, s *tabletest.Store) {
			s.Delete(jsonKey(p, 10))
			put(t, s, p+"/_delta_log/00000000000000000009.00000000000000000011.compacted.json", `{"txn":{"appId":"a","version":1}}`)
		}, "true 0 0 [log]", "00000000000000000009.00000000000000000011.compacted.json tells of versions 9 to 11, and no engine reads it"},
		"hint past the head": {p, 13, func(t *testing.T, s *tabletest.Store) {
			put(t, s, p+"/_delta_log/_last_checkpoint", `{"version":40,"size":1}`)
		}, "true 0 0 [hint]", "the log ends at 13"},
		"hint at nothing": {p, 13, func(t *testing.T, s *tabletest.Store) {
			put(t, s, p+"/_delta_log/_last_checkpoint", `{"version":6,"size":1}`)
		}, "true 0 0 [hint]", "not there whole"},
		"checkpoint that does not open": {p, 13, func(t *testing.T, s *tabletest.Store) {
			for _, k := range s.Keys(p + "/_delta_log/") {
				if strings.HasSuffix(k, ".checkpoint.parquet") {
					s.Damage(k, func(b []byte) { b[len(b)-6] ^= 0xff })
				}
			}
		}, "true 0 0 [log]", "engines that start from it fail"},
		"hint of noise": {p, 13, func(t *testing.T, s *tabletest.Store) { put(t, s, p+"/_delta_log/_last_checkpoint", "noise") },
			"true 0 0 [hint]", "_last_checkpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			s := deltatest.Loaded(t, strings.TrimPrefix(tc.prefix, "delta/"))
			tc.damage(t, s)
			r, err := check.Table(t.Context(), s, open(t, s, tc.prefix), check.Options{Sample: -1, Want: table.Choice{Version: &tc.version}})
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			text := ""
			for _, p := range r.Problems {
				kinds = append(kinds, string(p.Kind))
				text += p.Text + "\n"
			}
			got := fmt.Sprintf("%v %d %d %v", r.Complete, len(r.Missing), len(r.Resized), kinds)
			if got != tc.want || !strings.Contains(text, tc.text) || r.Sound() != (name == "nothing") {
				t.Errorf("%s, want %s: %s", got, tc.want, text)
			}
		})
	}
}

func jsonKey(prefix string, v int) string { return fmt.Sprintf("%s/_delta_log/%020d.json", prefix, v) }

// What could not be read is no verdict.
func TestNoAnswerIsNoVerdict(t *testing.T) {
	for _, part := range []string{".parquet", "deletion_vector_", "_last_checkpoint"} {
		s := deltatest.Loaded(t, "dv")
		v := int64(5)
		l := open(t, s, "delta/dv")
		s.Fail = func(op, key string) error {
			if op == "get" && strings.Contains(key, part) && !strings.Contains(key, "checkpoint.parquet") {
				return fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
			}
			return nil
		}
		if r, err := check.Table(t.Context(), s, l, check.Options{Sample: -1, Want: table.Choice{Version: &v}}); !reach.Unreachable(err) {
			t.Errorf("%s: %+v, %v", part, r.Problems, err)
		}
	}
}

// A sample is drawn by its seed, and is said to be one.
func TestSample(t *testing.T) {
	s := deltatest.Loaded(t, "many_commits")
	l := open(t, s, "delta/many_commits")
	r, err := check.Table(t.Context(), s, l, check.Options{Sample: 2, Seed: 9})
	if err != nil || !r.Sampled || r.Seed != 9 || r.Footers != 2 || r.Files <= 2 {
		t.Errorf("%+v, %v", r, err)
	}
	_, before := s.Calls()
	if _, err := check.Table(t.Context(), s, l, check.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, after := s.Calls(); after == before {
		t.Error("nothing was read at all")
	}
}

// Versions that nothing promises any more are not missed.
func TestRetention(t *testing.T) {
	s := deltatest.Loaded(t, "vacuumed")
	l := open(t, s, "delta/vacuumed")
	times, err := l.Times(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	committed := func(v int64) time.Time {
		at, ok := times.Of(v)
		if !ok {
			t.Fatalf("version %d has no time", v)
		}
		return at.Time
	}
	for name, tc := range map[string]struct {
		now  time.Time
		lost []table.Range
	}{
		"all are promised":                {committed(7), []table.Range{{First: 1, Last: 4}}},
		"one was current within the week": {committed(5).Add(7 * 24 * time.Hour), []table.Range{{First: 4, Last: 4}}},
		"long ago":                        {committed(7).Add(8 * 24 * time.Hour), nil},
	} {
		r, err := check.Table(t.Context(), s, l, check.Options{Now: tc.now})
		if err != nil || !slices.Equal(r.Travel.Lost, tc.lost) || len(r.Warnings) == 0 != (tc.lost == nil) {
			t.Errorf("%s: %+v %q, %v", name, r.Travel, r.Warnings, err)
		}
	}
}

func TestUnknownFeatureIsAnError(t *testing.T) {
	s := deltatest.Loaded(t, "empty")
	if err := s.Put(t.Context(), jsonKey("delta/empty", 4), []byte(`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["someday"],"writerFeatures":["someday"]}}`)); err != nil {
		t.Fatal(err)
	}
	var f *delta.FeatureError
	if _, err := check.Table(t.Context(), s, open(t, s, "delta/empty"), check.Options{}); !errors.As(err, &f) {
		t.Errorf("%v", err)
	}
}

// Trap 28: two copies of a log that both went on have a fork, and it is found by
// comparing commits, not by their numbers.
func TestTrap28DivergedLogs(t *testing.T) {
	const p = "delta/basic_part"
	commit := func(s *tabletest.Store, v int, who string) {
		if err := s.Put(t.Context(), jsonKey(p, v), []byte(`{"commitInfo":{"timestamp":1,"operation":"`+who+`"}}`)); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		change   func(here, there *tabletest.Store)
		common   int64
		diverged bool
	}{
		"equal":         {func(_, _ *tabletest.Store) {}, 13, false},
		"one is behind": {func(_, there *tabletest.Store) { there.Delete(jsonKey(p, 13)) }, 12, false},
		"same number":   {func(here, there *tabletest.Store) { commit(here, 14, "here"); commit(there, 14, "them") }, 13, true},
		"one went further": {func(here, there *tabletest.Store) {
			commit(here, 14, "HERE")
			commit(there, 14, "them")
			commit(there, 15, "them")
		}, 13, true},
		"cleaned up on one side": {func(here, there *tabletest.Store) {
			for v := range 8 {
				there.Delete(jsonKey(p, v))
			}
			commit(here, 14, "HERE")
			commit(there, 14, "them")
		}, 13, true},
	} {
		here := deltatest.Loaded(t, "basic_part")
		there := here.Clone()
		tc.change(here, there)
		r, err := check.Table(t.Context(), here, open(t, here, p), check.Options{Against: open(t, there, p)})
		if err != nil || r.Fork == nil || r.Fork.Common != tc.common || r.Fork.Diverged() != tc.diverged || r.Sound() == tc.diverged {
			t.Errorf("%s: %+v %+v, %v", name, r.Fork, r.Problems, err)
		}
	}
	// Nothing in common proves nothing: it is a problem, not a pass.
	here, other := deltatest.Loaded(t, "basic_part"), deltatest.Loaded(t, "log_truncated")
	for v := range 6 {
		other.Delete(jsonKey("delta/log_truncated", v))
	}
	for v := 5; v < 14; v++ {
		here.Delete(jsonKey(p, v))
	}
	r, err := check.Table(t.Context(), here, open(t, here, p), check.Options{Against: open(t, other, "delta/log_truncated")})
	if err != nil || r.Sound() {
		t.Errorf("nothing in common: %+v, %v", r.Problems, err)
	}
}
