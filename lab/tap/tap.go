// Package tap stands between an action and the servers that its estate names, and writes
// down what they were asked to change.
//
// What it hands out is the estate with other addresses, those of its own proxies: whoever
// calls a server by the estate is seen, whatever library the call is made with. Questions
// are left out, and so is what a server refused. The rest are requests in the words of
// [action.Rule]: a verb and a resource. What the tap does not know by name is written
// down all the same, so that no rule names it.
package tap

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"breakwater/internal/estate"
)

// Tap holds the requests that were seen since the last [Tap.Take].
type Tap struct {
	mu   sync.Mutex
	seen []string
}

// Open stands before all servers of an estate until the test ends, and returns the estate
// by which they are called through it.
func Open(t testing.TB, e *estate.Estate, wires ...*Wire) (*Tap, *estate.Estate) {
	t.Helper()
	tap, through := &Tap{}, *e
	through.Regions = slices.Clone(e.Regions)
	for i := range through.Regions {
		r := &through.Regions[i]
		if r.Storage.Endpoint != "" {
			r.Storage.Endpoint = tap.http(t, r.Storage.Endpoint, storage{r.Region})
		}
		if r.Vault != nil {
			v := *r.Vault
			v.Address = tap.http(t, v.Address, vault{v.Address})
			r.Vault = &v
		}
		if r.Connect != nil {
			c := *r.Connect
			c.URL = tap.http(t, c.URL, connect{r.Region})
			r.Connect = &c
		}
		if r.Kafka != nil {
			k := *r.Kafka
			k.Brokers = tap.kafka(t, k.Brokers, r.Region)
			r.Kafka = &k
		}
	}
	if e.Backup != nil {
		b := *e.Backup
		b.Endpoint = tap.http(t, b.Endpoint, storage{"the backup place"})
		through.Backup = &b
	}
	if e.Ledger.Endpoint != "" {
		through.Ledger.Endpoint = tap.http(t, e.Ledger.Endpoint, storage{"the ledger"})
	}
	for _, w := range wires {
		w.lead(tap, e)
		t.Cleanup(func() { w.lead(nil, nil) })
	}
	return tap, &through
}

// saw writes a request down.
func (t *Tap) saw(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = append(t.seen, fmt.Sprintf(format, args...))
}

// Take gives the requests that were seen since the last time, in the order of their
// answers.
func (t *Tap) Take() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := t.seen
	t.seen = nil
	return seen
}
