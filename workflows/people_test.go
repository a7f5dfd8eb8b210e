package workflows_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/ledger"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
	"breakwater/workflows"

	"go.temporal.io/sdk/client"
)

// atGate approves gates until the one of that id is open.
func (b *bench) atGate(r client.WorkflowRun, id string) wire.Status {
	b.t.Helper()
	last := ""
	for {
		s := b.until(r, "gate "+id, func(s wire.Status) bool {
			return s.State == wire.StateEnded || s.Ask != nil || s.Gate != nil && fmt.Sprint(s.Gate.ID, s.Gate.Attempt) != last
		})
		if s.Gate == nil {
			b.t.Fatalf("no gate %s: the run is %s: %s %+v", id, s.State, s.Doing, s.Ask)
		}
		if s.Gate.ID == id {
			return s
		}
		last = fmt.Sprint(s.Gate.ID, s.Gate.Attempt)
		b.approve(r, s)
	}
}

// sees makes what a check or a Verify sees of an item what is given, or well again.
func (m *model) sees(key string, o *action.Observation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if delete(m.unproven, key); o != nil {
		m.unproven[key] = *o
	}
}

// A look that turns red between the plan that people saw and the plan at quorum is asked
// about, and is never owed.
func TestALookThatTurnsRedAtQuorumAsks(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]action.Observation{
		"wrong":   {What: "the standby's identities", Want: "there", Got: "gone", Verdict: verdict.Fail, Obligation: "look again"},
		"unknown": {What: "the standby's identities", Want: "there", Got: "time-out", Verdict: verdict.Unknown, Cause: action.CauseOther, Obligation: "look again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, shipped(t))
			r := b.start("RegionalFailover", inputs)
			s := b.atGate(r, "declare")
			b.model.sees("estate.preflight/lab", &o)
			b.approve(r, s)
			s = b.until(r, "a question", func(s wire.Status) bool { return s.Ask != nil || s.Current > 0 })
			if s.Ask == nil || !strings.Contains(s.Ask.Question, "approved, and planned again") || len(s.Obligations) > 0 {
				t.Fatalf("the run goes on: %s, %+v", s.Doing, s.Obligations)
			}
			b.model.sees("estate.preflight/lab", nil)
			if a := b.decide(r, retry(s)); !a.Counted {
				t.Fatal(a.Outcome)
			}
			if res, err := b.carry(r, nil); err != nil || len(res.Obligations) > 0 {
				t.Errorf("the run ended with %+v, %v", res, err)
			}
		})
	}
}

// walls is a runbook with a step that cannot be taken back between two that can, and a
// point of no return after them.
func walls(t *testing.T) []*runbook.Runbook {
	t.Helper()
	rb, mistakes := load.File([]byte(`runbook: Walls
summary: Steps of which one cannot be taken back.
owner: data-platform
stages:
  - stage: Fence
    approval: {role: incident-commander}
    steps:
      - {step: Deny writes, do: storage.fence, each: bucket}
  - stage: Expire
    approval: {role: incident-commander}
    steps:
      - {step: Remove what is old, do: backup.expire, each: group}
  - stage: Close
    approval: {role: incident-commander}
    steps:
      - {step: Close the intake, do: storage.stop-replication, each: bucket}
  - stage: Let go
    approval: {role: incident-commander}
    point-of-no-return: true
    steps:
      - {step: Pause, do: pipelines.pause}
      - {step: Resume, do: pipelines.unpause}
`), "walls.yaml")
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	return []*runbook.Runbook{rb}
}

// Undo goes back as far as there is a way back: it stops before a step that cannot be
// taken back, lifts no fence beneath it, and is not offered where nothing is left to take
// back, or past the point of no return. Then the way is named.
func TestUndoStopsAtWhatStays(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		red, action string
		undo        bool
		says        string
	}{
		"after a step that stays": {"backup.expire/orders", "backup.expire", false, "cannot be taken back, and what came before it stays with it"},
		"above it":                {"storage.stop-replication/lake", "storage.stop-replication", true, ""},
		"past the point":          {"pipelines.unpause/lab", "pipelines.unpause", false, "past the point of no return"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, walls(t))
			b.model.sees(tc.red, &action.Observation{What: tc.red, Want: "done", Got: "not", Verdict: verdict.Fail})
			b.model.break_(func(_, _ string, p wire.Phase) error {
				if p == wire.UndoVerifyPhase {
					b.model.sees(tc.red, nil)
				}
				return nil
			})
			r := b.start("Walls", `{"estate":"lab","mode":"live","incident":"INC-1"}`)
			s := b.toQuestion(r)
			if s.Ask == nil || slices.Contains(s.Ask.Choices, "undo") != tc.undo {
				t.Fatalf("the run asks %+v", s.Ask)
			}
			a := b.decide(r, b.signed(s, approval.Decision{Gate: s.Ask.ID, Verb: approval.TakeBack, By: member(s)}))
			if a.Counted != tc.undo {
				t.Fatalf("undo: %+v", a)
			}
			want := wire.ErrTypeUndone
			if !tc.undo {
				if want = wire.ErrTypeAborted; !strings.Contains(a.Outcome, tc.says) || !strings.Contains(a.Outcome, "failback") || !strings.Contains(strings.Join(s.Ask.NotOffered, " "), tc.says) {
					t.Errorf("the refusal says %q, the question %q", a.Outcome, s.Ask.NotOffered)
				}
				b.decide(r, approval.Decision{Verb: approval.Abort, By: "ana"})
			}
			_, err := b.carry(r, nil)
			endedAs(t, err, want)
			b.model.mu.Lock()
			defer b.model.mu.Unlock()
			if b.model.state["storage.fence/lake"] == "" {
				t.Error("the fence was lifted under what stays")
			}
		})
	}
}

// Undo at a plan that failed, and at one that failed when it was planned again, takes
// back; a plan of taking back that fails asks, and offers no undo of itself.
func TestUndoDoesWhatItSays(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"at a failed plan", "at a failed plan-again", "at a gate", "at a failed undo plan"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, shipped(t))
			plans, undoPlans := 0, 0
			b.model.break_(func(a, _ string, p wire.Phase) error {
				b.model.mu.Lock()
				defer b.model.mu.Unlock()
				switch {
				case a == "table.promote" && p == wire.PlanPhase:
					if plans++; when == "at a failed plan" || when == "at a failed plan-again" && plans > 2 { // two tables
						return fmt.Errorf("%w: no", action.ErrRefused)
					}
				case a == "storage.stop-replication" && p == wire.UndoPlanPhase:
					if undoPlans++; when == "at a failed undo plan" && undoPlans == 1 {
						return fmt.Errorf("%w: no", action.ErrRefused)
					}
				}
				return nil
			})
			r := b.start("RegionalFailover", inputs)
			undone := false
			if when == "at a gate" || when == "at a failed undo plan" {
				s := b.atGate(r, "restore-meaning@tier-1")
				if a := b.decide(r, b.signed(s, approval.Decision{Gate: s.Gate.ID, Verb: approval.TakeBack, By: member(s)})); !a.Counted {
					t.Fatal(a.Outcome)
				}
				undone = true
			}
			_, err := b.carry(r, func(s wire.Status) approval.Decision {
				if undone {
					if slices.Contains(s.Ask.Choices, "undo") || !strings.Contains(s.Ask.Question, "Taking back could not be planned") {
						t.Errorf("the run asks %+v", s.Ask)
					}
					return retry(s)
				}
				undone = true
				return approval.Decision{Verb: approval.TakeBack}
			})
			endedAs(t, err, wire.ErrTypeUndone)
			if b.model.state["storage.fence/lake"] != "" {
				t.Error("the fence is still there")
			}
		})
	}
}

// The world that moved after the approval is planned again on retry, and the difference
// is put to the gate: not the same plan for ever.
func TestARetryAfterTheWorldMovedPlansAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	b.model.break_(func(a, _ string, p wire.Phase) error {
		b.model.mu.Lock()
		defer b.model.mu.Unlock()
		if a == "storage.fence" && p == wire.ApplyPhase && b.model.planText["storage.fence/lake"] == "" {
			return fmt.Errorf("%w: another writer came", action.ErrMoved)
		}
		return nil
	})
	r := b.start("RegionalFailover", inputs)
	s := b.toQuestion(r)
	if s.Ask == nil || !says(s.Ask.Findings, "another writer came") {
		t.Fatalf("the run asks %+v", s.Ask)
	}
	b.model.mu.Lock()
	b.model.planText["storage.fence/lake"] = " and one more writer"
	b.model.mu.Unlock()
	b.decide(r, retry(s))
	s = b.until(r, "the gate again", func(s wire.Status) bool { return s.Gate != nil || s.Ask != nil || s.State == wire.StateEnded })
	if s.Gate == nil || s.Gate.ID != "fence" || s.Gate.Attempt < 3 || len(s.Gate.Changed) != 1 || len(s.Gate.Plan) != 1 {
		t.Fatalf("after the retry: gate %+v, question %+v", s.Gate, s.Ask)
	}
	asked := 0
	res, err := b.carry(r, func(s wire.Status) approval.Decision { asked++; return retry(s) })
	if err != nil || asked > 0 {
		t.Errorf("asked %d times, ended with %+v, %v", asked, res, err)
	}
}

// Nothing that adds authority counts without a name and a signature in live mode, and the
// refusal says what would.
func TestNamelessAnswersDoNotCount(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	b.model.sees("storage.stop-replication/lake", &action.Observation{What: "x", Want: "y", Got: "z", Verdict: verdict.Fail})
	r := b.start("RegionalFailover", inputs)
	s := b.toQuestion(r)
	for _, d := range []approval.Decision{
		{Verb: approval.TakeBack}, {Verb: approval.TakeBack, By: member(s)}, {Verb: approval.Waive, Items: s.Ask.Items, Reason: "so", By: member(s)},
		{Verb: approval.Resume, By: member(s)}, {Verb: approval.Retry, Owner: "mallory"}, b.signed(s, approval.Decision{Verb: approval.TakeBack, By: "fay"}),
	} {
		if a := b.decide(r, d); a.Counted || d.Verb != approval.Resume && !strings.Contains(a.Outcome, "breakwater decide "+r.GetID()+" "+string(d.Verb)) {
			t.Errorf("%+v: %+v", d, a)
		}
	}
	b.model.sees("storage.stop-replication/lake", nil)
	b.decide(r, retry(s))
	for done := false; !done; {
		s = b.until(r, "the manual step", func(s wire.Status) bool { return s.Gate != nil || s.Ask != nil })
		if s.Gate != nil {
			id := fmt.Sprint(s.Gate.ID, s.Gate.Attempt)
			b.approve(r, s)
			b.until(r, "what follows", func(s wire.Status) bool { return s.Gate == nil || fmt.Sprint(s.Gate.ID, s.Gate.Attempt) != id })
			continue
		}
		done = true
	}
	for _, d := range []approval.Decision{{Verb: approval.Done}, {Verb: approval.Done, By: member(s), Owner: "emil", Due: "2099-01-01"}} {
		if a := b.decide(r, d); a.Counted || !strings.Contains(a.Outcome, "breakwater decide "+r.GetID()+" done --key FILE") {
			t.Errorf("%+v: %+v", d, a)
		}
	}
	if res, err := b.carry(r, nil); err != nil || res.Verdict != verdict.Pass {
		t.Errorf("the run ended with %+v, %v", res, err)
	}
}

// A waive takes two people and a reason for each item, and the run is no plain pass then.
func TestAWaiveIsShownAsOne(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	b.model.sees("table.promote/orders", &action.Observation{What: "x", Want: "y", Got: "z", Verdict: verdict.Fail})
	r := b.start("RegionalFailover", inputs)
	s := b.toQuestion(r)
	if s.Ask == nil || len(s.Ask.Items) != 1 || !strings.HasSuffix(s.Ask.Items[0], "table.promote/orders") {
		t.Fatalf("the run asks %+v", s.Ask)
	}
	for i, who := range []string{"ana", "ana", "ben"} {
		d := approval.Decision{Verb: approval.Waive, By: who, Items: s.Ask.Items, Reason: "rebuilt from the events"}
		if a := b.decide(r, b.signed(s, d)); a.Counted != (i != 1) {
			t.Fatalf("%d: %+v", i, a)
		}
	}
	res, err := b.carry(r, nil)
	if err != nil || res.Waived != 1 || !strings.HasPrefix(res.Summary, "pass, 1 waived: ") || len(res.Obligations) > 0 {
		t.Fatalf("the run ended with %+v, %v", res, err)
	}
	if s, err = b.status(r); err != nil || stepOf(s, "table.promote").State != "waived" || len(s.Waived) != 1 || !slices.Equal(s.Waived[0].By, []string{"ana", "ben"}) {
		t.Errorf("the status says %+v, %v", s.Waived, err)
	}
	if d := workflows.Details(s, nil); !strings.Contains(d, "Waived, and not proven") || !strings.Contains(d, "rebuilt from the events") {
		t.Errorf("the details do not show it: %s", d)
	}
	waives := 0
	for _, d := range bodies[wire.DecisionBody](b, s, ledger.Decided) {
		if d.Decision == "waive" && d.Statement != "" && len(d.Items) == 1 {
			waives++
		}
	}
	if waives != 2 {
		t.Errorf("the ledger has %d waives, want 2 with their statements", waives)
	}
}

// Verify looks again at what was done by hand, and does nothing.
func TestDoneByHandIsLookedAt(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	b.model.sees("storage.fence/lake", &action.Observation{What: "x", Want: "y", Got: "z", Verdict: verdict.Fail})
	r := b.start("RegionalFailover", inputs)
	s := b.toQuestion(r)
	b.model.sees("storage.fence/lake", nil)
	before := b.model.applies["storage.fence/lake"]
	b.decide(r, approval.Decision{Verb: approval.LookAgain, By: "ana"})
	if res, err := b.carry(r, nil); err != nil || res.Verdict != verdict.Pass {
		t.Fatalf("the run ended with %+v, %v", res, err)
	}
	if n := b.model.applies["storage.fence/lake"]; n != before {
		t.Errorf("it was applied %d times more", n-before)
	}
	_ = s
}

// A pause begins nothing more, whatever people approve, and a member lets it go on.
// An abort ends it also then.
func TestPause(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"resume", "abort"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, shipped(t))
			r := b.start("RegionalFailover", inputs)
			s := b.atGate(r, "fence")
			if a := b.decide(r, approval.Decision{Verb: approval.Pause, By: "zoe", Reason: "wait for the vendor"}); !a.Counted || !strings.Contains(a.Outcome, "resume --key FILE") {
				t.Fatalf("pause: %+v", a)
			}
			b.decide(r, approval.Decision{Verb: approval.Note, By: "zoe", Reason: "the vendor looks at it"})
			b.approve(r, s)
			s = b.until(r, "the pause", func(s wire.Status) bool { return s.Paused != nil && s.Gate == nil })
			if !strings.Contains(workflows.Details(s, nil), "PAUSED") || len(b.model.applies) > 0 {
				t.Errorf("paused, and applied %v:\n%s", b.model.applies, workflows.Details(s, nil))
			}
			if end == "abort" {
				b.decide(r, approval.Decision{Verb: approval.Abort, By: "ana", Reason: "enough"})
				endedAs(t, r.Get(t.Context(), nil), wire.ErrTypeAborted)
				return
			}
			open := s
			open.Open = s.Paused.Open
			d := b.signed(open, approval.Decision{Gate: s.Paused.ID, Verb: approval.Resume, By: member(open)})
			if a := b.decide(r, approval.Decision{Verb: approval.Resume, By: member(open)}); a.Counted {
				t.Error("an unsigned resume counts")
			}
			if a := b.decide(r, d); !a.Counted {
				t.Fatal(a.Outcome)
			}
			if res, err := b.carry(r, nil); err != nil || res.Verdict != verdict.Pass {
				t.Errorf("the run ended with %+v, %v", res, err)
			}
			if s, err := b.status(r); err != nil || !slices.ContainsFunc(bodies[wire.NoteBody](b, s, ledger.Note), func(n wire.NoteBody) bool { return n.By == "zoe" }) {
				t.Errorf("nobody wrote the note down: %v", err)
			}
		})
	}
}

// A flood of junk under an open gate is refused and counted, costs a few entries, and no
// good decision among it is lost.
func TestAFloodOfJunk(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	r := b.start("RegionalFailover", inputs)
	s := b.atGate(r, "declare")
	const junk = 1500
	good, err := json.Marshal(b.sign(s, approval.Approve, "ana", r))
	if err != nil {
		t.Fatal(err)
	}
	for i := range junk {
		var what any = "aprove!"
		switch i {
		case 700:
			what = map[string]string{"decision": "approve", "reason": strings.Repeat("x", 1_700_000)}
		case 900:
			what = json.RawMessage(good)
		}
		if err := b.client.SignalWorkflow(t.Context(), r.GetID(), "", wire.SignalApprove, what); err != nil {
			t.Fatal(err)
		}
	}
	s = b.until(r, "the good one among them", func(s wire.Status) bool { return s.Gate != nil && len(s.Gate.Approved) == 1 && s.Refused >= junk-65 })
	if d := workflows.Details(s, s.Open); !strings.Contains(d, "more were refused") {
		t.Errorf("the details do not count them: %s", d)
	}
	if a := b.decide(r, b.sign(s, approval.Reject, "ben", r)); !a.Counted {
		t.Fatal(a.Outcome)
	}
	endedAs(t, r.Get(t.Context(), nil), wire.ErrTypeRejected)
	entries, said, more := bodies[wire.DecisionBody](b, s, ledger.Refused), 0, 0
	for _, e := range entries {
		if e.More == 0 {
			said += 1 + len(e.Also)
		}
		more += e.More
		if raw, err := json.Marshal(e); err != nil || len(raw) > 64<<10 {
			t.Errorf("an entry of %d bytes, %v", len(raw), err)
		}
	}
	if len(entries) > 65 || said+more != junk-1 {
		t.Errorf("%d entries tell of %d and count %d more; want %d in all", len(entries), said, more, junk-1)
	}
}
