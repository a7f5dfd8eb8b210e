package table

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/query"
	"breakwater/internal/table"
	"breakwater/internal/table/lastgood"
)

// asker asks quality queries of versions of a table.
type asker struct {
	room    room
	engine  query.Engine
	of      readings
	queries []estate.Query
	within  time.Duration
	run     action.Run
	estate  *estate.Estate
	others  map[string]readings // other tables of the group, once opened
	broken  map[int64]string    // versions that were asked, and whose rows cannot be read
}

func (s room) asker(c action.Call[lastGoodWith], r readings, queries []estate.Query) asker {
	return asker{s, s.QueryEngine(), r, queries, c.With.within(), c.Run, c.Estate, map[string]readings{}, map[int64]string{}}
}

// passes reports whether no query selects a row that must not be. A version whose files
// are there and hold something else than rows does not pass.
func (a asker) passes(ctx context.Context, version int64) (bool, error) {
	for _, q := range a.queries {
		rows, err := a.ask(ctx, q, version)
		var own *ownError
		if errors.As(err, &own) && lake.LogBroken(err) {
			a.broken[version] = own.Error()
			return false, nil
		}
		if err != nil || rows > 0 {
			return false, err
		}
	}
	return true, nil
}

// ownError is what reading the table itself ended with, and no other one of its group.
type ownError struct{ error }

func (e *ownError) Unwrap() error { return e.error }

// ask gives how many rows of a version a query selects, at least.
func (a asker) ask(ctx context.Context, q estate.Query, version int64) (int, error) {
	fail := func(err error) (int, error) { return 0, fmt.Errorf("quality query %q: %w", q.Query, err) }
	if a.engine == nil {
		return fail(fmt.Errorf("%w: this process has no query engine: have the run worked on by workers that serve queries", query.ErrLimit))
	}
	tables, err := a.tables(ctx, q.Quality, version)
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, a.within, fmt.Errorf("%w: it took longer than %v: let it read less, or give more by within", query.ErrLimit, a.within))
	defer cancel()
	r, err := a.engine.Query(ctx, tables, q.Quality)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	switch {
	case errors.Is(err, query.ErrRows): // too many to count, which is an answer
		return 1, nil
	case errors.Is(err, query.ErrQuery):
		return fail(fmt.Errorf("%w: the versions of a table can have other columns: ask a query that all of them can answer, or go by bad_version, bad_since, job, user or operation", err))
	case err != nil && len(tables) == 1:
		return fail(&ownError{err})
	case err != nil:
		return fail(err)
	}
	return len(r.Rows), nil
}

// tables are those that a query names: the table at the version, and others of its group
// as they were when that was committed.
func (a asker) tables(ctx context.Context, sql string, version int64) (map[string]query.Table, error) {
	own, err := a.of.queryable(ctx, version)
	if err != nil {
		return nil, err
	}
	tables := map[string]query.Table{a.of.t.Name: own}
	for _, decl := range a.of.t.Group.Tables {
		if decl.Table == a.of.t.Name || !strings.Contains(strings.ToLower(sql), strings.ToLower(decl.Table)) {
			continue
		}
		other, ok := a.others[decl.Table]
		if !ok {
			if other, err = a.open(ctx, decl.Table); err != nil {
				return nil, fmt.Errorf("table %s: %w", decl.Table, err)
			}
			a.others[decl.Table] = other
		}
		then, err := other.times.At(a.of.at(version).Time)
		if err == nil {
			tables[decl.Table], err = other.queryable(ctx, then.Number)
		}
		if err != nil {
			return nil, fmt.Errorf("table %s as it was then: %w", decl.Table, err)
		}
	}
	return tables, nil
}

func (a asker) open(ctx context.Context, name string) (r readings, err error) {
	if r.t, err = a.room.lake.Table(ctx, a.estate, a.of.t.Region, name); err != nil {
		return r, err
	}
	if r.l, err = r.t.Open(ctx); err != nil {
		return r, err
	}
	r.times, err = r.l.Times(ctx)
	return r, err
}

// answered is how far a search has come, for an attempt after this one: what a version
// holds does not change while the head is the same.
type answered struct {
	Head   int64            `json:"head"`
	Good   map[int64]bool   `json:"good"`
	Broken map[int64]string `json:"broken,omitempty"`
}

// remembering asks what no attempt before asked, and keeps it.
func (a asker) remembering(c action.Call[lastGoodWith]) lastgood.Ask {
	done := answered{Head: a.of.l.Extent().Head, Good: map[int64]bool{}}
	var was answered
	if json.Unmarshal(c.Resume, &was) == nil && was.Head == done.Head && was.Good != nil {
		done = was
		maps.Copy(a.broken, was.Broken)
	}
	return func(ctx context.Context, version int64) (bool, error) {
		if good, ok := done.Good[version]; ok {
			return good, nil
		}
		c.Progress(int64(len(done.Good)), 0, fmt.Sprintf("asking version %d", version))
		good, err := a.passes(ctx, version)
		if err != nil {
			return false, err
		}
		done.Good[version], done.Broken = good, a.broken
		if c.Save != nil {
			c.Save(done)
		}
		return good, nil
	}
}

// queryable is a version as SQL reads it.
func (r readings) queryable(ctx context.Context, version int64) (query.Table, error) {
	snap, err := r.l.Snapshot(ctx, version)
	if err != nil {
		return nil, err
	}
	return lake.Queryable(r.t, snap)
}

// changed says what a version and its head differ in beside rows, which a rollback does
// not take back: the table asks more of its readers and writers from some version on.
func (r readings) changed(ctx context.Context, f lastgood.Found) (notes []action.EffectLine, err error) {
	var words [2]string
	for i, v := range []int64{f.Good.Number, f.Head.Number} {
		snap, err := r.l.Snapshot(ctx, v)
		if err != nil {
			return nil, err
		}
		d, err := table.Able[table.Described](r.t.Format.Name(), snap, "described")
		if err != nil {
			return nil, nil // nothing is said of it
		}
		all := d.Describe()
		words[i] = all.Protocol.String()
		if len(all.Features) > 0 {
			words[i] += ", features " + strings.Join(all.Features, ", ")
		}
	}
	if words[0] == words[1] {
		return nil, nil
	}
	return []action.EffectLine{{On: r.t.Name, Do: "note that its protocol changed since: a rollback keeps the newer one", From: words[0], To: words[1]}}, nil
}
