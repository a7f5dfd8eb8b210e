package workflows_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// triggered starts a workflow by a Schedule, and returns its id.
func (b *bench) triggered(id string, act *client.ScheduleWorkflowAction) string {
	b.t.Helper()
	h, err := b.client.ScheduleClient().Create(b.t.Context(), client.ScheduleOptions{ID: id, Paused: true, Action: act})
	if err == nil {
		err = h.Trigger(b.t.Context(), client.ScheduleTriggerOptions{})
	}
	for err == nil {
		var d *client.ScheduleDescription
		if d, err = h.Describe(b.t.Context()); err == nil && len(d.Info.RecentActions) > 0 {
			return d.Info.RecentActions[0].StartWorkflowResult.WorkflowID
		}
	}
	b.t.Fatal(err)
	return ""
}

// began is the body of the first entry of a run that has come to its end.
func (b *bench) began(r client.WorkflowRun) map[string]any {
	b.t.Helper()
	if _, err := b.carry(r, nil); err != nil {
		b.t.Fatal(err)
	}
	s, err := b.status(r)
	if err != nil {
		b.t.Fatal(err)
	}
	entries, _, err := store.Load(b.t.Context(), b.ledger, ledger.Run{Workflow: s.Run.Workflow, FirstRun: s.Run.FirstRun})
	if err != nil {
		b.t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal(entries[0].Body, &body); err != nil {
		b.t.Fatal(err)
	}
	return body
}

const planInput = `{"estate":"lab","source":"us-east-1","target":"us-west-2"}`

// TestWhoStartedARun: the first entry of the ledger says who started the run, as the server
// noted it.
func TestWhoStartedARun(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	t.Run("a person", func(t *testing.T) {
		body := b.began(b.start("RegionalFailover", planInput))
		if who, _ := body["claimed_by"].(string); !strings.Contains(who, "@") || body["scheduled"] != nil {
			t.Errorf("it says that %v started it: %v", body["claimed_by"], body)
		}
	})
	t.Run("a Schedule", func(t *testing.T) {
		id := "nightly-" + b.queue
		started := b.triggered(id, &client.ScheduleWorkflowAction{ID: id, Workflow: "RegionalFailover", TaskQueue: b.queue, Args: []any{json.RawMessage(planInput)}})
		if body := b.began(b.client.GetWorkflow(t.Context(), started, "")); body["scheduled"] != true || body["schedule"] != id {
			t.Errorf("it does not say that Schedule %s started it: %v", id, body)
		}
	})
	t.Run("another workflow", func(t *testing.T) {
		w := worker.New(b.client, b.queue+"-parent", worker.Options{})
		w.RegisterWorkflowWithOptions(func(ctx workflow.Context) (string, error) {
			ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{TaskQueue: b.queue, WorkflowID: "child-" + b.queue})
			return "", workflow.ExecuteChildWorkflow(ctx, "RegionalFailover", json.RawMessage(planInput)).Get(ctx, nil)
		}, workflow.RegisterOptions{Name: "Parent"})
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		p, err := b.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: b.queue + "-parent"}, "Parent")
		if err == nil {
			err = p.Get(t.Context(), nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		if body := b.began(b.client.GetWorkflow(t.Context(), "child-"+b.queue, "")); body["parent"] != p.GetID() {
			t.Errorf("it does not say that workflow %s started it: %v", p.GetID(), body)
		}
	})
}

// TestAScheduledRunCannotDenyIt: whether a Schedule started a run is the server's word, and
// not that of the workflow.
func TestAScheduledRunCannotDenyIt(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	w := worker.New(b.client, b.queue+"-rogue", worker.Options{})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		return b.ask(ctx, wire.CompileRun, map[string]any{"input": json.RawMessage(liveInput), "engine": runbook.Engine, "scheduled": false}, nil)
	}, workflow.RegisterOptions{Name: "RegionalFailover"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	id := "denies-" + b.queue
	started := b.triggered(id, &client.ScheduleWorkflowAction{ID: id, Workflow: "RegionalFailover", TaskQueue: b.queue + "-rogue"})
	err := b.client.GetWorkflow(t.Context(), started, "").Get(t.Context(), nil)
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != wire.ErrTypeBadInput || !strings.Contains(err.Error(), "Schedule") {
		t.Errorf("a live run of a Schedule was compiled: %v", err)
	}
}
