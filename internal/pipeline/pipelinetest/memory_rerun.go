package pipelinetest

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"time"

	"breakwater/internal/pipeline"
)

var _ pipeline.Rerunner = (*Memory)(nil)

// ran is a run of a pipeline of [Memory], with the date for which it runs.
type ran struct {
	pipeline.DateRun
	at time.Time
}

func (j *job) acts(at time.Time) bool {
	return j.Daily && at.Equal(time.Date(at.Year(), at.Month(), at.Day(), Daily, 0, 0, 0, time.UTC))
}

func (j *job) date(at time.Time) pipeline.Date {
	d := pipeline.Date{At: at.UTC(), Kept: true, Off: !j.acts(at.UTC())}
	for _, r := range j.record {
		if r.at.Equal(at) {
			d.Runs = append(d.Runs, r.DateRun)
		}
	}
	return d
}

// Dates lists the dates of a pipeline.
func (m *Memory) Dates(_ context.Context, name string, from, to time.Time, most int) (all []pipeline.Date, err error) {
	err = m.use(name, func(j *job) {
		var times []time.Time
		for at := from.UTC().Truncate(24 * time.Hour).Add(Daily * time.Hour); j.Daily && at.Before(to); at = at.AddDate(0, 0, 1) {
			if !at.Before(from) {
				times = append(times, at)
			}
		}
		for _, r := range j.record {
			ended := r.End != pipeline.GoesOn && r.Begun.Before(from) // it ends when it began, in memory
			if r.Begun.Before(to) && !ended && !slices.ContainsFunc(times, r.at.Equal) {
				times = append(times, r.at)
			}
		}
		slices.SortFunc(times, time.Time.Compare)
		for _, at := range times {
			all = append(all, j.date(at))
		}
	})
	if err == nil && len(all) > most {
		return nil, fmt.Errorf("pipeline %s: %w: more than %d", name, pipeline.ErrManyDates, most)
	}
	return all, err
}

// Date looks at one date.
func (m *Memory) Date(_ context.Context, name string, at time.Time) (d pipeline.Date, err error) {
	err = m.use(name, func(j *job) { d = j.date(at) })
	return d, err
}

// Rerun begins a run of a date.
func (m *Memory) Rerun(_ context.Context, name string, seen pipeline.Date) error {
	var refused error
	err := m.use(name, func(j *job) {
		now := j.date(seen.At)
		switch {
		case now.Off:
			refused = fmt.Errorf("pipeline %s has no date %s: %w", name, seen.At, fs.ErrNotExist)
		case now.New(seen):
		case len(j.runs) > 0 || j.queued > 0:
			refused = fmt.Errorf("pipeline %s: %w", name, pipeline.ErrBusy)
		default:
			j.beginFor(name, seen.At)
		}
	})
	if err != nil {
		return err
	}
	return refused
}

// Ran puts a run of a date on record, that ended.
func (m *Memory) Ran(name string, at, begun time.Time, end pipeline.End) error {
	return m.use(name, func(j *job) {
		j.begun++
		j.record = append(j.record, ran{pipeline.DateRun{ID: fmt.Sprintf("%s/%d", name, j.begun), Begun: begun.UTC(), End: end, Says: string(end)}, at})
	})
}

// Finish ends a run well or badly.
func (m *Memory) Finish(run string, well bool) {
	m.mu.Lock()
	for _, j := range m.all {
		for i := range j.record {
			if j.record[i].ID != run {
				continue
			}
			if j.record[i].End = pipeline.EndedBadly; well {
				j.record[i].End = pipeline.EndedWell
			}
			j.record[i].Says = string(j.record[i].End)
		}
	}
	m.mu.Unlock()
	m.End(run)
}

// Reruns is the orchestrator for the suite of reruns, through a connector to it.
func (m *Memory) Reruns(c pipeline.Connector) Reruns {
	return Reruns{Target: m.Target(c), Finish: func(_ testing.TB, _ string, _ time.Time, run string, well bool) { m.Finish(run, well) }}
}
