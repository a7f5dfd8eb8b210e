// Package temporaltest runs a real Temporal server for tests.
package temporaltest

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"

	"breakwater/internal/wire"
	"breakwater/lab/server"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// Server is a running Temporal server. Run starts it again after Kill, on the same
// ports and file.
type Server struct {
	*server.Child
	Address string // of the frontend, 127.0.0.1:port
	Port    int    // port..port+4 are taken
	UI      string // http address of the UI
	DB      string // its database file
}

// Binary is the path of the server's binary.
func Binary() (string, error) { return server.Binary("temporal-lab") }

// Start runs a server that keeps its database in dir, and waits until it and its
// UI answer. It runs until Kill.
func Start(ctx context.Context, dir string) (*Server, error) {
	bin, err := Binary()
	if err != nil {
		return nil, err
	}
	port, err := server.Ports(6, nil)
	if err != nil {
		return nil, err
	}
	s := &Server{
		Port: port, Address: server.Address(port), UI: "http://" + server.Address(port+5), DB: filepath.Join(dir, "temporal.db"),
	}
	attributes := strings.Join(wire.Attributes(), "=Keyword,") + "=Keyword"
	s.Child = &server.Child{Server: server.Server{Probe: s.answers, Command: server.Command{
		Bin: bin, Log: filepath.Join(dir, "temporal.log"),
		Args: []string{"-port", strconv.Itoa(port), "-ui-port", strconv.Itoa(port + 5), "-db", s.DB, "-search-attributes", attributes},
	}}}
	if err := s.Run(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) answers(ctx context.Context) error {
	c, err := s.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return err
	}
	return server.Answers(ctx, s.UI+"/api/v1/settings") // it listens a little later
}

// Client connects to the default namespace.
func (s *Server) Client(ctx context.Context) (client.Client, error) {
	return client.DialContext(ctx, client.Options{HostPort: s.Address, Logger: quiet{}})
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
