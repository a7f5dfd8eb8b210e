package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"
	"breakwater/internal/table"
	"breakwater/internal/verdict"
)

// undeleteParams are what a step says about an undeletion.
type undeleteParams struct {
	Version *int64     `json:"version,omitempty" doc:"the version of the table whose objects are needed; the newest that the log gives when absent"`
	ToTime  *time.Time `json:"to_time,omitempty" doc:"instead of a version: the last one committed at or before this moment, as table.rollback finds it"`
	Region  string     `json:"region,omitempty" doc:"the region whose copy of the table it is; the run's target, else the primary, when empty"`
	Copy    bool       `json:"copy,omitempty" doc:"put deleted objects back by copying, which needs no right to delete versions, instead of removing their delete markers"`
}

func (s room) undeleteActions(c *action.Catalogue) {
	action.Add(c, action.Action[undeleteParams]{
		Name: "storage.undelete", Over: estate.TableKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Doc: "Bring back exactly the objects that a version of a table needs and that a vacuum, a lifecycle rule or a person deleted. " +
			"Delete markers are removed, each recorded in the plan; where other content lies over an object, its version is copied over it.",
		Timing: action.Timing{Timeout: 6 * time.Hour, Estimate: 10 * time.Second},
		Plan:   s.planUndelete, Apply: s.applyUndelete, Verify: s.verifyUndelete,
		Undo: &action.Undo[undeleteParams]{Plan: s.planDeleteAgain, Apply: s.applyUndelete, Verify: s.verifyDeletedAgain, Show: showUndelete},
		Show: showUndelete, ShowPart: lake.ShowLines, Rules: lake.LineRules(),
		Permits: permit.Join(permit.Changes(permit.Target, permit.Tables), permit.Unhides(permit.Target, permit.Tables), permit.Administers(permit.Target, permit.Oversees)),
		RedWhen: []action.Red{
			{Fault: "table.data-file-gone", Want: verdict.Fail},
			{Fault: "table.data-file-truncated", Want: verdict.Fail},
			{Fault: "table.log-gone", Want: verdict.Fail},
			{Fault: "table.access-revoked", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	})
}

// undeletePlan is the typed plan of storage.undelete, and of taking it back.
type undeletePlan struct {
	Region   string   `json:"region"`
	Version  int64    `json:"version"`
	Objects  int      `json:"objects"` // that the version needs
	Prefixes []string `json:"prefixes"`
	planned
	Back bool `json:"back,omitempty"`
}

// Words is [action.Worded]: the lines are encoded.
func (u undeletePlan) Words() (any, error) {
	lines, err := lake.LineWords(u.Lines)
	u.Lines = nil
	return worded[undeletePlan]{u, lines}, err
}

var showUndelete = action.Shows[undeletePlan, action.None]()

func (s room) planUndelete(ctx context.Context, c action.Call[undeleteParams]) (action.Change, error) {
	t, err := s.lake.TableIn(ctx, c.Run, c.Estate, c.With.Region, c.Item.Name)
	if err != nil {
		return action.Change{}, err
	}
	fail := func(doing string, err error) (action.Change, error) {
		return action.Change{}, fmt.Errorf("plan to undelete what table %s needs in %s: %s: %w", t.Name, t.Region, doing, err)
	}
	if why, err := t.Bucket.Unversioned(ctx); err != nil {
		return fail("ask whether its bucket keeps versions", err)
	} else if why != "" {
		return fail(why, action.ErrRefused)
	}
	if c.With.Version != nil && c.With.ToTime != nil {
		return fail("choose the version", fmt.Errorf("%w: version and to_time are both given; leave one out", action.ErrRefused))
	}
	log, snap, err := revivedLog(ctx, t, c.With)
	if err != nil {
		return fail("find the version", err)
	}
	found, err := t.Undelete(ctx, snap, c.With.Copy)
	if err != nil {
		return fail("look for the versions of its objects", err)
	}
	if len(found.Elsewhere) > 0 {
		return fail("see where its files lie", fmt.Errorf("%w: it needs %s, which lies in another bucket: undelete there first", action.ErrRefused, found.Elsewhere[0]))
	}
	if err := found.RefuseLost(shownLines); err != nil {
		return fail("find what can come back", err)
	}
	u := undeletePlan{Region: t.Region, Version: found.Version, Objects: found.Objects, Prefixes: found.Prefixes}
	lines := s.planning(c.Request)
	if err := lines.put(ctx, found.Lines); err != nil {
		return fail("keep its lines", err)
	}
	var parts []string
	if u.planned, parts, err = lines.end(ctx); err != nil {
		return fail("keep its lines", err)
	}
	ch := lines.describe(t.Bucket.URL(t.Root.Prefix+"/"), t.Bucket, (found.Entries+999)/1000)
	ch.Parts = parts
	ch.Summary = fmt.Sprintf("version %d of %s needs %s: %s, the others are there", u.Version, t.Name, plural.Of(u.Objects, "object"), ch.Summary)
	ch.Preconditions = []action.Precondition{{Resource: "versioning of " + t.Bucket.Name(), Version: "Enabled"}}
	more, err := log.accepts(ctx, u.Version, c.With.Version != nil || c.With.ToTime != nil)
	if err != nil {
		return fail("read the end of its log", err)
	}
	if len(found.Lines) > 0 {
		ch.Accepts = append(ch.Accepts, more...)
	}
	ch.Data, err = action.Encode(u)
	return ch, err
}

// undeletePlanned reads an approved plan.
func (s room) undeletePlanned(ctx context.Context, c action.Call[undeleteParams]) (undeletePlan, *perform.Changes, lake.Table, error) {
	p, err := action.Decode[undeletePlan](c.Plan.Data)
	if err != nil {
		return p, nil, lake.Table{}, err
	}
	kept, err := p.read(c.Request)
	if err != nil {
		return p, nil, lake.Table{}, err
	}
	var lines []rewind.Line // of one table, which planning held too
	for l, err := range kept.All(ctx) {
		if err != nil {
			return p, nil, lake.Table{}, stopped(err)
		}
		lines = append(lines, l)
	}
	t, err := s.lake.Table(ctx, c.Estate, p.Region, c.Item.Name)
	return p, &perform.Changes{To: t.Bucket, From: t.Bucket, Prefixes: p.Prefixes, Lines: perform.Whole(lines), Entries: s.Formats().Entry}, t, err
}

func (s room) applyUndelete(ctx context.Context, c action.Call[undeleteParams]) (action.Outcome, error) {
	u, changes, t, err := s.undeletePlanned(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	out := action.Outcome{Summary: fmt.Sprintf("every object that version %d of %s needs is there", u.Version, t.Name)}
	if u.Back {
		out.Summary = fmt.Sprintf("the objects of %s are deleted as they were", t.Name)
	}
	if out.Mutations, err = changes.Apply(ctx, table.Work{Guard: c.Guard, Progress: c.Progress}); err != nil {
		return out, fmt.Errorf("undelete what table %s needs: %w", t.Name, stopped(err))
	}
	return out, nil
}

// planDeleteAgain plans to take back what of the approved plan was done.
func (s room) planDeleteAgain(ctx context.Context, c action.Call[undeleteParams]) (action.Change, error) {
	u, changes, t, err := s.undeletePlanned(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	on := t.Bucket.URL(t.Root.Prefix + "/")
	var ch action.Change
	if u.planned, ch, _, err = s.planBack(ctx, c.Request, changes, u.Back, on); err != nil {
		return action.Change{}, fmt.Errorf("plan to delete again what table %s needs: %w", t.Name, err)
	}
	u.Back = true
	ch.Summary = fmt.Sprintf("what version %d of %s needs is deleted again as it was: %s", u.Version, t.Name, ch.Summary)
	ch.Data, err = action.Encode(u)
	return ch, err
}

// absent reports whether an error says that there is no log to read.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, table.ErrBroken)
}
