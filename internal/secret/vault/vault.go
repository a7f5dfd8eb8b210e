// Package vault is the secret store of a KV version 2 engine, of HashiCorp Vault or
// OpenBao, behind the port of package secret.
//
// A [Client] talks to one server with one token, and a [Store] is a mount there.
// The VAULT_… variables of the environment are ignored: where a server is and who
// asks is the estate's to say.
package vault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"breakwater/internal/credential"
	"breakwater/internal/secret"
)

// Config says where a server is and who asks.
type Config struct {
	Address   string // URL
	Token     string
	Namespace string // empty for the root namespace
	CA        []byte // PEM; the system's authorities when empty
	// Timeout bounds a request with its retries; 3 s when zero.
	Timeout time.Duration
}

// Client talks to one server with one token. It is safe for concurrent use.
type Client struct {
	api     *api.Client
	address string
}

// New returns a client. It asks nothing of the server.
func New(cfg Config) (*Client, error) {
	if cfg.Address == "" || cfg.Token == "" {
		return nil, fmt.Errorf("vault %q: address or token is empty; name both", cfg.Address)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 3 * time.Second
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
		TLSHandshakeTimeout: cfg.Timeout,
		IdleConnTimeout:     30 * time.Second,
		ForceAttemptHTTP2:   true,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if len(cfg.CA) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(cfg.CA) {
			return nil, fmt.Errorf("vault %s: the certificate authority is not PEM", cfg.Address)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	c, err := api.NewClient(&api.Config{
		Address:    cfg.Address,
		HttpClient: &http.Client{Transport: credential.Repeated(transport, cfg.Token)},
		Timeout:    cfg.Timeout,
		// Refused and broken connections and 5xx answers, twice more.
		MaxRetries: 2, MinRetryWait: 100 * time.Millisecond, MaxRetryWait: 400 * time.Millisecond,
	})
	if err != nil {
		return nil, fmt.Errorf("vault %s: %w", cfg.Address, err)
	}
	c.SetToken(cfg.Token)
	c.ClearNamespace() // which the environment may have set
	if cfg.Namespace != "" {
		c.SetNamespace(cfg.Namespace)
	}
	return &Client{c, cfg.Address}, nil
}

// Store is a mount of a KV version 2 engine as a secret store. It is safe for
// concurrent use.
type Store struct {
	client *Client
	mount  string
}

var _ secret.Store = (*Store)(nil)

// Mount is the secret store at a mount, such as "secret". It asks nothing of the
// server: a mount that is not there, or is none of KV version 2, is
// reach.ErrMisconfigured for each of its secrets.
func (c *Client) Mount(name string) *Store { return &Store{c, name} }

// Address is the server's URL.
func (s *Store) Address() string { return s.client.address }

// Name is the secret's path with its mount, which policies and the command line
// take.
func (s *Store) Name(path string) string { return s.mount + "/" + path }

// Read reads the current version.
func (s *Store) Read(ctx context.Context, path string) (secret.Secret, error) {
	return s.read(ctx, "read", path, nil)
}

// read reads a version. Where there is none, the mount is asked what it is: one that is
// missing, or of KV version 1, has none of the secrets of this store, and lacks them in
// another way than a secret that never was.
func (s *Store) read(ctx context.Context, doing, path string, which map[string][]string) (secret.Secret, error) {
	res, err := s.client.api.Logical().ReadWithDataWithContext(ctx, s.mount+"/data/"+path, which)
	if err != nil {
		return secret.Secret{}, s.fail(ctx, doing, path, err)
	}
	var meta map[string]any
	if res != nil {
		meta, _ = res.Data["metadata"].(map[string]any)
	}
	version, _ := meta["version"].(json.Number)
	n, err := version.Int64()
	if err != nil || n < 1 {
		if err := s.versioned(ctx); err != nil {
			return secret.Secret{}, s.fail(ctx, doing, path, err)
		}
		return secret.Secret{}, s.fail(ctx, doing, path, fmt.Errorf("%w: there is no such secret", fs.ErrNotExist))
	}
	now := secret.Secret{Version: int(n)}
	created, _ := meta["created_time"].(string)
	if now.Created, err = time.Parse(time.RFC3339, created); err != nil {
		return secret.Secret{}, s.fail(ctx, doing, path, fmt.Errorf("when version %d was written: %w", n, err))
	}
	if now.Data, _ = res.Data["data"].(map[string]any); now.Data == nil {
		now.Deleted = true
		how := "deleted; undelete it or write a new one"
		if meta["destroyed"] == true {
			how = "destroyed; write a new one"
		}
		return now, s.fail(ctx, doing, path, fmt.Errorf("%w: its version %d is %s", fs.ErrNotExist, n, how))
	}
	return now, nil
}

// Write writes data by check-and-set, and reads it back: what the library sent a
// second time, after an answer that was lost, is refused though the first took
// place.
func (s *Store) Write(ctx context.Context, path string, data map[string]any, seen int) (secret.Secret, error) {
	if seen == 0 { // a mount of another kind would take the write, as a secret with another path
		if now, err := s.Read(ctx, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return now, fmt.Errorf("look before writing: %w", err)
		}
	}
	_, err := s.client.api.KVv2(s.mount).Put(ctx, path, data, api.WithCheckAndSet(seen))
	lost := isCAS(err)
	if err != nil && !lost {
		return secret.Secret{}, s.fail(ctx, "write", path, err)
	}
	now, err := s.Read(ctx, path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return now, fmt.Errorf("read back after writing: %w", err)
	}
	same, err := equal(now.Data, data)
	if err != nil {
		return now, s.fail(ctx, "compare", path, err)
	}
	switch {
	case now.Version == seen+1 && same:
		return now, nil
	case lost:
		return now, s.fail(ctx, "write", path, fmt.Errorf("it is at version %d, not %d: %w; read it again and decide", now.Version, seen, secret.ErrChanged))
	}
	return now, s.fail(ctx, "write", path, fmt.Errorf("written as version %d, but it reads back as version %d with other content: %w", seen+1, now.Version, secret.ErrChanged))
}

// Health asks the server, which needs no token for it.
func (s *Store) Health(ctx context.Context) (secret.Health, error) {
	h, err := s.client.api.Sys().HealthWithContext(ctx)
	if err != nil {
		return secret.Health{}, fmt.Errorf("health at %s: %w", s.client.address, classify(err))
	}
	return secret.Health{Initialized: h.Initialized, Sealed: h.Sealed, Recovery: h.ReplicationDRMode == "secondary"}, nil
}

// equal compares contents as JSON: what was written as an int reads back as a
// json.Number.
func equal(a, b map[string]any) (bool, error) {
	x, err := normal(a)
	if err != nil {
		return false, err
	}
	y, err := normal(b)
	if err != nil {
		return false, err
	}
	return reflect.DeepEqual(x, y), nil
}

func normal(m map[string]any) (any, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("content is no JSON object: %w", err)
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("content is no JSON object: %w", err)
	}
	return v, nil
}
