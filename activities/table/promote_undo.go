package table

import (
	"context"
	"fmt"

	"breakwater/internal/action"
	"breakwater/internal/lake"
)

// planDemote plans to bring back what a promotion moved aside. What was written
// above its version meanwhile makes going back a failback.
func (s room) planDemote(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	if _, out := leftOutBy(c.Plan); out {
		return action.Change{Summary: c.Item.Name + " was left as it is: there is nothing to take back", Data: c.Plan.Data}, nil
	}
	p, err := s.promoting(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	back, err := p.promoter.PlanReturn(ctx, p.Site(), c.Plan.Data)
	if err != nil {
		return action.Change{}, lake.Classed(err)
	}
	return action.Change{
		Summary: fmt.Sprintf("%s goes back to head %d, as it was before the promotion to version %d", p.Name, p.head.Head, p.head.Version),
		Effects: lake.Effects(back.Effects), Data: back.Plan,
	}, nil
}

// applyDemote brings back what is not there. Called again, it finds nothing to do.
func (s room) applyDemote(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	if _, out := leftOutBy(c.Plan); out {
		return action.Outcome{Summary: c.Item.Name + " is left as it is"}, nil
	}
	p, err := s.promoting(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s is back at head %d", p.Name, p.head.Head)}
	out.Mutations, err = p.promoter.Return(ctx, p.Site(), c.Plan.Data, work(c.Request))
	return out, lake.Classed(err)
}

// verifyDemote looks at the table as it was before the promotion.
func (s room) verifyDemote(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	if _, out := leftOutBy(c.Plan); out {
		return s.untouched(ctx, c), nil
	}
	t, err := s.promoting(ctx, c)
	if err != nil {
		return nil, err
	}
	before := t.head.Head
	what := fmt.Sprintf("the head is version %d, as before the promotion", before)
	l, err := t.Open(ctx)
	if err != nil {
		return []action.Observation{t.NotSeen(c.Run, what, "a log", err)}, nil
	}
	head := l.Extent().Head
	obs := []action.Observation{t.About(action.Saw(what, fmt.Sprint(before), fmt.Sprint(head), head == before))}
	return append(obs, t.Looked(c.Run, t.promoter.Returned(ctx, t.Site(), c.Plan.Data)...)...), nil
}
