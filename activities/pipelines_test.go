package activities

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/temporaltest"
	"breakwater/internal/verdict"
	"breakwater/lab/faults"

	"go.temporal.io/sdk/client"
)

// kept is what earlier steps of a test's run left.
type kept struct {
	noRecords
	outcomes map[string]action.Outcome // by action and item
}

func (k *kept) Outcome(_ context.Context, name, item string) (action.Outcome, error) {
	o, ok := k.outcomes[name+" "+item]
	if !ok {
		return o, fmt.Errorf("%s left nothing for %s: %w", name, item, fs.ErrNotExist)
	}
	return o, nil
}

func (k *kept) put(name, item string, o action.Outcome) {
	if k.outcomes == nil {
		k.outcomes = map[string]action.Outcome{}
	}
	k.outcomes[name+" "+item] = o
}

// keeping is the action alone, whose outcome is kept as the ledger keeps it.
func (k *kept) keeping(a action.Action[none]) *action.Definition {
	apply := a.Apply
	a.Apply = func(ctx context.Context, c action.Call[none]) (action.Outcome, error) {
		o, err := apply(ctx, c)
		if err == nil {
			k.put(a.Name, c.Item.Name, o)
		}
		return o, err
	}
	cat := action.NewCatalogue()
	action.Add(cat, a)
	d, _ := cat.Get(a.Name)
	return d
}

// bare is a world without any server, for those that a test adds.
func bare(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, systems: &Systems{Folder: t.TempDir()},
		run: action.Run{
			Namespace: "default", Workflow: "failover-test", FirstRun: "6f0d1a52-0001", Runbook: "RegionalFailover",
			Mode: action.ModeLive, Source: east, Target: west, Incident: "INC-1", Epoch: 1, Started: time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC),
		},
	}
	t.Cleanup(w.systems.Close)
	w.estate = &estate.Estate{
		Estate: "test", ClockSkew: estate.Duration(100 * time.Millisecond),
		Tiers:   []estate.Tier{{Tier: 1, RPO: estate.Duration(30 * time.Second)}},
		Regions: []estate.Region{{Region: east, Role: estate.Primary}, {Region: west, Role: estate.Standby}},
	}
	return w
}

func pipelineOf(name string) estate.Pipeline {
	return estate.Pipeline{Pipeline: name, Connector: temporalSchedule, In: map[string]string{east: name + "-east", west: name + "-west"}}
}

func TestPipelines(t *testing.T) {
	t.Parallel()
	srv, err := temporaltest.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Kill)
	w := bare(t)
	w.systems.Temporal, err = srv.Client(t.Context())
	w.must(err)
	t.Cleanup(w.systems.Temporal.Close)
	w.estate.Groups = []estate.Group{
		{Group: "orders", Tier: 1, Pipelines: []estate.Pipeline{pipelineOf("rollup"), pipelineOf("backfill")}},
		{Group: "clicks", Tier: 1, Pipelines: []estate.Pipeline{pipelineOf("clicks")}},
		{Group: "quiet", Tier: 1},
	}
	const standby, person = "standby: a failover resumes this", "paused by erin: do not resume"
	schedule := func(id, note string, paused bool) {
		t.Helper()
		_, err := w.systems.Temporal.ScheduleClient().Create(t.Context(), client.ScheduleOptions{
			ID: id, Note: note, Paused: paused,
			Spec:   client.ScheduleSpec{Calendars: []client.ScheduleCalendarSpec{{Month: []client.ScheduleRange{{Start: 2}}, DayOfMonth: []client.ScheduleRange{{Start: 29}}}}},
			Action: &client.ScheduleWorkflowAction{ID: id, Workflow: "Nobody", TaskQueue: "nobody", Args: []any{map[string]string{"region": id}}},
		})
		w.must(err)
	}
	for _, p := range []string{"rollup", "clicks"} {
		schedule(p+"-east", "runs while "+east+" is active", false)
		schedule(p+"-west", standby, true)
	}
	schedule("backfill-east", person, true)
	schedule("backfill-west", person, true)
	is := func(id string, paused bool, note string) {
		t.Helper()
		d, err := w.systems.Temporal.ScheduleClient().GetHandle(t.Context(), id).Describe(t.Context())
		w.must(err)
		if st := d.Schedule.State; st.Paused != paused || st.Note != note {
			t.Errorf("schedule %s is paused %t, noted %q; want %t, %q", id, st.Paused, st.Note, paused, note)
		}
		if a, ok := d.Schedule.Action.(*client.ScheduleWorkflowAction); !ok || a.Workflow != "Nobody" || len(a.Args) != 1 {
			t.Errorf("schedule %s was changed in more than its state: %+v", id, d.Schedule.Action)
		}
	}
	set := func() fault.Set {
		return faults.Schedules(faults.Pipelines{
			Client: w.systems.Temporal, Source: "rollup-east", Target: "rollup-west", Person: "backfill-east",
			Stop:  func(context.Context) error { srv.Kill(); return nil },
			Start: srv.Run,
		})
	}
	recs := &kept{}
	stop, resume := recs.keeping(w.systems.pausePipelines()), w.action("pipelines.resume")
	request := func(def *action.Definition, name string) action.Request {
		r := w.request(def, name)
		r.Records = recs
		return r
	}
	t.Run("pause", func(t *testing.T) {
		proveAction(t, stop, request(stop, ""), set())
		is("rollup-east", false, "runs while "+east+" is active")
		is("rollup-west", true, standby)
		is("backfill-east", true, person)
	})
	t.Run("pause broken off", func(t *testing.T) { proveHalfway(t, stop, request(stop, "")) })

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
		h := w.systems.Temporal.ScheduleClient().GetHandle(t.Context(), "rollup-east")
		w.must(h.Pause(t.Context(), client.SchedulePauseOptions{Note: "mine"}))
		late := r
		late.Plan = &c
		if _, err := stop.Apply(t.Context(), late, nil); !errors.Is(err, action.ErrMoved) {
			t.Errorf("Apply = %v, want ErrMoved", err)
		}
		is("rollup-east", true, "mine")
		w.must(h.Unpause(t.Context(), client.ScheduleUnpauseOptions{Note: "runs while " + east + " is active"}))
		back := w.systems.Temporal.ScheduleClient().GetHandle(t.Context(), "clicks-east")
		w.must(back.Unpause(t.Context(), client.ScheduleUnpauseOptions{Note: "runs while " + east + " is active"}))
	})
	t.Run("an update that lost a race changes nothing", func(t *testing.T) {
		c := action.Call[none]{Request: r}
		p := scheduled{Pipeline: "clicks", Region: east, Schedule: "clicks-east"}
		seen, err := w.systems.describe(t.Context(), c, p.Schedule)
		w.must(err)
		h := w.systems.Temporal.ScheduleClient().GetHandle(t.Context(), p.Schedule)
		w.must(h.Pause(t.Context(), client.SchedulePauseOptions{Note: "mine"}))
		if err := w.systems.set(t.Context(), c, p, seen, schedulePaused, "ours"); !errors.Is(err, action.ErrMoved) {
			t.Errorf("set = %v, want ErrMoved", err)
		}
		is(p.Schedule, true, "mine")
		w.must(h.Unpause(t.Context(), client.ScheduleUnpauseOptions{Note: "runs while " + east + " is active"}))
	})

	c := plan(t)
	r.Plan = &c
	if _, err := stop.Apply(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	t.Run("resume", func(t *testing.T) {
		proveAction(t, resume, request(resume, "orders"), set())
		is("rollup-west", true, standby)
		is("backfill-west", true, person)
		is("rollup-east", true, note(w.run, notePaused, "runs while "+east+" is active"))
	})
	t.Run("what an earlier run paused is no person's pause", func(t *testing.T) {
		next, before := request(stop, ""), recs.outcomes["pipelines.pause test"]
		next.Run.FirstRun = "6f0d1a52-0002"
		c, err := stop.Plan(t.Context(), next, nil)
		w.must(err)
		if len(c.Effects) > 0 {
			t.Errorf("the next run would pause again: %+v", c.Effects)
		}
		next.Plan = &c
		_, err = stop.Apply(t.Context(), next, nil)
		w.must(err)
		r := request(resume, "orders")
		r.Run = next.Run
		if c, err = resume.Plan(t.Context(), r, nil); err != nil || len(c.Effects) != 1 || !strings.Contains(c.Effects[0].On, "rollup-west") || !strings.Contains(c.Summary, person) {
			t.Errorf("Plan = %+v, %v; want the rollup to go on and the backfill to stay", c, err)
		}
		recs.put("pipelines.pause", "test", before)
	})
	t.Run("resume is not for a source that runs again", func(t *testing.T) {
		again := request(resume, "clicks")
		c, err := resume.Plan(t.Context(), again, nil)
		w.must(err)
		again.Plan = &c
		h := w.systems.Temporal.ScheduleClient().GetHandle(t.Context(), "clicks-east")
		w.must(h.Unpause(t.Context(), client.ScheduleUnpauseOptions{Note: "back"}))
		if _, err := resume.Apply(t.Context(), again, nil); !errors.Is(err, action.ErrMoved) {
			t.Errorf("Apply = %v, want ErrMoved: it would run in both regions", err)
		}
		is("clicks-west", true, standby)
	})
	t.Run("a live run does not guess what ran before", func(t *testing.T) {
		if _, err := resume.Plan(t.Context(), w.request(resume, "orders"), nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Plan without the record of the pause = %v, want fs.ErrNotExist", err)
		}
		only := w.request(resume, "orders")
		only.Run.Mode = action.ModePlan
		if c, err := resume.Plan(t.Context(), only, nil); err != nil || !slices.ContainsFunc(c.Effects, func(e action.EffectLine) bool { return strings.Contains(e.On, "rollup-west") }) {
			t.Errorf("Plan of a tabletop = %+v, %v; want what there is now", c, err)
		}
	})
	t.Run("a group without pipelines", func(t *testing.T) {
		q := request(resume, "quiet")
		c, err := resume.Plan(t.Context(), q, nil)
		w.must(err)
		q.Plan = &c
		obs, err := resume.Verify(t.Context(), q, nil)
		if err != nil || len(c.Effects) > 0 || action.Worst(obs) != verdict.Pass {
			t.Errorf("plan %+v, verdict %s, %v", c, action.Worst(obs), err)
		}
	})
}
