// Package prove drives an action through everything that its contract promises.
package prove

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/verdict"
	"breakwater/lab/tap"

	"github.com/google/go-cmp/cmp"
)

// proof drives one action on one item through its life on real servers.
type proof struct {
	t      *testing.T
	def    *action.Definition
	req    action.Request
	with   json.RawMessage // the step's parameters
	guards atomic.Int64

	tap     *tap.Tap       // between the action and its servers, while it changes something
	through *estate.Estate // by which it calls them there
}

// Action takes an action through everything that its contract promises:
//
//   - Plan twice gives the same document and changes nothing: Verify does not pass
//     yet where the plan has effects;
//   - Apply that is refused by its Guard mutates nothing;
//   - every request of Apply and of Undo.Apply that changed something on a server follows
//     from an effect line of the plan by a rule of the action, and from every effect line
//     follows one;
//   - what the plan keeps for Apply and Undo is shown to the last value;
//   - Apply, then Verify passes, and a new plan has no effects left;
//   - every fault of RedWhen forces its verdict, and healed, twice, is green again;
//   - Apply again makes no mutation;
//   - Undo is planned on the approved plan, then done and verified on its own plan,
//     as the interpreter does it; done again it makes no mutation, Undo.Verify does
//     not pass before it, nor Verify of the action itself after it.
//
// An action that only looks is verified, and seen red under each of its faults.
// The request needs no Plan, Prior or Guard: the driver gives them. Wires are those of
// servers that the request's estate does not name.
func Action(t *testing.T, def *action.Definition, r action.Request, faults fault.Set, wires ...*tap.Wire) {
	t.Helper()
	ActionWith(t, def, r, nil, faults, wires...)
}

// ActionWith is [Action] of a step with parameters.
func ActionWith(t *testing.T, def *action.Definition, r action.Request, with json.RawMessage, faults fault.Set, wires ...*tap.Wire) {
	t.Helper()
	p := &proof{t: t, def: mutated(def), req: r, with: with}
	p.req.Guard = func(context.Context) error { p.guards.Add(1); return nil }
	if p.req.Progress == nil {
		p.req.Progress = func(int64, int64, string) {}
	}
	if !def.IsCheck() {
		p.tap, p.through = tap.Open(t, r.Estate, wires...)
		p.apply()
	}
	p.reds(faults)
	if def.IsCheck() {
		return
	}
	p.again()
	if def.CanUndo() {
		p.undo()
	}
}

// must ends the test at an error of a phase.
func (p *proof) must(phase string, err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%s of %s on %s: %v", phase, p.def.Name, p.req.Item, err)
	}
}

// looks verifies, and holds the verdict against what is wanted.
func (p *proof) looks(when string, want verdict.Verdict) []action.Observation {
	p.t.Helper()
	obs, err := p.def.Verify(p.t.Context(), p.req, p.with)
	p.must("Verify "+when, err)
	if got := action.Worst(obs); got != want {
		p.t.Errorf("%s on %s %s: verdict %s, want %s\n%s", p.def.Name, p.req.Item, when, got, want, Told(obs))
	}
	WellFormed(p.t, p.def, obs)
	return obs
}

// plan plans twice and returns the one plan.
func (p *proof) plan(what string, f func(context.Context, action.Request, json.RawMessage) (action.Change, error)) *action.Change {
	p.t.Helper()
	var texts [2]string
	var c action.Change
	before := p.guards.Load()
	for i := range texts {
		var err error
		c, err = f(p.t.Context(), p.req, p.with)
		p.must(what, err)
		b, err := json.MarshalIndent(c, "", " ")
		p.must(what, err)
		texts[i] = string(b)
	}
	if d := cmp.Diff(texts[0], texts[1]); d != "" {
		p.t.Errorf("%s of %s is not a function of the world: %s", what, p.def.Name, d)
	}
	if c.Summary == "" {
		p.t.Errorf("%s of %s has no summary", what, p.def.Name)
	}
	if p.guards.Load() != before {
		p.t.Errorf("%s of %s asked for the epoch, as if it were to change something", what, p.def.Name)
	}
	// What a worker reads back from the ledger is the decoded document.
	var kept action.Change
	p.must(what, json.Unmarshal([]byte(texts[1]), &kept))
	return &kept
}

// ErrGuard is what a guard says that lost the epoch.
var ErrGuard = errors.New("the epoch is another")

func (p *proof) apply() {
	p.t.Helper()
	p.req.Plan = p.plan("Plan", p.def.Plan)
	effects := len(p.req.Plan.Effects) > 0
	if effects {
		if obs, err := p.def.Verify(p.t.Context(), p.req, p.with); err == nil && action.Worst(obs) == verdict.Pass {
			p.t.Errorf("%s passes before anything was done\n%s", p.def.Name, Told(obs))
		}
		if p.def.Effect == action.Mutates {
			lost := p.tapped()
			lost.Guard = func(context.Context) error { return ErrGuard }
			if _, err := p.def.Apply(p.t.Context(), lost, p.with); !errors.Is(err, ErrGuard) {
				p.t.Errorf("Apply of %s without the epoch = %v, want the guard's error", p.def.Name, err)
			}
			p.asked("Apply without the epoch", nil)
			if left := p.plan("Plan after a refused Apply", p.def.Plan); !cmp.Equal(left, p.req.Plan) {
				p.t.Errorf("Apply of %s without the epoch changed something: %s", p.def.Name, cmp.Diff(p.req.Plan, left))
			}
		}
	}
	p.guards.Store(0)
	out, err := p.def.Apply(p.t.Context(), p.tapped(), p.with)
	p.must("Apply", err)
	p.asked("Apply", p.req.Plan)
	p.shows(p.req.Plan, p.def.Show)
	if effects != (out.Mutations > 0) {
		p.t.Errorf("Apply of %s: %d mutations for %d planned effects", p.def.Name, out.Mutations, len(p.req.Plan.Effects))
	}
	if p.def.Effect == action.Mutates && effects && p.guards.Load() == 0 {
		p.t.Errorf("Apply of %s never asked for the epoch", p.def.Name)
	}
	if out.Summary == "" {
		p.t.Errorf("Apply of %s has no summary", p.def.Name)
	}
	p.req.Prior = &out
	p.looks("after Apply", verdict.Pass)
	if left := p.plan("Plan of what is done", p.def.Plan); len(left.Effects) > 0 {
		p.t.Errorf("%s would do something again: %+v", p.def.Name, left.Effects)
	}
}

func (p *proof) reds(faults fault.Set) {
	p.t.Helper()
	p.looks("without a fault", verdict.Pass)
	for _, red := range p.def.RedWhen {
		p.t.Run(strings.ReplaceAll(string(red.Fault), "/", "-"), func(t *testing.T) {
			inner := *p2(p, t)
			f, err := faults.Find(red.Fault)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Inject(t.Context()); err != nil {
				t.Fatalf("inject: %v", err)
			}
			inner.looks("under "+string(red.Fault), red.Want)
			if !t.Failed() {
				sawRed(p.def.Name, red.Fault)
			}
			for range 2 {
				if err := f.Heal(t.Context()); err != nil {
					t.Fatalf("heal: %v", err)
				}
			}
			inner.looks("healed of "+string(red.Fault), verdict.Pass)
		})
	}
}

// p2 is the proof for a subtest.
func p2(p *proof, t *testing.T) *proof { return &proof{t: t, def: p.def, req: p.req, with: p.with} }

func (p *proof) again() {
	p.t.Helper()
	out, err := p.def.Apply(p.t.Context(), p.tapped(), p.with)
	p.must("Apply again", err)
	p.asked("Apply again", nil)
	if out.Mutations != 0 {
		p.t.Errorf("Apply of %s again made %d mutations", p.def.Name, out.Mutations)
	}
	p.looks("after Apply again", verdict.Pass)
}

func (p *proof) undo() {
	p.t.Helper()
	done := p.req
	effects := len(p.req.Plan.Effects) > 0
	back := p.plan("Undo.Plan", p.def.UndoPlan)
	p.shows(back, p.def.ShowUndo)
	p.req.Plan = back // what Undo.Apply and Undo.Verify get is the undo's own approved plan
	if effects != (len(back.Effects) > 0) {
		p.t.Errorf("Undo.Plan of %s has %d effects, and the plan had %d", p.def.Name, len(back.Effects), len(done.Plan.Effects))
	}
	if effects {
		if obs, err := p.def.UndoVerify(p.t.Context(), p.req, p.with); err == nil && action.Worst(obs) == verdict.Pass {
			p.t.Errorf("Undo.Verify of %s passes before anything was taken back\n%s", p.def.Name, Told(obs))
		}
	}
	for n := range 2 {
		if n == 1 {
			p.req.Prior = nil // an Apply that died half-way left no outcome
		}
		p.guards.Store(0)
		out, err := p.def.UndoApply(p.t.Context(), p.tapped(), p.with)
		p.must(fmt.Sprintf("Undo.Apply %d", n+1), err)
		p.asked(fmt.Sprintf("Undo.Apply %d", n+1), []*action.Change{back, nil}[n])
		if (out.Mutations > 0) != (effects && n == 0) {
			p.t.Errorf("Undo.Apply %d of %s made %d mutations", n+1, p.def.Name, out.Mutations)
		}
		if out.Mutations > 0 && p.guards.Load() == 0 {
			p.t.Errorf("Undo.Apply of %s never asked for the epoch", p.def.Name)
		}
		obs, err := p.def.UndoVerify(p.t.Context(), p.req, p.with)
		p.must("Undo.Verify", err)
		if got := action.Worst(obs); got != verdict.Pass {
			p.t.Errorf("Undo.Verify of %s: %s\n%s", p.def.Name, got, Told(obs))
		}
		WellFormed(p.t, p.def, obs)
	}
	if effects {
		obs, err := p.def.Verify(p.t.Context(), done, p.with)
		p.must("Verify after Undo", err)
		if action.Worst(obs) == verdict.Pass {
			p.t.Errorf("%s still passes after it was taken back\n%s", p.def.Name, Told(obs))
		}
	}
}

// WellFormed holds observations against what every reader of them needs.
func WellFormed(t *testing.T, def *action.Definition, obs []action.Observation) {
	t.Helper()
	if len(obs) == 0 {
		t.Errorf("%s observed nothing", def.Name)
	}
	for _, o := range obs {
		switch {
		case o.What == "" || o.Want == "" || o.Got == "":
			t.Errorf("%s: an observation does not say what, want and got: %+v", def.Name, o)
		case (o.Verdict == verdict.Unknown) != (o.Cause != action.CauseNone):
			t.Errorf("%s: an unknown needs a cause, and nothing else has one: %+v", def.Name, o)
		case o.Obligation != "" && o.Cause != action.CauseSourceUnreachable:
			t.Errorf("%s: only an unreachable source leaves an obligation: %+v", def.Name, o)
		}
	}
}

// Told writes observations for a failed test.
func Told(obs []action.Observation) string {
	b := &strings.Builder{}
	for _, o := range obs {
		fmt.Fprintf(b, "  %s\n", action.Finding(o))
	}
	return b.String()
}

// Halfway breaks Apply off before its second mutation, where it asks its
// Guard more than once: Apply again finishes it, and what was broken off is taken
// back by the plan alone, since no outcome was left.
func Halfway(t *testing.T, def *action.Definition, r action.Request) {
	t.Helper()
	HalfwayWith(t, def, r, nil)
}

// HalfwayWith is [proveHalfway] of a step with parameters.
func HalfwayWith(t *testing.T, def *action.Definition, r action.Request, with json.RawMessage) {
	t.Helper()
	for _, then := range []string{"apply", "undo"} {
		p := &proof{t: t, def: def, req: r, with: with}
		p.req.Guard = func(context.Context) error { p.guards.Add(1); return nil }
		p.req.Plan = p.plan("Plan", def.Plan)
		broken := p.req
		broken.Guard = func(context.Context) error {
			if p.guards.Add(1) > 1 {
				return ErrGuard
			}
			return nil
		}
		p.guards.Store(0)
		if _, err := def.Apply(t.Context(), broken, with); !errors.Is(err, ErrGuard) {
			t.Fatalf("Apply of %s, broken off = %v; want it to ask its guard twice", def.Name, err)
		}
		if obs, err := def.Verify(t.Context(), p.req, with); err == nil && action.Worst(obs) == verdict.Pass {
			t.Errorf("%s passes half done\n%s", def.Name, Told(obs))
		}
		if then == "apply" {
			out, err := def.Apply(t.Context(), p.req, with)
			p.must("Apply after a broken one", err)
			if out.Mutations == 0 {
				t.Errorf("Apply of %s after a broken one had nothing to do", def.Name)
			}
			p.looks("after a broken Apply and a whole one", verdict.Pass)
		}
		p.req.Plan = p.plan("Undo.Plan", def.UndoPlan)
		_, err := def.UndoApply(t.Context(), p.req, with)
		p.must("Undo.Apply after a broken Apply", err)
		obs, err := def.UndoVerify(t.Context(), p.req, with)
		p.must("Undo.Verify after a broken Apply", err)
		if got := action.Worst(obs); got != verdict.Pass {
			t.Errorf("Undo.Verify of %s after a broken Apply: %s\n%s", def.Name, got, Told(obs))
		}
	}
}

// OnlyBad are the observations that did not pass.
func OnlyBad(obs []action.Observation) []action.Observation {
	return slices.DeleteFunc(slices.Clone(obs), func(o action.Observation) bool { return o.Verdict.Clear() })
}

// Passes asks that Verify does.
func Passes(t *testing.T, def *action.Definition, r action.Request, with json.RawMessage) {
	t.Helper()
	if obs, err := def.Verify(t.Context(), r, with); err != nil || action.Worst(obs) != verdict.Pass {
		t.Errorf("Verify: %v\n%s", err, Told(obs))
	}
}

// With encodes a step's parameters.
func With(t *testing.T, p any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
