package workflows

import (
	"fmt"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/clip"
	"breakwater/internal/ledger"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// gate is an open gate.
type gate struct {
	approval.Gate
}

// open puts a stage's plan to its gate until people approve a plan that is still
// the plan. At quorum the stage is planned again; if the world moved, the gate
// reopens as the next attempt and shows the difference.
func (r *run) open(ctx workflow.Context, n int, p stagePlan) (stagePlan, error) {
	s := r.Compiled.Stages[n]
	for {
		if err := r.askGate(ctx, n, s.ID, *s.Approval, p, false); err != nil {
			return p, err
		}
		if err := r.stopped(ctx); err != nil {
			return p, err
		}
		again, err := r.planAgain(ctx, n, p.attempt+1)
		if err != nil {
			return p, err
		}
		again.changed = difference(p, again)
		if err := r.recordPlan(ctx, s.ID, again, false); err != nil {
			return p, err
		}
		if again.root == p.root {
			r.accepted(p)
			return p, nil
		}
		p = again
	}
}

// planAgain plans an approved stage once more. A plan that fails now asks, as
// the first one does.
func (r *run) planAgain(ctx workflow.Context, n, attempt int) (stagePlan, error) {
	for ; ; attempt++ {
		p, err := r.plan(ctx, n, all, attempt)
		if err != nil || len(p.errs) == 0 {
			return p, err
		}
		s := r.Compiled.Stages[n]
		if _, err := r.askWhatNext(ctx, n, s.ID, s.Title, fmt.Sprintf("Stage %q was approved, and could not be planned again.", s.Title), first(p.errs), !p.refused); err != nil {
			return p, err
		}
	}
}

// accepted takes over what approving the plan accepted.
func (r *run) accepted(p stagePlan) {
	for _, a := range p.accepts {
		switch a.ID {
		case action.AcceptSourceDead:
			r.Run.SourceDead = true
			r.Status.Run = r.Run
		case action.AcceptSourceUnreachable:
			r.Run.SourceUnreachable = true
			for _, i := range p.took {
				if r.Run.SourceLost == nil || i.End.After(*r.Run.SourceLost) {
					r.Run.SourceLost = &i.End
				}
			}
			r.Status.Run = r.Run
		case action.AcceptUnwitnessed:
			r.Run.Unwitnessed = true
			r.Status.Run = r.Run
		default:
			if table, ok := action.LeftOutBy(a.ID); ok && !r.Run.Accepted(a.ID) {
				r.Run.LeftOut = append(slices.Clip(r.Run.LeftOut), table)
				r.Status.Run = r.Run
			}
		}
	}
}

// difference says which items' plans are not what they were.
func difference(before, after stagePlan) []string {
	type place struct{ step, item string }
	was := make(map[place]string, len(before.leaves))
	for _, l := range before.leaves {
		was[place{l.Step, l.Item}] = l.SHA256
	}
	var changed []string
	for _, l := range after.leaves {
		old, there := was[place{l.Step, l.Item}]
		switch {
		case !there:
			changed = append(changed, fmt.Sprintf("%s: %s is new in the plan", l.Step, l.Item))
		case old != l.SHA256:
			changed = append(changed, fmt.Sprintf("%s: the plan for %s is another one now", l.Step, l.Item))
		}
		delete(was, place{l.Step, l.Item})
	}
	for _, l := range before.leaves { // in the plan's order, not the map's
		if _, left := was[place{l.Step, l.Item}]; left {
			changed = append(changed, fmt.Sprintf("%s: %s is no longer in the plan", l.Step, l.Item))
		}
	}
	return changed
}

// askGate opens a gate for a plan and waits for it. It returns an error if the
// plan was not approved.
func (r *run) askGate(ctx workflow.Context, n int, id string, a runbook.Approval, p stagePlan, undo bool) error {
	role, ok := r.Compiled.Role(a.Role)
	if !ok {
		return &errStop{wire.ErrTypeNotProven, fmt.Sprintf("role %q of gate %s is not in the estate", a.Role, id)}
	}
	live := r.Run.Mode == action.ModeLive
	quorum := approval.Quorum(a.Quorum, live, false)
	body := wire.GateBody{Gate: id, Attempt: p.attempt, Role: a.Role, Method: string(role.Method), Quorum: quorum, Root: p.root}
	if err := r.record(ctx, ledger.GateOpened, r.Compiled.Stages[n].ID, "", body); err != nil {
		return err
	}
	opened, err := approval.NewGate(approval.Spec{
		About: approval.Statement{
			Namespace: r.Run.Namespace, Run: r.Chain.Head.Run, Gate: id, Attempt: p.attempt,
			Plan: p.root, Mode: string(r.Run.Mode), Direction: direction(undo), Estate: r.Compiled.EstateDigest, Head: r.Chain.Head.String(),
		},
		Role: role, Live: live,
		Offers: []approval.Offer{{Verb: approval.Approve, Quorum: quorum}, {Verb: approval.Reject, Quorum: 1}},
	})
	if err != nil {
		return &errStop{wire.ErrTypeNotProven, err.Error()}
	}
	r.showGate(ctx, n, id, a, opened, p, undo)
	r.gate = &gate{opened}
	r.show(ctx)
	if err := r.attributes(ctx, r.Compiled.Stages[n].Title); err != nil {
		return err
	}
	err = r.await(ctx, a)
	closed := r.gate.Gate
	r.gate, r.Status.Gate, r.Status.State = nil, nil, wire.StateRunning
	stop := r.stopped(ctx)
	if stop == nil && err != nil {
		stop = err
	}
	for _, v := range closed.Votes {
		body.By = append(body.By, v.Person)
	}
	body.How = string(closed.Decided)
	if stop != nil {
		body.How = "stopped"
	}
	if err := r.record(ctx, ledger.GateClosed, r.Compiled.Stages[n].ID, "", body); err != nil {
		return err
	}
	switch {
	case stop != nil:
		return stop
	case closed.Decided == approval.Reject:
		last := closed.Votes[len(closed.Votes)-1]
		return &errStop{wire.ErrTypeRejected, fmt.Sprintf("%s rejected the plan of %s: %s", last.Person, r.Compiled.Stages[n].Title, orNone(last.Reason))}
	}
	return r.attributes(ctx, r.Compiled.Stages[n].Title)
}

func direction(undo bool) string {
	if undo {
		return approval.Undo
	}
	return approval.Do
}

// showGate makes the open gate visible: everything that an approval must name.
func (r *run) showGate(ctx workflow.Context, n int, id string, a runbook.Approval, g approval.Gate, p stagePlan, undo bool) {
	title := r.Compiled.Stages[n].Title
	if undo {
		title = "Take back what this run did"
	}
	st := &wire.GateStatus{
		ID: id, Attempt: p.attempt, Stage: title, Role: a.Role, Method: string(g.Spec.Role.Method),
		Quorum: g.Missing(approval.Approve), Root: p.root, Direction: direction(undo), Head: g.Spec.About.Head, EstateDigest: g.Spec.About.Estate,
		Plan: p.short, Accepts: p.accepts, Losses: p.losses, Changed: p.changed, Opened: workflow.Now(ctx).UTC(), Next: a.Escalate,
	}
	for _, m := range g.Spec.Role.Members {
		st.Members = append(st.Members, m.Name)
	}
	r.Status.Gate = st
	r.Status.Stages[n].State = "waiting"
	r.Status.State = wire.StateGate
	r.Status.Doing = fmt.Sprintf("waiting for %d of %s to approve %s", st.Quorum, a.Role, title)
}

// await waits for the open gate, reminding as often as the runbook says.
func (r *run) await(ctx workflow.Context, a runbook.Approval) error {
	settled := func() bool {
		return r.gate.Status != approval.Open || r.abort != nil || r.fatal != nil
	}
	if a.Reminder == 0 {
		return workflow.Await(ctx, settled)
	}
	for {
		ok, err := r.awaitFor(ctx, a, settled)
		if ok || err != nil {
			return err
		}
		r.Status.Gate.Reminded++
		r.show(ctx)
	}
}

// awaitFor waits until the gate is settled or a reminder is due. Its timer is
// cancelled when the gate is settled first, so that none is left pending.
func (r *run) awaitFor(ctx workflow.Context, a runbook.Approval, settled func() bool) (bool, error) {
	tctx, stop := workflow.WithCancel(ctx)
	defer stop()
	timer := workflow.NewTimerWithOptions(tctx, a.Reminder.Std(), workflow.TimerOptions{Summary: "remind " + a.Role})
	err := workflow.Await(ctx, func() bool { return settled() || timer.IsReady() })
	if err == nil {
		err = ctx.Err() // a cancelled run's timer is ready too
	}
	return settled(), err
}

// attributes keeps the search attributes at what the run is doing. Each upsert
// is an event, so it is called on a change of state alone.
func (r *run) attributes(ctx workflow.Context, stage string) error {
	set := func(name, value string) temporal.SearchAttributeUpdate {
		return temporal.NewSearchAttributeKeyKeyword(name).ValueSet(clip.Bytes(value, 200))
	}
	return workflow.UpsertTypedSearchAttributes(ctx,
		set(wire.AttrState, string(r.Status.State)), set(wire.AttrStage, stage), set(wire.AttrMode, string(r.Run.Mode)),
		set(wire.AttrEstate, r.Status.Estate), set(wire.AttrIncident, r.Run.Incident), set(wire.AttrVerdict, r.Status.Verdict.String()))
}
