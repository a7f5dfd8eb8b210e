package pipelines

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/pipeline"
	"breakwater/internal/pipeline/pipelinetest"
	"breakwater/internal/verdict"
	"breakwater/lab/world"
)

// memory is a room whose pipelines run nowhere.
type memory struct {
	systems
	*pipelinetest.Memory
}

func (m memory) Pipelines(_ context.Context, _ *estate.Estate, _, connector string, _ action.Run) (pipeline.Connector, error) {
	if connector != "memory" {
		return nil, fmt.Errorf("connector %q: %w", connector, errors.ErrUnsupported)
	}
	return m.Memory, nil
}

// inMemory is a world with a group of one pipeline, which runs in both regions.
func inMemory(t *testing.T, connector string) (*world.World, *pipelinetest.Memory, *action.Catalogue) {
	t.Helper()
	w, m := world.Bare(t), &pipelinetest.Memory{}
	w.Estate.Groups = []estate.Group{{Group: "orders", Pipelines: []estate.Pipeline{
		{Pipeline: "rollup", Connector: connector, In: map[string]string{world.East: "rollup-east", world.West: "rollup-west"}},
	}}}
	cat := action.NewCatalogue()
	action.Add(cat, room{systems: memory{Memory: m}}.pause())
	return w, m, cat
}

func TestUnknownConnector(t *testing.T) {
	w, _, cat := inMemory(t, "cron")
	def, _ := cat.Get("pipelines.pause")
	_, err := def.Plan(t.Context(), w.Request(def, ""), nil)
	if !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), `pipeline rollup runs in "cron", which this release cannot pause; pause it by hand and take it out of the estate`) {
		t.Errorf("Plan = %v", err)
	}
}

// What is deleted during a run is no obstacle to its undo, and is red.
func TestScheduleGone(t *testing.T) {
	w, m, cat := inMemory(t, "memory")
	def, _ := cat.Get("pipelines.pause")
	r := w.Request(def, "")
	m.Make("rollup-east", pipelinetest.Pipeline{State: pipeline.Running, Note: "at night"})
	plan := func(f func() (action.Change, error)) {
		t.Helper()
		c, err := f()
		w.Must(err)
		r.Plan = &c
	}
	looks := func(f func() ([]action.Observation, error), said string) {
		t.Helper()
		obs, err := f()
		if err != nil || action.Worst(obs) != verdict.Fail || !strings.Contains(fmt.Sprint(obs), said) {
			t.Errorf("%+v, %v; want a failure that says %q", obs, err, said)
		}
	}
	plan(func() (action.Change, error) { return def.Plan(t.Context(), r, nil) })
	if out, err := def.Apply(t.Context(), r, nil); err != nil || out.Mutations != 1 {
		t.Errorf("Apply = %+v, %v", out, err)
	}
	looks(func() ([]action.Observation, error) { return def.Verify(t.Context(), r, nil) }, noSuch)
	plan(func() (action.Change, error) { return def.UndoPlan(t.Context(), r, nil) })
	m.Delete("rollup-east")
	if out, err := def.UndoApply(t.Context(), r, nil); err != nil || out.Mutations != 0 {
		t.Errorf("Undo.Apply = %+v, %v", out, err)
	}
	looks(func() ([]action.Observation, error) { return def.UndoVerify(t.Context(), r, nil) }, noSuch)
	w.Estate.Groups[0].Pipelines = nil
	obs, err := def.UndoVerify(t.Context(), r, nil)
	if err != nil || action.Worst(obs) != verdict.Unknown || !strings.Contains(fmt.Sprint(obs), "no longer has pipeline rollup of group orders") {
		t.Errorf("of an estate without the pipeline: %+v, %v", obs, err)
	}
}

// What waits behind a run begins although its schedule is paused.
func TestQueuedIsNotIdle(t *testing.T) {
	w, m, cat := inMemory(t, "memory")
	def, _ := cat.Get("pipelines.pause")
	r := w.Request(def, "")
	for _, name := range []string{"rollup-east", "rollup-west"} {
		m.Make(name, pipelinetest.Pipeline{State: pipeline.Paused})
	}
	is := func(want verdict.Verdict, said string) {
		t.Helper()
		obs, err := def.Verify(t.Context(), r, nil)
		if err != nil || action.Worst(obs) != want || !strings.Contains(fmt.Sprint(obs), said) {
			t.Errorf("%+v, %v; want %s that says %q", obs, err, want, said)
		}
	}
	is(verdict.Pass, "none")
	w.Must(m.Queue("rollup-west")) // and nothing runs just now
	is(verdict.Fail, "1 queued")
}

// What would never act again did not run at the source, and goes on nowhere; and what
// would not act at the target is found before it is resumed.
func TestUsedUp(t *testing.T) {
	over, acts := pipelinetest.Pipeline{State: pipeline.Running, Over: true}, pipelinetest.Pipeline{State: pipeline.Running}
	waits, waitsOver := pipelinetest.Pipeline{State: pipeline.Paused, Note: "standby"}, pipelinetest.Pipeline{State: pipeline.Paused, Note: "standby", Over: true}
	for name, tc := range map[string]struct {
		source, target pipelinetest.Pipeline
		says           string
		refused        bool
	}{
		"at the source":       {over, waits, "rollup would not act at the source any more", false},
		"on both sides":       {over, waitsOver, "rollup would not act at the source any more", false},
		"at the target alone": {acts, waitsOver, "schedule rollup-west in us-west-2 would never act if it were resumed", true},
	} {
		t.Run(name, func(t *testing.T) {
			w, m, cat := inMemory(t, "memory")
			recs := &world.Kept{}
			def := recs.Keeping(room{systems: memory{Memory: m}}.pause())
			action.Add(cat, room{systems: memory{Memory: m}}.resume())
			back, _ := cat.Get("pipelines.resume")
			m.Make("rollup-east", tc.source)
			m.Make("rollup-west", tc.target)
			r := w.Request(def, "")
			r.Records = recs
			c, err := def.Plan(t.Context(), r, nil)
			w.Must(err)
			r.Plan = &c
			_, err = def.Apply(t.Context(), r, nil)
			w.Must(err)
			on := w.Request(back, "orders")
			on.Records = recs
			resume, err := back.Plan(t.Context(), on, nil)
			if tc.refused {
				if !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("Plan = %v, want a refusal that says %q", err, tc.says)
				}
				return
			}
			if err != nil || len(resume.Effects) > 0 || !strings.Contains(resume.Summary, tc.says) {
				t.Fatalf("Plan = %+v, %v; want nothing to do, and %q", resume, err, tc.says)
			}
			on.Plan = &resume
			_, err = back.Apply(t.Context(), on, nil)
			w.Must(err)
			if obs, err := back.Verify(t.Context(), on, nil); err != nil || action.Worst(obs) != verdict.Pass {
				t.Errorf("Verify = %+v, %v", obs, err)
			}
			undo, err := def.UndoPlan(t.Context(), r, nil)
			w.Must(err)
			r.Plan = &undo
			_, err = def.UndoApply(t.Context(), r, nil)
			w.Must(err)
			if obs, err := def.UndoVerify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Pass {
				t.Errorf("UndoVerify = %+v, %v; it is as it was", obs, err)
			}
		})
	}
}
