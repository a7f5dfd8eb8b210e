package table

import (
	"context"
	"errors"
	"fmt"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/table"
)

// planRollforward takes a rollback back: the bad head comes back as one more
// commit. What others committed after the rollback is not thrown away by it.
func (s room) planRollforward(ctx context.Context, c action.Call[rollbackWith]) (action.Change, error) {
	done, err := action.Decode[rollbackPlan](c.Plan.Data)
	if err != nil {
		return action.Change{}, err
	}
	t, err := s.lake.Table(ctx, c.Estate, done.Region, c.Item.Name)
	if err != nil {
		return action.Change{}, err
	}
	fail := func(doing string, err error) (action.Change, error) {
		return action.Change{}, fmt.Errorf("plan to take the rollback of table %s to version %d back: %s: %w", t.Name, done.Target, doing, rollbackError(err))
	}
	back := rollbackPlan{Region: done.Region, Target: done.Head, Head: done.Head + 1, Token: undoToken(done.Token)}
	var ch action.Change
	finish := func() (action.Change, error) {
		ch.Data, err = action.Encode(back)
		return ch, err
	}
	none := func(because string) (action.Change, error) {
		if len(done.Undelete) > 0 {
			because += "; objects that it brought back stay"
		}
		ch.Summary = fmt.Sprintf("%s: nothing is to be taken back: %s", t.Name, because)
		return finish()
	}
	l, err := t.Open(ctx)
	if err != nil {
		return fail("open it", err)
	}
	head := l.Extent().Head
	if done.Digest == "" || head == done.Head {
		back.Head, back.Digest = head, ""
		back.Target = head
		return none("the rollback made no commit")
	}
	format, err := rollbackerOf(t)
	if err != nil {
		return fail("ask its format", err)
	}
	if _, err := format.FindRollback(ctx, t.Site(), done.Head, done.Token); err != nil {
		return fail("find its commit", err)
	}
	if head > back.Head {
		m, err := format.FindRollback(ctx, t.Site(), back.Head, back.Token)
		if err == nil && head == back.Head+1 {
			back.Digest, back.Done = m.Plan, true
			return none(fmt.Sprintf("version %d has the content of version %d again", head, done.Head))
		}
		if err != nil && !errors.Is(err, table.ErrMoved) {
			return fail("look at what came after it", err)
		}
		return fail(fmt.Sprintf("version %d and later ones came after the rollback and would be lost with it; roll back to a version in a run of its own", back.Head+1), action.ErrRefused)
	}
	worked, err := workOut(ctx, t, format, l, table.Destination{Version: done.Head}, c.With.Copy)
	if err != nil {
		return fail("work out the commit", err)
	}
	p := worked.Facts()
	back.Digest, back.Metrics, back.Between = p.Digest, p.Metrics, p.Between
	back.with(worked.first)
	describe(t, &ch, c, worked, ", as it was before the rollback")
	ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: "head of table " + t.Name + " in " + t.Region, Version: fmt.Sprint(p.Head.Number)})
	return finish()
}

// verifyRollback opens the table anew and looks at it as its readers do. What it
// compares with comes from the versions themselves: the target's files, what each kept
// version changed, the rows of what came back, and the marks of the head that was replaced.
func (s room) verifyRollback(ctx context.Context, c action.Call[rollbackWith]) ([]action.Observation, error) {
	plan, err := action.Decode[rollbackPlan](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	t, err := s.lake.Table(ctx, c.Estate, plan.Region, c.Item.Name)
	if err != nil {
		return nil, err
	}
	format, err := table.Able[table.RollbackChecker](t.Format.Name(), t.Format, "looked at after a rollback")
	if err != nil {
		return nil, lake.Classed(err)
	}
	v := plan.holds()
	what := fmt.Sprintf("version %d can be read", v)
	l, err := t.Open(ctx)
	if err != nil {
		return []action.Observation{t.NotSeen(c.Run, what, "a log", err)}, nil
	}
	is, err := l.Snapshot(ctx, v)
	if err != nil {
		return []action.Observation{t.NotSeen(c.Run, what, "a version that its log gives", err)}, nil
	}
	obs := []action.Observation{t.About(action.Saw(what, "it can", "it can", true))}
	if plan.Digest != "" {
		mark := table.Mark{Token: plan.Token, Run: c.Run.Workflow, Plan: plan.Digest, Target: plan.Target, Bad: plan.Head, Kept: plan.Keep}
		obs = append(obs, t.Looked(c.Run, format.Committed(ctx, l, v, mark))...)
	}
	obs = append(obs, t.Looked(c.Run, format.Undisturbed(ctx, l, v))...)
	was, err := l.Snapshot(ctx, plan.Target)
	if err != nil {
		return append(obs, t.NotSeen(c.Run, fmt.Sprintf("version %d, whose content came back, can be read", plan.Target), "a version that its log gives", err)), nil
	}
	obs = append(obs, t.Looked(c.Run, format.SameFiles(ctx, l, was, plan.Keep, is))...)
	unburied, brought, err := plan.notBuried(ctx, t, c.Run)
	if err != nil {
		return nil, err
	}
	obs = append(obs, unburied...)
	obs = append(obs, t.Looked(c.Run, format.SameRows(ctx, l, plan.Head, was, plan.Keep, is, brought))...)
	obs = append(obs, t.Whole(ctx, c.Run, l, v))
	if plan.Digest == "" {
		return obs, nil
	}
	return append(obs, t.Looked(c.Run, format.MarksHold(ctx, l, plan.Head, was, is))...), nil
}
