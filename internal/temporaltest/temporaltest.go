// Package temporaltest runs a real Temporal server for tests.
//
// The binary is .cache/bin/temporal-lab in the working folder or one above it;
// `make tools` builds it.
package temporaltest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"breakwater/internal/wire"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// Server is a running Temporal server.
type Server struct {
	Address string // of the frontend, 127.0.0.1:port
	Port    int    // port..port+4 are taken
	UI      string // http address of the UI
	DB      string // its database file

	bin string
	cmd *exec.Cmd
	out bytes.Buffer
}

// Binary is the path of the server's binary.
func Binary() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if bin := os.Getenv("BREAKWATER_BIN"); bin != "" {
		return filepath.Join(bin, "temporal-lab"), nil
	}
	for ; ; dir = filepath.Dir(dir) {
		p := filepath.Join(dir, ".cache", "bin", "temporal-lab")
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("there is no .cache/bin/temporal-lab: run make tools")
		}
	}
}

// Start runs a server that keeps its database in dir, and waits until it answers.
func Start(ctx context.Context, dir string) (*Server, error) {
	bin, err := Binary()
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		s := &Server{bin: bin, DB: filepath.Join(dir, "temporal.db")}
		if s.Port, err = freePorts(ctx, 6); err != nil {
			return nil, err
		}
		s.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port))
		s.UI = "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port+5))
		if err = s.Run(ctx); err == nil {
			return s, nil
		}
		if try == 2 { // somebody else took a port each time
			return nil, err
		}
	}
}

// Run starts the process again after [Server.Kill], on the same ports and file.
func (s *Server) Run(ctx context.Context) error {
	args := []string{"-port", strconv.Itoa(s.Port), "-ui-port", strconv.Itoa(s.Port + 5), "-db", s.DB}
	attrs := ""
	for _, a := range wire.Attributes() {
		attrs += "," + a + "=Keyword"
	}
	s.out.Reset()
	s.cmd = exec.Command(s.bin, append(args, "-search-attributes", attrs[1:])...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.bin, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		c, err := s.Client(ctx)
		if err == nil {
			_, err = c.CheckHealth(ctx, &client.CheckHealthRequest{})
			c.Close()
		}
		if err == nil {
			err = s.uiAnswers(ctx) // it listens a little later
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			s.Kill()
			return fmt.Errorf("temporal did not answer: %w; it said: %s", err, s.out.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *Server) uiAnswers(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.UI+"/api/v1/settings", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// Client connects to the default namespace.
func (s *Server) Client(ctx context.Context) (client.Client, error) {
	return client.DialContext(ctx, client.Options{HostPort: s.Address, Logger: quiet{}})
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		s.cmd.Process.Kill() //nolint:errcheck // dead already is dead
		s.cmd.Wait()         //nolint:errcheck // killed
		s.cmd = nil
	}
}

// quiet drops what the SDK says.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

var _ log.Logger = quiet{}

// Quiet is a logger that says nothing.
func Quiet() log.Logger { return quiet{} }

// freePorts finds n free ports in a row.
func freePorts(ctx context.Context, n int) (int, error) {
	var lc net.ListenConfig
	for range 50 {
		l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		first := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if first+n > 65535 {
			continue
		}
		free := true
		for p := first; p < first+n && free; p++ {
			l, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
			if free = err == nil; free {
				l.Close()
			}
		}
		if free {
			return first, nil
		}
	}
	return 0, fmt.Errorf("no %d free ports in a row on 127.0.0.1", n)
}
