//go:build crashpoints

package crash

import (
	"fmt"
	"os"
	"syscall"
)

// EnvAt names the point at which to die; EnvMark names a file that is created
// first, and whose presence means that the death already happened.
const (
	EnvAt   = "BREAKWATER_CRASH_AT"
	EnvMark = "BREAKWATER_CRASH_MARK"
)

// Point kills this process with SIGKILL if it is the point asked for and the
// mark is not there yet.
func Point(name string) {
	if name != os.Getenv(EnvAt) {
		return
	}
	f, err := os.OpenFile(os.Getenv(EnvMark), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return // died here before
	}
	fmt.Fprintln(f, name)
	f.Close()
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		os.Exit(137)
	}
	select {} // until the signal arrives
}
