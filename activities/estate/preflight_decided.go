package estate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/plural"

	"golang.org/x/sync/errgroup"
)

// decided asks of every table whose log is there whether it can come back by its log
// alone. One of which a catalog decides which commits count cannot, and takes nothing
// from the others: people accept at a gate that it is left out.
func (p *preflight) decided(ctx context.Context) {
	for _, g := range p.groups() {
		if len(g.Tables) == 0 {
			continue
		}
		what, want := "the logs of "+g.Group+"'s tables alone say what was committed", "of every table, or it is known which do not come back here"
		whys, stagings := make([]string, len(g.Tables)), make([]string, len(g.Tables))
		work, wctx := errgroup.WithContext(ctx)
		work.SetLimit(action.AtOnce)
		for i, t := range g.Tables {
			work.Go(func() (err error) {
				whys[i], stagings[i], err = p.screen(wctx, t)
				return err
			})
		}
		if err := work.Wait(); err != nil {
			p.err(what, want, err)
			continue
		}
		var out []string
		for i, t := range g.Tables {
			if whys[i] == "" {
				continue
			}
			out = append(out, t.Table)
			if p.out[t.Table] = true; t.LogStore == estate.Catalog {
				continue // whoever wrote the estate knows
			}
			p.obs = append(p.obs, action.NotHere(t.Table, "it can come back at "+p.r.Region, "a log that alone says what was committed", whys[i],
				fmt.Sprintf("Recover table %s, which cannot come back with group %s: %s", t.Table, g.Group, whys[i])))
		}
		got := fmt.Sprintf("%d of %d", len(g.Tables)-len(out), len(g.Tables))
		if len(out) > 0 {
			got += "; not of " + plural.Few(out)
		}
		p.saw(what, want, got, true)
		if staging := slices.DeleteFunc(stagings, func(s string) bool { return s == "" }); len(staging) > 0 {
			p.saw("it is known where commits of "+g.Group+"'s tables are staged", "of every table", strings.Join(staging, "; "), true)
		}
	}
}

// screen says why a table cannot come back by its log, empty where nothing says so, and
// what may be staged beside the log. What of it has not arrived is not asked for here.
func (p *preflight) screen(ctx context.Context, t estate.Table) (why, staging string, err error) {
	site, err := p.s.lake.Table(ctx, p.c.Estate, p.r.Region, t.Table)
	if err != nil {
		return "", "", err
	}
	l, err := site.Open(ctx)
	if errors.Is(err, fs.ErrNotExist) && lake.Answered(err) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	why, err = site.Screen(ctx, l)
	return why, site.Staging(l), err
}
