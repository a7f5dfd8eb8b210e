package system

import (
	"maps"
	"slices"
	"sync"
)

// pool keeps the connections of one kind, each under a key that tells its system and
// principal from every other. Its zero value is empty and ready.
type pool[T any] struct {
	mu   sync.Mutex
	kept map[string]T
}

// get opens a connection once per key. A failed attempt is not kept.
func (p *pool[T]) get(key string, open func() (T, error)) (T, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v, ok := p.kept[key]; ok {
		return v, nil
	}
	v, err := open()
	if err != nil {
		return v, err
	}
	if p.kept == nil {
		p.kept = map[string]T{}
	}
	p.kept[key] = v
	return v, nil
}

// empty takes all connections out, in the order of their keys.
func (p *pool[T]) empty() []T {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []T
	for _, key := range slices.Sorted(maps.Keys(p.kept)) {
		all = append(all, p.kept[key])
	}
	p.kept = nil
	return all
}
