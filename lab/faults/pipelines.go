package faults

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"breakwater/internal/fault"

	commonpb "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// Pipelines is a Temporal server with the schedules of a group's pipelines.
type Pipelines struct {
	Client client.Client
	// Namespace is the client's; Temporal's default one when empty.
	Namespace string

	Source string // a schedule that ran at the source
	Target string // the same pipeline's at the target
	Person string // a schedule that a person had paused
	// Date is a date for which the source's schedule ran, and Work ends the run of it
	// that goes on as its worker would, well.
	Date time.Time
	Work func(ctx context.Context, workflow string) error

	// Stop and Start end and bring back the server: SIGKILL, and the same port and
	// data again. Nil where the environment cannot.
	Stop, Start func(context.Context) error
}

// Schedules are the faults of pipelines.
func Schedules(p Pipelines) fault.Set {
	return fault.Set{
		p.flipped("pipelines.source-unpaused", "somebody resumes a pipeline at the source", p.Source, true),
		p.flipped("pipelines.source-paused", "somebody pauses a pipeline at the source", p.Source, false),
		p.flipped("pipelines.target-paused", "somebody pauses a pipeline at the target", p.Target, false),
		p.flipped("pipelines.person-overruled", "somebody resumes what a person had paused", p.Person, true),
		p.runByHand("pipelines.run-by-hand", "somebody triggers a paused pipeline at the source", 1),
		p.runByHand("pipelines.queued-by-hand", "somebody queues runs of a paused pipeline at the source", 3),
		p.ranTwice(),
		p.down(),
	}
}

func (p Pipelines) has(schedule string) func() error {
	return func() error {
		if p.Client == nil {
			return errors.New("this environment has no Temporal client")
		}
		return needs(map[string]string{"schedule": schedule})()
	}
}

// flipped resumes what is paused, or pauses what runs, and puts back state and note.
func (p Pipelines) flipped(name fault.Name, doc, schedule string, paused bool) fault.Fault {
	var held kept[string]
	set := func(ctx context.Context, paused bool, note string) error {
		h := p.Client.ScheduleClient().GetHandle(ctx, schedule)
		if paused {
			return h.Pause(ctx, client.SchedulePauseOptions{Note: note})
		}
		return h.Unpause(ctx, client.ScheduleUnpauseOptions{Note: note})
	}
	return fault.Fault{
		Name: name, Doc: doc, Available: p.has(schedule),
		Inject: func(ctx context.Context) error {
			d, err := p.Client.ScheduleClient().GetHandle(ctx, schedule).Describe(ctx)
			if err != nil {
				return err
			}
			if d.Schedule.State.Paused != paused {
				return fmt.Errorf("schedule %s is paused: %t; the fault needs the opposite", schedule, !paused)
			}
			return errors.Join(held.put(d.Schedule.State.Note), set(ctx, !paused, "somebody was here"))
		},
		Heal: func(ctx context.Context) error {
			return held.heal(func(note string) error { return set(ctx, paused, note) })
		},
	}
}

// runByHand has a paused schedule act, which the pause does not hinder; what is more than
// one waits for the ones before.
func (p Pipelines) runByHand(name fault.Name, doc string, times int) fault.Fault {
	var held kept[struct{}]
	running := func(ctx context.Context) ([]client.ScheduleWorkflowExecution, error) {
		d, err := p.Client.ScheduleClient().GetHandle(ctx, p.Source).Describe(ctx)
		if err != nil {
			return nil, err
		}
		return d.Info.RunningWorkflows, nil
	}
	return fault.Fault{
		Name: name, Doc: doc, Available: p.has(p.Source),
		Inject: func(ctx context.Context) error {
			if err := held.put(struct{}{}); err != nil {
				return err
			}
			for range times {
				if err := p.Client.ScheduleClient().GetHandle(ctx, p.Source).Trigger(ctx, client.ScheduleTriggerOptions{Overlap: enums.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL}); err != nil {
					return err
				}
			}
			return until(ctx, func(ctx context.Context) error {
				all, err := running(ctx)
				if err == nil && len(all) == 0 {
					err = errors.New("the schedule has not acted yet")
				}
				return err
			})
		},
		Heal: func(ctx context.Context) error {
			return held.heal(func(struct{}) error {
				// What waits begins when the run before it has ended, and may begin between two
				// looks: whatever is listed as running ends too, until nothing waits or is listed,
				// at a few looks one after the other.
				calm := 0
				return until(ctx, func(ctx context.Context) error {
					all, err := running(ctx)
					if err != nil {
						return err
					}
					list, err := p.Client.ListWorkflow(ctx, listRunning(p.Source))
					if err != nil {
						return err
					}
					runs := make(map[string]string, len(all))
					for _, r := range all {
						runs[r.WorkflowID] = r.FirstExecutionRunID
					}
					for _, r := range list.GetExecutions() {
						runs[r.GetExecution().GetWorkflowId()] = r.GetExecution().GetRunId()
					}
					for id, run := range runs {
						err := p.Client.TerminateWorkflow(ctx, id, run, "the fault is over")
						if gone := (*serviceerror.NotFound)(nil); err != nil && !errors.As(err, &gone) {
							return err
						}
					}
					if len(runs) > 0 {
						err = fmt.Errorf("%d runs were ended, and may be listed yet", len(runs))
					} else {
						err = p.idle(ctx)
					}
					if err != nil {
						calm = 0
						return err
					}
					if calm++; calm < 3 {
						return errors.New("the schedule may be about to begin a run")
					}
					return nil
				})
			})
		},
	}
}

// idle is nil once the source's schedule has no run, and none that waits.
func (p Pipelines) idle(ctx context.Context) error {
	d, err := p.Client.WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: cmp.Or(p.Namespace, client.DefaultNamespace), ScheduleId: p.Source})
	if err != nil {
		return err
	}
	if runs, waits := len(d.GetInfo().GetRunningWorkflows()), d.GetInfo().GetBufferSize(); runs > 0 || waits > 0 {
		return fmt.Errorf("the schedule has %d runs, and %d wait", runs, waits)
	}
	return nil
}

func listRunning(schedule string) *workflowservice.ListWorkflowExecutionsRequest {
	return &workflowservice.ListWorkflowExecutionsRequest{
		Query: fmt.Sprintf("TemporalScheduledById = '%s' AND ExecutionStatus = 'Running'", schedule),
	}
}

// ranTwice has the source's schedule run once more for a date. Healed, that run was never
// there.
func (p Pipelines) ranTwice() fault.Fault {
	var held kept[string]
	return fault.Fault{
		Name: "pipelines.ran-twice", Doc: "somebody runs a date again that ran already",
		Available: func() error {
			if p.Work == nil {
				return errors.New("this environment has no worker of pipelines")
			}
			return p.has(p.Source)()
		},
		Inject: func(ctx context.Context) error {
			h := p.Client.ScheduleClient().GetHandle(ctx, p.Source)
			d, err := h.Describe(ctx)
			if err != nil {
				return err
			}
			act, ok := d.Schedule.Action.(*client.ScheduleWorkflowAction)
			if !ok {
				return fmt.Errorf("schedule %s starts no workflow", p.Source)
			}
			workflow := act.ID + "-" + p.Date.UTC().Format(time.RFC3339)
			was, err := p.Client.DescribeWorkflowExecution(ctx, workflow, "")
			if err != nil {
				return err
			}
			if err := h.Backfill(ctx, client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{{
				Start: p.Date, End: p.Date, Overlap: enums.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL,
			}}}); err != nil {
				return err
			}
			var run string
			if err := until(ctx, func(ctx context.Context) error {
				now, err := p.Client.DescribeWorkflowExecution(ctx, workflow, "")
				if run = now.GetWorkflowExecutionInfo().GetExecution().GetRunId(); err == nil && run == was.GetWorkflowExecutionInfo().GetExecution().GetRunId() {
					err = errors.New("the date has not run again yet")
				}
				return err
			}); err != nil {
				return err
			}
			return errors.Join(held.put(workflow+"/"+run), p.Work(ctx, workflow))
		},
		Heal: func(ctx context.Context) error {
			return held.heal(func(run string) error {
				workflow, id, _ := strings.Cut(run, "/")
				of := &commonpb.WorkflowExecution{WorkflowId: workflow, RunId: id}
				if _, err := p.Client.WorkflowService().DeleteWorkflowExecution(ctx, &workflowservice.DeleteWorkflowExecutionRequest{
					Namespace: cmp.Or(p.Namespace, client.DefaultNamespace), WorkflowExecution: of,
				}); err != nil {
					return err
				}
				return until(ctx, func(ctx context.Context) error {
					list, err := p.Client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: fmt.Sprintf("WorkflowId = '%s' AND RunId = '%s'", workflow, id)})
					if err == nil && len(list.GetExecutions()) > 0 {
						err = errors.New("the run is still listed")
					}
					return err
				})
			})
		},
	}
}

func (p Pipelines) down() fault.Fault {
	var held kept[struct{}]
	return fault.Fault{
		Name: "pipelines.temporal-down", Doc: "the Temporal server of the schedules is killed",
		Available: func() error {
			if p.Stop == nil || p.Start == nil {
				return errors.New("this environment does not stop Temporal")
			}
			return p.has(p.Source)()
		},
		Inject: func(ctx context.Context) error { return errors.Join(held.put(struct{}{}), p.Stop(ctx)) },
		Heal: func(ctx context.Context) error {
			return held.heal(func(struct{}) error {
				if err := p.Start(ctx); err != nil {
					return err
				}
				return until(ctx, func(ctx context.Context) error {
					ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
					defer cancel()
					_, err := p.Client.ScheduleClient().GetHandle(ctx, p.Source).Describe(ctx)
					return err
				})
			})
		},
	}
}
