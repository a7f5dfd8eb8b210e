package main

import (
	"context"
	"os"
	"sync"
	"testing"

	"breakwater/activities/host"
	"breakwater/internal/action"
	"breakwater/internal/recovery"
	"breakwater/internal/runbook/load"
	"breakwater/internal/runbook/runbooktest"
	"breakwater/internal/system"
	"breakwater/internal/verdict"
	"breakwater/workflows"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
)

// model is a world made of values: each action sets a text about its item, and
// its proof can be broken on purpose.
type model struct {
	mu     sync.Mutex
	state  map[string]string // "action/item" → "applied"
	broken map[string]bool   // actions whose proof fails
}

type modelCall = action.Call[map[string]any]

// breaks makes an action's proof fail, or lets it work again.
func (m *model) breaks(name string, on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken[name] = on
}

// catalogue has the actions of the shipped runbooks, with bodies of the model's.
func (m *model) catalogue() *action.Catalogue {
	c := action.NewCatalogue()
	for _, d := range runbooktest.Catalogue().All() {
		action.Add(c, m.action(d))
	}
	return c
}

func (m *model) action(d *action.Definition) action.Action[map[string]any] {
	a := action.Action[map[string]any]{
		Name: d.Name, Doc: d.Doc, Over: d.Over, Needs: d.Needs, Effect: d.Effect, Drill: d.Drill, RedWhen: d.RedWhen,
		Verify: m.look(d, "applied"),
	}
	if d.Effect == action.ReadOnly {
		return a
	}
	a.Plan, a.Apply = m.plan(d, "set"), m.set(d, "applied")
	if d.Effect == action.Mutates {
		a.Undo = &action.Undo[map[string]any]{Plan: m.plan(d, "clear"), Apply: m.set(d, ""), Verify: m.look(d, "")}
	}
	return a
}

func (m *model) plan(d *action.Definition, verb string) func(context.Context, modelCall) (action.Change, error) {
	return func(_ context.Context, c modelCall) (action.Change, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		on := d.Name + "/" + c.Item.Name
		most, seconds := int64(12), 2.1
		ch := action.Change{
			Summary:       verb + " " + c.Item.Name,
			Effects:       []action.EffectLine{{On: on, Do: verb, From: m.state[on], To: "applied"}},
			Preconditions: []action.Precondition{{Resource: on, Version: "1"}},
		}
		if d.Name == "table.promote" {
			ch.Loss = &recovery.Given{Dataset: c.Item.Name, Unit: "rows", AtLeast: 3, AtMost: &most, SecondsAtMost: &seconds}
		}
		return ch, nil
	}
}

func (m *model) set(d *action.Definition, to string) func(context.Context, modelCall) (action.Outcome, error) {
	return func(ctx context.Context, c modelCall) (action.Outcome, error) {
		if err := c.Guard(ctx); err != nil {
			return action.Outcome{}, err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.state[d.Name+"/"+c.Item.Name] = to
		return action.Outcome{Summary: "done", Mutations: 1}, nil
	}
}

func (m *model) look(d *action.Definition, want string) func(context.Context, modelCall) ([]action.Observation, error) {
	return func(_ context.Context, c modelCall) ([]action.Observation, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		o := action.Observation{What: c.Item.Name + " is as it should be", Item: c.Item.Name, Want: want, Got: m.state[d.Name+"/"+c.Item.Name], Verdict: verdict.Fail}
		if d.Effect == action.ReadOnly {
			o.Want, o.Got = "", ""
		}
		if o.Want == o.Got && !m.broken[d.Name] {
			o.Verdict = verdict.Pass
		}
		if m.broken[d.Name] {
			o.Got = "broken on purpose"
		}
		return []action.Observation{o}, nil
	}
}

// serve runs a worker on the model in this process until the test ends.
func (m *model) serve(t *testing.T, c client.Client, queue, estates, books string) {
	t.Helper()
	all, ms := load.Lint(os.DirFS(books), m.catalogue(), nil)
	if len(ms) > 0 {
		t.Fatal(ms)
	}
	systems := &system.Systems{Folder: estates, Temporal: c}
	t.Cleanup(systems.Close)
	serving := &host.Host{Catalogue: m.catalogue(), Runbooks: all, Estates: systems}
	if err := serving.Catalogue.Err(); err != nil {
		t.Fatal(err)
	}
	w := worker.New(c, queue, worker.Options{
		Interceptors: []interceptor.WorkerInterceptor{&host.Interceptor{}}, DisableRegistrationAliasing: true,
	})
	var names []string
	for _, rb := range all {
		names = append(names, rb.Name)
	}
	workflows.Register(w, names)
	serving.Register(w)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}
