// Package baotest runs real OpenBao servers for tests, each with its own folder;
// where the binary is looked for is [servertest]'s.
//
// The binary, bao-lab, is a lean server that initialises and unseals itself and
// leaves its root token in init.json.
package baotest

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"breakwater/internal/secret/vault"
	"breakwater/internal/servertest"
)

// Mount is where a server's secrets are.
const Mount = "secret"

// Server is a running OpenBao.
type Server struct {
	*servertest.Process
	Address   string // http://127.0.0.1:port
	RootToken string
}

// Start runs a server in a new folder until the test ends, with a KV version 2
// engine at [Mount].
func Start(t testing.TB) *Server {
	t.Helper()
	bin, err := servertest.Binary("bao-lab")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	s := &Server{Process: &servertest.Process{Bin: bin}}
	s.Ready = func(ctx context.Context) error { return servertest.Answers(ctx, s.Address+"/v1/sys/health") }
	t.Cleanup(s.Kill)
	err = servertest.OnFreePorts(t.Context(), 1, func(port int) error {
		s.Address = "http://" + servertest.Address(port)
		s.Args = []string{"-addr", servertest.Address(port), "-data", folder}
		return s.Run(t.Context())
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, "init.json"))
	if err != nil {
		t.Fatalf("read the root token: %v", err)
	}
	var in struct {
		Root string `json:"root_token"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		t.Fatalf("read the root token: %v", err)
	}
	s.RootToken = in.Root
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
