package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/pipeline"
	"breakwater/internal/plural"
	"breakwater/internal/poll"
	"breakwater/internal/query"
)

// begun is what an attempt keeps before it runs a date, for one after it: who died there
// must not run a date again that failed meanwhile, as nobody was asked.
type begun struct {
	Schedule string    `json:"schedule"`
	At       time.Time `json:"at"`
	Seen     []string  `json:"seen"`   // the runs of the date, before
	Passed   []string  `json:"passed"` // the quality queries that passed, before
}

// replaying is one Apply.
type replaying struct {
	room
	c     replayCall
	again pipeline.Rerunner
	p     replayed
	ran   int64
	of    int
	nth   int
	died  begun // where the attempt before was
}

// applyReplay runs every date of the plan that did not run yet since the rollback, one
// after the other, and ends at the first failure. What ran is the orchestrator's own
// record, so that Apply again goes on where it stopped.
func (r room) applyReplay(ctx context.Context, c replayCall) (action.Outcome, error) {
	plan, err := action.Decode[replayPlan](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	a := replaying{room: r, c: c}
	if len(c.Resume) > 0 && json.Unmarshal(c.Resume, &a.died) != nil {
		a.died = begun{} // what cannot be read is as if there were none
	}
	for _, p := range plan.Pipelines {
		a.of += len(p.Dates)
	}
	for _, p := range plan.Pipelines {
		a.p = p
		if a.again, err = r.rerunner(ctx, c, p.scheduled); err != nil {
			break
		}
		if err = a.pipeline(ctx); err != nil {
			break
		}
	}
	return action.Outcome{Summary: fmt.Sprintf("ran %d of %s again", a.ran, plural.Of(a.of, "date")), Mutations: a.ran}, err
}

func (a *replaying) pipeline(ctx context.Context) error {
	for _, at := range a.p.Dates {
		a.nth++
		if err := a.date(ctx, at); err != nil {
			return err
		}
	}
	return nil
}

// date runs one date, unless it ran already.
func (a *replaying) date(ctx context.Context, at time.Time) error {
	deadline, cancel := context.WithTimeoutCause(ctx, a.c.With.within(), fmt.Errorf("it took longer than %s: see to it, and retry, or give more by within", a.c.With.within()))
	defer cancel()
	d, err := a.settled(deadline, at)
	if err != nil {
		return err
	}
	_, since := d.Before(a.p.Since)
	mine := a.died.Schedule == a.p.Schedule && a.died.At.Equal(at)
	if well, _ := ended(since); well > 0 {
		if mine { // the attempt before died while it ran
			return a.holds(ctx, at, a.died.Passed)
		}
		return nil
	}
	if n := len(since); n > 0 && mine && !slices.Contains(a.died.Seen, since[n-1].ID) {
		return a.failed(at, since[n-1])
	}
	passed, err := a.passing(ctx)
	if err != nil {
		return err
	}
	if d, err = a.begin(deadline, at, d, passed); err != nil {
		return err
	}
	_, since = d.Before(a.p.Since)
	if well, _ := ended(since); well == 0 && len(since) > 0 {
		return a.failed(at, since[len(since)-1])
	}
	return a.holds(ctx, at, passed)
}

func (a *replaying) failed(at time.Time, run pipeline.DateRun) error {
	return fmt.Errorf("%w: %s %s; look why, and retry: it goes on with this date, and with nothing before it", action.ErrRefused, a.p.dated(at), run.Says)
}

// begin runs a date and waits until that has ended. Where another run of the pipeline goes
// on, it waits for that first.
func (a *replaying) begin(ctx context.Context, at time.Time, d pipeline.Date, passed []string) (pipeline.Date, error) {
	kept := begun{Schedule: a.p.Schedule, At: at, Passed: passed}
	for _, r := range d.Runs {
		kept.Seen = append(kept.Seen, r.ID)
	}
	for {
		if err := a.stillPaused(ctx); err != nil {
			return d, err
		}
		if err := a.c.Guard(ctx); err != nil {
			return d, err
		}
		if a.c.Save != nil {
			a.c.Save(kept)
		}
		err := a.again.Rerun(ctx, a.p.Schedule, d)
		switch {
		case err == nil:
			a.ran++
			return a.settled(ctx, at)
		case !errors.Is(err, pipeline.ErrBusy):
			return d, err
		}
		a.c.Progress(int64(a.nth-1), int64(a.of), a.p.dated(at)+" waits: "+err.Error())
		if poll.Wait(ctx, time.Second) != nil {
			return d, fmt.Errorf("%s: wait for another run: %w", a.p.dated(at), context.Cause(ctx))
		}
	}
}

// settled waits until no run of a date goes on that began since the rollback, whoever began
// it, and gives the date.
func (a *replaying) settled(ctx context.Context, at time.Time) (pipeline.Date, error) {
	for {
		d, err := a.again.Date(ctx, a.p.Schedule, at)
		if err != nil {
			return d, err
		}
		if _, since := d.Before(a.p.Since); len(since) == 0 || since[len(since)-1].End != pipeline.GoesOn {
			return d, nil
		}
		a.c.Progress(int64(a.nth-1), int64(a.of), a.p.dated(at)+" runs")
		if poll.Wait(ctx, time.Second) != nil {
			return d, fmt.Errorf("%s: wait for its end: %w", a.p.dated(at), context.Cause(ctx))
		}
	}
}

// stillPaused holds that nobody resumed the pipeline, whose own runs would come between.
func (a *replaying) stillPaused(ctx context.Context) error {
	now, err := a.describe(ctx, plain(a.c), a.p.scheduled)
	if err != nil {
		return err
	}
	if now.State != pipeline.Paused {
		return fmt.Errorf("%w: %s is %s, and was paused: its own runs would come between; pause it, and plan again", action.ErrMoved, a.p.scheduled, now.State)
	}
	return nil
}

// passing are the quality queries of what a pipeline writes that pass now. What they find
// before a date ran is not that date's doing.
func (a *replaying) passing(ctx context.Context) (names []string, err error) {
	err = a.asks(ctx, func(name string, rows []string) {
		if len(rows) == 0 {
			names = append(names, name)
		}
	})
	return names, err
}

// holds ends the replay where a date left rows that must not be, by a query that passed
// before.
func (a *replaying) holds(ctx context.Context, at time.Time, passed []string) error {
	var broken []string
	err := a.asks(ctx, func(name string, rows []string) {
		if len(rows) > 0 && slices.Contains(passed, name) {
			broken = append(broken, fmt.Sprintf("%s finds %s", name, plural.Of(len(rows), "row")))
		}
	})
	if err == nil && len(broken) > 0 {
		err = fmt.Errorf("%w: %s ended well, and after it %s, where it found none before: correct the pipeline, and roll back again what it wrote", action.ErrRefused, a.p.dated(at), strings.Join(broken, ", "))
	}
	return err
}

// asks asks each quality query of what a pipeline writes.
func (a *replaying) asks(ctx context.Context, found func(name string, rows []string)) error {
	for _, name := range a.p.Tables {
		for _, q := range lake.Quality(a.c.Estate, name) {
			label := qualityOf(name, q.Query)
			t, err := a.lake.Table(ctx, a.c.Estate, a.p.Region, name)
			if err != nil {
				return err
			}
			rows, err := a.lake.AskQuality(ctx, a.QueryEngine(), a.c.Estate, t, q)
			if errors.Is(err, query.ErrRows) {
				rows, err = []string{"too many"}, nil
			}
			if err != nil {
				return fmt.Errorf("%s: %w", label, err)
			}
			found(label, rows)
		}
	}
	return nil
}

func qualityOf(table, query string) string {
	return fmt.Sprintf("quality query %q of table %s", query, table)
}
