package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a child of this or of an earlier command. Pid and Started together
// name it: a pid that was given to somebody else since has another start time.
type process struct {
	Pid     int    `json:"pid"`
	Started uint64 `json:"started"` // clock ticks since the machine started, as the kernel counts
}

// running reports whether the process exists, is ours, and has not died without
// being reaped yet.
func (p process) running() bool {
	if p.Pid <= 0 {
		return false
	}
	now, state, err := started(p.Pid)
	return err == nil && now == p.Started && state != "Z" && state != "X"
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

func (p process) signal(s syscall.Signal) error {
	if !p.running() {
		return nil
	}
	if err := syscall.Kill(p.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to pid %d: %w", s, p.Pid, err)
	}
	return nil
}

// stop asks with SIGTERM, and kills what has not gone after 10 seconds.
func (p process) stop(ctx context.Context) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if p.wait(ctx, 10*time.Second) == nil {
		return nil
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	return p.wait(context.WithoutCancel(ctx), 10*time.Second)
}

func (p process) wait(ctx context.Context, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return until(ctx, 5*time.Millisecond, func(context.Context) error {
		if p.running() {
			return fmt.Errorf("pid %d still runs", p.Pid)
		}
		return nil
	})
}

// rss is the resident memory in bytes, 0 if the process is gone.
func (p process) rss() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.Pid))
	if err != nil || !p.running() {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// spawn starts a child that outlives this process, in a group of its own so that
// an interrupt at the terminal does not reach it, with its output appended to a log.
func spawn(log string, env []string, bin string, args ...string) (process, error) {
	fail := func(err error) (process, error) {
		return process{}, fmt.Errorf("start %s: %w", filepath.Base(bin), err)
	}
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return fail(err)
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fail(err)
	}
	defer out.Close()                 //nolint:errcheck // the server has its own handle
	cmd := exec.Command(bin, args...) //nolint:noctx // the server outlives the call that started it
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fail(err)
	}
	go func() {
		_ = cmd.Wait() // reaps it; whoever misses the server reports that, with its log
	}()
	ticks, _, err := started(cmd.Process.Pid)
	if err != nil {
		return fail(fmt.Errorf("it ended at once, see %s: %w", log, err))
	}
	return process{Pid: cmd.Process.Pid, Started: ticks}, nil
}

// until repeats try until it returns nil or ctx ends; then the last answer is
// what is reported.
func until(ctx context.Context, every time.Duration, try func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// tail is the end of a log, for an error that a person reads.
func tail(log string) string {
	text, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// BinEnv names the folder of the server binaries when they are not in the cache.
const BinEnv = "BREAKWATER_BIN"

// binaries finds the folder of the server binaries: $BREAKWATER_BIN, else
// .cache/bin in the working folder or the nearest folder above it.
func binaries() (string, error) {
	names := []string{"temporal-lab", "minio", "bao-lab"}
	complete := func(dir string) bool {
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				return false
			}
		}
		return true
	}
	if dir := os.Getenv(BinEnv); dir != "" {
		if !complete(dir) {
			return "", fmt.Errorf("%s is %s, which lacks one of %s: run make tools: %w", BinEnv, dir, strings.Join(names, ", "), fs.ErrNotExist)
		}
		return filepath.Abs(dir)
	}
	at, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the laboratory's servers: %w", err)
	}
	for {
		if dir := filepath.Join(at, ".cache", "bin"); complete(dir) {
			return dir, nil
		}
		up := filepath.Dir(at)
		if up == at {
			return "", fmt.Errorf("the laboratory's servers (%s) are not built: run make tools: %w", strings.Join(names, ", "), fs.ErrNotExist)
		}
		at = up
	}
}
