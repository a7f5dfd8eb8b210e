package report_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/ledger"
	"breakwater/internal/report"
	"breakwater/internal/sshsig"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestGolden(t *testing.T) {
	r := whole(t, folder(t), "orders").report()
	for name, write := range map[string]func(*bytes.Buffer) error{
		"failover.json": func(b *bytes.Buffer) error { return r.JSON(b) },
		"failover.md":   func(b *bytes.Buffer) error { return r.Markdown(b) },
		"failover.txt":  func(b *bytes.Buffer) error { return r.Text(b, 100) },
		"failover.html": func(b *bytes.Buffer) error { return r.HTML(b) },
	} {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s changed (-want +got); look at it, then run the test with -update:\n%s", name, diff)
		}
	}
}

func TestNoRun(t *testing.T) {
	if _, err := report.Build(t.Context(), memory{}, run, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("report of nothing: %v, want fs.ErrNotExist", err)
	}
}

// outcome is what a story must come to.
type outcome struct {
	Verdict            verdict.Verdict
	How, Headline, Sum string
	States             map[string]report.State
}

func told(t *testing.T, r report.Report) outcome {
	t.Helper()
	var text bytes.Buffer
	if err := r.Text(&text, 120); err != nil {
		t.Fatal(err)
	}
	headline, _, _ := strings.Cut(text.String(), "\n")
	o := outcome{Verdict: r.Verdict, How: r.How, Headline: headline, Sum: r.Summary, States: map[string]report.State{}}
	for _, s := range r.Stages {
		for _, p := range s.Steps {
			o.States[s.ID+": "+p.Action] = p.State
		}
	}
	return o
}

func TestPlanOnly(t *testing.T) {
	b := newBook(t, folder(t))
	b.compiled, b.estate = failover(t, "orders")
	b.start(action.ModePlan, nil)
	look := b.planDoc("declare/region.probe", "lab", saw("storage answers", "an answer", "an answer", true))
	b.plan("declare", look)
	b.entry(ledger.Observed, "declare", "", wire.ObservedBody{Attempt: 1, Verdict: verdict.Pass, Passed: 1}, look)
	b.plan("fence", b.planDoc("fence/storage.fence", "lake"))
	b.points("orders")
	b.plan("restore@tier-1", b.planDoc("restore@tier-1/table.promote", "orders"))
	b.end(verdict.Pass, "planned", "")
	r := b.report()
	got := told(t, r)
	want := outcome{
		Verdict: verdict.Pass, How: "planned", Headline: "PASS: planned, nothing was changed; no obligation open", Sum: "pass",
		States: map[string]report.State{
			"declare: region.probe": report.Proven, "declare: estate.preflight": report.NotProven, "fence: storage.fence": report.Planned,
			"point: group.recovery-point": report.Proven, "restore@tier-1: table.promote": report.Planned,
			"restore@tier-1: access.golden-queries": report.NotRun, "writes@tier-1: access.read-write": report.NotReached,
			"writes@tier-2: access.read-write": report.NotReached, "handover: obligations.assigned": report.NotReached,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, m := range r.Milestones {
		if m.Met != verdict.Unknown || m.At != nil {
			t.Errorf("a plan reached milestone %+v", m)
		}
	}
	if len(r.Recovery) != 3 || len(r.Approvals) != 0 || r.Time.Verify == 0 {
		t.Errorf("recovery %v, approvals %v, time %+v; a plan has recovery points, no approvals, and looked", r.Recovery, r.Approvals, r.Time)
	}
}

func TestUndone(t *testing.T) {
	b := newBook(t, folder(t))
	b.compiled, b.estate = failover(t, "orders")
	b.start(action.ModeLive, ptr(outage.Add(time.Minute)))
	b.declare()
	b.plan("fence", b.planDoc("fence/storage.fence", "lake"))
	b.open("fence", "incident-commander", 2)
	b.vote("fence", "alice", "")
	b.vote("fence", "bob", "")
	b.close("fence", "incident-commander", 2, "approve", "alice", "bob")
	const step = "fence/storage.fence"
	b.apply("fence", step, "lake", 1, nil, saw("a write is denied", "denied", "written", false))
	b.entry(ledger.Asked, "fence", step, wire.AskedBody{Ask: "ask-1", Question: "What now?", Choices: []string{"retry", "undo", "abort"}})
	b.pass(5)
	b.entry(ledger.Decided, "fence", "", wire.DecisionBody{Gate: "ask-1", Decision: "undo", Via: "signal", Who: "bob", Outcome: "undo"})
	b.entry(ledger.Planned, "fence", "", wire.PlannedBody{Attempt: 1, Root: "feed", Undo: true, Steps: []wire.StepPlan{{Step: "take back"}}, Intervals: b.worked(wire.UndoPlanPhase, 1)})
	b.opened.Gate, b.root = "take-back", "feed"
	b.entry(ledger.GateOpened, "fence", "", b.gate("fence", "incident-commander", 2))
	b.pass(6)
	b.entry(ledger.GateClosed, "fence", "", b.gate("fence", "incident-commander", 2))
	b.entry(ledger.Intent, "fence", step, wire.IntentBody{Attempt: 1, Undo: true})
	b.entry(ledger.Outcome, "fence", step, wire.OutcomeBody{Attempt: 1, Undo: true, Mutations: 1, Intervals: b.worked(wire.UndoApplyPhase, 2)},
		b.doc(step, "lake", 1, "undo-"+ledger.DocOutcome, wire.OutcomeDoc{Step: step, Item: thing("lake"), Outcome: action.Outcome{Mutations: 1}}))
	b.observe("fence", step, "lake", 1, b.worked(wire.UndoVerifyPhase, 1), true, saw("the policy is the former one", "equal", "equal", true))
	b.end(verdict.Fail, wire.ErrTypeUndone, "step did not pass; what this run did was taken back")
	r := b.report()
	got := told(t, r)
	if got.Verdict != verdict.Fail || got.How != "Undone" || !strings.HasPrefix(got.Headline, "FAIL") {
		t.Errorf("told %+v", got)
	}
	if got.States["fence: storage.fence"] != report.TakenBack || got.States["take-back: storage.fence"] != report.TakenBack {
		t.Errorf("states %v", got.States)
	}
	last := r.Stages[len(r.Stages)-1]
	if last.ID != "take-back" || last.Steps[0].Mutations != 1 || last.Steps[0].Verdict != verdict.Pass {
		t.Errorf("taking back is told as %+v", last)
	}
	undone := 0
	for _, o := range r.Observations {
		if o.Undo {
			undone++
		}
	}
	fence := r.Stages[1].Steps[0]
	if undone != 1 || fence.Verdict != verdict.Fail || fence.Mutations != 2 || len(fence.Tries) != 1 {
		t.Errorf("%d observations of taking back; the step is %+v", undone, fence)
	}
	if r.Asked[0].Answer != "undo" || r.Asked[0].WaitedSeconds != 5 {
		t.Errorf("asked %+v", r.Asked)
	}
}

func TestStillOpen(t *testing.T) {
	b := newBook(t, folder(t))
	b.compiled, b.estate = failover(t, "orders")
	b.start(action.ModeLive, ptr(outage.Add(time.Minute)))
	b.declare()
	b.plan("fence", b.planDoc("fence/storage.fence", "lake"))
	b.open("fence", "incident-commander", 2)
	b.pass(90)
	b.vote("fence", "alice", "")
	r := b.report()
	got := told(t, r)
	want := fmt.Sprintf("still running at entry %d", b.chain.Head.Seq)
	if got.Verdict != verdict.Unknown || got.How != "running" || got.Sum != want || got.States["fence: storage.fence"] != report.Planned {
		t.Errorf("told %+v, want %q", got, want)
	}
	// 46 s at the first gate and 90 s at the one that is open.
	if r.Ended != nil || r.Time.Wait != 45+90 || r.Gates[1].Closed != nil {
		t.Errorf("ended %v, waited %v s, gate %+v", r.Ended, r.Time.Wait, r.Gates[1])
	}
	b.entry(ledger.GateClosed, "fence", "", b.gate("fence", "incident-commander", 2))
	b.entry(ledger.Intent, "fence", "fence/storage.fence", wire.IntentBody{Attempt: 1})
	if s := told(t, b.report()).States["fence: storage.fence"]; s != report.Began {
		t.Errorf("an intent without an outcome is told as %q", s)
	}
}

func TestTampered(t *testing.T) {
	for name, tc := range map[string]struct {
		tamper func(memory, *book)
		wrong  ledger.Wrong
		seq    int64
	}{
		"an entry was changed": {func(m memory, _ *book) {
			k := ledger.ChainKey(run, 7)
			m[k] = bytes.Replace(m[k], []byte("alice"), []byte("carol"), 1)
		}, ledger.Changed, 7},
		"the end was changed": {func(m memory, b *book) {
			k := ledger.ChainKey(run, b.chain.Head.Seq)
			m[k] = bytes.Replace(m[k], []byte("2026-12-01"), []byte("2027-12-01"), 1)
		}, ledger.Changed, 55},
		"an entry is no JSON":  {func(m memory, _ *book) { m[ledger.ChainKey(run, 9)] = []byte("gone") }, ledger.Changed, 9},
		"an entry was dropped": {func(m memory, _ *book) { delete(m, ledger.ChainKey(run, 2)) }, ledger.Dropped, 2},
		"a document was changed": {func(m memory, _ *book) {
			m[ledger.DocKey(run, "fence/storage.fence", "lake", 1, ledger.DocObserved)] = []byte(`{"observations":[]}`)
		}, ledger.DocChanged, 19},
		"the recovery point is gone": {func(m memory, _ *book) {
			delete(m, ledger.DocKey(run, "point/group.recovery-point", "sales", 1, ledger.DocOutcome))
		}, ledger.DocMissing, 23},
	} {
		t.Run(name, func(t *testing.T) {
			m := memory{}
			b := whole(t, m, "orders")
			tc.tamper(m, b)
			r := b.report()
			f := r.Ledger.Fault
			if r.Verdict != verdict.Unknown || r.Ledger.Verified || f == nil || f.Seq != tc.seq || f.Wrong != tc.wrong {
				t.Fatalf("verdict %s, verified %v, fault %v; want unknown, entry %d %s", r.Verdict, r.Ledger.Verified, f, tc.seq, tc.wrong)
			}
			naming := fmt.Sprintf("entry %d: %s", tc.seq, tc.wrong)
			if !strings.Contains(r.Summary, naming) {
				t.Errorf("summary %q does not say %q", r.Summary, naming)
			}
			for form, write := range map[string]func(*bytes.Buffer) error{
				"Markdown": func(w *bytes.Buffer) error { return r.Markdown(w) },
				"HTML":     func(w *bytes.Buffer) error { return r.HTML(w) },
				"text":     func(w *bytes.Buffer) error { return r.Text(w, 100) },
			} {
				var out bytes.Buffer
				if err := write(&out); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(out.String(), "NOT VERIFIED") || !strings.Contains(out.String(), "UNKNOWN") {
					t.Errorf("the %s form hides that the evidence is not verified", form)
				}
			}
		})
	}
}

func TestSomebodyElsesSigner(t *testing.T) {
	b := whole(t, memory{}, "orders")
	r, err := report.Build(t.Context(), b.to, run, []sshsig.Key{sshsig.Public(key(t, "stranger"))})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != verdict.Unknown || r.Ledger.Verified || len(r.Stages) != 7 {
		t.Errorf("verdict %s, verified %v, %d stages", r.Verdict, r.Ledger.Verified, len(r.Stages))
	}
}

// TestWaived: what two people let be stands in the report as that, by both of them.
func TestWaived(t *testing.T) {
	b := newBook(t, memory{})
	b.compiled, b.estate = failover(t, "orders")
	b.start(action.ModeLive, nil)
	b.entry(ledger.Asked, "fence", "fence/storage.fence", wire.AskedBody{Ask: "ask-1", Question: "did not pass", Choices: []string{"waive"}})
	for _, who := range []string{"alice", "bob"} {
		b.entry(ledger.Decided, "fence", "", wire.DecisionBody{
			Gate: "ask-1", Decision: "waive", Who: who, Reason: "by hand", Items: []string{"fence/storage.fence/lake"}, Missing: who == "alice",
		})
	}
	r := b.report()
	if len(r.Waived) != 1 || strings.Join(r.Waived[0].By, ",") != "alice,bob" || r.Waived[0].Reason != "by hand" {
		t.Errorf("waived: %+v", r.Waived)
	}
	if a := r.Asked[0]; a.Answer != "waive" || a.Who != "bob" {
		t.Errorf("answered: %+v", a)
	}
	var text, md bytes.Buffer
	if err := errors.Join(r.Text(&text, 100), r.Markdown(&md)); err != nil || !strings.Contains(text.String(), "Waived, and not proven") || !strings.Contains(md.String(), "waived, and not proven") {
		t.Errorf("%v: %s", err, text.String())
	}
}

// TestVersion1IsStillProven: what people signed before statements held a mode and a
// direction is verified in a report of then, and for its own plan alone.
func TestVersion1IsStillProven(t *testing.T) {
	for plan, want := range map[string]string{"": "signature verified", "3f5a": "signature NOT verified: it is not about this plan"} {
		b := newBook(t, memory{})
		b.compiled, b.estate = failover(t, "orders")
		b.start(action.ModeLive, nil)
		b.plan("fence", b.planDoc("fence/storage.fence", "lake"))
		b.open("fence", "incident-commander", 2)
		o := b.opened
		if plan == "" {
			plan = o.Plan
		}
		text := fmt.Sprintf("Breakwater decision, version 1\ndecision: approve\ngate: fence\nattempt: %d\nplan: %s\nexpires: never\n"+
			"workflow: %s\nfirst run: %s\nnamespace: default\nestate: %s\nledger: %s\n", o.Attempt, plan, o.Run.Workflow, o.Run.FirstRun, o.Estate, o.Head)
		sig, err := sshsig.Sign(key(t, "alice"), approval.Namespace, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		b.entry(ledger.Decided, "fence", "", wire.DecisionBody{Gate: "fence", Decision: "approve", Who: "alice", Raw: sig, Statement: text})
		if got := b.report().Approvals[0].Proof; got != want {
			t.Errorf("proof is %q, want %q", got, want)
		}
	}
}

// TestForgedVote lets the worker write a vote that nobody signed.
func TestForgedVote(t *testing.T) {
	for name, forge := range map[string]func(b *book, d *wire.DecisionBody){
		"by another's key":  func(b *book, d *wire.DecisionBody) { d.Who = "bob" },
		"for another plan":  func(b *book, d *wire.DecisionBody) { b.root = strings.Repeat("0", 64) },
		"of another kind":   func(_ *book, d *wire.DecisionBody) { d.Decision = "reject" },
		"with another text": func(_ *book, d *wire.DecisionBody) { d.Statement += "more\n" },
		"without signature": func(_ *book, d *wire.DecisionBody) { d.Raw = "" },
		"not at all":        nil,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(t, memory{})
			b.compiled, b.estate = failover(t, "orders")
			b.start(action.ModeLive, nil)
			b.plan("fence", b.planDoc("fence/storage.fence", "lake"))
			b.open("fence", "incident-commander", 2)
			sig, err := b.opened.Sign(key(t, "alice"))
			if err != nil {
				t.Fatal(err)
			}
			d := wire.DecisionBody{Gate: "fence", Decision: "approve", Who: "alice", Raw: sig, Statement: string(b.opened.Text())}
			if forge != nil {
				forge(b, &d)
			}
			b.entry(ledger.GateClosed, "fence", "", b.gate("fence", "incident-commander", 2))
			b.entry(ledger.GateOpened, "fence", "", b.gate("fence", "incident-commander", 2))
			b.entry(ledger.Decided, "fence", "", d)
			got := b.report().Approvals[0].Proof
			if (got == "signature verified") != (forge == nil) {
				t.Errorf("proof is %q", got)
			}
		})
	}
}
