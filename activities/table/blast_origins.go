package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/lineage"
	"breakwater/internal/record"
	"breakwater/internal/table"
	"breakwater/internal/table/lastgood"

	"golang.org/x/sync/errgroup"
)

// origins finds which tables and topics of the group hold the fault, and since when: by
// the last good versions that this run found, else by what the step says.
func (t *trace) origins(ctx context.Context) error {
	g, ok := t.c.Estate.Group(t.c.Item.Name)
	if !ok {
		return fmt.Errorf("%w: estate %s has no group %q", action.ErrRefused, t.c.Estate.Estate, t.c.Item.Name)
	}
	found, err := t.found(ctx, g)
	if err != nil {
		return err
	}
	said, err := t.said(ctx, g, found)
	if err != nil {
		return err
	}
	all := append(found, said...)
	if len(all) == 0 {
		return fmt.Errorf("%w: %w", action.ErrRefused, errNoOrigin)
	}
	slices.SortFunc(all, func(a, b lineage.Origin) int {
		return lineage.Node{Kind: a.Kind, Name: a.Name}.Compare(lineage.Node{Kind: b.Kind, Name: b.Name})
	})
	for i, o := range all {
		since := o.Since.Add(-t.c.Estate.ClockSkew.Std())
		if since.Before(time.Unix(0, 0)) {
			since = time.Unix(0, 0) // nobody says when: since there are times
		}
		if i == 0 || since.Before(t.since) {
			t.since = since
		}
		// What was committed after somebody looked at the head is of the fault, too.
		t.from[lineage.Node{Kind: o.Kind, Name: o.Name}] = lineage.Held{Since: since, First: o.Bad}
	}
	t.radius.Origins = all
	return nil
}

// found are the tables of which this run found the last good version.
func (t *trace) found(ctx context.Context, group *estate.Group) ([]lineage.Origin, error) {
	of := make([]*lineage.Origin, len(group.Tables))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, decl := range group.Tables {
		g.Go(func() error {
			f, _, err := record.LastGood.Read(gctx, t.c.Records, decl.Table)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
				return err
			case f.Region != t.region:
				return fmt.Errorf("%w: the last good version of table %s was found in region %s, and this step is about %s: give both the same region", action.ErrRefused, f.Table, f.Region, t.region)
			}
			of[i] = &lineage.Origin{Kind: estate.TableKind, Name: f.Table, Since: t.written(gctx, f), Bad: &f.Bad.Number, Head: &f.Head.Number, By: f.By}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var all []lineage.Origin
	for _, o := range of {
		if o != nil {
			all = append(all, *o)
		}
	}
	return all, nil
}

// written is when the first bad version was committed, by what its commit says of itself:
// versions are chosen by the times of the log's objects, which in a copy are those of the
// copying. Where it cannot be read, the look at the table's log says so.
func (t *trace) written(ctx context.Context, f lastgood.Found) time.Time {
	site, err := t.lake.Table(ctx, t.c.Estate, t.region, f.Table)
	if err != nil {
		return f.Bad.Time
	}
	l, err := site.Open(ctx)
	if err != nil {
		return f.Bad.Time
	}
	c, err := l.Commit(ctx, f.Bad.Number)
	if err != nil || c.Version.From == table.None || c.Version.Time.After(f.Bad.Time) {
		return f.Bad.Time
	}
	return c.Version.Time
}

// said are the tables and topics of the group that the step says hold the fault, beside
// those that were found.
func (t *trace) said(ctx context.Context, group *estate.Group, found []lineage.Origin) ([]lineage.Origin, error) {
	with := t.c.With
	named, err := lake.NamedIn(t.c.Estate, "bad", with.Bad)
	if err != nil {
		return nil, err
	}
	if len(named) == 0 && len(found) == 0 && with.BadSince != nil {
		for _, decl := range group.Tables {
			named = append(named, lake.Named{Kind: "table", Name: decl.Table})
		}
	}
	switch {
	case len(named) > 0 && with.BadVersion == nil && with.BadSince == nil:
		return nil, fmt.Errorf("%w: bad names %s, and nothing says since when: give bad_since, or bad_version of one table", action.ErrRefused, with.Bad)
	case with.BadVersion != nil && (len(named) != 1 || named[0].Kind != "table") && len(found) == 0:
		return nil, fmt.Errorf("%w: bad_version is a version of one table: name that one in bad, and give bad_since for several or for a topic", action.ErrRefused)
	}
	var all []lineage.Origin
	for _, n := range named {
		kind := estate.Kind(n.Kind)
		if slices.ContainsFunc(found, func(o lineage.Origin) bool { return o.Kind == kind && o.Name == n.Name }) || !has(group, kind, n.Name) {
			continue // what was found is known better, and another group's is that group's
		}
		o := lineage.Origin{Kind: kind, Name: n.Name, By: "the step says so"}
		if kind == estate.TopicKind {
			if with.BadSince == nil {
				return nil, fmt.Errorf("%w: bad names topic %s, and nothing says since when: give bad_since", action.ErrRefused, n.Name)
			}
			o.Since = with.BadSince.UTC()
		} else if err := t.dated(ctx, &o); err != nil {
			return nil, fmt.Errorf("find the first bad version of table %s: %w", n.Name, rollbackError(err))
		}
		all = append(all, o)
	}
	return all, nil
}

// has tells whether a group has a table or a topic.
func has(g *estate.Group, kind estate.Kind, name string) bool {
	if kind == estate.TableKind {
		return slices.ContainsFunc(g.Tables, func(t estate.Table) bool { return t.Table == name })
	}
	return slices.ContainsFunc(g.Topics, func(t estate.Topic) bool { return t.Topic == name })
}

// dated finds the first bad version of a table by the number or the time that the step
// gives, and its head. It goes by what commits say of their time: that of a log's objects
// is the copying's in a copy.
func (t *trace) dated(ctx context.Context, o *lineage.Origin) error {
	site, err := t.lake.Table(ctx, t.c.Estate, t.region, o.Name)
	if err != nil {
		return err
	}
	l, err := site.Open(ctx)
	if err != nil {
		return err
	}
	head := l.Extent().Head
	o.Head = &head
	if v := t.c.With.BadVersion; v != nil {
		c, err := l.Commit(ctx, *v)
		if err != nil {
			return err
		}
		o.Bad, o.Since = v, c.Version.Time
	} else {
		all, err := commitsSince(ctx, l, *t.c.With.BadSince)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return fmt.Errorf("%w: nothing was committed to it since %s, its newest version is %d", table.ErrRefused, t.c.With.BadSince.UTC().Format(time.RFC3339Nano), head)
		}
		o.Bad, o.Since = &all[len(all)-1].Version.Number, all[len(all)-1].Version.Time
	}
	if s := t.c.With.BadSince; s != nil && s.Before(o.Since) {
		o.Since = s.UTC()
	}
	return nil
}

// badStateStays observes that the bad versions are still there for people to look at.
func (t *trace) badStateStays() []action.Observation {
	var obs []action.Observation
	for _, o := range t.radius.Origins {
		w := t.tables[o.Name]
		if o.Kind != estate.TableKind || w == nil {
			continue
		}
		what, want := fmt.Sprintf("the first bad version, %d, is in the log", *o.Bad), "its commit"
		if w.err != nil && len(w.extent.Committed) == 0 {
			obs = append(obs, w.site.NotSeen(t.c.Run, what, want, w.err))
			continue
		}
		there := slices.ContainsFunc(w.extent.Committed, func(r table.Range) bool { return r.Has(*o.Bad) })
		got := "its commit"
		if !there {
			got = "no commit of it; there are " + strings.Join(rangeWords(w.extent.Committed), ", ")
		}
		obs = append(obs, w.site.About(action.Saw(what, want, got, there)))
	}
	return obs
}

func rangeWords(all []table.Range) []string {
	var words []string
	for _, r := range all {
		words = append(words, r.Words())
	}
	return words
}
