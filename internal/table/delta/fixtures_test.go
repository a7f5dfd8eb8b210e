package delta_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
)

func root(prefix string) table.Root { return table.Root{Bucket: deltatest.Bucket, Prefix: prefix} }

func open(t testing.TB, s table.Store, prefix string) *delta.Log {
	t.Helper()
	l, err := delta.Open(t.Context(), s, root(prefix))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// filesSHA is the digest of live files as the fixtures define it: Spark's with
// deletion vectors, delta-rs's with path and size only.
func filesSHA(s *delta.Snapshot, vectors bool) string {
	var lines []string
	for a := range s.Files() {
		if !vectors {
			lines = append(lines, fmt.Sprintf("%s\t%d", a.Path, a.Size))
			continue
		}
		var cardinality int64
		if a.Vector != nil {
			cardinality = a.Vector.Cardinality
		}
		lines = append(lines, fmt.Sprintf("%s\t%d\t%s\t%d", a.Path, a.Size, a.Vector.ID(), cardinality))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])
}

// Every version of every table that Spark and delta-rs wrote has the files that
// they say it has, also where its data was vacuumed since.
func TestSnapshotsAreTheEngines(t *testing.T) {
	store := deltatest.Loaded(t)
	for _, truth := range deltatest.All(t) {
		t.Run(truth.Name, func(t *testing.T) {
			l := open(t, store, truth.Prefix)
			for _, want := range truth.Versions {
				s, err := l.Snapshot(t.Context(), want.Version)
				if err != nil {
					t.Errorf("version %d: %v", want.Version, err)
					continue
				}
				if s.Version.Number != want.Version || s.Version.Time.IsZero() {
					t.Errorf("version %d calls itself %+v", want.Version, s.Version)
				}
				if s.Len() != want.LiveFiles || s.Bytes() != want.LiveBytes {
					t.Errorf("version %d: %d files of %d bytes; want %d of %d", want.Version, s.Len(), s.Bytes(), want.LiveFiles, want.LiveBytes)
				}
				if want.FilesSHA != "" && filesSHA(s, true) != want.FilesSHA || want.PathsSHA != "" && filesSHA(s, false) != want.PathsSHA {
					t.Errorf("version %d: other files than the engine's", want.Version)
				}
				if want.FilesSHA == "" && want.PathsSHA == "" {
					t.Errorf("version %d: nothing to compare with", want.Version)
				}
				if rows := s.Rows(); want.Readable && rows != want.Rows && rows != -1 {
					t.Errorf("version %d has %d rows; want %d", want.Version, rows, want.Rows)
				}
				lacks, counted, err := table.Lacking(t.Context(), s.Closure(), store.List(t.Context(), ""))
				if err != nil || counted == 0 || (len(lacks) == 0) != want.Readable {
					t.Errorf("version %d, readable %v: %d of %d objects lacking, %v: %v", want.Version, want.Readable, len(lacks), counted, err, lacks)
				}
			}
		})
	}
}

// Where a start was cleaned away or a version never was, nothing is made up.
func TestSnapshotOutsideOfTheLog(t *testing.T) {
	store := deltatest.Loaded(t, "log_truncated")
	l := open(t, store, "delta/log_truncated")
	if _, err := l.Snapshot(t.Context(), 5); !errors.Is(err, delta.ErrNoStart) {
		t.Errorf("version 5: %v", err)
	}
	if got := l.Versions(); !slices.Equal(got, []table.Range{{First: 6, Last: 8}}) {
		t.Errorf("Versions = %v", got)
	}
}
