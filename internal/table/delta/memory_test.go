package delta_test

import (
	"slices"
	"testing"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
)

// What a table takes in memory follows from the newest checkpoint and the commits after
// it, and not from what else lies in its log.
func TestMemoryFollowsTheNewestCheckpoint(t *testing.T) {
	s := large(t, 20_000)
	body, err := s.Get(t.Context(), logKey("t", "00000000000000000010.checkpoint.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	alone := open(t, s, "t").Memory()
	if want := int64(10 * len(body)); alone != want {
		t.Errorf("a checkpoint of %d bytes: %d, want %d", len(body), alone, want)
	}
	put(t, s, jsonKey("t", 11), infoLine(1100))
	put(t, s, jsonKey("t", 9), infoLine(900))
	put(t, s, logKey("t", "00000000000000000008.checkpoint.parquet"), string(body))
	put(t, s, logKey("t", "00000000000000000011.checkpoint.0000000001.0000000002.parquet"), string(body)) // a part is not there
	if got, want := open(t, s, "t").Memory(), alone+int64(len(infoLine(1100))); got != want {
		t.Errorf("with more around it: %d, want %d", got, want)
	}
	put(t, s, logKey("t", "00000000000000000011.checkpoint.0000000002.0000000002.parquet"), string(body))
	if got, want := open(t, s, "t").Memory(), 2*alone; got != want {
		t.Errorf("a newer one in two parts: %d, want %d", got, want)
	}
}

// The sidecars of a checkpoint are as much as it.
func TestSidecarsTakeMemory(t *testing.T) {
	seen := false
	for _, truth := range deltatest.All(t) {
		if !slices.Contains(truth.TableFeatures, "v2Checkpoint") {
			continue
		}
		s := deltatest.Loaded(t, truth.Name)
		l, err := delta.Open(t.Context(), s, table.Root{Bucket: deltatest.Bucket, Prefix: "delta/" + truth.Name})
		if err != nil {
			t.Fatal(err)
		}
		before := l.Memory()
		for _, key := range s.Keys("delta/" + truth.Name + "/_delta_log/_sidecars/") {
			s.Delete(key)
			seen = true
		}
		if l, err = delta.Open(t.Context(), s, table.Root{Bucket: deltatest.Bucket, Prefix: "delta/" + truth.Name}); err != nil {
			t.Fatal(err)
		}
		if seen && l.Memory() >= before {
			t.Errorf("%s: %d with sidecars and %d without", truth.Name, before, l.Memory())
		}
	}
	if !seen {
		t.Error("no table has sidecars")
	}
}
