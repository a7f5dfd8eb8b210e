package secrettest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"sync"
	"testing"

	"breakwater/internal/promise"
	"breakwater/internal/reach"
	"breakwater/internal/secret"
)

// wrapped is a store in memory in which some calls go elsewhere.
type wrapped struct {
	memory
	read  func(ctx context.Context, path string) (secret.Secret, error)
	write func(ctx context.Context, path string, data map[string]any, seen int) (secret.Secret, error)
	at    func(path string) string // where a secret really is
	still bool                     // nobody can stop a call
	place func(path string) string
	hint  func(path string, version int) string
	older func(ctx context.Context, path string, version int) (secret.Secret, error)
	drop  func(ctx context.Context, path string, version int) error
	book  func(*secret.Book)
	state func(secret.Health, error) (secret.Health, error)
	fails func(error) error // of every call
}

var _ secret.Store = (*wrapped)(nil)

func (w *wrapped) Name(path string) string {
	if w.place != nil {
		return w.place(path)
	}
	return w.memory.Name(path)
}

func (w *wrapped) BringBack(path string, version int, is secret.State) string {
	if w.hint != nil {
		return w.hint(path, version)
	}
	return w.memory.BringBack(path, version, is)
}

func (w *wrapped) ctx(ctx context.Context) context.Context {
	if w.still {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

func (w *wrapped) path(path string) string {
	if w.at != nil {
		return w.at(path)
	}
	return path
}

func (w *wrapped) err(err error) error {
	if w.fails != nil {
		return w.fails(err)
	}
	return err
}

func (w *wrapped) Read(ctx context.Context, path string) (secret.Secret, error) {
	read := w.memory.Read
	if w.read != nil {
		read = w.read
	}
	now, err := read(w.ctx(ctx), w.path(path))
	return now, w.err(err)
}

func (w *wrapped) Write(ctx context.Context, path string, data map[string]any, seen int) (secret.Secret, error) {
	write := w.memory.Write
	if w.write != nil {
		write = w.write
	}
	now, err := write(w.ctx(ctx), w.path(path), data, seen)
	return now, w.err(err)
}

func (w *wrapped) Book(ctx context.Context, path string) (secret.Book, error) {
	b, err := w.memory.Book(w.ctx(ctx), w.path(path))
	if w.book != nil && err == nil {
		w.book(&b)
	}
	return b, w.err(err)
}

func (w *wrapped) Version(ctx context.Context, path string, version int) (secret.Secret, error) {
	older := w.memory.Version
	if w.older != nil {
		older = w.older
	}
	v, err := older(w.ctx(ctx), w.path(path), version)
	return v, w.err(err)
}

func (w *wrapped) Delete(ctx context.Context, path string, version int) error {
	drop := w.memory.Delete
	if w.drop != nil {
		drop = w.drop
	}
	return w.err(drop(w.ctx(ctx), w.path(path), version))
}

func (w *wrapped) MayDelete(ctx context.Context, path string) error {
	return w.err(w.memory.MayDelete(w.ctx(ctx), w.path(path)))
}

func (w *wrapped) Health(ctx context.Context) (secret.Health, error) {
	h, err := w.memory.Health(w.ctx(ctx))
	if w.state != nil {
		h, err = w.state(h, err)
	}
	return h, w.err(err)
}

// broken is a target whose stores are all broken in one way.
func broken(how func(*wrapped)) func(testing.TB) Target {
	return func(testing.TB) Target {
		target := newTarget()
		wrap := func(s secret.Store) secret.Store {
			m, ok := s.(memory)
			if !ok {
				return s
			}
			w := &wrapped{memory: m}
			how(w)
			return w
		}
		target.Store, target.Denied, target.Silent = wrap(target.Store), wrap(target.Denied), wrap(target.Silent)
		return target
	}
}

// instead gives one error for another.
func instead(of, err error) func(*wrapped) {
	return func(w *wrapped) {
		w.fails = func(got error) error {
			if errors.Is(got, of) {
				return fmt.Errorf("at %s: %w", w.Address(), err)
			}
			return got
		}
	}
}

// anyway writes over whatever is there.
func (w *wrapped) anyway(ctx context.Context, path string, data map[string]any) (secret.Secret, error) {
	for {
		b, err := w.memory.Book(ctx, path)
		if err != nil {
			return secret.Secret{}, err
		}
		if now, err := w.memory.Write(ctx, path, data, b.Current); !errors.Is(err, secret.ErrChanged) {
			return now, err
		}
	}
}

// TestBroken proves that the suite can fail: each of these stores is right but for
// one thing.
func TestBroken(t *testing.T) {
	suite.Honest(t, []promise.Broken[Target]{
		{Name: "numbers lose digits", Breaks: "what was written is read", Target: broken(func(w *wrapped) {
			w.read = func(ctx context.Context, path string) (secret.Secret, error) {
				now, err := w.memory.Read(ctx, path)
				for k, v := range now.Data {
					if n, ok := v.(json.Number); ok {
						now.Data[k], _ = n.Float64()
					}
				}
				return now, err
			}
		})},
		{Name: "a missing secret is an empty one", Breaks: "what never was is missing", Target: broken(func(w *wrapped) {
			w.read = func(ctx context.Context, path string) (secret.Secret, error) {
				now, err := w.memory.Read(ctx, path)
				if errors.Is(err, fs.ErrNotExist) && !now.Deleted {
					return secret.Secret{Data: map[string]any{}}, nil
				}
				return now, err
			}
		})},
		{Name: "the version stays the same after a write", Breaks: "every write is one version more", Target: broken(func(w *wrapped) {
			w.read = func(ctx context.Context, path string) (secret.Secret, error) {
				now, err := w.memory.Read(ctx, path)
				now.Version = min(now.Version, 1)
				return now, err
			}
		})},
		{Name: "a write of what is there already is left out", Breaks: "every write is one version more", Target: broken(func(w *wrapped) {
			w.write = func(ctx context.Context, path string, data map[string]any, seen int) (secret.Secret, error) {
				if now, err := w.memory.Read(ctx, path); err == nil && now.Version == seen && fmt.Sprint(now.Data) == fmt.Sprint(data) {
					return now, nil
				}
				return w.memory.Write(ctx, path, data, seen)
			}
		})},
		{Name: "a write adds keys", Breaks: "a write replaces the whole content", Target: broken(func(w *wrapped) {
			w.write = func(ctx context.Context, path string, data map[string]any, seen int) (secret.Secret, error) {
				merged := maps.Clone(data)
				if now, err := w.memory.Read(ctx, path); err == nil && now.Version == seen {
					maps.Copy(merged, now.Data)
					maps.Copy(merged, data)
				}
				return w.memory.Write(ctx, path, merged, seen)
			}
		})},
		{Name: "the version seen is ignored", Breaks: "a stale write changes nothing", Target: broken(func(w *wrapped) {
			w.write = func(ctx context.Context, path string, data map[string]any, _ int) (secret.Secret, error) {
				return w.anyway(ctx, path, data)
			}
		})},
		{Name: "a newer version than there is may be seen", Breaks: "a stale write changes nothing", Target: broken(func(w *wrapped) {
			w.write = func(ctx context.Context, path string, data map[string]any, seen int) (secret.Secret, error) {
				if b, err := w.memory.Book(ctx, path); err == nil && b.Current < seen {
					seen = b.Current
				}
				return w.memory.Write(ctx, path, data, seen)
			}
		})},
		{Name: "the same write again is somebody else's", Breaks: "the same write again is taken as done", Target: broken(func(w *wrapped) {
			w.write = func(ctx context.Context, path string, data map[string]any, seen int) (secret.Secret, error) {
				if b, err := w.memory.Book(ctx, path); err == nil && b.Current != seen {
					return secret.Secret{}, fmt.Errorf("write: %w", secret.ErrChanged)
				}
				return w.memory.Write(ctx, path, data, seen)
			}
		})},
		{Name: "the version is looked at, and then written", Breaks: "of many writers one wins", Target: broken(func(w *wrapped) {
			var looked sync.WaitGroup // so that all of them look before one writes
			looked.Add(20)
			w.write = func(ctx context.Context, path string, data map[string]any, seen int) (secret.Secret, error) {
				now, err := w.memory.Read(ctx, path)
				if err != nil || now.Data["n"] != "start" {
					return w.memory.Write(ctx, path, data, seen)
				}
				looked.Done()
				looked.Wait()
				return w.anyway(ctx, path, data)
			}
		})},
		{Name: "a deleted secret is read", Breaks: "what is deleted is missing, and keeps counting", Target: broken(func(w *wrapped) {
			w.read = func(ctx context.Context, path string) (secret.Secret, error) {
				now, err := w.memory.Read(ctx, path)
				if now.Deleted {
					w.mu.Lock()
					defer w.mu.Unlock()
					return now, json.Unmarshal(w.secrets[path][now.Version-1].text, &now.Data)
				}
				return now, err
			}
		})},
		{Name: "a deleted secret is as if it never was", Breaks: "what is deleted is missing, and keeps counting", Target: broken(func(w *wrapped) {
			w.read = func(ctx context.Context, path string) (secret.Secret, error) {
				now, err := w.memory.Read(ctx, path)
				if now.Deleted {
					now = secret.Secret{}
				}
				return now, err
			}
		})},
		{Name: "an older version is the current one", Breaks: "an older version is read as it was", Target: broken(func(w *wrapped) {
			w.older = func(ctx context.Context, path string, _ int) (secret.Secret, error) { return w.memory.Read(ctx, path) }
		})},
		{Name: "the book knows of the current version alone", Breaks: "an older version is read as it was", Target: broken(func(w *wrapped) {
			w.book = func(b *secret.Book) {
				b.States = map[int]secret.State{b.Current: b.State(b.Current)}
			}
		})},
		{Name: "a deletion takes the newest version", Breaks: "a deletion takes the version that was named", Target: broken(func(w *wrapped) {
			w.drop = func(ctx context.Context, path string, _ int) error {
				b, err := w.memory.Book(ctx, path)
				if err != nil {
					return err
				}
				return w.memory.Delete(ctx, path, b.Current)
			}
		})},
		{Name: "a deletion is noted and not done", Breaks: "a deletion takes the version that was named", Target: broken(func(w *wrapped) {
			w.drop = func(ctx context.Context, path string, _ int) error { return w.memory.MayDelete(ctx, path) }
		})},
		{Name: "only a path's folder counts", Breaks: "each secret is on its own", Target: broken(func(w *wrapped) {
			w.at = path.Dir
		})},
		{Name: "denied answers as missing", Breaks: "denied is not missing", Target: broken(instead(fs.ErrPermission, fs.ErrNotExist))},
		{Name: "health needs a permission", Breaks: "denied is not missing", Target: broken(func(w *wrapped) {
			w.state = func(h secret.Health, err error) (secret.Health, error) {
				if w.denied {
					return secret.Health{}, fs.ErrPermission
				}
				return h, err
			}
		})},
		{Name: "silence answers as missing", Breaks: "silence is no answer", Target: broken(instead(reach.ErrUnreachable, fs.ErrNotExist))},
		{Name: "sealed answers as silence", Breaks: "sealed is an answer", Target: broken(instead(secret.ErrSealed, reach.ErrUnreachable))},
		{Name: "a sealed store has no health", Breaks: "sealed is an answer", Target: broken(func(w *wrapped) {
			w.state = func(h secret.Health, err error) (secret.Health, error) { return h, errors.Join(err, h.Serves()) }
		})},
		{Name: "a cancelled call goes on", Breaks: "a cancelled call ends with its context's error", Target: broken(func(w *wrapped) { w.still = true })},
		{Name: "errors quote what was to be written", Breaks: "no error shows a content", Target: broken(func(w *wrapped) {
			w.write = func(ctx context.Context, path string, data map[string]any, seen int) (secret.Secret, error) {
				now, err := w.memory.Write(ctx, path, data, seen)
				if err != nil {
					err = fmt.Errorf("%w; content was %v", err, data)
				}
				return now, err
			}
		})},
		{Name: "the hint names no version", Breaks: "people are told where a secret is", Target: broken(func(w *wrapped) {
			w.hint = func(path string, _ int) string { return "bring back " + path }
		})},
		{Name: "all secrets have one name", Breaks: "people are told where a secret is", Target: broken(func(w *wrapped) {
			w.place = path.Dir
		})},
	})
}
