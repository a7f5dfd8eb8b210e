package storage

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/rewind"
	"breakwater/internal/table"
	"breakwater/internal/table/location"
)

func sortLines(lines []rewind.Line) {
	slices.SortFunc(lines, func(a, b rewind.Line) int { return cmp.Compare(a.Key, b.Key) })
}

// revived is a bucket in which a table's log is as if nothing of it had been
// deleted: a deleted log object reads as its newest version. Whatever lies
// elsewhere is as it is.
type revived struct {
	location.Bucket
	logDir string
	newest map[string]objectstore.Object // of the log: by key, with version ids

	mu      sync.Mutex
	readers map[string]*objectstore.File
}

var _ table.Store = (*revived)(nil)

// revive lists the versions of the log.
func revive(ctx context.Context, t lake.Table) (*revived, error) {
	r := &revived{Bucket: location.Bucket{Of: t.Bucket}, logDir: t.LogDir(), newest: map[string]objectstore.Object{}, readers: map[string]*objectstore.File{}}
	for v, err := range t.Bucket.ListVersions(ctx, r.logDir) {
		if err != nil {
			return nil, err
		}
		if _, ok := r.newest[v.Key]; !ok && !v.DeleteMarker {
			r.newest[v.Key] = v.Object
		}
	}
	return r, nil
}

// List yields the log as if nothing had been deleted.
func (r *revived) List(ctx context.Context, prefix string) iter.Seq2[table.Object, error] {
	if !strings.HasPrefix(prefix, r.logDir) {
		return r.Bucket.List(ctx, prefix)
	}
	return func(yield func(table.Object, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(r.newest)) {
			o := r.newest[key]
			if strings.HasPrefix(key, prefix) && !yield(table.Object{Key: key, Size: o.Size, Modified: o.LastModified, ETag: o.ETag, VersionID: o.VersionID}, nil) {
				return
			}
		}
	}
}

// Get reads an object whole.
func (r *revived) Get(ctx context.Context, key string) ([]byte, error) {
	o, ok := r.newest[key]
	if !ok {
		return r.Bucket.Get(ctx, key)
	}
	return r.GetVersion(ctx, key, o.VersionID)
}

// ReadAt reads a part of an object.
func (r *revived) ReadAt(ctx context.Context, key string, p []byte, off int64) (int, error) {
	o, ok := r.newest[key]
	if !ok {
		return r.Bucket.ReadAt(ctx, key, p, off)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.readers[key] == nil {
		reader, err := r.Of.ReaderAt(ctx, key, o.VersionID)
		if err != nil {
			return 0, err
		}
		r.readers[key] = reader
	}
	return r.readers[key].ReadAt(p, off)
}

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
	store, err := revive(ctx, t)
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
