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
	"breakwater/internal/poll"
	"breakwater/internal/verdict"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
)

func (s room) pipelineActions(c *action.Catalogue) {
	action.Add(c, s.pausePipelines())
	action.Add(c, s.resumePipelines())
	action.Add(c, s.canary())
}

func (s room) pausePipelines() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "pipelines.pause", Over: estate.Nothing, Effect: action.Mutates, Drill: action.DrillSkipped,
		Doc:    "Pause every pipeline of the run's groups in both regions, and see that none of their runs goes on.",
		Timing: action.Timing{Timeout: 5 * time.Minute, Estimate: 10 * time.Second},
		Plan:   s.planPause, Apply: s.applyPause, Verify: s.verifyPause,
		Undo: &action.Undo[action.None]{Plan: s.planUnpause, Apply: s.applyUnpause, Verify: s.verifyUnpause},
		RedWhen: []action.Red{
			{Fault: "pipelines.source-unpaused", Want: verdict.Fail},
			{Fault: "pipelines.run-by-hand", Want: verdict.Fail},
			{Fault: "pipelines.temporal-down", Want: verdict.Unknown},
		},
	}
}

// PipelineFound is a pipeline's schedule as pipelines.pause found it. What was
// paused then was paused by somebody else, and stays so at the source.
type PipelineFound struct {
	scheduled
	State string `json:"state"` // running, paused or not there
	Note  string `json:"note,omitempty"`
	// PausedBy is another run that had paused it: no person wanted it to rest, so it
	// goes on at the target, and this run leaves the pause itself to that one.
	PausedBy string `json:"paused_by,omitempty"`
}

// found lists the schedules of the run as they were before it: what has this
// run's note was running, whoever plans again.
func (s room) found(ctx context.Context, c action.Call[action.None]) (was []PipelineFound, now []scheduleNow, err error) {
	all, err := schedules(c, c.Run.Groups)
	if err != nil {
		return nil, nil, err
	}
	if now, err = s.describeAll(ctx, c, all); err != nil {
		return nil, nil, err
	}
	for i, p := range all {
		f := PipelineFound{scheduled: p, State: now[i].state, Note: now[i].note}
		if f.State == schedulePaused {
			if before, mine := ours(c.Run, notePaused, f.Note); mine {
				f.State, f.Note = scheduleRuns, before
			} else {
				f.PausedBy = otherRun(f.Note)
			}
		}
		was = append(was, f)
	}
	return was, now, nil
}

func (s room) planPause(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	was, now, err := s.found(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	ch := action.Change{}
	var stay []string
	for i, f := range was {
		ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: f.String(), Version: now[i].version()})
		switch {
		case now[i].state == scheduleRuns:
			ch.Effects = append(ch.Effects, action.EffectLine{On: f.String(), Do: "pause, with a note of this run", From: now[i].version(), To: schedulePaused})
		case f.State == schedulePaused:
			stay = append(stay, fmt.Sprintf("%s (%s)", f.Schedule, f.Note))
		}
	}
	ch.Summary = fmt.Sprintf("Pause %d of %d schedules", len(ch.Effects), len(was))
	if len(stay) > 0 {
		ch.Summary += "; paused before, and left as they are: " + strings.Join(stay, ", ")
	}
	if ch.Data, err = action.Encode(was); err == nil {
		ch.Undo, err = action.Encode(was)
	}
	return ch, err
}

// drain is how long Apply waits for runs that had begun before the pause. Those
// that take longer are red in Verify, by name.
const drain = 45 * time.Second

// applyPause pauses what ran, each if it is still as the plan saw it.
func (s room) applyPause(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	was, err := action.Decode[[]PipelineFound](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	n, err := eachSchedule(ctx, was, func(ctx context.Context, f PipelineFound) (bool, error) {
		now, err := s.describe(ctx, c, f.Schedule)
		if err != nil {
			return false, err
		}
		_, mine := ours(c.Run, notePaused, now.note)
		switch {
		case f.State == scheduleRuns && now.state == schedulePaused && mine:
			return false, nil
		case f.State != now.state || f.Note != now.note:
			return false, fmt.Errorf("%w: %s is %s, and the plan saw it %s, noted %q; plan again", action.ErrMoved, f, now.version(), f.State, f.Note)
		case f.State != scheduleRuns:
			return false, nil
		}
		return true, s.set(ctx, c, f.scheduled, now, schedulePaused, note(c.Run, notePaused, f.Note))
	})
	out := action.Outcome{Summary: fmt.Sprintf("paused %d of %d schedules", n, len(was)), Mutations: n}
	if err != nil {
		return out, err
	}
	if err := s.drained(ctx, c, was); err != nil {
		return out, err
	}
	out.Data, err = action.Encode(was)
	return out, err
}

// drained waits a while for runs that the schedules had started.
func (s room) drained(ctx context.Context, c action.Call[action.None], was []PipelineFound) error {
	all := make([]scheduled, len(was))
	for i, f := range was {
		all[i] = f.scheduled
	}
	for begun := time.Now(); time.Since(begun) < drain; {
		now, err := s.describeAll(ctx, c, all)
		if err != nil {
			return err
		}
		running := 0
		for _, n := range now {
			running += len(n.running)
		}
		if running == 0 {
			return nil
		}
		c.Progress(int64(len(all)), int64(len(all)), fmt.Sprintf("%d runs that had begun before the pause go on", running))
		if err := poll.Wait(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// verifyPause looks at every schedule, and for runs of it: by its own account, and
// in the list of all workflows, since each may be late.
func (s room) verifyPause(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	all, err := schedules(c, c.Run.Groups)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return noPipelines("pipelines are paused"), nil
	}
	return action.Together(all, func(p scheduled) []action.Observation {
		seen := s.seenPaused(ctx, c, p)
		if seen.Verdict == verdict.Unknown {
			return []action.Observation{seen} // who does not answer this does not answer the next
		}
		return []action.Observation{seen, s.seenIdle(ctx, c, p)}
	}), nil
}

// seenPaused observes that a schedule is paused.
func (s room) seenPaused(ctx context.Context, c action.Call[action.None], p scheduled) action.Observation {
	what := p.String() + " is paused"
	d, err := s.scheduleSeen(ctx, p.Schedule)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return about(p, action.Saw(what, schedulePaused, "there is no such schedule: correct the pipeline in the estate", false))
	case err != nil:
		return about(p, action.Unknown(c.Run, "", what, schedulePaused, err, ""))
	}
	got := scheduleRuns
	if d.Schedule.State.Paused {
		got = schedulePaused
	}
	return about(p, action.Saw(what, schedulePaused, fmt.Sprintf("%s, noted %q", got, d.Schedule.State.Note), d.Schedule.State.Paused))
}

func about(p scheduled, o action.Observation) action.Observation {
	o.Item = p.Pipeline
	return o
}

// seenIdle observes that no run that a schedule started goes on.
func (s room) seenIdle(ctx context.Context, c action.Call[action.None], p scheduled) action.Observation {
	what, want := "no run of "+p.String()+" goes on", "none"
	ids, err := s.runsOf(ctx, c, p.Schedule)
	if err != nil {
		return about(p, action.Unknown(c.Run, "", what, want, err, ""))
	}
	if len(ids) > 0 {
		return about(p, action.Saw(what, want, "still running: "+strings.Join(ids, ", "), false))
	}
	return about(p, action.Saw(what, want, "none", true))
}

// runsOf names the runs of a schedule that go on.
func (s room) runsOf(ctx context.Context, c action.Call[action.None], id string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	list, err := s.Schedules().ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: c.Run.Namespace, PageSize: 100,
		Query: fmt.Sprintf("TemporalScheduledById = '%s' AND ExecutionStatus = 'Running'", strings.ReplaceAll(id, "'", "''")),
	})
	if err != nil {
		return nil, temporalError("list the runs of schedule "+id, err)
	}
	var ids []string
	for _, e := range list.GetExecutions() {
		ids = append(ids, e.GetExecution().GetWorkflowId())
	}
	d, err := s.scheduleSeen(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return ids, nil
	}
	if err != nil {
		return nil, err
	}
	for _, r := range d.Info.RunningWorkflows {
		// Continued as new, it has another run and the same id.
		e, err := s.Schedules().DescribeWorkflowExecution(ctx, r.WorkflowID, "")
		if err != nil {
			if err = temporalError("describe run "+r.WorkflowID, err); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return nil, err
		}
		if e.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
			ids = append(ids, r.WorkflowID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// planUnpause resumes exactly what this run paused, where its note still says so.
func (s room) planUnpause(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	was, err := action.Decode[[]PipelineFound](c.Plan.Undo)
	if err != nil {
		return action.Change{}, err
	}
	var back []PipelineFound
	var stay []string
	ch := action.Change{}
	for _, f := range was {
		if f.State != scheduleRuns {
			continue
		}
		now, err := s.describe(ctx, c, f.Schedule)
		if err != nil {
			return action.Change{}, err
		}
		_, mine := ours(c.Run, notePaused, now.note)
		if now.state == schedulePaused && !mine {
			stay = append(stay, fmt.Sprintf("%s (%s)", f.Schedule, now.note))
			continue
		}
		back = append(back, f)
		ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: f.String(), Version: now.version()})
		if now.state == schedulePaused {
			ch.Effects = append(ch.Effects, action.EffectLine{On: f.String(), Do: "resume, with the note that it had", From: now.version(), To: scheduleRuns})
		}
	}
	ch.Summary = fmt.Sprintf("Resume %d schedules that this run paused", len(ch.Effects))
	if len(stay) > 0 {
		ch.Summary += "; paused by somebody else since, and left as they are: " + strings.Join(stay, ", ")
	}
	ch.Data, err = action.Encode(back)
	return ch, err
}

func (s room) applyUnpause(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	back, err := action.Decode[[]PipelineFound](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	n, err := eachSchedule(ctx, back, func(ctx context.Context, f PipelineFound) (bool, error) {
		now, err := s.describe(ctx, c, f.Schedule)
		if err != nil || now.state == scheduleRuns {
			return false, err
		}
		if _, mine := ours(c.Run, notePaused, now.note); !mine {
			return false, fmt.Errorf("%w: %s is %s, and this run's note is gone; plan again", action.ErrMoved, f, now.version())
		}
		return true, s.set(ctx, c, f.scheduled, now, scheduleRuns, f.Note)
	})
	return action.Outcome{Summary: fmt.Sprintf("resumed %d of %d schedules", n, len(back)), Mutations: n}, err
}

// verifyUnpause observes that what this run paused runs again.
func (s room) verifyUnpause(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	back, err := action.Decode[[]PipelineFound](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	if len(back) == 0 {
		return noPipelines("what this run paused runs again"), nil
	}
	return action.Together(back, func(f PipelineFound) []action.Observation {
		return []action.Observation{s.seenRunning(ctx, c, f.scheduled)}
	}), nil
}
