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
	handles := other.Client.ScheduleClient()
	return pipelinetest.Target{
		Connector: one, Other: other, Away: away, Patience: time.Minute, Prefix: strings.ToLower(rand.Text()) + "-",
		Make: func(t testing.TB, name string, p pipelinetest.Pipeline) {
			t.Helper()
			spec := client.ScheduleSpec{
				Calendars:    []client.ScheduleCalendarSpec{{Month: []client.ScheduleRange{{Start: 2}}, DayOfMonth: []client.ScheduleRange{{Start: 29}}}},
				TimeZoneName: "Europe/Berlin", Jitter: time.Minute,
			}
			if p.Over {
				spec.EndAt = time.Now().Add(-time.Hour)
			}
			_, err := handles.Create(t.Context(), client.ScheduleOptions{
				ID: name, Note: p.Note, Paused: p.State == pipeline.Paused, Spec: spec,
				CatchupWindow: time.Hour, PauseOnFailure: true,
				Action: &client.ScheduleWorkflowAction{ID: name, Workflow: "Nobody", TaskQueue: "nobody", Args: []any{map[string]string{"for": name}}},
			})
			if err != nil {
				t.Fatal(err)
			}
		},
		Begin: func(t testing.TB, name string) string {
			t.Helper()
			return begin(t, other, name)
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
