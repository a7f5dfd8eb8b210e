package pipelines

import (
	"context"
	"fmt"
	"slices"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/permit"
	"breakwater/internal/pipeline"
	"breakwater/internal/plural"
	"breakwater/internal/verdict"
)

// unpause lets go on where they were what a run that moves nothing has paused. Taking it
// back pauses again.
func (r room) unpause() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "pipelines.unpause", Over: estate.Nothing, Effect: action.Mutates, Drill: action.DrillSkipped,
		Needs:  []string{"pipelines.pause"},
		Doc:    "Resume, where they were, those pipelines that this run paused, for a run that moves nothing to another region; what a person had paused stays paused.",
		Timing: action.Timing{Estimate: 10 * time.Second},
		Things: pipelinesOf, Plan: r.planUnpauseLater, Apply: r.applyUnpause, Verify: r.verifyUnpause,
		Undo: &action.Undo[action.None]{Plan: r.planPause, Apply: r.applyPause, Verify: r.verifyPause, Show: showFound},
		Show: showFound, Rules: ofSchedules,
		Permits: permit.ChangesSchedules(),
		RedWhen: []action.Red{
			{Fault: "pipelines.source-paused", Want: verdict.Fail},
			{Fault: "pipelines.temporal-down", Want: verdict.Unknown},
		},
	}
}

// planUnpauseLater is the plan of a later step of the run that paused.
func (r room) planUnpauseLater(ctx context.Context, c call) (action.Change, error) {
	was, err := r.pausedBefore(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	return r.planUnpausing(ctx, c, was)
}

// planUnpause takes the pause back.
func (r room) planUnpause(ctx context.Context, c call) (action.Change, error) {
	was, err := action.Decode[[]found](c.Plan.Undo)
	if err != nil {
		return action.Change{}, err
	}
	return r.planUnpausing(ctx, c, was)
}

// planUnpausing resumes exactly what this run paused, where its note still says so.
func (r room) planUnpausing(ctx context.Context, c call, was []found) (action.Change, error) {
	was = slices.DeleteFunc(was, func(f found) bool { return f.State != pipeline.Running })
	d, back, err := planBack(ctx, r, c, unpause, was)
	if err != nil {
		return action.Change{}, err
	}
	summary := fmt.Sprintf("Resume %s that this run paused", plural.Of(len(d.Effects), "schedule"))
	return d.plan(summary, "; paused by somebody else since, and left as they are: ", back, nil)
}

func (r room) applyUnpause(ctx context.Context, c call) (action.Outcome, error) {
	return applyBack[found](ctx, r, c, unpause, "resumed %d of %d schedules")
}

// verifyUnpause observes that what this run paused runs again.
func (r room) verifyUnpause(ctx context.Context, c call) ([]action.Observation, error) {
	return verifyBack(c, "what this run paused runs again", func(f found) action.Observation {
		if f.Over { // it did not run before either
			return r.seenUnpaused(ctx, c, f.scheduled)
		}
		return r.seenRunning(ctx, c, f.scheduled)
	})
}
