package temporal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"breakwater/internal/pipeline"

	enums "go.temporal.io/api/enums/v1"
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

// Runs names the workflows of a Schedule that go on: those in the list of all
// workflows, and those of its own account that do so when asked one by one.
func (s Schedules) Runs(ctx context.Context, name string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	list, err := s.Client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: s.Namespace, PageSize: 100,
		Query: fmt.Sprintf("TemporalScheduledById = '%s' AND ExecutionStatus = 'Running'", strings.ReplaceAll(name, "'", "''")),
	})
	if err != nil {
		return nil, failed("list the runs of schedule "+name, err)
	}
	var ids []string
	sorted := func() []string {
		slices.Sort(ids)
		return slices.Compact(ids)
	}
	for _, e := range list.GetExecutions() {
		ids = append(ids, e.GetExecution().GetWorkflowId())
	}
	d, err := s.look(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return sorted(), nil
	}
	if err != nil {
		return nil, err
	}
	for _, r := range d.Info.RunningWorkflows {
		// Continued as new, it has another run and the same id.
		e, err := s.Client.DescribeWorkflowExecution(ctx, r.WorkflowID, "")
		if err != nil {
			if err = failed("describe run "+r.WorkflowID, err); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return nil, err
		}
		if e.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
			ids = append(ids, r.WorkflowID)
		}
	}
	return sorted(), nil
}
