package workflows_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/client"
)

// promotes is a runbook in which the tables of a group are promoted between a step before
// and a look after.
func promotes(t *testing.T) []*runbook.Runbook {
	t.Helper()
	rb, mistakes := load.File([]byte(`runbook: Promotes
summary: Promotes tables, and looks at them once more.
owner: data-platform
stages:
  - stage: Fence
    approval: {role: incident-commander}
    steps:
      - {step: Deny writes, do: storage.fence, each: bucket}
  - stage: Promote
    approval: {role: data-owner}
    steps:
      - {step: Promote tables, do: table.promote, each: table}
  - stage: Look
    steps:
      - {step: Their history is there, check: table.history, each: table}
`), "promotes.yaml")
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	return []*runbook.Runbook{rb}
}

const promotesInput = `{"estate":"lab","mode":"live","incident":"INC-1","groups":["orders"]}`

// manyTables gives the first group 200 tables, so that its steps go in batches.
func (b *bench) manyTables() {
	g := &b.estate.Groups[0]
	for n := range 198 {
		t := g.Tables[0]
		t.Table = fmt.Sprintf("orders-%03d", n)
		g.Tables = append(g.Tables, t)
	}
}

// toQuestion approves gates until the run asks.
func (b *bench) toQuestion(r client.WorkflowRun) wire.Status {
	b.t.Helper()
	last := ""
	for {
		s := b.until(r, "a gate or a question", func(s wire.Status) bool {
			return s.Ask != nil || s.State == wire.StateEnded || s.Gate != nil && fmt.Sprint(s.Gate.ID, s.Gate.Attempt) != last
		})
		if s.Gate == nil {
			return s
		}
		last = fmt.Sprint(s.Gate.ID, s.Gate.Attempt)
		b.approve(r, s)
	}
}

// stepOf is the run's first step of that action.
func stepOf(s wire.Status, name string) wire.StepStatus {
	for _, stage := range s.Stages {
		for _, st := range stage.Steps {
			if st.Action == name {
				return st
			}
		}
	}
	return wire.StepStatus{}
}

// says reports whether one of the lines holds the text.
func says(lines []string, text string) bool { return strings.Contains(strings.Join(lines, "\n"), text) }

// TestOneBadTable: one table among 200 fails in a phase. The 199 others are planned,
// applied and verified; who is asked is told of the one; and doing it again does that one
// alone.
func TestOneBadTable(t *testing.T) {
	t.Parallel()
	const name, bad = "table.promote", "orders-077"
	for p, tc := range map[wire.Phase]struct {
		err                        error
		planned, applied, verified int
	}{
		wire.PlanPhase:   {fmt.Errorf("%w: its log cannot be read", action.ErrRefused), 199, 0, 0},
		wire.ApplyPhase:  {fmt.Errorf("%w: its log cannot be read", action.ErrMoved), 200, 199, 199},
		wire.VerifyPhase: {errors.New("its log cannot be read"), 200, 200, 199},
	} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, promotes(t))
			b.manyTables()
			b.model.break_(func(a, item string, at wire.Phase) error {
				if a == name && item == bad && at == p {
					return tc.err
				}
				return nil
			})
			r := b.start("Promotes", promotesInput)
			s := b.toQuestion(r)
			st := stepOf(s, name)
			if s.Ask == nil || !says(s.Ask.Findings, bad) || !says(s.Ask.Findings, "its log cannot be read") || len(s.Ask.Findings) != 1 {
				t.Fatalf("the run asks %+v, want it to name %s alone", s.Ask, bad)
			}
			if st.Planned != tc.planned || st.Applied != tc.applied || st.Verified != tc.verified {
				t.Errorf("planned %d, applied %d, verified %d; want %d, %d, %d", st.Planned, st.Applied, st.Verified, tc.planned, tc.applied, tc.verified)
			}
			b.failedIsKept(s, bad)
			b.model.break_(nil)
			if a := b.decide(r, approval.Decision{Gate: s.Ask.ID, Verb: approval.Retry}); !a.Counted {
				t.Fatalf("retry did not count: %s", a.Outcome)
			}
			res, err := b.carry(r, nil)
			if err != nil || res.Verdict != verdict.Pass {
				t.Fatalf("the run ended with %+v, %v", res, err)
			}
			b.model.mu.Lock()
			defer b.model.mu.Unlock()
			for key, n := range b.model.applies {
				most := 1
				if key == name+"/"+bad && p != wire.PlanPhase {
					most = 2
				}
				if strings.HasPrefix(key, name+"/") && n > most {
					t.Errorf("%s was applied %d times", key, n)
				}
				if b.model.effects[key] > 1 {
					t.Errorf("%s changed %d times", key, b.model.effects[key])
				}
			}
			s, _ = b.status(r)
			if ev := b.evidence(s); ev.Fault != nil {
				t.Errorf("evidence: %+v", ev)
			}
		})
	}
}

// failedIsKept asks that a document in the ledger that an entry names says which item failed.
func (b *bench) failedIsKept(s wire.Status, item string) {
	b.t.Helper()
	entries, _, err := store.Load(b.t.Context(), b.ledger, ledger.Run{Workflow: s.Run.Workflow, FirstRun: s.Run.FirstRun})
	if err != nil {
		b.t.Fatal(err)
	}
	keys, err := b.estate.Ledger.Trusted(time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range entries {
		for _, ref := range e.Docs {
			index, err := store.GetIndex(b.t.Context(), b.ledger, keys, ref)
			if err != nil {
				b.t.Fatal(err)
			}
			for _, f := range index.Failed {
				if f.Item == item && strings.Contains(f.Error, "its log cannot be read") {
					return
				}
			}
		}
	}
	b.t.Errorf("no document of the ledger says that %s failed", item)
}

// TestAMomentCuresAnItem: what a moment cures is tried again by itself, and no neighbour
// is planned twice for it.
func TestAMomentCuresAnItem(t *testing.T) {
	t.Parallel()
	b := newBench(t, promotes(t))
	b.manyTables()
	calls := map[string]int{}
	b.model.break_(func(a, item string, p wire.Phase) error {
		if a != "table.promote" || p != wire.ApplyPhase {
			return nil
		}
		b.model.mu.Lock()
		defer b.model.mu.Unlock()
		calls[item]++
		if item == "orders-077" && calls[item] < 3 {
			return errors.New("a connection was reset")
		}
		return nil
	})
	r := b.start("Promotes", promotesInput)
	if res, err := b.carry(r, nil); err != nil || res.Verdict != verdict.Pass {
		t.Fatalf("the run ended with %+v, %v", res, err)
	}
	for item, n := range calls {
		if want := map[bool]int{true: 3, false: 1}[item == "orders-077"]; n != want {
			t.Errorf("%s was applied %d times, want %d", item, n, want)
		}
	}
}
