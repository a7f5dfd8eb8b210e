package temporal

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/pipeline"
	"breakwater/internal/pipeline/pipelinetest"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
)

// waits is a run that ends as a signal says.
func waits(ctx workflow.Context) error {
	var well, anew bool
	workflow.GetSignalChannel(ctx, "anew").ReceiveAsync(&anew)
	s := workflow.NewSelector(ctx)
	s.AddReceive(workflow.GetSignalChannel(ctx, "anew"), func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, &anew) })
	s.AddReceive(workflow.GetSignalChannel(ctx, "end"), func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, &well) })
	s.Select(ctx)
	switch {
	case anew:
		return workflow.NewContinueAsNewError(ctx, "Nobody")
	case well:
		return nil
	}
	return errors.New("the work failed")
}

// working starts a worker for runs, and returns its task queue.
func working(t *testing.T, c client.Client) string {
	t.Helper()
	queue := strings.ToLower(rand.Text())
	w := worker.New(c, queue, worker.Options{DisableRegistrationAliasing: true})
	w.RegisterWorkflowWithOptions(waits, workflow.RegisterOptions{Name: "Nobody"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return queue
}

// finish ends the newest run of a date.
func finish(t testing.TB, s Schedules, name string, at time.Time, well bool) {
	t.Helper()
	id := name + "-" + at.Format(time.RFC3339)
	if err := s.Client.SignalWorkflow(t.Context(), id, "", "end", well); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Client.GetWorkflow(ctx, id, "").Get(ctx, nil); (err == nil) != well {
		t.Fatalf("run %s was to end well: %t, and ended with %v", id, well, err)
	}
}

func TestReruns(t *testing.T) {
	one, other := dial(t)
	pipelinetest.RunReruns(t, pipelinetest.Reruns{
		Target: targetOn(working(t, one.Client), one, other, nobody(t)),
		Finish: func(t testing.TB, name string, at time.Time, _ string, well bool) {
			t.Helper()
			finish(t, other, name, at, well)
		},
	})
}

// days are dates of a calendar at three each day, before this one.
func days(n int) (all []time.Time) {
	now := time.Now().UTC()
	for i := range n {
		all = append(all, time.Date(now.Year(), now.Month(), now.Day()-n+i, 3, 0, 0, 0, time.UTC))
	}
	return all
}

// A Schedule with jitter acts later than at its nominal time, and its runs are of that: a
// backfill of the time at which it would act begins nothing.
func TestJitter(t *testing.T) {
	s, _ := dial(t)
	var id string
	name, _ := made(t, s, func(o *client.ScheduleOptions) {
		o.Spec.Jitter, id = 6*time.Hour, o.Action.(*client.ScheduleWorkflowAction).ID
	})
	want := days(4)
	all, err := s.Dates(t.Context(), name, want[0], want[3].Add(time.Second), 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []time.Time
	for _, d := range all {
		got = append(got, d.At)
		if d.Off {
			t.Errorf("the calendar lacks %s", d.At)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("it has the dates %v, want %v", got, want)
	}
	if err := s.Rerun(t.Context(), name, all[1]); err != nil {
		t.Fatal(err)
	}
	if d, err := s.Date(t.Context(), name, want[1]); err != nil || len(d.Runs) != 1 {
		t.Errorf("%s has %v, %v", want[1], d.Runs, err)
	}
	if err := s.Client.TerminateWorkflow(t.Context(), id+"-"+want[1].Format(time.RFC3339), "", "the test is over"); err != nil {
		t.Error(err)
	}
}

// A request that came through without its answer is not repeated: the next attempt, also
// of another worker that saw the same, adds nothing to it.
func TestRerunLosesItsAnswer(t *testing.T) {
	s, other := dial(t)
	name, _ := made(t, s, func(o *client.ScheduleOptions) {
		a := o.Action.(*client.ScheduleWorkflowAction)
		a.ID, a.TaskQueue = o.ID, working(t, s.Client)
	})
	at := days(2)[0]
	seen, err := s.Date(t.Context(), name, at)
	if err != nil {
		t.Fatal(err)
	}
	account, err := s.account(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []Schedules{s, other, s} { // all looked before the first one asks
		if err := by.backfill(t.Context(), name, seen, at, account); err != nil {
			t.Fatal(err)
		}
	}
	within(t, "it begins", func(ctx context.Context) (bool, error) {
		d, err := s.Date(ctx, name, at)
		return len(d.Runs) > 0, err
	})
	finish(t, s, name, at, true)
	if err := other.backfill(t.Context(), name, seen, at, account); err != nil { // late, after it ended
		t.Fatal(err)
	}
	if err := other.Rerun(t.Context(), name, seen); err != nil {
		t.Fatal(err)
	}
	next, err := s.Date(t.Context(), name, days(2)[1])
	if err == nil {
		err = s.Rerun(t.Context(), name, next) // what was asked before is through now
	}
	if err != nil {
		t.Fatal(err)
	}
	if d, err := s.Date(t.Context(), name, at); err != nil || len(d.Runs) != 1 {
		t.Errorf("all asked for one run, and there are %v, %v", d.Runs, err)
	}
	finish(t, s, name, days(2)[1], true)
}

// A run that is continued as new is one run, and goes on until the last of it has ended.
func TestRunContinuedAsNew(t *testing.T) {
	s, _ := dial(t)
	name, _ := made(t, s, func(o *client.ScheduleOptions) {
		a := o.Action.(*client.ScheduleWorkflowAction)
		a.ID, a.TaskQueue = o.ID, working(t, s.Client)
	})
	at := days(1)[0]
	if err := s.Rerun(t.Context(), name, pipeline.Date{At: at}); err != nil {
		t.Fatal(err)
	}
	first, err := s.Date(t.Context(), name, at)
	if err != nil || len(first.Runs) != 1 {
		t.Fatalf("it has %v, %v", first.Runs, err)
	}
	if err := s.Client.SignalWorkflow(t.Context(), name+"-"+at.Format(time.RFC3339), "", "anew", true); err != nil {
		t.Fatal(err)
	}
	within(t, "it is continued", func(ctx context.Context) (bool, error) {
		d, err := s.Client.DescribeWorkflowExecution(ctx, name+"-"+at.Format(time.RFC3339), "")
		return d.GetWorkflowExecutionInfo().GetExecution().GetRunId() != first.Runs[0].ID, err
	})
	is := func(want pipeline.End) {
		t.Helper()
		if d, err := s.Date(t.Context(), name, at); err != nil || len(d.Runs) != 1 || d.Runs[0].End != want || d.Runs[0].ID != first.Runs[0].ID {
			t.Errorf("it has %+v, %v; want one run with the end %q", d.Runs, err, want)
		}
	}
	is(pipeline.GoesOn)
	finish(t, s, name, at, true)
	is(pipeline.EndedWell)
}

// A run that begins between the look and the request makes the Schedule skip the request:
// nothing of it stays behind, and it can be asked for anew.
func TestRerunThatLosesARace(t *testing.T) {
	s, other := dial(t)
	name, h := made(t, s, func(o *client.ScheduleOptions) {
		a := o.Action.(*client.ScheduleWorkflowAction)
		a.ID, a.TaskQueue = o.ID, working(t, s.Client)
	})
	at := days(1)[0]
	raced := Schedules{Client: racing{s.Client, func(ctx context.Context) error {
		if err := h.Trigger(ctx, client.ScheduleTriggerOptions{}); err != nil {
			return err
		}
		within(t, "the other run begins", func(ctx context.Context) (bool, error) {
			b, err := other.Busy(ctx, name)
			return len(b.Runs) > 0, err
		})
		return nil
	}}, Namespace: s.Namespace, Region: s.Region}
	if err := raced.Rerun(t.Context(), name, pipeline.Date{At: at}); !errors.Is(err, pipeline.ErrBusy) {
		t.Fatalf("Rerun = %v, want ErrBusy", err)
	}
	b, err := s.Busy(t.Context(), name)
	if err != nil || len(b.Runs) != 1 || b.Queued != 0 {
		t.Fatalf("it is busy with %v, %v; want the other run alone", b, err)
	}
	if err := s.Client.SignalWorkflow(t.Context(), b.Runs[0], "", "end", true); err != nil {
		t.Fatal(err)
	}
	within(t, "the other run ends", func(ctx context.Context) (bool, error) {
		b, err := s.Busy(ctx, name)
		return b.Idle(), err
	})
	if err := s.Rerun(t.Context(), name, pipeline.Date{At: at}); err != nil {
		t.Fatal(err)
	}
	finish(t, s, name, at, true)
	if d, err := s.Date(t.Context(), name, at); err != nil || len(d.Runs) != 1 {
		t.Errorf("it has %v, %v; want one run", d.Runs, err)
	}
}

// racing is a client before whose patch of a schedule something happens.
type racing struct {
	client.Client
	first func(context.Context) error
}

func (r racing) WorkflowService() workflowservice.WorkflowServiceClient {
	return racingService{r.Client.WorkflowService(), r.first}
}

type racingService struct {
	workflowservice.WorkflowServiceClient
	first func(context.Context) error
}

func (r racingService) PatchSchedule(ctx context.Context, in *workflowservice.PatchScheduleRequest, opts ...grpc.CallOption) (*workflowservice.PatchScheduleResponse, error) {
	if err := r.first(ctx); err != nil {
		return nil, err
	}
	return r.WorkflowServiceClient.PatchSchedule(ctx, in, opts...)
}
