package world

import (
	"context"
	_ "embed"
	"encoding/json"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/poll"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
)

// Do plans and applies an action, for what stands before the one under test.
func (w *World) Do(t *testing.T, def *action.Definition, item string) {
	t.Helper()
	r := w.Request(def, item)
	act(t, def, &r, nil)
}

// act plans an action, and applies the plan, which stays in the request.
func act(t testing.TB, def *action.Definition, r *action.Request, with json.RawMessage) action.Outcome {
	t.Helper()
	plan, err := def.Plan(t.Context(), *r, with)
	if err != nil {
		t.Fatal(err)
	}
	r.Plan = &plan
	out, err := def.Apply(t.Context(), *r, with)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Eventually asks until the answer is yes.
func (w *World) Eventually(what string, ok func() bool) {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), 60*time.Second)
	defer cancel()
	if poll.Until(ctx, 50*time.Millisecond, func(context.Context) (bool, error) { return ok(), nil }) != nil {
		w.T.Fatalf("%s: never happened", what)
	}
}

// Sees verifies an action on a bucket.
func (w *World) Sees(name, item string, want verdict.Verdict) []action.Observation {
	w.T.Helper()
	def := w.Action(name)
	obs, err := def.Verify(w.T.Context(), w.Request(def, item), nil)
	w.Must(err)
	if got := action.Worst(obs); got != want {
		w.T.Errorf("%s on %s: %s, want %s\n%s", name, item, got, want, prove.Told(obs))
	}
	prove.WellFormed(w.T, def, obs)
	return obs
}

// Act plans an action, and applies the plan, which stays in the request.
func (w *World) Act(def *action.Definition, r *action.Request, with json.RawMessage) action.Outcome {
	w.T.Helper()
	return act(w.T, def, r, with)
}

// TakenBack takes an action back, by the plan in the request.
func (w *World) TakenBack(def *action.Definition, r *action.Request, with json.RawMessage) {
	w.T.Helper()
	back, err := def.UndoPlan(w.T.Context(), *r, with)
	w.Must(err)
	r.Plan = &back
	_, err = def.UndoApply(w.T.Context(), *r, with)
	w.Must(err)
	if obs, err := def.UndoVerify(w.T.Context(), *r, with); err != nil || action.Worst(obs) != verdict.Pass {
		w.T.Errorf("Undo.Verify: %v\n%s", err, prove.Told(obs))
	}
}

// Applied plans and applies an action.
func (w *World) Applied(name, item string) action.Request {
	w.T.Helper()
	def := w.Action(name)
	r := w.Request(def, item)
	w.Act(def, &r, nil)
	obs, err := def.Verify(w.T.Context(), r, nil)
	w.Must(err)
	if action.Worst(obs) != verdict.Pass {
		w.T.Fatalf("%s on %s\n%s", name, item, prove.Told(obs))
	}
	return r
}

// Undone takes it back.
func (w *World) Undone(name string, r action.Request) {
	w.T.Helper()
	def := w.Action(name)
	back, err := def.UndoPlan(w.T.Context(), r, nil)
	w.Must(err)
	r.Plan = &back
	_, err = def.UndoApply(w.T.Context(), r, nil)
	w.Must(err)
}
