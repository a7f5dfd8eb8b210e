// Package baotest runs real OpenBao servers for tests, each with its own folder.
//
// The binary, bao-lab, is a lean server that initialises and unseals itself and
// leaves its root token in init.json.
package baotest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

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
}

// Start runs a server in a new folder until the test ends, with a KV version 2
// engine at [Mount].
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := run(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	if err := s.enableKV(t.Context(), t, Mount); err != nil {
		t.Fatalf("mount %s: %v", Mount, err)
	}
	return s
}

// API is the library's own client with the root token, by which a test does what
// the secret store has no method for.
func (s *Server) API(t testing.TB) *api.Client {
	t.Helper()
	c, err := api.NewClient(&api.Config{Address: s.Address})
	if err != nil {
		t.Fatal(err)
	}
	c.SetToken(s.RootToken)
	return c
}

// enableKV mounts a KV version 2 engine. One that is already there is no error.
func (s *Server) enableKV(ctx context.Context, t testing.TB, mount string) error {
	t.Helper()
	c := s.API(t)
	err := c.Sys().MountWithContext(ctx, mount, &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}})
	if err != nil && !strings.Contains(err.Error(), "already in use") {
		return err
	}
	// A new engine refuses everything for a moment, while it sets itself up.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := c.Logical().ReadWithContext(ctx, mount+"/config")
		if err == nil || !strings.Contains(err.Error(), "Upgrading") {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// run starts a server and learns its root token.
func run(ctx context.Context, folder string) (*Server, error) {
	bin, err := server.Binary("bao-lab")
	if err != nil {
		return nil, err
	}
	port, err := server.Ports(1, nil)
	if err != nil {
		return nil, err
	}
	s := &Server{Address: "http://" + server.Address(port)}
	s.Child = &server.Child{Server: server.Server{
		Command: server.Command{Bin: bin, Args: []string{"-addr", server.Address(port), "-data", folder}, Log: filepath.Join(folder, "log")},
		Probe:   func(ctx context.Context) error { return server.Answers(ctx, s.Address+"/v1/sys/health") },
	}}
	if err := s.Run(ctx); err != nil {
		return nil, err
	}
	var in struct {
		Root string `json:"root_token"`
	}
	text, err := os.ReadFile(filepath.Join(folder, "init.json"))
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	if err != nil {
		s.Kill()
		return nil, fmt.Errorf("read the root token: %w", err)
	}
	s.RootToken = in.Root
	return s, nil
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
