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

// runs reports whether a step acts or looks in this mode. A plan runs only what
// writes records; a drill runs what is declared for drills; what does not run is
// reported as not exercised.
func (r *run) runs(s runbook.Step) bool {
	switch r.Run.Mode {
	case action.ModeLive:
		return true
	case action.ModeDrill:
		return s.Drill != action.DrillSkipped && s.Kind != runbook.Ask
	default:
		return s.Kind == runbook.Do && s.Effect == action.RecordsOnly
	}
}

// step applies a step to all of its items and proves it, asking a person for as
// long as it does not pass.
func (r *run) step(ctx workflow.Context, n, i int, sp stepPlan) error {
	s, st := sp.Step, &r.Status.Stages[n].Steps[i]
	if !r.runs(s) {
		if st.State = "not run"; s.Items == 0 {
			r.nothing(n, i, none(s))
		}
		r.show(ctx)
		return nil
	}
	// In mode plan nobody was asked about a plan that failed: its error is in the report,
	// and the rest is applied without it.
	partly := s.Kind == runbook.Do && r.Run.Mode == action.ModePlan && slices.ContainsFunc(sp.Batches, func(b *batchPlan) bool { return b.Failed > 0 })
	if partly {
		sp.Batches = slices.DeleteFunc(slices.Clone(sp.Batches), func(b *batchPlan) bool { return b.Failed == b.items() })
		if len(sp.Batches) == 0 {
			st.State = "not proven"
			r.show(ctx)
			return nil
		}
		defer func() { st.State = "not proven" }()
	}
	if s.Items > 0 {
		r.Exercised++
	}
	r.Status.Stages[n].State = "applying"
	if s.Kind == runbook.Ask {
		if err := r.askPerson(ctx, n, s); err != nil {
			return err
		}
	}
	acts := s.Kind == runbook.Do
	for attempt := 1; ; attempt++ {
		look, err := r.tryStep(ctx, n, i, attempt, sp, acts)
		if err != nil {
			return err
		}
		st.Verdict = look.Verdict
		again, err := r.settleStep(ctx, n, i, sp, look)
		if err != nil || again == "" {
			return err
		}
		if acts = s.Kind == runbook.Do && again == approval.Retry; acts {
			if sp, err = r.replan(ctx, n, sp); err != nil {
				return err
			}
		}
	}
}

// settleStep concludes a step whose look is clear, owed or waived. Else people are asked,
// and it returns what they say: to try again, or only to look again.
func (r *run) settleStep(ctx workflow.Context, n, i int, sp stepPlan, look wire.Look) (approval.Verb, error) {
	s, st := sp.Step, &r.Status.Stages[n].Steps[i]
	for {
		if look.Verdict.Clear() || r.mayOwe(look) || r.letBe(look) {
			return "", r.concluded(ctx, n, i, look)
		}
		k := stuckAt(sp, look)
		st.State = k.state()
		if r.Run.Mode == action.ModePlan {
			r.Failed = r.Failed || !k.unknown
			r.Unproven = append(r.Unproven, fmt.Sprintf("%s: %s", s.Title, look.Findings[0]))
			return "", nil
		}
		got, err := r.whatNext(ctx, question{
			stage: n, step: s.ID, title: s.Title, text: fmt.Sprintf("Step %q %s", s.Title, k), findings: look.Findings,
			verbs: []approval.Verb{approval.Retry, approval.LookAgain, approval.Waive}, items: r.stuckItems(look),
		}, k.unknown)
		switch {
		case err != nil:
			return "", err
		case got.Verb == approval.TakeBack:
			return "", r.undo(ctx, n, fmt.Sprintf("step %q %s: %s", s.Title, k.short(), look.Findings[0]))
		case got.Verb != approval.Waive:
			return got.Verb, nil
		}
		r.waive(n, got)
	}
}

// replan plans anew what could not be done because the world moved since it was approved,
// and puts the difference to the stage's gate again: the same plan would be refused for
// ever. What was done by the plan before stays done, and is taken back by it.
func (r *run) replan(ctx workflow.Context, n int, sp stepPlan) (stepPlan, error) {
	s, st := r.Compiled.Stages[n], sp.Step
	var moved []int
	was := stagePlan{}
	for k, b := range sp.Batches {
		if b.Moved {
			moved = append(moved, k)
			was.leaves = append(was.leaves, b.Plan.Leaf)
		}
	}
	if len(moved) == 0 {
		return sp, nil
	}
	again := func(attempt int) (stagePlan, error) {
		p := stagePlan{attempt: attempt}
		r.Planned.Plans = max(r.Planned.Plans, attempt)
		part := stepPlan{Step: st}
		for _, k := range moved {
			part.Batches = append(part.Batches, &batchPlan{Batch: sp.Batches[k].Batch})
		}
		if err := r.planBatches(ctx, st, part.Batches, &p, func(*batchPlan) {}); err != nil {
			return p, err
		}
		short := wire.StepPlan{Step: st.Title, Action: st.Action}
		for _, b := range part.Batches {
			if b.Plan.Doc.Key != "" {
				short.Items += b.Batch.To - b.Batch.From
				p.add(&short, b.Plan)
			}
		}
		p.short, p.steps, p.root = []wire.StepPlan{short}, []stepPlan{part}, ledger.Root(p.leaves)
		return p, nil
	}
	p, err := r.plannable(ctx, n, again, &was)
	if err != nil {
		return sp, err
	}
	if p.root == ledger.Root(was.leaves) { // the world is again what it was
		return sp, nil
	}
	if s.Approval != nil && r.Run.Mode != action.ModePlan {
		if p, err = r.open(ctx, n, p, again); err != nil {
			return sp, err
		}
	}
	next := stepPlan{Step: st, Batches: slices.Clone(sp.Batches)}
	for j, k := range moved {
		next.Batches[k] = p.steps[0].Batches[j]
	}
	r.Done = append(r.Done, done{Stage: n, Plan: p.steps[0]})
	r.Status.Stages[n].State = "applying"
	return next, nil
}

// stuck is how a step or a stage stands that a person is asked about.
type stuck struct {
	unknown bool // nothing was seen to be wrong: it could not be looked at, or nobody knows whether it was done
	refused bool // its Apply was
	begun   bool // its Apply ended without an answer
}

// stuckAt is how a step stands after an attempt that did not pass.
func stuckAt(sp stepPlan, look wire.Look) stuck {
	var k stuck
	for _, b := range sp.Batches {
		k.refused = k.refused || b.Refused
		k.begun = k.begun || b.Begun
	}
	k.unknown = look.Verdict == verdict.Unknown && !k.refused
	return k
}

// state is the word for it in a status.
func (k stuck) state() string {
	if k.unknown {
		return "unknown"
	}
	return "failed"
}

// short says it within a sentence.
func (k stuck) short() string {
	switch {
	case k.unknown:
		return "is unknown"
	case k.refused:
		return "could not be done"
	}
	return "did not pass"
}

// String says it to who is asked, with the next move where it is not in the findings.
func (k stuck) String() string {
	switch {
	case k.unknown && k.begun:
		return k.short() + ": doing it ended without an answer, so it may be done in part. Retry goes on where it stands, and does nothing twice."
	case k.unknown:
		return k.short() + ": it could not be looked at, and nothing was seen to be wrong. Retry looks again: first mend what keeps it from being seen."
	}
	return k.short() + "."
}

// tryStep is one attempt: intent, apply and verify of every batch that has not
// passed yet; or verify alone, where something was done by hand or there is only
// something to look at.
func (r *run) tryStep(ctx workflow.Context, n, i, attempt int, sp stepPlan, acts bool) (wire.Look, error) {
	s, st := sp.Step, &r.Status.Stages[n].Steps[i]
	stage := r.Compiled.Stages[n]
	r.Status.State, st.State, st.Applied, st.Verified = wire.StateRunning, "running", 0, 0
	r.Status.Doing = s.Title
	r.show(ctx)
	var todo []*batchPlan
	var plans []ledger.DocRef
	for _, b := range sp.Batches {
		if b.Seen != nil && b.Failed == 0 && b.Seen.Look.Verdict.Clear() {
			st.Applied, st.Verified = st.Applied+b.items(), st.Verified+b.items()
			continue
		}
		b.anew()
		b.Moved = b.Moved && !acts
		todo = append(todo, b)
		plans = append(plans, b.Plan.Doc)
	}
	if acts {
		if attempt == 1 {
			r.Done = append(r.Done, done{Stage: n, Plan: sp})
		}
		if err := r.record(ctx, ledger.Intent, stage.ID, s.ID, wire.IntentBody{Attempt: attempt, Epoch: r.Run.Epoch}, plans...); err != nil {
			return wire.Look{}, err
		}
	}
	err := r.each(ctx, todo, func(ctx workflow.Context, b *batchPlan) {
		if acts {
			var res wire.ApplyResult
			actx := phase(ctx, b.Batch.Label+" · "+s.Title, s)
			err := workflow.ExecuteActivity(actx, wire.Activity(s.Action, wire.ApplyPhase), r.input(s, b, attempt)).Get(ctx, &res)
			if b.failed("apply: ", err, res.Failures); err != nil {
				b.Begun = true
				return
			}
			b.Prior, b.Applied, b.Begun = &res, attempt, b.Failed > 0
			st.Applied += b.items() - b.Failed
			if r.show(ctx); b.Failed == b.items() {
				return
			}
		}
		var seen wire.VerifyResult
		in := r.input(s, b, attempt)
		if acts {
			in.Applied = &b.Prior.Doc
		}
		actx := phase(ctx, b.Batch.Label+" · prove "+s.Title, s)
		err := workflow.ExecuteActivity(actx, wire.Activity(s.Action, wire.VerifyPhase), in).Get(ctx, &seen)
		refused := b.Refused
		b.failed("verify: ", err, seen.Failures)
		if b.Refused = refused; err != nil { // a look that is refused has seen nothing wrong
			return
		}
		b.Seen = &seen
		st.Verified += b.items() - b.Failed
		r.show(ctx)
	})
	if err != nil {
		return wire.Look{}, err
	}
	look := merge(s.ID, sp.Batches, func(b *batchPlan) *wire.Look {
		if b.Seen == nil {
			return nil
		}
		return &b.Seen.Look
	})
	if err := r.recordStep(ctx, stage.ID, s, attempt, todo, look, acts, false); err != nil {
		return look, err
	}
	if err := superseded(todo); err != nil {
		return look, err
	}
	return look, r.stopped(ctx)
}

// recordStep writes what was done and what was seen.
func (r *run) recordStep(ctx workflow.Context, stage string, s runbook.Step, attempt int, batches []*batchPlan, look wire.Look, acted, undo bool) error {
	out := wire.OutcomeBody{Attempt: attempt, Undo: undo}
	obs := wire.ObservedBody{
		Attempt: attempt, Undo: undo, Verdict: look.Verdict, Findings: look.Findings,
		Passed: look.Passed, Failed: look.Failed, Unknown: look.Unknown, Nothing: look.Nothing, None: look.None,
		Red: look.Red, RedMore: look.RedMore, Owed: owedBy(look),
	}
	var outcomes, observed []ledger.DocRef
	for _, b := range batches {
		out.Errors = append(out.Errors, b.Errors...)
		if b.Prior != nil && b.Applied == attempt {
			out.Mutations += b.Prior.Mutations
			out.Intervals = append(out.Intervals, b.Prior.Interval)
			outcomes = append(outcomes, b.Prior.Doc)
		}
		if b.Seen != nil {
			obs.Intervals = append(obs.Intervals, b.Seen.Interval)
			observed = append(observed, b.Seen.Doc)
		}
	}
	out.Errors = first(out.Errors)
	if acted {
		if err := r.record(ctx, ledger.Outcome, stage, s.ID, out, outcomes...); err != nil {
			return err
		}
	}
	return r.record(ctx, ledger.Observed, stage, s.ID, obs, observed...)
}
