package deltatest

import (
	"iter"
	"testing"

	"breakwater/internal/table/tabletest"
)

// All is what the engines say of all tables; the test ends where they are not all
// there.
func All(t testing.TB) []Truth {
	t.Helper()
	all, err := Tables()
	if err != nil || len(all) != 31 {
		t.Fatalf("%d fixtures, want 31: %v", len(all), err)
	}
	return all
}

// Readable yields every version of every table of which the data is still there.
func Readable(t testing.TB) iter.Seq2[Truth, VersionTruth] {
	t.Helper()
	all := All(t)
	return func(yield func(Truth, VersionTruth) bool) {
		for _, truth := range all {
			for _, v := range truth.Versions {
				if v.Readable && !yield(truth, v) {
					return
				}
			}
		}
	}
}

// Loaded is [Load] in a test.
func Loaded(t testing.TB, names ...string) *tabletest.Store {
	t.Helper()
	s, err := Load(names...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
