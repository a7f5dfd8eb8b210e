package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/record"
	"breakwater/internal/table"
	"breakwater/internal/table/lastgood"
)

// rollbackTarget is the version that is asked for, in words how it was found, and what
// going there accepts beside what every rollback does.
func rollbackTarget(ctx context.Context, c action.Call[rollbackWith], t lake.Table, l table.Table) (v table.Version, by string, accepts []action.Acceptance, err error) {
	given := 0
	for _, is := range []bool{c.With.ToVersion != nil, c.With.ToTime != nil, c.With.ToLastGood} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return v, "", nil, fmt.Errorf("give either to_version or to_time, or to_last_good: exactly one of them: %w", action.ErrRefused)
	case c.With.ToVersion != nil:
		return table.Version{Number: *c.With.ToVersion}, "", nil, nil
	case c.With.ToTime != nil:
		v, by, err = versionAt(ctx, l, *c.With.ToTime)
		return v, by, nil, err
	}
	f, _, err := record.LastGood.Read(ctx, c.Records, t.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return v, "", nil, fmt.Errorf("to_last_good, and no step of this run found the last good version of table %s: put table.last-good before it: %w", t.Name, action.ErrRefused)
	case err != nil:
		return v, "", nil, err
	case f.Region != t.Region:
		return v, "", nil, fmt.Errorf("to_last_good, and the last good version of table %s was found in %s: look for it in %s, too: %w", t.Name, f.Region, t.Region, action.ErrRefused)
	}
	if head := l.Extent().Head; head > f.Head.Number {
		goes := "and it goes, too"
		if c.With.KeepOthers {
			goes = "and it is kept where it is by others"
		}
		accepts = append(accepts, action.Acceptance{ID: "unasked " + t.Name, Sentence: fmt.Sprintf(
			"Table %s was at version %d when its last good version was looked for, and is at version %d: nobody asked what came in between, %s.", t.Name, f.Head.Number, head, goes)})
	}
	cuts, err := twoCuts(ctx, c, t, f)
	return f.Good, ", its last good one by " + f.By, append(accepts, cuts...), err
}

// versionAt is the version at a time, and in words by which clock.
func versionAt(ctx context.Context, l table.Table, at time.Time) (table.Version, string, error) {
	times, err := l.Times(ctx)
	if err != nil {
		return table.Version{}, "", err
	}
	v, err := times.At(at)
	if err != nil {
		return v, "", err
	}
	clock := map[table.TimeSource]string{table.InCommit: "in-commit time", table.CommitInfo: "the time in its commit", table.ObjectTime: "the time of its log object"}[v.From]
	by := fmt.Sprintf(" of %s by %s", v.Time.Format(time.RFC3339Nano), clock)
	if v.From != table.InCommit && len(times.Warnings) > 0 {
		by += " (" + strings.Join(times.Warnings, "; ") + ")"
	}
	return v, by, nil
}

// twoCuts asks whether tables of one group may go back to moments that were never there
// together: the last good version of one was replaced before that of the other came.
func twoCuts(ctx context.Context, c action.Call[rollbackWith], t lake.Table, f lastgood.Found) (all []action.Acceptance, err error) {
	for _, decl := range t.Group.Tables {
		if decl.Table == t.Name {
			continue
		}
		o, _, err := record.LastGood.Read(ctx, c.Records, decl.Table)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if f.Together(o) {
			continue
		}
		older, newer := f, o
		if o.Good.Time.Before(f.Good.Time) {
			older, newer = o, f
		}
		all = append(all, action.Acceptance{ID: fmt.Sprintf("two-cuts %s and %s", older.Table, newer.Table), Sentence: fmt.Sprintf(
			"Tables %s and %s of group %s go back to two moments: version %s, which was replaced at %s, and version %s. What joins them may not fit. For one cut, roll both back to_time %s.",
			older.Table, newer.Table, t.Group.Group, dated(older.Good), older.Bad.Time.UTC().Format(time.RFC3339), dated(newer.Good), older.Good.Time.UTC().Format(time.RFC3339Nano))})
	}
	return all, nil
}
