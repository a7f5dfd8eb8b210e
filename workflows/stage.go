package workflows

import (
	"fmt"
	"slices"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/ledger"
	"breakwater/internal/recovery"
	"breakwater/internal/runbook"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/workflow"
)

// atOnce is how many batches of a step are worked on at the same time.
const atOnce = 10

// batchPlan is the approved plan of one batch, and how far it has come.
type batchPlan struct {
	Batch runbook.Batch      `json:"batch"`
	Plan  wire.PlanResult    `json:"plan"`
	Prior *wire.ApplyResult  `json:"prior,omitempty"`
	Seen  *wire.VerifyResult `json:"seen,omitempty"`
	// Errors are why the last attempt came to nothing on the batch, or on items of it.
	Errors []string `json:"errors,omitempty"`
	// Refused says that one of them is an answer: the step was not done, and trying again
	// alone does not help.
	Refused bool `json:"refused,omitempty"`
	// Failed is how many items they are of, Which the first of these, and Begun that Apply
	// was tried on them.
	Failed int      `json:"failed,omitempty"`
	Which  []string `json:"which,omitempty"`
	Begun  bool     `json:"begun,omitempty"`
	// Moved says that it was refused because the world is not what its plan saw.
	Moved bool `json:"moved,omitempty"`
	// Applied is the attempt that Prior is of. An outcome stays when a later
	// attempt fails, since an undo needs it, but it is not that attempt's.
	Applied int `json:"applied,omitempty"`

	superseded string // how the run lost its estate, if it did
}

// stepPlan is a step with the plans of its batches. Checks in a stage that acts
// have batches without a plan.
type stepPlan struct {
	Step    runbook.Step `json:"step"`
	Batches []*batchPlan `json:"batches"`
}

// done is a step whose Apply was begun: what an undo would take back.
type done struct {
	Stage int      `json:"stage"`
	Plan  stepPlan `json:"plan"`
}

// stagePlan is what a stage's gate is about.
type stagePlan struct {
	attempt int
	root    string
	steps   []stepPlan
	leaves  []ledger.Leaf
	short   []wire.StepPlan
	accepts []action.Acceptance
	losses  []recovery.Given
	docs    []ledger.DocRef
	changed []string
	look    wire.Look // of a stage that only looks
	took    []wire.Interval
	errs    []string
	refused bool // one of errs is an answer, and not the lack of one
}

// stage plans, asks, applies and proves one stage.
func (r *run) stage(ctx workflow.Context, n int) error {
	s := r.Compiled.Stages[n]
	r.Status.Current = n
	r.forecast(ctx, n)
	if err := r.attributes(ctx, s.Title); err != nil {
		return err
	}
	if s.Approval == nil && !s.ChecksOnly() {
		return r.ungated(ctx, n)
	}
	whole := func(attempt int) (stagePlan, error) { return r.plan(ctx, n, all, attempt) }
	plan, err := r.plannable(ctx, n, whole, nil)
	if err != nil {
		return err
	}
	if s.Approval != nil && r.Run.Mode != action.ModePlan {
		if plan, err = r.open(ctx, n, plan, whole); err != nil {
			return err
		}
	}
	if s.ChecksOnly() {
		return r.looked(ctx, n, plan)
	}
	for i := range plan.steps {
		if err := r.ready(ctx); err != nil {
			return err
		}
		if err := r.step(ctx, n, i, plan.steps[i]); err != nil {
			return err
		}
	}
	return r.proven(ctx, n)
}

// all stands for every step of a stage.
const all = -1

// ungated runs a stage that nobody is asked about. Its steps are planned one by
// one, each after the one before is proven, so that one may build on what the
// other recorded: a gate needs the whole plan at once, and here is none.
func (r *run) ungated(ctx workflow.Context, n int) error {
	for i := range r.Compiled.Stages[n].Steps {
		plan, err := r.plannable(ctx, n, func(attempt int) (stagePlan, error) { return r.plan(ctx, n, i, attempt) }, nil)
		if err != nil {
			return err
		}
		if err := r.ready(ctx); err != nil {
			return err
		}
		if err := r.step(ctx, n, i, plan.steps[0]); err != nil {
			return err
		}
	}
	return r.proven(ctx, n)
}

// proven marks the stage, and its milestone.
func (r *run) proven(ctx workflow.Context, n int) error {
	s := r.Compiled.Stages[n]
	st := &r.Status.Stages[n]
	nothing := !slices.ContainsFunc(st.Steps, func(s wire.StepStatus) bool { return !idle(s) })
	switch {
	case nothing:
		st.State = wire.NothingToDo
	case r.Run.Mode == action.ModePlan:
		st.State = "planned"
	default:
		st.State = "proven"
	}
	switch {
	case s.Milestone == "" || r.Run.Mode == action.ModePlan:
		r.show(ctx)
		return nil
	case nothing: // the business got nothing by it
		return r.record(ctx, ledger.Note, s.ID, "", wire.NoteBody{Text: fmt.Sprintf("milestone %s was not reached: %s had nothing to do", s.Milestone, s.Title)})
	}
	m := wire.Milestone{Name: s.Milestone, Tier: s.Tier, At: workflow.Now(ctx).UTC()}
	r.Status.Milestones = append(r.Status.Milestones, m)
	return r.record(ctx, ledger.Note, s.ID, "", wire.NoteBody{Text: "milestone " + s.Milestone + " reached", Milestone: &m})
}

// acceptable reports whether what a look left unknown may be put to the gate, or
// was accepted before: an unreachable source is, and a table that does not come back.
func (r *run) acceptable(s runbook.Stage, plan stagePlan) bool {
	owed := owedBy(plan.look)
	if len(owed) == 0 || plan.look.Verdict != verdict.Unknown {
		return false
	}
	for _, id := range owed {
		offered := slices.ContainsFunc(plan.accepts, func(a action.Acceptance) bool { return a.ID == id })
		if !r.Run.Accepted(id) && (!offered || s.Approval == nil && r.Run.Mode != action.ModePlan) {
			return false
		}
	}
	return true
}

// owedBy is what people must accept for a look to be carried. A look that an earlier
// version took says only whether it is the source.
func owedBy(l wire.Look) []string {
	if l.OnlySource {
		return []string{action.AcceptSourceUnreachable}
	}
	return l.Owed
}

// mayOwe reports whether gates have accepted all that a look left unknown. What was seen
// to be wrong is nothing that anybody may owe.
func (r *run) mayOwe(l wire.Look) bool {
	owed := owedBy(l)
	return l.Verdict == verdict.Unknown && len(owed) > 0 && !slices.ContainsFunc(owed, func(id string) bool { return !r.Run.Accepted(id) })
}

func (r *run) recordPlan(ctx workflow.Context, stage string, p stagePlan, undo bool) error {
	return r.record(ctx, ledger.Planned, stage, "", wire.PlannedBody{
		Attempt: p.attempt, Root: p.root, Steps: p.short, Leaves: p.leaves, Accepts: p.accepts, Losses: p.losses,
		Changed: p.changed, Intervals: p.took, Undo: undo, Errors: first(p.errs),
	}, p.docs...)
}

// input is what a phase of a step on a batch is asked with.
func (r *run) input(st runbook.Step, b *batchPlan, attempt int) wire.PhaseInput {
	in := wire.PhaseInput{Estate: r.Compiled.Estate, Seq: r.stored, Step: st.ID, From: b.Batch.From, To: b.Batch.To, Attempt: attempt}
	if b.Plan.Doc.Key != "" {
		in.Plan = &b.Plan.Doc
	}
	if b.Prior != nil {
		in.Prior = &b.Prior.Doc
	}
	return in
}

// each runs f on every batch, [atOnce] of them at a time, and waits for all.
func (r *run) each(ctx workflow.Context, batches []*batchPlan, f func(workflow.Context, *batchPlan)) error {
	slots, wg := workflow.NewSemaphore(ctx, atOnce), workflow.NewWaitGroup(ctx)
	for _, b := range batches {
		if err := slots.Acquire(ctx, 1); err != nil {
			break // cancelled: what runs is waited for
		}
		wg.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer wg.Done()
			defer slots.Release(1)
			if r.ready(ctx) == nil {
				f(ctx, b)
			}
		})
	}
	wg.Wait(ctx)
	return r.fatal
}

// looked closes a stage that only looks: what its plan saw is its observation.
func (r *run) looked(ctx workflow.Context, n int, p stagePlan) error {
	s := r.Compiled.Stages[n]
	if err := r.record(ctx, ledger.Observed, s.ID, "", wire.ObservedBody{
		Attempt: p.attempt, Verdict: p.look.Verdict, Passed: p.look.Passed, Failed: p.look.Failed, Unknown: p.look.Unknown, Findings: p.look.Findings,
		Nothing: p.look.Nothing, None: p.look.None, Red: p.look.Red, RedMore: p.look.RedMore, Owed: owedBy(p.look),
	}, p.docs...); err != nil {
		return err
	}
	for i, sp := range p.steps {
		st := &r.Status.Stages[n].Steps[i]
		look := merge(sp.Step.ID, sp.Batches, func(b *batchPlan) *wire.Look { return b.Plan.Look })
		st.Verdict, st.Verified = look.Verdict, st.Items
		if st.Items > 0 {
			r.Exercised++
		}
		if err := r.concluded(ctx, n, i, look); err != nil {
			return err
		}
	}
	return r.proven(ctx, n)
}

// nothing says that a step has nothing to do, and why: that is neither proven nor failed.
func (r *run) nothing(n, i int, none ...string) {
	st := &r.Status.Stages[n].Steps[i]
	st.Verdict, st.State, st.None = verdict.Nothing, wire.NothingToDo, none
}

// none says what a step without items has none of.
func none(s runbook.Step) string {
	if s.Each == "" {
		return "the estate has nothing for it"
	}
	return fmt.Sprintf("no %s of the estate is in the scope of this step", s.Each)
}

// concluded says what a step that may pass has proven, and carries what it
// leaves to prove as obligations.
func (r *run) concluded(ctx workflow.Context, n, i int, look wire.Look) error {
	s, st := r.Compiled.Stages[n].Steps[i], &r.Status.Stages[n].Steps[i]
	switch look.Verdict {
	case verdict.Nothing:
		if s.Items == 0 {
			look.None = []string{none(s)}
		} else {
			r.Exercised--
		}
		r.nothing(n, i, look.None...)
		return nil
	case verdict.Pass:
		st.State = "proven"
		r.prove(fmt.Sprintf("%s (%s)", s.Title, of(s)))
		return nil
	}
	if r.Run.Mode == action.ModePlan {
		st.State = "not proven"
		return nil
	}
	if r.letBe(look) {
		st.State = "waived"
		return nil
	}
	if !r.mayOwe(look) { // a gate in between asked about it; whoever comes here without is stopped
		st.State = "not proven"
		return &errStop{wire.ErrTypeNotProven, fmt.Sprintf("step %q did not pass: %s", s.Title, firstOf(look.Findings))}
	}
	st.State = "obligation"
	what := look.Obligations
	if len(what) == 0 {
		what = look.Findings
	}
	for _, w := range what {
		o := action.Obligation{ID: fmt.Sprintf("O%d", len(r.Obligations)+1), Step: s.ID, Title: s.Title, What: w}
		r.Obligations = append(r.Obligations, o)
		r.Status.Obligations = r.Obligations
		if err := r.record(ctx, ledger.Obligation, r.Compiled.Stages[n].ID, s.ID, o); err != nil {
			return err
		}
	}
	return nil
}

func of(s runbook.Step) string {
	switch {
	case s.Each == "":
		return s.Action
	case s.Items == 1:
		return fmt.Sprintf("1 %s", s.Each)
	default:
		return fmt.Sprintf("%d %ss", s.Items, s.Each)
	}
}

// merge puts the looks of batches together. No batch at all is a step without
// items: there is nothing to do, and nothing is proven by that.
func merge(step string, batches []*batchPlan, get func(*batchPlan) *wire.Look) wire.Look {
	if len(batches) == 0 {
		return wire.Look{Verdict: verdict.Nothing}
	}
	var looks []wire.Look
	for _, b := range batches {
		l := get(b)
		if l != nil && b.Failed < b.items() {
			looks = append(looks, named(step, *l))
		}
		if l == nil || b.Failed > 0 {
			looks = append(looks, named(step, b.unseen()))
		}
	}
	m := wire.MergeLooks(looks...)
	m.Findings = m.Findings[:min(len(m.Findings), wire.Shown)]
	return m
}

// forecast says when the run would end if nobody had to be waited for.
func (r *run) forecast(ctx workflow.Context, n int) {
	var left []recovery.Estimate
	for _, s := range r.Compiled.Stages[n:] {
		for _, st := range s.Steps {
			left = append(left, recovery.Estimate{Step: st.Title, Known: true, PerItem: st.Estimate, Items: st.Items, Parallel: atOnce})
		}
	}
	at := recovery.ForecastFinish(time.Time{}, workflow.Now(ctx).UTC(), 0, left).Finish.Round(time.Second)
	r.Status.Finish = &at
}
