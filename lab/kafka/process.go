package kafka

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

const (
	poll  = 25 * time.Millisecond
	grace = 15 * time.Second // a broker stops on SIGTERM in about 1 s
)

// Process is one server as a child process, or one that an earlier command left
// running and that was found again by its pid file.
type Process struct {
	Log string // path of its standard output and error
	Pid int

	name string        // what it is, for errors
	mark string        // the argument by which the process is recognised as ours
	done chan struct{} // closed when a child of this process was reaped; nil if adopted
}

// start runs java in dir. The process leads a group of its own, so that an
// interrupt at the terminal does not stop servers in an arbitrary order, and it
// outlives ctx: only [Process.Stop] and [Process.Kill] end it.
func start(ctx context.Context, name, dir, mark string, args []string) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if p, err := adopt(name, dir, mark); err == nil {
		return nil, fmt.Errorf("start %s in %s: it already runs as pid %d, stop it first: %w", name, dir, p.Pid, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	bin, err := java()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{name: name, Log: filepath.Join(dir, name+".log"), mark: mark, done: make(chan struct{})}
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: open its log: %w", name, err)
	}
	defer out.Close()                 //nolint:errcheck // the server has its own handle
	cmd := exec.Command(bin, args...) //nolint:noctx // the server outlives the call that started it
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.Pid = cmd.Process.Pid
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // the exit is reported by whoever finds the server gone, with its log
	}()
	if err := os.WriteFile(filepath.Join(dir, name+".pid"), []byte(strconv.Itoa(p.Pid)), 0o644); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: write its pid: %w", name, err), p.Kill(ctx))
	}
	return p, nil
}

// adopt finds the running server of dir by its pid file; fs.ErrNotExist if none runs.
func adopt(name, dir, mark string) (*Process, error) {
	path := filepath.Join(dir, name+".pid")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("find %s: %s does not hold a process number: %w", name, path, err)
	}
	p := &Process{name: name, Log: filepath.Join(dir, name+".log"), Pid: pid, mark: mark}
	if !p.Running() {
		return nil, fmt.Errorf("find %s: pid %d of %s is gone: %w", name, pid, path, fs.ErrNotExist)
	}
	return p, nil
}

// Running reports whether the process exists and is still ours: a pid may have
// been given to somebody else.
func (p *Process) Running() bool {
	if p.done != nil {
		select {
		case <-p.done:
			return false
		default:
			return true
		}
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.Pid))
	return err == nil && bytes.Contains(line, []byte(p.mark))
}

// Kill ends the process with SIGKILL and returns when it is gone. Killing what
// is gone already is no error.
func (p *Process) Kill(ctx context.Context) error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	return p.wait(context.WithoutCancel(ctx), grace)
}

// Stop asks the process to end with SIGTERM, and kills it when it has not done
// so after 15 seconds or when ctx ends.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := p.wait(ctx, grace); err != nil {
		return p.Kill(ctx)
	}
	return nil
}

func (p *Process) signal(s syscall.Signal) error {
	if !p.Running() {
		return nil
	}
	if err := syscall.Kill(p.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to %s (pid %d): %w", s, p.name, p.Pid, err)
	}
	return nil
}

func (p *Process) wait(ctx context.Context, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return until(ctx, func(context.Context) error {
		if p.Running() {
			return fmt.Errorf("%s (pid %d) still runs", p.name, p.Pid)
		}
		return nil
	})
}

// RSS is the resident memory of the process in bytes, as the kernel counts it.
func (p *Process) RSS() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of %s: %w", p.name, err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0, fmt.Errorf("read the memory of %s: %w", p.name, err)
	}
	return resident * int64(os.Getpagesize()), nil
}

// ready repeats probe until it answers, the process ends or ctx does.
func (p *Process) ready(ctx context.Context, probe func(context.Context) error) error {
	gone := errors.New("it ended")
	err := until(ctx, func(ctx context.Context) error {
		if !p.Running() {
			return gone
		}
		return probe(ctx)
	}, gone)
	if err != nil {
		return fmt.Errorf("wait for %s: %w; the end of %s:\n%s", p.name, err, p.Log, p.tail())
	}
	return nil
}

// tail is the last lines of the log, for an error a person reads.
func (p *Process) tail() string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// until repeats try until it returns nil or one of final, or ctx ends; then the
// last answer is what is reported.
func until(ctx context.Context, try func(context.Context) error, final ...error) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		for _, f := range final {
			if errors.Is(err, f) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
