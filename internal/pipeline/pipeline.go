// Package pipeline is the port of a pipeline connector: what pauses and resumes
// the jobs of a lakehouse where an orchestrator runs them.
//
// A pipeline has a name in each region, and a [Connector] speaks for the
// orchestrator of one of them. Whoever changes pipelines uses the [Changer]
// alone, and whoever proves a change the [Looker]: the two ask the orchestrator
// in different ways, so that a proof does not repeat what the change believed.
//
// # States
//
// A pipeline is [Paused] where nothing starts a run of it by itself. One that
// several triggers start is paused only where all of them are. Pausing ends no
// run: those that had begun go on, and are asked for by themselves.
//
// # Notes
//
// A state has a note, which says why it is so; see [Note]. An orchestrator that
// keeps none beside the state needs another place for it, at the orchestrator,
// so that the next worker and the next run read it there.
//
// # Errors
//
// fs.ErrNotExist is in the chain where the orchestrator answers that it has no
// such pipeline, fs.ErrPermission where it refuses, and reach.ErrUnreachable
// where no answer came. A refusal does not say that there is no such pipeline.
// fs.ErrNotExist, fs.ErrPermission and [ErrMoved] are permanent: the same call
// again cannot help.
//
// Package pipelinetest holds all this against an implementation.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// State is whether a pipeline's runs are started.
type State string

// The states. The zero value is none.
const (
	Running State = "running" // it starts runs by itself, which says nothing of a run just now
	Paused  State = "paused"
)

// Seen is a pipeline as its orchestrator described it.
type Seen struct {
	State State
	Note  string // empty where there is none
	// Runs is how many of its runs go on, by the pipeline's own account, which may
	// be a few seconds late, and Queued how many are to begin after them, paused or not.
	Runs, Queued int
	// Over says that it would never act by itself, running or not: its calendar has
	// ended, or so many runs as it was allowed have been.
	Over bool
	// Token stands for exactly this state, for [Changer.Set]. Only the connector
	// that gave it understands it; it is not stored.
	Token any
}

// String is the state with its note, for people and for preconditions.
func (s Seen) String() string { return Words(s.State, s.Note) }

// Words says a state with its note; without a note, the state alone.
func Words(state State, note string) string {
	if note == "" {
		return string(state)
	}
	return fmt.Sprintf("%s, noted %q", state, note)
}

// ErrMoved is in the chain of an error of [Changer.Set] which found another state
// than the one seen. Its text goes on after the pipeline's name.
var ErrMoved = errors.New("was changed just now")

// Lost is the error of a change after which found is there and not what was to
// be: somebody else was faster. [ErrMoved] is in its chain.
func Lost(found Seen, to State) error { return lost{found, to} }

type lost struct {
	found Seen
	to    State
}

func (l lost) Error() string {
	return fmt.Sprintf("is %s, and was to be %s with our note; somebody else changed it just now; plan again", l.found, l.to)
}

func (lost) Is(target error) bool { return target == ErrMoved }

// Changer pauses and resumes.
type Changer interface {
	// Describe reads a pipeline's state. A plan calls it once for each pipeline, an
	// apply once before each Set and about once a second while runs end.
	Describe(ctx context.Context, name string) (Seen, error)
	// Set gives a pipeline a state and a note, if it is still as seen; otherwise it
	// changes nothing and its error has [ErrMoved]. It changes nothing else of the
	// pipeline, ends no run and starts none: what was due during a pause stays
	// undone, and the next run is the one that is due next. Where an orchestrator
	// makes up for it by itself, the connector sees to it that it does not.
	//
	// When it returns without an error, Describe shows the new state. Setting what
	// is there already is no error. After any other error than those of the package
	// doc, the state may have changed: describe it again before the next attempt.
	Set(ctx context.Context, name string, seen Seen, to State, note string) error
}

// Looker looks at pipelines for whoever proves a change. It keeps nothing from one
// call to the next, and does not ask in the way in which [Changer] does.
type Looker interface {
	// Look reads a pipeline's state. A proof calls it once or twice for each
	// pipeline, at every attempt.
	Look(ctx context.Context, name string) (View, error)
	// Busy tells what of a pipeline goes on, paused or not: runs that the orchestrator
	// lists and those of the pipeline's own account, since each of the two may be late;
	// what is queued; and whether it just begins one run after the other. A pipeline
	// that is not there has nothing by its own account, which is no error.
	Busy(ctx context.Context, name string) (Busy, error)
}

// Busy is what of a pipeline goes on. The zero value is nothing.
type Busy struct {
	Runs   []string // that go on, sorted, each once
	Queued int      // that begin when those have ended
	Begins int      // that began while it was looked at: it makes up for some time
}

// Idle reports whether nothing goes on, nor will.
func (b Busy) Idle() bool { return len(b.Runs) == 0 && b.Queued == 0 && b.Begins == 0 }

// String says what goes on, for people.
func (b Busy) String() string {
	var all []string
	if n := len(b.Runs); n > 0 {
		shown, more := b.Runs, ""
		if n > 10 {
			shown, more = b.Runs[:10], fmt.Sprintf(" and %d more", n-10)
		}
		all = append(all, "still running: "+strings.Join(shown, ", ")+more)
	}
	if b.Queued > 0 {
		all = append(all, fmt.Sprintf("%d queued, which begin one after the other, paused or not", b.Queued))
	}
	if b.Begins > 0 {
		all = append(all, fmt.Sprintf("%d began while it was looked at: it makes up for some time, paused or not", b.Begins))
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, "; ")
}

// View is a pipeline as a [Looker] saw it.
type View struct {
	State State
	Note  string    // empty where there is none
	Next  time.Time // when it acts next if it is running, UTC; zero where it never does again
}

// Connector is both hands on the pipelines of one orchestrator.
type Connector interface {
	Changer
	Looker
}
