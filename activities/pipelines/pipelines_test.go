package pipelines

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/pipeline"
	"breakwater/internal/pipeline/temporal"
	"breakwater/internal/verdict"
	"breakwater/lab/faults"
	"breakwater/lab/prove"
	"breakwater/lab/server/temporaltest"
	"breakwater/lab/tap"
	"breakwater/lab/world"

	"go.temporal.io/sdk/client"
)

func pipelineOf(name string) estate.Pipeline {
	return estate.Pipeline{Pipeline: name, Connector: temporal.Name, In: map[string]string{world.East: name + "-east", world.West: name + "-west"}}
}

func TestPipelines(t *testing.T) {
	t.Parallel()
	srv, err := temporaltest.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Kill)
	w := world.Bare(t)
	wire := &tap.Wire{}
	w.Systems.Temporal, err = srv.Client(t.Context(), wire.Option())
	w.Must(err)
	t.Cleanup(w.Systems.Temporal.Close)
	w.Estate.Groups = []estate.Group{
		{Group: "orders", Tier: 1, Pipelines: []estate.Pipeline{pipelineOf("rollup"), pipelineOf("backfill")}},
		{Group: "clicks", Tier: 1, Pipelines: []estate.Pipeline{pipelineOf("clicks")}},
		{Group: "quiet", Tier: 1},
	}
	const standby, person = "standby: a failover resumes this", "paused by erin: do not resume"
	schedule := func(id, note string, paused bool) {
		t.Helper()
		_, err := w.Systems.Temporal.ScheduleClient().Create(t.Context(), client.ScheduleOptions{
			ID: id, Note: note, Paused: paused,
			Spec:   client.ScheduleSpec{Calendars: []client.ScheduleCalendarSpec{{Month: []client.ScheduleRange{{Start: 2}}, DayOfMonth: []client.ScheduleRange{{Start: 29}}}}},
			Action: &client.ScheduleWorkflowAction{ID: id, Workflow: "Nobody", TaskQueue: "nobody", Args: []any{map[string]string{"region": id}}},
		})
		w.Must(err)
	}
	for _, p := range []string{"rollup", "clicks"} {
		schedule(p+"-east", "runs while "+world.East+" is active", false)
		schedule(p+"-west", standby, true)
	}
	schedule("backfill-east", person, true)
	schedule("backfill-west", person, true)
	is := func(id string, paused bool, note string) {
		t.Helper()
		d, err := w.Systems.Temporal.ScheduleClient().GetHandle(t.Context(), id).Describe(t.Context())
		w.Must(err)
		if st := d.Schedule.State; st.Paused != paused || st.Note != note {
			t.Errorf("schedule %s is paused %t, noted %q; want %t, %q", id, st.Paused, st.Note, paused, note)
		}
		if a, ok := d.Schedule.Action.(*client.ScheduleWorkflowAction); !ok || a.Workflow != "Nobody" || len(a.Args) != 1 {
			t.Errorf("schedule %s was changed in more than its state: %+v", id, d.Schedule.Action)
		}
	}
	set := func() fault.Set {
		return faults.Schedules(faults.Pipelines{
			Client: w.Systems.Temporal, Source: "rollup-east", Target: "rollup-west", Person: "backfill-east",
			Stop:  func(context.Context) error { srv.Kill(); return nil },
			Start: srv.Run,
		})
	}
	recs := &world.Kept{}
	stop, resume := recs.Keeping(room{systems: w.Systems}.pause()), w.Action("pipelines.resume")
	request := func(def *action.Definition, name string) action.Request {
		r := w.Request(def, name)
		r.Records = recs
		return r
	}
	t.Run("pause", func(t *testing.T) {
		prove.Action(t, stop, request(stop, ""), set(), wire)
		is("rollup-east", false, "runs while "+world.East+" is active")
		is("rollup-west", true, standby)
		is("backfill-east", true, person)
	})
	t.Run("pause in a run that moves nothing", func(t *testing.T) {
		still := request(stop, "")
		still.Run.Source, still.Run.Target = "", ""
		c, err := stop.Plan(t.Context(), still, nil)
		if err != nil || len(c.Effects) != 2 || !strings.Contains(c.Summary, "backfill-west") {
			t.Errorf("Plan = %+v, %v; want the schedules of every region", c, err)
		}
	})
	t.Run("pause broken off", func(t *testing.T) { prove.Halfway(t, stop, request(stop, "")) })

	r := request(stop, "")
	plan := func(t *testing.T) action.Change {
		t.Helper()
		c, err := stop.Plan(t.Context(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Run("a person pauses between plan and apply", func(t *testing.T) {
		c := plan(t)
		if len(c.Effects) != 2 || !strings.Contains(c.Summary, person) {
			t.Errorf("the plan is %+v, want two effects and the person's note", c)
		}
		h := w.Systems.Temporal.ScheduleClient().GetHandle(t.Context(), "rollup-east")
		w.Must(h.Pause(t.Context(), client.SchedulePauseOptions{Note: "mine"}))
		late := r
		late.Plan = &c
		if _, err := stop.Apply(t.Context(), late, nil); !errors.Is(err, action.ErrMoved) {
			t.Errorf("Apply = %v, want ErrMoved", err)
		}
		is("rollup-east", true, "mine")
		w.Must(h.Unpause(t.Context(), client.ScheduleUnpauseOptions{Note: "runs while " + world.East + " is active"}))
		back := w.Systems.Temporal.ScheduleClient().GetHandle(t.Context(), "clicks-east")
		w.Must(back.Unpause(t.Context(), client.ScheduleUnpauseOptions{Note: "runs while " + world.East + " is active"}))
	})
	t.Run("an update that lost a race changes nothing", func(t *testing.T) {
		c := action.Call[action.None]{Request: r}
		p := scheduled{Pipeline: "clicks", Group: "clicks", Region: world.East, Schedule: "clicks-east"}
		seen, err := room{systems: w.Systems}.describe(t.Context(), c, p)
		w.Must(err)
		h := w.Systems.Temporal.ScheduleClient().GetHandle(t.Context(), p.Schedule)
		w.Must(h.Pause(t.Context(), client.SchedulePauseOptions{Note: "mine"}))
		if err := (room{systems: w.Systems}).set(t.Context(), c, p, seen, order{pipeline.Paused, "ours"}); !errors.Is(err, action.ErrMoved) {
			t.Errorf("set = %v, want ErrMoved", err)
		}
		is(p.Schedule, true, "mine")
		w.Must(h.Unpause(t.Context(), client.ScheduleUnpauseOptions{Note: "runs while " + world.East + " is active"}))
	})

	c := plan(t)
	r.Plan = &c
	if _, err := stop.Apply(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	t.Run("unpause", func(t *testing.T) {
		back := w.Action("pipelines.unpause")
		prove.Action(t, back, request(back, ""), set(), wire)
		is("rollup-east", true, pipeline.Note(w.Run.Name(), pipeline.PausedIt, "runs while "+world.East+" is active"))
		is("backfill-east", true, person)
		is("rollup-west", true, standby)
	})
	t.Run("resume", func(t *testing.T) {
		prove.Action(t, resume, request(resume, "orders"), set(), wire)
		is("rollup-west", true, standby)
		is("backfill-west", true, person)
		is("rollup-east", true, pipeline.Note(w.Run.Name(), pipeline.PausedIt, "runs while "+world.East+" is active"))
	})
	t.Run("what an earlier run paused is no person's pause", func(t *testing.T) {
		next, before := request(stop, ""), recs.Outcomes["pipelines.pause test"]
		next.Run.FirstRun = "6f0d1a52-0002"
		c, err := stop.Plan(t.Context(), next, nil)
		w.Must(err)
		if len(c.Effects) > 0 {
			t.Errorf("the next run would pause again: %+v", c.Effects)
		}
		next.Plan = &c
		_, err = stop.Apply(t.Context(), next, nil)
		w.Must(err)
		r := request(resume, "orders")
		r.Run = next.Run
		if c, err = resume.Plan(t.Context(), r, nil); err != nil || len(c.Effects) != 1 || !strings.Contains(c.Effects[0].On, "rollup-west") || !strings.Contains(c.Summary, person) {
			t.Errorf("Plan = %+v, %v; want the rollup to go on and the backfill to stay", c, err)
		}
		recs.Put("pipelines.pause", "test", before)
	})
	t.Run("resume is not for a source that runs again", func(t *testing.T) {
		again := request(resume, "clicks")
		c, err := resume.Plan(t.Context(), again, nil)
		w.Must(err)
		again.Plan = &c
		h := w.Systems.Temporal.ScheduleClient().GetHandle(t.Context(), "clicks-east")
		w.Must(h.Unpause(t.Context(), client.ScheduleUnpauseOptions{Note: "back"}))
		if _, err := resume.Apply(t.Context(), again, nil); !errors.Is(err, action.ErrMoved) {
			t.Errorf("Apply = %v, want ErrMoved: it would run in both regions", err)
		}
		is("clicks-west", true, standby)
	})
	t.Run("a live run does not guess what ran before", func(t *testing.T) {
		if _, err := resume.Plan(t.Context(), w.Request(resume, "orders"), nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Plan without the record of the pause = %v, want fs.ErrNotExist", err)
		}
		only := w.Request(resume, "orders")
		only.Run.Mode = action.ModePlan
		if c, err := resume.Plan(t.Context(), only, nil); err != nil || !slices.ContainsFunc(c.Effects, func(e action.EffectLine) bool { return strings.Contains(e.On, "rollup-west") }) {
			t.Errorf("Plan of a tabletop = %+v, %v; want what there is now", c, err)
		}
	})
	t.Run("a group without pipelines", func(t *testing.T) {
		q := request(resume, "quiet")
		c, err := resume.Plan(t.Context(), q, nil)
		w.Must(err)
		q.Plan = &c
		obs, err := resume.Verify(t.Context(), q, nil)
		if err != nil || len(c.Effects) > 0 || action.Worst(obs) != verdict.Nothing {
			t.Errorf("plan %+v, verdict %s, %v", c, action.Worst(obs), err)
		}
	})
}
