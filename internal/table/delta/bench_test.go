package delta_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"breakwater/internal/table/tabletest"
)

// A log of 10,000 commits without any checkpoint, read and replayed.
func BenchmarkSnapshotOf10000Commits(b *testing.B) {
	s := appends(b, "t", 10_000)
	l := open(b, s, "t")
	b.ReportAllocs()
	for b.Loop() {
		if snap, err := l.Snapshot(b.Context(), 10_000); err != nil || snap.Len() != 10_000 {
			b.Fatal(err)
		}
	}
}

// Completeness of a table of 100,000 files over 100 commits, of which the last
// lacks one object.
func BenchmarkNewestCompleteOf100000Files(b *testing.B) {
	const commits, each = 100, 1000
	s := &tabletest.Store{}
	put(b, s, jsonKey("t", 0), strings.Join([]string{infoLine(1000), protocolLine, metadataLine}, "\n"))
	for v := 1; v <= commits; v++ {
		lines := []string{infoLine(int64(1000 + v))}
		for i := range each {
			name := fmt.Sprintf("p=%d/part-%05d-%06d.parquet", i%10, v, i)
			lines = append(lines, addLine(name, 1, 10))
			if v < commits || i > 0 {
				put(b, s, "t/"+name, "x")
			}
		}
		put(b, s, jsonKey("t", v), strings.Join(lines, "\n"))
	}
	b.ReportAllocs()
	for b.Loop() {
		got, err := open(b, s, "t").NewestComplete(b.Context(), time.Time{})
		if err != nil || got.Snapshot.Version.Number != commits-1 || len(got.Above) != 1 || len(got.Above[0].Lacks) != 1 {
			b.Fatal(err)
		}
	}
}
