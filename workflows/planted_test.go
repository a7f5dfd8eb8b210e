package workflows_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"

	"breakwater/internal/approval"
	"breakwater/internal/ledger"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"
)

// Whoever can write to the ledger's bucket knows where a step's documents will lie. What he
// puts there first is refused by its key, and is neither what is done nor what is proven.
func TestPlantedDocumentsAreRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		when wire.Phase // that finds it
		body string
	}{
		ledger.DocPlan:     {wire.PlanPhase, `{"action":"storage.fence","item":{"name":"ITEM"},"change":{"summary":"planted","effects":[],"data":{"planted":true}}}`},
		ledger.DocOutcome:  {wire.ApplyPhase, `{"action":"storage.fence","item":{"name":"ITEM"},"outcome":{"summary":"planted"}}`},
		ledger.DocObserved: {wire.VerifyPhase, `{"action":"storage.fence","item":{"name":"ITEM"},"observations":[{"what":"planted","verdict":"pass"}],"verdict":"pass"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, shipped(t))
			var run atomic.Pointer[ledger.Run]
			known := make(chan struct{})
			var planted atomic.Pointer[string]
			b.model.break_(func(a, item string, p wire.Phase) error {
				<-known
				if before := map[wire.Phase]wire.Phase{wire.PlanPhase: wire.PlanPhase, wire.ApplyPhase: wire.PlanPhase, wire.VerifyPhase: wire.ApplyPhase}[tc.when]; a != "storage.fence" || p != before {
					return nil
				}
				key := ledger.DocKey(*run.Load(), b.step(*run.Load(), a), item, 1, name)
				if !planted.CompareAndSwap(nil, &key) {
					return nil
				}
				return b.ledger.PutIfAbsent(t.Context(), key, []byte(strings.ReplaceAll(tc.body, "ITEM", item)+"\n"))
			})
			r := b.start("RegionalFailover", liveInput)
			run.Store(&ledger.Run{Workflow: r.GetID(), FirstRun: r.GetRunID()})
			close(known)
			asked := ""
			_, err := b.carry(r, func(s wire.Status) approval.Decision {
				asked = s.Ask.Question + strings.Join(s.Ask.Findings, "\n")
				return approval.Decision{Verb: approval.Abort}
			})
			if err == nil {
				t.Error("the run passed")
			}
			key := planted.Load()
			if key == nil {
				t.Fatal("nothing was planted")
			}
			if !strings.Contains(asked, *key) || !strings.Contains(asked, "signed by no signer") {
				t.Errorf("a person is asked %q, which does not name %s", asked, *key)
			}
			if name == ledger.DocObserved {
				return
			}
			for done := range b.model.effects {
				if strings.HasPrefix(done, "storage.fence/") {
					t.Errorf("%s was done", done)
				}
			}
		})
	}
}

// step is the id of the step that runs an action, from the run's own documents.
func (b *bench) step(run ledger.Run, name string) string {
	raw, err := b.ledger.Get(b.t.Context(), ledger.DocKey(run, "compiled", b.estate.Estate, 1, "compiled"))
	var c runbook.Compiled
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(raw)).Decode(&c)
	}
	if err != nil {
		b.t.Error(err)
	}
	for _, stage := range c.Stages {
		for _, s := range stage.Steps {
			if s.Action == name {
				return s.ID
			}
		}
	}
	b.t.Errorf("no step runs %s", name)
	return ""
}
