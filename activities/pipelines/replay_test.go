package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/pipeline"
	"breakwater/internal/pipeline/pipelinetest"
	"breakwater/internal/record"
	"breakwater/internal/table"
	"breakwater/internal/table/lastgood"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/google/go-cmp/cmp"
)

// worked is an orchestrator in memory with a worker: what runs again ends at once.
type worked struct {
	*pipelinetest.Memory
	fails func(name string, at time.Time) bool // nil for never
	order []string                             // what ran again
	dies  func(name string, at time.Time) bool // whose asker hears no answer; nil for never
}

func (w *worked) Rerun(ctx context.Context, name string, seen pipeline.Date) error {
	if err := w.Memory.Rerun(ctx, name, seen); err != nil {
		return err
	}
	now, err := w.Date(ctx, name, seen.At)
	if err != nil {
		return err
	}
	w.order = append(w.order, fmt.Sprintf("%s %s", name, seen.At.Format("Jan 2")))
	w.Finish(now.Runs[len(now.Runs)-1].ID, w.fails == nil || !w.fails(name, seen.At))
	if w.dies != nil && w.dies(name, seen.At) {
		return errDied
	}
	return nil
}

var errDied = errors.New("the worker died here")

// inWork is a room whose pipelines run in memory.
type inWork struct {
	systems
	*worked
}

func (m inWork) Pipelines(context.Context, *estate.Estate, string, string, action.Run) (pipeline.Connector, error) {
	return m.worked, nil
}

// day is a date in the calendars of these tests.
func day(n int) time.Time { return time.Date(2026, 11, n, pipelinetest.Daily, 0, 0, 0, time.UTC) }

// replays is a world with two paused pipelines, of which the second one reads what the
// first one writes; each ran for the days 1 to 4.
type replays struct {
	*world.World
	*worked
	def *action.Definition
	req action.Request
}

const byErin = "paused by erin: do not resume"

func newReplays(t *testing.T) *replays {
	t.Helper()
	w := world.Bare(t)
	pipelineOf := func(name, reads, writes string) estate.Pipeline {
		return estate.Pipeline{Pipeline: name, Connector: "memory", In: map[string]string{world.West: name}, Reads: []string{reads}, Writes: []string{writes}}
	}
	w.Estate.Groups = []estate.Group{{
		Group:     "orders",
		Tables:    []estate.Table{{Table: "raw"}, {Table: "sums"}},
		Topics:    []estate.Topic{{Topic: "in"}},
		Pipelines: []estate.Pipeline{pipelineOf("a-sums", "raw", "sums"), pipelineOf("b-load", "in", "raw")},
	}}
	r := &replays{World: w, worked: &worked{Memory: &pipelinetest.Memory{}}}
	cat := action.NewCatalogue()
	action.Add(cat, room{systems: inWork{worked: r.worked}}.replay())
	r.def, _ = cat.Get("pipelines.replay")
	r.req = w.Request(r.def, "")
	r.Make("a-sums", pipelinetest.Pipeline{State: pipeline.Paused, Note: byErin, Daily: true})
	r.Make("b-load", pipelinetest.Pipeline{State: pipeline.Paused, Note: pipeline.Note(w.Run.Name(), pipeline.PausedIt, ""), Daily: true})
	for n := 1; n <= 4; n++ {
		for _, name := range []string{"a-sums", "b-load"} {
			w.Must(r.Ran(name, day(n), day(n), pipeline.EndedWell))
		}
	}
	return r
}

// with are parameters for the days from one to another.
func with(from, to int, more string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"from":%q,"to":%q,"pipelines":["a-sums","b-load"]%s}`, day(from).Format(time.RFC3339), day(to).Format(time.RFC3339), more))
}

// planned plans for the days from one to another, and has that approved.
func (r *replays) planned(from, to int) action.Change {
	r.T.Helper()
	c, err := r.def.Plan(r.T.Context(), r.req, with(from, to, ""))
	r.Must(err)
	r.req.Plan = &c
	return c
}

func (r *replays) applied() (action.Outcome, error) {
	return r.def.Apply(r.T.Context(), r.req, with(2, 4, ""))
}

func (r *replays) is(want verdict.Verdict, said string) {
	r.T.Helper()
	obs, err := r.def.Verify(r.T.Context(), r.req, with(2, 4, ""))
	if err != nil || action.Worst(obs) != want || !strings.Contains(prove.Told(obs), said) {
		r.T.Errorf("Verify: %v; want %s that says %q:\n%s", err, want, said, prove.Told(obs))
	}
	prove.WellFormed(r.T, r.def, obs)
}

func (r *replays) ran(want ...string) {
	r.T.Helper()
	if !slices.Equal(r.order, want) {
		r.T.Errorf("it ran %q, want %q", r.order, want)
	}
}

// What is read runs before what reads it, each date in its order, and once.
func TestReplayInOrder(t *testing.T) {
	r := newReplays(t)
	c := r.planned(2, 4)
	told := c.Summary + fmt.Sprint(c.Effects) + fmt.Sprint(c.Accepts)
	for _, want := range []string{
		"Run 4 of 4 dates of 2 pipelines again", "date 2026-11-02T03:00:00Z of schedule b-load in us-west-2", "ran 1 time (well)",
		"schedule a-sums in us-west-2 was paused by somebody, and not by this run (noted \"" + byErin, "the estate has no quality query of table sums",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("the plan does not say %q:\n%s\n%v\n%v", want, c.Summary, c.Effects, c.Accepts)
		}
	}
	r.is(verdict.Fail, "that of 2026-11-02T03:00:00Z ran never")
	out, err := r.applied()
	if err != nil || out.Mutations != 4 {
		t.Fatalf("Apply = %+v, %v", out, err)
	}
	r.ran("b-load Nov 2", "b-load Nov 3", "a-sums Nov 2", "a-sums Nov 3")
	r.is(verdict.Pass, "so by the orchestrator's record")
	if out, err := r.applied(); err != nil || out.Mutations != 0 {
		t.Errorf("Apply again = %+v, %v", out, err)
	}
	if c := r.planned(2, 4); len(c.Effects) > 0 || !strings.Contains(c.Summary, "which ran again already") {
		t.Errorf("it would run again: %s %v", c.Summary, c.Effects)
	}
	for name, note := range map[string]string{"a-sums": byErin, "b-load": pipeline.Note(r.Run.Name(), pipeline.PausedIt, "")} {
		if seen, err := r.Describe(t.Context(), name); err != nil || seen.State != pipeline.Paused || seen.Note != note {
			t.Errorf("%s is %v, %v; want it paused with its note", name, seen, err)
		}
	}
}

// The first date that fails ends it, and who retries goes on with that date.
func TestReplayStopsAtAFailure(t *testing.T) {
	r := newReplays(t)
	r.planned(2, 4)
	r.fails = func(name string, at time.Time) bool { return name == "b-load" && at.Equal(day(3)) }
	if _, err := r.applied(); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "date 2026-11-03T03:00:00Z of schedule b-load in us-west-2 badly") {
		t.Fatalf("Apply = %v, want that the date failed, for which no try of its own is of use", err)
	}
	r.ran("b-load Nov 2", "b-load Nov 3")
	r.is(verdict.Fail, "that of 2026-11-03T03:00:00Z ran 1 time (badly)")
	r.fails = nil
	if _, err := r.applied(); err != nil {
		t.Fatal(err)
	}
	r.ran("b-load Nov 2", "b-load Nov 3", "b-load Nov 3", "a-sums Nov 2", "a-sums Nov 3")
	r.is(verdict.Pass, "so by the orchestrator's record")
}

// A worker that dies while a date runs leaves it to the next one, which runs nothing twice;
// and where the date failed meanwhile, it asks as its forerunner would have.
func TestReplayByTheNextWorker(t *testing.T) {
	for _, failed := range []bool{false, true} {
		t.Run(fmt.Sprintf("failed %t", failed), func(t *testing.T) {
			r := newReplays(t)
			r.planned(2, 4)
			third := func(name string, at time.Time) bool { return name == "b-load" && at.Equal(day(3)) }
			r.dies = third
			if failed {
				r.fails = third
			}
			r.req.Save = func(half any) {
				raw, err := json.Marshal(half)
				r.Must(err)
				r.req.Resume = raw
			}
			if _, err := r.applied(); !errors.Is(err, errDied) {
				t.Fatalf("Apply = %v", err)
			}
			r.dies = nil
			_, err := r.applied()
			if failed {
				if !errors.Is(err, action.ErrRefused) {
					t.Errorf("the next attempt = %v, want that the date failed", err)
				}
				r.ran("b-load Nov 2", "b-load Nov 3")
				return
			}
			r.Must(err)
			r.ran("b-load Nov 2", "b-load Nov 3", "a-sums Nov 2", "a-sums Nov 3")
			r.is(verdict.Pass, "so by the orchestrator's record")
		})
	}
}

// What somebody ran again by hand is not run again; what they ran twice is red.
func TestReplayBesideAPerson(t *testing.T) {
	r := newReplays(t)
	r.Must(r.Ran("b-load", day(3), day(5), pipeline.EndedWell))
	if c := r.planned(2, 4); len(c.Effects) != 3 || !strings.Contains(c.Summary, "Run 3 of 4 dates") || !strings.Contains(c.Summary, "2026-11-03T03:00:00Z of b-load, which ran again already") {
		t.Errorf("the plan is %s %v", c.Summary, c.Effects)
	}
	r.Must(r.Ran("a-sums", day(2), day(5), pipeline.EndedWell)) // between plan and apply
	if _, err := r.applied(); err != nil {
		t.Fatal(err)
	}
	r.ran("b-load Nov 2", "a-sums Nov 3")
	r.is(verdict.Pass, "so by the orchestrator's record")
	r.Must(r.Ran("a-sums", day(2), day(6), pipeline.EndedWell))
	r.is(verdict.Fail, "that of 2026-11-02T03:00:00Z ran 2 times (well, well)")
}

// Somebody who resumes a pipeline meanwhile is not overruled, and nothing more runs.
func TestReplayOfWhatIsResumed(t *testing.T) {
	r := newReplays(t)
	r.planned(2, 4)
	resume := func() {
		seen, err := r.Describe(t.Context(), "a-sums")
		r.Must(err)
		r.Must(r.Set(t.Context(), "a-sums", seen, pipeline.Running, "mine"))
	}
	r.fails = func(name string, at time.Time) bool { resume(); r.fails = nil; return false }
	if _, err := r.applied(); !errors.Is(err, action.ErrMoved) {
		t.Fatalf("Apply = %v, want ErrMoved", err)
	}
	r.ran("b-load Nov 2", "b-load Nov 3")
	r.is(verdict.Fail, `running, noted "mine"`)
	if _, err := r.def.Plan(t.Context(), r.req, with(2, 4, "")); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "schedule a-sums in us-west-2 is not paused") {
		t.Errorf("Plan = %v, want a refusal", err)
	}
}

// A date without a run is left, as are those by hand; an epoch that is lost ends it before
// anything runs.
func TestReplayOfOtherDates(t *testing.T) {
	r := newReplays(t)
	r.Must(r.Ran("b-load", day(2).Add(time.Hour), day(3), pipeline.EndedWell)) // by hand
	c := r.planned(3, 8)
	told := c.Summary + fmt.Sprint(c.Accepts)
	if len(c.Effects) != 4 || !strings.Contains(told, "not run: 2026-11-05T03:00:00Z of b-load, which never ran") || !strings.Contains(told, "It is 2026-11-02T04:00:00Z of b-load, which its calendar does not have") {
		t.Errorf("the plan is %s %v", told, c.Effects)
	}
	r.req.Guard = func(context.Context) error { return prove.ErrGuard }
	if _, err := r.applied(); !errors.Is(err, prove.ErrGuard) {
		t.Errorf("Apply = %v, want the guard's error", err)
	}
	r.ran()
}

func TestReplayRefuses(t *testing.T) {
	r := newReplays(t)
	at := day(2).Format(time.RFC3339)
	for with, says := range map[string]string{
		string(with(1, 5, `,"most":3`)):                                     "more than 3 of pipeline b-load: give a later from or an earlier to",
		`{"pipelines":["c"]}`:                                               "the groups of this run have no pipeline c",
		`{"pipelines":["b-load"]}`:                                          "found no last good version, with its time, of what pipeline b-load writes: give from",
		`{"pipelines":["b-load"],"from":"` + at + `"}`:                      "rolled back nothing that pipeline b-load writes",
		`{"pipelines":["b-load"],"from":"` + at + `","to":"` + at + `"}`:    "is not before to",
		`{"pipelines":["b-load"],"from":"` + at + `","region":"us-east-1"}`: "pipeline b-load has no schedule in us-east-1",
		`{"pipelines":["b-load"],"from":"` + at + `","region":"mars"}`:      `no region "mars"`,
	} {
		if _, err := r.def.Plan(t.Context(), r.req, json.RawMessage(with)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), says) {
			t.Errorf("Plan with %s = %v, want a refusal that says %q", with, err, says)
		}
	}
	c, err := r.def.Plan(t.Context(), r.req, nil)
	if err != nil || len(c.Effects) > 0 || !strings.Contains(c.Summary, "Run nothing again") {
		t.Errorf("of a run that found and rolled back nothing: %+v, %v", c, err)
	}
	r.req.Plan = &c
	if obs, err := r.def.Verify(t.Context(), r.req, nil); err != nil || action.Worst(obs) != verdict.Nothing {
		t.Errorf("Verify = %v, %v", obs, err)
	}
}

// A run that only plans has no rollback yet, and nothing is paused: it shows what would run
// again of the pipelines that write what it found a fault in, and what would not come back.
func TestReplayPlansAhead(t *testing.T) {
	r := newReplays(t)
	g := &r.Estate.Groups[0]
	g.Tables = append(g.Tables, estate.Table{Table: "streamed"})
	kept := &world.Kept{}
	for _, name := range []string{"sums", "streamed"} {
		found, err := action.Encode(lastgood.Found{Table: name, Region: world.West, Good: table.Version{Number: 1, Time: day(2).Add(-time.Hour), From: table.InCommit}})
		r.Must(err)
		kept.Put(record.LastGood.Action, name, action.Outcome{Data: found})
	}
	r.req.Records, r.req.Run.Mode = kept, action.ModePlan
	r.Make("a-sums", pipelinetest.Pipeline{State: pipeline.Running, Daily: true})
	r.Must(r.Ran("a-sums", day(2), day(2), pipeline.EndedWell))
	var plans [2]action.Change
	for i := range plans {
		var err error
		plans[i], err = r.def.Plan(t.Context(), r.req, json.RawMessage(`{"most":10000}`))
		r.Must(err)
		plans[i].Summary, _, _ = strings.Cut(plans[i].Summary, "; not run: ") // of all the days since
	}
	c := plans[0]
	if len(c.Effects) != 1 || !strings.Contains(c.Effects[0].On, "date 2026-11-02T03:00:00Z of schedule a-sums") {
		t.Errorf("it would run %v, want the one date of a-sums", c.Effects)
	}
	if told := fmt.Sprint(c.Accepts); !strings.Contains(told, "No pipeline that is run again writes table streamed") {
		t.Errorf("the plan does not say what would not come back: %s", told)
	}
	if d := cmp.Diff(plans[0], plans[1]); d != "" {
		t.Errorf("the plan is not a function of the world: %s", d)
	}
	r.req.Run.Mode = action.ModeLive
	if _, err := r.def.Plan(t.Context(), r.req, nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "rolled back nothing that pipeline a-sums writes") {
		t.Errorf("a live run plans %v, want a refusal", err)
	}
}
