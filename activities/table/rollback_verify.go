package table

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/rollback"
	"breakwater/internal/table/delta/scan"
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
	back := rollbackPlan{Region: done.Region, Target: done.Head, Head: done.Head + 1, Token: done.Token + "/undo"}
	var ch action.Change
	finish := func() (action.Change, error) {
		ch.Data, err = action.Encode(back)
		return ch, err
	}
	none := func(because string) (action.Change, error) {
		ch.Summary = fmt.Sprintf("%s: nothing is to be taken back: %s", t.Name, because)
		return finish()
	}
	l, err := t.Open(ctx)
	if err != nil {
		return fail("open it", err)
	}
	if done.Digest == "" || l.Head() == done.Head {
		back.Head, back.Digest = l.Head(), ""
		back.Target = l.Head()
		return none("the rollback made no commit")
	}
	if _, err := rollback.Find(ctx, t.Store, t.Root, done.Head, done.Token); err != nil {
		return fail("find its commit", err)
	}
	if l.Head() > back.Head {
		m, err := rollback.Find(ctx, t.Store, t.Root, back.Head, back.Token)
		if err == nil && l.Head() == back.Head+1 {
			back.Digest, back.Done = m.Plan, true
			return none(fmt.Sprintf("version %d has the content of version %d again", l.Head(), done.Head))
		}
		if err != nil && !errors.Is(err, rollback.ErrMoved) {
			return fail("look at what came after it", err)
		}
		return fail(fmt.Sprintf("version %d and later ones came after the rollback and would be lost with it; roll back to a version in a run of its own", back.Head+1), action.ErrRefused)
	}
	p, err := rollback.New(ctx, t.Store, l, done.Head)
	if err != nil {
		return fail("work out the commit", err)
	}
	back.Digest, back.Metrics, back.Between = p.Digest, p.Metrics, p.Between
	describe(t, &ch, c, p, ", as it was before the rollback")
	ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: "head of table " + t.Name + " in " + t.Region, Version: fmt.Sprint(p.Head.Number)})
	return finish()
}

// verifyRollback opens the table anew and looks at it as its readers do. What it
// compares with comes from the versions themselves: the target's files, its rows
// as they read now, and the marks of the head that was replaced.
func (s room) verifyRollback(ctx context.Context, c action.Call[rollbackWith]) ([]action.Observation, error) {
	plan, err := action.Decode[rollbackPlan](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	t, err := s.lake.Table(ctx, c.Estate, plan.Region, c.Item.Name)
	if err != nil {
		return nil, err
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
		obs = append(obs, committed(ctx, t, c.Run, l, plan))
	}
	obs = append(obs, undisturbed(ctx, t, c.Run, l, v))
	was, err := l.Snapshot(ctx, plan.Target)
	if err != nil {
		return append(obs, t.NotSeen(c.Run, fmt.Sprintf("version %d, whose content came back, can be read", plan.Target), "a version that its log gives", err)), nil
	}
	obs = append(obs, sameFiles(t, was, is), sameRows(ctx, t, c.Run, was, is), t.Whole(ctx, c.Run, l, v))
	if plan.Digest == "" {
		return obs, nil
	}
	return append(obs, marksHold(ctx, t, c.Run, l, plan.Head, was, is)), nil
}

// committed observes that this run's commit, and nobody else's, is the version.
func committed(ctx context.Context, t lake.Table, run action.Run, l *delta.Log, plan rollbackPlan) action.Observation {
	what, want := fmt.Sprintf("version %d is the rollback that was approved", plan.holds()), "made by "+plan.Token
	commit, err := l.Commit(ctx, plan.holds())
	if err != nil {
		return t.NotSeen(run, what, want, err)
	}
	m, ok := rollback.MarkOf(commit.Info)
	got := "made by " + m.Token
	if !ok {
		got = "made by somebody else: " + operationName(commit.Operation)
	}
	return t.About(action.Saw(what, want, got, ok && m == table.Mark{Token: plan.Token, Run: run.Workflow, Plan: plan.Digest, Target: plan.Target, Bad: plan.Head} && commit.Operation == "RESTORE"))
}

// undisturbed observes that no version after the rollback changed data: those
// that only rearrange it may follow.
func undisturbed(ctx context.Context, t lake.Table, run action.Run, l *delta.Log, v int64) action.Observation {
	what, want := fmt.Sprintf("nothing changed the data after version %d", v), "no later version that adds or removes data"
	if l.Head() == v {
		return t.About(action.Saw(what, want, fmt.Sprintf("version %d is the head", v), true))
	}
	for _, g := range l.Gaps() {
		if g.Last > v {
			return t.About(action.Saw(what, want, fmt.Sprintf("versions %d to %d are missing from the log", g.First, g.Last), false))
		}
	}
	for a, err := range l.Actions(ctx, v+1, l.Head()) {
		if err != nil {
			return t.NotSeen(run, what, want, err)
		}
		if a.Kind != "add" && a.Kind != "remove" {
			continue
		}
		f, err := l.File(a)
		if err != nil {
			return t.NotSeen(run, what, want, err)
		}
		if f.DataChange {
			return t.About(action.Saw(what, want, fmt.Sprintf("version %d changes data: a writer was not stopped", a.Version), false))
		}
	}
	return t.About(action.Saw(what, want, fmt.Sprintf("versions %d to %d only rearrange data", v+1, l.Head()), true))
}

// logical names a logical file: a path alone would not tell which of its rows
// are deleted.
func logical(a delta.Add) string {
	bucket, key := a.File()
	return bucket + "/" + key + " " + a.Vector.ID()
}

// sameFiles compares the logical files of two versions.
func sameFiles(t lake.Table, was, is *delta.Snapshot) action.Observation {
	have := make(map[string]bool, is.Len())
	for a := range is.Each() {
		have[logical(a)] = true
	}
	var lost []string
	for a := range was.Files() {
		if id := logical(a); have[id] {
			delete(have, id)
		} else {
			lost = append(lost, a.Path)
		}
	}
	var problems []string
	if len(lost) > 0 {
		problems = append(problems, fmt.Sprintf("%d are missing, the first: %s", len(lost), lost[0]))
	}
	if len(have) > 0 {
		problems = append(problems, fmt.Sprintf("%d should not be there", len(have)))
	}
	got := fmt.Sprintf("the same %d files", is.Len())
	if problems != nil {
		got = strings.Join(problems, "; ")
	}
	return t.About(action.Saw(fmt.Sprintf("version %d has the files of version %d, by path and deletion vector", is.Version.Number, was.Version.Number),
		fmt.Sprintf("the same %d files", was.Len()), got, problems == nil))
}

// sameRows reads the rows of two versions and compares them.
func sameRows(ctx context.Context, t lake.Table, run action.Run, was, is *delta.Snapshot) action.Observation {
	what := fmt.Sprintf("version %d reads as version %d does", is.Version.Number, was.Version.Number)
	want, err := scan.Sum(ctx, t.Store, was)
	if err != nil {
		return t.NotSeen(run, what, fmt.Sprintf("the rows of version %d", was.Version.Number), err)
	}
	got, err := scan.Sum(ctx, t.Store, is)
	if err != nil {
		return t.NotSeen(run, what, "rows with digest "+want.String(), err)
	}
	return t.About(action.Saw(what, "rows with digest "+want.String(), "rows with digest "+got.String(), got == want))
}

// marksHold observes that nothing that only grows fell below what the bad head
// had given out, as far as the version that came back has it.
func marksHold(ctx context.Context, t lake.Table, run action.Run, l *delta.Log, head int64, was, is *delta.Snapshot) action.Observation {
	what, want := "identity, row id, column id and protocol marks did not fall", fmt.Sprintf("at least those of version %d", head)
	bad, err := l.Snapshot(ctx, head)
	var given, old, now rollback.Marks
	if err == nil {
		given, err = rollback.MarksOf(ctx, l, bad)
	}
	if err == nil {
		old, err = rollback.MarksOf(ctx, l, was)
	}
	if err == nil {
		now, err = rollback.MarksOf(ctx, l, is)
	}
	if err != nil {
		return t.NotSeen(run, what, want, err)
	}
	for name := range given.Identity { // a column that the target does not have gives nothing out
		if _, ok := old.Identity[name]; !ok {
			delete(given.Identity, name)
		}
	}
	low := append(now.Below(given), now.Below(old)...)
	got := "none is lower"
	if len(low) > 0 {
		got = strings.Join(low, "; ")
	}
	return t.About(action.Saw(what, want, got, len(low) == 0))
}

// The properties that say how long files and log entries stay after they are no
// longer needed, and what holds without them.
const (
	fileRetention        = "delta.deletedFileRetentionDuration"
	fileRetentionDefault = 7 * 24 * time.Hour
	logRetention         = "delta.logRetentionDuration"
	logRetentionDefault  = 30 * 24 * time.Hour
)
