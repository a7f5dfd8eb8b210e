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
	"breakwater/internal/ledger/store"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
	"breakwater/workflows"
)

// steps are the run's steps of that title, with their stages.
func stepsOf(s wire.Status, title string) (all []wire.StepStatus) {
	for _, stage := range s.Stages {
		for _, st := range stage.Steps {
			if st.Title == title {
				all = append(all, st)
			}
		}
	}
	return all
}

// bodies reads the entries of a kind out of the run's ledger.
func bodies[T any](b *bench, s wire.Status, kind ledger.Kind) (all []T) {
	b.t.Helper()
	entries, _, err := store.Load(b.t.Context(), b.ledger, ledger.Run{Workflow: s.Run.Workflow, FirstRun: s.Run.FirstRun})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Kind != kind {
			continue
		}
		var body T
		if err := json.Unmarshal(e.Body, &body); err != nil {
			b.t.Fatal(err)
		}
		all = append(all, body)
	}
	return all
}

// TestNothingIsNotProven: in an estate without topics and without a vault, the steps
// about them have nothing to do, wherever that is told and in each mode.
func TestNothingIsNotProven(t *testing.T) {
	t.Parallel()
	const noVault = "the estate names no secret store in us-west-2"
	steps := map[string]string{
		"Where every topic's mirror stands":                          "no topic of the estate is in the scope of this step",
		"Secrets are readable at the standby":                        noVault,
		"Promote consumer groups, at or before what the tables hold": "no consumer-group of the estate is in the scope of this step",
	}
	for _, mode := range []string{"live", "plan", "drill"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, shipped(t))
			b.estate.Groups[0].Topics, b.estate.Groups[0].ConsumerGroups = nil, nil
			b.model.none["secrets.readable"] = noVault
			r := b.start("RegionalFailover", fmt.Sprintf(`{"estate":"lab","mode":%q,"incident":"INC-1","source":"us-east-1","target":"us-west-2"}`, mode))
			res, err := b.carry(r, nil)
			if err != nil || res.Verdict != verdict.Pass {
				t.Fatalf("the run ended with %+v, %v", res, err)
			}
			s, err := b.status(r)
			if err != nil {
				t.Fatal(err)
			}
			details := workflows.Details(s, nil)
			for title, why := range steps {
				all := stepsOf(s, title)
				if len(all) == 0 {
					t.Fatalf("the run has no step %q", title)
				}
				for _, st := range all {
					if st.State != wire.NothingToDo || st.Verdict != verdict.Nothing || !slices.Equal(st.None, []string{why}) {
						t.Errorf("%s is %q, %s: %q", title, st.State, st.Verdict, st.None)
					}
				}
				if said := strings.Join(s.Proven, "\n"); strings.Contains(said, title) {
					t.Errorf("%s is among what was proven:\n%s", title, said)
				}
				if !strings.Contains(details, title) || !strings.Contains(details, why) {
					t.Errorf("the details do not say that %s had nothing to do:\n%s", title, details)
				}
			}
			if res.Nothing != 4 || res.Exercised+res.Nothing > res.Steps {
				t.Errorf("counted: %+v", res)
			}
			want := map[string]string{
				"live":  fmt.Sprintf("pass: %d steps proven, 4 had nothing to do", res.Steps-4),
				"plan":  fmt.Sprintf("pass: %d steps planned, 4 would have nothing to do", res.Steps-4),
				"drill": fmt.Sprintf("pass: %d steps proven, 4 had nothing to do, %d not run in a drill", res.Proven, res.Steps-res.Exercised-4),
			}[mode]
			if res.Summary != want {
				t.Errorf("the run says %q, want %q", res.Summary, want)
			}
			if mode == "live" && res.Proven != res.Steps-4 {
				t.Errorf("%d of %d steps proven", res.Proven, res.Steps)
			}
			ended := bodies[wire.EndedBody](b, s, ledger.RunEnded)
			if len(ended) != 1 || ended[0].Nothing != 4 || ended[0].Summary != want {
				t.Errorf("the ledger ends with %+v", ended)
			}
			for _, o := range bodies[wire.ObservedBody](b, s, ledger.Observed) {
				if o.Verdict == verdict.Pass && o.Passed == 0 {
					t.Errorf("the ledger has a pass of nothing: %+v", o)
				}
			}
		})
	}
}

// TestNobodyWhoSawNothingPasses: a check without any observation asks, as unknown, in a
// stage that only looks and in one that acts, before a gate and without one.
func TestNobodyWhoSawNothingPasses(t *testing.T) {
	t.Parallel()
	for blind, book := range map[string]string{
		"region.probe": "RegionalFailover", "table.history": "RegionalFailover", "storage.fence": "RegionalFailover",
		"storage.late-replicas": "RegionalFailover", "storage.standby-ready": "Readiness",
	} {
		t.Run(blind, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, shipped(t))
			b.model.blind[blind] = true
			r := b.start(book, inputs)
			asked := 0
			res, err := b.carry(r, func(s wire.Status) approval.Decision {
				if asked++; !strings.Contains(s.Ask.Question, "unknown") || len(s.Ask.Findings) == 0 || !strings.Contains(s.Ask.Findings[0], "nothing follows") {
					t.Errorf("the run asks %q: %q", s.Ask.Question, s.Ask.Findings)
				}
				return approval.Decision{Verb: approval.Abort, By: "ana"}
			})
			if asked != 1 {
				t.Errorf("asked %d times", asked)
			}
			endedAs(t, err, wire.ErrTypeAborted)
			s, err := b.status(r)
			if err != nil || s.Verdict != verdict.Unknown {
				t.Errorf("the run ended %s, %v; result %+v", s.Verdict, err, res)
			}
		})
	}
}

// TestUnknownIsNotFailed: what could not be looked at is called unknown, in the step, in
// the question and in the run's end; what was seen to be wrong is called failed.
func TestUnknownIsNotFailed(t *testing.T) {
	t.Parallel()
	unseen := action.Observation{What: "fence", Want: "denied", Got: "time-out", Verdict: verdict.Unknown, Cause: action.CauseOther}
	wrong := action.Observation{What: "fence", Want: "denied", Got: "allowed", Verdict: verdict.Fail}
	refused := fmt.Errorf("%w: no", action.ErrRefused)
	silent := fmt.Errorf("time-out")
	for name, tc := range map[string]struct {
		key    string
		sees   action.Observation
		apply  error
		plan   error
		answer approval.Verb
		state  string
		says   string
		head   string
		want   verdict.Verdict
		kind   string
	}{
		"a step that nobody sees":       {key: "storage.fence/lake", sees: unseen, answer: approval.Abort, state: "unknown", says: "is unknown: it could not be looked at", head: "ENDED: UNKNOWN", want: verdict.Unknown, kind: wire.ErrTypeAborted},
		"one that is taken back":        {key: "storage.stop-replication/lake", sees: unseen, answer: "undo", state: "unknown", says: "is unknown", head: "ENDED: UNKNOWN", want: verdict.Unknown, kind: wire.ErrTypeUndone},
		"a step that is wrong":          {key: "storage.fence/lake", sees: wrong, answer: approval.Abort, state: "failed", says: "did not pass.", head: "ENDED: NOT PROVEN", want: verdict.Fail, kind: wire.ErrTypeAborted},
		"a step that is refused":        {key: "storage.fence/lake", apply: refused, answer: approval.Abort, state: "failed", says: "could not be done.", head: "ENDED: NOT PROVEN", want: verdict.Fail, kind: wire.ErrTypeAborted},
		"a step without an answer":      {key: "storage.fence/lake", apply: silent, answer: approval.Abort, state: "unknown", says: "may be done in part", head: "ENDED: UNKNOWN", want: verdict.Unknown, kind: wire.ErrTypeAborted},
		"a look that nobody sees":       {key: "region.probe/lab", sees: unseen, answer: approval.Abort, says: "is unknown: it could not be looked at", head: "ENDED: UNKNOWN", want: verdict.Unknown, kind: wire.ErrTypeAborted},
		"a look that is wrong":          {key: "region.probe/lab", sees: wrong, answer: approval.Abort, says: "did not pass.", head: "ENDED: NOT PROVEN", want: verdict.Fail, kind: wire.ErrTypeAborted},
		"a plan without an answer":      {key: "storage.fence/lake", plan: silent, answer: approval.Abort, says: "did not answer", head: "ENDED: UNKNOWN", want: verdict.Unknown, kind: wire.ErrTypeAborted},
		"a plan that is refused":        {key: "storage.fence/lake", plan: refused, answer: approval.Abort, says: "could not be planned.", head: "ENDED: NOT PROVEN", want: verdict.Fail, kind: wire.ErrTypeAborted},
		"an abort after it was retried": {key: "storage.fence/lake", sees: unseen, answer: approval.Retry, state: "unknown", says: "is unknown", head: "ENDED: NOT PROVEN", want: verdict.Fail, kind: wire.ErrTypeAborted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, shipped(t))
			act, item, _ := strings.Cut(tc.key, "/")
			if tc.apply == nil && tc.plan == nil {
				b.model.unproven[tc.key] = tc.sees
			}
			b.model.break_(func(a, i string, p wire.Phase) error {
				switch {
				case a != act || i != item:
				case p == wire.ApplyPhase:
					return tc.apply
				case p == wire.PlanPhase:
					return tc.plan
				}
				return nil
			})
			r := b.start("RegionalFailover", liveInput)
			_, err := b.carry(r, func(s wire.Status) approval.Decision {
				if !strings.Contains(s.Ask.Question, tc.says) {
					t.Errorf("the run asks %q, want %q in it", s.Ask.Question, tc.says)
				}
				for _, st := range s.Stages[s.Current].Steps {
					if st.Action == act && tc.state != "" && st.State != tc.state {
						t.Errorf("%s is %q, want %q", st.Title, st.State, tc.state)
					}
				}
				b.model.mu.Lock()
				delete(b.model.unproven, tc.key)
				b.model.mu.Unlock()
				if tc.answer == approval.Retry { // it passes then, and somebody stops the run at the next gate
					b.model.break_(func(a, _ string, p wire.Phase) error {
						if a == "group.recovery-point" && p == wire.PlanPhase {
							return refused
						}
						return nil
					})
					tc.says, tc.answer = "could not be planned", approval.Abort
					tc.state = ""
					return retry(s)
				}
				return approval.Decision{Verb: tc.answer, By: "ana"}
			})
			endedAs(t, err, tc.kind)
			s, err := b.status(r)
			if err != nil || s.Verdict != tc.want {
				t.Errorf("the run ended %s, %v, want %s", s.Verdict, err, tc.want)
			}
			if d := workflows.Details(s, nil); !strings.Contains(d, tc.head) {
				t.Errorf("the details begin with %.60q, want %q", d, tc.head)
			}
			if ended := bodies[wire.EndedBody](b, s, ledger.RunEnded); len(ended) != 1 || ended[0].Verdict != tc.want {
				t.Errorf("the ledger ends with %+v", ended)
			}
		})
	}
}

// TestPlanModeTellsUnknownFromFailed: a plan that nobody could look at all of has not
// failed.
func TestPlanModeTellsUnknownFromFailed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		got  verdict.Verdict
		plan error
		want verdict.Verdict
	}{
		"a look without an answer":                      {got: verdict.Unknown, want: verdict.Unknown},
		"a look that is wrong":                          {got: verdict.Fail, want: verdict.Fail},
		"a plan that is refused, beside an unknown one": {got: verdict.Unknown, plan: action.ErrRefused, want: verdict.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, shipped(t))
			o := action.Observation{What: "probe", Want: "an answer", Got: "what it was", Verdict: tc.got}
			if tc.got == verdict.Unknown {
				o.Cause = action.CauseOther
			}
			b.model.unproven["region.probe/lab"] = o
			b.model.break_(func(a, _ string, p wire.Phase) error {
				if a == "storage.fence" && p == wire.PlanPhase {
					return tc.plan
				}
				return nil
			})
			r := b.start("RegionalFailover", `{"estate":"lab","source":"us-east-1","target":"us-west-2"}`)
			_, err := b.carry(r, nil)
			endedAs(t, err, wire.ErrTypeNotProven)
			if s, err := b.status(r); err != nil || s.Verdict != tc.want {
				t.Errorf("the run ended %s, %v, want %s", s.Verdict, err, tc.want)
			}
		})
	}
}

// TestARunOfNothing: where no step has anything to do, the run says so, reaches no
// milestone, and is no error.
func TestARunOfNothing(t *testing.T) {
	t.Parallel()
	rb, mistakes := load.File([]byte(`runbook: Nothing
summary: Has nothing to do.
owner: data-platform
stages:
  - stage: Look
    steps:
      - step: Topics are there
        check: storage.late-replicas
        each: bucket
  - stage: Act
    milestone: reads
    approval: {role: incident-commander}
    steps:
      - step: Fence
        do: storage.fence
        each: bucket
`), "nothing.yaml")
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	b := newBench(t, []*runbook.Runbook{rb})
	b.estate.Buckets = nil
	for i := range b.estate.Groups {
		b.estate.Groups[i].Tables = nil
	}
	r := b.start("Nothing", `{"estate":"lab","mode":"live","incident":"INC-1"}`)
	res, err := b.carry(r, nil)
	if err != nil || res.Verdict != verdict.Nothing || res.Proven != 0 || res.Nothing != 2 || res.Exercised != 0 || len(res.Milestones) != 0 {
		t.Fatalf("the run ended with %+v, %v", res, err)
	}
	if want := "nothing to do: 0 steps proven, 2 had nothing to do"; res.Summary != want {
		t.Errorf("it says %q, want %q", res.Summary, want)
	}
	s, err := b.status(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, stage := range s.Stages {
		if stage.State != wire.NothingToDo {
			t.Errorf("stage %s is %q", stage.Title, stage.State)
		}
	}
	if ended := bodies[wire.EndedBody](b, s, ledger.RunEnded); len(ended) != 1 || ended[0].How != wire.NothingToDo {
		t.Errorf("the ledger ends with %+v", ended)
	}
	if !slices.ContainsFunc(bodies[wire.NoteBody](b, s, ledger.Note), func(n wire.NoteBody) bool { return n.Milestone == nil && strings.Contains(n.Text, "reads") }) {
		t.Error("nobody notes that the milestone was not reached")
	}
	if d := workflows.Details(s, nil); !strings.Contains(d, "ENDED: NOTHING TO DO") {
		t.Errorf("the details: %.200s", d)
	}
}

// TestADrillOfNothing: a drill in which no step may run has proven nothing.
func TestADrillOfNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	r := b.start("BackupExpire", `{"estate":"lab","mode":"drill"}`)
	res, err := b.carry(r, nil)
	if err != nil || res.Verdict != verdict.Nothing || res.Summary != "nothing to do: 0 steps proven, 1 not run in a drill" {
		t.Errorf("the drill ended with %+v, %v", res, err)
	}
}
