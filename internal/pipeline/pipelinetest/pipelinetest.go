// Package pipelinetest is what package pipeline promises, as a test that runs
// against any connector.
package pipelinetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"time"

	"breakwater/internal/pipeline"
	"breakwater/internal/poll"
	"breakwater/internal/promise"
	"breakwater/internal/reach"
)

// Target is what the suite runs against: an orchestrator, and hands on it that do
// not belong to the connector. Its functions fail the test where they cannot.
type Target struct {
	Connector pipeline.Connector
	// Other is a second connector to the same orchestrator, as another worker has.
	Other pipeline.Connector
	// Away is a connector to an orchestrator that does not answer.
	Away pipeline.Connector

	// Make makes a pipeline that would act once in years.
	Make func(t testing.TB, name string, p Pipeline)
	// Begin starts a run of a pipeline by hand, paused or not, which goes on until
	// End. It returns its name as Busy gives it. Queue starts one that begins by itself
	// after those that go on.
	Begin func(t testing.TB, name string) string
	Queue func(t testing.TB, name string)
	End   func(t testing.TB, run string)
	// Rest is all that a pipeline is beside its state and its note, as text that
	// is the same as long as that is.
	Rest func(t testing.TB, name string) string

	// Prefix begins the names of the suite's pipelines.
	Prefix string
	// Patience is how long what may be late may be.
	Patience time.Duration
}

// Pipeline is a pipeline to be made.
type Pipeline struct {
	State pipeline.State
	Note  string
	Over  bool // it never acts again
	Daily bool // it acts each day at the hour [Daily], in UTC
}

// Run runs the suite.
func Run(t *testing.T, target Target) { suite.Run(t, target) }

var suite = promise.Suite[Target]{
	promised("describes and sees a pipeline as it is", asItIs),
	promised("says what is not there", notThere),
	promised("sets state and note", sets),
	promised("changes nothing that was set since", moved(pipeline.Paused)),
	promised("changes nothing whose note was changed since", moved(pipeline.Running)),
	promised("lets one of two win", oneWins),
	promised("leaves the rest of a pipeline alone", restStays),
	promised("starts no run", startsNone),
	promised("lists the runs that go on", listsRuns),
	promised("counts what is queued", countsQueued),
	promised("looks at the orchestrator itself", looksAgain),
	promised("says when it acts next", saysNext),
	promised("says that no answer came", noAnswer),
}

func promised(name string, keeps func(kit)) promise.Promise[Target] {
	return promise.Promise[Target]{Name: name, Check: func(t testing.TB, target Target) { keeps(kit{t, target}) }}
}

// kit is what one promise is tested with.
type kit struct {
	testing.TB
	Target
}

func (k kit) name(s string) string { return k.Prefix + s }

// begin makes a pipeline and describes it.
func (k kit) begin(name string, p Pipeline) (string, pipeline.Seen) {
	k.Helper()
	name = k.name(name)
	k.Make(k.TB, name, p)
	return name, k.describe(k.Connector, name)
}

func (k kit) describe(c pipeline.Connector, name string) pipeline.Seen {
	k.Helper()
	seen, err := c.Describe(k.Context(), name)
	if err != nil {
		k.Fatalf("Describe(%s): %v", name, err)
	}
	return seen
}

func (k kit) set(c pipeline.Connector, name string, seen pipeline.Seen, to pipeline.State, note string) {
	k.Helper()
	if err := c.Set(k.Context(), name, seen, to, note); err != nil {
		k.Fatalf("Set(%s, %s, %q): %v", name, to, note, err)
	}
}

// is demands a state and a note of a pipeline, in both ways of looking.
func (k kit) is(name string, state pipeline.State, note string) {
	k.Helper()
	want := pipeline.Words(state, note)
	if got := k.describe(k.Connector, name); got.String() != want {
		k.Errorf("Describe(%s) is %s, want %s", name, got, want)
	}
	view, err := k.Connector.Look(k.Context(), name)
	if got := pipeline.Words(view.State, view.Note); err != nil || got != want {
		k.Errorf("Look(%s) is %s, %v; want %s", name, got, err, want)
	}
}

func (k kit) busy(name string) pipeline.Busy {
	k.Helper()
	b, err := k.Connector.Busy(k.Context(), name)
	if err != nil {
		k.Fatalf("Busy(%s): %v", name, err)
	}
	return b
}

func (k kit) runs(name string) []string { return k.busy(name).Runs }

// within waits for what may be late, and fails unless it came.
func (k kit) within(what func() string) {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), k.Patience)
	defer cancel()
	lacks := ""
	if poll.Until(ctx, 20*time.Millisecond, func(context.Context) (bool, error) {
		lacks = what()
		return lacks == "", nil
	}) != nil {
		k.Fatalf("after %s, %s", k.Patience, lacks)
	}
}

func asItIs(k kit) {
	for i, p := range []Pipeline{
		{State: pipeline.Running}, {State: pipeline.Running, Note: "at night"},
		{State: pipeline.Paused}, {State: pipeline.Paused, Note: "erin: »do not resume« 'til Monday"},
	} {
		name, seen := k.begin(fmt.Sprintf("as-it-is-%d", i), p)
		if seen.Runs != 0 {
			k.Errorf("Describe(%s) counts %d runs, and it never acted", name, seen.Runs)
		}
		k.is(name, p.State, p.Note)
	}
}

func notThere(k kit) {
	_, seen := k.begin("there", Pipeline{State: pipeline.Running})
	gone := k.name("not-there")
	if got, err := k.Connector.Describe(k.Context(), gone); !errors.Is(err, fs.ErrNotExist) {
		k.Errorf("Describe = %v, %v; want fs.ErrNotExist", got, err)
	}
	if err := k.Connector.Set(k.Context(), gone, seen, pipeline.Paused, ""); !errors.Is(err, fs.ErrNotExist) {
		k.Errorf("Set = %v, want fs.ErrNotExist", err)
	}
	if got, err := k.Connector.Look(k.Context(), gone); !errors.Is(err, fs.ErrNotExist) {
		k.Errorf("Look = %v, %v; want fs.ErrNotExist", got, err)
	}
	if got, err := k.Connector.Busy(k.Context(), gone); err != nil || !got.Idle() {
		k.Errorf("Busy = %v, %v; want none", got, err)
	}
}

func sets(k kit) {
	name, seen := k.begin("set", Pipeline{State: pipeline.Running, Note: "at night"})
	for _, next := range []struct {
		to   pipeline.State
		note string
	}{
		{pipeline.Paused, "ours; before, it said: at night"},
		{pipeline.Paused, "ours again"},
		{pipeline.Paused, "ours again"}, // as it is already
		{pipeline.Running, "resumed"},
		{pipeline.Running, ""},
		{pipeline.Paused, ""},
	} {
		k.set(k.Connector, name, seen, next.to, next.note)
		k.is(name, next.to, next.note)
		seen = k.describe(k.Connector, name)
	}
}

// moved sets a pipeline that another hand had set to a state after it was described.
func moved(since pipeline.State) func(kit) {
	return func(k kit) {
		name, seen := k.begin("since-"+string(since), Pipeline{State: pipeline.Running, Note: "at night"})
		k.set(k.Other, name, k.describe(k.Other, name), since, "mine")
		if err := k.Connector.Set(k.Context(), name, seen, pipeline.Paused, "ours"); !errors.Is(err, pipeline.ErrMoved) {
			k.Errorf("Set of %s = %v, want ErrMoved", name, err)
		}
		k.is(name, since, "mine")
	}
}

func oneWins(k kit) {
	name, seen := k.begin("race", Pipeline{State: pipeline.Running})
	other := k.describe(k.Other, name)
	var errs [2]error
	var g sync.WaitGroup
	g.Go(func() { errs[0] = k.Connector.Set(k.Context(), name, seen, pipeline.Paused, "0") })
	g.Go(func() { errs[1] = k.Other.Set(k.Context(), name, other, pipeline.Paused, "1") })
	g.Wait()
	won := slices.Index(errs[:], nil)
	if won < 0 || !errors.Is(errs[1-won], pipeline.ErrMoved) {
		k.Fatalf("of two that set the same state, one got %v and the other %v; want nil and ErrMoved", errs[0], errs[1])
	}
	k.is(name, pipeline.Paused, fmt.Sprint(won))
}

func restStays(k kit) {
	name, seen := k.begin("rest", Pipeline{State: pipeline.Running, Note: "at night"})
	before := k.Rest(k.TB, name)
	for _, to := range []pipeline.State{pipeline.Paused, pipeline.Running, pipeline.Running} {
		k.set(k.Connector, name, seen, to, "ours")
		if after := k.Rest(k.TB, name); after != before {
			k.Errorf("set to %s, the pipeline is\n%s\nand was\n%s", to, after, before)
		}
		seen = k.describe(k.Connector, name)
	}
}

// startsNone begins a run after the changes: when that one is listed, one that a
// change had started would be, too.
func startsNone(k kit) {
	name, seen := k.begin("starts-none", Pipeline{State: pipeline.Running})
	k.set(k.Connector, name, seen, pipeline.Paused, "ours")
	k.set(k.Connector, name, k.describe(k.Connector, name), pipeline.Running, "")
	run := k.Begin(k.TB, name)
	defer k.End(k.TB, run)
	k.within(func() string {
		switch runs := k.runs(name); {
		case slices.ContainsFunc(runs, func(r string) bool { return r != run }):
			k.Fatalf("runs %v go on, and only %s was begun", runs, run)
		case len(runs) == 0:
			return run + " is not listed"
		}
		return ""
	})
}

func listsRuns(k kit) {
	name, seen := k.begin("runs", Pipeline{State: pipeline.Running})
	one := k.Begin(k.TB, name)
	listed := func() string {
		if got := k.runs(name); !slices.Equal(got, []string{one}) {
			return fmt.Sprintf("the runs that go on are %v, want %s", got, one)
		}
		return ""
	}
	k.within(listed)
	k.set(k.Connector, name, k.describe(k.Connector, name), pipeline.Paused, "ours")
	if lacks := listed(); lacks != "" {
		k.Error("once the pipeline is paused, " + lacks)
	}
	k.within(func() string {
		if seen = k.describe(k.Connector, name); seen.Runs != 1 {
			return fmt.Sprintf("Describe counts %d runs, and one goes on", seen.Runs)
		}
		return ""
	})
	k.End(k.TB, one)
	k.within(func() string {
		if got := k.runs(name); len(got) > 0 {
			return fmt.Sprintf("%v is listed, and has ended", got)
		}
		return ""
	})
}

// countsQueued queues behind a run, pauses, and ends one after the other: until the last
// has ended the pipeline is not idle.
func countsQueued(k kit) {
	name, seen := k.begin("queued", Pipeline{State: pipeline.Running})
	k.Begin(k.TB, name)
	for range 2 {
		k.Queue(k.TB, name)
	}
	k.set(k.Connector, name, seen, pipeline.Paused, "ours")
	for queued := 2; queued >= 0; queued-- {
		var b pipeline.Busy
		k.within(func() string {
			if b = k.busy(name); b.Queued != queued || len(b.Runs) != 1 || b.Idle() {
				return fmt.Sprintf("it is busy with %v (idle %t), want one run and %d queued", b, b.Idle(), queued)
			}
			if seen := k.describe(k.Connector, name); seen.Runs != 1 || seen.Queued != queued {
				return fmt.Sprintf("Describe counts %d runs and %d queued, want one and %d", seen.Runs, seen.Queued, queued)
			}
			return ""
		})
		k.End(k.TB, b.Runs[0])
	}
	k.within(func() string {
		if b := k.busy(name); !b.Idle() {
			return fmt.Sprintf("all have ended, and it is busy with %v", b)
		}
		return ""
	})
}

func looksAgain(k kit) {
	name, seen := k.begin("looks", Pipeline{State: pipeline.Running, Note: "at night"})
	k.set(k.Connector, name, seen, pipeline.Paused, "ours")
	k.is(name, pipeline.Paused, "ours")
	k.set(k.Other, name, k.describe(k.Other, name), pipeline.Running, "theirs")
	k.is(name, pipeline.Running, "theirs")
}

func saysNext(k kit) {
	next := func(name string, p Pipeline) time.Time {
		name, _ = k.begin(name, p)
		v, err := k.Connector.Look(k.Context(), name)
		if err != nil {
			k.Fatalf("Look(%s): %v", name, err)
		}
		for _, to := range []pipeline.State{pipeline.Paused, pipeline.Running} {
			seen := k.describe(k.Connector, name)
			if seen.Over != p.Over {
				k.Errorf("Describe(%s), which is %s, says that it is over: %t; want %t", name, seen.State, seen.Over, p.Over)
			}
			k.set(k.Connector, name, seen, to, "ours")
		}
		return v.Next
	}
	if at := next("next", Pipeline{State: pipeline.Running}); !at.After(time.Now()) || at.Location() != time.UTC {
		k.Errorf("a pipeline that acts once in years acts next at %s", at)
	}
	if at := next("over", Pipeline{State: pipeline.Running, Over: true}); !at.IsZero() {
		k.Errorf("a pipeline that never acts again acts next at %s", at)
	}
}

func noAnswer(k kit) {
	name, seen := k.begin("no-answer", Pipeline{State: pipeline.Running})
	away := func(doing string, err error) {
		k.Helper()
		if !reach.Unreachable(err) || errors.Is(err, fs.ErrNotExist) {
			k.Errorf("%s of an orchestrator that does not answer = %v, want reach.ErrUnreachable", doing, err)
		}
	}
	_, err := k.Away.Describe(k.Context(), name)
	away("Describe", err)
	away("Set", k.Away.Set(k.Context(), name, seen, pipeline.Paused, ""))
	_, err = k.Away.Look(k.Context(), name)
	away("Look", err)
	_, err = k.Away.Busy(k.Context(), name)
	away("Busy", err)
}
