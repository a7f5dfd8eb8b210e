package access

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/plural"
	"breakwater/internal/query"
	"breakwater/internal/record"
	"breakwater/internal/verdict"
)

// answers asks one of the estate's queries of the promoted tables.
func (s room) answers(ctx context.Context, c action.Call[action.None], t lake.Table, q estate.Query) action.Observation {
	what, want := fmt.Sprintf("golden query %q", q.Query), shown(compact(q.Answer))
	if q.Quality != "" {
		what, want = fmt.Sprintf("quality query %q", q.Query), "no row"
	}
	c.Progress(0, 1, "asking "+what)
	r, err := s.ask(ctx, c, t, q.Golden+q.Quality)
	var not *lake.NotHereError
	switch {
	case errors.As(err, &not): // the acceptance is of that table, and not of this one
		return action.NotHere(not.Dataset, what+" of "+t.Name, want, not.Why, fmt.Sprintf("Ask %s of table %s, once table %s is recovered", what, t.Name, not.Dataset))
	case errors.Is(err, query.ErrQuery), errors.Is(err, query.ErrLimit): // says nothing of the table
		return t.About(action.Observation{What: what, Want: want, Got: err.Error(), Verdict: verdict.Unknown, Cause: action.CauseOther})
	case err != nil:
		return t.NotSeen(c.Run, what, want, err)
	case q.Quality != "" && len(r.Rows) == 0:
		return t.About(action.Saw(what, want, "no row", true))
	case q.Quality != "":
		return t.About(action.Saw(what, want, fmt.Sprintf("%s that must not be: %s", plural.Of(len(r.Rows), "row"), shown(r.Lines())), false))
	}
	return t.About(action.Saw(what, want, shown(r.Lines()), slices.Equal(r.Lines(), compact(q.Answer))))
}

// ask answers SQL over those tables of the group that it names, each at its
// version of the cut.
func (s room) ask(ctx context.Context, c action.Call[action.None], t lake.Table, sql string) (query.Result, error) {
	if s.QueryEngine() == nil {
		return query.Result{}, fmt.Errorf("%w: this process has no query engine; it was asked for by a run of an earlier version: start another run", query.ErrLimit)
	}
	p, _, err := record.GroupPoint.Read(ctx, c.Records, t.Group.Group)
	if err != nil {
		return query.Result{}, err
	}
	tables := map[string]query.Table{}
	var not error // a table that the query perhaps names does not come back here
	for _, decl := range t.Group.Tables {
		if !strings.Contains(strings.ToLower(sql), strings.ToLower(decl.Table)) {
			continue
		}
		if left, loss, out := p.NotHere(decl.Table); out {
			not = &lake.NotHereError{LeftOut: left, Loss: loss}
		}
		point, _, ok := p.Table(decl.Table)
		if !ok {
			continue
		}
		site, err := s.lake.Table(ctx, c.Estate, c.Run.Target, decl.Table)
		if err != nil {
			return query.Result{}, err
		}
		l, err := site.Open(ctx)
		if err != nil {
			return query.Result{}, err
		}
		snap, err := l.Snapshot(ctx, point.Version)
		if err != nil {
			return query.Result{}, err
		}
		if tables[decl.Table], err = lake.Queryable(site, snap); err != nil {
			return query.Result{}, err
		}
	}
	r, err := s.QueryEngine().Query(ctx, tables, sql)
	if not != nil && errors.Is(err, query.ErrQuery) {
		err = not
	}
	return r, err
}

// compact writes the declared rows as an answer has them: without spaces, in the
// order of their texts.
func compact(answer []string) []string {
	out := make([]string, len(answer))
	for i, row := range answer {
		var b bytes.Buffer
		if json.Compact(&b, []byte(row)) != nil { // the estate was validated
			b.WriteString(row)
		}
		out[i] = b.String()
	}
	slices.Sort(out)
	return out
}

// shown is the beginning of an answer.
func shown(lines []string) string {
	const most = 5
	if len(lines) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(lines[:most], " "), len(lines)-most)
	}
	if len(lines) == 0 {
		return "no row"
	}
	return strings.Join(lines, " ")
}
