// Package baotest runs real OpenBao servers for tests, each with its own folder;
// where the binary is looked for is [servertest]'s.
//
// The binary, bao-lab, is a lean server that initialises and unseals itself and
// leaves its root token in init.json.
package baotest

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"breakwater/internal/secret/vault"
	"breakwater/internal/servertest"
)

// Server is a running OpenBao.
type Server struct {
	*servertest.Process
	Address   string // http://127.0.0.1:port
	RootToken string
}

// Start runs a server in a new folder until the test ends, with a KV version 2
// engine at "secret".
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
