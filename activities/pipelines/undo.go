package pipelines

import (
	"context"
	"fmt"

	"breakwater/internal/action"
	"breakwater/internal/pipeline"
)

// placed is a part of a plan: a schedule, with the note that it had before.
type placed interface {
	place() scheduled
	before() string
}

func places[T placed](all []T) []scheduled {
	out := make([]scheduled, len(all))
	for i, p := range all {
		out[i] = p.place()
	}
	return out
}

// undo is how a deed of this run is taken back.
type undo struct {
	deed pipeline.Deed
	did  pipeline.State // what it made of a schedule
	was  pipeline.State // what the schedule is to be again
	do   string
}

var (
	unpause    = undo{pipeline.PausedIt, pipeline.Paused, pipeline.Running, "resume, with the note that it had"}
	pauseAgain = undo{pipeline.ResumedIt, pipeline.Running, pipeline.Paused, "pause, with the note that it had"}
)

// planBack drafts what takes the deed back, and lists the schedules of it. Those
// that are as the deed left them without this run's note are somebody else's.
func planBack[T placed](ctx context.Context, r room, c call, u undo, all []T) (d draft, back []T, err error) {
	for _, f := range all {
		p := f.place()
		now, err := r.describe(ctx, c, p)
		if err != nil {
			return d, nil, err
		}
		if _, mine := pipeline.Ours(c.Run.Name(), u.deed, now.Note); now.State == u.did && !mine {
			d.leaves("%s (%s)", p.Schedule, now.Note)
			continue
		}
		back = append(back, f)
		d.needs(p, now)
		if now.State == u.did {
			d.does(p, now, u.do, u.was)
		}
	}
	return d, back, nil
}

// applyBack takes back what the approved plan of an undo lists. What is no longer as
// the deed left it needs nothing; whether it is as it was, Verify sees.
func applyBack[T placed](ctx context.Context, r room, c call, u undo, summary string) (action.Outcome, error) {
	back, err := action.Decode[[]T](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	n, err := r.carryOut(ctx, c, places(back), func(i int, now pipeline.Seen) (*order, error) {
		if now.State != u.did {
			return nil, nil
		}
		if _, mine := pipeline.Ours(c.Run.Name(), u.deed, now.Note); !mine {
			return nil, fmt.Errorf("%w: %s is %s, and this run's note is gone; plan again", action.ErrMoved, back[i].place(), now)
		}
		return &order{u.was, back[i].before()}, nil
	})
	return action.Outcome{Summary: fmt.Sprintf(summary, n, len(back)), Mutations: n}, err
}

// verifyBack sees what the approved plan of an undo lists.
func verifyBack[T placed](c call, what string, see func(T) action.Observation) ([]action.Observation, error) {
	back, err := action.Decode[[]T](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	if len(back) == 0 {
		return noPipelines(what, "this run left none to be taken back"), nil
	}
	return action.Together(back, func(p T) []action.Observation { return []action.Observation{see(p)} }), nil
}
