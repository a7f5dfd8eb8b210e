package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"

	"breakwater/internal/objectstore"
)

// Admin is a server's administrator.
type Admin struct{ m *Server }

var (
	_ objectstore.Admin  = Admin{}
	_ objectstore.Fencer = Admin{}
)

// Admin is the server's administrator.
func (m *Server) Admin() Admin { return Admin{m} }

// Store is that of [objectstore.Admin].
func (a Admin) Store() objectstore.Store { return a.m.Owner() }

// Endpoint is that of [objectstore.Admin].
func (a Admin) Endpoint() string { return a.m.Owner().Endpoint() }

// SetRights notes what a user may. It decides nothing: a fence's base is made of it.
func (m *Server) SetRights(user, rights string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rights[user] = rights
}

// denial is what a fence of a run has written.
type denial struct {
	bucket  string
	writers []string
}

// fenced reports whether a fence keeps a user from writing to a bucket.
func (m *Server) fenced(bucket, user string) bool {
	for _, d := range m.fences {
		if d.bucket == bucket && slices.Contains(d.writers, user) {
			return true
		}
	}
	return false
}

// Fence is that of [objectstore.Fencer].
func (a Admin) Fence(bucket string, principals []string) objectstore.Fence {
	return fence{a.m, denial{bucket, slices.Sorted(slices.Values(principals))}}
}

type fence struct {
	m *Server
	denial
}

func (f fence) scope() string { return objectstore.FenceScope(f.writers, []string{f.bucket}) }

// Name is that of [objectstore.Fence].
func (f fence) Name(run string) (string, error) { return objectstore.FenceName(run, f.scope()) }

// Read is that of [objectstore.Fence].
func (f fence) Read(ctx context.Context) (objectstore.FenceState, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.read(ctx)
}

func (f fence) read(ctx context.Context) (st objectstore.FenceState, err error) {
	if err := ctx.Err(); err != nil {
		return st, err
	}
	rights := map[string]string{}
	for _, w := range f.writers {
		r, there := f.m.rights[w]
		if !there {
			return st, fmt.Errorf("read user %s: %w", w, fs.ErrNotExist)
		}
		rights[w] = r
	}
	text, err := json.Marshal(rights)
	if err != nil {
		return st, err
	}
	st.Base = string(text)
	for name, d := range f.m.fences {
		if run, ours := objectstore.FenceRun(name, f.scope()); ours {
			st.Run, st.Closed = run, slices.Equal(d.writers, f.writers)
		}
	}
	return st, nil
}

// Close is that of [objectstore.Fence].
func (f fence) Close(ctx context.Context, seen objectstore.FenceState, run string) error {
	return f.set(ctx, seen, run, func(name string) { f.m.fences[name] = f.denial })
}

// Open is that of [objectstore.Fence].
func (f fence) Open(ctx context.Context, was objectstore.FenceState, run string) error {
	return f.set(ctx, was, run, func(name string) { delete(f.m.fences, name) })
}

func (f fence) set(ctx context.Context, seen objectstore.FenceState, run string, do func(name string)) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	name, err := objectstore.FenceName(run, f.scope())
	if err != nil {
		return err
	}
	now, err := f.read(ctx)
	switch {
	case err != nil:
		return err
	case len(f.writers) == 0:
		return fmt.Errorf("a fence of %s without writers denies nobody", f.bucket)
	case now.Run != "" && now.Run != run:
		return fmt.Errorf("%w: run %s", objectstore.ErrFenced, now.Run)
	case now.Base != seen.Base:
		return fmt.Errorf("the rights of %v: %w", f.writers, objectstore.ErrChanged)
	}
	do(name)
	return nil
}
