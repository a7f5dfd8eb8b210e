package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Rerunner is the ability of a connector to run a pipeline again for dates that have
// been. Callers ask for it by [RerunnerOf]; package pipelinetest holds it against an
// implementation by RunReruns.
//
// A date is the time for which a pipeline runs, whenever it does: the one in its
// calendar, or that of a run by hand. Runs of a date are told by the orchestrator's own
// record, whoever began them.
type Rerunner interface {
	// Dates lists the dates of a pipeline, in order: those of its calendar in [from, to),
	// and all others for which a run went on at some moment of that time. More than most
	// are [ErrManyDates]. A plan calls it once.
	Dates(ctx context.Context, name string, from, to time.Time, most int) ([]Date, error)
	// Date looks at one date. It has what ran of it, also a run that began just before. It
	// is called about once a second while a run goes on.
	Date(ctx context.Context, name string, at time.Time) (Date, error)
	// Rerun begins one run of a date, paused or not, if the date is as seen: where it has a
	// run that is not in seen, it begins none and returns nil. So the same call again, by
	// whomever, begins no second run, also while nobody knows whether the first one came
	// through. It begins nothing beside another run of the pipeline, and queues nothing:
	// then its error has [ErrBusy]. fs.ErrNotExist is in the chain where the calendar does
	// not have the date. It changes nothing else of the pipeline.
	//
	// When it returns without an error, Date shows the run. After any other error than
	// those, it may begin later: look at the date before the next attempt.
	Rerun(ctx context.Context, name string, seen Date) error
}

// RerunnerOf asks a connector for the ability to run dates again. errors.ErrUnsupported
// is in the chain where it does not have it.
func RerunnerOf(c Connector) (Rerunner, error) {
	if r, ok := c.(Rerunner); ok {
		return r, nil
	}
	return nil, fmt.Errorf("its connector cannot run dates again: %w", errors.ErrUnsupported)
}

// Date is a time for which a pipeline runs, with what ran of it.
type Date struct {
	At   time.Time // in UTC
	Runs []DateRun // that the orchestrator has on record, the oldest first
	// Kept says that the orchestrator would still have any run of it on record.
	Kept bool
	// Off says that the calendar does not have the date: it ran by hand, or by a calendar
	// before, and cannot be run again.
	Off bool
}

// DateRun is a run of a date: one that was repeated by itself is one.
type DateRun struct {
	ID    string    // of its own; the same as long as it is on record
	Begun time.Time // in UTC
	End   End
	Took  time.Duration // until its end; 0 while it goes on
	Says  string        // the state in the orchestrator's word
}

// End is how a run came to its end.
type End string

// The ends. The zero value is none: the run goes on.
const (
	GoesOn     End = ""
	EndedWell  End = "well"
	EndedBadly End = "badly"
)

// ErrManyDates says that there are more dates than were asked for at most.
var ErrManyDates = errors.New("too many dates")

// ErrBusy says that another run of the pipeline goes on, or waits.
var ErrBusy = errors.New("another run of the pipeline goes on")

// Before are the runs of a date that began before a moment, and since those that did not.
func (d Date) Before(moment time.Time) (before, since []DateRun) {
	for _, r := range d.Runs {
		if r.Begun.Before(moment) {
			before = append(before, r)
		} else {
			since = append(since, r)
		}
	}
	return before, since
}

// Has reports whether a run of that id is among those of the date.
func (d Date) Has(id string) bool {
	for _, r := range d.Runs {
		if r.ID == id {
			return true
		}
	}
	return false
}

// New reports whether the date has a run that is not in seen.
func (d Date) New(seen Date) bool {
	for _, r := range d.Runs {
		if !seen.Has(r.ID) {
			return true
		}
	}
	return false
}
