package workflows_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/runbook"
	"breakwater/internal/sshsig"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
	"breakwater/workflows"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// story is one random run: what people send and what befalls the run, with a ledger that
// is a list.
type story struct {
	t       *testing.T
	mu      sync.Mutex // phases of batches and the clerk's entries run side by side
	r       *rand.Rand
	entries []ledger.Entry
	outage  int // how often the ledger's location fails
	faults  int // how many phases fail
	red     bool
	late    bool // somebody aborts just when a stage is over
	head    ledger.Head
	kept    json.RawMessage // what the run handed on
	applied []string        // steps, "undo " before those taken back
	log     []string
}

// sequences is how many random runs there are: a sample, and all of them in make torture.
func sequences() int {
	if os.Getenv("BREAKWATER_TORTURE") != "" {
		return 10_000
	}
	return 300
}

// Any interleaving of decisions, time, faults, outages and continue-as-new ends in exactly
// one terminal state, with evidence for each step.
func TestAnyInterleavingEndsOnce(t *testing.T) {
	t.Parallel()
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("BREAKWATER_SEED"), fmt.Sprint(rand.Uint64())), 10, 64)
	if err != nil {
		t.Fatalf("BREAKWATER_SEED: %v", err)
	}
	for n := range sequences() {
		s := &story{t: t, r: rand.New(rand.NewPCG(seed, uint64(n)))}
		if wrong := s.run(); wrong != "" {
			t.Fatalf("seed %d, sequence %d: %s\n%s", seed, n, wrong, strings.Join(s.log, "\n"))
		}
	}
}

func (s *story) compiled() runbook.Compiled {
	role := estate.Role{Role: "ic", Method: estate.Signed}
	for n, who := range people[:3] {
		role.Members = append(role.Members, estate.Member{Name: who, Key: sshsig.Public(signer(s.t, byte(n))).String()})
	}
	step := func(id string) runbook.Step {
		return runbook.Step{
			ID: id, Title: id, Kind: runbook.Do, Action: "t.do", Owner: "ic", Effect: action.Mutates, CanUndo: true, Items: 1, Names: []string{"x"},
			Timeout: time.Minute,
		}
	}
	gate := &runbook.Approval{Role: "ic", Quorum: 2, Reminder: estate.Duration(time.Minute)}
	return runbook.Compiled{
		Engine: runbook.Engine, Runbook: "P", Owner: "ic", Estate: "lab", EstateDigest: "e", Input: runbook.Input{Mode: action.ModeLive},
		Roles: []estate.Role{role},
		Stages: []runbook.Stage{
			{ID: "a", Title: "A", Milestone: "reads", Approval: gate, Steps: []runbook.Step{step("a/1")}},
			{ID: "b", Title: "B", Milestone: "writes", Approval: gate, Steps: []runbook.Step{step("b/1"), step("b/2")}},
		},
	}
}

// fault is what befalls a phase now, if anything does.
func (s *story) fault() error {
	if s.faults == 0 {
		return nil
	}
	s.faults--
	if s.r.IntN(2) == 0 {
		return temporal.NewNonRetryableApplicationError("moved", wire.ErrTypeMoved, nil)
	}
	return errors.New("the worker died")
}

// down is how the ledger's location fails now, if it does: some of that time cures, and
// some waits for a person.
func (s *story) down() error {
	if s.outage == 0 {
		return nil
	}
	s.outage--
	switch s.r.IntN(8) {
	case 0:
		return temporal.NewNonRetryableApplicationError("AccessDenied", wire.ErrTypeDenied, nil)
	case 1:
		return temporal.NewNonRetryableApplicationError("another entry is there", wire.ErrTypeForked, nil)
	}
	return errors.New("the ledger is out of reach")
}

func (s *story) serve(env *testsuite.TestWorkflowEnvironment) {
	reg := func(name string, f any) { env.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: name}) }
	reg(wire.CompileRun, func(context.Context, wire.CompileInput) (wire.CompileResult, error) {
		run := action.Run{Namespace: "default", Workflow: "w", FirstRun: "first", Runbook: "P", Mode: action.ModeLive}
		return wire.CompileResult{Run: run, Started: wire.StartedBody{Run: run}, Compiled: s.compiled()}, nil
	})
	reg(wire.AppendEntry, func(_ context.Context, in wire.AppendInput) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.down(); err != nil {
			return err
		}
		var e ledger.Entry
		if err := json.Unmarshal(in.Entry, &e); err != nil {
			return err
		}
		s.entries, s.head = append(s.entries, e), in.Head
		if s.late && e.Kind == ledger.Note {
			s.late = false
			env.SignalWorkflow(wire.SignalAbort, approval.Decision{By: "zoe"})
		}
		s.log = append(s.log, fmt.Sprintf("  ledger %d %s %s %.120s", e.Seq, e.Kind, e.Step, e.Body))
		return nil
	})
	reg(wire.KeepState, func(_ context.Context, in wire.StateInput) (wire.StateResult, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.kept = in.State
		return wire.StateResult{}, s.down()
	})
	reg(wire.ReadState, func(context.Context, wire.StateInput) (wire.StateResult, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return wire.StateResult{State: s.kept, Head: s.head}, s.down()
	})
	reg(wire.AcquireLock, func(context.Context, wire.LockInput) (wire.LockResult, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return wire.LockResult{Epoch: 1}, s.down()
	})
	reg(wire.ReleaseLock, func(context.Context, wire.LockInput) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.down()
	})
	doc := func(in wire.PhaseInput, kind string) ledger.DocRef {
		return ledger.DocRef{Key: fmt.Sprint(in.Step, in.Attempt, kind), SHA256: "00"}
	}
	plan := func(_ context.Context, in wire.PhaseInput) (wire.PlanResult, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		text := in.Step
		if s.r.IntN(12) == 0 {
			text += fmt.Sprint(s.r.IntN(3)) // the world moves
		}
		return wire.PlanResult{Doc: doc(in, "plan"), Effects: 1, Leaf: ledger.Leaf{Step: in.Step, Item: "x", SHA256: ledger.Digest([]byte(text))}}, s.fault()
	}
	apply := func(undo string) func(context.Context, wire.PhaseInput) (wire.ApplyResult, error) {
		return func(_ context.Context, in wire.PhaseInput) (wire.ApplyResult, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if err := s.fault(); err != nil {
				return wire.ApplyResult{}, err
			}
			s.applied = append(s.applied, undo+in.Step)
			return wire.ApplyResult{Doc: doc(in, "outcome"), Mutations: 1}, nil
		}
	}
	verify := func(_ context.Context, in wire.PhaseInput) (wire.VerifyResult, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		look := wire.Look{Verdict: verdict.Pass, Passed: 1}
		if s.red {
			s.red = false
			look = wire.Look{Verdict: verdict.Fail, Failed: 1, Findings: []string{"red"}, Red: []string{"x"}}
		}
		return wire.VerifyResult{Doc: doc(in, "observed"), Look: look}, s.fault()
	}
	for p, f := range map[wire.Phase]any{
		wire.PlanPhase: plan, wire.UndoPlanPhase: plan, wire.ApplyPhase: apply(""), wire.UndoApplyPhase: apply("undo "),
		wire.VerifyPhase: verify, wire.UndoVerifyPhase: verify,
	} {
		reg(wire.Activity("t.do", p), f)
	}
}

// befall lets one thing happen, which may be nothing that makes sense now.
func (s *story) befall(env *testsuite.TestWorkflowEnvironment, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what := []string{
		"approve", "approve", "approve", "approve", "approve", "approve", "reject", "waive", "pause", "resume", "resume", "abort", "retry", "retry",
		"verify", "undo", "crash", "red", "outage", "continue", "junk", "late abort",
	}[s.r.IntN(22)]
	if last {
		what = "abort"
	}
	s.log = append(s.log, what)
	switch what {
	case "crash":
		s.faults += 1 + s.r.IntN(6)
		return
	case "late abort":
		s.late = true
		return
	case "red":
		s.red = true
		return
	case "outage":
		s.outage = 1 + s.r.IntN(20)
		return
	case "continue":
		env.SetContinueAsNewSuggested(true)
		return
	case "junk":
		env.SignalWorkflow(wire.SignalDecide, "aprove reject!")
		return
	}
	d := approval.Decision{Verb: approval.Verb(what), By: people[s.r.IntN(3)], Reason: "so"}
	var st wire.Status
	v, err := env.QueryWorkflow(wire.QueryStatus)
	if err == nil {
		err = v.Get(&st)
	}
	g := st.Open
	if st.Paused != nil && d.Verb == approval.Resume {
		g = st.Paused.Open
	}
	if err == nil && g != nil {
		if d.Verb == approval.Waive {
			d.Items = g.Spec.Items
		}
		d.Gate = g.Spec.About.Gate
		sig, err := g.StatementOf(d).Sign(signer(s.t, byte(slices.Index(people, d.By))))
		if err == nil && s.r.IntN(10) > 0 {
			d.Signature = sig
		}
	}
	env.SignalWorkflow(wire.SignalDecide, d)
}

func (s *story) run() string {
	var input any = json.RawMessage(`{}`)
	left := 5 + s.r.IntN(25)
	for chain := 0; ; chain++ {
		var suite testsuite.WorkflowTestSuite
		suite.SetLogger(quiet{})
		env := suite.NewTestWorkflowEnvironment()
		env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // a busy machine is no deadlock
		workflows.Register(env, []string{"P"})
		if chain > 0 {
			env.SetContinuedExecutionRunID("before")
		}
		s.serve(env)
		var next func()
		next = func() {
			if left--; left > -20 {
				s.befall(env, left <= 0)
				env.RegisterDelayedCallback(next, time.Duration(s.r.IntN(120))*time.Second)
			}
		}
		env.RegisterDelayedCallback(next, time.Second)
		env.ExecuteWorkflow("P", input)
		if !env.IsWorkflowCompleted() {
			return "it never ends"
		}
		err := env.GetWorkflowError()
		var can *workflow.ContinueAsNewError
		if errors.As(err, &can) {
			var state json.RawMessage
			if err := env.GetWorkflowResult(nil); err == nil {
				return "it goes on and has a result"
			}
			if err := fromPayloads(can, &state); err != nil {
				return err.Error()
			}
			s.log = append(s.log, "continued as new")
			input = state
			continue
		}
		return s.judge(err, unrecorded(err))
	}
}

// unrecorded reports whether a person ended the run while its ledger could not be written.
func unrecorded(err error) bool {
	var app *temporal.ApplicationError
	var res wire.Result
	return errors.As(err, &app) && app.HasDetails() && app.Details(&res) == nil && res.Unrecorded != ""
}

// judge says what is wrong with how the run ended.
func (s *story) judge(err error, lost bool) string {
	how, ended := "proven", 0
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		how = app.Type()
	} else if err != nil {
		return "it ended with " + err.Error()
	}
	aborted, closed, intents, outcomes, observed := false, map[string]bool{}, map[string]int{}, map[string]int{}, map[string]int{}
	for i, e := range s.entries {
		if e.Seq != int64(i+1) {
			return fmt.Sprintf("entry %d is number %d", e.Seq, i+1)
		}
		var d wire.DecisionBody
		var g wire.GateBody
		var in wire.IntentBody
		var end wire.EndedBody
		if err := errors.Join(json.Unmarshal(e.Body, &d), json.Unmarshal(e.Body, &in)); err != nil && e.Kind == ledger.Decided {
			return err.Error()
		}
		key := e.Step + fmt.Sprint(in.Undo)
		switch e.Kind {
		case ledger.Decided:
			aborted = aborted || d.Decision == "abort"
		case ledger.GateClosed:
			if json.Unmarshal(e.Body, &g) == nil && g.How == "approve" {
				closed[g.Gate] = true
			}
		case ledger.Intent:
			intents[key]++
			gate := e.Stage
			if in.Undo {
				gate = "take-back"
			}
			if !closed[gate] {
				return "an intent of " + e.Step + " without an approved gate"
			}
		case ledger.Outcome:
			outcomes[key]++
		case ledger.Observed:
			observed[key]++
		case ledger.RunEnded:
			if ended++; json.Unmarshal(e.Body, &end) != nil || end.How != how || i != len(s.entries)-1 {
				return fmt.Sprintf("the ledger ends as %q, the run as %q", end.How, how)
			}
		}
	}
	switch {
	case lost && (ended != 0 || how != wire.ErrTypeAborted):
		return fmt.Sprintf("it ended without its ledger as %s, and %d times in it", how, ended)
	case lost:
		return ""
	}
	for key, n := range intents {
		if outcomes[key] != n || observed[key] < n {
			return fmt.Sprintf("%s has %d intents, %d outcomes and %d observations", key, n, outcomes[key], observed[key])
		}
	}
	switch {
	case ended != 1:
		return fmt.Sprintf("it ended %d times, as %s: %v", ended, how, err)
	case aborted && (how == "proven" || how == wire.ErrTypeUndone):
		return "the ledger says that the run stops, and it ended as " + how
	case how == "proven" && !slices.ContainsFunc(s.applied, func(a string) bool { return a == "b/2" }) && !s.waived():
		return "it passed without its last step"
	}
	return ""
}

func (s *story) waived() bool {
	return slices.ContainsFunc(s.entries, func(e ledger.Entry) bool {
		return e.Kind == ledger.Decided && strings.Contains(string(e.Body), `"waive"`)
	})
}

// quiet is a logger of nothing.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

// fromPayloads reads the input with which a run is continued.
func fromPayloads(can *workflow.ContinueAsNewError, into *json.RawMessage) error {
	if can.Input == nil || len(can.Input.GetPayloads()) != 1 {
		return errors.New("it is continued without a state")
	}
	*into = can.Input.GetPayloads()[0].GetData()
	return nil
}
