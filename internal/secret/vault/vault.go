// Package vault reads and writes secrets of a KV version 2 engine, of HashiCorp
// Vault or OpenBao.
//
// Errors carry sentinels: [fs.ErrNotExist] for a secret that is not there or is
// deleted, [fs.ErrPermission] for a token that may not, [ErrChanged] for a lost
// check-and-set, [ErrSealed] for a server that answers and cannot read its own
// store, and [reach.ErrUnreachable] where no answer came. No error text holds a
// secret's value.
//
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
)

var (
	// ErrChanged means that a secret is not at the version that the caller has
	// seen. No retry cures it; read again and decide.
	ErrChanged = errors.New("changed since it was read")

	// ErrSealed means that the server answers, and cannot serve secrets until
	// somebody unseals it.
	ErrSealed = errors.New("sealed")

	// ErrNotServing means that the server is not initialised or is a standby for
	// disaster recovery, which serves no reads before it is promoted.
	ErrNotServing = errors.New("serves no secrets")
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

// Address is the server's URL.
func (c *Client) Address() string { return c.address }

// Secret is what is known of a secret's current version.
type Secret struct {
	Data map[string]any // values as JSON has them, numbers as json.Number
	// Version is the current version, which the next check-and-set must name. 0
	// if there has never been one.
	Version int
	Created time.Time // when this version was written
	Deleted bool      // the current version is deleted or destroyed; Data is nil
}

// Read reads the current version. A secret that is deleted is [fs.ErrNotExist]
// like one that never was; its Version, returned beside the error, still counts
// for the next check-and-set.
func (c *Client) Read(ctx context.Context, mount, path string) (Secret, error) {
	kv, err := c.api.KVv2(mount).Get(ctx, path)
	switch {
	case errors.Is(err, api.ErrSecretNotFound):
		return Secret{}, c.fail("read", mount, path, fmt.Errorf("%w: there is no such secret, or %s is not a KV version 2 mount", fs.ErrNotExist, mount))
	case err != nil:
		return Secret{}, c.fail("read", mount, path, err)
	case kv.VersionMetadata == nil:
		return Secret{}, c.fail("read", mount, path, errors.New("the answer names no version; is this a KV version 2 mount?"))
	}
	s := Secret{Data: kv.Data, Version: kv.VersionMetadata.Version, Created: kv.VersionMetadata.CreatedTime}
	if kv.Data == nil {
		s.Deleted = true
		return s, c.fail("read", mount, path, fmt.Errorf("%w: its version %d is deleted; undelete it or write a new one", fs.ErrNotExist, s.Version))
	}
	return s, nil
}

// Data is the current content alone, as package credential wants it.
func (c *Client) Data(ctx context.Context, mount, path string) (map[string]any, error) {
	s, err := c.Read(ctx, mount, path)
	return s.Data, err
}

// Current is the secret's current version by its metadata, which also counts
// deleted versions; 0 if it never had one. The token needs to read metadata.
func (c *Client) Current(ctx context.Context, mount, path string) (int, error) {
	m, err := c.api.KVv2(mount).GetMetadata(ctx, path)
	if errors.Is(err, api.ErrSecretNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, c.fail("read the metadata of", mount, path, err)
	}
	return m.CurrentVersion, nil
}

// WriteCAS writes data as the version after seen, and reads it back. seen is
// [Secret.Version] as it was read; 0 means that the secret must never have been.
// data is the whole content: keys that it lacks are gone from the new version.
//
// If somebody else wrote, the error is [ErrChanged]. If what is there at version
// seen+1 is exactly data, an earlier attempt of this very write has succeeded and
// this one does too.
func (c *Client) WriteCAS(ctx context.Context, mount, path string, data map[string]any, seen int) (Secret, error) {
	_, err := c.api.KVv2(mount).Put(ctx, path, data, api.WithCheckAndSet(seen))
	lost := isCAS(err)
	if err != nil && !lost {
		return Secret{}, c.fail("write", mount, path, err)
	}
	now, err := c.Read(ctx, mount, path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return now, fmt.Errorf("read back after writing: %w", err)
	}
	same, err := equal(now.Data, data)
	if err != nil {
		return now, c.fail("compare", mount, path, err)
	}
	switch {
	case now.Version == seen+1 && same:
		return now, nil
	case lost:
		return now, c.fail("write", mount, path, fmt.Errorf("it is at version %d, not %d: %w; read it again and decide", now.Version, seen, ErrChanged))
	}
	return now, c.fail("write", mount, path, fmt.Errorf("written as version %d, but it reads back as version %d with other content: %w", seen+1, now.Version, ErrChanged))
}

// Health is the server's own account of its state. It says little about whether a
// secret can be read: see [Client.Readable].
type Health struct {
	Initialized bool   `json:"initialized"`
	Sealed      bool   `json:"sealed"`
	Standby     bool   `json:"standby"`
	Recovery    bool   `json:"recovery"` // a secondary for disaster recovery
	Version     string `json:"version"`
}

// Health asks the server how it is. It needs no permission. A sealed server is no
// error here.
func (c *Client) Health(ctx context.Context) (Health, error) {
	h, err := c.api.Sys().HealthWithContext(ctx)
	if err != nil {
		return Health{}, c.fail("health", "", "", err)
	}
	return Health{
		Initialized: h.Initialized, Sealed: h.Sealed, Standby: h.Standby,
		Recovery: h.ReplicationDRMode == "secondary", Version: h.Version,
	}, nil
}

// Readable proves that the server serves secrets to this token: it is healthy,
// and the given secret can be read. The content is not returned.
func (c *Client) Readable(ctx context.Context, mount, path string) (Health, error) {
	h, err := c.Health(ctx)
	switch {
	case err != nil:
		return h, err
	case !h.Initialized:
		return h, c.fail("read", mount, path, fmt.Errorf("%w: not initialised", ErrNotServing))
	case h.Sealed:
		return h, c.fail("read", mount, path, fmt.Errorf("%w; unseal it", ErrSealed))
	case h.Recovery:
		return h, c.fail("read", mount, path, fmt.Errorf("%w: a disaster recovery secondary; promote it first", ErrNotServing))
	}
	_, err = c.Read(ctx, mount, path)
	return h, err
}

// EnableKV mounts a KV version 2 engine, for laboratories. One that is already
// there is no error.
func (c *Client) EnableKV(ctx context.Context, mount string) error {
	err := c.api.Sys().MountWithContext(ctx, mount, &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}})
	if err != nil && !strings.Contains(err.Error(), "already in use") {
		return c.fail("mount", mount, "", err)
	}
	// A new engine refuses everything for a moment, while it sets itself up.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := c.api.Logical().ReadWithContext(ctx, mount+"/config")
		if err == nil || !strings.Contains(err.Error(), "Upgrading") {
			return c.fail("mount", mount, "", err)
		}
		select {
		case <-ctx.Done():
			return c.fail("mount", mount, "", errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}

// fail words an error and gives it its sentinel; nil stays nil.
func (c *Client) fail(doing, mount, path string, err error) error {
	if err == nil {
		return nil
	}
	what := doing
	if mount != "" {
		what += " " + strings.TrimSuffix(mount+"/"+path, "/")
	}
	return fmt.Errorf("%s at %s: %w", what, c.address, classify(err))
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
		return &refusal{"it is sealed (" + said + "); unseal it", []error{ErrSealed, err}}
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
