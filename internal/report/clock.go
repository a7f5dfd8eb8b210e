package report

import (
	"cmp"
	"slices"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// byTier orders by tier, those of none first, then by name.
func byTier(tierA, tierB int, a, b string) int {
	return cmp.Or(cmp.Compare(tierA, tierB), cmp.Compare(a, b))
}

// clock takes the run's time apart, and holds it against the objectives.
func (b *builder) clock() error {
	r := &b.rep
	start, end := b.from(), r.AsOf
	if r.Ended != nil {
		end = *r.Ended
	}
	for _, g := range r.Gates {
		if g.Closed == nil {
			b.wait(b.stage(g.Stage, false), g.Opened, end)
		}
	}
	if b.ask > 0 {
		b.wait(b.stage(r.Asked[b.ask-1].Stage, false), r.Asked[b.ask-1].At, end)
	}
	if end.Before(start) {
		b.note("the run's clock went back: it ended before it started, and its time is not taken apart")
		end = start
	}
	var err error
	if r.Time, err = recovery.TakeApart(start, end, b.spent); err != nil {
		return err
	}
	for i := range r.Stages {
		r.Stages[i].Spans = merged(r.Stages[i].Spans)
	}
	b.milestones(start, end)
	return b.tiers(start, end)
}

// from is when the clock starts: with the outage, or with the run where nobody
// said when that was. It also accounts for the time before the run.
func (b *builder) from() time.Time {
	r := &b.rep
	if r.Started.IsZero() {
		r.Started = r.AsOf
	}
	if r.OutageStart == nil {
		if r.Mode != action.ModePlan {
			b.note("outage_start was not given: the clock starts with the run, and no objective is claimed to be met")
		}
		return r.Started
	}
	outage := r.OutageStart.UTC()
	if outage.After(r.Started) {
		b.note("outage_start %s is after the start of the run, which counts instead", outage.Format(time.RFC3339))
		r.OutageStart = nil
		return r.Started
	}
	detected := outage
	switch {
	case r.DetectedAt == nil:
		b.note("detected_at was not given: all of the time from the outage to the start of the run counts as decide")
	case r.DetectedAt.Before(outage) || r.DetectedAt.After(r.Started):
		b.note("detected_at %s is not between the outage and the start of the run: that time counts as decide", r.DetectedAt.UTC().Format(time.RFC3339))
	default:
		detected = r.DetectedAt.UTC()
	}
	b.spent = append(b.spent,
		recovery.Interval{Kind: recovery.Detect, Start: outage, End: detected},
		recovery.Interval{Kind: recovery.Decide, Start: detected, End: r.Started})
	return outage
}

// rto is the objective of a tier in seconds, 0 where it has none.
func (b *builder) rto(tier int) (rto, rpo float64) {
	for _, t := range b.compiled.Tiers {
		if t.Tier == tier {
			return t.RTO.Std().Seconds(), t.RPO.Std().Seconds()
		}
	}
	return 0, 0
}

// milestones holds what the run promises against the objectives. In a plan
// nothing is reached, and nothing missed either.
func (b *builder) milestones(start, end time.Time) {
	var all []recovery.Milestone
	add := func(m wire.Milestone) {
		rto, _ := b.rto(m.Tier)
		all = append(all, recovery.Milestone{Name: m.Name, Tier: m.Tier, At: m.At, RTOSeconds: rto})
	}
	for _, m := range b.reached {
		add(m)
	}
	for _, s := range b.compiled.Stages {
		m := wire.Milestone{Name: s.Milestone, Tier: s.Tier}
		if s.Milestone != "" && !slices.ContainsFunc(b.reached, func(have wire.Milestone) bool { return have.Name == m.Name && have.Tier == m.Tier }) {
			add(m)
		}
	}
	since := start
	if b.rep.Mode == action.ModePlan {
		since = time.Time{}
	}
	for _, m := range all { // one by one: the moment has to stay with its milestone
		got := Milestone{Reached: recovery.Milestones(since, end, []recovery.Milestone{m})[0]}
		if !m.At.IsZero() {
			at := m.At.UTC()
			got.At = &at
		}
		if b.rep.OutageStart == nil && got.Met == verdict.Pass {
			got.Met = verdict.Unknown // the outage was earlier than the run
		}
		b.rep.Milestones = append(b.rep.Milestones, got)
	}
	slices.SortStableFunc(b.rep.Milestones, func(x, y Milestone) int {
		return cmp.Or(cmp.Compare(x.Tier, y.Tier), -compareBool(x.Reached.Reached, y.Reached.Reached), cmp.Compare(x.Seconds, y.Seconds))
	})
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// tiers takes apart the time until each tier had its last milestone.
func (b *builder) tiers(start, end time.Time) error {
	for _, t := range b.compiled.Tiers {
		in := func(s Stage) bool { return s.Tier == t.Tier }
		if !slices.ContainsFunc(b.rep.Stages, in) {
			continue
		}
		tier := Tier{Tier: t.Tier}
		tier.RTOSeconds, tier.RPOSeconds = b.rto(t.Tier)
		until, met := end, []verdict.Verdict{}
		for _, m := range b.rep.Milestones {
			if m.Tier != t.Tier {
				continue
			}
			// Those not reached come last, and the first of them is waited for.
			if tier.Until == "" || tier.Reached {
				tier.Until, tier.Reached, until = m.Name, m.At != nil, end
				if m.At != nil {
					until = *m.At
				}
			}
			met = append(met, m.Met)
		}
		tier.Met = verdict.Worst(met...)
		if until.Before(start) {
			until = start
		}
		var err error
		if tier.Time, err = recovery.TakeApart(start, until, b.spent); err != nil {
			return err
		}
		b.rep.Tiers = append(b.rep.Tiers, tier)
	}
	return nil
}

// merged joins the intervals of each kind that touch, in the order in which they
// began.
func merged(all []recovery.Interval) []recovery.Interval {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b recovery.Interval) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), a.Start.Compare(b.Start))
	})
	out := []recovery.Interval{}
	for _, i := range all {
		if n := len(out); n > 0 && out[n-1].Kind == i.Kind && !i.Start.After(out[n-1].End) {
			if i.End.After(out[n-1].End) {
				out[n-1].End = i.End
			}
			continue
		}
		out = append(out, i)
	}
	slices.SortStableFunc(out, func(a, b recovery.Interval) int { return a.Start.Compare(b.Start) })
	return out
}
