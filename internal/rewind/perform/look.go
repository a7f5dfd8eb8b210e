package perform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/rewind"

	"golang.org/x/sync/errgroup"
)

// found is a key that a listing showed, beside its line.
type found struct {
	line    rewind.Line // zero for a key without one
	now     rewind.Version
	then    rewind.Version // as at the time; for a key without a line
	watched bool           // the version to come back is there
}

// atATime is how many keys are decided about together, so that objects can be asked at
// once and yet few keys are held.
const atATime = 10_000

// looked is what was found of a key that has a line, and whether the line is left to do.
type looked struct {
	found
	left bool
}

// Look lists once beside the lines, and yields those that are left to do, in order, as
// they are found. Nothing is changed: a key that is neither as planned nor as wanted is
// ErrMoved. It ends after the first error.
func (c *Changes) Look(ctx context.Context, lines iter.Seq2[rewind.Line, error]) iter.Seq2[rewind.Line, error] {
	return func(yield func(rewind.Line, error) bool) {
		for k, err := range c.look(ctx, lines) {
			l := k.line
			l.Now = k.now // what a condition is about
			if (err != nil || k.left) && !yield(l, err) {
				return
			}
		}
	}
}

// look is Look, and yields every line.
func (c *Changes) look(ctx context.Context, lines iter.Seq2[rewind.Line, error]) iter.Seq2[looked, error] {
	return func(yield func(looked, error) bool) {
		var batch []found
		judge := func() bool {
			left, err := c.judge(ctx, batch)
			if err != nil {
				yield(looked{}, err)
				return false
			}
			for n, f := range batch {
				if f.line.Do != rewind.None && !yield(looked{f, left[n]}, nil) {
					return false
				}
			}
			batch = batch[:0]
			return true
		}
		for f, err := range c.watchElsewhere(ctx, c.open(ctx, lines)) {
			if err != nil {
				yield(looked{}, err)
				return
			}
			if batch = append(batch, f); len(batch) == atATime && !judge() {
				return
			}
		}
		judge()
	}
}

// open puts a listing beside the lines, and yields every key that there is something
// to decide about, in order.
func (c *Changes) open(ctx context.Context, lines iter.Seq2[rewind.Line, error]) iter.Seq2[found, error] {
	return func(yield func(found, error) bool) {
		at := NewCursor(lines)
		defer at.Stop()
		stopped := false
		// bare yields the lines of keys below one that is listed: these are not.
		bare := func(below func() bool) {
			for !stopped && below() {
				stopped = !yield(found{line: at.Line}, nil)
				at.Next()
			}
		}
		watch := func(key string) string {
			bare(func() bool { return at.Below(key) })
			if at.At(key) {
				return at.Line.Then.ID
			}
			return ""
		}
		var t time.Time
		if c.At != nil {
			t = *c.At
		}
		for h, err := range rewind.Histories(Entries(ctx, c.To, c.Prefixes...), t, watch) {
			if err == nil {
				err = at.Err
			}
			switch {
			case stopped:
				return
			case err != nil:
				yield(found{}, err)
				return
			}
			switch {
			case at.At(h.Key):
				stopped = !yield(found{line: at.Line, now: h.Now, watched: h.Watched}, nil)
				at.Next()
			case c.At != nil && !h.Now.Same(h.Then):
				stopped = !yield(found{line: rewind.Line{Key: h.Key}, now: h.Now, then: h.Then}, nil)
			}
		}
		bare(func() bool { return at.There })
		if !stopped && at.Err != nil {
			yield(found{}, at.Err)
		}
	}
}

// watchElsewhere looks for the versions to come back where they are not those of
// the keys themselves.
func (c *Changes) watchElsewhere(ctx context.Context, open iter.Seq2[found, error]) iter.Seq2[found, error] {
	if c.inPlace() {
		return open
	}
	return func(yield func(found, error) bool) {
		next, stop := iter.Pull2(Entries(ctx, c.From, c.FromPrefix))
		defer stop()
		e, listErr, more := next()
		for f, err := range open {
			key := c.fromKey(f.line.Key)
			for err == nil && more && listErr == nil && e.Key <= key {
				f.watched = f.watched || e.Key == key && e.ID == f.line.Then.ID
				last := e.Key
				if e, listErr, more = next(); more && listErr == nil && e.Key < last {
					listErr = fmt.Errorf("%w: %q comes after %q", rewind.ErrOrder, e.Key, last)
				}
			}
			if err == nil {
				err = listErr
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

// judge decides per key, asking objects where a listing does not tell.
func (c *Changes) judge(ctx context.Context, open []found) (left []bool, err error) {
	left = make([]bool, len(open))
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(AtOnce)
	for n, f := range open {
		if todo, sure := settled(f); sure {
			left[n] = todo
			continue
		}
		work.Go(func() (err error) {
			left[n], err = c.ask(wctx, f)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	for n, f := range open {
		if l := f.line; left[n] && l.Do != rewind.Mark && !f.watched {
			return nil, c.moved(l.Key, "has lost version %s, which was to come back", l.Then.ID)
		}
	}
	return left, nil
}

// settled says whether a line is left to do, where the listing alone tells.
func settled(f found) (left, sure bool) {
	l := f.line
	switch {
	case l.Do == rewind.None:
		return false, false
	case l.Do == rewind.Keep:
		return false, true
	case l.Do == rewind.Unmark && f.now.ID == l.Then.ID, l.Do != rewind.Unmark && f.now.Same(l.Then):
		return false, true
	case l.Do == rewind.Unmark:
		return true, f.now.Marker && slices.Contains(l.Markers, f.now.ID)
	}
	return true, f.now.ID == l.Now.ID || l.Now.ID == "" && !f.now.There() || l.Now.There() && f.now.Same(l.Now)
}

// ask settles what a listing does not: a copy may have another ETag than what it
// is of.
func (c *Changes) ask(ctx context.Context, f found) (left bool, err error) {
	l := f.line
	if l.Do == rewind.None {
		is, err := c.isCopyOf(ctx, l.Key, f.now, c.To, l.Key, f.then)
		if err == nil && !is {
			err = c.moved(l.Key, "is not as it was planned to be left, with version %s", OrNone(f.now))
		}
		return false, err
	}
	if l.Do == rewind.Copy {
		if is, err := c.isCopyOf(ctx, l.Key, f.now, c.From, c.fromKey(l.Key), l.Then); err != nil || is {
			return false, err
		}
	}
	if is, err := c.isCopyOf(ctx, l.Key, f.now, c.From, c.fromKey(l.Key), l.Now); err != nil || is {
		return true, err
	}
	return false, c.moved(l.Key, "has version %s, planned with %s", OrNone(f.now), OrNone(l.Now))
}

// OrNone names a version, for people.
func OrNone(v rewind.Version) string {
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
func (c *Changes) isCopyOf(ctx context.Context, key string, now rewind.Version, b objectstore.Bucket, ofKey string, of rewind.Version) (bool, error) {
	if !now.There() || !of.There() || now.Size != of.Size {
		return false, nil
	}
	d, err := c.To.Describe(ctx, key, now.ID)
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
func (c *Changes) moved(key, format string, args ...any) error {
	return fmt.Errorf("%s %s; plan again: %w", c.To.URL(key), fmt.Sprintf(format, args...), ErrMoved)
}
