package workflows_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/ledger/store"
	"breakwater/internal/runbook/runbooktest"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

// definitions are the actions whose shapes the model takes over.
func definitions(t testing.TB) []*action.Definition {
	t.Helper()
	all := runbooktest.Catalogue().All()
	for _, d := range all {
		if d.Name == queried {
			d.Runs = action.OnQueries
		}
	}
	return all
}

// endedAs asks that err is a run's end of the given type.
func endedAs(t *testing.T, err error, kind string) {
	t.Helper()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != kind {
		t.Errorf("the run ended with %v, want an error of type %s", err, kind)
	}
	if temporal.IsCanceledError(err) {
		t.Errorf("the run's error says that it was merely cancelled: %v", err)
	}
}

func retry(wire.Status) approval.Decision { return approval.Decision{Verb: approval.Retry, By: "ana"} }

func TestLiveRunPasses(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	r := b.start("RegionalFailover", liveInput)
	res, err := b.carry(r, nil)
	if err != nil || res.Verdict != verdict.Pass || res.Exercised+res.Nothing != res.Steps || res.Proven != res.Exercised {
		t.Fatalf("the run ended with %+v, %v", res, err)
	}
	s, err := b.status(r)
	if err != nil {
		t.Fatal(err)
	}
	if ev := b.evidence(s); ev.Fault != nil || !ev.Ended {
		t.Errorf("evidence: %+v", ev)
	}
	if len(b.model.effects) == 0 {
		t.Error("nothing was done")
	}
	for key, n := range b.model.effects {
		if n != 1 {
			t.Errorf("%s changed %d times", key, n)
		}
	}
	if len(res.Milestones) != 4 {
		t.Errorf("milestones %+v, want reads and writes of two tiers", res.Milestones)
	}
	state, err := store.NewLock(b.ledger, "lab").State(t.Context())
	if err != nil || state.Holder != nil || state.Epoch != 1 {
		t.Errorf("the lock after the run: %+v, %v", state, err)
	}
}

func TestPlanModeChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	r := b.start("RegionalFailover", `{"estate":"lab","source":"us-east-1","target":"us-west-2"}`)
	res, err := b.carry(r, nil)
	if err != nil || res.Verdict != verdict.Pass || res.Mode != action.ModePlan {
		t.Fatalf("the run ended with %+v, %v", res, err)
	}
	for key := range b.model.effects {
		if !strings.Contains(key, "recovery-point") {
			t.Errorf("plan mode changed %s", key)
		}
	}
	if len(b.model.effects) == 0 {
		t.Error("plan mode wrote no recovery point, so nothing after it was really planned")
	}
}

func TestPlanModeReportsWhatCannotBePlanned(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	b.model.break_(func(a, _ string, p wire.Phase) error {
		if a == "group.recovery-point" && p == wire.PlanPhase {
			return fmt.Errorf("%w: the mirror stands nowhere", action.ErrRefused)
		}
		return nil
	})
	r := b.start("RegionalFailover", `{"estate":"lab","source":"us-east-1","target":"us-west-2"}`)
	_, err := b.carry(r, nil)
	endedAs(t, err, wire.ErrTypeNotProven)
	if err == nil || !strings.Contains(err.Error(), "the mirror stands nowhere") {
		t.Errorf("the run ended with %v, want the planner's own words", err)
	}
	for key := range b.model.applies {
		if strings.HasPrefix(key, "group.recovery-point") {
			t.Errorf("%s was applied without a plan", key)
		}
	}
}

func TestBadInputTouchesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	for name, tc := range map[string]struct{ input, want string }{
		"not an object":    {`"lab"`, "flat JSON object"},
		"unknown estate":   {`{"estate":"lob","source":"us-east-1","target":"us-west-2"}`, `no estate "lob"`},
		"unknown region":   {`{"estate":"lab","source":"us-est-1","target":"us-west-2"}`, `did you mean "us-east-1"`},
		"same region":      {`{"estate":"lab","source":"us-east-1","target":"us-east-1"}`, "take over from itself"},
		"wrong role":       {`{"estate":"lab","source":"us-west-2","target":"us-east-1"}`, "standby, not its primary"},
		"unknown input":    {`{"estate":"lab","source":"us-east-1","target":"us-west-2","mod":"live"}`, `did you mean "mode"`},
		"unknown mode":     {`{"estate":"lab","source":"us-east-1","target":"us-west-2","mode":"real"}`, "plan, drill, live"},
		"live, no reason":  {`{"estate":"lab","source":"us-east-1","target":"us-west-2","mode":"live"}`, "incident id"},
		"missing target":   {`{"estate":"lab","source":"us-east-1"}`, "target is missing"},
		"several mistakes": {`{"estate":"lab","source":1,"groups":["x"]}`, `group "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := b.start("RegionalFailover", tc.input)
			err := r.Get(t.Context(), nil)
			endedAs(t, err, wire.ErrTypeBadInput)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want it to say %q", err, tc.want)
			}
		})
	}
	if len(b.model.applies) > 0 {
		t.Errorf("bad input applied %v", b.model.applies)
	}
}

func TestMissingCredentialsAreSaidAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	b.host.Estates = estates{e: b.estate, broken: fmt.Errorf("file:ledger.json for the ledger of estate lab: %w", fs.ErrNotExist)}
	err := b.start("RegionalFailover", liveInput).Get(t.Context(), nil)
	endedAs(t, err, wire.ErrTypeBadInput)
	if err == nil || !strings.Contains(err.Error(), "file:ledger.json") {
		t.Errorf("error %v does not name what is missing", err)
	}
}

// A drill runs what is declared for drills and nothing else: no step of this
// release has a sandbox yet, so nothing is changed and the rest is reported.
func TestDrillAppliesNothingUndeclared(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	for _, d := range b.host.Catalogue.All() {
		if d.IsCheck() {
			d.Drill = action.DrillReadOnly
		}
	}
	r := b.start("RegionalFailover", `{"estate":"lab","mode":"drill","source":"us-east-1","target":"us-west-2"}`)
	res, err := b.carry(r, nil)
	if err != nil || res.Exercised == 0 || res.Exercised == res.Steps {
		t.Errorf("the drill ended with %+v, %v; want a part of the runbook exercised", res, err)
	}
	if len(b.model.applies) > 0 {
		t.Errorf("the drill applied %v", b.model.applies)
	}
}

func TestSecondLiveRunIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	first := b.start("RegionalFailover", liveInput)
	b.until(first, "its first gate", func(s wire.Status) bool { return s.Gate != nil })
	second := b.start("RegionalFailover", liveInput)
	err := second.Get(t.Context(), nil)
	endedAs(t, err, wire.ErrTypeHeld)
	if err == nil || !strings.Contains(err.Error(), first.GetID()) {
		t.Errorf("the refusal does not name the run that holds the estate: %v", err)
	}
	if err := b.client.SignalWorkflow(t.Context(), first.GetID(), "", wire.SignalAbort, map[string]string{"by": "ana", "reason": "false alarm"}); err != nil {
		t.Fatal(err)
	}
	endedAs(t, first.Get(t.Context(), nil), wire.ErrTypeAborted)
	third := b.start("RegionalFailover", liveInput) // the lock was given back
	b.until(third, "its first gate", func(s wire.Status) bool { return s.Gate != nil })
}

func TestLiveFromAScheduleIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	id := "schedule-" + b.queue
	h, err := b.client.ScheduleClient().Create(t.Context(), client.ScheduleOptions{
		ID: id, Paused: true, Action: &client.ScheduleWorkflowAction{
			ID: id, Workflow: "RegionalFailover", TaskQueue: b.queue,
			Args: []any{map[string]string{"estate": "lab", "mode": "live", "incident": "INC-1", "source": "us-east-1", "target": "us-west-2"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Trigger(t.Context(), client.ScheduleTriggerOptions{}); err != nil {
		t.Fatal(err)
	}
	var started string
	for started == "" {
		d, err := h.Describe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range d.Info.RecentActions {
			started = a.StartWorkflowResult.WorkflowID
		}
	}
	err = b.client.GetWorkflow(t.Context(), started, "").Get(t.Context(), nil)
	endedAs(t, err, wire.ErrTypeBadInput)
	if err == nil || !strings.Contains(err.Error(), "Schedule") {
		t.Errorf("the refusal does not say why: %v", err)
	}
}

func TestDecisionsThatDoNotCount(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	r := b.start("RegionalFailover", liveInput)
	s := b.until(r, "its first gate", func(s wire.Status) bool { return s.Gate != nil })
	good := b.sign(s, approval.Approve, "ana", r)
	stale, otherPlan, stranger, claimed := good, good, b.sign(s, approval.Approve, "fay", r), good
	stale.Attempt++
	otherPlan.Plan = strings.Repeat("0", 64)
	stranger.By = ""
	claimed.Signature = ""
	for name, d := range map[string]approval.Decision{
		"of another attempt": stale, "of another plan": otherPlan, "by a stranger": stranger, "without signature": claimed,
		"an answer to no question": {Verb: approval.Retry},
	} {
		if a := b.decide(r, d); a.Counted {
			t.Errorf("a decision %s counted: %s", name, a.Outcome)
		}
	}
	// What does not decode arrives as a signal: it must be shown, not dropped.
	for _, raw := range []any{"aprove!", 7, nil, []string{"a", "b"}} {
		if err := b.client.SignalWorkflow(t.Context(), r.GetID(), "", wire.SignalApprove, raw); err != nil {
			t.Fatal(err)
		}
	}
	s = b.until(r, "refusals shown", func(s wire.Status) bool { return len(s.Refusals) == 5 })
	if s.Gate == nil || len(s.Gate.Approved) > 0 {
		t.Errorf("the gate after refusals: %+v", s.Gate)
	}
	for range 2 { // the same person twice is one person
		b.decide(r, good)
	}
	if s, _ = b.status(r); s.Gate == nil || len(s.Gate.Approved) != 1 {
		t.Errorf("after the same approval twice: %+v", s.Gate)
	}
	if err := b.client.SignalWorkflow(t.Context(), r.GetID(), "", wire.SignalReject, b.sign(s, approval.Reject, "ben", r)); err != nil {
		t.Fatal(err)
	}
	endedAs(t, r.Get(t.Context(), nil), wire.ErrTypeRejected)
	if len(b.model.applies) > 0 {
		t.Errorf("a rejected run applied %v", b.model.applies)
	}
	s, _ = b.status(r)
	if ev := b.evidence(s); ev.Fault != nil {
		t.Errorf("evidence: %+v", ev)
	}
}

func TestPlanThatChangedReopensTheGate(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	r := b.start("RegionalFailover", inputs)
	b.approve(r, b.until(r, "declare", func(s wire.Status) bool { return s.Gate != nil }))
	s := b.until(r, "fence", func(s wire.Status) bool { return s.Gate != nil && s.Gate.ID == "fence" })
	b.model.mu.Lock()
	b.model.planText["storage.fence/lake"] = " and one more writer"
	b.model.mu.Unlock()
	b.approve(r, s)
	again := b.until(r, "the gate's second attempt", func(s wire.Status) bool { return s.Gate != nil && s.Gate.ID == "fence" && s.Gate.Attempt > 1 })
	if again.Gate.Root == s.Gate.Root || len(again.Gate.Changed) != 1 || !strings.Contains(again.Gate.Changed[0], "lake") {
		t.Errorf("the reopened gate: root %s, changed %v", again.Gate.Root, again.Gate.Changed)
	}
	if n := b.model.applies["storage.fence/lake"]; n > 0 {
		t.Error("a plan was applied that nobody approved")
	}
	if a := b.decide(r, b.sign(s, approval.Approve, "ana", r)); a.Counted {
		t.Error("an approval of the first plan opened the second")
	}
	if res, err := b.carry(r, nil); err != nil || res.Verdict != verdict.Pass {
		t.Errorf("the run ended with %+v, %v", res, err)
	}
}

// sourceGone makes the checks and fences see an unreachable source.
func sourceGone(m *model, what ...string) {
	for _, key := range what {
		m.unproven[key] = action.Observation{
			What: key, Want: "an answer", Got: "connection refused", Verdict: verdict.Unknown,
			Cause: action.CauseSourceUnreachable, Obligation: "prove " + key + " when us-east-1 returns",
		}
	}
}

func TestUnreachableSourceBecomesObligations(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	sourceGone(b.model, "region.probe/lab", "storage.fence/lake")
	r := b.start("RegionalFailover", liveInput)
	s := b.until(r, "declare", func(s wire.Status) bool { return s.Gate != nil })
	if len(s.Gate.Accepts) != 1 || s.Gate.Accepts[0].ID != action.AcceptSourceUnreachable {
		t.Fatalf("the gate does not say what approving accepts: %+v", s.Gate.Accepts)
	}
	res, err := b.carry(r, nil)
	if err != nil || res.Verdict != verdict.Pass || len(res.Obligations) != 2 || !strings.HasSuffix(res.Summary, " steps proven, 1 had nothing to do, 2 obligations open") {
		t.Fatalf("the run ended with %+v, %v", res, err)
	}
	for _, o := range res.Obligations {
		if o.Owner != "emil" || o.Due == "" {
			t.Errorf("obligation %+v was not handed over", o)
		}
	}
}

// TestDeadIsAcceptedByItself: that the source is dead bounds losses, and counts only
// once the gate has accepted it.
func TestDeadIsAcceptedByItself(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	sourceGone(b.model, "region.probe/lab", "storage.fence/lake")
	r := b.start("RegionalFailover", strings.Replace(inputs, `"mode"`, `"source_dead_since":"2026-11-21T03:04:05Z","mode"`, 1))
	s := b.until(r, "declare", func(s wire.Status) bool { return s.Gate != nil })
	if len(s.Gate.Accepts) != 2 || s.Gate.Accepts[1].ID != action.AcceptSourceDead || s.Run.SourceDead || s.Run.SourceDeadSince == nil {
		t.Fatalf("the gate accepts %+v, and the run says %+v", s.Gate.Accepts, s.Run)
	}
	accepted := false
	res, err := b.carry(r, func(s wire.Status) approval.Decision {
		accepted = accepted || s.Run.SourceDead && s.Run.SourceUnreachable
		return approval.Decision{}
	})
	if err != nil || res.Verdict != verdict.Pass {
		t.Fatalf("the run ended with %+v, %v", res, err)
	}
	if s := b.until(r, "the end", func(wire.Status) bool { return true }); !accepted && !s.Run.SourceDead {
		t.Errorf("nobody's word counts: %+v", s.Run)
	}
}

// TestATableIsLeftOut: a table that does not come back here is accepted at a gate, and
// carried as obligations from then on: at the first gate where a check names it, else at
// that of its promotion. Where no gate accepted it, people are asked.
func TestATableIsLeftOut(t *testing.T) {
	t.Parallel()
	const why = "its commits are decided by a catalog; recover it through that one"
	for name, tc := range map[string]struct {
		seen   []string // actions that name it
		offers bool     // the plan of its promotion asks to accept it
		gate   string   // whose plan shows it first
		asked  bool
		owed   int
	}{
		"named before anything is done":  {[]string{"estate.preflight/lab", "table.promote/orders", "table.history/orders", "access.golden-queries/orders"}, true, "declare", false, 4},
		"found by the recovery point":    {[]string{"table.promote/orders", "table.history/orders", "access.golden-queries/orders"}, true, "restore-meaning@tier-1", false, 3},
		"and the source does not answer": {[]string{"region.probe/lab", "storage.fence/lake", "estate.preflight/lab", "table.promote/orders"}, true, "declare", false, 4},
		"accepted by nobody":             {[]string{"table.history/orders"}, false, "", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, shipped(t))
			for _, key := range tc.seen {
				if strings.HasPrefix(key, "region.") || strings.HasPrefix(key, "storage.") {
					sourceGone(b.model, key)
				} else {
					b.model.unproven[key] = action.NotHere("orders", "it is back", "a version", why, "recover it, says "+key)
				}
			}
			if tc.offers {
				b.model.accepts["table.promote/orders"] = action.LeftOut("orders", why)
			}
			r := b.start("RegionalFailover", inputs)
			asked, shown := 0, ""
			for s := b.until(r, "declare", func(s wire.Status) bool { return s.Gate != nil }); tc.gate != "" && shown == ""; {
				if slices.ContainsFunc(s.Gate.Accepts, func(a action.Acceptance) bool {
					return a.ID == "left-out orders" && strings.Contains(a.Sentence, why)
				}) {
					shown = s.Gate.ID
					break
				}
				was := s.Gate.ID
				b.approve(r, s)
				s = b.until(r, "the next gate", func(s wire.Status) bool { return s.Gate != nil && s.Gate.ID != was })
			}
			if shown != tc.gate {
				t.Errorf("it is first shown at gate %q, want %q", shown, tc.gate)
			}
			res, err := b.carry(r, func(s wire.Status) approval.Decision {
				asked++
				b.model.mu.Lock()
				clear(b.model.unproven)
				b.model.mu.Unlock()
				return retry(s)
			})
			if err != nil || res.Verdict != verdict.Pass || len(res.Obligations) != tc.owed || (asked > 0) != tc.asked {
				t.Errorf("asked %d times, ended with %+v, %v", asked, res, err)
			}
		})
	}
}

func TestUnknownOfAnotherCauseAsks(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	sourceGone(b.model, "region.probe/lab")
	b.model.unproven["storage.fence/lake"] = action.Observation{What: "fence", Verdict: verdict.Unknown, Cause: action.CauseOther, Want: "denied", Got: "time-out"}
	r := b.start("RegionalFailover", inputs)
	asked := 0
	res, err := b.carry(r, func(s wire.Status) approval.Decision {
		asked++
		b.model.mu.Lock()
		delete(b.model.unproven, "storage.fence/lake")
		b.model.mu.Unlock()
		return retry(s)
	})
	if err != nil || asked != 1 || len(res.Obligations) != 1 {
		t.Errorf("asked %d times, ended with %+v, %v", asked, res, err)
	}
}

func TestCancelledRunStopsAndSaysSo(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	r := b.start("RegionalFailover", liveInput)
	b.until(r, "declare", func(s wire.Status) bool { return s.Gate != nil })
	if err := b.client.CancelWorkflow(t.Context(), r.GetID(), ""); err != nil {
		t.Fatal(err)
	}
	endedAs(t, r.Get(t.Context(), nil), wire.ErrTypeAborted)
	s, err := b.status(r)
	if err != nil {
		t.Fatal(err)
	}
	if ev := b.evidence(s); ev.Fault != nil || !ev.Ended {
		t.Errorf("evidence: %+v", ev)
	}
}

func TestManyItemsGoInBatches(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	g := &b.estate.Groups[0]
	for n := range 60 {
		t := g.Tables[0]
		t.Table = fmt.Sprintf("orders-%02d", n)
		g.Tables = append(g.Tables, t)
	}
	r := b.start("RegionalFailover", inputs)
	res, err := b.carry(r, nil)
	if err != nil || res.Verdict != verdict.Pass {
		t.Fatalf("the run ended with %+v, %v", res, err)
	}
	done := 0
	for key, n := range b.model.effects {
		if strings.HasPrefix(key, "table.promote/") {
			done += n
		}
	}
	if done != 62 {
		t.Errorf("%d tables were promoted, want 62 once each", done)
	}
	s, _ := b.status(r)
	if ev := b.evidence(s); ev.Fault != nil {
		t.Errorf("evidence: %+v", ev)
	}
}
