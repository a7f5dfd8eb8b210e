// Package process runs servers that outlive the command which started them, and
// finds them again: a process id alone may have been given to somebody else since.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a child of this or of an earlier command. Pid and Started together
// name it: a pid that was given to somebody else since has another start time.
type Process struct {
	Pid     int    `json:"pid"`
	Started uint64 `json:"started"` // clock ticks since the machine started, as the kernel counts
}

// Command is what to start.
type Command struct {
	Bin  string
	Args []string
	Env  []string // besides this process's own
	Dir  string   // working folder; this process's own when empty
	Log  string   // file to which its output is appended
}

// Start starts a child that outlives this process, in a group of its own so that
// an interrupt at the terminal does not reach it.
func Start(c Command) (Process, error) {
	fail := func(err error) (Process, error) {
		return Process{}, fmt.Errorf("start %s: %w", filepath.Base(c.Bin), err)
	}
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
	if err := cmd.Start(); err != nil {
		return fail(err)
	}
	ticks, _, err := started(cmd.Process.Pid) // before it can be reaped
	go func() {
		_ = cmd.Wait()                                                              // reaps it; whoever misses the server reports that, with its log
		if log, err := os.OpenFile(c.Log, os.O_WRONLY|os.O_APPEND, 0); err == nil { // not made again once it is removed
			fmt.Fprintf(log, "%s pid %d ended: %s\n", time.Now().Format("15:04:05.000"), cmd.Process.Pid, cmd.ProcessState)
			log.Close() //nolint:errcheck // a line for a person
		}
	}()
	if err != nil {
		return fail(fmt.Errorf("it ended at once, see %s: %w", c.Log, err))
	}
	return Process{Pid: cmd.Process.Pid, Started: ticks}, nil
}

// Self is the process that calls it.
func Self() (Process, error) {
	ticks, _, err := started(os.Getpid())
	return Process{Pid: os.Getpid(), Started: ticks}, err
}

// started reads when a process started, and its state letter.
func started(pid int) (ticks uint64, state string, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, "", err
	}
	// The second field is the command in brackets and may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return 0, "", fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	ticks, err = strconv.ParseUint(fields[19], 10, 64)
	return ticks, fields[0], err
}

// Running reports whether the process exists, is the one that was started, and
// has not died without being reaped yet.
func (p Process) Running() bool {
	if p.Pid <= 0 {
		return false
	}
	now, state, err := started(p.Pid)
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

// Kill ends the process with SIGKILL and returns when it is gone. Killing what
// is gone already is no error.
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
	return Until(ctx, 5*time.Millisecond, func(context.Context) error {
		if p.Running() {
			return fmt.Errorf("pid %d still runs", p.Pid)
		}
		return nil
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

// Until repeats try until it returns nil or one of final, or ctx ends; then the
// last answer is what is reported.
func Until(ctx context.Context, every time.Duration, try func(context.Context) error, final ...error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil || slices.ContainsFunc(final, func(f error) bool { return errors.Is(err, f) }) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// ErrEnded says that a process was gone before it was ready.
var ErrEnded = errors.New("it ended")

// Ready repeats probe until it answers, the process ends or ctx does. The error
// shows the end of the log.
func (p Process) Ready(ctx context.Context, name, log string, every time.Duration, probe func(context.Context) error) error {
	err := Until(ctx, every, func(ctx context.Context) error {
		if !p.Running() {
			return ErrEnded
		}
		return probe(ctx)
	}, ErrEnded)
	if err != nil {
		return fmt.Errorf("%s is not ready: %w; the end of %s:\n%s", name, err, log, tail(log))
	}
	return nil
}

// Explain adds to an error about a server how that ended, if it did: an error
// such as a refused connection says nothing of it. What is ending is given a
// moment to end.
func (p Process) Explain(ctx context.Context, err error, log string) error {
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if p.Gone(ctx) != nil {
		return err
	}
	return fmt.Errorf("%w; %w; the end of %s:\n%s", err, ErrEnded, log, tail(log))
}

// tail is the end of a log, for an error that a person reads. Of the stacks that
// Java writes it leaves out the calls, behind which the causes would be lost.
func tail(log string) string {
	text, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(text)), "\n"), func(l string) bool {
		return strings.HasPrefix(l, "\tat ") || strings.HasPrefix(l, "\t... ")
	})
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}
