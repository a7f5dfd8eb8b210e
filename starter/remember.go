package main

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"

	"breakwater/internal/ledger"

	"golang.org/x/sync/errgroup"
)

// memory is a run's ledger as it was at one moment: what is verified, recomputed and
// shown are the same bytes, and each is asked for once, many at a time.
type memory struct {
	ledger.Reader
	prefix  string
	keys    []string
	objects map[string][]byte
}

// What is kept of a run, and how much is asked for at a time. What does not fit is read
// again each time, and held against its digest then.
const (
	rememberMost = 256 << 20 // bytes
	rememberAt   = 16
)

// remember reads what a run wrote, but for the parts of its plans, which are large.
func remember(ctx context.Context, from ledger.Reader, run ledger.Run) (*memory, error) {
	m := &memory{Reader: from, prefix: run.Prefix(), objects: map[string][]byte{}}
	for key, err := range from.List(ctx, m.prefix) {
		if err != nil {
			return nil, err
		}
		m.keys = append(m.keys, key)
	}
	slices.Sort(m.keys)
	var mu sync.Mutex
	left := rememberMost
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(rememberAt)
	for _, key := range m.keys {
		if strings.HasPrefix(key, m.prefix+"parts/") {
			continue
		}
		g.Go(func() error {
			mu.Lock()
			full := left <= 0
			mu.Unlock()
			if full {
				return nil
			}
			data, err := from.Get(gctx, key)
			if errors.Is(err, fs.ErrNotExist) { // listed a moment ago: whoever needs it says so
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			m.objects[key] = data
			left -= len(data)
			return err
		})
	}
	return m, g.Wait()
}

// Get returns an object as it was.
func (m *memory) Get(ctx context.Context, key string) ([]byte, error) {
	if data, ok := m.objects[key]; ok {
		return slices.Clone(data), nil
	}
	return m.Reader.Get(ctx, key)
}

// List yields the keys that were there.
func (m *memory) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	if !strings.HasPrefix(prefix, m.prefix) {
		return m.Reader.List(ctx, prefix)
	}
	return func(yield func(string, error) bool) {
		for _, key := range m.keys {
			if strings.HasPrefix(key, prefix) && !yield(key, nil) {
				return
			}
		}
	}
}
