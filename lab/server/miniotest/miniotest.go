// Package miniotest runs real MinIO servers for tests, each with its own folder.
package miniotest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"breakwater/internal/objectstore/s3"
	"breakwater/internal/objectstore/s3/minio"
	"breakwater/lab/server"
)

// Credentials of the root user of every server that the package starts.
const (
	RootUser     = "breakwater-root"
	RootPassword = "breakwater-root-secret"
)

// Server is a running MinIO.
type Server struct {
	*server.Child
	Endpoint string // http://127.0.0.1:port
	Folder   string // what it has stored
}

// Start runs a server in a new folder until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartWith(t, "")
}

// StartWith is [Start] with what another server, killed since, has stored in a
// folder, which is copied. An empty name stands for nothing.
func StartWith(t testing.TB, stored string) *Server {
	t.Helper()
	folder := t.TempDir()
	if stored != "" {
		if err := os.CopyFS(folder, os.DirFS(stored)); err != nil {
			t.Fatalf("copy what a server stored: %v", err)
		}
	}
	s, err := New(folder, filepath.Join(t.TempDir(), "minio.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	if err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// New describes a server of a folder, which Run starts.
func New(folder, log string) (*Server, error) {
	bin, err := server.Binary("minio")
	if err != nil {
		return nil, err
	}
	port, err := server.Ports(2, nil)
	if err != nil {
		return nil, err
	}
	s := &Server{Endpoint: "http://" + server.Address(port), Folder: folder}
	s.Child = &server.Child{Server: server.Server{Probe: s.serves, Command: server.Command{
		Bin:  bin,
		Args: []string{"server", "--quiet", "--address", server.Address(port), "--console-address", server.Address(port + 1), folder},
		Env:  []string{"MINIO_ROOT_USER=" + RootUser, "MINIO_ROOT_PASSWORD=" + RootPassword, "MINIO_BROWSER=off", "MINIO_UPDATE=off"},
		Log:  log,
	}}}
	return s, nil
}

// serves asks whether the server serves, and knows the users and policies that it
// has stored: what is made before that would be forgotten.
func (s *Server) serves(ctx context.Context) error {
	if err := server.Answers(ctx, s.Endpoint+"/minio/health/ready"); err != nil {
		return err
	}
	root := s3.Config{Endpoint: s.Endpoint}
	for _, e := range s.Command.Env { // a test may have given it another root
		if v, ok := strings.CutPrefix(e, "MINIO_ROOT_USER="); ok {
			root.AccessKey = v
		} else if v, ok := strings.CutPrefix(e, "MINIO_ROOT_PASSWORD="); ok {
			root.SecretKey = v
		}
	}
	a, err := minio.New(root)
	if err != nil {
		return err
	}
	return a.Loaded(ctx)
}

// Config is how root connects. Set other keys for other principals.
func (s *Server) Config() s3.Config {
	return s3.Config{Endpoint: s.Endpoint, AccessKey: RootUser, SecretKey: RootPassword, PathStyle: true}
}

// Client connects as root.
func (s *Server) Client(t testing.TB) *s3.Client {
	t.Helper()
	return s.As(t, RootUser, RootPassword)
}

// As connects as somebody else.
func (s *Server) As(t testing.TB, accessKey, secretKey string) *s3.Client {
	t.Helper()
	cfg := s.Config()
	cfg.AccessKey, cfg.SecretKey = accessKey, secretKey
	c, err := s3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
