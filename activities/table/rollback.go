package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/reach"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/rollback"
	"breakwater/internal/table/location"
	"breakwater/internal/verdict"
)

// rollbackWith says where a table goes back to: exactly one of the two.
type rollbackWith struct {
	ToVersion *int64     `json:"to_version,omitempty" doc:"The version whose content comes back."`
	ToTime    *time.Time `json:"to_time,omitempty" doc:"The time whose version comes back: the last one committed at or before it, by in-commit timestamps where the table has them, else by the times of its log's objects. The plan says which."`
	Region    string     `json:"region,omitempty" doc:"The region whose copy of the table it is; the run's target, else the primary, when empty."`
}

func (s room) rollbackActions(c *action.Catalogue) { action.Add(c, s.rollback()) }

func (s room) rollback() action.Action[rollbackWith] {
	return action.Action[rollbackWith]{
		Name: "table.rollback", Over: estate.TableKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Doc:    "Bring back what a table held at an older version, by a new commit: no version is used twice, and the bad head stays readable.",
		Timing: action.Timing{Timeout: time.Hour, Estimate: 10 * time.Second},
		Plan:   s.planRollback, Apply: s.applyRollback, Verify: s.verifyRollback,
		Undo: &action.Undo[rollbackWith]{Plan: s.planRollforward, Apply: s.applyRollback, Verify: s.verifyRollback},
		RedWhen: []action.Red{
			{Fault: "table.rollback-forgets-vectors", Want: verdict.Fail},
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
	Region string `json:"region"`           // whose copy of the table
	Target int64  `json:"target"`           // whose content comes back
	Head   int64  `json:"head"`             // the bad head, right above which the commit goes
	Token  string `json:"token"`            // in the commit
	Digest string `json:"digest,omitempty"` // of the commit; empty where there is nothing to do
	Done   bool   `json:"done,omitempty"`   // an earlier attempt of this run made the commit

	Metrics table.Metrics `json:"metrics"`
	Between table.Between `json:"between"`
}

// holds is the version that has the target's content once the plan is applied.
func (p rollbackPlan) holds() int64 {
	if p.Digest == "" {
		return p.Head
	}
	return p.Head + 1
}

// RollbackOutcome is what table.rollback leaves for later steps and the report.
type RollbackOutcome struct {
	Table   string `json:"table"`
	Version int64  `json:"version"`  // that holds the target's content
	Target  int64  `json:"target"`   //
	BadHead int64  `json:"bad_head"` // the evidence: see [table.Mark]
}

// rollbackStore is a bucket as package restore commits to it.
type rollbackStore struct{ location.Bucket }

var _ rollback.Store = rollbackStore{}

// PutIfAbsent writes a log entry where there is none.
func (s rollbackStore) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	_, err := s.Bucket.Of.PutIfAbsent(ctx, key, body)
	return err
}

// rollbackError classifies what package restore says.
func rollbackError(err error) error {
	var feature *delta.FeatureError
	switch {
	case err == nil, reach.Unreachable(err):
		return err
	case errors.Is(err, rollback.ErrMoved):
		return fmt.Errorf("%w: plan again: %w", err, action.ErrMoved)
	case errors.Is(err, rollback.ErrRefused), errors.As(err, &feature), errors.Is(err, table.ErrTooEarly), errors.Is(err, delta.ErrNoStart),
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
	if (c.With.ToVersion == nil) == (c.With.ToTime == nil) {
		return fail("read its parameters", fmt.Errorf("give either to_version or to_time: %w", action.ErrRefused))
	}
	l, err := t.Open(ctx)
	if err != nil {
		return fail("open it", err)
	}
	target, by, err := rollbackTarget(ctx, t, l, c.With)
	if err != nil {
		return fail("find the version", err)
	}
	p, err := rollback.New(ctx, t.Store, l, target.Number)
	if err != nil {
		return fail("work out the commit", err)
	}
	plan := rollbackPlan{Region: t.Region, Target: target.Number, Head: p.Head.Number, Token: c.Token(), Digest: p.Digest, Metrics: p.Metrics, Between: p.Between}
	ch := action.Change{Estimate: 5*time.Second + time.Duration(p.Metrics.Restored+p.Metrics.Removed)*100*time.Microsecond}
	if p.Empty() {
		if plan, err = rolledBack(ctx, t, l, plan); err != nil {
			return fail("see who committed its head", err)
		}
		ch.Summary = fmt.Sprintf("%s holds the content of version %d%s already, at version %d", t.Name, plan.Target, by, plan.holds())
	} else {
		describe(t, &ch, c, p, by)
	}
	ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: "head of table " + t.Name + " in " + t.Region, Version: fmt.Sprint(p.Head.Number)})
	if ch.Data, err = action.Encode(plan); err != nil {
		return ch, err
	}
	ch.Undo = ch.Data
	return ch, nil
}

// rollbackTarget is the version that is asked for, and in words how it was found.
func rollbackTarget(ctx context.Context, t lake.Table, l *delta.Log, with rollbackWith) (table.Version, string, error) {
	if with.ToVersion != nil {
		return table.Version{Number: *with.ToVersion}, "", nil
	}
	times, err := l.Times(ctx)
	if err != nil {
		return table.Version{}, "", err
	}
	v, err := times.At(*with.ToTime)
	if err != nil {
		return v, "", err
	}
	clock := map[table.TimeSource]string{table.InCommit: "in-commit time", table.CommitInfo: "the time in its commit", table.ObjectTime: "the time of its log object"}[v.From]
	by := fmt.Sprintf(" of %s by %s, the last at or before %s", v.Time.Format(time.RFC3339Nano), clock, with.ToTime.UTC().Format(time.RFC3339Nano))
	if v.From != table.InCommit && len(times.Warnings) > 0 {
		by += " (" + strings.Join(times.Warnings, "; ") + ")"
	}
	return v, by, nil
}

// rolledBack is the plan of a table whose head has the target's content: this
// run's own earlier commit, or nothing to do.
func rolledBack(ctx context.Context, t lake.Table, l *delta.Log, plan rollbackPlan) (rollbackPlan, error) {
	commit, err := l.Commit(ctx, plan.Head)
	if err != nil && !lake.LogBroken(err) {
		return plan, err
	}
	if m, ok := rollback.MarkOf(commit.Info); err == nil && ok && m.Token == plan.Token && m.Target == plan.Target {
		plan.Head, plan.Digest, plan.Done = m.Bad, m.Plan, true
		return plan, nil
	}
	plan.Digest = ""
	return plan, nil
}

// shownFiles is how many files of each kind a plan names; the digest has them all.
const shownFiles = 5

// describe says what the commit changes, what it leaves, and what approving it
// accepts.
func describe(t lake.Table, ch *action.Change, c action.Call[rollbackWith], p *rollback.Plan, by string) {
	m := p.Metrics
	on := t.Bucket.URL(t.Root.Prefix)
	ch.Summary = fmt.Sprintf("%s goes back from version %d to the content of version %d%s: %d files added again, %d removed, %s rows where there are %s",
		t.Name, p.Head.Number, p.Target.Number, by, m.Restored, m.Removed, rowCount(m.RowsAfter), rowCount(m.RowsBefore))
	ch.Effects = append(ch.Effects, action.EffectLine{
		On: on, Do: fmt.Sprintf("commit version %d with the content of version %d; the commit's digest is %s", p.Head.Number+1, p.Target.Number, p.Digest),
		From: fmt.Sprintf("version %d, %s rows", p.Head.Number, rowCount(m.RowsBefore)), To: fmt.Sprintf("%d files, %d bytes, %s rows", m.FilesAfter, m.BytesAfter, rowCount(m.RowsAfter)),
	})
	list := func(do string, paths []string, bytes int64) {
		if len(paths) == 0 {
			return
		}
		text := strings.Join(paths[:min(len(paths), shownFiles)], ", ")
		if len(paths) > shownFiles {
			text += fmt.Sprintf(", and %d more", len(paths)-shownFiles)
		}
		ch.Effects = append(ch.Effects, action.EffectLine{On: on, Do: fmt.Sprintf("%s %d files of %d bytes", do, len(paths), bytes), To: text})
	}
	list("add again", p.Added(), m.RestoredBytes)
	list("remove", p.Removed(), m.RemovedBytes)
	for _, name := range p.Kept {
		ch.Effects = append(ch.Effects, action.EffectLine{On: on, Do: "leave the metadata domain " + name + " as it is now"})
	}
	now := c.Run.Started
	conf := p.Configuration()
	files, okFiles := interval(conf, fileRetention, fileRetentionDefault)
	logs, okLogs := interval(conf, logRetention, logRetentionDefault)
	if okFiles && okLogs {
		ch.Effects = append(ch.Effects, action.EffectLine{
			On: on, Do: fmt.Sprintf("keep version %d as evidence: VACUUM leaves its files alone until %s, log cleanup its entry until about %s; copy it elsewhere before that",
				p.Head.Number, now.Add(files).Format(time.RFC3339), p.Head.Time.Add(logs).Format(time.RFC3339)),
		})
	}
	ch.Accepts = rollbackAccepts(t, p, now, files, okFiles)
	ch.Loss = &action.Loss{Dataset: t.Name, Unit: "rows"}
	if m.RowsBefore >= 0 && m.RowsAfter >= 0 {
		ch.Loss.AtLeast = max(0, m.RowsBefore-m.RowsAfter)
	}
	if m.RowsRemoved >= 0 {
		ch.Loss.AtMost = &m.RowsRemoved
	}
	ch.Loss.SecondsAtLeast = max(0, p.Head.Time.Sub(p.Target.Time).Seconds())
	ch.Loss.SecondsAtMost = &ch.Loss.SecondsAtLeast
}

func rowCount(n int64) string {
	if n < 0 {
		return "an unknown number of"
	}
	return fmt.Sprint(n)
}

// rollbackAccepts are the consequences that only people can take on.
func rollbackAccepts(t lake.Table, p *rollback.Plan, now time.Time, files time.Duration, understood bool) []action.Acceptance {
	var all []action.Acceptance
	accept := func(id, format string, args ...any) {
		all = append(all, action.Acceptance{ID: id + " " + t.Name, Sentence: fmt.Sprintf(format, args...)})
	}
	b := p.Between
	for _, s := range b.Skipped {
		accept("skipped-batches", "Streaming writer %q of table %s recorded batch %d, and a rollback does not take that back: batches %d to %d are skipped in silence when they are sent again. Rewind it together with a new application id, or send those rows in another way.",
			s.App, t.Name, s.Now, s.Then+1, s.Now)
	}
	if p.Metrics.Restored+p.Metrics.Removed > 0 {
		accept("streaming-readers", "Streams that read table %s stop at version %d, which removes or adds data again, or pass over it where they are told to skip such commits: what they passed on since version %d is not taken back. Stop them, correct what lies below them, and start them at version %d. Caches of the table must be flushed.",
			t.Name, p.Head.Number+1, p.Target.Number, p.Head.Number+1)
	}
	if v := b.Vacuum; v != nil {
		accept("vacuum-unfinished", "A VACUUM of table %s began with version %d (%s) and no end of it is recorded: it may be deleting files of version %d now. Stop it and pause maintenance; every object is looked at again afterwards.",
			t.Name, v.Version, v.Time.Format(time.RFC3339), p.Target.Number)
	}
	since := b.Oldest
	if since.IsZero() {
		since = p.Target.Time
	}
	switch {
	case !understood:
		accept("retention-unknown", "Property %s of table %s is not understood, so nobody can say how long files of version %d, or of the bad head %d, are safe from VACUUM.", fileRetention, t.Name, p.Target.Number, p.Head.Number)
	case p.Metrics.Restored > 0 && !since.IsZero() && now.Sub(since) > files:
		accept("past-retention", "Files of version %d of table %s were removed %s ago and its retention is %s: every VACUUM may delete them until the rollback is done. Extend %s first.",
			p.Target.Number, t.Name, now.Sub(since).Round(time.Hour), files, fileRetention)
	}
	if understood && p.Metrics.Removed > 0 && files < fileRetentionDefault {
		accept("evidence", "After the rollback VACUUM may delete the files of the bad head, version %d of table %s, from %s on. Copy them elsewhere, or extend %s, if they are needed as evidence or to take the rollback back.",
			p.Head.Number, t.Name, now.Add(files).Format(time.RFC3339), fileRetention)
	}
	for _, e := range b.Unexplained {
		accept("unexplained-removes", "Version %d of table %s (%s) removed %d files that its operation does not explain, as FSCK REPAIR does, which makes a loss lawful. Find out what became of them.",
			e.Version, t.Name, operationName(e.Operation), e.Removes)
	}
	if b.Unread > 0 {
		accept("log-gap", "%d of the %d commits between version %d and the head %d of table %s are gone from its log: what they did is not known.", b.Unread, b.Commits, p.Target.Number, p.Head.Number, t.Name)
	}
	for _, uri := range p.Outside {
		accept("outside", "Version %d of table %s needs files in %s, which is no part of it: whoever deletes or vacuums there breaks this table.", p.Target.Number, t.Name, uri)
	}
	return all
}

func operationName(operation string) string {
	if operation == "" {
		return "of no named operation"
	}
	return operation
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
	out := action.Outcome{Summary: fmt.Sprintf("%s holds the content of version %d at version %d", t.Name, plan.Target, plan.holds())}
	if out.Data, err = action.Encode(RollbackOutcome{t.Name, plan.holds(), plan.Target, plan.Head}); err != nil || plan.Digest == "" {
		return out, err
	}
	store := rollbackStore{location.Bucket{Of: t.Bucket}}
	switch _, err := rollback.Find(ctx, store, t.Root, plan.Head, plan.Token); {
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
	if l.Head() != plan.Head {
		return fail(fmt.Sprintf("its head is version %d, planned against %d", l.Head(), plan.Head), rollback.ErrMoved)
	}
	p, err := rollback.New(ctx, store, l, plan.Target)
	if err != nil {
		return fail("work out the commit", err)
	}
	if p.Digest != plan.Digest {
		return fail(fmt.Sprintf("the commit would be %s, approved was %s", p.Digest, plan.Digest), rollback.ErrMoved)
	}
	if err := c.Guard(ctx); err != nil {
		return out, err
	}
	c.Progress(1, 2, "committing")
	_, wrote, err := p.Commit(ctx, store, table.Stamp{Token: plan.Token, Run: c.Run.Workflow, Now: time.Now()})
	if err != nil {
		return fail("commit", err)
	}
	if wrote {
		out.Mutations = 1
	}
	return out, nil
}
