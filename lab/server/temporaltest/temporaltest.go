// Package temporaltest gives tests a real Temporal server: one that all tests share, or
// one of their own.
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
	"google.golang.org/grpc"
)

// Frontend is a running Temporal server, as who uses it sees it.
type Frontend struct {
	Address string // 127.0.0.1:port
	UI      string // http address of the UI
}

// Server is a Temporal server of its own, which may be killed. Run starts it again, on
// the same ports and file.
type Server struct {
	*server.Child
	Frontend
	Port int    // port..port+4 are taken
	DB   string // its database file
}

// part is the name under which a set of servers hands on a Temporal.
const part = "temporal"

// Shared is the server that tests of all packages use at the same time, where there is
// one, and otherwise one of the caller's own, with its database in dir; stop ends that.
// What a test makes in the default namespace needs names of its own, task queues among
// them.
func Shared(ctx context.Context, dir string) (f *Frontend, stop func(), err error) {
	f = &Frontend{}
	if handed, err := server.Handed(part, f); handed || err != nil {
		return f, func() {}, err
	}
	s, err := Start(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	return &s.Frontend, s.Kill, nil
}

// Hand says in a set of servers that this is the one to share.
func (s *Server) Hand(set string) error { return server.Hand(set, part, s.Frontend) }

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
		Frontend: Frontend{Address: server.Address(port), UI: "http://" + server.Address(port+5)},
		Port:     port, DB: filepath.Join(dir, "temporal.db"),
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
func (s *Frontend) Client(ctx context.Context, opts ...grpc.DialOption) (client.Client, error) {
	return client.DialContext(ctx, client.Options{HostPort: s.Address, Logger: quiet{}, ConnectionOptions: client.ConnectionOptions{DialOptions: opts}})
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
