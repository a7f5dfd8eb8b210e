package temporal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"breakwater/internal/pipeline"
	"breakwater/internal/poll"

	enums "go.temporal.io/api/enums/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// Look reads a Schedule's state, through the SDK.
func (s Schedules) Look(ctx context.Context, name string) (pipeline.View, error) {
	d, err := s.look(ctx, name)
	if err != nil {
		return pipeline.View{}, err
	}
	v := pipeline.View{State: state(d.Schedule.State.Paused), Note: d.Schedule.State.Note}
	if next := d.Info.NextActionTimes; len(next) > 0 {
		v.Next = next[0].UTC()
	}
	return v, nil
}

func (s Schedules) look(ctx context.Context, name string) (*client.ScheduleDescription, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	d, err := s.Client.ScheduleClient().GetHandle(ctx, name).Describe(ctx)
	if err != nil {
		return nil, failed("describe schedule "+name, err)
	}
	return d, nil
}

const (
	// recent is how long ago a schedule may have begun its last run without being
	// looked at twice, and apart how far apart these looks are: one that makes up for
	// some time begins ten runs a second or so, and shows nothing in between.
	recent = time.Minute
	apart  = 2500 * time.Millisecond
)

// Busy tells of the workflows of a Schedule that go on: those in the list of all
// workflows, and those of its own account that do so when asked one by one; and of what
// waits behind them. Its own account does not have those that may overlap, but it has
// all that it began last.
func (s Schedules) Busy(ctx context.Context, name string) (pipeline.Busy, error) {
	var b pipeline.Busy
	first, err := s.account(ctx, name)
	gone := errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone {
		return b, err
	}
	acted := first.GetRecentActions()
	if n := len(acted); n > 0 && time.Since(acted[n-1].GetActualTime().AsTime()) < recent {
		if err := poll.Wait(ctx, apart); err != nil {
			return b, err
		}
	}
	if gone {
		b.Runs, err = s.listed(ctx, name)
		return b, err
	}
	now, err := s.account(ctx, name)
	if errors.Is(err, fs.ErrNotExist) { // deleted meanwhile
		b.Runs, err = s.listed(ctx, name)
		return b, err
	}
	if err != nil {
		return b, err
	}
	b.Queued, b.Begins = int(now.GetBufferSize()), int(now.GetActionCount()-first.GetActionCount())
	b.Runs, err = s.going(ctx, name, now)
	return b, err
}

// going names the workflows of a Schedule that go on: those in the list of all workflows,
// and those of its own account that do so when asked one by one.
func (s Schedules) going(ctx context.Context, name string, account *schedulepb.ScheduleInfo) ([]string, error) {
	runs, err := s.listed(ctx, name)
	if err != nil {
		return nil, err
	}
	own := account.GetRunningWorkflows()
	for _, a := range account.GetRecentActions() {
		own = append(own, a.GetStartWorkflowResult())
	}
	for _, r := range own {
		if id := r.GetWorkflowId(); id != "" && !slices.Contains(runs, id) {
			goes, err := s.goesOn(ctx, id)
			if err != nil {
				return nil, err
			}
			if goes {
				runs = append(runs, id)
			}
		}
	}
	slices.Sort(runs)
	return runs, nil
}

// account is what a Schedule says of itself, beyond what the SDK hands on.
func (s Schedules) account(ctx context.Context, name string) (*schedulepb.ScheduleInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	res, err := s.Client.WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: s.Namespace, ScheduleId: name})
	if err != nil {
		return nil, failed("describe schedule "+name, err)
	}
	return res.GetInfo(), nil
}

// listed names the workflows of a Schedule that the list of all has as running.
func (s Schedules) listed(ctx context.Context, name string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	list, err := s.Client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: s.Namespace, PageSize: 100,
		Query: fmt.Sprintf("TemporalScheduledById = '%s' AND ExecutionStatus = 'Running'", quoted(name)),
	})
	if err != nil {
		return nil, failed("list the runs of schedule "+name, err)
	}
	var ids []string
	for _, e := range list.GetExecutions() {
		ids = append(ids, e.GetExecution().GetWorkflowId())
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// goesOn asks for a workflow: continued as new, it has another run and the same id.
func (s Schedules) goesOn(ctx context.Context, id string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	e, err := s.Client.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		err = failed("describe run "+id, err)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	}
	return e.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}
