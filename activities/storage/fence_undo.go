package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/action"
)

func (f barring) planBack(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	p, err := action.Decode[barringPlan](c.Plan.Data)
	if err != nil {
		return action.Change{}, err
	}
	where := f.region(c.Run)
	ch := action.Change{Data: c.Plan.Data}
	if p.Unreachable {
		ch.Summary = fmt.Sprintf("Nothing was done in %s, which did not answer", where)
		return ch, nil
	}
	if p.Others {
		ch.Summary = fmt.Sprintf("The fence of run %s in %s was there before and stays", p.Seen.Run, where)
		return ch, nil
	}
	b, err := f.at(ctx, c)
	if err != nil {
		return ch, err
	}
	now, err := b.fence.Read(ctx)
	if err != nil {
		return ch, err
	}
	ch.Preconditions = []action.Precondition{b.precondition(now)}
	switch now.Run {
	case "":
		ch.Summary = fmt.Sprintf("%s has no fence of this run", b)
		return ch, nil
	case b.run:
	default:
		return ch, fmt.Errorf("%w: the fence at %s is run %s's; only that run can take it back", action.ErrRefused, b, now.Run)
	}
	// The rest may have changed since: opening takes away ours alone.
	p.Seen = now
	ch.Summary = fmt.Sprintf("Let %s write to %s again", b.names(), b)
	for _, name := range b.principals {
		ch.Effects = append(ch.Effects, action.EffectLine{On: name.Name + " at " + b.region, Do: "take this run's denial of s3://" + b.bucket + " away"})
	}
	slices.SortFunc(ch.Effects, func(a, b action.EffectLine) int { return strings.Compare(a.On, b.On) })
	ch.Data, err = action.Encode(p)
	return ch, err
}

func (f barring) applyBack(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	p, err := action.Decode[barringPlan](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	if len(c.Plan.Effects) == 0 {
		return action.Outcome{Summary: c.Plan.Summary}, nil
	}
	b, err := f.at(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	now, err := b.fence.Read(ctx)
	if err != nil {
		return action.Outcome{}, err
	}
	if now.Run == "" {
		return action.Outcome{Summary: fmt.Sprintf("%s has no fence of this run", b)}, nil
	}
	if err := c.Guard(ctx); err != nil {
		return action.Outcome{}, err
	}
	if err := moved(b.fence.Open(ctx, p.Seen, b.run)); err != nil {
		return action.Outcome{}, err
	}
	return action.Outcome{Summary: fmt.Sprintf("%s may write to %s again", b.names(), b), Mutations: 1 + int64(len(b.principals))}, nil
}
