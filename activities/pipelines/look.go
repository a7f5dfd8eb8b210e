package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/pipeline"
	"breakwater/internal/verdict"
)

// looking looks at a schedule in the second way, and makes an observation of what
// it sees.
func (r room) looking(ctx context.Context, c call, p scheduled, what, want, gone string, judge func(pipeline.View) (got string, ok bool)) action.Observation {
	k, err := r.connector(ctx, c, p)
	var v pipeline.View
	if err == nil {
		v, err = k.Look(ctx, p.Schedule)
	}
	var o action.Observation
	switch {
	case errors.Is(err, fs.ErrNotExist):
		o = action.Saw(what, want, gone, false)
	case err != nil:
		o = action.Unknown(c.Run, "", what, want, err, "")
	default:
		got, ok := judge(v)
		o = action.Saw(what, want, got, ok)
	}
	o.Item = p.Pipeline
	return o
}

const noSuch = "there is no such schedule: correct the pipeline in the estate"

// seenPaused observes that a schedule is paused.
func (r room) seenPaused(ctx context.Context, c call, p scheduled) action.Observation {
	return r.looking(ctx, c, p, p.String()+" is paused", string(pipeline.Paused), noSuch, func(v pipeline.View) (string, bool) {
		return fmt.Sprintf("%s, noted %q", v.State, v.Note), v.State == pipeline.Paused
	})
}

// seenRunning observes that a schedule is not paused, and when it acts next.
func (r room) seenRunning(ctx context.Context, c call, p scheduled) action.Observation {
	return r.looking(ctx, c, p, p.String()+" runs", "not paused, with a time at which it acts next", noSuch, func(v pipeline.View) (string, bool) {
		switch {
		case v.State == pipeline.Paused:
			return fmt.Sprintf("paused, noted %q", v.Note), false
		case v.Next.IsZero():
			return "not paused, and it never acts again: its calendar is over, or its actions are used up", false
		}
		return "next at " + v.Next.Format(time.RFC3339), true
	})
}

// seenUnpaused observes that what never acts again is not paused, as it was.
func (r room) seenUnpaused(ctx context.Context, c call, p scheduled) action.Observation {
	return r.looking(ctx, c, p, p.String()+" is not paused", "as before: not paused, and without a time at which it acts next", noSuch, func(v pipeline.View) (string, bool) {
		return pipeline.Words(v.State, v.Note), v.State == pipeline.Running
	})
}

// seenKept observes that what somebody had paused is paused as it was.
func (r room) seenKept(ctx context.Context, c call, f found) action.Observation {
	what, want := f.String()+" is paused as it was before this run", fmt.Sprintf("paused, noted %q", f.Note)
	return r.looking(ctx, c, f.scheduled, what, want, "there is no such schedule", func(v pipeline.View) (string, bool) {
		paused := v.State == pipeline.Paused
		return fmt.Sprintf("paused: %t, noted %q", paused, v.Note), paused && v.Note == f.Note
	})
}

// seenIdle observes that no run that a schedule started goes on, nor is to begin.
func (r room) seenIdle(ctx context.Context, c call, p scheduled) action.Observation {
	what, want := "no run of "+p.String()+" goes on", "none, and none queued"
	k, err := r.connector(ctx, c, p)
	var busy pipeline.Busy
	if err == nil {
		busy, err = k.Busy(ctx, p.Schedule)
	}
	var o action.Observation
	switch {
	case err != nil:
		o = action.Unknown(c.Run, "", what, want, err, "")
	case busy.Queued+busy.Begins > 0:
		o = action.Saw(what, want, busy.String()+"; let them end, or delete the schedule and make it anew", false)
	default:
		o = action.Saw(what, want, busy.String(), busy.Idle())
	}
	o.Item = p.Pipeline
	return o
}

// quiet observes that a schedule is paused and that no run of it goes on.
func (r room) quiet(ctx context.Context, c call, p scheduled) []action.Observation {
	seen := r.seenPaused(ctx, c, p)
	if seen.Verdict == verdict.Unknown {
		return []action.Observation{seen} // who does not answer this does not answer the next
	}
	return []action.Observation{seen, r.seenIdle(ctx, c, p)}
}

// noPipelines is the observation of a plan without pipelines.
func noPipelines(what, none string) []action.Observation {
	return []action.Observation{action.Nothing(what, "every pipeline of the plan", none)}
}
