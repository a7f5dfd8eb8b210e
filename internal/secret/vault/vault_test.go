package vault_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"breakwater/internal/reach"
	"breakwater/internal/secret"
	"breakwater/internal/secret/secrettest"
	"breakwater/internal/secret/vault"
	"breakwater/lab/server/baotest"
	"breakwater/lab/server/lossy"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type content = map[string]any

// silent is an address where nothing listens.
const silent = "http://127.0.0.1:1"

func client(t testing.TB, address, token string) *vault.Client {
	t.Helper()
	c, err := vault.New(vault.Config{Address: address, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPort(t *testing.T) {
	s := baotest.Start(t)
	raw := s.API(t)
	must(t, raw.Sys().PutPolicyWithContext(t.Context(), "narrow", `path "secret/data/allowed" { capabilities = ["read"] }`))
	token, err := raw.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"narrow"}})
	must(t, err)
	narrow := s.As(t, token.Auth.ClientToken)
	secrettest.Run(t, secrettest.Target{
		Store: s.Store(t), Denied: narrow, Silent: client(t, silent, "t").Mount(baotest.Mount),
		Delete: raw.KVv2(baotest.Mount).Delete,
		Seal:   raw.Sys().SealWithContext,
		Unseal: func(context.Context) error { s.Restart(t); return nil }, // it unseals itself
	})

	t.Run("a token that nobody knows", func(t *testing.T) {
		c := s.As(t, "s.mistyped")
		_, read := c.Read(t.Context(), "allowed")
		_, write := c.Write(t.Context(), "allowed", content{"a": "b"}, 0)
		for _, err := range []error{read, write, secret.Readable(t.Context(), c, "allowed")} {
			if !errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, secret.ErrChanged) || reach.Unreachable(err) {
				t.Errorf("got error %v, want denied", err)
			}
		}
	})
	t.Run("a token may read some", func(t *testing.T) {
		if _, err := narrow.Read(t.Context(), "allowed"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Read of a missing secret that the token may read = %v", err)
		}
	})
	t.Run("destroyed", func(t *testing.T) {
		c := s.Store(t)
		for seen := range 2 {
			_, err := c.Write(t.Context(), "gone", content{"a": seen}, seen)
			must(t, err)
		}
		must(t, raw.KVv2(baotest.Mount).Destroy(t.Context(), "gone", []int{2}))
		if now, err := c.Read(t.Context(), "gone"); !errors.Is(err, fs.ErrNotExist) || now.Version != 2 {
			t.Errorf("Read of a destroyed secret = %+v, %v", now, err)
		}
	})
	t.Run("no such mount", func(t *testing.T) {
		_, err := client(t, s.Address, s.RootToken).Mount("no-such-mount").Read(t.Context(), "x")
		if !errors.Is(err, reach.ErrMisconfigured) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no mount no-such-mount") {
			t.Errorf("Read of a missing mount = %v; want one that the estate names wrongly", err)
		}
	})
	t.Run("no token in an error", func(t *testing.T) {
		_, err := s.Store(t).Write(t.Context(), "gone", content{"password": "hunter2"}, 99)
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), s.RootToken) {
			t.Errorf("Write = %v", err)
		}
	})
	t.Run("words for people", func(t *testing.T) {
		c := s.Store(t)
		if got, want := c.BringBack("lakehouse/orders", 3, secret.Kept), "vault kv rollback -mount=secret -version=3 lakehouse/orders"; got != want {
			t.Errorf("BringBack = %q, want %q", got, want)
		}
		_, err := c.Read(t.Context(), "never")
		want := "read secret/never at " + s.Address + ": file does not exist: there is no such secret"
		if err == nil || err.Error() != want {
			t.Errorf("Read = %v, want %s", err, want)
		}
	})
}

func TestUnreachable(t *testing.T) {
	s := baotest.Start(t)
	c := s.Store(t)
	ask := func(t *testing.T) {
		t.Helper()
		var all sync.WaitGroup
		for name, ask := range map[string]func(context.Context) error{
			"Read":     func(ctx context.Context) error { _, err := c.Read(ctx, "x"); return err },
			"Write":    func(ctx context.Context) error { _, err := c.Write(ctx, "x", content{}, 0); return err },
			"Readable": func(ctx context.Context) error { return secret.Readable(ctx, c, "x") },
		} {
			all.Go(func() {
				began := time.Now()
				err := ask(t.Context())
				if !errors.Is(err, reach.ErrUnreachable) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, secret.ErrChanged) {
					t.Errorf("%s = %v, want unreachable and nothing else", name, err)
				}
				if d := time.Since(began); d > 4*time.Second {
					t.Errorf("%s took %v to say so", name, d)
				}
			})
		}
		all.Wait()
	}
	t.Run("frozen", func(t *testing.T) {
		s.Freeze(t)
		defer s.Thaw(t)
		ask(t)
	})
	t.Run("killed", func(t *testing.T) {
		s.Kill()
		ask(t)
	})
	t.Run("a gateway that cannot reach it", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
		defer srv.Close()
		if _, err := client(t, srv.URL, "t").Mount("secret").Read(t.Context(), "x"); !errors.Is(err, reach.ErrUnreachable) {
			t.Errorf("Read = %v, want unreachable", err)
		}
	})
}

// TestLostAnswer swallows the answer of a write that took place; the client
// library sends it again, and that must not read as somebody else's change.
func TestLostAnswer(t *testing.T) {
	s := baotest.Start(t)
	front, swallow := lossy.Front(t, s.Address)
	swallow.Store(1)
	now, err := client(t, front, s.RootToken).Mount("secret").Write(t.Context(), "routing", content{"endpoint": "west"}, 0)
	if err != nil || now.Version != 1 {
		t.Errorf("Write whose answer was lost = %+v, %v; want version 1", now, err)
	}
	if swallow.Load() > 0 {
		t.Error("nothing was swallowed: the test proves nothing")
	}
}

func TestEnvironmentIsIgnored(t *testing.T) {
	t.Setenv("VAULT_ADDR", "http://127.0.0.1:1")
	t.Setenv("VAULT_TOKEN", "somebody-else")
	t.Setenv("VAULT_NAMESPACE", "elsewhere")
	var asked *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r
		w.WriteHeader(http.StatusNotFound)
	}))
	defer srv.Close()
	if _, err := client(t, srv.URL, "mine").Mount("secret").Read(t.Context(), "x"); !errors.Is(err, reach.ErrMisconfigured) {
		t.Errorf("Read = %v, want that this is no Vault", err)
	}
	if asked == nil || asked.Header.Get("X-Vault-Token") != "mine" || asked.Header.Get("X-Vault-Namespace") != "" {
		t.Errorf("asked with %v", asked)
	}
	if _, err := vault.New(vault.Config{Address: srv.URL}); err == nil {
		t.Error("New accepted an empty token")
	}
	if _, err := vault.New(vault.Config{Address: srv.URL, Token: "t", CA: []byte("no PEM")}); err == nil {
		t.Error("New accepted a broken certificate authority")
	}
}
