package workflows

import (
	"fmt"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/ledger"
	"breakwater/internal/plural"
	"breakwater/internal/runbook"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/workflow"
)

// undo takes back what this run did, last first: planned, approved at a gate of
// its own, applied and verified. One failed undo does not stop the others, and
// it outranks everything: the run then ends as UndoFailed.
func (r *run) undo(ctx workflow.Context, n int, why string) error {
	var back []done
	for _, d := range slices.Backward(r.Done) {
		if d.Plan.Step.CanUndo && d.Plan.Step.Effect == action.Mutates {
			back = append(back, d)
		}
	}
	approval := r.approvalAt(n)
	if approval == nil {
		return &errStop{wire.ErrTypeNotProven, why + "; nothing can be taken back, since no stage of the runbook has an approval"}
	}
	for attempt := 1; ; attempt++ {
		p, err := r.planUndo(ctx, back, attempt)
		if err != nil {
			return err
		}
		if len(p.errs) > 0 {
			return &errStop{wire.ErrTypeUndoFailed, fmt.Sprintf("%s; taking back could not be planned: %s", why, p.errs[0])}
		}
		if err := r.recordPlan(ctx, r.Compiled.Stages[n].ID, p, true); err != nil {
			return err
		}
		if err := r.askGate(ctx, n, "take-back", *approval, p, true); err != nil {
			return err
		}
		again, err := r.planUndo(ctx, back, attempt+1)
		if err != nil {
			return err
		}
		if again.root != p.root {
			continue
		}
		return r.unwind(ctx, back, p, why)
	}
}

// planUndo plans taking back every step, last first.
func (r *run) planUndo(ctx workflow.Context, back []done, attempt int) (stagePlan, error) {
	r.Status.Doing = "planning to take back what this run did"
	r.show(ctx)
	p := stagePlan{attempt: attempt}
	for _, d := range back {
		st := d.Plan.Step
		sp := stepPlan{Step: st}
		for _, b := range d.Plan.Batches {
			sp.Batches = append(sp.Batches, &batchPlan{Batch: b.Batch})
		}
		err := r.each(ctx, sp.Batches, func(ctx workflow.Context, b *batchPlan) {
			i := slices.Index(sp.Batches, b)
			actx := phase(ctx, b.Batch.Label+" · plan to take back "+st.Title, st)
			err := workflow.ExecuteActivity(actx, wire.Activity(st.Action, wire.UndoPlanPhase), r.input(st, d.Plan.Batches[i], attempt)).Get(ctx, &b.Plan)
			b.failed("", err, b.Plan.Failures)
		})
		if err != nil {
			return p, err
		}
		s := wire.StepPlan{Step: "take back: " + st.Title, Action: st.Action, Items: st.Items}
		p.failed(st.Title, sp.Batches)
		for _, b := range sp.Batches {
			if b.Plan.Doc.Key != "" {
				p.add(&s, b.Plan)
			}
		}
		p.short, p.steps = append(p.short, s), append(p.steps, sp)
	}
	p.root = ledger.Root(p.leaves)
	return p, r.stopped(ctx)
}

// unwind applies and verifies the approved undo, also in a run that is cancelled
// meanwhile: half taken back is worse than either.
func (r *run) unwind(ctx workflow.Context, back []done, p stagePlan, why string) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	var failed []string
	seen := false // that one of them is not taken back; else it is not known
	for i, sp := range p.steps {
		st, d := sp.Step, back[i]
		stage := r.Compiled.Stages[d.Stage]
		r.Status.Doing = "taking back: " + st.Title
		r.show(ctx)
		var plans []ledger.DocRef
		for _, b := range sp.Batches {
			plans = append(plans, b.Plan.Doc)
		}
		if err := r.record(ctx, ledger.Intent, stage.ID, st.ID, wire.IntentBody{Attempt: p.attempt, Undo: true, Epoch: r.Run.Epoch}, plans...); err != nil {
			return err
		}
		for j, b := range sp.Batches {
			r.takeBack(ctx, st, p.attempt, b, d.Plan.Batches[j])
		}
		look := merge(sp.Batches, func(b *batchPlan) *wire.Look {
			if b.Seen == nil {
				return nil
			}
			return &b.Seen.Look
		})
		if err := r.recordStep(ctx, stage.ID, st, p.attempt, sp.Batches, look, true); err != nil {
			return err
		}
		switch {
		case look.Verdict == verdict.Pass:
			r.prove("taken back: " + st.Title)
		case !look.Verdict.Clear():
			failed = append(failed, st.Title+": "+look.Findings[0])
			seen = seen || look.Verdict == verdict.Fail
		}
	}
	switch {
	case len(failed) > 0 && !seen:
		return &errStop{wire.ErrTypeUndoFailed, fmt.Sprintf("%s; of %s it is unknown whether all was taken back: %s", why, plural.Of(len(failed), "step"), failed[0])}
	case len(failed) > 0:
		return &errStop{wire.ErrTypeUndoFailed, fmt.Sprintf("%s; %s could not be taken back: %s", why, plural.Of(len(failed), "step"), failed[0])}
	}
	return &errStop{wire.ErrTypeUndone, why + "; what this run did was taken back and that was proven"}
}

// takeBack applies and verifies the undo of one batch.
func (r *run) takeBack(ctx workflow.Context, st runbook.Step, attempt int, b, original *batchPlan) {
	in := r.input(st, b, attempt)
	if original.Prior != nil {
		in.Prior = &original.Prior.Doc
	}
	actx := phase(ctx, b.Batch.Label+" · take back "+st.Title, st)
	var res wire.ApplyResult
	err := workflow.ExecuteActivity(actx, wire.Activity(st.Action, wire.UndoApplyPhase), in).Get(ctx, &res)
	if b.failed("take back: ", err, res.Failures); err != nil {
		return
	}
	b.Prior, b.Applied, in.Applied = &res, attempt, &res.Doc
	if b.Failed == b.items() {
		return
	}
	actx = phase(ctx, b.Batch.Label+" · prove taken back "+st.Title, st)
	var seen wire.VerifyResult
	err = workflow.ExecuteActivity(actx, wire.Activity(st.Action, wire.UndoVerifyPhase), in).Get(ctx, &seen)
	if b.failed("verify: ", err, seen.Failures); err == nil {
		b.Seen = &seen
	}
}
