package workflows

import (
	"errors"
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

// back is what may be taken back, last first. Nothing before a step that cannot be taken
// back is among it: whatever protects what that step did, such as a fence, must stay. The
// error says why it is nothing at all.
func (r *run) back() ([]done, error) {
	var back []done
	barrier := ""
	for _, d := range slices.Backward(r.Done) {
		st := d.Plan.Step
		if st.Effect != action.Mutates {
			continue
		}
		if stage := r.Compiled.Stages[d.Stage]; stage.PointOfNoReturn {
			return nil, fmt.Errorf("the run is past the point of no return, since %q began: %s", stage.Title, r.wayBack())
		}
		if !st.CanUndo && barrier == "" {
			barrier = st.Title
		}
		if barrier == "" {
			back = append(back, d)
		}
	}
	switch {
	case len(back) > 0:
		return back, nil
	case barrier != "":
		return nil, fmt.Errorf("step %q cannot be taken back, and what came before it stays with it: %s", barrier, r.wayBack())
	}
	return nil, errors.New("this run did nothing that would have to be taken back")
}

// wayBack is what there is where taking back is not possible.
func (r *run) wayBack() string {
	if r.Run.Source != "" && r.Run.Target != "" {
		return fmt.Sprintf("going back is a failback, a run of its own from %s to %s, with a plan and gates of its own", r.Run.Target, r.Run.Source)
	}
	return "going back is a run of its own, a failback, with a plan and gates of its own"
}

// undoable says why undo is not offered; nil where it is.
func (r *run) undoable() error {
	if r.approvalAt(min(r.Status.Current, len(r.Compiled.Stages)-1)) == nil {
		return errors.New("no stage so far has an approval, and taking back needs one")
	}
	_, err := r.back()
	return err
}

// undo takes back what this run did, last first: planned, approved at a gate of its own,
// applied and verified. It stops at the first step that cannot be taken back and asks: a
// fence is lifted only when everything after it was taken back. What fails outranks
// everything, and the run then ends as UndoFailed.
func (r *run) undo(ctx workflow.Context, n int, why string) error {
	back, err := r.back()
	if err != nil {
		return &errStop{wire.ErrTypeNotProven, why + "; nothing was taken back: " + err.Error()}
	}
	u := &unwinding{why: why}
	var before *stagePlan
	for {
		p, err := r.plannedBack(ctx, n, back, before)
		if err != nil {
			return u.ended(err)
		}
		if before == nil || before.root != p.root {
			if _, err := r.askGate(ctx, n, wire.UndoGate, *r.approvalAt(n), p, true); err != nil {
				return u.ended(err)
			}
			before = &p
			continue // planned again: still the plan?
		}
		left, err := r.unwind(ctx, n, back, p, u)
		if err != nil {
			return u.ended(err)
		}
		if len(left) == 0 {
			return &errStop{wire.ErrTypeUndone, why + "; what this run did was taken back and that was proven"}
		}
		back, before = left, nil // the world moved: what is left is planned and approved anew
	}
}

// unwinding is how far taking back has come.
type unwinding struct {
	why    string
	begun  int    // steps
	failed string // the one that is not, or not known to be, taken back
}

// ended is how a run ends that took back not all: where something was taken back, or
// could not be, the estate is neither before nor after, whoever stopped it and how.
func (u *unwinding) ended(err error) error {
	var stop *errStop
	switch {
	case u.begun == 0 || !errors.As(err, &stop):
		return err
	case u.failed != "":
		return &errStop{wire.ErrTypeUndoFailed, fmt.Sprintf("%s; %s; %s", u.why, u.failed, stop.why)}
	}
	return &errStop{wire.ErrTypeUndoFailed, fmt.Sprintf("%s; taking back was stopped half-way: %s", u.why, stop.why)}
}

// plannedBack plans taking back until that can be shown. Where it cannot be planned,
// people are asked.
func (r *run) plannedBack(ctx workflow.Context, n int, back []done, before *stagePlan) (stagePlan, error) {
	for {
		p, err := r.planUndo(ctx, back, r.Undos+1)
		if err != nil {
			return p, err
		}
		if before != nil {
			p.changed = difference(*before, p)
		}
		if len(p.errs) == 0 {
			return p, r.recordPlan(ctx, r.Compiled.Stages[n].ID, p, true)
		}
		if _, err := r.whatNext(ctx, question{
			stage: n, title: "Take back what this run did", text: "Taking back could not be planned.", findings: first(p.errs), undo: true,
			verbs: []approval.Verb{approval.Retry},
		}, !p.refused); err != nil {
			return p, err
		}
	}
}

// planUndo plans taking back every step, last first. A step that was planned twice is
// taken back twice, and each of its plans of taking back has a number of its own.
func (r *run) planUndo(ctx workflow.Context, back []done, attempt int) (stagePlan, error) {
	r.Status.Doing = "planning to take back what this run did"
	r.show(ctx)
	p := stagePlan{attempt: attempt}
	r.Undos = attempt
	for k, d := range back {
		st, number := d.Plan.Step, attempt+twice(back[:k], d)
		r.Undos = max(r.Undos, number)
		sp := stepPlan{Step: st}
		for _, b := range d.Plan.Batches {
			sp.Batches = append(sp.Batches, &batchPlan{Batch: b.Batch})
		}
		err := r.each(ctx, sp.Batches, func(ctx workflow.Context, b *batchPlan) {
			i := slices.Index(sp.Batches, b)
			actx := phase(ctx, b.Batch.Label+" · plan to take back "+st.Title, st)
			err := workflow.ExecuteActivity(actx, wire.Activity(st.Action, wire.UndoPlanPhase), r.input(st, d.Plan.Batches[i], number)).Get(ctx, &b.Plan)
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
	return p, r.ready(ctx)
}

// twice is how often a step was met before.
func twice(before []done, d done) int {
	n := 0
	for _, b := range before {
		if b.Plan.Step.ID == d.Plan.Step.ID {
			n++
		}
	}
	return n
}

// unwind applies and verifies the approved undo, also in a run that is cancelled
// meanwhile: half taken back is worse than either. It returns what is still to be taken
// back by another plan, because the world moved.
func (r *run) unwind(ctx workflow.Context, n int, back []done, p stagePlan, u *unwinding) ([]done, error) {
	for i, sp := range p.steps {
		if err := r.ready(ctx); err != nil && ctx.Err() == nil {
			return nil, err
		}
		u.begun++
		acts := true
		for attempt := r.Undos + min(1, twice(back[:i], back[i])); ; attempt++ {
			r.Undos = max(r.Undos, attempt)
			look, err := r.takeBackStep(ctx, back[i], sp, attempt, acts)
			if err != nil {
				return nil, err
			}
			if look.Verdict.Clear() {
				break
			}
			k := stuckAt(sp, look)
			if u.failed = fmt.Sprintf("step %q could not be taken back: %s", sp.Step.Title, firstOf(look.Findings)); look.Verdict == verdict.Unknown {
				u.failed = fmt.Sprintf("of step %q it is unknown whether it was taken back: %s", sp.Step.Title, firstOf(look.Findings))
			}
			got, err := r.whatNext(ctx, question{
				stage: n, step: sp.Step.ID, title: "take back: " + sp.Step.Title, findings: look.Findings, undo: true,
				text:  fmt.Sprintf("Taking back step %q %s Nothing before it is taken back until it is.", sp.Step.Title, k),
				verbs: []approval.Verb{approval.Retry, approval.LookAgain},
			}, false)
			if err != nil {
				return nil, err
			}
			if acts = got.Verb == approval.Retry; acts && slices.ContainsFunc(sp.Batches, func(b *batchPlan) bool { return b.Moved }) {
				u.failed = ""
				return back[i:], nil
			}
		}
		u.failed = ""
	}
	return nil, nil
}

// takeBackStep is one attempt at taking back a step.
func (r *run) takeBackStep(ctx workflow.Context, d done, sp stepPlan, attempt int, acts bool) (wire.Look, error) {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	st, stage := sp.Step, r.Compiled.Stages[d.Stage]
	r.Status.Doing = "taking back: " + st.Title
	r.show(ctx)
	if acts {
		var plans []ledger.DocRef
		for _, b := range sp.Batches {
			plans = append(plans, b.Plan.Doc)
		}
		if err := r.record(ctx, ledger.Intent, stage.ID, st.ID, wire.IntentBody{Attempt: attempt, Undo: true, Epoch: r.Run.Epoch}, plans...); err != nil {
			return wire.Look{}, err
		}
	}
	for j, b := range sp.Batches {
		r.takeBack(ctx, st, attempt, b, d.Plan.Batches[j], acts)
	}
	look := merge(st.ID, sp.Batches, func(b *batchPlan) *wire.Look {
		if b.Seen == nil {
			return nil
		}
		return &b.Seen.Look
	})
	if err := r.recordStep(ctx, stage.ID, st, attempt, sp.Batches, look, acts, true); err != nil {
		return look, err
	}
	if look.Verdict == verdict.Pass {
		r.prove("taken back: " + st.Title)
	}
	return look, superseded(sp.Batches)
}

// takeBack applies and verifies the undo of one batch.
func (r *run) takeBack(ctx workflow.Context, st runbook.Step, attempt int, b, original *batchPlan, acts bool) {
	in := r.input(st, b, attempt)
	in.Prior = nil
	if original.Prior != nil {
		in.Prior = &original.Prior.Doc
	}
	b.anew()
	b.Moved = b.Moved && !acts
	if acts {
		actx := phase(ctx, b.Batch.Label+" · take back "+st.Title, st)
		var res wire.ApplyResult
		err := workflow.ExecuteActivity(actx, wire.Activity(st.Action, wire.UndoApplyPhase), in).Get(ctx, &res)
		if b.failed("take back: ", err, res.Failures); err != nil {
			b.Begun = true
			return
		}
		b.Prior, b.Applied, in.Applied = &res, attempt, &res.Doc
		if b.Failed == b.items() {
			return
		}
	}
	actx := phase(ctx, b.Batch.Label+" · prove taken back "+st.Title, st)
	var seen wire.VerifyResult
	err := workflow.ExecuteActivity(actx, wire.Activity(st.Action, wire.UndoVerifyPhase), in).Get(ctx, &seen)
	if b.failed("verify: ", err, seen.Failures); err == nil {
		b.Seen = &seen
	}
}
