package port

import (
	"context"
	"encoding/json"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/promote"
	"breakwater/internal/table/delta/rollback"
)

// Restored looks at the hint.
func (Format) Restored(ctx context.Context, store table.Store, root table.Root, version int64) []table.Look {
	l, err := delta.Open(ctx, store, root)
	if err != nil {
		return []table.Look{{What: "the hint to the last checkpoint", Want: "a log", Err: err}}
	}
	return []table.Look{promote.HintHolds(ctx, store, root, l, version)}
}

// PlanPromotion refuses a table whose commits a coordinator accepts.
func (Format) PlanPromotion(ctx context.Context, s table.Site, t table.Table, to table.Snapshot, folder string) (table.Move, error) {
	l, err := logOf(t)
	if err != nil {
		return table.Move{}, err
	}
	snap, err := deltaOf(to)
	if err != nil {
		return table.Move{}, err
	}
	if err := promote.Refuse(snap); err != nil {
		return table.Move{}, err
	}
	p, err := promote.New(ctx, s, l, snap.Version.Number, folder)
	if err != nil {
		return table.Move{}, err
	}
	m := table.Move{}
	for _, a := range p.Aside {
		if !a.Done {
			m.Objects++
		}
	}
	m.Effects, m.Conditions = p.Effects(s)
	m.Plan, err = json.Marshal(p)
	return m, err
}

// Promote applies an approved plan.
func (Format) Promote(ctx context.Context, s table.Site, plan json.RawMessage, w table.Work) (int64, error) {
	p, err := promote.Decode(plan)
	if err != nil {
		return 0, err
	}
	return promote.Apply(ctx, s, p, w)
}

// Promoted looks at what a promotion left.
func (Format) Promoted(ctx context.Context, s table.Site, t table.Table, plan json.RawMessage) []table.Look {
	p, err := promote.Decode(plan)
	var l *delta.Log
	if err == nil {
		l, err = logOf(t)
	}
	if err != nil {
		return []table.Look{{What: "what the promotion left", Want: "its plan", Err: err}}
	}
	return promote.Promoted(ctx, s.Store, s.Root, l, p)
}

// PlanReturn holds the table against the promotion's plan.
func (Format) PlanReturn(ctx context.Context, s table.Site, plan json.RawMessage) (table.Move, error) {
	p, err := promote.Decode(plan)
	if err != nil {
		return table.Move{}, err
	}
	b, err := promote.NewBack(ctx, s, p)
	if err != nil {
		return table.Move{}, err
	}
	effects := b.Effects(s)
	return table.Move{Plan: plan, Effects: effects, Objects: len(effects)}, nil
}

// Return takes back what is there to take back.
func (Format) Return(ctx context.Context, s table.Site, plan json.RawMessage, w table.Work) (int64, error) {
	p, err := promote.Decode(plan)
	if err != nil {
		return 0, err
	}
	b, err := promote.NewBack(ctx, s, p)
	if err != nil {
		return 0, err
	}
	return b.Apply(ctx, s, w)
}

// Returned looks at the log as it was before the promotion.
func (Format) Returned(ctx context.Context, s table.Site, plan json.RawMessage) []table.Look {
	p, err := promote.Decode(plan)
	if err != nil {
		return []table.Look{{What: "what taking the promotion back left", Want: "its plan", Err: err}}
	}
	return []table.Look{promote.Returned(ctx, s.Store, s.Root, p)}
}

// planned is a rollback, and where it commits.
type planned struct {
	plan *rollback.Plan
	site table.Site
}

// Aim works out what a RESTORE brings about.
func (Format) Aim(ctx context.Context, t table.Table, to table.Destination) (table.Snapshot, error) {
	l, err := logOf(t)
	if err != nil {
		return nil, err
	}
	a, err := rollback.Aim(ctx, l, to.Version, to.Keep)
	if err != nil {
		return nil, err
	}
	o, _ := t.(opened)
	return snapshot{a.Snapshot, o}, nil
}

// PlanRollback works out a RESTORE.
func (Format) PlanRollback(ctx context.Context, s table.Site, t table.Table, to table.Destination) (table.Rollback, error) {
	l, err := logOf(t)
	if err != nil {
		return nil, err
	}
	p, err := rollback.New(ctx, s.Store, l, to.Version, to.Keep...)
	if err != nil {
		return nil, err
	}
	return planned{p, s}, nil
}

func (p planned) Facts() table.RollbackFacts {
	return table.RollbackFacts{
		Key: delta.CommitKey(p.plan.Root, p.plan.Head.Number+1), Head: p.plan.Head, Target: p.plan.Target, Empty: p.plan.Empty(), Digest: p.plan.Digest, Metrics: p.plan.Metrics, Between: p.plan.Between,
		Added: p.plan.Added(), Removed: p.plan.Removed(), Kept: p.plan.Kept, Outside: p.plan.Outside, Retention: delta.RetentionOf(p.plan.Configuration()),
		Replays: p.plan.Replays, Later: p.plan.Later, RowsGiven: p.plan.Given,
	}
}

func (p planned) Commit(ctx context.Context, st table.Stamp) (int64, bool, error) {
	return p.plan.Commit(ctx, p.site.Store, st)
}

// FindRollback reads the commit above a head.
func (Format) FindRollback(ctx context.Context, s table.Site, head int64, token string) (table.Mark, error) {
	return rollback.Find(ctx, s.Store, s.Root, head, token)
}

// MarkOf reads commitInfo.
func (Format) MarkOf(c table.Commit) (table.Mark, bool) { return rollback.MarkOf(c.Info) }

// Author reads commitInfo and txn.
func (Format) Author(c table.Commit) table.Author { return delta.AuthorOf(c) }

// Committed looks at the commit of a version.
func (Format) Committed(ctx context.Context, t table.Table, version int64, m table.Mark) table.Look {
	l, err := logOf(t)
	if err != nil {
		return table.Look{What: "the rollback's commit", Want: "a log", Err: err}
	}
	return rollback.Committed(ctx, l, version, m)
}

// Undisturbed looks at the commits after a version.
func (Format) Undisturbed(ctx context.Context, t table.Table, version int64) table.Look {
	l, err := logOf(t)
	if err != nil {
		return table.Look{What: "what came after the rollback", Want: "a log", Err: err}
	}
	return rollback.Undisturbed(ctx, l, version)
}

// SameFiles compares versions by path and deletion vector.
func (Format) SameFiles(ctx context.Context, t table.Table, was table.Snapshot, kept []int64, is table.Snapshot) table.Look {
	l, err := logOf(t)
	var w, i *delta.Snapshot
	if err == nil {
		w, i, err = bothOf(was, is)
	}
	if err != nil {
		return table.Look{What: "the files of both versions", Want: "two versions", Err: err}
	}
	return rollback.SameFiles(ctx, l, w, kept, i)
}

// SameRows reads what identity does not settle.
func (Format) SameRows(ctx context.Context, t table.Table, head int64, was table.Snapshot, kept []int64, is table.Snapshot, brought []string) table.Look {
	o, ok := t.(opened)
	var err error
	if !ok {
		_, err = logOf(t)
	}
	var w, i *delta.Snapshot
	if err == nil {
		w, i, err = bothOf(was, is)
	}
	if err != nil {
		return table.Look{What: "the rows of both versions", Want: "two versions", Err: err}
	}
	return rollback.SameRows(ctx, o.store, o.log, head, w, kept, i, brought)
}

// MarksHold compares the high-water marks.
func (Format) MarksHold(ctx context.Context, t table.Table, head int64, was, is table.Snapshot) table.Look {
	l, err := logOf(t)
	var w, i *delta.Snapshot
	if err == nil {
		w, i, err = bothOf(was, is)
	}
	if err != nil {
		return table.Look{What: "the marks of both versions", Want: "two versions", Err: err}
	}
	return rollback.MarksHold(ctx, l, head, w, i)
}
