package workflows

import (
	"fmt"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/ledger"
	"breakwater/internal/runbook"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/workflow"
)

// planner plans a stage, or what of it has to be planned again.
type planner func(attempt int) (stagePlan, error)

// plannable plans until the plan can be shown at a gate, or applied as it was approved:
// one that fails, or a look that is red, stops the run here and asks, whenever that is.
// before is the plan that people saw last, if they saw one.
func (r *run) plannable(ctx workflow.Context, n int, plan planner, before *stagePlan) (stagePlan, error) {
	s := r.Compiled.Stages[n]
	for attempt := r.planned(n) + 1; ; attempt++ {
		p, err := plan(attempt)
		if err != nil {
			return p, err
		}
		if before != nil {
			p.changed = difference(*before, p)
		}
		if err := r.recordPlan(ctx, s.ID, p, false); err != nil {
			return p, err
		}
		if sound, err := r.sound(ctx, n, p, before != nil); sound || err != nil {
			return p, err
		}
	}
}

// planned is how often a stage was planned.
func (r *run) planned(n int) int {
	if r.Planned.Stage != n {
		r.Planned = attempts{Stage: n}
	}
	return r.Planned.Plans
}

// attempts counts the plannings of a stage.
type attempts struct {
	Stage int `json:"stage"`
	Plans int `json:"plans"`
}

// sound reports whether a plan may be shown or applied. Where it may not be, people are
// asked, and it is planned again if they say so.
func (r *run) sound(ctx workflow.Context, n int, p stagePlan, approved bool) (bool, error) {
	s := r.Compiled.Stages[n]
	for {
		red, text, k := r.red(s, p)
		if len(red) == 0 {
			return true, nil
		}
		if r.Run.Mode == action.ModePlan { // nobody is asked: the report says what could not be planned
			r.Failed = r.Failed || !k.unknown
			for _, e := range first(red) {
				r.Unproven = append(r.Unproven, s.Title+": "+e)
			}
			return true, nil
		}
		if approved {
			text = "It was approved, and planned again: " + text
		}
		q := question{stage: n, step: s.ID, title: s.Title, text: text, findings: first(red), verbs: []approval.Verb{approval.Retry}}
		if len(p.errs) == 0 {
			q.verbs, q.items = append(q.verbs, approval.LookAgain, approval.Waive), r.stuckItems(p.look)
		}
		got, err := r.whatNext(ctx, q, k.unknown)
		switch {
		case err != nil:
			return false, err
		case got.Verb == approval.TakeBack:
			return false, r.undo(ctx, n, fmt.Sprintf("%s: %s", s.Title, red[0]))
		case got.Verb == approval.Waive:
			r.waive(n, got)
		default:
			return false, nil
		}
	}
}

// red says what of a plan keeps it from being shown or applied, and asks about it.
func (r *run) red(s runbook.Stage, p stagePlan) ([]string, string, stuck) {
	red, k := p.errs, stuck{unknown: !p.refused}
	question := fmt.Sprintf("Stage %q could not be planned.", s.Title)
	if k.unknown && len(p.errs) > 0 {
		question = fmt.Sprintf("Stage %q could not be planned: something did not answer, and nothing was seen to be wrong. Retry plans again: first mend what keeps it from answering.", s.Title)
	}
	if s.ChecksOnly() && !p.look.Verdict.Clear() && !r.acceptable(s, p) && !r.letBe(p.look) {
		red, k.unknown = append(slices.Clone(red), p.look.Findings...), k.unknown && p.look.Verdict == verdict.Unknown
		if len(p.errs) == 0 {
			question = fmt.Sprintf("Stage %q %s", s.Title, k)
		}
		if len(red) == 0 {
			red = append(red, "nothing was looked at, from which nothing follows")
		}
	}
	return red, question, k
}

// plan plans every step of a stage: `do` steps by their Plan, and in a stage
// that only looks the checks by looking.
func (r *run) plan(ctx workflow.Context, n, only, attempt int) (stagePlan, error) {
	s := r.Compiled.Stages[n]
	r.Status.State, r.Status.Stages[n].State = wire.StateRunning, "planning"
	r.Status.Doing = "planning " + s.Title
	r.show(ctx)
	p := stagePlan{attempt: attempt}
	r.planned(n)
	r.Planned.Plans = max(r.Planned.Plans, attempt)
	var looks []wire.Look
	for i, st := range s.Steps {
		if only != all && only != i {
			continue
		}
		sp := stepPlan{Step: st}
		for _, b := range st.Batches() {
			sp.Batches = append(sp.Batches, &batchPlan{Batch: b})
		}
		if st.Kind == runbook.Do || s.ChecksOnly() {
			status := &r.Status.Stages[n].Steps[i]
			status.Planned = 0
			if err := r.planBatches(ctx, st, sp.Batches, &p, func(b *batchPlan) { status.Planned += b.items() - b.Failed }); err != nil {
				return p, err
			}
			short := wire.StepPlan{Step: st.Title, Action: st.Action, Items: st.Items}
			var own []wire.Look
			if len(sp.Batches) == 0 {
				own = append(own, merge(st.ID, nil, nil))
				short.Summary = []string{wire.NothingToDo + ": " + none(st)}
			}
			for _, b := range sp.Batches {
				if b.Plan.Doc.Key != "" { // else its error is in errs
					p.add(&short, b.Plan)
				}
				if l := b.Plan.Look; l != nil && b.Failed < b.items() {
					own = append(own, named(st.ID, *l))
				}
				if b.Failed > 0 && st.Kind != runbook.Do {
					own = append(own, named(st.ID, b.unseen()))
				}
			}
			looks = append(looks, own...)
			status.State, status.Summary, status.Verdict = "planned", short.Summary, wire.MergeLooks(own...).Verdict
			p.short = append(p.short, short)
		}
		p.steps = append(p.steps, sp)
	}
	if s.ChecksOnly() {
		p.look = wire.MergeLooks(looks...)
	}
	p.root = ledger.Root(p.leaves)
	return p, nil
}

// planBatches plans batches of a step into a stage's plan.
func (r *run) planBatches(ctx workflow.Context, st runbook.Step, batches []*batchPlan, p *stagePlan, planned func(*batchPlan)) error {
	err := r.each(ctx, batches, func(ctx workflow.Context, b *batchPlan) {
		actx := phase(ctx, b.Batch.Label+" · plan "+st.Title, st)
		err := workflow.ExecuteActivity(actx, wire.Activity(st.Action, wire.PlanPhase), r.input(st, b, p.attempt)).Get(ctx, &b.Plan)
		b.failed("", err, b.Plan.Failures)
		planned(b)
		r.show(ctx)
	})
	if err != nil {
		return err
	}
	p.failed(st.Title, batches)
	return r.ready(ctx)
}

// add takes a batch's plan into the stage's.
func (p *stagePlan) add(short *wire.StepPlan, b wire.PlanResult) {
	short.Effects += b.Effects
	short.Summary = append(short.Summary, b.Summaries...)
	short.Summary = short.Summary[:min(len(short.Summary), wire.Shown*2)]
	p.leaves = append(p.leaves, b.Leaf)
	p.docs = append(p.docs, b.Doc)
	p.took = append(p.took, b.Interval)
	for _, a := range b.Accepts {
		if !slices.ContainsFunc(p.accepts, func(have action.Acceptance) bool { return have.ID == a.ID }) {
			p.accepts = append(p.accepts, a)
		}
	}
	p.losses = append(p.losses, b.Losses...)
}
