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

func (m memory) BringBack(path string, version int, is secret.State) string {
	return fmt.Sprintf("write version %d of %s, which is %s, again", version, path, is)
}

func (m memory) Remove(path string) string { return "delete " + path }

func (m memory) Fill(path string) string { return "write " + path }

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
	return m.version(path, len(m.secrets[path]))
}

// version reads one of a secret's versions.
func (m memory) version(path string, n int) (secret.Secret, error) {
	vs := m.secrets[path]
	if n < 1 || n > len(vs) {
		return secret.Secret{}, fs.ErrNotExist
	}
	v := vs[n-1]
	now := secret.Secret{Version: n, Created: v.created, Deleted: v.deleted}
	if v.deleted {
		return now, fs.ErrNotExist
	}
	d := json.NewDecoder(bytes.NewReader(v.text))
	d.UseNumber()
	return now, d.Decode(&now.Data)
}

func (m memory) Version(ctx context.Context, path string, n int) (secret.Secret, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.open(ctx)
	var v secret.Secret
	if err == nil {
		v, err = m.version(path, n)
	}
	return v, m.fail("read a version of", path, err)
}

func (m memory) Book(ctx context.Context, path string) (secret.Book, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.open(ctx); err != nil {
		return secret.Book{}, m.fail("read the versions of", path, err)
	}
	b := secret.Book{Current: len(m.secrets[path]), States: map[int]secret.State{}}
	for i, v := range m.secrets[path] {
		b.States[i+1] = secret.Kept
		if v.deleted {
			b.States[i+1] = secret.Deleted
		}
	}
	return b, nil
}

func (m memory) Delete(ctx context.Context, path string, n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.open(ctx)
	if vs := m.secrets[path]; err == nil && n >= 1 && n <= len(vs) {
		vs[n-1].deleted = true
	}
	return m.fail("delete a version of", path, err)
}

func (m memory) MayDelete(ctx context.Context, path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fail("delete a version of", path, m.open(ctx))
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
