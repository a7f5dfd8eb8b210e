package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/permit"
	"breakwater/internal/pipeline"
	"breakwater/internal/plural"
	"breakwater/internal/verdict"
)

func (r room) resume() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "pipelines.resume", Over: estate.GroupKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Needs:  []string{"pipelines.pause"},
		Doc:    "Resume at the target those pipelines of a group that ran at the source before this run; what a person had paused stays paused.",
		Things: pipelinesOf, Plan: r.planResume, Apply: r.applyResume, Verify: r.verifyResume,
		Undo: &action.Undo[action.None]{Plan: r.planPauseAgain, Apply: r.applyPauseAgain, Verify: r.verifyPauseAgain, Show: action.Shows[[]resumed, action.None]()},
		Show: action.Shows[resumption, resumption](), Rules: ofSchedules,
		Permits: permit.ChangesSchedules(),
		RedWhen: []action.Red{
			{Fault: "pipelines.target-paused", Want: verdict.Fail},
			{Fault: "pipelines.source-unpaused", Want: verdict.Fail},
			{Fault: "pipelines.person-overruled", Want: verdict.Fail},
			{Fault: "pipelines.temporal-down", Want: verdict.Unknown},
		},
	}
}

// resumption is the plan of pipelines.resume.
type resumption struct {
	Resume []resumed `json:"resume,omitempty"`
	Keep   []found   `json:"keep,omitempty"` // paused before this run, in either region, of pipelines that stay paused
}

// resumed is a pipeline that goes on at the target.
type resumed struct {
	Source scheduled `json:"source"`
	Target scheduled `json:"target"`
	Note   string    `json:"note,omitempty"` // the target's, before
}

func (p resumed) place() scheduled { return p.Target }
func (p resumed) before() string   { return p.Note }

// pausedRecord is what pipelines.pause leaves for this action.
var pausedRecord = action.Record[[]found]{Action: "pipelines.pause", Says: "which pipelines of %s ran before this run"}

// pausedBefore is what pipelines.pause found. Where it was not applied, because
// the run only plans, it is what there is now.
func (r room) pausedBefore(ctx context.Context, c call) ([]found, error) {
	was, _, err := pausedRecord.Read(ctx, c.Records, c.Estate.Estate)
	if errors.Is(err, fs.ErrNotExist) && c.Run.Mode != action.ModeLive {
		was, _, err = r.look(ctx, c)
	}
	return was, err
}

// planResume starts at the target what ran at the source. The standby's schedules
// wait paused, by the design of the estate, so whether they were paused says
// nothing; the source's say whether a person wanted the pipeline to rest. Their
// notes are shown, for whoever approves. A pause by an earlier run that got no
// further is no person's.
func (r room) planResume(ctx context.Context, c call) (action.Change, error) {
	g, err := inGroup(c)
	if err != nil {
		return action.Change{}, err
	}
	was, err := r.pausedBefore(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	var plan resumption
	var d draft
	for _, p := range g.Pipelines {
		source, target, err := recorded(c, was, g.Group, p.Pipeline)
		if err != nil {
			return action.Change{}, err
		}
		if source.State != pipeline.Running && source.PausedBy == "" {
			d.leaves("%s was %s at the source (%s)", p.Pipeline, source.State, source.Note)
			for _, f := range []found{source, target} {
				if f.State == pipeline.Paused {
					plan.Keep = append(plan.Keep, f)
				}
			}
			continue
		}
		if source.Over {
			d.leaves("%s would not act at the source any more (its calendar is over, or its actions are used up)", p.Pipeline)
			if target.State == pipeline.Paused {
				plan.Keep = append(plan.Keep, target)
			}
			continue
		}
		now, err := r.describe(ctx, c, target.scheduled)
		if err != nil {
			return action.Change{}, err
		}
		if now.Over {
			return action.Change{}, fmt.Errorf("%w: %s would never act if it were resumed: its calendar is over, or its actions are used up; give it some as %s has them, and plan again",
				action.ErrRefused, target.scheduled, source.scheduled)
		}
		one := resumed{Source: source.scheduled, Target: target.scheduled, Note: now.Note}
		if replaced, mine := pipeline.Ours(c.Run.Name(), pipeline.ResumedIt, now.Note); mine && now.State == pipeline.Running {
			one.Note = replaced
		}
		plan.Resume = append(plan.Resume, one)
		d.needs(one.Target, now)
		if now.State != pipeline.Running {
			d.does(one.Target, now, "resume: it ran in "+c.Run.Source, pipeline.Running)
		}
	}
	summary := fmt.Sprintf("Resume %d of %s of %s in %s", len(d.Effects), plural.Of(len(g.Pipelines), "pipeline"), g.Group, c.Run.Target)
	return d.plan(summary, "; these stay paused: ", plan, plan)
}

// recorded is what pipelines.pause found of a pipeline in both regions.
func recorded(c call, was []found, group, name string) (source, target found, err error) {
	at := func(region string) found {
		i := slices.IndexFunc(was, func(f found) bool { return f.Group == group && f.Pipeline == name && f.Region == region })
		if i < 0 {
			if err == nil {
				err = fmt.Errorf("%w: pipelines.pause recorded nothing of pipeline %s in %s; pause and resume it by hand", action.ErrRefused, name, region)
			}
			return found{}
		}
		return was[i]
	}
	source, target = at(c.Run.Source), at(c.Run.Target)
	return source, target, err
}

// applyResume resumes what is still as the plan saw it, and still paused at the
// source.
func (r room) applyResume(ctx context.Context, c call) (action.Outcome, error) {
	plan, err := action.Decode[resumption](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	n, err := r.carryOut(ctx, c, places(plan.Resume), func(i int, now pipeline.Seen) (*order, error) {
		p := plan.Resume[i]
		_, mine := pipeline.Ours(c.Run.Name(), pipeline.ResumedIt, now.Note)
		switch {
		case now.State == pipeline.Running && (mine || now.Note == p.Note):
			return nil, nil
		case now.State != pipeline.Paused || now.Note != p.Note:
			return nil, fmt.Errorf("%w: %s is %s, and the plan saw it noted %q; plan again", action.ErrMoved, p.Target, now, p.Note)
		}
		source, err := r.describe(ctx, c, p.Source)
		if err != nil {
			return nil, err
		}
		if source.State == pipeline.Running {
			return nil, fmt.Errorf("%w: %s runs, and with it %s would run in both regions; pause it and plan again", action.ErrMoved, p.Source, p.Target.Pipeline)
		}
		return &order{pipeline.Running, pipeline.Note(c.Run.Name(), pipeline.ResumedIt, p.Note)}, nil
	})
	return action.Outcome{Summary: fmt.Sprintf("resumed %d of %s", n, plural.Of(len(plan.Resume), "pipeline")), Mutations: n}, err
}

// verifyResume looks at both regions: what ran before runs at the target alone,
// and what somebody had paused is paused, with the same note.
func (r room) verifyResume(ctx context.Context, c call) ([]action.Observation, error) {
	plan, err := action.Decode[resumption](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	if len(plan.Resume)+len(plan.Keep) == 0 {
		return noPipelines("pipelines of "+c.Item.Name+" run at the target", "none of them ran before this run, or was paused by somebody"), nil
	}
	obs := action.Together(plan.Resume, func(p resumed) []action.Observation {
		return []action.Observation{r.seenRunning(ctx, c, p.Target), r.seenPaused(ctx, c, p.Source)}
	})
	return append(obs, action.Together(plan.Keep, func(f found) []action.Observation {
		return []action.Observation{r.seenKept(ctx, c, f)}
	})...), nil
}

// planPauseAgain pauses at the target what this run resumed there, with the note
// that it had. What runs without this run's note ran before, or somebody resumed
// it since.
func (r room) planPauseAgain(ctx context.Context, c call) (action.Change, error) {
	plan, err := action.Decode[resumption](c.Plan.Undo)
	if err != nil {
		return action.Change{}, err
	}
	d, back, err := planBack(ctx, r, c, pauseAgain, plan.Resume)
	if err != nil {
		return action.Change{}, err
	}
	d.left = nil // it runs at the target, which is nothing to tell
	summary := fmt.Sprintf("Pause %s of %s that this run resumed in %s", plural.Of(len(d.Effects), "pipeline"), c.Item.Name, c.Run.Target)
	return d.plan(summary, "", back, nil)
}

func (r room) applyPauseAgain(ctx context.Context, c call) (action.Outcome, error) {
	return applyBack[resumed](ctx, r, c, pauseAgain, "paused %d of %d pipelines")
}

func (r room) verifyPauseAgain(ctx context.Context, c call) ([]action.Observation, error) {
	return verifyBack(c, "what this run resumed is paused", func(p resumed) action.Observation { return r.seenPaused(ctx, c, p.Target) })
}

// inGroup is the group of an item over groups.
func inGroup(c call) (*estate.Group, error) {
	g, ok := c.Estate.Group(c.Item.Name)
	if !ok {
		return nil, fmt.Errorf("%w: the estate has no group %q", action.ErrRefused, c.Item.Name)
	}
	return g, nil
}
