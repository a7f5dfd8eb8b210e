package perform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// Look lists once and says which lines are left to do, sorted by key. Nothing is
// changed: a key that is neither as planned nor as wanted is ErrMoved.
func (c *Changes) Look(ctx context.Context) ([]rewind.Line, error) {
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
func (c *Changes) open(ctx context.Context) ([]found, error) {
	var open []found
	lines := c.Lines
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
	if c.At != nil {
		at = *c.At
	}
	for h, err := range rewind.Histories(Entries(ctx, c.To, c.Prefixes...), at, watch) {
		if err != nil {
			return nil, err
		}
		switch {
		case i < len(lines) && lines[i].Key == h.Key:
			open = append(open, found{line: lines[i], now: h.Now, watched: h.Watched})
			i++
		case c.At != nil && !h.Now.Same(h.Then):
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
func (c *Changes) watchElsewhere(ctx context.Context, open []found) error {
	if len(open) == 0 || c.From.Name() == c.To.Name() && c.fromKey(open[0].line.Key) == open[0].line.Key {
		return nil
	}
	at := map[string]int{}
	for n, f := range open {
		at[c.fromKey(f.line.Key)] = n
	}
	for e, err := range Entries(ctx, c.From, c.FromPrefix) {
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
func (c *Changes) judge(ctx context.Context, open []found) ([]rewind.Line, error) {
	todo := make([]bool, len(open))
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(AtOnce)
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
