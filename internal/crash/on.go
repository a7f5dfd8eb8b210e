//go:build crashpoints

package crash

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// EnvAt names the points at which to die, separated by commas; "*" is every
// one. EnvDir names the folder in which each death leaves a file named after its
// point ([File]): what is there already is not died at again.
const (
	EnvAt  = "BREAKWATER_CRASH_AT"
	EnvDir = "BREAKWATER_CRASH_DIR"
)

// dying is held from a mark to the death after it, so that no other point is
// marked in between by a process that dies of something else.
var dying sync.Mutex

// Point kills this process with SIGKILL if it is a point asked for at which
// nobody died yet.
func Point(name string) {
	if !asked(name) {
		return
	}
	dying.Lock()
	f, err := os.OpenFile(filepath.Join(os.Getenv(EnvDir), url.PathEscape(name)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		dying.Unlock()
		return // died here before
	}
	fmt.Fprintln(f, os.Getpid()) //nolint:errcheck // the file's being there is what counts
	f.Close()                    //nolint:errcheck // as above
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		os.Exit(137)
	}
	select {} // until the signal arrives
}

func asked(name string) bool {
	for at := range strings.SplitSeq(os.Getenv(EnvAt), ",") {
		if at == "*" || at == name {
			return true
		}
	}
	return false
}
