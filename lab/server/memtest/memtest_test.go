package memtest_test

import (
	"testing"

	"breakwater/lab/server/memtest"
)

// TestPeak measures a process that takes what it is asked to take.
func TestPeak(t *testing.T) {
	mib, _, measured := memtest.Peak(t, func() string { return "taken" }, func(prepared string) {
		taken := make([]byte, 100<<20)
		for i := range taken {
			taken[i] = prepared[i%len(prepared)]
		}
		if taken[len(taken)-1] == 0 {
			t.Error("nothing was taken")
		}
	})
	if measured && (mib < 100 || mib > 200) {
		t.Errorf("peak memory %d MiB, of a process that takes 100", mib)
	}
}
