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

	"breakwater/internal/reach"
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
		HttpClient: &http.Client{Transport: transport},
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
// server: a mount that is not there is [fs.ErrNotExist] for each of its secrets.
func (c *Client) Mount(name string) *Store { return &Store{c, name} }

// Address is the server's URL.
func (s *Store) Address() string { return s.client.address }

// Name is the secret's path with its mount, which policies and the command line
// take.
func (s *Store) Name(path string) string { return s.mount + "/" + path }

// BringBack is the command that writes an older version as a new one.
func (s *Store) BringBack(path string, version int) string {
	return fmt.Sprintf("vault kv rollback -mount=%s -version=%d %s", s.mount, version, path)
}

// Read reads the current version.
func (s *Store) Read(ctx context.Context, path string) (secret.Secret, error) {
	kv, err := s.client.api.KVv2(s.mount).Get(ctx, path)
	switch {
	case errors.Is(err, api.ErrSecretNotFound):
		return secret.Secret{}, s.fail("read", path, fmt.Errorf("%w: there is no such secret, or %s is not a KV version 2 mount", fs.ErrNotExist, s.mount))
	case err != nil:
		return secret.Secret{}, s.fail("read", path, err)
	case kv.VersionMetadata == nil:
		return secret.Secret{}, s.fail("read", path, errors.New("the answer names no version; is this a KV version 2 mount?"))
	}
	now := secret.Secret{Data: kv.Data, Version: kv.VersionMetadata.Version, Created: kv.VersionMetadata.CreatedTime}
	if kv.Data == nil {
		now.Deleted = true
		return now, s.fail("read", path, fmt.Errorf("%w: its version %d is deleted; undelete it or write a new one", fs.ErrNotExist, now.Version))
	}
	return now, nil
}

// Current reads the secret's metadata, which the token must be allowed to.
func (s *Store) Current(ctx context.Context, path string) (int, error) {
	m, err := s.client.api.KVv2(s.mount).GetMetadata(ctx, path)
	if errors.Is(err, api.ErrSecretNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, s.fail("read the metadata of", path, err)
	}
	return m.CurrentVersion, nil
}

// Write writes data by check-and-set, and reads it back: what the library sent a
// second time, after an answer that was lost, is refused though the first took
// place.
func (s *Store) Write(ctx context.Context, path string, data map[string]any, seen int) (secret.Secret, error) {
	_, err := s.client.api.KVv2(s.mount).Put(ctx, path, data, api.WithCheckAndSet(seen))
	lost := isCAS(err)
	if err != nil && !lost {
		return secret.Secret{}, s.fail("write", path, err)
	}
	now, err := s.Read(ctx, path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return now, fmt.Errorf("read back after writing: %w", err)
	}
	same, err := equal(now.Data, data)
	if err != nil {
		return now, s.fail("compare", path, err)
	}
	switch {
	case now.Version == seen+1 && same:
		return now, nil
	case lost:
		return now, s.fail("write", path, fmt.Errorf("it is at version %d, not %d: %w; read it again and decide", now.Version, seen, secret.ErrChanged))
	}
	return now, s.fail("write", path, fmt.Errorf("written as version %d, but it reads back as version %d with other content: %w", seen+1, now.Version, secret.ErrChanged))
}

// Health asks the server, which needs no token for it.
func (s *Store) Health(ctx context.Context) (secret.Health, error) {
	h, err := s.client.api.Sys().HealthWithContext(ctx)
	if err != nil {
		return secret.Health{}, fmt.Errorf("health at %s: %w", s.client.address, classify(err))
	}
	return secret.Health{Initialized: h.Initialized, Sealed: h.Sealed, Recovery: h.ReplicationDRMode == "secondary"}, nil
}

// fail words an error and gives it its sentinel.
func (s *Store) fail(doing, path string, err error) error {
	return fmt.Errorf("%s %s: %w", doing, secret.Place(s, path), classify(err))
}

// refusal is a server's answer no in one line, with its sentinel and the
// library's error, which takes several, in its chain.
type refusal struct {
	text  string
	kinds []error
}

func (e *refusal) Error() string   { return e.text }
func (e *refusal) Unwrap() []error { return e.kinds }

func classify(err error) error {
	var r *api.ResponseError
	if !errors.As(err, &r) {
		return reach.Mark(err)
	}
	said := fmt.Sprintf("%d %s", r.StatusCode, strings.Join(r.Errors, "; "))
	switch {
	case r.StatusCode == http.StatusForbidden:
		return &refusal{"the token is denied (" + said + "); check its policies and its age", []error{fs.ErrPermission, err}}
	case r.StatusCode == http.StatusNotFound:
		return &refusal{"not found (" + said + ")", []error{fs.ErrNotExist, err}}
	case r.StatusCode == http.StatusBadGateway, r.StatusCode == http.StatusGatewayTimeout:
		return &refusal{"unreachable, a gateway says (" + said + ")", []error{reach.ErrUnreachable, err}}
	case r.StatusCode == http.StatusServiceUnavailable && strings.Contains(strings.ToLower(said), "sealed"):
		return &refusal{"it is sealed (" + said + "); unseal it", []error{secret.ErrSealed, err}}
	}
	return &refusal{"the server answered " + said, []error{err}}
}

// isCAS tells a lost check-and-set from the other mistakes with status 400.
func isCAS(err error) bool {
	var r *api.ResponseError
	return errors.As(err, &r) && r.StatusCode == http.StatusBadRequest &&
		strings.Contains(strings.Join(r.Errors, " "), "check-and-set parameter did not match")
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
