package workflows_test

import (
	"compress/gzip"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"breakwater/internal/approval"
	"breakwater/internal/wire"
	"breakwater/lab/server/temporaltest"
	"breakwater/workflows"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/encoding/protojson"
)

// record writes new histories: go test ./workflows -run TestRecordHistories -record v2
var record = flag.String("record", "", "the release whose histories are recorded")

// stories are the runs whose histories are kept, each with how it goes.
var stories = []struct {
	name, runbook, input string
	prepare              func(*bench)
	play                 func(*bench, client.WorkflowRun)
}{
	{"pass", "RegionalFailover", inputs, nil, func(b *bench, r client.WorkflowRun) { b.carry(r, nil) }},
	{"plan", "RegionalFailover", `{"estate":"lab","source":"us-east-1","target":"us-west-2"}`, nil, func(b *bench, r client.WorkflowRun) { b.carry(r, nil) }},
	{"witness", "Witness", `{"estate":"lab","source":"us-east-1","target":"us-west-2"}`, nil, func(b *bench, r client.WorkflowRun) { b.carry(r, nil) }},
	{"obligations", "RegionalFailover", inputs, func(b *bench) { sourceGone(b.model, "region.probe/lab", "storage.fence/lake") },
		func(b *bench, r client.WorkflowRun) { b.carry(r, nil) }},
	{"rejected", "RegionalFailover", inputs, nil, func(b *bench, r client.WorkflowRun) {
		s := b.until(r, "a gate", func(s wire.Status) bool { return s.Gate != nil })
		b.decide(r, approval.Decision{Verb: approval.Retry}) // refused, and in the history
		b.decide(r, b.sign(s, approval.Reject, "ana", r))
	}},
	{"retried", "RegionalFailover", inputs, func(b *bench) { redOnce(b, "storage.fence") },
		func(b *bench, r client.WorkflowRun) { b.carry(r, retry) }},
	{"undone", "RegionalFailover", inputs, func(b *bench) { redOnce(b, "table.promote") },
		func(b *bench, r client.WorkflowRun) {
			b.carry(r, func(wire.Status) approval.Decision { return approval.Decision{Verb: "undo"} })
		}},
	{"aborted-by-signal", "RegionalFailover", inputs, nil, func(b *bench, r client.WorkflowRun) {
		b.until(r, "a gate", func(s wire.Status) bool { return s.Gate != nil })
		if err := b.client.SignalWorkflow(b.t.Context(), r.GetID(), "", wire.SignalAbort, nil); err != nil {
			b.t.Fatal(err)
		}
	}},
	{"cancelled", "RegionalFailover", inputs, nil, func(b *bench, r client.WorkflowRun) {
		b.until(r, "a gate", func(s wire.Status) bool { return s.Gate != nil })
		if err := b.client.CancelWorkflow(b.t.Context(), r.GetID(), ""); err != nil {
			b.t.Fatal(err)
		}
	}},
	{"bad-input", "RegionalFailover", `{"estate":"nowhere"}`, nil, func(*bench, client.WorkflowRun) {}},
}

// redOnce makes the first Verify of an action red.
func redOnce(b *bench, name string) {
	lost := once()
	b.model.break_(func(a, _ string, p wire.Phase) error {
		if a == name && p == wire.VerifyPhase && lost(a) != nil {
			return errRed
		}
		return nil
	})
}

func TestRecordHistories(t *testing.T) {
	if *record == "" {
		t.Log("nothing to record: give -record RELEASE")
		return
	}
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			b := newBench(t, shipped(t))
			if s.prepare != nil {
				s.prepare(b)
			}
			r := b.start(s.runbook, s.input)
			s.play(b, r)
			r.Get(t.Context(), nil) //nolint:errcheck // how it ends is in the history
			h := &history.History{}
			for it := b.client.GetWorkflowHistory(t.Context(), r.GetID(), r.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
				e, err := it.Next()
				if err != nil {
					t.Fatal(err)
				}
				h.Events = append(h.Events, e)
			}
			keep(t, filepath.Join("testdata", "history", *record, s.runbook+"."+s.name+".json.gz"), h)
		})
	}
}

// keep writes a history, compressed: it is ten times as long as it is telling.
func keep(t *testing.T, path string, h *history.History) {
	t.Helper()
	raw, err := protojson.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	if _, err := z.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestReplay replays every stored history of every release: a change of the
// interpreter that an open run would notice fails here.
func TestReplay(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "history", "*", "*.json.gz"))
	if err != nil || len(files) < len(stories) {
		t.Fatalf("%d histories for %d stories, %v", len(files), len(stories), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			t.Parallel()
			name, _, _ := strings.Cut(filepath.Base(f), ".")
			r, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{DisableRegistrationAliasing: true})
			if err != nil {
				t.Fatal(err)
			}
			workflows.Register(r, []string{name})
			file, err := os.Open(f)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			z, err := gzip.NewReader(file)
			if err != nil {
				t.Fatal(err)
			}
			h, err := client.HistoryFromJSON(z, client.HistoryJSONOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.ReplayWorkflowHistory(temporaltest.Quiet(), h); err != nil {
				t.Error(err)
			}
		})
	}
}
