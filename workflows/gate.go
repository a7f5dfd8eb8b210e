package workflows

import (
	"fmt"

	"breakwater/internal/approval"
	"breakwater/internal/authority"
	"breakwater/internal/clip"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// open puts a stage's plan to its gate until people approve a plan that is still
// the plan. At quorum it is planned again; if the world moved, the gate reopens as
// the next attempt and shows the difference.
func (r *run) open(ctx workflow.Context, n int, p stagePlan, again planner) (stagePlan, error) {
	s := r.Compiled.Stages[n]
	for {
		got, err := r.askGate(ctx, n, s.ID, *s.Approval, p, false)
		if err != nil {
			return p, err
		}
		if got.Verb == approval.TakeBack {
			return p, r.undo(ctx, n, fmt.Sprintf("%s asked at the gate of %s to take back what was done: %s", orUnnamed(got.Person), s.Title, orNone(got.Reason)))
		}
		next, err := r.plannable(ctx, n, again, &p)
		if err != nil {
			return p, err
		}
		if next.root == p.root {
			r.accepted(p)
			return p, nil
		}
		p = next
	}
}

// accepted takes over what approving the plan accepted.
func (r *run) accepted(p stagePlan) {
	authority.Accept(&r.Run, p.accepts, p.took)
	r.Status.Run = r.Run
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
func (r *run) askGate(ctx workflow.Context, n int, id string, a runbook.Approval, p stagePlan, undo bool) (answer, error) {
	q := question{
		stage: n, title: r.Compiled.Stages[n].Title, role: a.Role, undo: undo, gate: &gateOf{id: id, of: a, plan: p},
		verbs: []approval.Verb{approval.Approve, approval.Reject},
	}
	if !undo && r.undoable() == nil {
		q.verbs = append(q.verbs, approval.TakeBack)
	}
	got, err := r.ask(ctx, q)
	if err == nil && got.Verb == approval.Reject {
		err = &errStop{wire.ErrTypeRejected, fmt.Sprintf("%s rejected the plan of %s: %s", orUnnamed(got.Person), q.title, orNone(got.Reason))}
	}
	return got, err
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
	asks, _ := g.Spec.Offer(approval.Approve)
	st := &wire.GateStatus{
		ID: id, Attempt: p.attempt, Stage: title, Role: a.Role, Method: string(g.Spec.Role.Method),
		Quorum: asks.Quorum, Approved: approvedBy(g), Root: p.root, Direction: direction(undo), Head: g.Spec.About.Head, EstateDigest: g.Spec.About.Estate,
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
		set(wire.AttrState, string(r.view().State)), set(wire.AttrStage, stage), set(wire.AttrMode, string(r.Run.Mode)),
		set(wire.AttrEstate, r.Status.Estate), set(wire.AttrIncident, r.Run.Incident), set(wire.AttrVerdict, r.Status.Verdict.String()))
}
