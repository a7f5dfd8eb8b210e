package traffic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"breakwater/lab/oracle"
)

// Pipeline is the workflow type that the laboratory's schedules start.
const Pipeline = "LabPipeline"

const append1 = "lab.append"

// PipelineInput is a pipeline's input.
type PipelineInput struct {
	Pipeline string `json:"pipeline"`
	Group    string `json:"group"`
	Region   string `json:"region"` // where it writes
}

// PipelineOutput is what a pipeline did.
type PipelineOutput struct {
	Table string `json:"table"`
	Rows  int    `json:"rows"`
}

func pipeline(ctx workflow.Context, in PipelineInput) (PipelineOutput, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 15 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{MaximumAttempts: 1}, // the schedule comes again
		Summary:             in.Pipeline + " in " + in.Region,
	})
	var out PipelineOutput
	err := workflow.ExecuteActivity(ctx, append1, in).Get(ctx, &out)
	return out, err
}

// Pipelines is what the pipelines' worker needs: for each region and group the
// table that they append to.
type Pipelines struct {
	Address, Namespace, TaskQueue string
	Logger                        log.Logger
	Tables                        map[string]map[string]Table // region → group
}

// ServePipelines runs the worker of the laboratory's pipelines until ctx ends. A
// pipeline whose region is dead or closed to its writer fails.
func ServePipelines(ctx context.Context, p Pipelines, j *oracle.Journal) error {
	c, err := client.DialContext(ctx, client.Options{HostPort: p.Address, Namespace: p.Namespace, Logger: p.Logger, Identity: "lab-pipelines"})
	if err != nil {
		return fmt.Errorf("serve the pipelines: connect to Temporal at %s: %w", p.Address, err)
	}
	defer c.Close()
	w := worker.New(c, p.TaskQueue, worker.Options{
		MaxConcurrentActivityExecutionSize: 4, DisableRegistrationAliasing: true,
		MaxConcurrentActivityTaskPollers: 1, MaxConcurrentWorkflowTaskPollers: 2,
	})
	w.RegisterWorkflowWithOptions(pipeline, workflow.RegisterOptions{Name: Pipeline})
	s := &appends{pipelines: p, journal: j, open: map[string]*tableWriter{}}
	w.RegisterActivityWithOptions(s.append, activity.RegisterOptions{Name: append1})
	if err := w.Start(); err != nil {
		return fmt.Errorf("serve the pipelines: %w", err)
	}
	<-ctx.Done()
	w.Stop()
	return nil
}

type appends struct {
	pipelines Pipelines
	journal   *oracle.Journal

	mu   sync.Mutex // appends are few: one at a time keeps each table's writer alone
	open map[string]*tableWriter
}

func (s *appends) append(ctx context.Context, in PipelineInput) (PipelineOutput, error) {
	const rows = 5
	t, ok := s.pipelines.Tables[in.Region][in.Group]
	if !ok {
		return PipelineOutput{}, fmt.Errorf("pipeline %s: no table of group %q in region %q", in.Pipeline, in.Group, in.Region)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.open[in.Region+"/"+in.Group]
	if w == nil {
		var err error
		w, err = openTable(ctx, in.Region, t, ShareOfPipelines, s.journal)
		if errors.Is(err, fs.ErrNotExist) { // not seeded yet
			return PipelineOutput{Table: t.Name}, nil
		}
		if err != nil {
			return PipelineOutput{}, fmt.Errorf("pipeline %s: %w", in.Pipeline, err)
		}
		s.open[in.Region+"/"+in.Group] = w
	}
	if err := w.append(ctx, rows, rows*100); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return PipelineOutput{}, temporal.NewNonRetryableApplicationError("the region is closed to its writer", "Denied", err)
		}
		return PipelineOutput{}, fmt.Errorf("pipeline %s appends to %s: %w", in.Pipeline, t.Name, err)
	}
	return PipelineOutput{Table: t.Name, Rows: rows}, nil
}
