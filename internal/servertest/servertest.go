// Package servertest runs real servers for tests, each a child process on free
// loopback ports, killed by its process id.
//
// The binaries are in the folder that BREAKWATER_BIN names, or in .cache/bin of
// the working folder or the nearest folder above it; `make tools` builds them.
// Without one the test fails: a suite that is silently not run proves nothing.
package servertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"breakwater/internal/freeze"
)

// Binary is the path of a server's binary. A missing one wraps fs.ErrNotExist
// and says how to get it.
func Binary(name string) (string, error) {
	if dir := os.Getenv("BREAKWATER_BIN"); dir != "" {
		return found(filepath.Join(dir, name))
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	for {
		path, err := found(filepath.Join(dir, ".cache", "bin", name))
		if err == nil || dir == filepath.Dir(dir) {
			return path, err
		}
		dir = filepath.Dir(dir)
	}
}

func found(path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find the server %s: %w; run make tools", filepath.Base(path), err)
	}
	return path, nil
}

// OnFreePorts calls start with the first of n free ports in a row. Somebody else
// may take one before the server does, so it tries three times.
func OnFreePorts(ctx context.Context, n int, start func(first int) error) error {
	var errs error
	for range 3 {
		first, err := freePorts(ctx, n)
		if err != nil {
			return err
		}
		if err = start(first); err == nil {
			return nil
		}
		errs = errors.Join(errs, err)
	}
	return errs
}

func freePorts(ctx context.Context, n int) (int, error) {
	for range 50 {
		first, err := listens(ctx, 0)
		if err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		free := first+n <= 1<<16
		for p := first + 1; free && p < first+n; p++ {
			_, err := listens(ctx, p)
			free = err == nil
		}
		if free {
			return first, nil
		}
	}
	return 0, fmt.Errorf("find %d free ports in a row on 127.0.0.1: %w", n, fs.ErrNotExist)
}

// listens returns the port that can be listened on; port 0 stands for any.
func listens(ctx context.Context, port int) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", Address(port))
	if err != nil {
		return 0, err
	}
	_, text, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

// Address is host:port of a port on the loopback.
func Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Answers asks a URL, and is nil if the answer is 200.
func Answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

// Process is a server as a child process. Its exported fields are read by
// [Process.Run]; a Process is used by one goroutine at a time.
type Process struct {
	Bin   string   // path
	Args  []string // on which ports and folder: the same at every run
	Env   []string // besides the test's own
	Ready func(context.Context) error

	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan struct{} // closed when the process is gone
}

// Run starts the process, again after [Process.Kill], and waits until it is
// ready, for a minute at most.
func (p *Process) Run(ctx context.Context) error {
	name := filepath.Base(p.Bin)
	p.out.Reset()
	cmd := exec.Command(p.Bin, p.Args...) //nolint:noctx // its end is Kill's, which waits for it
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nor outlive a killed test
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // it was killed, or ready finds it gone
	}()
	p.cmd, p.done = cmd, done
	if err := p.ready(ctx); err != nil {
		p.Kill()
		return fmt.Errorf("start %s %q: %w; it said: %s", name, p.Args, err, p.out.String())
	}
	return nil
}

func (p *Process) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := p.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return errors.New("the process ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", err)
		case <-tick.C:
		}
	}
}

// Kill ends the server with SIGKILL, as a lost region does, and waits for that.
// Nothing happens if it is dead already.
func (p *Process) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // the only error is that it is gone, which is what is wanted
	<-p.done
	p.cmd = nil
}

// Restart brings a killed server back on its ports and folder.
func (p *Process) Restart(t testing.TB) {
	t.Helper()
	p.Kill()
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Freeze stops the process without ending it: connections are accepted and never
// answered. Thaw lets it go on.
func (p *Process) Freeze(t testing.TB) {
	t.Helper()
	if err := freeze.Freeze(t.Context(), p.cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
}

// Thaw ends what Freeze began.
func (p *Process) Thaw(t testing.TB) {
	t.Helper()
	if err := freeze.Thaw(p.cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
}
