package workflows

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/clip"
	"breakwater/internal/ledger"
	"breakwater/internal/plural"
	"breakwater/internal/runbook"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Registry is the part of a Temporal worker, or of its test environment, that
// [Register] needs.
type Registry interface {
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
}

// Register serves the interpreter under each runbook's name.
func Register(w Registry, names []string) {
	Interpreter{Engine: runbook.Engine, Long: func(i *workflow.Info) bool { return i.GetContinueAsNewSuggested() }}.Register(w, names)
}

// Interpreter is what runs depend on that no run chooses. Tests serve one of another
// engine, or one that continues as new often.
type Interpreter struct {
	Engine int                       // of the runs that it knows
	Long   func(*workflow.Info) bool // whether a history is long enough for the run to continue as new
}

// Register serves the interpreter under each runbook's name.
func (i Interpreter) Register(w Registry, names []string) {
	for _, n := range names {
		w.RegisterWorkflowWithOptions(i.execute, workflow.RegisterOptions{Name: n, VersioningBehavior: workflow.VersioningBehaviorAutoUpgrade})
	}
}

// carried is the whole state of a run: what continue-as-new hands on, by way of the ledger.
type carried struct {
	Run         action.Run          `json:"run"`
	Compiled    runbook.Compiled    `json:"compiled"`
	Files       wire.Files          `json:"files"`
	File        ledger.DocRef       `json:"file"` // the runbook as it was read
	Chain       ledger.Chain        `json:"-"`    // it goes on where the ledger stands
	Status      wire.Status         `json:"status"`
	Next        int                 `json:"next"` // stage
	Done        []done              `json:"done,omitempty"`
	Asks        int                 `json:"asks,omitempty"`
	Pauses      int                 `json:"pauses,omitempty"`
	Notes       int                 `json:"notes,omitempty"`
	Planned     attempts            `json:"planned,omitzero"`
	Undos       int                 `json:"undos,omitempty"` // attempts at taking back
	Paused      *paused             `json:"paused,omitempty"`
	Exercised   int                 `json:"exercised,omitempty"`
	Inbox       []received          `json:"inbox,omitempty"`
	Obligations []action.Obligation `json:"obligations,omitempty"`
	Unproven    []string            `json:"unproven,omitempty"` // in plan mode: what could not be planned
	Failed      bool                `json:"failed,omitempty"`   // in plan mode: some of that was seen to be wrong, and is not merely unknown
}

// run is the interpreter at work.
type run struct {
	carried
	Interpreter

	asked    *opened // the question that is open
	abort    *approval.Decision
	refusals refusals
	unsure   bool // what a person was asked about is unknown, and nothing was seen to be wrong
	clerk    bool // is judging a decision
	ledger   workflow.Mutex
	outage   *outage  // in which the ledger cannot be written
	missed   []string // of outages that are over and not written down yet
	fatal    error    // a person ended the run in an outage: nothing more may be done
	lost     string   // what such an end leaves behind
	ending   bool
	// locking says that the lock was asked for, so that it may be this run's.
	locking bool

	execution int   // how often the run has continued as new
	stored    int64 // the last entry that is in the ledger
	heard     int   // decisions that were judged in this execution
}

// errStop is why a run stops before its end. Its kind is one of the error types
// with which a run ends.
type errStop struct{ kind, why string }

func (e *errStop) Error() string { return e.why }

// errNotTaken says that a decision does not count after all, and whose earlier ones count no
// longer.
type errNotTaken struct {
	why  string
	void []string
}

func (e *errNotTaken) Error() string { return e.why }

// execute executes the runbook whose name it is registered under. The input is one
// flat JSON object, as a person types it.
//
// It returns an error whenever something was left neither proven nor an accepted
// obligation, so that the UI, Schedules and alarms agree with the report.
func (i Interpreter) execute(ctx workflow.Context, input json.RawMessage) (wire.Result, error) {
	r := &run{ledger: workflow.NewMutex(ctx), Interpreter: i}
	var c continued
	if err := json.Unmarshal(input, &c); err != nil {
		c.Continue = nil // compiling says what is wrong with it
	}
	if c.Continue != nil && workflow.GetInfo(ctx).ContinuedExecutionRunID == "" {
		return wire.Result{}, temporal.NewNonRetryableApplicationError(
			"the input has _continue, by which a run hands on to itself: nobody starts a run with it; leave it out, and start the run from its beginning",
			wire.ErrTypeBadInput, nil)
	}
	if c.Continue != nil {
		knows(ctx, c.Continue.Engine, i.Engine)
		return r.restore(ctx, *c.Continue)
	}
	knows(ctx, i.Engine, i.Engine)
	r.Status = wire.Status{State: wire.StateStarting, Doing: "reading the runbook and the estate"}
	info := workflow.GetInfo(ctx)
	r.Run = action.Run{Namespace: info.Namespace, Workflow: info.WorkflowExecution.ID, FirstRun: info.FirstRunID, Runbook: info.WorkflowType.Name}
	if err := r.listen(ctx); err != nil {
		return wire.Result{}, err
	}
	started, err := r.compile(ctx, input)
	if err != nil {
		return wire.Result{}, err // nothing was touched, and nothing is in the ledger
	}
	if err := r.begin(ctx, started); err != nil {
		return r.end(ctx, err)
	}
	return r.goOn(ctx)
}

// goOn walks the stages that are left, and ends the run.
func (r *run) goOn(ctx workflow.Context) (wire.Result, error) {
	err := r.stages(ctx)
	var can *workflow.ContinueAsNewError
	if errors.As(err, &can) {
		return wire.Result{}, err
	}
	return r.end(ctx, err)
}

// compile reads runbook and estate once, and checks the input against both. It returns how
// the run was started.
func (r *run) compile(ctx workflow.Context, input json.RawMessage) (wire.StartedBody, error) {
	var res wire.CompileResult
	cctx := workflow.WithActivityOptions(ctx, looking("read "+workflow.GetInfo(ctx).WorkflowType.Name+" and the estate"))
	err := workflow.ExecuteActivity(cctx, wire.CompileRun, wire.CompileInput{Input: input, Engine: r.Engine}).Get(ctx, &res)
	if err != nil {
		return res.Started, err
	}
	r.Run, r.Compiled, r.Files, r.File = res.Run, res.Compiled, res.Files, res.Runbook
	r.Chain = ledger.NewChain(ledger.Run{Workflow: r.Run.Workflow, FirstRun: r.Run.FirstRun})
	r.Status.Estate, r.Status.Summary = res.Compiled.Estate, res.Compiled.Summary
	for _, s := range res.Compiled.Stages {
		ss := wire.StageStatus{ID: s.ID, Title: s.Title, Tier: s.Tier}
		for _, st := range s.Steps {
			ss.Steps = append(ss.Steps, wire.StepStatus{ID: st.ID, Title: st.Title, Action: st.Action, Items: st.Items})
		}
		r.Status.Stages = append(r.Status.Stages, ss)
	}
	if res.Started.Run.Workflow == "" { // the worker that compiled it left this to the workflow
		_, scheduled := workflow.GetTypedSearchAttributes(ctx).GetKeyword(temporal.NewSearchAttributeKeyKeyword("TemporalScheduledById"))
		res.Started = wire.StartedBody{Run: r.Run, Input: input, Scheduled: scheduled}
	}
	return res.Started, nil
}

// begin writes the first entries and takes the lock.
func (r *run) begin(ctx workflow.Context, started wire.StartedBody) error {
	in := r.Compiled.Input
	if err := r.record(ctx, ledger.RunStarted, "", "", started); err != nil {
		return err
	}
	if err := r.record(ctx, ledger.Compiled, "", "", wire.CompiledBody{
		Runbook: r.Compiled.Runbook, RunbookDigest: r.Compiled.RunbookDigest,
		Estate: r.Compiled.Estate, EstateDigest: r.Compiled.EstateDigest, Mode: in.Mode, Input: in,
	}, r.Files.Compiled, r.Files.Estate, r.File); err != nil {
		return err
	}
	if r.Run.Mode != action.ModeLive {
		return nil
	}
	return r.acquire(ctx)
}

// stages walks the stages from where the run stands.
func (r *run) stages(ctx workflow.Context) error {
	for r.Next < len(r.Compiled.Stages) {
		if err := r.ready(ctx); err != nil {
			return err
		}
		if err := r.stage(ctx, r.Next); err != nil {
			return err
		}
		r.Next++
		if r.Next < len(r.Compiled.Stages) && r.Long(workflow.GetInfo(ctx)) {
			return r.continueAsNew(ctx)
		}
	}
	return nil
}

// end writes the last entry, gives the lock back, and turns what happened into
// the run's result. It runs to its end also in a cancelled run.
func (r *run) end(ctx workflow.Context, cause error) (wire.Result, error) {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	// What arrived before the end counts: an abort stops also a run whose last step passed.
	if err := r.settle(ctx); err != nil {
		return wire.Result{}, err
	}
	if stop := r.stopped(ctx); stop != nil && cause == nil {
		cause = stop
	}
	r.ending = true
	r.Status.Gate, r.Status.Ask, r.Status.Open, r.asked = nil, nil, nil, nil
	how, why := "proven", ""
	if r.Run.Mode == action.ModePlan {
		how = "planned"
	}
	var stop *errStop
	var app *temporal.ApplicationError
	switch {
	case errors.As(cause, &stop):
		how, why = stop.kind, stop.why
	case temporal.IsCanceledError(cause):
		how, why = wire.ErrTypeAborted, "the run was cancelled"
	case errors.As(cause, &app):
		how, why = app.Type(), app.Message()
	case cause != nil:
		how, why = wire.ErrTypeNotProven, cause.Error()
	case len(r.Unproven) > 0:
		how, why = wire.ErrTypeNotProven, fmt.Sprintf("%s could not be planned: %s", plural.Of(len(r.Unproven), "step"), r.Unproven[0])
	}
	res := wire.Result{
		Mode: r.Run.Mode, Obligations: r.Obligations, Milestones: r.Status.Milestones,
		Exercised: r.Exercised, Proven: r.countSteps(proven), Nothing: r.countSteps(idle), Steps: r.countSteps(nil),
		Waived: len(r.Status.Waived),
	}
	if why == "" {
		if res.Verdict, res.Summary = r.passed(); res.Verdict == verdict.Nothing {
			how = wire.NothingToDo
		}
	} else {
		res.Verdict, res.Summary = r.failed(how), how+": "+why
	}
	if err := r.close(ctx, &res, how, why); err != nil && !errors.As(err, &stop) {
		return res, err
	}
	if r.fatal != nil { // a person ended it, and none of that is in the ledger
		how, why = stop.kind, stop.why
		res.Verdict, res.Summary, res.Unrecorded = r.failed(how), how+": "+why, r.lost
		if err := r.settle(ctx); err != nil {
			return res, err
		}
	}
	res.Head = r.Status.Head
	r.Status.State, r.Status.Verdict, r.Status.Why, r.Status.Doing = wire.StateEnded, res.Verdict, why, res.Summary
	r.show(ctx)
	if err := r.attributes(ctx, r.Compiled.Stages[min(r.Next, len(r.Compiled.Stages)-1)].Title); err != nil {
		return res, err
	}
	if why == "" {
		return res, nil
	}
	// The cause is text here: a run neither done nor undone must never be shown
	// as merely cancelled.
	return res, temporal.NewNonRetryableApplicationError(res.Summary, how, nil, res)
}

// close gives the lock back and writes the last entry.
func (r *run) close(ctx workflow.Context, res *wire.Result, how, why string) error {
	if r.fatal != nil {
		return r.fatal
	}
	if r.Run.Epoch > 0 {
		if err := r.release(ctx); err != nil {
			return err
		}
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	if err := r.tell(ctx); err != nil {
		return err
	}
	res.Head = r.Chain.Head.String()
	return r.record(ctx, ledger.RunEnded, "", "", wire.EndedBody{Result: *res, How: how, Why: why, Ended: workflow.Now(ctx).UTC()})
}

// passed is what a run comes to that nothing kept from its end: a pass, unless no step
// of it did anything.
func (r *run) passed() (verdict.Verdict, string) {
	v, word, did, had := verdict.Pass, "pass", "proven", "had nothing to do"
	all, n, none := r.countSteps(nil), r.countSteps(proven), r.countSteps(idle)
	if r.Run.Mode == action.ModePlan {
		did, had, n = "planned", "would have nothing to do", all-none
	}
	if n+len(r.Obligations)+len(r.Status.Waived) == 0 {
		v, word = verdict.Nothing, wire.NothingToDo
	}
	text := fmt.Sprintf("%s %s", plural.Of(n, "step"), did)
	if none > 0 {
		text += fmt.Sprintf(", %d %s", none, had)
	}
	if left := all - r.Exercised - none; left > 0 && r.Run.Mode == action.ModeDrill {
		text += fmt.Sprintf(", %d not run in a drill", left)
	}
	if n := len(r.Status.Waived); n > 0 {
		word = fmt.Sprintf("%s, %d waived", word, n)
	}
	text = word + ": " + text
	if n := len(r.Obligations); n > 0 {
		text += fmt.Sprintf(", %s open", plural.Of(n, "obligation"))
	}
	return v, text
}

// failed is the verdict of a run that stopped before its end: unknown where nothing was
// seen to be wrong, and who was asked about that stopped it, or let it be taken back.
func (r *run) failed(how string) verdict.Verdict {
	switch how {
	case wire.ErrTypeNotProven, wire.ErrTypeAborted, wire.ErrTypeUndone:
		if r.unsure || len(r.Unproven) > 0 && !r.Failed {
			return verdict.Unknown
		}
	}
	return verdict.Fail
}

// conclusive reports whether the error of an activity is an answer: asking again alone
// would not change it. Silence, and all that may pass, is none.
func conclusive(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.NonRetryable()
}

// hasMoved reports whether the world is not what the plan saw: planning again helps.
func hasMoved(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.Type() == wire.ErrTypeMoved
}

// countSteps counts the steps that are so; nil counts all.
func (r *run) countSteps(so func(wire.StepStatus) bool) int {
	n := 0
	for _, s := range r.Status.Stages {
		for _, st := range s.Steps {
			if so == nil || so(st) {
				n++
			}
		}
	}
	return n
}

func proven(s wire.StepStatus) bool { return s.State == "proven" && !idle(s) }

// idle is a step that had nothing to do. One without items was called proven by earlier
// releases.
func idle(s wire.StepStatus) bool {
	return s.State == wire.NothingToDo || s.State == "proven" && s.Items == 0
}

// settle waits until every decision that arrived was judged, so that none is
// lost at the end of a run.
func (r *run) settle(ctx workflow.Context) error {
	r.ending = true
	return r.judged(ctx)
}

// judged waits until every decision that arrived was judged.
func (r *run) judged(ctx workflow.Context) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	return workflow.Await(ctx, func() bool { return r.quiet(ctx) })
}

// quiet reports whether every decision that arrived was judged.
func (r *run) quiet(ctx workflow.Context) bool {
	return len(r.Inbox) == 0 && !r.clerk && workflow.AllHandlersFinished(ctx)
}

// stopped says why the run must not go on, if it must not.
func (r *run) stopped(ctx workflow.Context) error {
	switch {
	case r.fatal != nil:
		return r.fatal
	case r.abort != nil:
		return &errStop{wire.ErrTypeAborted, fmt.Sprintf("aborted by %s: %s", nameOf(*r.abort), orNone(r.abort.Reason))}
	case ctx.Err() != nil:
		return &errStop{wire.ErrTypeAborted, "the run was cancelled"}
	}
	return nil
}

func firstOf(findings []string) string {
	if len(findings) == 0 {
		return "nothing was looked at, from which nothing follows"
	}
	return findings[0]
}

func orNone(s string) string {
	if s == "" {
		return "no reason given"
	}
	return s
}

// silence is how long a worker may say nothing within an activity before it counts as
// dead; it says something every second. brief is how long an activity may take that does
// one thing, also where a store answers slowly.
const (
	silence = 5 * time.Second
	brief   = time.Minute
)

// looking are the options of an activity that is short and may be repeated
// without end: the worker's interceptor makes final errors final.
func looking(summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		StartToCloseTimeout: brief, HeartbeatTimeout: silence, Summary: clip.Bytes(summary, 200),
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: 500 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 10 * time.Second},
	}
}

// phase is how a phase of a step is asked for: in the run's own task queue, or in
// that of the query engine where the compiled step says so; what was compiled
// before steps could say so goes on as it was. A few attempts cure what a moment
// cures; after that a person is asked, who sees the error.
func phase(ctx workflow.Context, summary string, st runbook.Step) workflow.Context {
	o := workflow.ActivityOptions{
		StartToCloseTimeout: st.Timeout, HeartbeatTimeout: min(st.Timeout, silence), Summary: clip.Bytes(summary, 200),
		WaitForCancellation: true,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: 500 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 5 * time.Second, MaximumAttempts: 5,
		},
	}
	if st.Runs == action.OnQueries {
		o.TaskQueue = wire.QueryQueue(workflow.GetInfo(ctx).TaskQueueName)
	}
	return workflow.WithActivityOptions(ctx, o)
}

// short is an activity's error without Temporal's wrapping around it.
func short(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Message()
	}
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		return "no answer within the time limit (" + timeout.TimeoutType().String() + ")"
	}
	return err.Error()
}

// prove adds a sentence to what has been proven.
func (r *run) prove(sentence string) { r.Status.Proven = append(r.Status.Proven, sentence) }
