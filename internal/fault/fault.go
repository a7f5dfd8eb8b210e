// Package fault makes a fault a value, so that tests, torture and chaos drills
// inject the same ones.
//
// A check that has never been seen red is not evidence. Every action lists the
// faults that must turn its Verify red or unknown; a test injects each of them
// into real servers, with raw clients that share nothing with the action, asks
// for the verdict, heals the fault and asks for green again.
package fault

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Name names a fault, as in "storage.object-deleted".
type Name string

// Fault breaks one thing in a real system and mends it again.
type Fault struct {
	Name Name
	Doc  string // one sentence: what is broken, for reports

	// Available says why the fault cannot be injected here; nil means it can.
	Available func() error
	// Inject breaks the thing. It returns once the fault is in force.
	Inject func(context.Context) error
	// Heal mends exactly what Inject broke. It may be called again.
	Heal func(context.Context) error
}

// Set is the faults that one environment can inject.
type Set []Fault

// Find returns the fault of that name. An unknown or unavailable fault is an
// error, never something to pass over in silence.
func (s Set) Find(name Name) (Fault, error) {
	i := slices.IndexFunc(s, func(f Fault) bool { return f.Name == name })
	if i < 0 {
		var names []string
		for _, f := range s {
			names = append(names, string(f.Name))
		}
		return Fault{}, fmt.Errorf("no fault %q here: there are %s", name, strings.Join(names, ", "))
	}
	if a := s[i].Available; a != nil {
		if err := a(); err != nil {
			return Fault{}, fmt.Errorf("fault %q cannot be injected here: %w", name, err)
		}
	}
	return s[i], nil
}
