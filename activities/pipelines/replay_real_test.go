package pipelines

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/pipeline"
	"breakwater/internal/pipeline/temporal"
	"breakwater/internal/query/duckdb"
	"breakwater/internal/record"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/lastgood"
	"breakwater/internal/verdict"
	"breakwater/lab/faults"
	"breakwater/lab/prove"
	"breakwater/lab/server/temporaltest"
	"breakwater/lab/tap"
	"breakwater/lab/world"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// rollup is the schedule of these tests, which loads one file a day into table orders.
const rollup = "rollup-west"

// loads is a lake whose table is loaded by a schedule of a real Temporal, with a worker.
type loads struct {
	*world.Lake
	srv   *temporaltest.Server
	hands client.Client // of people and of the worker
	wire  *tap.Wire
	def   *action.Definition
	req   action.Request
	dates []time.Time

	mu    sync.Mutex
	files map[string]string // the line of a commit that adds what a day loads, by date
	fail  string            // the date whose load fails
	spoil string            // the date whose load brings rows that must not be
	hold  chan struct{}     // until which loads wait; nil for none
}

// load is what the worker does for a date.
func (l *loads) load(ctx context.Context, date string) error {
	l.mu.Lock()
	line, fails, hold := l.files[date], l.fail == date, l.hold
	if l.spoil == date {
		line = l.files["bad"]
	}
	l.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fails {
		return errors.New("the load failed")
	}
	l.Commit(`{"commitInfo":{"operation":"WRITE"}}`, line)
	return nil
}

func newLoads(t *testing.T) *loads {
	t.Helper()
	l := &loads{Lake: world.NewLake(t), wire: &tap.Wire{}, files: map[string]string{}}
	l.Systems.Engine = duckdb.Engine{}
	var err error
	l.srv, err = temporaltest.Start(t.Context(), t.TempDir())
	l.Must(err)
	t.Cleanup(l.srv.Kill)
	l.Systems.Temporal, err = l.srv.Client(t.Context(), l.wire.Option())
	l.Must(err)
	t.Cleanup(l.Systems.Temporal.Close)
	l.hands, err = l.srv.Client(t.Context())
	l.Must(err)
	t.Cleanup(l.hands.Close)

	decl, g, _ := l.Estate.Table("orders")
	decl.Queries = []estate.Query{{Query: "no bad notes", Quality: "SELECT id FROM orders WHERE note = 'bad'"}}
	g.Pipelines = []estate.Pipeline{{Pipeline: "rollup", Connector: temporal.Name, In: map[string]string{world.West: rollup}, Writes: []string{"orders"}}}
	now := time.Now().UTC()
	l.Create("orders", 0)
	l.Append("orders", 5)
	for i, note := range []string{"day", "day", "bad"} {
		_, err := l.Writers["orders"].Append(t.Context(), []write.Row{{int64(i), note}})
		l.Must(err)
	}
	l.Replicate("orders", nil)
	for v := 2; v <= 4; v++ {
		body, _, err := l.RootBucket(world.West).Get(t.Context(), world.Entry("orders/orders", v))
		l.Must(err)
		_, err = l.RootBucket(world.West).Delete(t.Context(), world.Entry("orders/orders", v))
		l.Must(err)
		date := "bad"
		if v < 4 {
			at := time.Date(now.Year(), now.Month(), now.Day()-4+v, 3, 0, 0, 0, time.UTC)
			l.dates, date = append(l.dates, at), at.Format(time.RFC3339)
		}
		for line := range strings.Lines(string(body)) {
			if strings.HasPrefix(line, `{"add":`) {
				l.files[date] = strings.TrimSpace(line)
			}
		}
	}
	l.working()
	_, err = l.hands.ScheduleClient().Create(t.Context(), client.ScheduleOptions{
		ID: rollup, Paused: true, Note: pipeline.Note(l.Run.Name(), pipeline.PausedIt, "at night"), PauseOnFailure: true,
		Spec:   client.ScheduleSpec{Calendars: []client.ScheduleCalendarSpec{{Hour: []client.ScheduleRange{{Start: 3}}}}},
		Action: &client.ScheduleWorkflowAction{ID: "load", Workflow: "Load", TaskQueue: "loads"},
	})
	l.Must(err)
	l.def = l.Action("pipelines.replay")
	l.req = l.Request(l.def, "")
	return l
}

// working starts the worker.
func (l *loads) working() {
	w := worker.New(l.hands, "loads", worker.Options{DisableRegistrationAliasing: true})
	w.RegisterActivityWithOptions(l.load, activity.RegisterOptions{Name: "load"})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 5 * time.Minute})
		f := workflow.ExecuteActivity(ctx, "load", strings.TrimPrefix(workflow.GetInfo(ctx).WorkflowExecution.ID, "load-"))
		return f.Get(ctx, nil)
	}, workflow.RegisterOptions{Name: "Load"})
	l.Must(w.Start())
	l.T.Cleanup(w.Stop)
}

func (l *loads) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// person runs a date as people do.
func (l *loads) person(at time.Time) {
	l.T.Helper()
	before := l.runs(at)
	l.Must(l.hands.ScheduleClient().GetHandle(l.T.Context(), rollup).Backfill(l.T.Context(), client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{{
		Start: at, End: at, Overlap: enums.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL,
	}}}))
	l.Eventually("the person's run begins", func() bool { return l.runs(at) > before })
}

func workflowOf(at time.Time) string { return "load-" + at.Format(time.RFC3339) }

func (l *loads) ends(at time.Time) error {
	return l.hands.GetWorkflow(l.T.Context(), workflowOf(at), "").Get(l.T.Context(), nil)
}

// runs is how often a date ran, by the raw list.
func (l *loads) runs(at time.Time) int {
	l.T.Helper()
	n, err := l.hands.CountWorkflow(l.T.Context(), &workflowservice.CountWorkflowExecutionsRequest{Query: fmt.Sprintf("WorkflowId = '%s'", workflowOf(at))})
	l.Must(err)
	return int(n.GetCount())
}

// story has both dates run, a bad commit come, and all of it rolled back: the table is
// as it was, and the run has the records of that.
func (l *loads) story() {
	l.T.Helper()
	good := time.Now()
	for _, at := range l.dates {
		l.person(at)
		l.Must(l.ends(at))
	}
	l.Commit(`{"commitInfo":{"operation":"WRITE"}}`, l.files["bad"])
	actions := []string{`{"commitInfo":{"operation":"RESTORE"}}`}
	for _, add := range l.files {
		actions = append(actions, strings.Replace(add, `{"add":`, `{"remove":`, 1))
	}
	var back int64
	l.Eventually("the clock of the store goes on", func() bool { return time.Since(good) > 2*time.Second }) // its times are whole seconds
	back = l.Commit(actions...)
	found, err := action.Encode(lastgood.Found{Table: "orders", Region: world.West, Good: table.Version{Number: 1, Time: good, From: table.ObjectTime}})
	l.Must(err)
	l.Records.Put(record.LastGood.Action, "orders", action.Outcome{Data: found})
	l.Records.Put("table.rollback", "orders", action.Outcome{Data: fmt.Appendf(nil, `{"table":"orders","version":%d}`, back)})
}

func (l *loads) plan() {
	l.T.Helper()
	c, err := l.def.Plan(l.T.Context(), l.req, nil)
	l.Must(err)
	l.req.Plan = &c
	if len(c.Effects) == 0 {
		l.T.Fatalf("nothing is to run: %s", c.Summary)
	}
}

// once holds that each date ran once since the plan, that the table has its rows, and that
// nobody touched the pause.
func (l *loads) once(before [2]int) {
	l.T.Helper()
	obs, err := l.def.Verify(l.T.Context(), l.req, nil)
	if err != nil || action.Worst(obs) != verdict.Pass {
		l.T.Errorf("Verify: %v\n%s", err, prove.Told(obs))
	}
	for i, at := range l.dates {
		if n := l.runs(at) - before[i]; n != 1 {
			l.T.Errorf("%s ran %d times since the rollback", at, n)
		}
	}
	log, _ := l.Log(world.West, "orders")
	if rows := l.Rows(log.Head()).Rows; rows != 7 {
		l.T.Errorf("the table has %d rows, want the 5 of its good version and 2 that were loaded since", rows)
	}
	d, err := l.hands.ScheduleClient().GetHandle(l.T.Context(), rollup).Describe(l.T.Context())
	l.Must(err)
	if want := pipeline.Note(l.Run.Name(), pipeline.PausedIt, "at night"); !d.Schedule.State.Paused || d.Schedule.State.Note != want {
		l.T.Errorf("the schedule is paused %t, noted %q; want it paused, %q", d.Schedule.State.Paused, d.Schedule.State.Note, want)
	}
}

func (l *loads) count() (n [2]int) {
	for i, at := range l.dates {
		n[i] = l.runs(at)
	}
	return n
}

func TestReplay(t *testing.T) {
	t.Parallel()
	l := newLoads(t)
	t.Run("proof", func(t *testing.T) {
		l.T = t
		l.story()
		before := l.count()
		all := append(l.FaultSet(), faults.Schedules(faults.Pipelines{
			Client: l.Systems.Temporal, Source: rollup, Date: l.dates[0],
			Work:  func(context.Context, string) error { return l.ends(l.dates[0]) },
			Stop:  func(context.Context) error { l.srv.Kill(); return nil },
			Start: l.srv.Run,
		})...)
		prove.Action(t, l.def, l.req, fault.Set(all), l.wire)
		if after := l.count(); after != [2]int{before[0] + 1, before[1] + 1} {
			t.Errorf("the dates ran %v times, and %v before", after, before)
		}
	})
	t.Run("killed while a date runs", func(t *testing.T) {
		l.T = t
		l.story()
		before := l.count()
		l.plan()
		ctx, kill := context.WithCancel(t.Context())
		defer kill()
		hold := make(chan struct{})
		l.set(func() { l.hold = hold })
		dying := l.req
		dying.Progress = func(_, _ int64, says string) {
			if strings.HasSuffix(says, " runs") {
				kill()
			}
		}
		if _, err := l.def.Apply(ctx, dying, nil); err == nil {
			t.Fatal("Apply that was killed returned without an error")
		}
		l.set(func() { l.hold = nil })
		close(hold)
		for range 2 {
			if _, err := l.def.Apply(t.Context(), l.req, nil); err != nil {
				t.Fatal(err)
			}
		}
		l.once(before)
	})
	t.Run("beside a person", func(t *testing.T) {
		l.T = t
		l.story()
		before := l.count()
		l.plan()
		hold := make(chan struct{})
		l.set(func() { l.hold = hold })
		l.person(l.dates[1])
		waits := l.req
		var let sync.Once
		waits.Progress = func(_, _ int64, says string) { // the first date waits for theirs, which is the second
			if strings.Contains(says, "waits: ") {
				let.Do(func() { l.set(func() { l.hold = nil }); close(hold) })
			}
		}
		if _, err := l.def.Apply(t.Context(), waits, nil); err != nil {
			t.Fatal(err)
		}
		l.once(before)
	})
	t.Run("a date that fails", func(t *testing.T) {
		l.T = t
		l.story()
		l.plan()
		l.set(func() { l.fail = l.dates[0].Format(time.RFC3339) })
		// A failed activity is tried again by its workflow: the run is ended by its owner.
		ended := l.req
		ended.Progress = func(_, _ int64, says string) {
			if strings.HasSuffix(says, " runs") {
				if err := l.hands.TerminateWorkflow(t.Context(), workflowOf(l.dates[0]), "", "it fails"); err != nil {
					t.Log(err) // it has ended
				}
			}
		}
		before := l.count()
		_, err := l.def.Apply(t.Context(), ended, nil)
		if !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "terminated; look why, and retry") {
			t.Fatalf("Apply = %v, want that the date failed", err)
		}
		if n := l.runs(l.dates[1]); n != before[1] {
			t.Errorf("the next date ran all the same: %d times, and %d before", n, before[1])
		}
		l.set(func() { l.fail = "" })
		before[0]++ // the failed one
		if _, err := l.def.Apply(t.Context(), l.req, nil); err != nil {
			t.Fatal(err)
		}
		l.once(before)
	})
	t.Run("a date that brings the fault back", func(t *testing.T) {
		l.T = t
		l.story()
		l.plan()
		l.set(func() { l.spoil = l.dates[0].Format(time.RFC3339) })
		before := l.count()
		_, err := l.def.Apply(t.Context(), l.req, nil)
		if !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), `ended well, and after it quality query "no bad notes" of table orders finds 1 row, where it found none before`) {
			t.Errorf("Apply = %v, want that the quality query stops it", err)
		}
		if n := l.runs(l.dates[1]); n != before[1] {
			t.Errorf("the next date ran all the same: %d times, and %d before", n, before[1])
		}
		if obs, err := l.def.Verify(t.Context(), l.req, nil); err != nil || action.Worst(obs) != verdict.Fail || !strings.Contains(prove.Told(obs), "rows that must not be") {
			t.Errorf("Verify: %v\n%s", err, prove.Told(obs))
		}
	})
	l.T = t
}
