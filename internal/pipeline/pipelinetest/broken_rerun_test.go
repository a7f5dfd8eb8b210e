package pipelinetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"breakwater/internal/pipeline"
	"breakwater/internal/promise"
)

func TestMemoryReruns(t *testing.T) {
	m := &Memory{}
	RunReruns(t, m.Reruns(m))
}

func TestBrokenReruns(t *testing.T) {
	var all []promise.Broken[Reruns]
	broken := func(name, breaks string, wrap func(*Memory) pipeline.Connector) {
		all = append(all, promise.Broken[Reruns]{Name: name, Breaks: breaks, Target: func(testing.TB) Reruns {
			m := &Memory{}
			target := m.Reruns(wrap(m))
			target.Other = wrap(m)
			target.Away, target.Patience = wrap(&Memory{Down: true}), 100*time.Millisecond
			return target
		}})
	}
	broken("the end belongs to the dates", "lists the dates of a calendar", func(m *Memory) pipeline.Connector { return inclusive{m} })
	broken("dates beyond the bound are dropped", "lists no more dates than were asked for", func(m *Memory) pipeline.Connector { return cuts{m} })
	broken("only the calendar has dates", "lists what ran by hand", func(m *Memory) pipeline.Connector { return calendarOnly{m} })
	broken("a rerun runs the day before, too", "runs one date once", func(m *Memory) pipeline.Connector { return widens{m} })
	broken("whatever ended ended well", "tells how a run ended", func(m *Memory) pipeline.Connector { return optimist{m} })
	broken("each call begins a run", "runs a date once however often it is asked to", func(m *Memory) pipeline.Connector { return forgets{m} })
	broken("each of two begins a run", "runs a date once for two who ask", func(m *Memory) pipeline.Connector { return forgets{m} })
	broken("a rerun resumes", "runs what is paused, and leaves it so", func(m *Memory) pipeline.Connector { return resumes{m} })
	broken("a rerun waits in the queue", "begins nothing beside another run", func(m *Memory) pipeline.Connector { return queues{m} })
	broken("what ran once never runs again", "runs a date again that was seen to end", func(m *Memory) pipeline.Connector { return onceForAll{m} })
	broken("any time can be run", "runs no date that the calendar lacks", func(m *Memory) pipeline.Connector { return anyTime{m} })
	broken("silence is taken for no dates", "says that no answer came to a rerun", func(m *Memory) pipeline.Connector { return noDates{m} })
	reruns.Honest(t, all)
}

// inclusive lists the date at the end.
type inclusive struct{ *Memory }

func (b inclusive) Dates(ctx context.Context, name string, from, to time.Time, most int) ([]pipeline.Date, error) {
	return b.Memory.Dates(ctx, name, from, to.Add(time.Nanosecond), most)
}

// cuts lists as many as were asked for, and says nothing of the others.
type cuts struct{ *Memory }

func (b cuts) Dates(ctx context.Context, name string, from, to time.Time, most int) ([]pipeline.Date, error) {
	all, err := b.Memory.Dates(ctx, name, from, to, 1000)
	if len(all) > most {
		all = all[:most]
	}
	return all, err
}

// calendarOnly knows no run but those of its calendar.
type calendarOnly struct{ *Memory }

func (b calendarOnly) Dates(ctx context.Context, name string, from, to time.Time, most int) (some []pipeline.Date, err error) {
	all, err := b.Memory.Dates(ctx, name, from, to, most)
	for _, d := range all {
		if !d.Off {
			some = append(some, d)
		}
	}
	return some, err
}

// widens backfills more than it was asked for.
type widens struct{ *Memory }

func (b widens) Rerun(ctx context.Context, name string, seen pipeline.Date) error {
	err := b.Memory.Rerun(ctx, name, seen)
	if err == nil {
		err = b.use(name, func(j *job) { j.beginFor(name, seen.At.AddDate(0, 0, -1)) })
	}
	return err
}

// optimist does not tell failures.
type optimist struct{ *Memory }

func (b optimist) Date(ctx context.Context, name string, at time.Time) (pipeline.Date, error) {
	d, err := b.Memory.Date(ctx, name, at)
	for i := range d.Runs {
		if d.Runs[i].End == pipeline.EndedBadly {
			d.Runs[i].End = pipeline.EndedWell
		}
	}
	return d, err
}

// forgets begins a run whatever there is.
type forgets struct{ *Memory }

func (b forgets) Rerun(ctx context.Context, name string, seen pipeline.Date) error {
	if now, err := b.Date(ctx, name, seen.At); err != nil || now.Off {
		return b.Memory.Rerun(ctx, name, seen)
	}
	return b.use(name, func(j *job) { j.beginFor(name, seen.At) })
}

// resumes does not leave a pause alone.
type resumes struct{ *Memory }

func (b resumes) Rerun(ctx context.Context, name string, seen pipeline.Date) error {
	return errors.Join(b.Memory.Rerun(ctx, name, seen), b.use(name, func(j *job) { j.State = pipeline.Running }))
}

// queues lets a rerun wait.
type queues struct{ *Memory }

func (b queues) Rerun(ctx context.Context, name string, seen pipeline.Date) error {
	err := b.Memory.Rerun(ctx, name, seen)
	if errors.Is(err, pipeline.ErrBusy) {
		return b.Queue(name)
	}
	return err
}

// onceForAll takes a date that ran for one that needs nothing.
type onceForAll struct{ *Memory }

func (b onceForAll) Rerun(ctx context.Context, name string, seen pipeline.Date) error {
	if len(seen.Runs) > 0 {
		return nil
	}
	return b.Memory.Rerun(ctx, name, seen)
}

// anyTime has every time in its calendar.
type anyTime struct{ *Memory }

func (b anyTime) Date(ctx context.Context, name string, at time.Time) (pipeline.Date, error) {
	d, err := b.Memory.Date(ctx, name, at)
	d.Off = false
	return d, err
}

// noDates finds no date where nothing answers.
type noDates struct{ *Memory }

func (b noDates) Dates(ctx context.Context, name string, from, to time.Time, most int) ([]pipeline.Date, error) {
	all, err := b.Memory.Dates(ctx, name, from, to, most)
	if b.Down {
		err = nil
	}
	return all, err
}
