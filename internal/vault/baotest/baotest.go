// Package baotest runs real OpenBao servers for tests, each a child process with
// its own folder on a free loopback port, stopped by its process id.
//
// The binary is the one that BREAKWATER_BAO names, or .cache/bin/bao-lab in the
// repository: a lean server that initialises and unseals itself and leaves its
// root token in init.json. Without it the test fails: a suite that is silently
// not run proves nothing.
package baotest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"breakwater/internal/vault"
)

// Server is a running OpenBao.
type Server struct {
	Address   string // http://127.0.0.1:port
	RootToken string

	addr, bin, folder string
	cmd               *exec.Cmd
	out               *bytes.Buffer
	done              chan struct{} // closed when the process is gone
}

// Binary is the path of the server, or ends the test saying how to get it.
func Binary(t testing.TB) string {
	t.Helper()
	if p := os.Getenv("BREAKWATER_BAO"); p != "" {
		return p
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		p := filepath.Join(dir, ".cache", "bin", "bao-lab")
		if _, err := os.Stat(p); err == nil {
			return p
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("this test needs the bao-lab binary: run make tools")
		}
	}
}

// Start runs a server in a new folder until the test ends, with a KV version 2
// engine at "secret".
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{bin: Binary(t), folder: t.TempDir()}
	t.Cleanup(s.Kill)
	var err error
	for range 3 { // somebody else may take the free port first
		if s.addr, err = freeAddr(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Address = "http://" + s.addr
		if err = s.run(t.Context()); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Client(t).EnableKV(t.Context(), "secret"); err != nil {
		t.Fatal(err)
	}
	return s
}

// Client connects with the root token.
func (s *Server) Client(t testing.TB) *vault.Client {
	t.Helper()
	return s.As(t, s.RootToken)
}

// As connects with another token.
func (s *Server) As(t testing.TB, token string) *vault.Client {
	t.Helper()
	c, err := vault.New(vault.Config{Address: s.Address, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Kill ends the server with SIGKILL, as a lost region does, and waits for that.
// Nothing happens if it is dead already.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	// The only error is that the process is gone, which is what is wanted.
	_ = s.cmd.Process.Kill()
	<-s.done
	s.cmd = nil
}

// Restart brings a killed server back on its port and folder.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Freeze stops the process without ending it: connections are accepted and never
// answered. Thaw lets it go on.
func (s *Server) Freeze(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGSTOP)
	// The signal takes effect thread by thread; until the last of them stands, an
	// answer may still come.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !s.stopped(t) {
		select {
		case <-ctx.Done():
			t.Fatal("bao-lab does not stop")
		case <-tick.C:
		}
	}
}

// stopped reports whether every thread of the process stands still.
func (s *Server) stopped(t testing.TB) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("list the threads of bao-lab: %d found, %v", len(threads), err)
	}
	for _, path := range threads {
		// The state is the word after the command's name, which is in parentheses.
		// A thread that has ended meanwhile answers no more.
		text, err := os.ReadFile(path)
		if _, state, _ := bytes.Cut(text, []byte(") ")); err == nil && !bytes.HasPrefix(state, []byte("T")) {
			return false
		}
	}
	return true
}

// Thaw ends what Freeze began.
func (s *Server) Thaw(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *Server) signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("signal bao-lab: %v", err)
	}
}

func (s *Server) run(ctx context.Context) error {
	s.out = new(bytes.Buffer)
	// Not CommandContext: the test's end must find the process as Kill leaves it.
	cmd := exec.Command(s.bin, "-addr", s.addr, "-data", s.folder) //nolint:gosec,noctx // the binary under test
	cmd.Stdout, cmd.Stderr = s.out, s.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nor outlive a killed test
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w; run make tools", s.bin, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // it was killed
	}()
	s.cmd, s.done = cmd, done
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if err := s.ready(ctx); err != nil {
		s.Kill()
		return fmt.Errorf("bao-lab at %s: %w\n%s", s.addr, err, s.out)
	}
	text, err := os.ReadFile(filepath.Join(s.folder, "init.json"))
	if err != nil {
		return fmt.Errorf("read the root token: %w", err)
	}
	var in struct {
		Root string `json:"root_token"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return fmt.Errorf("read the root token: %w", err)
	}
	s.RootToken = in.Root
	return nil
}

func (s *Server) ready(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	client := &http.Client{Timeout: 2 * time.Second}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Address+"/v1/sys/health", nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			if err := resp.Body.Close(); err != nil {
				return err
			}
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.done:
			return errors.New("the process ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func freeAddr(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	addr := l.Addr().String()
	return addr, l.Close()
}
