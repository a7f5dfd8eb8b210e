package vault_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"golang.org/x/sync/errgroup"

	"breakwater/internal/reach"
	"breakwater/internal/secret/vault"
	"breakwater/lab/server/baotest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// raw is the library's own client, by which faults are injected.
func raw(t *testing.T, s *baotest.Server) *api.Client {
	t.Helper()
	c, err := api.NewClient(&api.Config{Address: s.Address})
	must(t, err)
	c.SetToken(s.RootToken)
	return c
}

type content = map[string]any

func TestSecrets(t *testing.T) {
	s := baotest.Start(t)
	c := s.Client(t)
	ctx := t.Context()

	t.Run("check and set", func(t *testing.T) {
		now, err := c.Read(ctx, "secret", "routing/orders")
		if !errors.Is(err, fs.ErrNotExist) || now.Version != 0 {
			t.Fatalf("Read of what never was = %+v, %v", now, err)
		}
		one := content{"endpoint": "east", "port": 9092, "tls": true, "hosts": []any{"a", "b"}}
		now, err = c.WriteCAS(ctx, "secret", "routing/orders", one, 0)
		if err != nil || now.Version != 1 || now.Data["endpoint"] != "east" || now.Created.IsZero() {
			t.Fatalf("WriteCAS = %+v, %v", now, err)
		}
		again, err := c.WriteCAS(ctx, "secret", "routing/orders", one, 0)
		if err != nil || again.Version != 1 {
			t.Errorf("the same write again = %+v, %v; want it taken as done", again, err)
		}
		if _, err := c.WriteCAS(ctx, "secret", "routing/orders", content{"endpoint": "nowhere"}, 0); !errors.Is(err, vault.ErrChanged) {
			t.Errorf("a stale write = %v, want ErrChanged", err)
		}
		now, err = c.WriteCAS(ctx, "secret", "routing/orders", content{"endpoint": "west"}, 1)
		if err != nil || now.Version != 2 || len(now.Data) != 1 {
			t.Errorf("WriteCAS replaces the whole map: %+v, %v", now, err)
		}
		if _, err := c.WriteCAS(ctx, "secret", "routing/orders", one, 0); !errors.Is(err, vault.ErrChanged) {
			t.Errorf("the first write once more, after another = %v, want ErrChanged", err)
		}
	})

	t.Run("deleted keeps counting", func(t *testing.T) {
		_, err := c.WriteCAS(ctx, "secret", "gone", content{"a": "1"}, 0)
		must(t, err)
		must(t, raw(t, s).KVv2("secret").Delete(ctx, "gone"))
		now, err := c.Read(ctx, "secret", "gone")
		if !errors.Is(err, fs.ErrNotExist) || !now.Deleted || now.Version != 1 {
			t.Fatalf("Read of a deleted secret = %+v, %v", now, err)
		}
		if v, err := c.Current(ctx, "secret", "gone"); err != nil || v != now.Version {
			t.Errorf("Current = %d, %v; Read says %d", v, err, now.Version)
		}
		if _, err := c.WriteCAS(ctx, "secret", "gone", content{"a": "2"}, 0); !errors.Is(err, vault.ErrChanged) {
			t.Errorf("writing it as new = %v, want ErrChanged", err)
		}
		if now, err = c.WriteCAS(ctx, "secret", "gone", content{"a": "2"}, now.Version); err != nil || now.Version != 2 {
			t.Errorf("writing after the deletion = %+v, %v", now, err)
		}
		must(t, raw(t, s).KVv2("secret").Destroy(ctx, "gone", []int{2}))
		if now, err = c.Read(ctx, "secret", "gone"); !errors.Is(err, fs.ErrNotExist) || now.Version != 2 {
			t.Errorf("Read of a destroyed secret = %+v, %v", now, err)
		}
		if v, err := c.Current(ctx, "secret", "never"); err != nil || v != 0 {
			t.Errorf("Current of what never was = %d, %v", v, err)
		}
	})

	t.Run("race", func(t *testing.T) {
		_, err := c.WriteCAS(ctx, "secret", "race", content{"n": "start"}, 0)
		must(t, err)
		var won atomic.Int32
		var g errgroup.Group
		for i := range 20 {
			g.Go(func() error {
				_, err := c.WriteCAS(ctx, "secret", "race", content{"n": fmt.Sprint(i)}, 1)
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, vault.ErrChanged) {
					return err
				}
				return nil
			})
		}
		must(t, g.Wait())
		if won.Load() != 1 {
			t.Errorf("%d of 20 won, want 1", won.Load())
		}
	})

	t.Run("denied is not missing", func(t *testing.T) {
		must(t, raw(t, s).Sys().PutPolicyWithContext(ctx, "narrow", `path "secret/data/allowed" { capabilities = ["read"] }`))
		token, err := raw(t, s).Auth().Token().CreateWithContext(ctx, &api.TokenCreateRequest{Policies: []string{"narrow"}})
		must(t, err)
		for who, d := range map[string]*vault.Client{"a narrow token": s.As(t, token.Auth.ClientToken), "an unknown token": s.As(t, "s.mistyped")} {
			_, err := d.Read(ctx, "secret", "routing/orders")
			if !errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || reach.Unreachable(err) {
				t.Errorf("%s: Read = %v, want denied", who, err)
			}
			if _, err := d.WriteCAS(ctx, "secret", "routing/orders", content{"a": "b"}, 0); !errors.Is(err, fs.ErrPermission) || errors.Is(err, vault.ErrChanged) {
				t.Errorf("%s: WriteCAS = %v, want denied", who, err)
			}
			if h, err := d.Readable(ctx, "secret", "routing/orders"); !errors.Is(err, fs.ErrPermission) || !h.Initialized {
				t.Errorf("%s: Readable = %+v, %v; want healthy and denied", who, h, err)
			}
		}
		_, err = s.As(t, token.Auth.ClientToken).Read(ctx, "secret", "allowed")
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Read of a missing secret that the token may read = %v", err)
		}
		if _, err := c.Read(ctx, "no-such-mount", "x"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Read of a missing mount = %v", err)
		}
	})

	t.Run("no value in an error", func(t *testing.T) {
		_, err := c.WriteCAS(ctx, "secret", "routing/orders", content{"password": "hunter2"}, 99)
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), s.RootToken) {
			t.Errorf("WriteCAS = %v", err)
		}
	})

	t.Run("readable", func(t *testing.T) {
		if h, err := c.Readable(ctx, "secret", "routing/orders"); err != nil || !h.Initialized || h.Sealed || h.Version == "" {
			t.Errorf("Readable = %+v, %v", h, err)
		}
		if _, err := c.Readable(ctx, "secret", "never"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Readable of a missing secret = %v", err)
		}
		must(t, raw(t, s).Sys().SealWithContext(ctx))
		if h, err := c.Readable(ctx, "secret", "routing/orders"); !errors.Is(err, vault.ErrSealed) || !h.Sealed {
			t.Errorf("Readable of a sealed server = %+v, %v", h, err)
		}
		if _, err := c.Read(ctx, "secret", "routing/orders"); !errors.Is(err, vault.ErrSealed) || reach.Unreachable(err) {
			t.Errorf("Read of a sealed server = %v, want ErrSealed: it did answer", err)
		}
		s.Restart(t) // it unseals itself
		if now, err := c.Read(ctx, "secret", "routing/orders"); err != nil || now.Version != 2 {
			t.Errorf("after a restart Read = %+v, %v", now, err)
		}
	})
}

func TestUnreachable(t *testing.T) {
	s := baotest.Start(t)
	c := s.Client(t)
	ask := func(t *testing.T) {
		t.Helper()
		for name, ask := range map[string]func(context.Context) error{
			"Read":     func(ctx context.Context) error { _, err := c.Read(ctx, "secret", "x"); return err },
			"WriteCAS": func(ctx context.Context) error { _, err := c.WriteCAS(ctx, "secret", "x", content{}, 0); return err },
			"Readable": func(ctx context.Context) error { _, err := c.Readable(ctx, "secret", "x"); return err },
		} {
			began := time.Now()
			err := ask(t.Context())
			if !errors.Is(err, reach.ErrUnreachable) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, vault.ErrChanged) {
				t.Errorf("%s = %v, want unreachable and nothing else", name, err)
			}
			if d := time.Since(began); d > 4*time.Second {
				t.Errorf("%s took %v to say so", name, d)
			}
		}
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
		g, err := vault.New(vault.Config{Address: srv.URL, Token: "t"})
		must(t, err)
		if _, err := g.Read(t.Context(), "secret", "x"); !errors.Is(err, reach.ErrUnreachable) {
			t.Errorf("Read = %v, want unreachable", err)
		}
	})
}

// TestLostAnswer swallows the answer of a write that took place; the client
// library sends it again, and that must not read as somebody else's change.
func TestLostAnswer(t *testing.T) {
	s := baotest.Start(t)
	to, err := url.Parse(s.Address)
	must(t, err)
	var swallow atomic.Int32
	srv := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: func(r *http.Response) error {
			if r.Request.Method == http.MethodPut && swallow.Add(-1) >= 0 {
				return errors.New("swallowed")
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
					t.Error(err)
				}
				conn.Close()
			}
		},
	})
	defer srv.Close()
	c, err := vault.New(vault.Config{Address: srv.URL, Token: s.RootToken})
	must(t, err)
	swallow.Store(1)
	now, err := c.WriteCAS(t.Context(), "secret", "routing", content{"endpoint": "west"}, 0)
	if err != nil || now.Version != 1 {
		t.Errorf("WriteCAS whose answer was lost = %+v, %v; want version 1", now, err)
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
	c, err := vault.New(vault.Config{Address: srv.URL, Token: "mine"})
	must(t, err)
	if _, err := c.Read(t.Context(), "secret", "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read = %v", err)
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
