package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"breakwater/activities/host"
	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/poll"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"
	"breakwater/workflows"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// rogue runs somebody's own workflow that schedules activities on the bench's queue. It is
// of the given type and under the given id, or one of its own.
func (b *bench) rogue(id, name string, f func(workflow.Context) ([]string, error)) []string {
	b.t.Helper()
	w := worker.New(b.client, b.queue+"-rogue", worker.Options{DisableRegistrationAliasing: true})
	w.RegisterWorkflowWithOptions(f, workflow.RegisterOptions{Name: name})
	if err := w.Start(); err != nil {
		b.t.Fatal(err)
	}
	defer w.Stop()
	r, err := b.client.ExecuteWorkflow(b.t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: b.queue + "-rogue"}, name)
	if err != nil {
		b.t.Fatal(err)
	}
	var said []string
	if err := r.Get(b.t.Context(), &said); err != nil {
		b.t.Fatal(err)
	}
	return said
}

// ask calls an activity of the bench's workers once.
func (b *bench) ask(ctx workflow.Context, name string, in, out any) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: b.queue, StartToCloseTimeout: 20 * time.Second, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1},
	})
	return workflow.ExecuteActivity(ctx, name, in).Get(ctx, out)
}

// fences are the things that the bench's world has fenced.
func (b *bench) fences() (done []string) {
	b.model.mu.Lock()
	defer b.model.mu.Unlock()
	for key := range b.model.effects {
		if strings.HasPrefix(key, "storage.fence/") {
			done = append(done, key)
		}
	}
	return done
}

// forge appends an entry to a chain, as a workflow of ours would.
func (b *bench) forge(ctx workflow.Context, c *ledger.Chain, kind ledger.Kind, stage string, body any, docs ...ledger.DocRef) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	was := *c
	entry, head, err := c.Append(ledger.Entry{Time: workflow.Now(ctx), Kind: kind, Stage: stage, Body: raw, Docs: docs})
	if err != nil {
		return err
	}
	if err := b.ask(ctx, wire.AppendEntry, wire.AppendInput{Estate: "lab", Head: head, Entry: entry}, nil); err != nil {
		*c = was
		return err
	}
	return nil
}

// A workflow of somebody's own may call every activity. It has a chain of its own, in which
// nobody approved anything, and what it says of itself there is not signed.
func TestAForeignWorkflowIsAllowedNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	victim := b.start("RegionalFailover", liveInput)
	open := b.until(victim, "a gate", func(s wire.Status) bool { return s.Gate != nil })
	for _, tc := range []struct{ name, mode, id string }{
		{"mode plan", "plan", "rogue-plan" + b.queue},
		{"mode live", "live", "rogue-live" + b.queue},
		{"under the id of a run that was terminated", "live", victim.GetID()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.id == victim.GetID() {
				if err := b.client.TerminateWorkflow(t.Context(), tc.id, "", "by somebody"); err != nil {
					t.Fatal(err)
				}
			}
			said := b.rogue(tc.id, "RegionalFailover", func(ctx workflow.Context) ([]string, error) {
				return b.attack(ctx, tc.mode, open)
			})
			for _, s := range said {
				t.Log(s)
				if strings.HasPrefix(s, "accepted") {
					t.Error(s)
				}
			}
			if len(said) < 9 {
				t.Errorf("the attack came to %d of its attempts", len(said))
			}
		})
	}
	if done := b.fences(); len(done) > 0 {
		t.Errorf("fenced by a foreign workflow: %v", done)
	}
	for key, err := range b.ledger.List(t.Context(), ledger.RunsPrefix) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(key, "rogue") && strings.Contains(key, "/heads/") {
			if n := key[strings.LastIndex(key, "/")+1:]; n > "000000000005.sig" {
				t.Errorf("signed: %s", key)
			}
		}
	}
}

// attack is what a foreign workflow tries; each of its sentences says whether it was let.
func (b *bench) attack(ctx workflow.Context, mode string, open wire.Status) (said []string, err error) {
	try := func(what string, err error) {
		verdict := "refused "
		if err == nil {
			verdict = "accepted "
		}
		said = append(said, verdict+what+": "+errText(err))
	}
	var made wire.CompileResult
	input := json.RawMessage(`{"estate":"lab","mode":"` + mode + `","incident":"X","source":"us-east-1","target":"us-west-2"}`)
	if err := b.ask(ctx, wire.CompileRun, map[string]any{"run": open.Run, "input": input, "engine": runbook.Engine}, &made); err != nil {
		return nil, err
	}
	me := ledger.Run{Workflow: workflow.GetInfo(ctx).WorkflowExecution.ID, FirstRun: workflow.GetInfo(ctx).FirstRunID}
	// In the name of the run whose gate is open, without saying anything of itself.
	theirs := ledger.Chain{Head: ledger.Head{Run: ledger.Run{Workflow: open.Run.Workflow, FirstRun: open.Run.FirstRun}, Seq: 99}}
	try("an entry in the chain of another run", b.forge(ctx, &theirs, ledger.Note, "", wire.NoteBody{Text: "x"}))

	stage, step := fenceStep(made.Compiled)
	act := func(plan *wire.PlanResult) map[string]any {
		in := map[string]any{"run": made.Run, "files": made.Files, "estate": "lab", "seq": 0, "step": step.ID, "from": 0, "to": 1, "attempt": 1}
		if plan != nil {
			in["plan"] = plan.Doc
		}
		return in
	}
	var plan wire.PlanResult
	try("an Apply of a run without a ledger", b.ask(ctx, "storage.fence:apply", act(nil), nil))
	c := ledger.NewChain(me)
	lie := made.Started
	lie.Run.Mode = action.ModeLive
	lie.Run.SourceUnreachable = true
	try("a start that accepts what nobody accepted", b.forge(ctx, &c, ledger.RunStarted, "", lie))
	lie = made.Started
	lie.Claimed = "somebody else"
	try("a start by somebody else", b.forge(ctx, &c, ledger.RunStarted, "", lie))
	if err := b.forge(ctx, &c, ledger.RunStarted, "", made.Started); err != nil {
		return said, err
	}
	compiled := wire.CompiledBody{
		Runbook: made.Compiled.Runbook, RunbookDigest: made.Compiled.RunbookDigest, Estate: made.Compiled.Estate,
		EstateDigest: made.Compiled.EstateDigest, Mode: made.Compiled.Input.Mode, Input: made.Compiled.Input,
	}
	forged := compiled
	forged.EstateDigest = "sha256:" + strings.Repeat("0", 64)
	try("a compiled run of another estate", b.forge(ctx, &c, ledger.Compiled, "", forged, made.Files.Compiled, made.Files.Estate, made.Runbook))
	if err := b.forge(ctx, &c, ledger.Compiled, "", compiled, made.Files.Compiled, made.Files.Estate, made.Runbook); err != nil {
		return said, err
	}
	try("a lock that it does not hold", b.forge(ctx, &c, ledger.Lock, "", wire.LockBody{Held: true, Epoch: 1}))
	if err := b.ask(ctx, "storage.fence:plan", act(nil), &plan); err != nil {
		return said, err
	}
	try("an Apply of what nobody approved", b.ask(ctx, "storage.fence:apply", act(&plan), nil))
	try("a plan with another root", b.forge(ctx, &c, ledger.Planned, stage.ID, wire.PlannedBody{Attempt: 1, Root: "00", Leaves: []ledger.Leaf{plan.Leaf}}, plan.Doc))
	root := ledger.Root([]ledger.Leaf{plan.Leaf})
	if err := b.forge(ctx, &c, ledger.Planned, stage.ID, wire.PlannedBody{Attempt: 1, Root: root, Leaves: []ledger.Leaf{plan.Leaf}}, plan.Doc); err != nil {
		return said, err
	}
	gate := wire.GateBody{Gate: stage.ID, Attempt: 1, Role: stage.Approval.Role, Method: "signed", Quorum: 1, Root: root}
	try("a gate for less people than the runbook asks", b.forgeLive(ctx, &c, mode, ledger.GateOpened, stage.ID, gate))
	gate.Quorum = 2
	if mode == "live" {
		if err := b.forge(ctx, &c, ledger.GateOpened, stage.ID, gate); err != nil {
			return said, err
		}
	}
	try("a vote without a signature", b.forge(ctx, &c, ledger.Decided, stage.ID, wire.DecisionBody{
		Gate: stage.ID, Attempt: 1, Decision: "approve", Who: "ana", Method: "signed", Raw: "none", Statement: "none",
	}))
	try("an undo at the gate that nobody signed", b.forgeLive(ctx, &c, mode, ledger.Decided, stage.ID, wire.DecisionBody{Gate: stage.ID, Attempt: 1, Decision: "undo", Who: "ana"}))
	paused := wire.DecisionBody{Gate: "pause-1", Decision: "pause", Who: "ana"}
	if err := b.forge(ctx, &c, ledger.Decided, stage.ID, paused); err != nil { // stopping is not hindered
		return said, err
	}
	try("a pause of the same name", b.forge(ctx, &c, ledger.Decided, stage.ID, paused))
	try("the end of a pause that nobody signed", b.forgeLive(ctx, &c, mode, ledger.Decided, stage.ID, wire.DecisionBody{Gate: "pause-1", Attempt: 1, Decision: "resume", Who: "ana"}))
	try("the end of another pause", b.forge(ctx, &c, ledger.Decided, stage.ID, wire.DecisionBody{Gate: "pause-2", Attempt: 1, Decision: "resume", Who: "ana"}))
	gate.How, gate.By = "approve", []string{"ana", "ben"}
	try("a gate that nobody approved", b.forge(ctx, &c, ledger.GateClosed, stage.ID, gate))
	try("an Apply after that", b.ask(ctx, "storage.fence:apply", act(&plan), nil))
	try("a pass", b.forgeLive(ctx, &c, mode, ledger.RunEnded, "", map[string]any{"verdict": "pass", "how": "proven", "ended": workflow.Now(ctx)}))
	return said, nil
}

// forgeLive forges what a run of mode live alone is refused.
func (b *bench) forgeLive(ctx workflow.Context, c *ledger.Chain, mode string, kind ledger.Kind, stage string, body any) error {
	if mode != "live" {
		return errors.New("not tried")
	}
	return b.forge(ctx, c, kind, stage, body)
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func fenceStep(c runbook.Compiled) (runbook.Stage, runbook.Step) {
	for _, s := range c.Stages {
		for _, st := range s.Steps {
			if st.Action == "storage.fence" {
				return s, st
			}
		}
	}
	return runbook.Stage{}, runbook.Step{}
}

// Nobody starts a run in the middle.
func TestAStartThatContinuesNothingIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	for name, input := range map[string]string{
		"a position":    `{"_continue":{"execution":1,"estate":"lab","engine":2}}`,
		"a whole state": b.withoutGates(),
	} {
		t.Run(name, func(t *testing.T) {
			r := b.start("RegionalFailover", input)
			err := r.Get(t.Context(), nil)
			endedAs(t, err, wire.ErrTypeBadInput)
			if err == nil || !strings.Contains(err.Error(), "_continue") {
				t.Errorf("it says %v", err)
			}
		})
	}
	if n := len(b.model.effects); n > 0 {
		t.Errorf("%d things were done", n)
	}
}

// withoutGates is a state of a run whose gates were taken out, which begins at its first stage.
func (b *bench) withoutGates() string {
	b.t.Helper()
	r := b.start("RegionalFailover", `{"estate":"lab","source":"us-east-1","target":"us-west-2"}`)
	if _, err := b.carry(r, nil); err != nil {
		b.t.Fatal(err)
	}
	run := ledger.Run{Workflow: r.GetID(), FirstRun: r.GetRunID()}
	var c runbook.Compiled
	files := map[string]ledger.DocRef{}
	for _, name := range []string{"compiled", "estate"} {
		key := ledger.DocKey(run, "compiled", "lab", 1, name)
		raw, err := b.ledger.Get(b.t.Context(), key)
		if err != nil {
			b.t.Fatal(err)
		}
		raw = ledger.DocBody(raw)
		files[name] = ledger.Ref(key, raw)
		if name == "compiled" {
			if err := json.Unmarshal(raw, &c); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	c.Input.Mode = action.ModeLive
	stages := make([]wire.StageStatus, len(c.Stages))
	for i := range c.Stages {
		c.Stages[i].Approval = nil
		stages[i].Steps = make([]wire.StepStatus, len(c.Stages[i].Steps))
	}
	raw, err := json.Marshal(map[string]any{"_continue": map[string]any{
		"run":      action.Run{Namespace: "default", Workflow: run.Workflow, FirstRun: run.FirstRun, Runbook: "RegionalFailover", Mode: action.ModePlan},
		"compiled": c, "files": files, "chain": ledger.NewChain(ledger.Run{Workflow: "w", FirstRun: "f"}), "status": wire.Status{Estate: "lab", Stages: stages},
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.model.mu.Lock()
	defer b.model.mu.Unlock()
	clear(b.model.effects)
	return string(raw)
}

// Another workflow continues as new into a runbook: the server says that it continues
// something, and the ledger has nothing of it.
func TestAForeignWorkflowContinuesAsARun(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	w := worker.New(b.client, b.queue+"-rogue", worker.Options{DisableRegistrationAliasing: true})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		ctx = workflow.WithWorkflowTaskQueue(ctx, b.queue)
		return workflow.NewContinueAsNewError(ctx, "RegionalFailover", json.RawMessage(`{"_continue":{"execution":1,"estate":"lab","engine":2}}`))
	}, workflow.RegisterOptions{Name: "Rogue"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	r, err := b.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: b.queue + "-rogue"}, "Rogue")
	if err != nil {
		t.Fatal(err)
	}
	err = r.Get(t.Context(), nil)
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != wire.ErrTypeBadInput {
		t.Errorf("it ended with %v, want that its input is wrong", err)
	}
	if n := len(b.model.effects); n > 0 {
		t.Errorf("%d things were done", n)
	}
}

// freeze makes the first Apply of the action stop before it asks whether it may go on, and
// its worker be taken for dead; the attempts after it are refused. What is returned lets it
// go on, and says what became of it.
func (b *bench) freeze(name string) (thaw func(), ended chan error) {
	frozen, ended := make(chan struct{}), make(chan error, 1)
	var first atomic.Bool
	first.Store(true)
	b.model.guarding = func(ctx context.Context, a string, guard func(context.Context) error) error {
		if a != name || !first.CompareAndSwap(true, false) {
			return guard(ctx)
		}
		<-frozen
		err := guard(context.WithoutCancel(ctx))
		ended <- err
		return err
	}
	return sync.OnceFunc(func() { close(frozen) }), ended
}

// An Apply whose worker froze was taken back meanwhile. When the worker thaws, it is no
// longer its turn.
func TestAFrozenApplyThawsAfterItWasTakenBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	b.restart(func() { b.model.timeout = map[string]time.Duration{"storage.fence": time.Second} })
	thaw, ended := b.freeze("storage.fence")
	t.Cleanup(thaw)
	var waited atomic.Int64
	b.host.Wait = func(_ context.Context, d time.Duration) error { waited.Add(int64(d)); return nil }
	var late error
	b.model.break_(func(a, _ string, p wire.Phase) error {
		switch {
		case a == "storage.fence" && p == wire.ApplyPhase:
			return action.ErrRefused // the tries after the frozen one
		case a == "storage.fence" && p == wire.UndoVerifyPhase:
			thaw()
			late = <-ended
		}
		return nil
	})
	r := b.start("RegionalFailover", liveInput)
	_, err := b.carry(r, func(wire.Status) approval.Decision { return approval.Decision{Verb: "undo"} })
	endedAs(t, err, wire.ErrTypeUndone)
	if late == nil {
		t.Error("the frozen Apply was let go on after it was taken back")
	} else if !strings.Contains(late.Error(), "turn") {
		t.Errorf("the frozen Apply was refused with %v", late)
	}
	if time.Duration(waited.Load()) < action.LongestRequest {
		t.Errorf("taking back waited %s for a request that may be under way, want %s", time.Duration(waited.Load()), action.LongestRequest)
	}
	if done := b.fences(); len(done) > 0 {
		t.Errorf("done by an attempt that was taken back: %v", done)
	}
}

// A worker of another engine takes up an open run: it fails the task and leaves the run as
// it was, for one that knows it.
func TestAnotherEngineLeavesAnOpenRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	r := b.start("RegionalFailover", inputs)
	b.until(r, "a gate", func(s wire.Status) bool { return s.Gate != nil })
	b.worker.Stop()
	other := worker.New(b.client, b.queue, worker.Options{
		Interceptors: []interceptor.WorkerInterceptor{&host.Interceptor{}}, DisableRegistrationAliasing: true, LocalActivityWorkerOnly: true,
	})
	var names []string
	for _, rb := range b.books {
		names = append(names, rb.Name)
	}
	workflows.Interpreter{Engine: runbook.Engine + 1, Long: never}.Register(other, names)
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(other.Stop)
	t.Cleanup(stop)
	var seen []enums.EventType
	// A poll of the worker that was stopped may take the task with it, and a failure after
	// that is an event only once something new has come.
	patience, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	err := poll.Until(patience, time.Second, func(ctx context.Context) (bool, error) {
		if err := b.client.SignalWorkflow(ctx, r.GetID(), "", wire.SignalDecide, approval.Decision{Verb: approval.Retry}); err != nil {
			return true, err
		}
		seen = nil
		for it := b.client.GetWorkflowHistory(ctx, r.GetID(), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
			e, err := it.Next()
			if err != nil {
				return true, err
			}
			if seen = append(seen, e.GetEventType()); e.GetEventType() == enums.EVENT_TYPE_WORKFLOW_TASK_FAILED {
				if cause := e.GetWorkflowTaskFailedEventAttributes().GetFailure().GetMessage(); !strings.Contains(cause, "engine") {
					t.Errorf("the task failed with %q", cause)
				}
				return true, nil
			}
		}
		return false, nil
	})
	stop()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.Index(seen, enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
	for _, k := range seen[at+1:] {
		if k != enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED && k != enums.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED && k != enums.EVENT_TYPE_WORKFLOW_TASK_STARTED && k != enums.EVENT_TYPE_WORKFLOW_TASK_FAILED && k != enums.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT {
			t.Errorf("the other engine made %s", k)
		}
	}
	b.startWorker()
	if res, err := b.carry(r, nil); err != nil || res.Verdict.String() != "pass" {
		t.Errorf("the run ended with %+v, %v", res, err)
	}
}

func never(*workflow.Info) bool { return false }

// A run that continues as new after each stage goes on where it stood: what it hands on
// lies in the ledger, and its input says no more than where.
func TestARunContinuesAfterEachStage(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	b.interpreter = &workflows.Interpreter{Engine: runbook.Engine, Long: func(*workflow.Info) bool { return true }}
	b.restart(func() {})
	r := b.start("RegionalFailover", liveInput)
	id := r.GetRunID() // of the first execution; r follows the others
	b.until(r, "a gate", func(s wire.Status) bool { return s.Gate != nil })
	res, err := b.carry(r, nil)
	if err != nil || res.Verdict.String() != "pass" {
		t.Fatalf("the run ended with %+v, %v", res, err)
	}
	for key, n := range b.model.effects {
		if n != 1 {
			t.Errorf("%s changed %d times", key, n)
		}
	}
	s, err := b.status(r)
	if err != nil {
		t.Fatal(err)
	}
	if ev := b.evidence(s); ev.Fault != nil || !ev.Ended {
		t.Errorf("evidence: %+v", ev)
	}
	executions := 1
	for ; ; executions++ {
		next := ""
		for it := b.client.GetWorkflowHistory(t.Context(), r.GetID(), id, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); {
			e, err := it.Next()
			if err != nil {
				t.Fatal(err)
			}
			if c := e.GetWorkflowExecutionContinuedAsNewEventAttributes(); c != nil {
				next = c.GetNewExecutionRunId()
				if n := len(c.GetInput().GetPayloads()[0].GetData()); n > 200 {
					t.Errorf("execution %d hands on %d bytes as its input", executions, n)
				}
			}
		}
		if next == "" {
			break
		}
		id = next
	}
	if executions < 5 {
		t.Errorf("it was %d executions", executions)
	}
}

// changed serves an estate that somebody edits while a run is open.
type changed struct {
	estates
	now atomic.Pointer[estate.Estate]
}

func (c *changed) Load(ctx context.Context, name string) (*estate.Estate, error) {
	if e := c.now.Load(); e != nil {
		return e, nil
	}
	return c.estates.Load(ctx, name)
}

// A key that was taken away after its vote no longer counts; one that was added counts for
// nothing; other edits do not stop an open run.
func TestTheWorkersEstateDiffers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		edit    func(*estate.Estate)
		refused bool
	}{
		"a key was taken away": {func(e *estate.Estate) { e.Roles[0].Members[0].Key = e.Roles[1].Members[0].Key }, true},
		"a person was added": {func(e *estate.Estate) {
			e.Roles[0].Members = append(slices.Clone(e.Roles[0].Members), e.Roles[1].Members[0])
		}, false},
		"a tier got more time": {func(e *estate.Estate) { e.ClockSkew *= 2 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, shipped(t))
			var plans atomic.Int64
			served := &changed{estates: estates{e: b.estate, ledger: b.ledger, key: signer(t, 99)}}
			b.host.Estates = served
			edited := copyOf(t, b.estate)
			tc.edit(edited)
			b.model.break_(func(a, _ string, p wire.Phase) error {
				if a == "storage.fence" && p == wire.PlanPhase && plans.Add(1) == 2 {
					served.now.Store(edited) // when it was approved, and is planned again
				}
				return nil
			})
			r := b.start("RegionalFailover", inputs)
			asked := ""
			_, err := b.carry(r, func(s wire.Status) approval.Decision {
				asked += s.Ask.Question + strings.Join(s.Ask.Findings, "\n")
				return approval.Decision{Verb: approval.Abort}
			})
			if text := asked + errText(err); tc.refused != (text != "") || tc.refused && !strings.Contains(text, "the worker's present one") {
				t.Errorf("it says %q, refused is to be %v", text, tc.refused)
			}
			if done := b.fences(); tc.refused != (len(done) == 0) {
				t.Errorf("fenced: %v", done)
			}
		})
	}
}

func copyOf(t *testing.T, e *estate.Estate) *estate.Estate {
	raw, err := json.Marshal(e)
	again := new(estate.Estate)
	if err == nil {
		err = json.Unmarshal(raw, again)
	}
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// A run that lost its lock's object acts no more: it is never taken for one that was not
// locked yet.
func TestALockThatIsGoneStopsTheRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	b.model.break_(func(a, _ string, p wire.Phase) error {
		if a != "storage.fence" || p != wire.PlanPhase {
			return nil
		}
		s, err := store.NewLock(b.ledger, "lab").State(t.Context())
		if err != nil || s.Holder == nil {
			return err
		}
		return b.forget(ledger.LockKey("lab"))
	})
	r := b.start("RegionalFailover", liveInput)
	_, err := b.carry(r, func(wire.Status) approval.Decision { return approval.Decision{Verb: approval.Abort} })
	if err == nil {
		t.Error("the run passed without its lock")
	}
	if done := b.fences(); len(done) > 0 {
		t.Errorf("fenced without the lock: %v", done)
	}
}

// A new run does not take a lock that somebody took away, or of which an old one was put
// back, for one that is free.
func TestALockThatIsGoneIsNotFree(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	key := ledger.LockKey("lab")
	var states [][]byte
	for range 2 {
		r := b.start("RegionalFailover", liveInput)
		b.until(r, "a gate", func(s wire.Status) bool { return s.Gate != nil })
		raw, err := b.ledger.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, raw)
		if a := b.decide(r, approval.Decision{Verb: approval.Abort}); !a.Counted {
			t.Fatal(a.Outcome)
		}
		endedAs(t, r.Get(t.Context(), nil), wire.ErrTypeAborted)
	}
	for name, edit := range map[string]func() error{
		"taken away":      func() error { return b.forget(key) },
		"an old one back": func() error { return b.ledger.Swap(t.Context(), key, nil, states[0]) },
	} {
		if err := b.forget(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := edit(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		err := b.start("RegionalFailover", liveInput).Get(t.Context(), nil)
		endedAs(t, err, wire.ErrTypeHeld)
		if text := errText(err); !strings.Contains(text, "breakwater lock show lab") || !strings.Contains(text, "epoch 2") {
			t.Errorf("%s: the run ended with %s", name, text)
		}
	}
}
