package temporal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"breakwater/internal/pipeline"
	"breakwater/internal/poll"

	commonpb "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
)

// execution is one workflow execution of a Schedule. Those that continue each other, or are
// retries of each other, have the same first one.
type execution struct {
	id     string    // of the execution
	date   time.Time // for which it runs
	first  string    // the id of the first one
	begun  time.Time
	closed time.Time // the zero time while it goes on
	status enums.WorkflowExecutionStatus
}

// scheduledFor is the search attribute that has a run's nominal time.
const scheduledFor = "TemporalScheduledStartTime"

// list are the executions of a Schedule that a query finds, in the list of all workflows.
func (s Schedules) list(ctx context.Context, name, query string) (all []execution, err error) {
	fail := func(err error) ([]execution, error) {
		return nil, failed("list the runs of schedule "+name, err)
	}
	query = fmt.Sprintf("TemporalScheduledById = '%s' AND %s", quoted(name), query)
	for page := []byte(nil); ; {
		ask, cancel := context.WithTimeout(ctx, answerTime)
		list, err := s.Client.ListWorkflow(ask, &workflowservice.ListWorkflowExecutionsRequest{Namespace: s.Namespace, PageSize: 100, Query: query, NextPageToken: page})
		cancel()
		if err != nil {
			return fail(err)
		}
		for _, i := range list.GetExecutions() {
			if i.GetFirstRunId() == "" { // the list may not say which one it continues
				if i, err = s.info(ctx, i.GetExecution()); errors.Is(err, fs.ErrNotExist) {
					continue // it was deleted meanwhile
				}
				if err != nil {
					return nil, err
				}
			}
			if e, ok := executed(i); ok {
				all = append(all, e)
			}
		}
		if page = list.GetNextPageToken(); len(page) == 0 {
			return all, nil
		}
	}
}

func (s Schedules) info(ctx context.Context, of *commonpb.WorkflowExecution) (*workflowpb.WorkflowExecutionInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	res, err := s.Client.DescribeWorkflowExecution(ctx, of.GetWorkflowId(), of.GetRunId())
	if err != nil {
		return nil, failed("describe run "+of.GetWorkflowId(), err)
	}
	return res.GetWorkflowExecutionInfo(), nil
}

// executed is false for what no Schedule began.
func executed(i *workflowpb.WorkflowExecutionInfo) (execution, bool) {
	e := execution{id: i.GetExecution().GetRunId(), first: cmp.Or(i.GetFirstRunId(), i.GetExecution().GetRunId()), begun: i.GetStartTime().AsTime(), status: i.GetStatus()}
	if i.GetCloseTime() != nil {
		e.closed = i.GetCloseTime().AsTime()
	}
	at := i.GetSearchAttributes().GetIndexedFields()[scheduledFor]
	if at == nil || converter.GetDefaultDataConverter().FromPayload(at, &e.date) != nil {
		return e, false
	}
	e.date = e.date.UTC()
	return e, true
}

// runsOf are the runs of a date: those in the list of all workflows, and the newest one,
// which its own id finds at once. The list may be late: until it has the newest one, it
// may lack others, too.
func (s Schedules) runsOf(ctx context.Context, c calendar, at time.Time) ([]pipeline.DateRun, error) {
	wait, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	for {
		runs, late, err := s.runsNow(ctx, c, at)
		if err != nil || !late {
			return runs, err
		}
		if poll.Wait(wait, 50*time.Millisecond) == nil {
			continue
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("list the runs of schedule %s: %w", c.name, context.Cause(ctx))
		}
		return nil, fmt.Errorf("list the runs of schedule %s for %s: the list of all workflows lacks one that there is, for %s already: ask again when it is up to date", c.name, at.Format(time.RFC3339), answerTime)
	}
}

// runsNow is runsOf with a list that may be late, and whether it is.
func (s Schedules) runsNow(ctx context.Context, c calendar, at time.Time) (runs []pipeline.DateRun, late bool, err error) {
	// Around the time, since some stores of the list hold times as texts, of which none is
	// equal to that of a question.
	all, err := s.list(ctx, c.name, fmt.Sprintf("%[1]s >= '%[2]s' AND %[1]s <= '%[3]s'", scheduledFor, stamp(at.Add(-time.Second)), stamp(at.Add(time.Second))))
	if err != nil {
		return nil, false, err
	}
	all = slices.DeleteFunc(all, func(e execution) bool { return !e.date.Equal(at) })
	newest, err := s.info(ctx, &commonpb.WorkflowExecution{WorkflowId: c.id + "-" + at.UTC().Truncate(time.Second).Format(time.RFC3339)})
	if errors.Is(err, fs.ErrNotExist) {
		return chains(all), false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if e, ok := executed(newest); ok && e.date.Equal(at) {
		late = !slices.ContainsFunc(all, func(has execution) bool { return has.id == e.id })
		all = append(all, e) // its state is newer than in the list
	}
	return chains(all), late, nil
}

// chains makes runs of executions: each begins with the first of them, and ends as the
// last one does.
func chains(all []execution) (runs []pipeline.DateRun) {
	slices.SortStableFunc(all, func(a, b execution) int { return a.begun.Compare(b.begun) })
	for _, e := range all {
		i := slices.IndexFunc(runs, func(r pipeline.DateRun) bool { return r.ID == e.first })
		if i < 0 {
			i = len(runs)
			runs = append(runs, pipeline.DateRun{ID: e.first, Begun: e.begun})
		}
		runs[i].Says = strings.ToLower(e.status.String())
		switch e.status {
		case enums.WORKFLOW_EXECUTION_STATUS_RUNNING, enums.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW, enums.WORKFLOW_EXECUTION_STATUS_PAUSED:
			runs[i].End = pipeline.GoesOn
		case enums.WORKFLOW_EXECUTION_STATUS_COMPLETED:
			runs[i].End = pipeline.EndedWell
		default:
			runs[i].End = pipeline.EndedBadly
		}
		if runs[i].Took = 0; runs[i].End != pipeline.GoesOn {
			runs[i].Took = max(0, e.closed.Sub(runs[i].Begun))
		}
	}
	return runs
}
