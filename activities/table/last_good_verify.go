package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/query"
	"breakwater/internal/record"
	"breakwater/internal/table"
	"breakwater/internal/table/lastgood"
	"breakwater/internal/verdict"
)

// verifyLastGood opens the table anew and looks at both ends of what is recorded, and at
// nothing else: how they were found does not count.
func (s room) verifyLastGood(ctx context.Context, c action.Call[lastGoodWith]) ([]action.Observation, error) {
	const what = "the recorded version is the planned one"
	f, _, err := record.LastGood.Read(ctx, c.Records, c.Item.Name)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, "", what, "a record of this run", err, "")}, nil
	}
	var obs []action.Observation
	if c.Plan != nil {
		recorded, err := action.Encode(f)
		if err != nil {
			return nil, err
		}
		planned, err := action.Decode[lastgood.Found](c.Plan.Data)
		if err != nil {
			return nil, err
		}
		approved, err := action.Encode(planned)
		if err != nil {
			return nil, err
		}
		obs = append(obs, action.Saw(what, fmt.Sprintf("version %d", planned.Good.Number), fmt.Sprintf("version %d", f.Good.Number), bytes.Equal(recorded, approved)))
	}
	t, err := s.lake.Table(ctx, c.Estate, f.Region, f.Table)
	if err != nil {
		return nil, err
	}
	l, err := t.Open(ctx)
	if err != nil {
		return append(obs, t.NotSeen(c.Run, fmt.Sprintf("version %d can be read", f.Good.Number), "a log", err)), nil
	}
	r := readings{t: t, l: l}
	if r.times, err = l.Times(ctx); err != nil {
		return append(obs, t.NotSeen(c.Run, "when its versions were committed", "their times", err)), nil
	}
	obs = append(obs, t.Whole(ctx, c.Run, l, f.Good.Number), headStays(c.Run, t, l, f), r.wroteAs(ctx, c.Run, f))
	if !f.Proven() {
		return obs, nil
	}
	queries := named(t.Decl, f.Asked)
	if len(queries) != len(f.Asked) {
		return append(obs, t.About(action.Observation{What: "the estate has the queries that were asked", Want: fmt.Sprintf("%q", f.Asked), Got: namesOrNone(queries), Verdict: verdict.Unknown, Cause: action.CauseOther})), nil
	}
	a := s.asker(c, r, queries)
	return append(obs, a.look(ctx, f.Good.Number, true), a.look(ctx, f.Bad.Number, false)), nil
}

func namesOrNone(queries []estate.Query) string {
	if len(queries) == 0 {
		return "none of them"
	}
	return queryNames(queries)
}

// named are the quality queries of those names.
func named(decl *estate.Table, names []string) (all []estate.Query) {
	for _, name := range names {
		for _, q := range decl.Queries {
			if q.Query == name && q.Quality != "" {
				all = append(all, q)
			}
		}
	}
	return all
}

// headStays observes that nobody committed since: what came later was not asked.
func headStays(run action.Run, t lake.Table, l table.Table, f lastgood.Found) action.Observation {
	what, want, got := "nobody committed since the last good version was looked for", fmt.Sprintf("head %d", f.Head.Number), fmt.Sprintf("head %d", l.Extent().Head)
	same := l.Extent().Head == f.Head.Number
	if !same && run.Mode != action.ModeLive && l.Extent().Head > f.Head.Number {
		return t.About(action.Saw(what, want, got+": nobody is stopped in mode "+string(run.Mode)+", so the table moved on", true))
	}
	return t.About(action.Saw(what, want, got, same))
}

// wroteAs observes that the commit after the last good version is the one recorded.
func (r readings) wroteAs(ctx context.Context, run action.Run, f lastgood.Found) action.Observation {
	what, want := fmt.Sprintf("version %d is the commit that is recorded", f.Bad.Number), f.Wrote.Words()
	is, err := r.commit(ctx, f.Bad.Number)
	if err != nil && !lake.LogBroken(err) {
		return r.t.NotSeen(run, what, want, err)
	}
	return r.t.About(action.Saw(what, want, is.Words(), is.Words() == want))
}

// look observes whether the queries pass at a version, or one of them fails.
func (a asker) look(ctx context.Context, version int64, passes bool) action.Observation {
	answer := map[bool]string{true: "no row that must not be", false: "rows that must not be"}
	what := fmt.Sprintf("%s at version %d", queryNames(a.queries), version)
	good, err := a.passes(ctx, version)
	switch {
	case errors.Is(err, query.ErrQuery), errors.Is(err, query.ErrLimit): // says nothing of the table
		return a.of.t.About(action.Observation{What: what, Want: answer[passes], Got: err.Error(), Verdict: verdict.Unknown, Cause: action.CauseOther})
	case err != nil:
		return a.of.t.NotSeen(a.run, what, answer[passes], err)
	}
	return a.of.t.About(action.Saw(what, answer[passes], answer[good], good == passes))
}
