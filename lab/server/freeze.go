package server

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"breakwater/internal/poll"
)

// Freeze makes a process hang: its connections stay, new ones are accepted by the
// kernel, and nobody answers. It stops every thread, and returns when the last of
// them stands: the signal takes effect thread by thread, and until then an answer
// may still come. A process that is gone wraps syscall.ESRCH.
func Freeze(ctx context.Context, pid int) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("freeze process %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return poll.Until(ctx, 5*time.Millisecond, func(context.Context) (bool, error) {
		done, err := stands(pid)
		if err == nil && !done {
			return false, fmt.Errorf("freeze process %d: it does not stop", pid)
		}
		return true, err
	})
}

// stands reports whether every thread of the process stands still.
func stands(pid int) (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false, err
	}
	if len(threads) == 0 {
		return false, fmt.Errorf("freeze process %d: it has no threads: %w", pid, syscall.ESRCH)
	}
	for _, path := range threads {
		// The state is the word after the command's name, which is in parentheses and
		// may hold others. A thread that has ended meanwhile answers no more.
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if i := bytes.LastIndexByte(text, ')'); i < 0 || !bytes.HasPrefix(text[i+1:], []byte(" T")) {
			return false, nil
		}
	}
	return true, nil
}

// Thaw lets a frozen process go on. One that runs is not disturbed.
func Thaw(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		return fmt.Errorf("thaw process %d: %w", pid, err)
	}
	return nil
}
