package report_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/ledger"
	"breakwater/internal/recovery"
	"breakwater/internal/report"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// TestRepeatedOutcome: an entry about an attempt whose apply failed may name the
// outcome of the attempt before. What that changed counts once.
func TestRepeatedOutcome(t *testing.T) {
	b := newBook(t, memory{})
	b.compiled, b.estate = failover(t, "orders")
	b.start(action.ModeLive, nil)
	const step = "fence/storage.fence"
	b.apply("fence", step, "lake", 1, nil, saw("denied", "denied", "written", false))
	b.entry(ledger.Intent, "fence", step, wire.IntentBody{Attempt: 2})
	first := b.doc(step, "lake", 1, ledger.DocOutcome, wire.OutcomeDoc{Step: step, Action: "storage.fence", Item: thing("lake"), Outcome: action.Outcome{Mutations: 2}})
	b.entry(ledger.Outcome, "fence", step, wire.OutcomeBody{Attempt: 2, Mutations: 2, Errors: []string{"lake: apply: no answer"}}, first)
	b.entry(ledger.Outcome, "fence", step, wire.OutcomeBody{Attempt: 2, Mutations: 2}, first)
	if p := b.report().Stages[1].Steps[0]; p.Mutations != 2 || p.Attempts != 2 || p.State != report.Began {
		t.Errorf("step %+v; want 2 changes in 2 attempts, the last of them begun", p)
	}
}

// TestWithoutOutage: the clock starts with the run, which is later than what the
// objective counts from, so that nothing is met, though it may be missed.
func TestWithoutOutage(t *testing.T) {
	b := newBook(t, memory{})
	b.compiled, b.estate = failover(t, "orders")
	b.start(action.ModeLive, nil)
	b.pass(300) // more than tier 2 has, and less than tier 1
	b.milestone("writes@tier-1", "writes", 1)
	b.milestone("writes@tier-2", "writes", 2)
	r := b.report()
	if len(r.Milestones) != 2 || r.Milestones[0].Met != verdict.Unknown || r.Milestones[1].Met != verdict.Fail || r.Time.Detect != 0 {
		t.Errorf("milestones %+v, time %+v", r.Milestones, r.Time)
	}
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "outage_start was not given") }) {
		t.Errorf("notes %q do not say what the clock starts with", r.Notes)
	}
}

// TestChangedDocumentIsNotBelieved: a loss that somebody made smaller is gone
// from the report, not shown.
func TestChangedDocumentIsNotBelieved(t *testing.T) {
	m := memory{}
	b := whole(t, m, "orders")
	k := ledger.DocKey(run, "point/group.recovery-point", "sales", 1, ledger.DocOutcome)
	m[k] = bytes.Replace(m[k], []byte("4800"), []byte("0480"), 1)
	m[k] = bytes.Replace(m[k], []byte(`"at_most":0480`), []byte(`"at_most":480`), 1)
	r := b.report()
	if len(r.Recovery) != 1 || r.Recovery[0].Group != "web" || len(r.Cuts) != 1 {
		t.Errorf("recovery %+v", r.Recovery)
	}
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, k) }) {
		t.Errorf("notes %q do not name %s", r.Notes, k)
	}
}

// TestNoRecoveryPoint: where an outcome says nothing, nothing is made up.
func TestNoRecoveryPoint(t *testing.T) {
	b := newBook(t, memory{})
	b.compiled, b.estate = failover(t, "orders")
	b.start(action.ModeLive, nil)
	b.apply("point", "point/group.recovery-point", "sales", 1, map[string]string{"group": "sales"}, saw("recorded", "yes", "no", false))
	r := b.report()
	if r.Recovery == nil || r.Cuts == nil || len(r.Recovery)+len(r.Cuts) != 0 {
		t.Errorf("recovery %#v, cuts %#v; want empty lists", r.Recovery, r.Cuts)
	}
}

// TestLeftOut: a table that did not come back is in every form, its loss unknown and its
// objective neither met nor missed; alone in its group it leaves no cut.
func TestLeftOut(t *testing.T) {
	b := newBook(t, memory{})
	b.compiled, b.estate = failover(t, "orders")
	b.start(action.ModeLive, nil)
	left := recovery.LeftOut{Dataset: "orders", Kind: "table", Why: "a catalog decides; recover it through that"}
	b.apply("point", "point/group.recovery-point", "sales", 1, recovery.GroupPoint{
		Group: "sales", LeftOut: []recovery.LeftOut{left}, Losses: []recovery.Loss{{Dataset: "orders", Kind: "table", Unit: "rows", Out: true, RPOSeconds: 60}},
	}, saw("recorded", "yes", "yes", true))
	r := b.report()
	if len(r.Cuts) != 0 || len(r.Recovery) != 1 || r.Recovery[0].Met != verdict.Unknown {
		t.Fatalf("recovery %+v, cuts %+v", r.Recovery, r.Cuts)
	}
	if !slices.ContainsFunc(r.Notes, func(n string) bool {
		return strings.Contains(n, "table orders of group sales did not come back here: "+left.Why)
	}) {
		t.Errorf("notes %q", r.Notes)
	}
	for name, write := range map[string]func(io.Writer) error{"markdown": r.Markdown, "HTML": r.HTML} {
		var out bytes.Buffer
		if err := write(&out); err != nil {
			t.Fatal(err)
		}
		if text := out.String(); !strings.Contains(text, "did not come back here") || strings.Contains(text, "No recovery point was recorded") || strings.Contains(text, "0001") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}
