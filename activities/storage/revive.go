package storage

import (
	"context"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/table"
)

// reading is a log, as it is and as if nothing of it had been deleted.
type reading struct {
	now table.Table // nil where there is none
	all table.Table
}

// revivedLog finds the version that is asked for, or the newest one: the head of
// the log as it is, if that can be read or could be with its deleted parts, and
// the head of the deleted log only where nothing else is left. What was deleted
// above a head may have been moved aside on purpose.
func revivedLog(ctx context.Context, t lake.Table, with undeleteParams) (reading, table.Snapshot, error) {
	store, err := t.Revived(ctx)
	if err != nil {
		return reading{}, nil, err
	}
	r := reading{}
	if r.all, err = t.Format.Open(ctx, store, t.Root); err != nil {
		return r, nil, fmt.Errorf("%w: no version of its log is left: %w", action.ErrRefused, err)
	}
	switch now, err := t.Open(ctx); {
	case err == nil:
		r.now = now
	case !absent(err) || !lake.Answered(err):
		return r, nil, err
	}
	v := r.all.Extent().Head
	switch {
	case with.Version != nil:
		v = *with.Version
	case with.ToTime != nil:
		if v, err = r.versionAt(ctx, *with.ToTime); err != nil {
			return r, nil, err
		}
	case r.now != nil:
		v = r.now.Extent().Head
	}
	snap, err := r.all.Snapshot(ctx, v)
	if absent(err) && lake.Answered(err) {
		return r, nil, fmt.Errorf("%w: version %d cannot be read even with everything undeleted: %w", action.ErrRefused, v, err)
	}
	return r, snap, err
}

// versionAt is the last version committed at or before a moment: of the log as it is,
// which is what a rollback will go by, or where there is none, of the deleted one.
func (r reading) versionAt(ctx context.Context, at time.Time) (int64, error) {
	l := r.now
	if l == nil {
		l = r.all
	}
	times, err := l.Times(ctx)
	if err != nil {
		return 0, err
	}
	v, err := times.At(at)
	if err != nil {
		err = fmt.Errorf("%w: %w", action.ErrRefused, err)
	}
	return v.Number, err
}

// accepts is what the end of the log asks people to accept.
func (r reading) accepts(ctx context.Context, version int64, chosen bool) ([]action.Acceptance, error) {
	var all []action.Acceptance
	if above := r.all.Extent().Head; !chosen && above > version {
		all = append(all, action.Acceptance{ID: "later-versions-deleted", Sentence: fmt.Sprintf(
			"Log entries up to version %d are deleted and stay so: version %d is the newest of the log as it is. To bring back a later one, give the step its version.", above, version)})
	}
	began := int64(-1)
	for c, err := range r.all.History(ctx, max(0, r.all.Extent().Head-50)) {
		if err != nil {
			if absent(err) {
				break
			}
			return nil, err
		}
		switch c.Cleanup {
		case table.CleanupBegan:
			began = c.Version.Number
		case table.CleanupEnded:
			began = -1
		}
	}
	if began >= 0 {
		all = append(all, action.Acceptance{ID: "vacuum-under-way", Sentence: fmt.Sprintf(
			"Version %d of the log says that a VACUUM began, and none that it ended: it may delete again what comes back. Pause maintenance first.", began)})
	}
	return all, nil
}
