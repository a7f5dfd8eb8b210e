package host

import (
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
)

// How much a worker remembers, however long it lives: the runs that it was asked about
// last, with what each was compiled to, and which executions are whose. What it forgot is
// read again.
const (
	runsMost    = 128
	docsMost    = 2 * runsMost
	callersMost = 4096
)

// memory is what a worker remembers.
type memory struct {
	once    sync.Once
	docs    *lru.Cache[string, any]    // by digest: decoded compiled runs and estates
	callers *lru.Cache[string, caller] // by the id of the execution
	runs    *lru.Cache[ofEstate, *cached]
}

func (h *Host) memory() *memory {
	m := &h.remembered
	m.once.Do(func() {
		m.docs, _ = lru.New[string, any](docsMost) // only a size below 1 is an error
		m.callers, _ = lru.New[string, caller](callersMost)
		m.runs, _ = lru.New[ofEstate, *cached](runsMost)
	})
	return m
}

// run is what the worker remembers of a run, which may be nothing yet.
func (m *memory) run(of ofEstate, fresh *cached) *cached {
	if have, ok := m.runs.Get(of); ok {
		return have
	}
	if have, ok, _ := m.runs.PeekOrAdd(of, fresh); ok {
		return have
	}
	return fresh
}
