package table

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/query"
	"breakwater/internal/table"
	"breakwater/internal/table/lastgood"
)

// findLastGood looks for it, and gives what else the plan must say.
func (s room) findLastGood(ctx context.Context, c action.Call[lastGoodWith]) (f lastgood.Found, notes []action.EffectLine, err error) {
	t, err := s.lake.TableIn(ctx, c.Run, c.Estate, c.With.Region, c.Item.Name)
	if err != nil {
		return f, nil, err
	}
	fail := func(doing string, err error) (lastgood.Found, []action.EffectLine, error) {
		return f, nil, fmt.Errorf("find the last good version of table %s in %s: %s: %w", t.Name, t.Region, doing, lastGoodError(err))
	}
	queries, err := queriesOf(t.Decl, c.With)
	if err != nil {
		return fail("read its parameters", err)
	}
	t = readOnce(t)
	l, err := t.Open(ctx)
	if err != nil {
		return fail("open it", err)
	}
	r, err := s.readable(ctx, t, l)
	if err != nil {
		return fail("see which versions can be read", err)
	}
	f = lastgood.Found{
		Table: t.Name, Region: t.Region, Head: r.at(l.Extent().Head), Named: c.With.named().Words(), Said: c.With.named(), Of: len(r.whole), Lost: r.lost,
	}
	if len(r.whole) > 0 {
		f.Oldest = r.whole[0]
	}
	if queries == nil {
		err = r.byCommits(ctx, c.With.named(), &f)
	} else {
		err = s.byQuery(ctx, c, r, queries, &f)
	}
	if err != nil {
		return fail(doing(queries), err)
	}
	if f.Wrote, err = r.commit(ctx, f.Bad.Number); err != nil && !lake.LogBroken(err) {
		return fail("read the commit of the version that follows", err)
	}
	notes, err = r.changed(ctx, f)
	if err != nil {
		return fail("compare it with its head", err)
	}
	if c.With.BadSince != nil {
		notes = append(notes, r.clock()...)
	}
	return f, notes, nil
}

func doing(queries []estate.Query) string {
	if queries == nil {
		return "look through its commits"
	}
	return "ask " + queryNames(queries)
}

// queriesOf are the quality queries that a step asks; nil where it goes by commits.
func queriesOf(decl *estate.Table, with lastGoodWith) ([]estate.Query, error) {
	switch {
	case with.Query == "" && with.named().Empty():
		return nil, fmt.Errorf("%w: nothing is said of the fault: give bad_version, bad_since, job, user, operation or query", action.ErrRefused)
	case with.scan() < 0:
		return nil, fmt.Errorf("%w: scan is %d: give how many versions more may be asked, 0 for none", action.ErrRefused, with.scan())
	case with.Query == "":
		return nil, nil
	}
	var all []estate.Query
	var names []string
	for _, q := range decl.Queries {
		if q.Quality == "" {
			continue
		}
		names = append(names, q.Query)
		if with.Query == allQueries || with.Query == q.Query {
			all = append(all, q)
		}
	}
	if all == nil && names == nil {
		return nil, fmt.Errorf("%w: table %s has no quality query in the estate: declare one under queries, or go by bad_version, bad_since, job, user or operation", action.ErrRefused, decl.Table)
	}
	if all == nil {
		return nil, fmt.Errorf("%w: table %s has no quality query %q: name one of %q, or %s", action.ErrRefused, decl.Table, with.Query, names, allQueries)
	}
	return all, nil
}

// lastGoodError classes what the search ended with.
func lastGoodError(err error) error {
	for _, refused := range []error{lastgood.ErrPasses, lastgood.ErrFails, lastgood.ErrNotProposed, lastgood.ErrOutside, lastgood.ErrNoCommit, lastgood.ErrAmbiguous, query.ErrQuery, query.ErrLimit} {
		if errors.Is(err, refused) {
			return fmt.Errorf("%w: %w", err, action.ErrRefused)
		}
	}
	return rollbackError(err)
}

// readings are the versions of a table as one look found them.
type readings struct {
	t     lake.Table
	l     table.Table
	times table.Times
	whole []int64       // that can be read in full, in order
	lost  []table.Range // that cannot, from the oldest that can
}

func (s room) readable(ctx context.Context, t lake.Table, l table.Table) (readings, error) {
	r := readings{t: t, l: l}
	i, err := table.Able[table.Inspector](t.Format.Name(), l, "looked into")
	if err != nil {
		return r, err
	}
	if r.times, err = l.Times(ctx); err != nil {
		return r, err
	}
	var lost []int64
	for state, err := range i.States(ctx) {
		if err != nil {
			return r, err
		}
		if v := state.Version.Number; state.Complete() {
			r.whole = append(r.whole, v)
		} else if len(r.whole) > 0 {
			lost = append(lost, v)
		}
	}
	r.lost = table.Ranges(lost)
	return r, nil
}

// at is a version with its time.
func (r readings) at(number int64) table.Version {
	v, _ := r.times.Of(number)
	return v
}

// commit is by whom a version is.
func (r readings) commit(ctx context.Context, number int64) (lastgood.Commit, error) {
	c, err := r.l.Commit(ctx, number)
	if err != nil {
		return lastgood.Commit{Version: r.at(number)}, err
	}
	return r.authored(c), nil
}

func (r readings) authored(c table.Commit) lastgood.Commit {
	out := lastgood.Commit{Version: r.at(c.Version.Number), Operation: c.Operation}
	if a, err := table.Able[table.Attributer](r.t.Format.Name(), r.t.Format, "asked by whom they are"); err == nil {
		out.Author = a.Author(c)
	}
	return out
}

// commits are all that the log tells of, in order; with authors only where those count.
func (r readings) commits(ctx context.Context, n lastgood.Named) (all []lastgood.Commit, err error) {
	committed := r.l.Extent().Committed
	if !n.Writer() || len(committed) == 0 {
		for _, v := range r.times.Versions {
			all = append(all, lastgood.Commit{Version: v})
		}
		return all, nil
	}
	if _, err := table.Able[table.Attributer](r.t.Format.Name(), r.t.Format, "asked by whom they are"); err != nil {
		return nil, err
	}
	for c, err := range r.l.History(ctx, committed[0].First) {
		if err != nil {
			return nil, err
		}
		all = append(all, r.authored(c))
	}
	return all, nil
}

// byCommits goes by what the log says alone.
func (r readings) byCommits(ctx context.Context, n lastgood.Named, f *lastgood.Found) error {
	all, err := r.commits(ctx, n)
	if err != nil {
		return err
	}
	between, _, err := n.Between(all)
	if err != nil {
		return err
	}
	first, err := n.First(between)
	if err != nil {
		return err
	}
	good, err := lastgood.Before(r.whole, first.Version.Number)
	if err != nil {
		return err
	}
	f.Good, f.Bad, f.By = r.at(good), first.Version, "commit records"
	return nil
}

// byQuery bisects, and scans.
func (s room) byQuery(ctx context.Context, c action.Call[lastGoodWith], r readings, queries []estate.Query, f *lastgood.Found) error {
	q := lastgood.Question{Versions: r.whole, Scan: c.With.scan(), Bad: c.With.BadVersion}
	if n := c.With.named(); !n.Empty() {
		all, err := r.commits(ctx, n)
		if err != nil {
			return err
		}
		between, since, err := n.Between(all)
		if err != nil {
			return err
		}
		if since != nil {
			if good, err := lastgood.Before(r.whole, *since+1); err == nil {
				q.Since = &good
			}
		}
		if n.Writer() {
			by, err := n.By(between)
			if err != nil {
				return err
			}
			for _, c := range by {
				q.Proposed = append(q.Proposed, c.Version.Number)
			}
		}
	}
	a := s.asker(c, r, queries)
	answer, err := lastgood.Search(ctx, q, a.remembering(c))
	if newest := len(r.lost) - 1; errors.Is(err, lastgood.ErrPasses) && q.Bad == nil && newest >= 0 && r.lost[newest].Last > r.whole[len(r.whole)-1] {
		above := table.Range{First: r.whole[len(r.whole)-1] + 1, Last: r.lost[newest].Last}
		return fmt.Errorf("%w; what is above it, %s, lacks objects and was not asked: bring those back first, or go to version %d by its number", err, above.Words(), above.First-1)
	}
	if err != nil {
		return err
	}
	f.Good, f.Bad, f.Times = r.at(answer.Good), r.at(answer.Bad), answer.Asked
	f.Broken = a.broken[answer.Bad]
	f.Scanned, f.Islands, f.By = answer.Scanned, answer.Islands, queryNames(queries)
	for _, q := range queries {
		f.Asked = append(f.Asked, q.Query)
	}
	return nil
}

func queryNames(queries []estate.Query) string {
	names := make([]string, len(queries))
	for i, q := range queries {
		names[i] = fmt.Sprintf("%q", q.Query)
	}
	if len(names) == 1 {
		return "quality query " + names[0]
	}
	return fmt.Sprintf("quality queries %s", slices.Sorted(slices.Values(names)))
}
