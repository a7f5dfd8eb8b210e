package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/action"
)

func (f barring) planBack(ctx context.Context, c action.Call[barringWith]) (action.Change, error) {
	p, err := action.Decode[barringPlan](c.Plan.Data)
	if err != nil {
		return action.Change{}, err
	}
	if p.Unreachable {
		return action.Change{Data: c.Plan.Data, Summary: fmt.Sprintf("Nothing was done in %s, which did not answer", f.where(c))}, nil
	}
	if p.Others {
		return action.Change{Data: c.Plan.Data, Summary: fmt.Sprintf("The fence of run %s in %s was there before and stays", p.Seen.Run, f.where(c))}, nil
	}
	return f.planOpening(ctx, c, p)
}

// planOpen plans, in a later step of the run, to take its fence away. Another run's
// stays, as it did when this run came upon it.
func (f barring) planOpen(ctx context.Context, c action.Call[barringWith]) (action.Change, error) {
	b, err := f.at(ctx, c)
	var p barringPlan
	if err == nil {
		p.Seen, err = b.fence.Read(ctx)
	}
	if err != nil {
		return action.Change{}, err
	}
	if p.Others = p.Seen.Closed && p.Seen.Run != b.run; p.Others {
		ch := action.Change{Summary: fmt.Sprintf("%s is closed by run %s, whose fence stays", b, p.Seen.Run)}
		ch.Data, err = action.Encode(p)
		return ch, err
	}
	return f.planOpening(ctx, c, p)
}

// planOpening plans to take away what there is of this run's fence.
func (f barring) planOpening(ctx context.Context, c action.Call[barringWith], p barringPlan) (action.Change, error) {
	var ch action.Change
	b, err := f.at(ctx, c)
	if err != nil {
		return ch, err
	}
	now, err := b.fence.Read(ctx)
	if err != nil {
		return ch, err
	}
	ch.Preconditions = []action.Precondition{b.precondition(now)}
	if ch.Data, err = action.Encode(p); err != nil {
		return ch, err
	}
	switch now.Run {
	case "":
		ch.Summary = fmt.Sprintf("%s has no fence of this run", b)
		if c.Run.Mode != action.ModeLive {
			ch.Summary += "; in mode live it would have one here, which is taken away"
		}
		return ch, nil
	case b.run:
	default:
		return ch, fmt.Errorf("%w: the fence at %s is run %s's; only that run can take it back", action.ErrRefused, b, now.Run)
	}
	// The rest may have changed since: opening takes away ours alone.
	p.Seen = now
	if p.Fence, err = b.fence.Name(b.run); err != nil {
		return ch, err
	}
	ch.Summary = fmt.Sprintf("Let %s write to %s again", b.names(), b)
	for _, name := range b.principals {
		ch.Effects = append(ch.Effects, action.EffectLine{On: name.Name + " at " + b.region, Do: "take this run's denial of s3://" + b.bucket + " away", From: p.Fence})
	}
	slices.SortFunc(ch.Effects, func(a, b action.EffectLine) int { return strings.Compare(a.On, b.On) })
	ch.Data, err = action.Encode(p)
	return ch, err
}

func (f barring) applyBack(ctx context.Context, c action.Call[barringWith]) (action.Outcome, error) {
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
