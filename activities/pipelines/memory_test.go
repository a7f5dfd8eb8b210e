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
	action.Add(cat, room{memory{Memory: m}}.pause())
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
