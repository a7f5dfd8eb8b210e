package pipelinetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"time"

	"breakwater/internal/pipeline"
	"breakwater/internal/promise"
	"breakwater/internal/reach"
)

// Reruns is what the suite of [pipeline.Rerunner] runs against. Its connectors are those.
type Reruns struct {
	Target
	// Finish ends a run of a date, by its id, as the work itself ends: well or badly. It
	// returns once the orchestrator has noted that.
	Finish func(t testing.TB, name string, at time.Time, run string, well bool)
}

// RunReruns runs the suite of the ability to run dates again.
func RunReruns(t *testing.T, target Reruns) { reruns.Run(t, target) }

var reruns = promise.Suite[Reruns]{
	rerun("lists the dates of a calendar", listsDates),
	rerun("lists no more dates than were asked for", boundsDates),
	rerun("lists what ran by hand", listsByHand),
	rerun("runs one date once", runsOnce),
	rerun("tells how a run ended", tellsEnds),
	rerun("runs a date once however often it is asked to", asksTwice),
	rerun("runs a date once for two who ask", twoAsk),
	rerun("runs what is paused, and leaves it so", staysPaused),
	rerun("begins nothing beside another run", waitsForOthers),
	rerun("runs a date again that was seen to end", runsAgain),
	rerun("runs no date that the calendar lacks", noSuchDate),
	rerun("says that no answer came to a rerun", noAnswerToReruns),
}

func rerun(name string, keeps func(*reruner)) promise.Promise[Reruns] {
	return promise.Promise[Reruns]{Name: name, Check: func(t testing.TB, target Reruns) {
		r := &reruner{kit: kit{t, target.Target}, finish: target.Finish}
		var err, errOther, errAway error
		r.one, err = pipeline.RerunnerOf(target.Connector)
		r.other, errOther = pipeline.RerunnerOf(target.Other)
		r.away, errAway = pipeline.RerunnerOf(target.Away)
		if err := errors.Join(err, errOther, errAway); err != nil {
			t.Fatal(err)
		}
		keeps(r)
	}}
}

// reruner is what one promise of the ability is tested with.
type reruner struct {
	kit
	one, other, away pipeline.Rerunner
	finish           func(t testing.TB, name string, at time.Time, run string, well bool)
}

// Daily is when the suite's calendars act: each day at that hour, in UTC.
const Daily = 3

// ago is a date of the suite's calendars some days ago.
func ago(days int) time.Time {
	now := time.Now().UTC().AddDate(0, 0, -days)
	return time.Date(now.Year(), now.Month(), now.Day(), Daily, 0, 0, 0, time.UTC)
}

func (r *reruner) daily(name string) string {
	r.Helper()
	name = r.name(name)
	r.Make(r.TB, name, Pipeline{State: pipeline.Paused, Note: "erin: not now", Daily: true})
	return name
}

func (r *reruner) date(name string, at time.Time) pipeline.Date {
	r.Helper()
	d, err := r.one.Date(r.Context(), name, at)
	if err != nil {
		r.Fatalf("Date(%s, %s): %v", name, at, err)
	}
	return d
}

// run runs a date again, and returns the run that is new.
func (r *reruner) run(name string, at time.Time) pipeline.DateRun {
	r.Helper()
	seen := r.date(name, at)
	if err := r.one.Rerun(r.Context(), name, seen); err != nil {
		r.Fatalf("Rerun(%s, %s): %v", name, at, err)
	}
	now := r.date(name, at)
	i := slices.IndexFunc(now.Runs, func(run pipeline.DateRun) bool { return !seen.Has(run.ID) })
	if i < 0 || len(now.Runs) != len(seen.Runs)+1 {
		r.Fatalf("Rerun(%s, %s) returned; the date had %v, and has %v", name, at, seen.Runs, now.Runs)
	}
	return now.Runs[i]
}

func (r *reruner) end(name string, at time.Time, well bool) {
	r.Helper()
	runs := r.date(name, at).Runs
	if len(runs) == 0 {
		r.Fatalf("%s has no run of %s to end", name, at)
	}
	r.finish(r.TB, name, at, runs[len(runs)-1].ID, well)
}

func (r *reruner) dates(name string, from, to time.Time) (all []time.Time) {
	r.Helper()
	dates, err := r.one.Dates(r.Context(), name, from, to, 100)
	if err != nil {
		r.Fatalf("Dates(%s, %s, %s): %v", name, from, to, err)
	}
	for _, d := range dates {
		if d.Off {
			r.Errorf("Dates(%s) says that the calendar lacks %s", name, d.At)
		}
		all = append(all, d.At)
	}
	return all
}

func listsDates(r *reruner) {
	name := r.daily("dates")
	for _, tc := range []struct {
		from, to time.Time
		want     []time.Time
	}{
		{ago(4), ago(2), []time.Time{ago(4), ago(3)}},
		{ago(4).Add(time.Millisecond), ago(2).Add(time.Millisecond), []time.Time{ago(3), ago(2)}},
		{ago(4).Add(time.Second), ago(3), nil},
	} {
		if got := r.dates(name, tc.from, tc.to); !slices.Equal(got, tc.want) {
			r.Errorf("from %s to %s it has the dates %v, want %v", tc.from, tc.to, got, tc.want)
		}
	}
}

func boundsDates(r *reruner) {
	name := r.daily("bounded")
	if _, err := r.one.Dates(r.Context(), name, ago(9), ago(1), 7); !errors.Is(err, pipeline.ErrManyDates) {
		r.Errorf("of eight dates, and seven at most: %v, want ErrManyDates", err)
	}
	if all, err := r.one.Dates(r.Context(), name, ago(9), ago(1), 8); err != nil || len(all) != 8 {
		r.Errorf("of eight dates, and eight at most: %v, %v", all, err)
	}
}

func listsByHand(r *reruner) {
	name := r.daily("by-hand")
	begun := time.Now()
	run := r.Begin(r.TB, name)
	defer r.End(r.TB, run)
	r.within(func() string {
		all, err := r.one.Dates(r.Context(), name, begun.Add(-time.Hour), time.Now().Add(time.Hour), 10)
		if err != nil {
			r.Fatal(err)
		}
		all = slices.DeleteFunc(all, func(d pipeline.Date) bool { return !d.Off })
		if len(all) != 1 || len(all[0].Runs) != 1 || all[0].Runs[0].End != pipeline.GoesOn {
			return fmt.Sprintf("beside its calendar it has %v, and one run was begun by hand", all)
		}
		return ""
	})
}

func runsOnce(r *reruner) {
	name := r.daily("once")
	before := time.Now().Add(-time.Minute)
	got := r.run(name, ago(3))
	if got.End != pipeline.GoesOn || got.Begun.Before(before) || got.Begun.Location() != time.UTC {
		r.Errorf("the run that just began is %+v", got)
	}
	r.end(name, ago(3), true)
	for days := 1; days < 6; days++ {
		if runs := r.date(name, ago(days)).Runs; (days == 3) != (len(runs) == 1) || len(runs) > 1 {
			r.Errorf("the date of %d days ago has the runs %v", days, runs)
		}
	}
	r.within(func() string {
		if b := r.busy(name); !b.Idle() {
			return fmt.Sprintf("it ended, and the pipeline is busy with %v", b)
		}
		return ""
	})
}

func tellsEnds(r *reruner) {
	name := r.daily("ends")
	for days, want := range []pipeline.End{pipeline.EndedWell, pipeline.EndedBadly} {
		r.run(name, ago(days+1))
		r.end(name, ago(days+1), want == pipeline.EndedWell)
		if runs := r.date(name, ago(days+1)).Runs; len(runs) != 1 || runs[0].End != want || runs[0].Says == "" {
			r.Errorf("a run that ended %s is %+v", want, runs)
		}
	}
}

func asksTwice(r *reruner) {
	name := r.daily("twice")
	seen := r.date(name, ago(2))
	for n := range 3 {
		if err := r.one.Rerun(r.Context(), name, seen); err != nil {
			r.Fatalf("Rerun, the %d. time: %v", n+1, err)
		}
		if runs := r.date(name, ago(2)).Runs; len(runs) != 1 {
			r.Fatalf("asked %d times it has the runs %v", n+1, runs)
		}
		if n == 1 {
			r.end(name, ago(2), true)
		}
	}
}

func twoAsk(r *reruner) {
	name := r.daily("two")
	seen := r.date(name, ago(2))
	var errs [2]error
	var g sync.WaitGroup
	for i, by := range []pipeline.Rerunner{r.one, r.other} {
		g.Go(func() { errs[i] = by.Rerun(r.Context(), name, seen) })
	}
	g.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, pipeline.ErrBusy) {
			r.Errorf("one of two got %v", err)
		}
	}
	r.end(name, ago(2), true)
	other := r.run(name, ago(4)) // after what may still be under way
	if runs := r.date(name, ago(2)).Runs; len(runs) != 1 || runs[0].ID == other.ID {
		r.Errorf("two asked for it, and it has the runs %v", runs)
	}
}

func staysPaused(r *reruner) {
	name := r.daily("paused")
	rest := r.Rest(r.TB, name)
	r.run(name, ago(2))
	r.is(name, pipeline.Paused, "erin: not now")
	r.end(name, ago(2), false)
	r.is(name, pipeline.Paused, "erin: not now")
	if now := r.Rest(r.TB, name); now != rest {
		r.Errorf("after a rerun, the pipeline is\n%s\nand was\n%s", now, rest)
	}
}

func waitsForOthers(r *reruner) {
	name := r.daily("beside")
	run := r.Begin(r.TB, name)
	seen := r.date(name, ago(2))
	if err := r.one.Rerun(r.Context(), name, seen); !errors.Is(err, pipeline.ErrBusy) {
		r.Errorf("Rerun beside %s = %v, want ErrBusy", run, err)
	}
	r.End(r.TB, run)
	r.within(func() string {
		if b := r.busy(name); !b.Idle() {
			return fmt.Sprintf("the other run ended, and the pipeline is busy with %v", b)
		}
		return ""
	})
	if runs := r.date(name, ago(2)).Runs; len(runs) > 0 {
		r.Errorf("it was refused, and began later: %v", runs)
	}
	r.run(name, ago(2))
}

func runsAgain(r *reruner) {
	name := r.daily("again")
	for _, well := range []bool{false, true, true} {
		r.run(name, ago(2))
		r.end(name, ago(2), well)
	}
	var ends []pipeline.End
	for _, run := range r.date(name, ago(2)).Runs {
		ends = append(ends, run.End)
	}
	if want := []pipeline.End{pipeline.EndedBadly, pipeline.EndedWell, pipeline.EndedWell}; !slices.Equal(ends, want) {
		r.Errorf("its runs ended %v, want %v", ends, want)
	}
}

func noSuchDate(r *reruner) {
	name := r.daily("no-date")
	off := r.date(name, ago(2).Add(time.Minute))
	if !off.Off || len(off.Runs) > 0 {
		r.Errorf("a time that the calendar lacks is %+v", off)
	}
	if err := r.one.Rerun(r.Context(), name, off); !errors.Is(err, fs.ErrNotExist) {
		r.Errorf("Rerun of a time that the calendar lacks = %v, want fs.ErrNotExist", err)
	}
	gone := r.name("no-pipeline")
	if _, err := r.one.Dates(r.Context(), gone, ago(3), ago(1), 10); !errors.Is(err, fs.ErrNotExist) {
		r.Errorf("Dates of no pipeline = %v, want fs.ErrNotExist", err)
	}
	if _, err := r.one.Date(r.Context(), gone, ago(2)); !errors.Is(err, fs.ErrNotExist) {
		r.Errorf("Date of no pipeline = %v, want fs.ErrNotExist", err)
	}
	if err := r.one.Rerun(r.Context(), gone, pipeline.Date{At: ago(2)}); !errors.Is(err, fs.ErrNotExist) {
		r.Errorf("Rerun of no pipeline = %v, want fs.ErrNotExist", err)
	}
}

func noAnswerToReruns(r *reruner) {
	name := r.daily("silent")
	for doing, ask := range map[string]func(context.Context) error{
		"Dates": func(ctx context.Context) error {
			_, err := r.away.Dates(ctx, name, ago(3), ago(1), 10)
			return err
		},
		"Date":  func(ctx context.Context) error { _, err := r.away.Date(ctx, name, ago(2)); return err },
		"Rerun": func(ctx context.Context) error { return r.away.Rerun(ctx, name, pipeline.Date{At: ago(2)}) },
	} {
		if err := ask(r.Context()); !reach.Unreachable(err) || errors.Is(err, fs.ErrNotExist) {
			r.Errorf("%s of an orchestrator that does not answer = %v, want reach.ErrUnreachable", doing, err)
		}
	}
}
