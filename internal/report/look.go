package report

import (
	"context"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/ledger"
	"breakwater/internal/record"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// passesMost is how many observations that passed a report lists; those that
// did not are all there, and the counts always count everything.
const passesMost = 200

// place is what the newest look counts for.
type place struct {
	step, item string
	undo       bool
}

// looker gathers observations, newest entry first.
type looker struct {
	*builder
	seen   map[place]bool
	bad    map[string][]Observation // by step
	passed map[string][]Observation // by step, at most passesMost each
}

// look takes the newest observations of every item out of the documents.
func (b *builder) look(ctx context.Context, entries []ledger.Entry) error {
	l := &looker{builder: b, seen: map[place]bool{}, bad: map[string][]Observation{}, passed: map[string][]Observation{}}
	for _, e := range slices.Backward(entries) {
		undo := false
		switch e.Kind {
		case ledger.Observed:
			o, ok := body[wire.ObservedBody](&b.reader, e)
			if undo = o.Undo; !ok {
				continue
			}
		case ledger.Planned: // of a stage that looks: what was found stands in its plan
			p, ok := body[wire.PlannedBody](&b.reader, e)
			if !ok || p.Undo || !b.looks(e.Stage) {
				continue
			}
		default:
			continue
		}
		if err := b.docs(ctx, e.Docs, func(ref ledger.DocRef, name string) error { return l.take(ctx, e.Stage, ref, name, undo) }); err != nil {
			return err
		}
	}
	l.list()
	return nil
}

// take reads one document, unless a newer look at the same item was taken.
func (l *looker) take(ctx context.Context, stage string, ref ledger.DocRef, name string, undo bool) error {
	id, err := ledger.ParseDocKey(ref.Key)
	if err != nil {
		return err
	}
	at := place{id.Step, id.Item, undo}
	if l.seen[at] {
		return nil
	}
	var item string
	var obs []action.Observation
	switch name {
	case ledger.DocPlan:
		var doc wire.PlanDoc
		if ok, err := l.doc(ctx, ref, &doc); !ok || err != nil {
			return err
		}
		item, obs = doc.Item.String(), doc.Found
		l.conclude(stage, doc.Step, item, obs)
	case ledger.DocObserved:
		var doc wire.ObservedDoc
		if ok, err := l.doc(ctx, ref, &doc); !ok || err != nil {
			return err
		}
		item, obs = doc.Item.String(), doc.Observations
	default:
		return nil
	}
	l.seen[at] = true
	for _, o := range obs {
		seen := Observation{
			Step: id.Step, Item: item, What: o.What, Want: o.Want, Got: o.Got, Verdict: o.Verdict, Cause: o.Cause, Undo: undo,
		}
		if o.Item != "" {
			seen.Item = o.Item
		}
		switch {
		case !o.Verdict.Clear():
			l.bad[id.Step] = append(l.bad[id.Step], seen)
		case len(l.passed[id.Step]) < passesMost:
			l.passed[id.Step] = append(l.passed[id.Step], seen)
		}
	}
	return nil
}

// findingsMost is how many findings a step shows: as many as an entry carries.
const findingsMost = wire.Shown

// conclude adds what a look in a stage that only looks found to its step, whose
// verdict no entry of its own holds.
func (l *looker) conclude(stage, step, item string, obs []action.Observation) {
	p := l.step(stage, step, false)
	worst := action.Worst(obs)
	if p.Seen == (Counts{}) {
		p.Verdict = worst
	} else {
		p.Verdict = verdict.Worst(p.Verdict, worst)
	}
	for _, o := range obs {
		switch o.Verdict {
		case verdict.Pass:
			p.Seen.Passed++
			continue
		case verdict.Nothing:
			p.Seen.Nothing++
			if p.None = append(p.None, o.Got); len(p.None) > findingsMost {
				p.None = p.None[:findingsMost]
			}
			continue
		case verdict.Fail:
			p.Seen.Failed++
		default:
			p.Seen.Unknown++
		}
		if len(p.Findings) < findingsMost {
			p.Findings = append(p.Findings, item+": "+o.What+": "+o.Got)
		}
	}
	switch p.State {
	case Proven, NotProven, NotKnown, NothingToDo:
		p.State = stateOf(p.Verdict)
	}
}

// list puts the observations in the order of the steps: all that did not pass,
// and of the others as many of each step as there is room for.
func (l *looker) list() {
	room := passesMost
	share := map[string]int{}
	for room > 0 { // one more for each step that has one, until there is no room
		before := room
		for _, s := range l.rep.Stages {
			for _, p := range s.Steps {
				if room > 0 && s.ID != takeBack && share[p.ID] < len(l.passed[p.ID]) {
					share[p.ID]++
					room--
				}
			}
		}
		if room == before {
			break
		}
	}
	for _, s := range l.rep.Stages {
		if s.ID == takeBack {
			continue // its steps are those of other stages
		}
		for _, p := range s.Steps {
			l.rep.Observations = append(l.rep.Observations, l.bad[p.ID]...)
			l.rep.Observations = append(l.rep.Observations, l.passed[p.ID][:share[p.ID]]...)
		}
	}
}

// recovered takes cuts and losses, and how much each step changed, out of the
// outcomes. An entry that repeats an outcome of an earlier attempt does not
// count it twice.
func (b *builder) recovered(ctx context.Context, entries []ledger.Entry) error {
	counted, points := map[string]bool{}, map[string]bool{}
	for _, e := range slices.Backward(entries) {
		if e.Kind != ledger.Outcome {
			continue
		}
		o, ok := body[wire.OutcomeBody](&b.reader, e)
		if !ok {
			continue
		}
		p := b.step(e.Stage, e.Step, o.Undo)
		err := b.docs(ctx, e.Docs, func(ref ledger.DocRef, name string) error {
			if name != ledger.DocOutcome || counted[ref.Key] {
				return nil
			}
			counted[ref.Key] = true
			var doc wire.OutcomeDoc
			if ok, err := b.doc(ctx, ref, &doc); !ok || err != nil {
				return err
			}
			p.Mutations += doc.Outcome.Mutations
			if doc.Action == record.GroupPoint.Action && !strings.HasPrefix(doc.Outcome.Summary, action.NothingToDo) && !o.Undo && !points[doc.Item.Name] {
				points[doc.Item.Name] = true
				b.point(doc)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	slices.SortStableFunc(b.rep.Cuts, func(x, y GroupCut) int { return byTier(x.Tier, y.Tier, x.Group, y.Group) })
	slices.SortStableFunc(b.rep.Recovery, func(x, y Recovered) int { return byTier(x.Tier, y.Tier, x.Group, y.Group) })
	return nil
}

// point takes what an outcome says about a group; where it says nothing, nothing
// is made up.
func (b *builder) point(doc wire.OutcomeDoc) {
	p, err := record.GroupPoint.Decode(doc.Outcome.Data)
	if err != nil || p.Cut.At.IsZero() && len(p.LeftOut) == 0 {
		b.note("the recovery point of group %s is not in its outcome", doc.Item.Name)
		return
	}
	name, tier := doc.Item.Name, doc.Item.Tier
	if g, ok := b.estate.Group(name); ok && tier == 0 {
		tier = g.Tier
	}
	if !p.Cut.At.IsZero() {
		b.rep.Cuts = append(b.rep.Cuts, GroupCut{
			Group: name, Tier: tier, At: p.Cut.At.UTC(), SkewSeconds: p.Cut.SkewSeconds,
			Binding: p.Cut.Binding.Dataset, Reason: p.Cut.Binding.Reason,
		})
	}
	for _, left := range p.LeftOut {
		b.note("%s %s of group %s did not come back here: %s", left.Kind, left.Dataset, name, left.Why)
	}
	for _, l := range p.Losses {
		l.RecoveryPoint = l.RecoveryPoint.UTC()
		b.rep.Recovery = append(b.rep.Recovery, Recovered{Loss: l, Group: name, Tier: tier})
	}
}
