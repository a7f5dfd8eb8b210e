package delta_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/tabletest"
)

// Moving aside what is later makes exactly that version the head, for every version of
// every fixture, and nothing is lost by it.
func TestLaterMakesTheHead(t *testing.T) {
	for _, truth := range deltatest.All(t) {
		t.Run(truth.Name, func(t *testing.T) {
			whole := deltatest.Loaded(t, truth.Name)
			for _, want := range truth.Versions {
				s := whole.Clone()
				l := open(t, s, truth.Prefix)
				before := len(s.Keys(""))
				later, err := l.LaterThan(t.Context(), want.Version)
				if err != nil {
					t.Fatal(err)
				}
				move(t, s, later)
				if after := len(s.Keys("")); after < before {
					t.Errorf("later than %d: %d objects of %d left", want.Version, after, before)
				}
				after := open(t, s, truth.Prefix)
				if after.Head() != want.Version {
					t.Errorf("later than %d: head is %d", want.Version, after.Head())
				}
				if snap, err := after.Snapshot(t.Context(), want.Version); err != nil || snap.Len() != want.LiveFiles || snap.Bytes() != want.LiveBytes {
					t.Errorf("later than %d: %+v, %v", want.Version, snap, err)
				}
				if body, err := s.Get(t.Context(), later.Hint); err == nil {
					if h, err := delta.ParseHint(body); err != nil || h.Version > want.Version || len(s.Keys(logKey(truth.Prefix, fmt.Sprintf("%020d.checkpoint", h.Version)))) == 0 {
						t.Errorf("later than %d: hint %s, %v", want.Version, body, err)
					}
				}
				if again, err := after.LaterThan(t.Context(), want.Version); err != nil || len(again.Aside) > 0 || !again.KeepHint {
					t.Errorf("later than %d again: %+v, %v", want.Version, again, err)
				}
			}
		})
	}
	if _, err := open(t, deltatest.Loaded(t, "dv"), "delta/dv").LaterThan(t.Context(), 99); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a version that is not there: %v", err)
	}
}

// move does what a caller of LaterThan does.
func move(t *testing.T, s *tabletest.Store, later delta.Later) {
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
	case later.KeepHint:
	case later.HintBody != nil:
		put(t, s, later.Hint, string(later.HintBody))
	default:
		aside(later.Hint)
	}
	for _, key := range later.Aside {
		aside(key)
	}
}

// Compacted commits and checksums above a version go too, and the order never
// leaves a hole below a commit.
func TestLaterOrder(t *testing.T) {
	s := appends(t, "t", 4)
	for _, name := range []string{"00000000000000000001.00000000000000000003.compacted.json", "00000000000000000004.crc", "00000000000000000002.crc", "00000000000000000003.checkpoint.0000000001.0000000002.parquet"} {
		put(t, s, logKey("t", name), "{}")
	}
	later, err := open(t, s, "t").LaterThan(t.Context(), 2)
	want := []string{
		"00000000000000000003.checkpoint.0000000001.0000000002.parquet", "00000000000000000001.00000000000000000003.compacted.json",
		"00000000000000000004.json", "00000000000000000004.crc", "00000000000000000003.json",
	}
	for i := range want {
		want[i] = logKey("t", want[i])
	}
	if err != nil || !slices.Equal(later.Aside, want) {
		t.Errorf("%q, %v\nwant %q", later.Aside, err, want)
	}
}

// A hint at a checkpoint that lacks a part is replaced by one at a whole one.
func TestLaterReplacesAHintAtHalfACheckpoint(t *testing.T) {
	const p = "delta/checkpoint_multipart"
	s := deltatest.Loaded(t, "checkpoint_multipart")
	s.Delete(logKey(p, "00000000000000000005.checkpoint.0000000003.0000000013.parquet"))
	put(t, s, logKey(p, "_last_checkpoint"), `{"version":5,"size":1,"parts":13}`)
	later, err := open(t, s, p).LaterThan(t.Context(), 9)
	if err != nil || later.KeepHint || len(later.Aside) != 0 || strings.Contains(string(later.HintBody), `"version":5`) {
		t.Errorf("%+v %s, %v", later, later.HintBody, err)
	}
}

// A hint at a checkpoint that does not open is not kept: readers that believe it fail.
func TestLaterKeepsNoHintThatCannotBeFollowed(t *testing.T) {
	const p = "delta/basic_part"
	s := deltatest.Loaded(t, "basic_part")
	v := open(t, s, p).Head()
	if later, err := open(t, s, p).LaterThan(t.Context(), v); err != nil || !later.KeepHint {
		t.Fatalf("a good hint is not kept: %+v, %v", later, err)
	}
	var hinted string
	for _, k := range s.Keys(p + "/_delta_log/") {
		if strings.HasSuffix(k, ".checkpoint.parquet") {
			hinted = k // the newest
		}
	}
	s.Damage(hinted, func(b []byte) { b[len(b)-6] ^= 0xff })
	later, err := open(t, s, p).LaterThan(t.Context(), v)
	if err != nil || later.KeepHint || strings.Contains(string(later.HintBody), strings.TrimLeft(strings.TrimSuffix(strings.TrimPrefix(hinted, p+"/_delta_log/"), ".checkpoint.parquet"), "0")) {
		t.Errorf("%s is damaged, and the hint stays: %+v %s, %v", hinted, later, later.HintBody, err)
	}
}

// A checkpoint that a hint should name is read once, to see that it opens, and not again
// for its size.
func TestLaterReadsACheckpointOnce(t *testing.T) {
	s := large(t, 2000)
	put(t, s, jsonKey("t", 11), infoLine(1100))
	put(t, s, delta.HintKey(table.Root{Prefix: "t"}), `{"version":11,"size":1}`)
	reads := 0
	s.Fail = func(op, key string) error {
		if op == "get" && strings.Contains(key, ".checkpoint.") {
			reads++
		}
		return nil
	}
	l := open(t, s, "t")
	if _, err := l.Snapshot(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	once := reads
	later, err := l.LaterThan(t.Context(), 10)
	if err != nil || string(later.HintBody) != `{"version":10,"size":2002}` {
		t.Fatalf("%+v with hint %s, %v", later, later.HintBody, err)
	}
	if reads != 2*once {
		t.Errorf("%d requests for the checkpoint, and %d read it whole", reads-once, once)
	}
}
