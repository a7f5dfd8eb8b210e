// Package server is the one way in which tests and the laboratory start a server:
// as a process of its own on loopback ports, with a log and a question that says
// when it serves.
//
// [Start] starts a process. [Process] finds it again, also from another command,
// and ends it. [Server] is what to start, together with the process that runs, so
// that one that was killed can be started again on its ports and data. [Child] is
// a Server of a test, which ends with the test's own process.
package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"breakwater/internal/poll"
)

// Command is what to start.
type Command struct {
	Name string // in errors; the binary's when empty
	Bin  string
	Args []string
	Env  []string // besides this process's own
	Dir  string   // working folder; this process's own when empty
	Log  string   // file to which its output is appended; its folder is made
	// Bound ends the process with the one that starts it, however that ends.
	// Otherwise it outlives it, and an interrupt at the terminal does not reach it.
	Bound bool
}

func (c Command) name() string {
	if c.Name != "" {
		return c.Name
	}
	return filepath.Base(c.Bin)
}

// Process is a process that this or an earlier command has started. Pid and
// Started together name it: a pid that was given to somebody else since has
// another start time. The zero value does not run.
type Process struct {
	Pid     int    `json:"pid"`
	Started uint64 `json:"started"` // clock ticks since the machine started, as the kernel counts
}

// ended has, for every process that this one has started, a channel that is closed
// when the process has ended and its log says how.
var ended sync.Map // of Process to chan struct{}

// endOf is that channel; false for a process that another one has started.
func endOf(p Process) (<-chan struct{}, bool) {
	v, _ := ended.Load(p)
	gone, ours := v.(chan struct{})
	return gone, ours
}

// Start starts a process. When it has ended, its log says how.
func Start(c Command) (Process, error) {
	fail := func(err error) (Process, error) { return Process{}, fmt.Errorf("start %s: %w", c.name(), err) }
	if err := os.MkdirAll(filepath.Dir(c.Log), 0o755); err != nil {
		return fail(err)
	}
	out, err := os.OpenFile(c.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fail(err)
	}
	defer out.Close()                     //nolint:errcheck // the server has its own handle
	cmd := exec.Command(c.Bin, c.Args...) //nolint:noctx // the server outlives the call that started it
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, out, out
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.Bound {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if err := cmd.Start(); err != nil {
		return fail(err)
	}
	p := Process{Pid: cmd.Process.Pid}
	p.Started, _, err = stat(p.Pid) // before it can be reaped
	gone := make(chan struct{})
	ended.Store(p, gone)
	go func() {
		defer close(gone)
		_ = cmd.Wait()                                                              // reaps it; whoever misses the server reports that, with its log
		if log, err := os.OpenFile(c.Log, os.O_WRONLY|os.O_APPEND, 0); err == nil { // not made again once it is removed
			fmt.Fprintf(log, "%s pid %d ended: %s\n", time.Now().Format("15:04:05.000"), p.Pid, cmd.ProcessState)
			log.Close() //nolint:errcheck // a line for a person
		}
	}()
	if err != nil {
		return fail(fmt.Errorf("it ended at once, see %s: %w", c.Log, err))
	}
	return p, nil
}

// stat reads when a process started, and its state letter.
func stat(pid int) (started uint64, state string, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, "", err
	}
	// The second field is the command in brackets and may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return 0, "", fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	started, err = strconv.ParseUint(fields[19], 10, 64)
	return started, fields[0], err
}

// Running reports whether the process exists, is the one that was started, and has
// not died. One that this process has started runs until its log says how it ended:
// whoever finds it gone can say why.
func (p Process) Running() bool {
	if gone, ours := endOf(p); ours {
		select {
		case <-gone:
			return false
		default:
			return true
		}
	}
	if p.Pid <= 0 {
		return false
	}
	now, state, err := stat(p.Pid)
	return err == nil && now == p.Started && state != "Z" && state != "X"
}

// Signal sends a signal to the process if it runs.
func (p Process) Signal(s syscall.Signal) error {
	if !p.Running() {
		return nil
	}
	if err := syscall.Kill(p.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to pid %d: %w", s, p.Pid, err)
	}
	return nil
}

// grace is how long an end is waited for: a broker stops on SIGTERM in about 1 s,
// on a machine that has time for it.
const grace = 15 * time.Second

// Stop asks with SIGTERM, and kills what has not gone after 15 seconds or when
// ctx ends.
func (p Process) Stop(ctx context.Context) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if p.Gone(ctx) == nil {
		return nil
	}
	return p.Kill(ctx)
}

// Kill ends the process with SIGKILL, as a lost region does, and returns when it is
// gone. Killing what is gone already is no error.
func (p Process) Kill(ctx context.Context) error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	return p.Gone(context.WithoutCancel(ctx))
}

// Gone waits until the process has ended, for 15 seconds at most.
func (p Process) Gone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	return poll.Until(ctx, 5*time.Millisecond, func(context.Context) (bool, error) {
		if p.Running() {
			return false, fmt.Errorf("pid %d still runs", p.Pid)
		}
		return true, nil
	})
}

// RSS is the resident memory in bytes as the kernel counts it, 0 if the process
// is gone.
func (p Process) RSS() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.Pid))
	if err != nil || !p.Running() {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}
