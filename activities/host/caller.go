package host

import (
	"context"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/ledger"

	"go.temporal.io/sdk/activity"
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

// caller asks Temporal who scheduled the activity, once for each execution.
func (h *Host) caller(ctx context.Context) (caller, error) {
	info := activity.GetInfo(ctx)
	id := info.WorkflowExecution
	return h.callerOf(id.ID, id.RunID, func() (caller, error) {
		describe := h.Describe
		if describe == nil {
			describe = activity.GetClient(ctx).DescribeWorkflowExecution
		}
		d, err := describe(ctx, id.ID, id.RunID)
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
