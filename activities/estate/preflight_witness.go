package estate

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/plural"
	"breakwater/internal/reach"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
)

// witnessed holds the witness's last sightings against the objectives: what was not
// seen for longer than a tier may lose bounds no loss within its RPO, and a table that
// rests keeps the cut of its group where it was last seen.
func (p *preflight) witnessed(ctx context.Context) {
	if p.c.Estate.Witness.Bucket == "" {
		p.unwitnessed()
		return
	}
	until, words := time.Now(), "now"
	if at := p.outage(); at != nil {
		until, words = *at, at.UTC().Format(time.RFC3339)
	}
	for _, g := range p.groups() {
		tier, ok := p.c.Estate.Tier(g.Tier)
		if !ok || tier.RPO <= 0 || len(g.Tables) == 0 {
			continue
		}
		what := fmt.Sprintf("the witness saw every table of %s within its RPO", g.Group)
		want := fmt.Sprintf("a sighting in the %s before %s", tier.RPO.Std(), words)
		stale, err := p.unseen(ctx, g, until.Add(-tier.RPO.Std()))
		switch {
		case err != nil:
			p.err(what, want, err)
		case len(stale) == 0:
			p.saw(what, want, fmt.Sprintf("%d of %s", len(g.Tables), plural.Of(len(g.Tables), "table")), true)
		default:
			p.stale(ctx, what, want, g, stale)
		}
	}
}

// unwitnessed has the gate accept, before anything is changed, that there is no witness
// to hold rows against.
func (p *preflight) unwitnessed() {
	n := 0
	for _, g := range p.groups() {
		n += len(g.Tables)
	}
	if n == 0 {
		return
	}
	p.obs = append(p.obs, action.Observation{
		What: "it is known what rows are held against", Want: "a witness, or people who accept that there is none",
		Got: fmt.Sprintf("the estate has no witness: the rows of %s become obligations", plural.Of(n, "table")), Verdict: verdict.Pass, Accept: action.AcceptUnwitnessed,
	})
}

// outage is when sightings may have ended, as far as it was said; nil where nobody did.
func (p *preflight) outage() *time.Time { return cmp.Or(p.c.Run.OutageStart, p.c.Run.DetectedAt) }

// unseen are the tables of a group that were last seen before a moment, in words.
func (p *preflight) unseen(ctx context.Context, g *estate.Group, since time.Time) ([]string, error) {
	j, err := p.s.lake.Journal(ctx, p.c.Estate, p.r.Region)
	if err != nil {
		return nil, err
	}
	var stale []string
	for _, t := range g.Tables {
		if p.out[t.Table] {
			continue // no cut is chosen for it
		}
		all, err := j.Sightings(ctx, t.Table)
		if err != nil {
			return nil, err
		}
		switch last := lastOf(all); {
		case last.IsZero():
			stale = append(stale, t.Table+", never")
		case last.Before(since):
			stale = append(stale, fmt.Sprintf("%s, at %s", t.Table, last.UTC().Format(time.RFC3339)))
		}
	}
	return stale, nil
}

func lastOf(all []witness.Sighting) (last time.Time) {
	for _, s := range all {
		if s.Last.After(last) {
			last = s.Last
		}
	}
	return last
}

// stale says that sightings are too old. Where nobody said when the outage began and
// the source does not answer, the witness may have been in time.
func (p *preflight) stale(ctx context.Context, what, want string, g *estate.Group, stale []string) {
	got := fmt.Sprintf("%d of %s not seen: %s; see why the Schedule of Witness does not run", len(stale), plural.Of(len(g.Tables), "table", "was", "were"), plural.Few(stale))
	if p.outage() == nil && p.c.Run.Source != "" {
		b, err := p.s.Bucket(ctx, p.c.Estate, p.c.Run.Source, g.Tables[0].Bucket)
		if err == nil {
			_, err = b.Versioned(ctx)
		}
		if reach.Unreachable(err) {
			o := action.Unknown(p.c.Run, p.c.Run.Source, what, want, err, fmt.Sprintf("Find out how long the witness had not seen %s before %s fell silent", g.Group, p.c.Run.Source))
			o.Got = got + "; " + p.c.Run.Source + " does not answer, and no outage_start was given"
			p.obs = append(p.obs, o)
			return
		}
	}
	p.saw(what, want, got, false)
}
