package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/permit"
	"breakwater/internal/reach"
	"breakwater/internal/record"
	"breakwater/internal/table"
	"breakwater/internal/verdict"
)

// rollbackWith says where a table goes back to: exactly one of the three.
type rollbackWith struct {
	ToVersion  *int64     `json:"to_version,omitempty" doc:"The version whose content comes back."`
	ToTime     *time.Time `json:"to_time,omitempty" doc:"The time whose version comes back: the last one committed at or before it, by in-commit timestamps where the table has them, else by the times of its log's objects. The plan says which."`
	ToLastGood bool       `json:"to_last_good,omitempty" doc:"Back to the version that table.last-good found in an earlier stage of this run."`
	KeepOthers bool       `json:"keep_others,omitempty" doc:"Keep what later commits changed that are not by the job, user or operation that table.last-good was told: with to_last_good alone."`
	Keep       []int64    `json:"keep,omitempty" doc:"Keep what these later versions changed. Refused by name where that cannot be told apart from what goes: where one changed what a commit that goes had brought."`
	Region     string     `json:"region,omitempty" doc:"The region whose copy of the table it is; the run's target, else the primary, when empty."`
	Copy       bool       `json:"copy,omitempty" doc:"Bring deleted objects back by copying, which needs no right to delete versions, instead of removing their delete markers."`
}

func (s room) rollbackActions(c *action.Catalogue) { action.Add(c, s.rollback()) }

func (s room) rollback() action.Action[rollbackWith] {
	return action.Action[rollbackWith]{
		Name: "table.rollback", Over: estate.TableKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Doc: "Bring back what a table held at an older version, by a new commit: no version is used twice, and the bad head stays readable. " +
			"Good commits after it can be kept: they are replayed on top. What only rearranged data, as OPTIMIZE does, is passed over, unless it rearranged nothing but what is kept. " +
			"Objects that the version needs and that were deleted since, by a VACUUM or a person, come back first, named in the same plan; undone, they stay.",
		Timing: action.Timing{Timeout: time.Hour, Estimate: 10 * time.Second},
		Plan:   s.planRollback, Apply: s.applyRollback, Verify: s.verifyRollback,
		Undo: &action.Undo[rollbackWith]{Plan: s.planRollforward, Apply: s.applyRollback, Verify: s.verifyRollback, Show: showRollback},
		Show: showRollback,
		Rules: append([]action.Rule{
			{Do: "commit version ", Says: "one log entry is written where there is none", Sends: []string{"put {on}"}},
			{Do: "add again * file", Says: "what is in that entry"},
			{Do: "remove * file", Says: "what is in that entry"},
			{Do: "replay ", Says: "what is in that entry"},
			{Do: "pass over ", Says: "what is not in that entry"},
			{Do: "leave the metadata domain ", Says: "what is not in that entry"},
			{Do: "keep version ", Says: "nothing is done to the bad head"},
		}, lake.LineRules()...),
		Permits: permit.Join(permit.Changes(permit.Target, permit.Tables), permit.Unhides(permit.Target, permit.Tables)),
		RedWhen: []action.Red{
			{Fault: "table.rollback-forgets-vectors", Want: verdict.Fail},
			{Fault: "table.rollback-forgets-a-file", Want: verdict.Fail},
			{Fault: "table.rollback-lowers-protocol", Want: verdict.Fail},
			{Fault: "table.late-commit", Want: verdict.Fail},
			{Fault: "table.data-file-gone", Want: verdict.Fail},
			{Fault: "table.data-file-truncated", Want: verdict.Fail},
			{Fault: "table.log-gone", Want: verdict.Fail},
			{Fault: "table.access-revoked", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	}
}

// rollbackPlan is the typed plan of table.rollback, and all that taking it back
// needs. The commit itself follows from it: Digest is of its every line.
type rollbackPlan struct {
	Region string  `json:"region"`           // whose copy of the table
	Target int64   `json:"target"`           // whose content comes back
	Keep   []int64 `json:"keep,omitempty"`   // later versions whose changes are kept, in order
	Head   int64   `json:"head"`             // the bad head, right above which the commit goes
	Token  string  `json:"token"`            // in the commit
	Digest string  `json:"digest,omitempty"` // of the commit; empty where there is nothing to do
	Done   bool    `json:"done,omitempty"`   // an earlier attempt of this run made the commit

	Metrics table.Metrics `json:"metrics"`
	Between table.Between `json:"between"`

	// Undelete brings back first what the target needs, as package rewind encodes
	// lines; Prefixes hold all of that.
	Undelete []byte   `json:"undelete,omitempty"`
	Prefixes []string `json:"prefixes,omitempty"`
}

// Words is [action.Worded]: what comes back first is encoded.
func (p rollbackPlan) Words() (any, error) {
	lines, err := lake.LineWords(p.Undelete)
	p.Undelete = nil
	return struct {
		Plan  rollbackPlan `json:"plan"`
		First []string     `json:"first,omitempty"`
	}{p, lines}, err
}

// to is what it brings back.
func (p rollbackPlan) to() table.Destination {
	return table.Destination{Version: p.Target, Keep: p.Keep}
}

var showRollback = action.Shows[rollbackPlan, rollbackPlan]()

// holds is the version that has the target's content once the plan is applied.
func (p rollbackPlan) holds() int64 {
	if p.Digest == "" {
		return p.Head
	}
	return p.Head + 1
}

func rollbackerOf(t lake.Table) (table.Rollbacker, error) {
	return table.Able[table.Rollbacker](t.Format.Name(), t.Format, "rolled back")
}

// rollbackError classifies what a format says of a rollback.
func rollbackError(err error) error {
	switch {
	case err == nil, reach.Unreachable(err):
		return err
	case errors.Is(err, table.ErrMoved):
		return fmt.Errorf("%w: plan again: %w", err, action.ErrMoved)
	case errors.Is(err, table.ErrRefused), errors.Is(err, table.ErrUnsupported), errors.Is(err, table.ErrTooEarly), errors.Is(err, table.ErrLost),
		errors.Is(err, fs.ErrNotExist) && !errors.Is(err, objectstore.ErrNoBucket):
		return fmt.Errorf("%w: %w", err, action.ErrRefused)
	}
	return err
}

func (s room) planRollback(ctx context.Context, c action.Call[rollbackWith]) (action.Change, error) {
	t, err := s.lake.TableIn(ctx, c.Run, c.Estate, c.With.Region, c.Item.Name)
	if err != nil {
		return action.Change{}, err
	}
	fail := func(doing string, err error) (action.Change, error) {
		return action.Change{}, fmt.Errorf("plan to roll back table %s in %s: %s: %w", t.Name, t.Region, doing, rollbackError(err))
	}
	l, err := t.Open(ctx)
	if err != nil {
		return fail("open it", err)
	}
	format, err := rollbackerOf(t)
	if err != nil {
		return fail("ask its format", err)
	}
	target, by, accepts, err := rollbackTarget(ctx, c, t, l)
	if err != nil {
		return fail("find the version", err)
	}
	keep, others, err := rollbackKeeps(ctx, c, t, format, l, target.Number)
	if err != nil {
		return fail("see what is kept", err)
	}
	accepts = append(accepts, others...)
	worked, err := workOut(ctx, t, format, l, table.Destination{Version: target.Number, Keep: keep}, c.With.Copy)
	if err != nil {
		return fail("work out the commit", err)
	}
	p := worked.Facts()
	plan := rollbackPlan{Region: t.Region, Target: target.Number, Keep: p.Replays, Head: p.Head.Number, Token: c.Token(), Digest: p.Digest, Metrics: p.Metrics, Between: p.Between}
	plan.with(worked.first)
	ch := action.Change{Estimate: 5*time.Second + time.Duration(p.Metrics.Restored+p.Metrics.Removed)*100*time.Microsecond}
	if p.Empty {
		if plan, err = rolledBack(ctx, format, l, plan); err != nil {
			return fail("see who committed its head", err)
		}
		ch.Summary = fmt.Sprintf("%s holds the content of version %d%s%s already, at version %d", t.Name, plan.Target, by, withKept(plan.Keep), plan.holds())
		describeFirst(t, &ch, worked.first)
	} else {
		describe(t, &ch, c, worked, by)
		ch.Accepts = append(append(ch.Accepts, accepts...), t.AcceptRewritten(l, p.Head.Number, p.Head.Number+1)...)
	}
	ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: "head of table " + t.Name + " in " + t.Region, Version: fmt.Sprint(p.Head.Number)})
	if ch.Data, err = action.Encode(plan); err != nil {
		return ch, err
	}
	ch.Undo = ch.Data
	return ch, nil
}

// rolledBack is the plan of a table whose head has the target's content: this
// run's own earlier commit, or nothing to do.
func rolledBack(ctx context.Context, format table.Rollbacker, l table.Table, plan rollbackPlan) (rollbackPlan, error) {
	commit, err := l.Commit(ctx, plan.Head)
	if err != nil && !lake.LogBroken(err) {
		return plan, err
	}
	if m, ok := format.MarkOf(commit); err == nil && ok && m.Token == plan.Token && m.Target == plan.Target && slices.Equal(m.Kept, plan.Keep) {
		plan.Head, plan.Digest, plan.Done = m.Bad, m.Plan, true
		return plan, nil
	}
	plan.Digest = ""
	return plan, nil
}

// applyRollback commits what the plan says, or finds the commit of an earlier
// attempt by its token. It also takes a rollback back, which is a rollback to the
// bad head.
func (s room) applyRollback(ctx context.Context, c action.Call[rollbackWith]) (action.Outcome, error) {
	plan, err := action.Decode[rollbackPlan](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	t, err := s.lake.Table(ctx, c.Estate, plan.Region, c.Item.Name)
	if err != nil {
		return action.Outcome{}, err
	}
	fail := func(doing string, err error) (action.Outcome, error) {
		return action.Outcome{}, fmt.Errorf("roll back table %s in %s to version %d: %s: %w", t.Name, t.Region, plan.Target, doing, rollbackError(err))
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s holds the content of version %d%s at version %d", t.Name, plan.Target, withKept(plan.Keep), plan.holds())}
	if out.Data, err = action.Encode(record.RolledBack{Table: t.Name, Version: plan.holds(), Target: plan.Target, BadHead: plan.Head, Kept: plan.Keep}); err != nil {
		return out, err
	}
	if plan.Digest == "" {
		if out.Mutations, err = plan.bringBack(ctx, t, work(c.Request)); err != nil {
			return fail("bring back what it needs", err)
		}
		return out, nil
	}
	format, err := rollbackerOf(t)
	if err != nil {
		return fail("ask its format", err)
	}
	switch _, err := format.FindRollback(ctx, t.Site(), plan.Head, plan.Token); {
	case err == nil:
		return out, nil
	case !errors.Is(err, fs.ErrNotExist) || !lake.Answered(err):
		return fail("look for an earlier attempt", err)
	}
	c.Progress(0, 2, "working out the commit from the log as it is now")
	l, err := t.Open(ctx)
	if err != nil {
		return fail("open it", err)
	}
	if head := l.Extent().Head; head != plan.Head {
		return fail(fmt.Sprintf("its head is version %d, planned against %d", head, plan.Head), table.ErrHeadMoved)
	}
	if out.Mutations, err = plan.bringBack(ctx, t, work(c.Request)); err != nil {
		return fail("bring back what it needs", err)
	}
	if len(plan.Undelete) > 0 { // of the log, too
		if l, err = t.Open(ctx); err != nil {
			return fail("open it again", err)
		}
	}
	p, err := format.PlanRollback(ctx, t.Site(), l, plan.to())
	if errors.Is(err, table.ErrMissing) {
		err = action.Classed(err, table.ErrMissing, table.ErrMoved)
	}
	if err != nil {
		return fail("work out the commit", err)
	}
	if digest := p.Facts().Digest; digest != plan.Digest {
		return fail(fmt.Sprintf("the commit would be %s, approved was %s", digest, plan.Digest), table.ErrHeadMoved)
	}
	if err := c.Guard(ctx); err != nil {
		return out, err
	}
	c.Progress(1, 2, "committing")
	_, wrote, err := p.Commit(ctx, table.Stamp{Token: plan.Token, Run: c.Run.Workflow, Now: time.Now()})
	if err != nil {
		return fail("commit", err)
	}
	if wrote {
		out.Mutations++
	}
	return out, nil
}
