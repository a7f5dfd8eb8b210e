package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/clip"
	"breakwater/internal/ledger"
	"breakwater/internal/wire"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
)

// caller is the run for which an activity works, as Temporal knows it. Inputs say nothing
// about it: a workflow that merely claims to be a run has a chain of its own, in which
// nobody approved anything.
type caller struct {
	run       ledger.Run
	namespace string
	runbook   string // the type of the workflow
	started   time.Time
}

// Server is what the border asks Temporal's server.
type Server interface {
	Describe(ctx context.Context, workflow, execution string) (*workflowservice.DescribeWorkflowExecutionResponse, error)
	History(ctx context.Context, page *workflowservice.GetWorkflowExecutionHistoryRequest) (*workflowservice.GetWorkflowExecutionHistoryResponse, error)
}

func (h *Host) server(ctx context.Context) Server {
	if h.Server != nil {
		return h.Server
	}
	return ofWorker{activity.GetClient(ctx)}
}

// ofWorker asks by a worker's client.
type ofWorker struct{ client client.Client }

func (o ofWorker) Describe(ctx context.Context, workflow, execution string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	return o.client.DescribeWorkflowExecution(ctx, workflow, execution)
}

func (o ofWorker) History(ctx context.Context, page *workflowservice.GetWorkflowExecutionHistoryRequest) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	return o.client.WorkflowService().GetWorkflowExecutionHistory(ctx, page)
}

// caller asks Temporal who scheduled the activity, once for each execution.
func (h *Host) caller(ctx context.Context) (caller, error) {
	info := activity.GetInfo(ctx)
	id := info.WorkflowExecution
	return h.callerOf(id.ID, id.RunID, func() (caller, error) {
		d, err := h.server(ctx).Describe(ctx, id.ID, id.RunID)
		if err != nil {
			return caller{}, fmt.Errorf("ask Temporal which run workflow %s, execution %s, belongs to: %w", id.ID, id.RunID, err)
		}
		execution := d.GetWorkflowExecutionInfo()
		c := caller{
			run:       ledger.Run{Workflow: id.ID, FirstRun: execution.GetFirstRunId()},
			namespace: info.Namespace, runbook: info.WorkflowType.Name, started: execution.GetStartTime().AsTime(),
		}
		if c.run.FirstRun == "" {
			return caller{}, fmt.Errorf("%w: Temporal does not say with which execution workflow %s began: this needs a server of 1.26 or later", action.ErrRefused, id.ID)
		}
		return c, nil
	})
}

// callerOf is whose execution that is: as the worker remembers it, or else as ask says.
func (h *Host) callerOf(workflow, execution string, ask func() (caller, error)) (caller, error) {
	m := h.memory()
	if c, ok := m.callers.Get(execution); ok && c.run.Workflow == workflow {
		return c, nil
	}
	c, err := ask()
	if err == nil {
		m.callers.Add(execution, c)
	}
	return c, err
}

// starter asks Temporal who started a run: it is in the first event of its first execution.
func (h *Host) starter(ctx context.Context, c caller) (wire.Starter, error) {
	page, err := h.server(ctx).History(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: c.namespace, MaximumPageSize: 1, Execution: &common.WorkflowExecution{WorkflowId: c.run.Workflow, RunId: c.run.FirstRun},
	})
	events := page.GetHistory().GetEvents()
	if err == nil && len(events) == 0 {
		err = errors.New("its history has no first event")
	}
	if err != nil {
		return wire.Starter{}, fmt.Errorf("ask Temporal who started run %s: %w", c.run, err)
	}
	first := events[0].GetWorkflowExecutionStartedEventAttributes()
	who := wire.Starter{Claimed: clip.Bytes(first.GetIdentity(), claimedMost), Parent: first.GetParentWorkflowExecution().GetWorkflowId()}
	if by, ok := first.GetSearchAttributes().GetIndexedFields()["TemporalScheduledById"]; ok {
		if err := converter.GetDefaultDataConverter().FromPayload(by, &who.Schedule); err != nil {
			return who, fmt.Errorf("ask Temporal which Schedule started run %s: %w", c.run, err)
		}
	}
	return who, nil
}

// claimedMost is how much is kept of what a client called itself.
const claimedMost = 200
