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
	"testing"

	"breakwater/internal/secret/vault"
	"breakwater/lab/server"
)

// Server is a running OpenBao.
type Server struct {
	*server.Child
	Address   string // http://127.0.0.1:port
	RootToken string
}

// Start runs a server in a new folder until the test ends, with a KV version 2
// engine at "secret".
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := run(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	if err := s.Client(t).EnableKV(t.Context(), "secret"); err != nil {
		t.Fatal(err)
	}
	return s
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
