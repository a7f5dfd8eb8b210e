package scan_test

import (
	"errors"
	"strings"
	"testing"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/deltatest/damage"
	"breakwater/internal/table/delta/rows"
	"breakwater/internal/table/delta/scan"
)

func snapshot(t testing.TB, s table.Store, name string, v int64) *delta.Snapshot {
	t.Helper()
	l, err := delta.Open(t.Context(), s, table.Root{Bucket: deltatest.Bucket, Prefix: "delta/" + name})
	if err != nil {
		t.Fatal(err)
	}
	snap, err := l.Snapshot(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// OPTIMIZE and REORG rewrite files and not rows: the digest must not move. A
// DELETE must move it.
func TestDigestSeesRowsAndNotFiles(t *testing.T) {
	store := deltatest.Loaded(t)
	var kept, moved int
	for _, truth := range deltatest.All(t) {
		var before table.Digest
		for i, v := range truth.Versions {
			if !v.Readable {
				continue
			}
			now, err := scan.Sum(t.Context(), store, snapshot(t, store, truth.Name, v.Version))
			if err != nil {
				t.Fatal(err)
			}
			if i > 0 && truth.Versions[i-1].Readable {
				switch rewrote := v.Operation == "OPTIMIZE" || v.Operation == "REORG"; {
				case rewrote && now != before:
					t.Errorf("%s %d: %s moved the digest", truth.Name, v.Version, v.Operation)
				case rewrote:
					kept++
				case v.Rows != truth.Versions[i-1].Rows && now.Sum == before.Sum:
					t.Errorf("%s %d: %s left the digest", truth.Name, v.Version, v.Operation)
				case v.Operation == "UPDATE" && now == before:
					t.Errorf("%s %d: an update left the digest", truth.Name, v.Version)
				default:
					moved++
				}
			}
			before = now
		}
	}
	if kept < 3 || moved < 100 {
		t.Errorf("too little seen: %d rewrites, %d changes", kept, moved)
	}
}

// What is damaged gives an error, and never a digest of the rest.
func TestDamageIsNotADigest(t *testing.T) {
	for name, tc := range damage.Kinds() {
		t.Run(name, func(t *testing.T) {
			s := deltatest.Loaded(t, "dv")
			snap := snapshot(t, s, "dv", 5)
			var data, vector string
			for a := range snap.Files() {
				if a.Vector != nil {
					_, data = a.File()
					_, vector = a.Vector.File()
				}
			}
			tc.Do(s, data, vector)
			if d, err := scan.Sum(t.Context(), s, snap); !errors.Is(err, tc.Want) || d != (table.Digest{}) {
				t.Errorf("Sum = %v, %v; want %v", d, err, tc.Want)
			}
		})
	}
}

// A column that cannot be read is refused by name, not left out.
func TestUnknownTypeIsRefused(t *testing.T) {
	s := deltatest.Loaded(t, "basic_part")
	snap := snapshot(t, s, "basic_part", 1)
	snap.Metadata.SchemaString = strings.Replace(snap.Metadata.SchemaString, `"integer"`, `"variant"`, 1)
	_, err := scan.Sum(t.Context(), s, snap)
	var refused *rows.TypeError
	if !errors.As(err, &refused) || refused.Column != "n" || refused.Type != "variant" {
		t.Errorf("%v", err)
	}
}

// A file with other rows than the log recorded is another file, whatever its
// size: the log's row counts would lie.
func TestRowsUnlikeTheStatistics(t *testing.T) {
	s := deltatest.Loaded(t, "basic_part")
	const commit = "delta/basic_part/_delta_log/00000000000000000001.json"
	body, err := s.Get(t.Context(), commit)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(string(body), `\"numRecords\":`, `\"numRecords\":1`, 1)
	if err := s.Put(t.Context(), commit, []byte(other)); err != nil || other == string(body) {
		t.Fatal("nothing replaced", err)
	}
	if d, err := scan.Sum(t.Context(), s, snapshot(t, s, "basic_part", 1)); !errors.Is(err, delta.ErrCorrupt) {
		t.Errorf("Sum = %v, %v", d, err)
	}
}
