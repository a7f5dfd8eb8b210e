// Package baotest runs real OpenBao servers for tests, each with its own folder.
//
// The binary, bao-lab, is a lean server that initialises and unseals itself and
// leaves its root token in init.json.
package baotest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"breakwater/internal/poll"
	"breakwater/internal/secret/vault"
	"breakwater/lab/server"
)

// Mount is where a server's secrets are.
const Mount = "secret"

// Server is a running OpenBao.
type Server struct {
	*server.Child
	Address   string // http://127.0.0.1:port
	RootToken string
	folder    string
}

// Start runs a server in a new folder until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := New(t.TempDir())
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
func New(folder string) (*Server, error) {
	bin, err := server.Binary("bao-lab")
	if err != nil {
		return nil, err
	}
	port, err := server.Ports(1, nil)
	if err != nil {
		return nil, err
	}
	s := &Server{Address: "http://" + server.Address(port), folder: folder}
	s.Child = &server.Child{Server: server.Server{
		Command: server.Command{Bin: bin, Args: []string{"-addr", server.Address(port), "-data", folder}, Log: filepath.Join(folder, "log")},
		Probe:   func(ctx context.Context) error { return server.Answers(ctx, s.Address+"/v1/sys/health") },
	}}
	return s, nil
}

// Run starts the server, learns its root token, and mounts a KV version 2 engine at
// [Mount] unless the folder has one.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Child.Run(ctx); err != nil {
		return err
	}
	var in struct {
		Root string `json:"root_token"`
	}
	text, err := os.ReadFile(filepath.Join(s.folder, "init.json"))
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	if err != nil {
		return fmt.Errorf("read the root token: %w", err)
	}
	s.RootToken = in.Root
	if err := s.enableKV(ctx); err != nil {
		return fmt.Errorf("mount %s: %w", Mount, err)
	}
	return nil
}

// API is the library's own client with the root token, by which a test does what
// the secret store has no method for.
func (s *Server) API(t testing.TB) *api.Client {
	t.Helper()
	c, err := s.api()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *Server) api() (*api.Client, error) {
	c, err := api.NewClient(&api.Config{Address: s.Address, Timeout: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	c.SetToken(s.RootToken)
	return c, nil
}

// enableKV mounts a KV version 2 engine. One that is already there is no error.
func (s *Server) enableKV(ctx context.Context) error {
	c, err := s.api()
	if err != nil {
		return err
	}
	err = c.Sys().MountWithContext(ctx, Mount, &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}})
	if err != nil && !strings.Contains(err.Error(), "already in use") {
		return err
	}
	// A new engine refuses everything for a moment, while it sets itself up.
	return poll.Until(ctx, 20*time.Millisecond, func(ctx context.Context) (bool, error) {
		_, err := c.Logical().ReadWithContext(ctx, Mount+"/config")
		return err == nil || !strings.Contains(err.Error(), "Upgrading"), err
	})
}

// Store is the secrets at [Mount], with the root token.
func (s *Server) Store(t testing.TB) *vault.Store {
	t.Helper()
	return s.As(t, s.RootToken)
}

// As is the secrets at [Mount], with another token.
func (s *Server) As(t testing.TB, token string) *vault.Store {
	t.Helper()
	c, err := vault.New(vault.Config{Address: s.Address, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c.Mount(Mount)
}
