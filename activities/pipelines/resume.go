package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/verdict"

	"go.temporal.io/sdk/client"
)

func (s room) resumePipelines() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "pipelines.resume", Over: estate.GroupKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Needs: []string{"pipelines.pause"},
		Doc:   "Resume at the target those pipelines of a group that ran at the source before this run; what a person had paused stays paused.",
		Plan:  s.planResume, Apply: s.applyResume, Verify: s.verifyResume,
		Undo: &action.Undo[action.None]{Plan: s.planPauseAgain, Apply: s.applyPauseAgain, Verify: s.verifyPauseAgain},
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
	Resume []resumed       `json:"resume,omitempty"`
	Keep   []PipelineFound `json:"keep,omitempty"` // paused before this run, in either region, of pipelines that stay paused
}

// resumed is a pipeline that goes on at the target.
type resumed struct {
	Source scheduled `json:"source"`
	Target scheduled `json:"target"`
	Note   string    `json:"note,omitempty"` // the target's, before
}

// pausedRecord is what pipelines.pause leaves for this action.
var pausedRecord = action.Record[[]PipelineFound]{Action: "pipelines.pause", Says: "which pipelines of %s ran before this run"}

// pausedBefore is what pipelines.pause found. Where it was not applied, because
// the run only plans, it is what there is now.
func (s room) pausedBefore(ctx context.Context, c action.Call[action.None]) ([]PipelineFound, error) {
	was, _, err := pausedRecord.Read(ctx, c.Records, c.Estate.Estate)
	if errors.Is(err, fs.ErrNotExist) && c.Run.Mode != action.ModeLive {
		was, _, err := s.found(ctx, c)
		return was, err
	}
	return was, err
}

// planResume starts at the target what ran at the source. The standby's schedules
// wait paused, by the design of the estate, so whether they were paused says
// nothing; the source's say whether a person wanted the pipeline to rest. Their
// notes are shown, for whoever approves. A pause by an earlier run that got no
// further is no person's.
func (s room) planResume(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	g, err := inGroup(c)
	if err != nil {
		return action.Change{}, err
	}
	was, err := s.pausedBefore(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	var r resumption
	var stay []string
	ch := action.Change{}
	for _, p := range g.Pipelines {
		at := func(region string) (PipelineFound, error) {
			i := slices.IndexFunc(was, func(f PipelineFound) bool {
				return f.Group == g.Group && f.Pipeline == p.Pipeline && f.Region == region
			})
			if i < 0 {
				return PipelineFound{}, fmt.Errorf("%w: pipelines.pause recorded nothing of pipeline %s in %s; pause and resume it by hand", action.ErrRefused, p.Pipeline, region)
			}
			return was[i], nil
		}
		source, err := at(c.Run.Source)
		if err != nil {
			return action.Change{}, err
		}
		target, err := at(c.Run.Target)
		if err != nil {
			return action.Change{}, err
		}
		if source.State != scheduleRuns && source.PausedBy == "" {
			stay = append(stay, fmt.Sprintf("%s was %s at the source (%s)", p.Pipeline, source.State, source.Note))
			for _, f := range []PipelineFound{source, target} {
				if f.State == schedulePaused {
					r.Keep = append(r.Keep, f)
				}
			}
			continue
		}
		now, err := s.describe(ctx, c, target.Schedule)
		if err != nil {
			return action.Change{}, err
		}
		one := resumed{Source: source.scheduled, Target: target.scheduled, Note: now.note}
		if before, mine := ours(c.Run, noteResumed, now.note); mine && now.state == scheduleRuns {
			one.Note = before
		}
		r.Resume = append(r.Resume, one)
		ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: target.String(), Version: now.version()})
		if now.state != scheduleRuns {
			ch.Effects = append(ch.Effects, action.EffectLine{On: target.String(), Do: "resume: it ran in " + c.Run.Source, From: now.version(), To: scheduleRuns})
		}
	}
	ch.Summary = fmt.Sprintf("Resume %d of %d pipelines of %s in %s", len(ch.Effects), len(g.Pipelines), g.Group, c.Run.Target)
	if len(stay) > 0 {
		ch.Summary += "; these stay paused: " + strings.Join(stay, ", ")
	}
	ch.Data, err = action.Encode(r)
	if err == nil {
		ch.Undo, err = action.Encode(r)
	}
	return ch, err
}

func (s room) applyResume(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	r, err := action.Decode[resumption](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	n, err := eachSchedule(ctx, r.Resume, func(ctx context.Context, p resumed) (bool, error) {
		now, err := s.describe(ctx, c, p.Target.Schedule)
		if err != nil {
			return false, err
		}
		_, mine := ours(c.Run, noteResumed, now.note)
		switch {
		case now.state == scheduleRuns && (mine || now.note == p.Note):
			return false, nil
		case now.state != schedulePaused || now.note != p.Note:
			return false, fmt.Errorf("%w: %s is %s, and the plan saw it noted %q; plan again", action.ErrMoved, p.Target, now.version(), p.Note)
		}
		source, err := s.describe(ctx, c, p.Source.Schedule)
		if err != nil {
			return false, err
		}
		if source.state == scheduleRuns {
			return false, fmt.Errorf("%w: %s runs, and with it %s would run in both regions; pause it and plan again", action.ErrMoved, p.Source, p.Target.Pipeline)
		}
		return true, s.set(ctx, c, p.Target, now, scheduleRuns, note(c.Run, noteResumed, p.Note))
	})
	return action.Outcome{Summary: fmt.Sprintf("resumed %d of %d pipelines", n, len(r.Resume)), Mutations: n}, err
}

// scheduleSeen is a schedule through the SDK.
func (s room) scheduleSeen(ctx context.Context, id string) (*client.ScheduleDescription, error) {
	if s.Schedules() == nil {
		return nil, fmt.Errorf("%w: this worker has no connection to the Temporal whose schedules the pipelines are", action.ErrRefused)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	d, err := s.Schedules().ScheduleClient().GetHandle(ctx, id).Describe(ctx)
	if err != nil {
		return nil, temporalError("describe schedule "+id, err)
	}
	return d, nil
}

// seenRunning observes that a schedule is not paused, and when it acts next.
func (s room) seenRunning(ctx context.Context, c action.Call[action.None], p scheduled) action.Observation {
	what := p.String() + " runs"
	const want = "not paused, with a time at which it acts next"
	d, err := s.scheduleSeen(ctx, p.Schedule)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return about(p, action.Saw(what, want, "there is no such schedule: correct the pipeline in the estate", false))
	case err != nil:
		return about(p, action.Unknown(c.Run, "", what, want, err, ""))
	case d.Schedule.State.Paused:
		return about(p, action.Saw(what, want, fmt.Sprintf("paused, noted %q", d.Schedule.State.Note), false))
	case len(d.Info.NextActionTimes) == 0:
		return about(p, action.Saw(what, want, "not paused, and it never acts again: its calendar is over", false))
	}
	return about(p, action.Saw(what, want, "next at "+d.Info.NextActionTimes[0].UTC().Format(time.RFC3339), true))
}

// verifyResume looks at both regions: what ran before runs at the target alone,
// and what somebody had paused is paused, with the same note.
func (s room) verifyResume(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	r, err := action.Decode[resumption](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	if len(r.Resume)+len(r.Keep) == 0 {
		return noPipelines("pipelines of " + c.Item.Name + " run at the target"), nil
	}
	obs := action.Together(r.Resume, func(p resumed) []action.Observation {
		return []action.Observation{s.seenRunning(ctx, c, p.Target), s.seenPaused(ctx, c, p.Source)}
	})
	return append(obs, action.Together(r.Keep, func(f PipelineFound) []action.Observation {
		return []action.Observation{s.seenKept(ctx, c, f)}
	})...), nil
}

// seenKept observes that what somebody had paused is paused as it was.
func (s room) seenKept(ctx context.Context, c action.Call[action.None], f PipelineFound) action.Observation {
	what := f.String() + " is paused as it was before this run"
	want := fmt.Sprintf("paused, noted %q", f.Note)
	d, err := s.scheduleSeen(ctx, f.Schedule)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return about(f.scheduled, action.Saw(what, want, "there is no such schedule", false))
	case err != nil:
		return about(f.scheduled, action.Unknown(c.Run, "", what, want, err, ""))
	}
	st := d.Schedule.State
	return about(f.scheduled, action.Saw(what, want, fmt.Sprintf("paused: %t, noted %q", st.Paused, st.Note), st.Paused && st.Note == f.Note))
}

// planPauseAgain pauses at the target what this run resumed there, with the note
// that it had.
func (s room) planPauseAgain(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	r, err := action.Decode[resumption](c.Plan.Undo)
	if err != nil {
		return action.Change{}, err
	}
	var back []resumed
	ch := action.Change{}
	for _, p := range r.Resume {
		now, err := s.describe(ctx, c, p.Target.Schedule)
		if err != nil {
			return action.Change{}, err
		}
		_, mine := ours(c.Run, noteResumed, now.note)
		if now.state == scheduleRuns && !mine {
			continue // it ran before this run, or somebody resumed it since
		}
		back = append(back, p)
		ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: p.Target.String(), Version: now.version()})
		if now.state == scheduleRuns {
			ch.Effects = append(ch.Effects, action.EffectLine{On: p.Target.String(), Do: "pause, with the note that it had", From: now.version(), To: schedulePaused})
		}
	}
	ch.Summary = fmt.Sprintf("Pause %d pipelines of %s that this run resumed in %s", len(ch.Effects), c.Item.Name, c.Run.Target)
	ch.Data, err = action.Encode(back)
	return ch, err
}

func (s room) applyPauseAgain(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	back, err := action.Decode[[]resumed](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	n, err := eachSchedule(ctx, back, func(ctx context.Context, p resumed) (bool, error) {
		now, err := s.describe(ctx, c, p.Target.Schedule)
		if err != nil || now.state != scheduleRuns {
			return false, err
		}
		if _, mine := ours(c.Run, noteResumed, now.note); !mine {
			return false, fmt.Errorf("%w: %s is %s, and this run's note is gone; plan again", action.ErrMoved, p.Target, now.version())
		}
		return true, s.set(ctx, c, p.Target, now, schedulePaused, p.Note)
	})
	return action.Outcome{Summary: fmt.Sprintf("paused %d of %d pipelines", n, len(back)), Mutations: n}, err
}

func (s room) verifyPauseAgain(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	back, err := action.Decode[[]resumed](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	if len(back) == 0 {
		return noPipelines("what this run resumed is paused"), nil
	}
	return action.Together(back, func(p resumed) []action.Observation {
		return []action.Observation{s.seenPaused(ctx, c, p.Target)}
	}), nil
}
