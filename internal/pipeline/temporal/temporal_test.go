package temporal

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"breakwater/internal/pipeline"
	"breakwater/internal/pipeline/pipelinetest"
	"breakwater/internal/poll"
	"breakwater/lab/server/temporaltest"

	enums "go.temporal.io/api/enums/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/encoding/prototext"
)

// dial connects twice to the server that tests share.
func dial(t *testing.T) (one, other Schedules) {
	t.Helper()
	srv, stop, err := temporaltest.Shared(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	connect := func() Schedules {
		c, err := srv.Client(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return Schedules{Client: c, Namespace: "default", By: "test", Region: "east"}
	}
	return connect(), connect()
}

// nobody is a connector to a server that is gone.
func nobody(t *testing.T) Schedules {
	t.Helper()
	c, err := client.NewLazyClient(client.Options{HostPort: "127.0.0.1:1", Logger: temporaltest.Quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return Schedules{Client: c, Namespace: "default", Region: "east"}
}

func TestSchedules(t *testing.T) {
	one, other := dial(t)
	pipelinetest.Run(t, target(one, other, nobody(t)))
}

// Only a Schedule that was described can be changed, for an update sends it back
// whole.
func TestForeignToken(t *testing.T) {
	for _, token := range []any{nil, 1} {
		err := nobody(t).Set(t.Context(), "rollup", pipeline.Seen{State: pipeline.Running, Token: token}, pipeline.Paused, "")
		if err == nil || errors.Is(err, pipeline.ErrMoved) || !strings.Contains(err.Error(), "schedule rollup in east") || !strings.Contains(err.Error(), "describe it first") {
			t.Errorf("Set with the token %v = %v", token, err)
		}
	}
}

// Whoever stops asking has not lost a race.
func TestSetBrokenOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := nobody(t).Set(ctx, "rollup", pipeline.Seen{Token: token{has: &schedulepb.Schedule{}}}, pipeline.Paused, "")
	if errors.Is(err, pipeline.ErrMoved) || !errors.Is(err, context.Canceled) {
		t.Errorf("Set = %v, want context.Canceled", err)
	}
}

func target(one, other, away Schedules) pipelinetest.Target {
	return targetOn("nobody", one, other, away)
}

// targetOn has its runs wait for workers of a task queue.
func targetOn(queue string, one, other, away Schedules) pipelinetest.Target {
	handles := other.Client.ScheduleClient()
	return pipelinetest.Target{
		Connector: one, Other: other, Away: away, Patience: time.Minute, Prefix: strings.ToLower(rand.Text()) + "-",
		Make: func(t testing.TB, name string, p pipelinetest.Pipeline) {
			t.Helper()
			spec := client.ScheduleSpec{
				Calendars:    []client.ScheduleCalendarSpec{{Month: []client.ScheduleRange{{Start: 2}}, DayOfMonth: []client.ScheduleRange{{Start: 29}}}},
				TimeZoneName: "Europe/Berlin", Jitter: time.Minute,
			}
			if p.Daily {
				spec = client.ScheduleSpec{Calendars: []client.ScheduleCalendarSpec{{Hour: []client.ScheduleRange{{Start: pipelinetest.Daily}}}}}
			}
			if p.Over {
				spec.EndAt = time.Now().Add(-time.Hour)
			}
			_, err := handles.Create(t.Context(), client.ScheduleOptions{
				ID: name, Note: p.Note, Paused: p.State == pipeline.Paused, Spec: spec,
				CatchupWindow: time.Hour, PauseOnFailure: true,
				Action: &client.ScheduleWorkflowAction{ID: name, Workflow: "Nobody", TaskQueue: queue, Args: []any{map[string]string{"for": name}}},
			})
			if err != nil {
				t.Fatal(err)
			}
		},
		Begin: func(t testing.TB, name string) string {
			t.Helper()
			return begin(t, other, name)
		},
		Queue: func(t testing.TB, name string) {
			t.Helper()
			d := func() int64 {
				res, err := other.Client.WorkflowService().DescribeSchedule(t.Context(), &workflowservice.DescribeScheduleRequest{Namespace: "default", ScheduleId: name})
				if err != nil {
					t.Fatal(err)
				}
				return res.GetInfo().GetBufferSize()
			}
			before := d()
			if err := handles.GetHandle(t.Context(), name).Trigger(t.Context(), client.ScheduleTriggerOptions{Overlap: enums.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := poll.Until(ctx, 20*time.Millisecond, func(context.Context) (bool, error) { return d() > before, nil }); err != nil {
				t.Fatalf("schedule %s was triggered and has queued nothing: %v", name, err)
			}
		},
		End: func(t testing.TB, run string) {
			t.Helper()
			if err := other.Client.TerminateWorkflow(t.Context(), run, "", "the test is over"); err != nil {
				t.Error(err)
			}
		},
		Rest: func(t testing.TB, name string) string {
			t.Helper()
			d, err := other.Client.WorkflowService().DescribeSchedule(t.Context(), &workflowservice.DescribeScheduleRequest{Namespace: "default", ScheduleId: name})
			if err != nil {
				t.Fatal(err)
			}
			d.Schedule.State.Paused, d.Schedule.State.Notes = false, ""
			return prototext.Format(d.GetSchedule())
		},
	}
}

// begin has a Schedule act, and waits for the workflow that it starts.
func begin(t testing.TB, s Schedules, name string) string {
	t.Helper()
	h := s.Client.ScheduleClient().GetHandle(t.Context(), name)
	if err := h.Trigger(t.Context(), client.ScheduleTriggerOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	workflow := ""
	if err := poll.Until(ctx, 20*time.Millisecond, func(ctx context.Context) (bool, error) {
		d, err := h.Describe(ctx)
		if err != nil {
			return true, err
		}
		n := len(d.Info.RecentActions)
		if n > 0 {
			workflow = d.Info.RecentActions[n-1].StartWorkflowResult.WorkflowID
		}
		return n > 0, nil
	}); err != nil {
		t.Fatalf("schedule %s was triggered and has not acted: %v", name, err)
	}
	return workflow
}

// made makes a paused Schedule that acts daily.
func made(t *testing.T, s Schedules, with func(*client.ScheduleOptions)) (string, client.ScheduleHandle) {
	t.Helper()
	name := strings.ToLower(rand.Text())
	o := client.ScheduleOptions{
		ID: name, Paused: true, Spec: client.ScheduleSpec{Calendars: []client.ScheduleCalendarSpec{{Hour: []client.ScheduleRange{{Start: 3}}}}},
		Action: &client.ScheduleWorkflowAction{ID: "run-of-" + name, Workflow: "Nobody", TaskQueue: "nobody"},
	}
	with(&o)
	h, err := s.Client.ScheduleClient().Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return name, h
}

func within(t *testing.T, what string, ask func(context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := poll.Until(ctx, 20*time.Millisecond, ask); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// A backfill of runs that may overlap begins ten at a time. In between nothing of it is
// to be seen, where those ended at once, and the Schedule is paused all the while.
func TestBackfillGoesOn(t *testing.T) {
	s, _ := dial(t)
	name, h := made(t, s, func(*client.ScheduleOptions) {})
	if b, err := s.Busy(t.Context(), name); err != nil || !b.Idle() || b.String() != "none" {
		t.Fatalf("before, it is busy with %v, %v", b, err)
	}
	if err := h.Backfill(t.Context(), client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{{
		Start: time.Now().AddDate(0, 0, -60), End: time.Now(), Overlap: enums.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL,
	}}}); err != nil {
		t.Fatal(err)
	}
	within(t, "the backfill begins", func(ctx context.Context) (bool, error) {
		i, err := s.account(ctx, name)
		return i.GetActionCount() > 0, err
	})
	if b, err := s.Busy(t.Context(), name); err != nil || b.Begins == 0 || b.Idle() || !strings.Contains(b.String(), "began while") {
		t.Errorf("it is busy with %v, %v; want that more begin", b, err)
	}
}

// A run that may overlap others is none of those that its Schedule has as running, and
// the list of all workflows is late.
func TestOverlappingRunByHand(t *testing.T) {
	s, _ := dial(t)
	name, h := made(t, s, func(*client.ScheduleOptions) {})
	if err := h.Trigger(t.Context(), client.ScheduleTriggerOptions{Overlap: enums.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL}); err != nil {
		t.Fatal(err)
	}
	within(t, "it acts", func(ctx context.Context) (bool, error) {
		i, err := s.account(ctx, name)
		if len(i.GetRunningWorkflows()) > 0 {
			t.Error("it has the run as running: the test proves nothing")
		}
		return i.GetActionCount() > 0, err
	})
	unlisted := Schedules{Client: blind{s.Client}, Namespace: s.Namespace, Region: s.Region}
	if b, err := unlisted.Busy(t.Context(), name); err != nil || len(b.Runs) != 1 {
		t.Errorf("it is busy with %v, %v; want the run that was triggered", b, err)
	}
}

// blind is a client whose list of workflows is late.
type blind struct{ client.Client }

func (blind) ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	return &workflowservice.ListWorkflowExecutionsResponse{}, nil
}

// What used up the runs that it was allowed is over, paused or not.
func TestUsedUp(t *testing.T) {
	s, _ := dial(t)
	name, _ := made(t, s, func(*client.ScheduleOptions) {})
	over := func(limited bool, left int64, want bool) {
		t.Helper()
		seen, err := s.Describe(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		was, ok := seen.Token.(token)
		if !ok {
			t.Fatalf("the token is %T", seen.Token)
		}
		was.has.State.LimitedActions, was.has.State.RemainingActions = limited, left
		if _, err := s.Client.WorkflowService().UpdateSchedule(t.Context(), &workflowservice.UpdateScheduleRequest{
			Namespace: "default", ScheduleId: name, Schedule: was.has, ConflictToken: was.conflict, RequestId: rand.Text(),
		}); err != nil {
			t.Fatal(err)
		}
		within(t, "the update is seen", func(ctx context.Context) (bool, error) {
			now, err := s.Describe(ctx, name)
			if err != nil {
				return true, err
			}
			is, _ := now.Token.(token)
			took := is.has.State.LimitedActions == limited && is.has.State.RemainingActions == left
			if took && now.Over != want {
				t.Errorf("with limited %t and %d left it is over: %t, want %t", limited, left, now.Over, want)
			}
			return took, nil
		})
	}
	over(true, 1, false)
	over(true, 0, true)
	over(false, 0, false)
}
