package pipelines

import (
	"context"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/permit"
	"breakwater/internal/pipeline"
	"breakwater/internal/plural"
	"breakwater/internal/poll"
	"breakwater/internal/verdict"
)

func (r room) pause() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "pipelines.pause", Over: estate.Nothing, Effect: action.Mutates, Drill: action.DrillSkipped,
		Doc:    "Pause every pipeline of the run's groups in both regions, or in every region where the run moves nothing, and see that none of their runs goes on or is queued.",
		Timing: action.Timing{Timeout: 5 * time.Minute, Estimate: 10 * time.Second},
		Things: pipelinesOf, Plan: r.planPause, Apply: r.applyPause, Verify: r.verifyPause,
		Undo: &action.Undo[action.None]{Plan: r.planUnpause, Apply: r.applyUnpause, Verify: r.verifyUnpause, Show: showFound},
		Show: showFound, Rules: ofSchedules,
		Permits: permit.ChangesSchedules(),
		RedWhen: []action.Red{
			{Fault: "pipelines.source-unpaused", Want: verdict.Fail},
			{Fault: "pipelines.run-by-hand", Want: verdict.Fail},
			{Fault: "pipelines.queued-by-hand", Want: verdict.Fail},
			{Fault: "pipelines.temporal-down", Want: verdict.Unknown},
		},
	}
}

// found is a schedule as pipelines.pause found it. What was paused then was paused
// by somebody else, and stays so at the source.
type found struct {
	scheduled
	State pipeline.State `json:"state"` // running, paused or not there
	Note  string         `json:"note,omitempty"`
	Over  bool           `json:"over,omitempty"` // it would never act again
	// PausedBy is another run that had paused it: no person wanted it to rest, so it
	// goes on at the target, and this run leaves the pause itself to that one.
	PausedBy string `json:"paused_by,omitempty"`
}

var showFound = action.Shows[[]found, []found]()

func (f found) place() scheduled { return f.scheduled }
func (f found) before() string   { return f.Note }

// look lists the schedules of the run as they were before it, and as they are now:
// what has this run's note was running, whoever plans again.
func (r room) look(ctx context.Context, c call) (was []found, now []pipeline.Seen, err error) {
	all, err := r.schedules(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	if now, err = r.describeAll(ctx, c, all); err != nil {
		return nil, nil, err
	}
	for i, p := range all {
		f := found{scheduled: p, State: now[i].State, Note: now[i].Note, Over: now[i].Over}
		if f.State == pipeline.Paused {
			if replaced, mine := pipeline.Ours(c.Run.Name(), pipeline.PausedIt, f.Note); mine {
				f.State, f.Note = pipeline.Running, replaced
			} else {
				f.PausedBy = pipeline.PausedBy(f.Note)
			}
		}
		was = append(was, f)
	}
	return was, now, nil
}

func (r room) planPause(ctx context.Context, c call) (action.Change, error) {
	was, now, err := r.look(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	var d draft
	for i, f := range was {
		d.needs(f.scheduled, now[i])
		switch {
		case now[i].State == pipeline.Running:
			d.does(f.scheduled, now[i], "pause, with a note of this run", pipeline.Paused)
		case f.State == pipeline.Paused:
			d.leaves("%s (%s)", f.Schedule, f.Note)
		}
	}
	summary := fmt.Sprintf("Pause %d of %s", len(d.Effects), plural.Of(len(was), "schedule"))
	return d.plan(summary, "; paused before, and left as they are: ", was, was)
}

// drain is how long Apply waits for runs that had begun before the pause. Those
// that take longer are red in Verify, by name.
const drain = 45 * time.Second

// applyPause pauses what ran, each if it is still as the plan saw it.
func (r room) applyPause(ctx context.Context, c call) (action.Outcome, error) {
	was, err := action.Decode[[]found](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	all := places(was)
	n, err := r.carryOut(ctx, c, all, func(i int, now pipeline.Seen) (*order, error) {
		f := was[i]
		_, mine := pipeline.Ours(c.Run.Name(), pipeline.PausedIt, now.Note)
		switch {
		case f.State == pipeline.Running && now.State == pipeline.Paused && mine:
			return nil, nil
		case f.State != now.State || f.Note != now.Note:
			return nil, fmt.Errorf("%w: %s is %s, and the plan saw it %s, noted %q; plan again", action.ErrMoved, f, now, f.State, f.Note)
		case f.State != pipeline.Running:
			return nil, nil
		}
		return &order{pipeline.Paused, pipeline.Note(c.Run.Name(), pipeline.PausedIt, f.Note)}, nil
	})
	out := action.Outcome{Summary: fmt.Sprintf("paused %d of %s", n, plural.Of(len(was), "schedule")), Mutations: n}
	if err != nil {
		return out, err
	}
	if err := r.drained(ctx, c, all); err != nil {
		return out, err
	}
	out.Data, err = action.Encode(was)
	return out, err
}

// drained waits a while for runs that the schedules had started.
func (r room) drained(ctx context.Context, c call, all []scheduled) error {
	for begun := time.Now(); time.Since(begun) < drain; {
		now, err := r.describeAll(ctx, c, all)
		if err != nil {
			return err
		}
		running := 0
		for _, n := range now {
			running += n.Runs + n.Queued
		}
		if running == 0 {
			return nil
		}
		c.Progress(int64(len(all)), int64(len(all)), fmt.Sprintf("%s that had begun or were queued before the pause go on", plural.Of(running, "run")))
		if err := poll.Wait(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// verifyPause looks at every schedule, and for runs of it.
func (r room) verifyPause(ctx context.Context, c call) ([]action.Observation, error) {
	all, err := r.schedules(ctx, c)
	if err != nil {
		return nil, err
	}
	return action.Together(all, func(p scheduled) []action.Observation { return r.quiet(ctx, c, p) }), nil
}
