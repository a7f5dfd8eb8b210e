package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/objectstore"
	"breakwater/internal/rewind"

	"golang.org/x/sync/errgroup"
)

const (
	copiesAtOnce  = 32  // copies and questions under way
	deletesAtOnce = 4   // requests that each delete up to 1,000 keys
	guardEvery    = 500 // changes begun between two looks at the epoch
)

// changes are the lines of a plan over one bucket, and what there is to know to
// do them, however often.
type changes struct {
	to, from objectstore.Bucket
	fromKey  func(key string) string // in from, of a key in to
	// fromPrefix holds every key of from; for a from that is not to.
	fromPrefix string
	prefixes   []string      // that hold every key of to; sorted, none within another
	lines      []rewind.Line // sorted by key
	// at: every other key under the prefixes must be as at that time. Nil where
	// the other keys are nobody's business.
	at *time.Time
}

func sameKey(key string) string { return key }

// entries lists versions for package rewind.
func entries(ctx context.Context, b objectstore.Bucket, prefixes ...string) iter.Seq2[rewind.Entry, error] {
	return func(yield func(rewind.Entry, error) bool) {
		for _, p := range prefixes {
			for v, err := range b.ListVersions(ctx, p) {
				if !yield(rewind.Entry{
					Key: v.Key, Modified: v.LastModified, Latest: v.Latest,
					Version: rewind.Version{ID: v.VersionID, ETag: v.ETag, Size: v.Size, Class: v.StorageClass, Marker: v.DeleteMarker},
				}, err) {
					return
				}
			}
		}
	}
}

// found is a key that a listing showed, beside its line.
type found struct {
	line    rewind.Line // zero for a key without one
	now     rewind.Version
	then    rewind.Version // as at the time; for a key without a line
	watched bool           // the version to come back is there
}

// look lists once and says which lines are left to do, sorted by key. Nothing is
// changed: a key that is neither as planned nor as wanted is ErrMoved.
func (c *changes) look(ctx context.Context) ([]rewind.Line, error) {
	open, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.watchElsewhere(ctx, open); err != nil {
		return nil, err
	}
	return c.judge(ctx, open)
}

// open puts a listing beside the lines, and gives every key that there is
// something to decide about.
func (c *changes) open(ctx context.Context) ([]found, error) {
	var open []found
	lines := c.lines
	i := 0
	watch := func(key string) string {
		for i < len(lines) && lines[i].Key < key {
			open = append(open, found{line: lines[i]})
			i++
		}
		if i < len(lines) && lines[i].Key == key {
			return lines[i].Then.ID
		}
		return ""
	}
	var at time.Time
	if c.at != nil {
		at = *c.at
	}
	for h, err := range rewind.Histories(entries(ctx, c.to, c.prefixes...), at, watch) {
		if err != nil {
			return nil, err
		}
		switch {
		case i < len(lines) && lines[i].Key == h.Key:
			open = append(open, found{line: lines[i], now: h.Now, watched: h.Watched})
			i++
		case c.at != nil && !h.Now.Same(h.Then):
			open = append(open, found{line: rewind.Line{Key: h.Key}, now: h.Now, then: h.Then})
		}
	}
	for ; i < len(lines); i++ {
		open = append(open, found{line: lines[i]})
	}
	return open, nil
}

// watchElsewhere looks for the versions to come back where they are not those of
// the keys themselves.
func (c *changes) watchElsewhere(ctx context.Context, open []found) error {
	if len(open) == 0 || c.from.Name() == c.to.Name() && c.fromKey(open[0].line.Key) == open[0].line.Key {
		return nil
	}
	at := map[string]int{}
	for n, f := range open {
		at[c.fromKey(f.line.Key)] = n
	}
	for e, err := range entries(ctx, c.from, c.fromPrefix) {
		if err != nil {
			return err
		}
		if n, ok := at[e.Key]; ok && open[n].line.Then.ID == e.ID {
			open[n].watched = true
		}
	}
	return nil
}

// judge decides per key, asking objects where a listing does not tell.
func (c *changes) judge(ctx context.Context, open []found) ([]rewind.Line, error) {
	todo := make([]bool, len(open))
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(copiesAtOnce)
	for n, f := range open {
		if left, sure := settled(f); sure {
			todo[n] = left
			continue
		}
		work.Go(func() (err error) {
			todo[n], err = c.ask(wctx, f)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	var left []rewind.Line
	for n, f := range open {
		if !todo[n] {
			continue
		}
		if l := f.line; l.Do != rewind.Mark && !f.watched {
			return nil, c.moved(l.Key, "has lost version %s, which was to come back", l.Then.ID)
		}
		l := f.line
		l.Now = f.now // what the copy's condition is about
		left = append(left, l)
	}
	return left, nil
}

// settled says whether a line is left to do, where the listing alone tells.
func settled(f found) (left, sure bool) {
	l := f.line
	switch {
	case l.Do == rewind.None:
		return false, false
	case l.Do == rewind.Unmark && f.now.ID == l.Then.ID, l.Do != rewind.Unmark && f.now.Same(l.Then):
		return false, true
	case l.Do == rewind.Unmark:
		return true, f.now.Marker && slices.Contains(l.Markers, f.now.ID)
	}
	return true, f.now.ID == l.Now.ID || l.Now.ID == "" && !f.now.There() || l.Now.There() && f.now.Same(l.Now)
}

// ask settles what a listing does not: a copy may have another ETag than what it
// is of.
func (c *changes) ask(ctx context.Context, f found) (left bool, err error) {
	l := f.line
	if l.Do == rewind.None {
		is, err := c.isCopyOf(ctx, l.Key, f.now, c.to, l.Key, f.then)
		if err == nil && !is {
			err = c.moved(l.Key, "is not as it was planned to be left, with version %s", orNone(f.now))
		}
		return false, err
	}
	if l.Do == rewind.Copy {
		if is, err := c.isCopyOf(ctx, l.Key, f.now, c.from, c.fromKey(l.Key), l.Then); err != nil || is {
			return false, err
		}
	}
	if is, err := c.isCopyOf(ctx, l.Key, f.now, c.from, c.fromKey(l.Key), l.Now); err != nil || is {
		return true, err
	}
	return false, c.moved(l.Key, "has version %s, planned with %s", orNone(f.now), orNone(l.Now))
}

func orNone(v rewind.Version) string {
	switch {
	case v.ID == "":
		return "none"
	case v.Marker:
		return v.ID + " (a delete marker)"
	}
	return v.ID
}

// isCopyOf asks whether the current object is a copy of a version, by what it
// says of itself and by checksums.
func (c *changes) isCopyOf(ctx context.Context, key string, now rewind.Version, b objectstore.Bucket, ofKey string, of rewind.Version) (bool, error) {
	if !now.There() || !of.There() || now.Size != of.Size {
		return false, nil
	}
	d, err := c.to.Describe(ctx, key, now.ID)
	if gone(err) {
		return false, nil
	}
	if err != nil || d.CopyOf == objectstore.SourceName(of.ID, of.ETag) || len(d.Checksums) == 0 {
		return err == nil && d.CopyOf == objectstore.SourceName(of.ID, of.ETag), err
	}
	was, err := b.Describe(ctx, ofKey, of.ID)
	if gone(err) {
		return false, nil
	}
	same, _ := d.SameChecksum(was)
	return same, err
}

// gone reports whether the store says that the object or version is not there.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) && !errors.Is(err, objectstore.ErrNoBucket)
}

// moved is an error that says what is no longer as the plan saw it.
func (c *changes) moved(key, format string, args ...any) error {
	return fmt.Errorf("%s %s; plan again: %w", c.to.URL(key), fmt.Sprintf(format, args...), action.ErrMoved)
}

// doing is one Apply of changes.
type doing struct {
	*changes
	copier    objectstore.Copier
	guard     func(context.Context) error
	progress  func(done, total int64, sentence string)
	total     int64
	done      atomic.Int64
	mutations atomic.Int64
	// The epoch is looked at by one goroutine at a time.
	mu    sync.Mutex
	begun int
}

// apply looks, and then does what is left, phase by phase. It may be broken off
// and called again at any moment.
func (c *changes) apply(ctx context.Context, guard func(context.Context) error, progress func(done, total int64, sentence string)) (int64, error) {
	todo, err := c.look(ctx)
	if err != nil {
		return 0, err
	}
	copier, err := c.to.Copier()
	if err != nil {
		return 0, err
	}
	d := &doing{changes: c, copier: copier, guard: guard, progress: progress, total: int64(len(todo))}
	for p, lines := range rewind.Order(todo) {
		if err := d.phase(ctx, rewind.Phase(p), lines); err != nil {
			return d.mutations.Load(), err
		}
	}
	return d.mutations.Load(), nil
}

// phase does the lines of one phase: those that delete something in few requests,
// and the copies.
func (d *doing) phase(ctx context.Context, p rewind.Phase, lines []rewind.Line) error {
	var deletions []objectstore.Deletion
	var copies []rewind.Line
	for _, l := range lines {
		switch l.Do {
		case rewind.Copy:
			copies = append(copies, l)
		case rewind.Mark:
			deletions = append(deletions, objectstore.Deletion{Key: l.Key})
		case rewind.Unmark:
			for _, m := range l.Markers {
				deletions = append(deletions, objectstore.Deletion{Key: l.Key, VersionID: m})
			}
		}
	}
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(deletesAtOnce)
	for part := range slices.Chunk(deletions, objectstore.DeletionsAtMost) {
		if err := d.begin(wctx, guardEvery); err != nil {
			return errors.Join(err, work.Wait())
		}
		work.Go(func() error {
			n, err := d.to.DeleteMany(wctx, part)
			d.mutations.Add(int64(n))
			d.progress(d.done.Add(int64(n)), d.total, "hiding and unhiding objects")
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	return d.copies(ctx, p, copies)
}

// begin looks at the epoch before changes are begun, once per so many of them.
func (d *doing) begin(ctx context.Context, n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if d.begun%guardEvery == 0 || n >= guardEvery {
		if err := d.guard(ctx); err != nil {
			return err
		}
	}
	d.begun += n
	return nil
}

func (d *doing) copies(ctx context.Context, p rewind.Phase, lines []rewind.Line) error {
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(copiesAtOnce)
	begin := func() error { return d.begin(wctx, 1) }
	if p.InOrder() { // of each folder, one after the other
		folders := map[string][]rewind.Line{}
		for _, l := range lines {
			folders[path.Dir(l.Key)] = append(folders[path.Dir(l.Key)], l)
		}
		for _, of := range folders {
			work.Go(func() error {
				for _, l := range of {
					if err := begin(); err != nil {
						return err
					}
					if err := d.copyOver(wctx, l); err != nil {
						return err
					}
				}
				return nil
			})
		}
		return work.Wait()
	}
	for _, l := range lines {
		if err := begin(); err != nil {
			// What a copy under way says comes first: its failure ended the context.
			return firstOf(work.Wait(), err)
		}
		work.Go(func() error { return d.copyOver(wctx, l) })
	}
	return work.Wait()
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// copyOver puts one version over its key. A refused condition may be our own
// copy, of which the answer was lost: then the line is done.
func (d *doing) copyOver(ctx context.Context, l rewind.Line) error {
	r := objectstore.CopyRequest{
		From: objectstore.Source{Bucket: d.from.Name(), Key: d.fromKey(l.Key), VersionID: l.Then.ID, ETag: l.Then.ETag},
		Size: l.Then.Size, Class: l.Then.Class, Bucket: d.to.Name(), Key: l.Key,
	}
	if l.Now.There() {
		r.Over = l.Now.ETag
	}
	_, err := d.copier.Copy(ctx, r)
	if errors.Is(err, objectstore.ErrChanged) || gone(err) {
		return d.resolve(ctx, l, err)
	}
	if err != nil {
		return err
	}
	d.mutations.Add(1)
	d.progress(d.done.Add(1), d.total, "putting earlier versions over later ones")
	return nil
}

func (d *doing) resolve(ctx context.Context, l rewind.Line, refused error) error {
	o, err := d.to.Head(ctx, l.Key)
	if err != nil && !gone(err) {
		return errors.Join(refused, err)
	}
	f := found{line: l}
	if err == nil {
		f.now = rewind.Version{ID: o.VersionID, ETag: o.ETag, Size: o.Size}
	}
	if f.now.Same(l.Then) {
		return nil
	}
	if is, err := d.isCopyOf(ctx, l.Key, f.now, d.from, d.fromKey(l.Key), l.Then); err != nil || is {
		return err
	}
	return d.moved(l.Key, "is not as planned any more, with version %s (%v)", orNone(f.now), refused)
}
