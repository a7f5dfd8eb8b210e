package lake

import (
	"context"
	"fmt"
	"strings"

	"breakwater/internal/estate"
	"breakwater/internal/query"
)

// Quality are the quality queries that the estate has of a table.
func Quality(e *estate.Estate, table string) (all []estate.Query) {
	decl, _, ok := e.Table(table)
	if !ok {
		return nil
	}
	for _, q := range decl.Queries {
		if q.Quality != "" {
			all = append(all, q)
		}
	}
	return all
}

// AskQuality asks a quality query of a table as it is now, with the other tables of its
// group that the query perhaps names. It gives the rows that must not be, as lines; none
// where the query passes.
func (s Lake) AskQuality(ctx context.Context, engine query.Engine, e *estate.Estate, t Table, q estate.Query) ([]string, error) {
	if engine == nil {
		return nil, fmt.Errorf("%w: this process has no query engine: have the run worked on by workers that serve queries", query.ErrLimit)
	}
	tables := map[string]query.Table{}
	for _, decl := range t.Group.Tables {
		if decl.Table != t.Name && !strings.Contains(strings.ToLower(q.Quality), strings.ToLower(decl.Table)) {
			continue
		}
		site, err := s.Table(ctx, e, t.Region, decl.Table)
		if err == nil {
			tables[decl.Table], err = site.queryable(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", decl.Table, err)
		}
	}
	r, err := engine.Query(ctx, tables, q.Quality)
	if err != nil {
		return nil, err
	}
	return r.Lines(), nil
}

// queryable is the table's head as SQL reads it.
func (t Table) queryable(ctx context.Context) (query.Table, error) {
	l, err := t.Open(ctx)
	if err != nil {
		return nil, err
	}
	snap, err := l.Snapshot(ctx, l.Extent().Head)
	if err != nil {
		return nil, err
	}
	return Queryable(t, snap)
}
