package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/poll"
	"breakwater/internal/reach"

	"github.com/google/uuid"
	"go.temporal.io/api/common/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"
)

// temporalSchedule is the connector of a pipeline that is a Temporal Schedule.
const temporalSchedule = "temporal-schedule"

// answerTime bounds one question to Temporal, which would else be asked again for
// a minute.
const answerTime = 5 * time.Second

// scheduled is a pipeline's schedule in one region.
type scheduled struct {
	Pipeline string `json:"pipeline"`
	Group    string `json:"group"`
	Region   string `json:"region"`
	Schedule string `json:"schedule"`
}

func (p scheduled) String() string { return "schedule " + p.Schedule + " in " + p.Region }

// schedules lists the schedules of the pipelines of the groups, in the order of
// the estate, the source's before the target's.
func schedules(c action.Call[action.None], groups []string) ([]scheduled, error) {
	var all []scheduled
	for _, g := range c.Estate.Groups {
		if len(groups) > 0 && !slices.Contains(groups, g.Group) {
			continue
		}
		for _, p := range g.Pipelines {
			if p.Connector != temporalSchedule {
				return nil, fmt.Errorf("%w: pipeline %s runs in %q, which this release cannot pause; pause it by hand and take it out of the estate",
					action.ErrRefused, p.Pipeline, p.Connector)
			}
			for _, r := range []string{c.Run.Source, c.Run.Target} {
				if name := p.In[r]; name != "" {
					all = append(all, scheduled{p.Pipeline, g.Group, r, name})
				}
			}
		}
	}
	return all, nil
}

// The states of a schedule.
const (
	scheduleRuns    = "running"
	schedulePaused  = "paused"
	scheduleMissing = "not there"
)

// scheduleNow is a schedule as its server describes it.
type scheduleNow struct {
	state   string
	note    string
	running []*common.WorkflowExecution // by the schedule's own account, which may be late
	has     *schedulepb.Schedule
	token   []byte // of this state, for a conditional update
}

func (n scheduleNow) version() string {
	if n.note == "" {
		return n.state
	}
	return fmt.Sprintf("%s, noted %q", n.state, n.note)
}

// temporalError gives an error of Temporal's the house's sentinels.
func temporalError(doing string, err error) error {
	var (
		gone   *serviceerror.NotFound
		denied *serviceerror.PermissionDenied
		away   *serviceerror.Unavailable
		late   *serviceerror.DeadlineExceeded
	)
	switch {
	case errors.As(err, &gone):
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case errors.As(err, &denied):
		err = fmt.Errorf("%w: %w", fs.ErrPermission, err)
	case errors.As(err, &away), errors.As(err, &late):
		err = fmt.Errorf("%w: %w", reach.ErrUnreachable, err)
	default:
		err = reach.Mark(err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// describe asks for a schedule. One that is not there is no error.
func (s room) describe(ctx context.Context, c action.Call[action.None], id string) (scheduleNow, error) {
	if s.Schedules() == nil {
		return scheduleNow{}, fmt.Errorf("%w: this worker has no connection to the Temporal whose schedules the pipelines are", action.ErrRefused)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	res, err := s.Schedules().WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: c.Run.Namespace, ScheduleId: id})
	if err != nil {
		if err = temporalError("describe schedule "+id, err); errors.Is(err, fs.ErrNotExist) {
			return scheduleNow{state: scheduleMissing}, nil
		}
		return scheduleNow{}, err
	}
	now := scheduleNow{
		state: scheduleRuns, note: res.GetSchedule().GetState().GetNotes(), running: res.GetInfo().GetRunningWorkflows(),
		has: res.GetSchedule(), token: res.GetConflictToken(),
	}
	if res.GetSchedule().GetState().GetPaused() {
		now.state = schedulePaused
	}
	return now, nil
}

// describeAll asks for all of them at once.
func (s room) describeAll(ctx context.Context, c action.Call[action.None], all []scheduled) ([]scheduleNow, error) {
	out := make([]scheduleNow, len(all))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(action.AtOnce)
	for i, p := range all {
		g.Go(func() error {
			var err error
			out[i], err = s.describe(ctx, c, p.Schedule)
			return err
		})
	}
	return out, g.Wait()
}

// set pauses or resumes a schedule with a note, if it is still as seen. A server
// drops an update of another state without a word, so what it has is read back:
// then somebody else was faster, which is [action.ErrMoved].
func (s room) set(ctx context.Context, c action.Call[action.None], p scheduled, seen scheduleNow, state, note string) error {
	if err := c.Guard(ctx); err != nil {
		return err
	}
	if seen.has.State == nil {
		seen.has.State = &schedulepb.ScheduleState{}
	}
	seen.has.State.Paused, seen.has.State.Notes = state == schedulePaused, note
	ask, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_, err := s.Schedules().WorkflowService().UpdateSchedule(ask, &workflowservice.UpdateScheduleRequest{
		Namespace: c.Run.Namespace, ScheduleId: p.Schedule, Schedule: seen.has, ConflictToken: seen.token,
		Identity: "breakwater " + c.Run.Name(), RequestId: uuid.NewString(),
	})
	var conflict *serviceerror.FailedPrecondition
	switch {
	case errors.As(err, &conflict):
		return fmt.Errorf("%w: %s was changed just now: %w", action.ErrMoved, p, err)
	case err != nil:
		return temporalError("update "+p.String(), err)
	}
	for {
		now, err := s.describe(ask, c, p.Schedule)
		if err == nil && now.state == state && now.note == note {
			return nil
		}
		if err != nil && ask.Err() == nil {
			return err
		}
		if poll.Wait(ask, 100*time.Millisecond) != nil {
			return fmt.Errorf("%w: %s is %s, and was to be %s with our note; somebody else changed it just now; plan again", action.ErrMoved, p, now.version(), state)
		}
	}
}

// eachSchedule does f for every one of them, a few at a time, and counts those
// that it changed.
func eachSchedule[T any](ctx context.Context, all []T, f func(context.Context, T) (bool, error)) (int64, error) {
	var mu sync.Mutex
	var n int64
	var g errgroup.Group // one that fails does not break off the others
	g.SetLimit(action.AtOnce)
	for _, p := range all {
		g.Go(func() error {
			did, err := f(ctx, p)
			if did && err == nil {
				mu.Lock()
				defer mu.Unlock()
				n++
			}
			return err
		})
	}
	err := g.Wait()
	return n, err
}

// Notes say who paused or resumed a schedule, since Temporal does not, and what
// the note before them said.
const (
	notePaused  = ": paused for failover"
	noteResumed = ": resumed by failover"
	noteBefore  = "; before, it said: "
)

// note writes a note of this run over another.
func note(run action.Run, says, before string) string {
	n := "breakwater " + run.Name() + says
	if before != "" {
		n += noteBefore + before
	}
	return n
}

// ours reports whether a note is this run's, and what it was written over.
func ours(run action.Run, says, note string) (before string, ok bool) {
	rest, ok := strings.CutPrefix(note, "breakwater "+run.Name()+says)
	return strings.TrimPrefix(rest, noteBefore), ok
}

// otherRun names the run that a note says paused a schedule; empty for a person's.
func otherRun(note string) string {
	rest, ok := strings.CutPrefix(note, "breakwater ")
	run, _, paused := strings.Cut(rest, notePaused)
	if !ok || !paused {
		return ""
	}
	return run
}

// noPipelines is the observation of a run without pipelines.
func noPipelines(what string) []action.Observation {
	return []action.Observation{action.Saw(what, "every pipeline of the estate", "the estate names none here", true)}
}

// inGroup is the group of an item over groups.
func inGroup(c action.Call[action.None]) (*estate.Group, error) {
	g, ok := c.Estate.Group(c.Item.Name)
	if !ok {
		return nil, fmt.Errorf("%w: the estate has no group %q", action.ErrRefused, c.Item.Name)
	}
	return g, nil
}
