package table

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/table"
	"breakwater/internal/verdict"
)

func (s room) promoteActions(c *action.Catalogue) {
	action.Add(c, action.Action[action.None]{
		Name: "table.promote", Over: estate.TableKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Needs:  []string{"group.recovery-point"},
		Doc:    "Make the cut's version the head of a table at the target: later log files move aside, and nothing is destroyed.",
		Timing: action.Timing{Timeout: 30 * time.Minute, Estimate: 5 * time.Second},
		Plan:   s.planPromote, Apply: s.applyPromote, Verify: s.verifyPromote,
		Undo: &action.Undo[action.None]{Plan: s.planDemote, Apply: s.applyDemote, Verify: s.verifyDemote},
		// What it keeps is of the table's format, and shown as it stands.
		Rules: []action.Rule{
			{Do: "move aside", Says: "the object is copied to its place in the run's quarantine, and then hidden", Sends: []string{"put {bucket}/{data.aside.to}", "put {bucket}/{data.hint.was.to}", "delete {on}"}},
			{Do: "let it name a checkpoint that stays", Says: "the hint is kept in the run's quarantine, and then written", Sends: []string{"put {bucket}/{data.hint.was.to}", "put {on}"}},
			{Do: "bring back", Says: "the object that was moved aside is copied to where it was", Sends: []string{"put {on}"}},
			{Do: "make it what it was", Says: "the hint that was kept is written again, or hidden where there was none", Sends: []string{"put {on}", "delete {on}"}},
		},
		Permits: permit.Changes(permit.Target, permit.Tables),
		RedWhen: []action.Red{
			{Fault: "table.late-commit", Want: verdict.Fail},
			{Fault: "table.late-replica", Want: verdict.Fail},
			{Fault: "table.data-file-gone", Want: verdict.Fail},
			{Fault: "table.data-file-truncated", Want: verdict.Fail},
			{Fault: "table.log-gone", Want: verdict.Fail},
			{Fault: "table.hint-above", Want: verdict.Fail},
			{Fault: "table.quarantine-gone", Want: verdict.Fail},
			{Fault: "table.access-revoked", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	})
}

// promoting is a promotion that was planned, and who can do it.
type promoting struct {
	lake.Table
	promoter table.Promoter
	head     table.PlanHead
}

func promoterOf(t lake.Table) (table.Promoter, error) {
	p, err := table.Able[table.Promoter](t.Format.Name(), t.Format, "promoted")
	return p, lake.Classed(err)
}

// promoting reads an approved plan, or the plan of the promotion that is taken back.
func (s room) promoting(ctx context.Context, c action.Call[action.None]) (p promoting, err error) {
	if p.head, err = table.HeadOf(c.Plan.Data); err != nil {
		return p, err
	}
	if p.Table, err = s.lake.Table(ctx, c.Estate, c.Run.Target, c.Item.Name); err != nil {
		return p, err
	}
	p.promoter, err = promoterOf(p.Table)
	return p, err
}

// quarantine is the prefix under which a run keeps what it moves aside. Names
// with a leading dot are no part of a table to any engine.
func quarantine(t lake.Table, run action.Run) string {
	return t.Root.Prefix + "/.breakwater/quarantine/" + url.PathEscape(run.Workflow) + "." + url.PathEscape(run.FirstRun) + "/"
}

// work is how a format's call is watched over.
func work(c action.Request) table.Work { return table.Work{Guard: c.Guard, Progress: c.Progress} }

func (s room) planPromote(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	p, err := s.lake.PointOf(ctx, c)
	var not *lake.NotHereError
	if errors.As(err, &not) {
		return planLeftOut(not)
	}
	if err != nil {
		return action.Change{}, err
	}
	t := p.Site
	fail := func(doing string, err error) (action.Change, error) {
		return action.Change{}, fmt.Errorf("plan to promote table %s to version %d: %s: %w", t.Name, p.Version, doing, err)
	}
	if why, err := t.Bucket.Unversioned(ctx); err != nil {
		return fail("ask whether its bucket keeps versions", err)
	} else if why != "" {
		return fail(why, action.ErrRefused)
	}
	l, err := t.Open(ctx)
	if err != nil {
		return fail("open it", err)
	}
	snap, err := l.Snapshot(ctx, p.Version)
	if lake.LogBroken(err) {
		return fail("read that version", fmt.Errorf("%w; choose the recovery point again: %w", err, action.ErrMoved))
	}
	if err != nil {
		return fail("read that version", err)
	}
	promoter, err := promoterOf(t)
	if err != nil {
		return fail("ask its format", err)
	}
	move, err := promoter.PlanPromotion(ctx, t.Site(), l, snap, quarantine(t, c.Run))
	if err != nil {
		return action.Change{}, fmt.Errorf("plan to promote table %s to version %d: %w", t.Name, p.Version, lake.Classed(err))
	}
	if err := t.RefuseElsewhere(c.Estate, snap); err != nil {
		return fail("see where its files lie", err)
	}
	switch lacks, n, err := t.Lacking(ctx, snap); {
	case err != nil:
		return fail("list its objects", err)
	case len(lacks) > 0:
		return fail(fmt.Sprintf("%d of its %s now, the first: %v; choose the recovery point again", len(lacks), plural.Of(n, "object", "lacks", "lack"), lacks[0]), action.ErrMoved)
	}
	ch := action.Change{
		Summary: fmt.Sprintf("%s comes back to version %d of %s and loses %s", t.Name, p.Version, p.CommittedAt.Format(time.RFC3339), p.Loss.Words()),
		Accepts: t.AcceptOutside(c.Estate, snap), Loss: p.Loss.Given(), Estimate: time.Second + time.Duration(move.Objects)*50*time.Millisecond,
		Effects: lake.Effects(move.Effects), Data: move.Plan, Undo: move.Plan,
	}
	ch.Accepts = append(ch.Accepts, t.AcceptRewritten(l, p.Version, 0)...)
	if c.Estate.Witness.Bucket == "" && !c.Run.Unwitnessed { // golden queries come after this gate, and have no other
		ch.Accepts = append(ch.Accepts, action.Unwitnessed())
	}
	if !p.AssumedSince.IsZero() {
		ch.Accepts = append(ch.Accepts, lake.AcceptUnchanged(p.TablePoint, p.Loss))
	}
	for _, on := range move.Conditions {
		ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: on.On, Version: on.ETag})
	}
	ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: "recovery point of table " + t.Name, Version: fmt.Sprint(p.Version)})
	return ch, nil
}

// applyPromote does what is left of the approved plan.
func (s room) applyPromote(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	if _, out := leftOutBy(c.Plan); out {
		return action.Outcome{Summary: c.Item.Name + " is left as it is"}, nil
	}
	p, err := s.promoting(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s is at version %d", p.Name, p.head.Version)}
	out.Mutations, err = p.promoter.Promote(ctx, p.Site(), c.Plan.Data, work(c.Request))
	return out, lake.Classed(err)
}
