// Package memtest measures how much memory a piece of a test takes, in a process of its
// own, so that nothing else of the test is counted.
package memtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// given names the variable by which a measured process gets what was prepared for it.
const given = "BREAKWATER_MEASURED"

// peak begins the line with which Linux tells of it.
const peak = "VmHWM:"

// Peak starts the test that calls it once more, as a process of its own which calls do
// with what prepare returned, and returns that process's peak memory in MiB and how long
// it took. In that process itself measured is false, and the test has nothing left to do.
func Peak(t *testing.T, prepare func() string, do func(prepared string)) (mib int, took time.Duration, measured bool) {
	t.Helper()
	if prepared, child := os.LookupEnv(given); child {
		do(prepared)
		// The kernel's own count. What the parent learns at the end of a child counts
		// the parent's memory, too, which the child has until it is another program.
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(status) {
			if bytes.HasPrefix(line, []byte(peak)) {
				fmt.Fprintf(os.Stderr, "%s", line)
			}
		}
		return 0, 0, false
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.count=1", "-test.timeout=60m")
	cmd.Env = append(os.Environ(), given+"="+prepare())
	at := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var kib int
	for line := range bytes.Lines(out) {
		if rest, ok := strings.CutPrefix(string(line), peak); ok {
			_, err = fmt.Sscan(rest, &kib)
		}
	}
	if err != nil || kib == 0 {
		t.Fatalf("the measured process says nothing of its memory (%v): %s", err, out)
	}
	return kib >> 10, time.Since(at), true
}
