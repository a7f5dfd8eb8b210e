package recovery

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"breakwater/internal/verdict"
)

// Kind says what an interval of a run was spent on.
type Kind string

// The kinds, in the order of their precedence: where intervals overlap, the time
// counts once, for the first of them. People outrank machines, since what ran
// while a gate was open did not make the run longer.
const (
	Detect  Kind = "detect"  // from the outage to the alarm
	Decide  Kind = "decide"  // from the alarm to the start of the run
	Wait    Kind = "wait"    // a gate was open
	Execute Kind = "execute" // a plan, apply or undo ran
	Verify  Kind = "verify"  // a verify or a check ran
)

var kinds = [...]Kind{Detect, Decide, Wait, Execute, Verify}

// Interval is a stretch of time spent on one kind of thing. A zero End means
// that it still lasts.
type Interval struct {
	Kind  Kind      `json:"kind"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end,omitzero"`
}

// Breakdown is wall time taken apart, in seconds. The parts and Overhead, the
// time in which no activity ran and no gate was open, add up to Total.
type Breakdown struct {
	Detect   float64 `json:"detect"`
	Decide   float64 `json:"decide"`
	Wait     float64 `json:"wait"`
	Execute  float64 `json:"execute"`
	Verify   float64 `json:"verify"`
	Overhead float64 `json:"overhead"`
	Total    float64 `json:"total"`
}

// TakeApart splits the time from start to end into what it was spent on.
// Intervals are cut to it; overlaps count once, by the precedence of [Kind].
// An unknown kind, or an interval or a whole that ends before it starts, is an
// error in [ErrEvidence].
func TakeApart(start, end time.Time, intervals []Interval) (Breakdown, error) {
	if end.Before(start) {
		return Breakdown{}, fmt.Errorf("take the time apart: %w: it ends at %s, before its start %s; pass the moments in order", ErrEvidence, stamp(end), stamp(start))
	}
	type edge struct {
		at   time.Time
		kind int
		by   int // +1 opens, -1 closes
	}
	var edges []edge
	for _, i := range intervals {
		kind := slices.Index(kinds[:], i.Kind)
		if kind < 0 {
			return Breakdown{}, fmt.Errorf("take the time apart: %w: kind %q; want one of %v", ErrEvidence, i.Kind, kinds)
		}
		from, to := i.Start, i.End
		if to.IsZero() {
			to = end
		} else if to.Before(from) {
			return Breakdown{}, fmt.Errorf("take the time apart: %w: %s ends at %s, before its start %s; pass the moments in order", ErrEvidence, i.Kind, stamp(to), stamp(from))
		}
		if from.Before(start) {
			from = start
		}
		if to.After(end) {
			to = end
		}
		if from.Before(to) {
			edges = append(edges, edge{from, kind, +1}, edge{to, kind, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return a.at.Compare(b.at) })
	var open [len(kinds)]int
	var spent [len(kinds) + 1]time.Duration // the last is overhead
	last := start
	spend := func(until time.Time) {
		kind := slices.IndexFunc(open[:], func(n int) bool { return n > 0 })
		if kind < 0 {
			kind = len(kinds)
		}
		spent[kind] += until.Sub(last)
		last = until
	}
	for _, e := range edges {
		spend(e.at)
		open[e.kind] += e.by
	}
	spend(end)
	return Breakdown{
		Detect: spent[0].Seconds(), Decide: spent[1].Seconds(), Wait: spent[2].Seconds(),
		Execute: spent[3].Seconds(), Verify: spent[4].Seconds(), Overhead: spent[5].Seconds(),
		Total: end.Sub(start).Seconds(),
	}, nil
}

// Milestone is a point of the runbook that a tier has an objective for.
type Milestone struct {
	Name       string
	Tier       int       // zero: not of a tier
	At         time.Time // zero: not reached yet
	RTOSeconds float64   // zero: none declared
}

// Reached is a milestone held against its objective.
type Reached struct {
	Name       string  `json:"name"`
	Tier       int     `json:"tier,omitzero"`
	Reached    bool    `json:"reached"`
	Seconds    float64 `json:"seconds"` // since the outage began; until now if not reached
	RTOSeconds float64 `json:"rto_seconds,omitzero"`
	// Met is unknown where no objective is declared, where the outage's start is
	// not known, and while time is left.
	Met verdict.Verdict `json:"met"`
}

// Milestones holds each milestone against its objective, in order of tier, then
// of time, those not reached last. A zero outage makes all of them unknown.
func Milestones(outage, now time.Time, milestones []Milestone) []Reached {
	ordered := slices.Clone(milestones)
	slices.SortStableFunc(ordered, func(a, b Milestone) int {
		open := func(m Milestone) int {
			if m.At.IsZero() {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(a.Tier, b.Tier), cmp.Compare(open(a), open(b)), a.At.Compare(b.At))
	})
	out := make([]Reached, len(ordered))
	for i, m := range ordered {
		r := Reached{Name: m.Name, Tier: m.Tier, Reached: !m.At.IsZero(), RTOSeconds: m.RTOSeconds}
		if !outage.IsZero() {
			at := m.At
			if !r.Reached {
				at = now
			}
			r.Seconds = at.Sub(outage).Seconds()
			switch {
			case m.RTOSeconds <= 0 || r.Seconds < 0: // nothing to hold it against
			case r.Seconds > m.RTOSeconds:
				r.Met = verdict.Fail
			case r.Reached:
				r.Met = verdict.Pass
			}
		}
		out[i] = r
	}
	return out
}

// Estimate is how long a remaining step should take: Fixed plus PerItem for each
// item, Parallel of them at a time.
type Estimate struct {
	Step     string        `json:"step"`
	Known    bool          `json:"known"` // false: nobody can say
	Fixed    time.Duration `json:"fixed_ns,omitzero"`
	PerItem  time.Duration `json:"per_item_ns,omitzero"`
	Items    int           `json:"items,omitzero"`
	Parallel int           `json:"parallel,omitzero"` // zero counts as one
}

// Forecast is when the remaining steps should be done.
type Forecast struct {
	Finish           time.Time `json:"finish"`
	RemainingSeconds float64   `json:"remaining_seconds"`
	// Unknown names the steps without an estimate; with any, Finish is only the
	// earliest that can be hoped for.
	Unknown       []string `json:"unknown,omitempty"`
	RTOSeconds    float64  `json:"rto_seconds,omitzero"`
	MarginSeconds float64  `json:"margin_seconds"` // negative: too late
	// Met is pass with a margin of zero or more and no unknown step, fail with a
	// negative one, else unknown.
	Met verdict.Verdict `json:"met"`
}

// ForecastFinish adds up the steps that remain, one after the other, from now,
// and holds the result against the tier's objective counted from the outage's
// start. A zero outage or objective leaves the margin zero and Met unknown.
func ForecastFinish(outage, now time.Time, rtoSeconds float64, remaining []Estimate) Forecast {
	f := Forecast{RTOSeconds: rtoSeconds}
	var left time.Duration
	for _, e := range remaining {
		if !e.Known {
			f.Unknown = append(f.Unknown, e.Step)
			continue
		}
		parallel := max(1, e.Parallel)
		rounds := (max(0, e.Items) + parallel - 1) / parallel
		left += e.Fixed + time.Duration(rounds)*e.PerItem
	}
	f.Finish, f.RemainingSeconds = now.Add(left), left.Seconds()
	if outage.IsZero() || rtoSeconds <= 0 {
		return f
	}
	f.MarginSeconds = rtoSeconds - f.Finish.Sub(outage).Seconds()
	switch {
	case f.MarginSeconds < 0:
		f.Met = verdict.Fail
	case len(f.Unknown) == 0:
		f.Met = verdict.Pass
	}
	return f
}
