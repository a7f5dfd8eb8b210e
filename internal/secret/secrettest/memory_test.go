package secrettest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"time"

	"breakwater/internal/reach"
	"breakwater/internal/secret"
)

// vault is what lies in a store in memory: each secret's versions, oldest first.
type vault struct {
	mu      sync.Mutex
	sealed  bool
	secrets map[string][]version
}

type version struct {
	text    []byte // JSON
	created time.Time
	deleted bool
}

// memory is a store in memory, as one principal sees it. It is as small as the
// port lets it be.
type memory struct {
	*vault
	denied, silent bool
}

var _ secret.Store = memory{}

func newTarget() Target {
	v := &vault{secrets: map[string][]version{}}
	return Target{
		Store: memory{vault: v}, Denied: memory{vault: v, denied: true}, Silent: memory{vault: v, silent: true},
		Delete: v.delete, Seal: v.seal(true), Unseal: v.seal(false),
	}
}

// TestMemory is how any store passes.
func TestMemory(t *testing.T) { Run(t, newTarget()) }

// TestWithoutASeal is for a kind of store that is never sealed.
func TestWithoutASeal(t *testing.T) {
	target := newTarget()
	target.Seal, target.Unseal = nil, nil
	Run(t, target)
}

func (v *vault) delete(_ context.Context, path string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	vs := v.secrets[path]
	if len(vs) == 0 {
		return fs.ErrNotExist
	}
	vs[len(vs)-1].deleted = true
	return nil
}

func (v *vault) seal(on bool) func(context.Context) error {
	return func(context.Context) error {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.sealed = on
		return nil
	}
}

func (m memory) Address() string { return fmt.Sprintf("memory %p", m.vault) }

func (m memory) Name(path string) string { return "kept/" + path }

func (m memory) BringBack(path string, version int) string {
	return fmt.Sprintf("write version %d of %s again", version, path)
}

func (m memory) Health(ctx context.Context) (secret.Health, error) {
	if m.silent {
		return secret.Health{}, fmt.Errorf("health at %s: %w", m.Address(), reach.ErrUnreachable)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return secret.Health{Initialized: true, Sealed: m.sealed}, ctx.Err()
}

// fail words an error, of which nil stays nil.
func (m memory) fail(doing, path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, secret.Place(m, path), err)
}

// open is nil where this principal may go on.
func (m memory) open(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case m.silent:
		return reach.ErrUnreachable
	case m.sealed:
		return secret.ErrSealed
	case m.denied:
		return fs.ErrPermission
	}
	return nil
}

func (m memory) Read(ctx context.Context, path string) (secret.Secret, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, err := m.read(ctx, path)
	return now, m.fail("read", path, err)
}

func (m memory) read(ctx context.Context, path string) (secret.Secret, error) {
	if err := m.open(ctx); err != nil {
		return secret.Secret{}, err
	}
	vs := m.secrets[path]
	if len(vs) == 0 {
		return secret.Secret{}, fs.ErrNotExist
	}
	last := vs[len(vs)-1]
	now := secret.Secret{Version: len(vs), Created: last.created, Deleted: last.deleted}
	if last.deleted {
		return now, fs.ErrNotExist
	}
	d := json.NewDecoder(bytes.NewReader(last.text))
	d.UseNumber()
	return now, d.Decode(&now.Data)
}

func (m memory) Current(ctx context.Context, path string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.open(ctx); err != nil {
		return 0, m.fail("read the versions of", path, err)
	}
	return len(m.secrets[path]), nil
}

func (m memory) Write(ctx context.Context, path string, data map[string]any, seen int) (secret.Secret, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.open(ctx); err != nil {
		return secret.Secret{}, m.fail("write", path, err)
	}
	text, err := json.Marshal(data)
	if err != nil {
		return secret.Secret{}, m.fail("write", path, err)
	}
	switch vs := m.secrets[path]; {
	case len(vs) == seen:
		m.secrets[path] = append(vs, version{text: text, created: time.Now()})
	case len(vs) != seen+1 || vs[seen].deleted || !bytes.Equal(vs[seen].text, text):
		return secret.Secret{}, m.fail("write", path, fmt.Errorf("it is at version %d, not %d: %w", len(vs), seen, secret.ErrChanged))
	}
	now, err := m.read(ctx, path)
	return now, m.fail("read back", path, err)
}
