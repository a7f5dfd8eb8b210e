// Package perform does the lines of a plan of package rewind on a real store, however
// often it is broken off and begun again: it looks first, and does what is left.
//
// # What stops it
//
// A key that is neither as planned nor as wanted is [ErrMoved], before anything was
// changed: every key is looked at before the first change. Afterwards each change has
// its own condition, where the store keeps such: see
// [objectstore.Traits.ConditionalCopy] and ConditionalDelete. Elsewhere a write that
// lands between the look and the change is buried: [Changes.Buried] finds it, and
// [Changes.Back] brings it back.
package perform

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/rewind"
	"breakwater/internal/table"

	"golang.org/x/sync/errgroup"
)

// ErrMoved means that a key is no longer what the plan saw, and not what it wants. No
// retry cures it: plan again.
var ErrMoved = errors.New("the world moved since the plan was approved")

// AtOnce is how many copies and questions are under way at a time.
const AtOnce = 32

const (
	deletesAtOnce = 4   // requests that each delete up to 1,000 keys
	guardEvery    = 500 // changes begun between two looks at the epoch
)

// Changes are the lines of a plan over one bucket, and what there is to know to do
// them. They may be performed any number of times.
type Changes struct {
	To, From objectstore.Bucket
	FromKey  func(key string) string // in From, of a key in To; nil where it is the same
	// FromPrefix holds every key of From; for a From that is not To.
	FromPrefix string
	Prefixes   []string // that hold every key of To; sorted, none within another
	Lines      Lines
	// At: every other key under the prefixes must be as at that time. Nil where
	// the other keys are nobody's business.
	At *time.Time
	// Entries tells what an object is to a table, which decides what is done first.
	Entries rewind.Entries
}

func (c *Changes) fromKey(key string) string {
	if c.FromKey == nil {
		return key
	}
	return c.FromKey(key)
}

// inPlace reports whether what comes back are earlier versions of the keys themselves.
func (c *Changes) inPlace() bool {
	return c.From.Name() == c.To.Name() && c.fromKey(c.Prefixes[0]) == c.Prefixes[0]
}

// Entry is a version as package rewind knows it.
func Entry(v objectstore.Version) rewind.Entry {
	return rewind.Entry{
		Key: v.Key, Modified: v.LastModified, Latest: v.Latest,
		Version: rewind.Version{ID: v.VersionID, ETag: v.ETag, Size: v.Size, Class: v.StorageClass, Marker: v.DeleteMarker},
	}
}

// Entries lists the versions below prefixes for package rewind.
func Entries(ctx context.Context, b objectstore.Bucket, prefixes ...string) iter.Seq2[rewind.Entry, error] {
	return func(yield func(rewind.Entry, error) bool) {
		for _, p := range prefixes {
			for v, err := range b.ListVersions(ctx, p) {
				if !yield(Entry(v), err) {
					return
				}
			}
		}
	}
}

// doing is one Apply.
type doing struct {
	*Changes
	table.Work
	rests     []*rest // of the parts
	copier    objectstore.Copier
	total     int64
	done      atomic.Int64
	mutations atomic.Int64
	// The epoch is looked at by one goroutine at a time.
	mu         sync.Mutex
	begun, due int
}

// rest is what of a part of the lines is left to do: a bit for each line.
type rest struct {
	lines int
	left  big.Int
	in    [rewind.Phases]bool // whether a phase has any of them
	// now are the versions that a condition is about, of lines over which lies a copy of
	// what the plan saw. Each took a question of its own, so they are few.
	now map[int]rewind.Version
}

// Apply looks at every key, and then does what is left, phase by phase over all parts of
// the lines, and returns how many changes it made. It may be broken off and called again
// at any moment.
func (c *Changes) Apply(ctx context.Context, w table.Work) (changes int64, err error) {
	d := &doing{Changes: c, Work: w}
	copies, err := d.looks(ctx)
	if err != nil {
		return 0, err
	}
	if copies {
		if d.copier, err = c.To.Copier(); err != nil {
			return 0, err
		}
	}
	for p := range rewind.Phases {
		if err := d.inChunks(ctx, p); err != nil {
			return d.mutations.Load(), err
		}
	}
	return d.mutations.Load(), nil
}

// looks finds out what is left to do.
func (d *doing) looks(ctx context.Context) (copies bool, err error) {
	lines := d.Lines.counted(ctx, func(n int) { d.rests = append(d.rests, &rest{lines: n, now: map[int]rewind.Version{}}) })
	part, i := 0, 0
	for k, err := range d.look(ctx, lines) {
		if err != nil {
			return false, err
		}
		for i == d.rests[part].lines {
			part, i = part+1, 0
		}
		if r := d.rests[part]; k.left {
			r.left.SetBit(&r.left, i, 1)
			r.in[rewind.PhaseOf(k.line, d.Entries)] = true
			if k.now.ETag != k.line.Now.ETag {
				r.now[i] = k.now
			}
			copies = copies || k.line.Do == rewind.Copy
			d.total++
		}
		i++
	}
	return copies, nil
}

// inChunks does the lines of one phase, as many at a time as the largest part has.
func (d *doing) inChunks(ctx context.Context, p rewind.Phase) error {
	var chunk []rewind.Line
	size := 0
	for _, r := range d.rests {
		size = max(size, r.lines)
	}
	for l, err := range d.todo(ctx, p) {
		if err != nil {
			return err
		}
		if chunk = append(chunk, l); len(chunk) == size {
			if err := d.phase(ctx, p, chunk); err != nil {
				return err
			}
			chunk = chunk[:0]
		}
	}
	return d.phase(ctx, p, chunk)
}

// todo yields the lines of one phase that are left to do, in the phase's order.
func (d *doing) todo(ctx context.Context, p rewind.Phase) iter.Seq2[rewind.Line, error] {
	return func(yield func(rewind.Line, error) bool) {
		for n := range d.rests {
			if p.HighestFirst() {
				n = len(d.rests) - 1 - n
			}
			r := d.rests[n]
			if !r.in[p] {
				continue
			}
			lines, err := d.Lines[n](ctx)
			if err != nil {
				yield(rewind.Line{}, err)
				return
			}
			for i := range lines {
				if p.HighestFirst() {
					i = len(lines) - 1 - i
				}
				l := lines[i]
				if r.left.Bit(i) == 0 || rewind.PhaseOf(l, d.Entries) != p {
					continue
				}
				if now, ok := r.now[i]; ok {
					l.Now = now
				}
				if !yield(l, nil) {
					return
				}
			}
		}
	}
}

// phase does lines of one phase: those that delete something in few requests, and the
// copies.
func (d *doing) phase(ctx context.Context, p rewind.Phase, lines []rewind.Line) error {
	if p.InOrder() {
		return d.inOrder(ctx, lines)
	}
	var copies []rewind.Line
	for _, l := range lines {
		if l.Do == rewind.Copy {
			copies = append(copies, l)
		}
	}
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(deletesAtOnce)
	if p.HighestFirst() {
		work.SetLimit(1)
	}
	for part := range slices.Chunk(deletions(lines), objectstore.DeletionsAtMost) {
		if err := d.begin(wctx, guardEvery); err != nil {
			return errors.Join(err, work.Wait())
		}
		work.Go(func() error { return d.delete(wctx, part) })
	}
	if err := work.Wait(); err != nil {
		return err
	}
	return d.copies(ctx, copies)
}

// inOrder does lines of each folder one after the other, and several folders at once.
// What only deletes something goes together, as far as it lies together.
func (d *doing) inOrder(ctx context.Context, lines []rewind.Line) error {
	folders := map[string][]rewind.Line{}
	for _, l := range lines {
		folders[path.Dir(l.Key)] = append(folders[path.Dir(l.Key)], l)
	}
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(AtOnce)
	for _, of := range folders {
		work.Go(func() error {
			for len(of) > 0 {
				n := slices.IndexFunc(of, func(l rewind.Line) bool { return l.Do == rewind.Copy })
				if n == 0 {
					if err := d.begin(wctx, 1); err != nil {
						return err
					}
					if err := d.copyOver(wctx, of[0]); err != nil {
						return err
					}
					of = of[1:]
					continue
				}
				if n < 0 {
					n = len(of)
				}
				for part := range slices.Chunk(deletions(of[:n]), objectstore.DeletionsAtMost) {
					if err := d.begin(wctx, len(part)); err != nil {
						return err
					}
					if err := d.delete(wctx, part); err != nil {
						return err
					}
				}
				of = of[n:]
			}
			return nil
		})
	}
	return work.Wait()
}

// deletions are what of lines deletes something.
func deletions(lines []rewind.Line) (all []objectstore.Deletion) {
	for _, l := range lines {
		switch l.Do {
		case rewind.Mark:
			all = append(all, objectstore.Deletion{Key: l.Key, ETag: l.Now.ETag})
		case rewind.Unmark:
			for _, m := range l.Markers {
				all = append(all, objectstore.Deletion{Key: l.Key, VersionID: m})
			}
		}
	}
	return all
}

// delete is one request.
func (d *doing) delete(ctx context.Context, part []objectstore.Deletion) error {
	n, err := d.To.DeleteMany(ctx, part)
	d.mutations.Add(int64(n))
	d.Progress(d.done.Add(int64(n)), d.total, "hiding and unhiding objects")
	if errors.Is(err, objectstore.ErrChanged) {
		err = fmt.Errorf("%w; plan again: %w", err, ErrMoved)
	}
	return err
}

// begin looks at the epoch before changes are begun, once per so many of them.
func (d *doing) begin(ctx context.Context, n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if d.begun >= d.due || n >= guardEvery {
		if err := d.Guard(ctx); err != nil {
			return err
		}
		d.due = d.begun + guardEvery
	}
	d.begun += n
	return nil
}

// copies are made all at once.
func (d *doing) copies(ctx context.Context, lines []rewind.Line) error {
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(AtOnce)
	for _, l := range lines {
		if err := d.begin(wctx, 1); err != nil {
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
		From: objectstore.Source{Bucket: d.From.Name(), Key: d.fromKey(l.Key), VersionID: l.Then.ID, ETag: l.Then.ETag},
		Size: l.Then.Size, Class: l.Then.Class, Bucket: d.To.Name(), Key: l.Key,
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
	d.Progress(d.done.Add(1), d.total, "putting earlier versions over later ones")
	return nil
}

func (d *doing) resolve(ctx context.Context, l rewind.Line, refused error) error {
	o, err := d.To.Head(ctx, l.Key)
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
	if is, err := d.isCopyOf(ctx, l.Key, f.now, d.From, d.fromKey(l.Key), l.Then); err != nil || is {
		return err
	}
	return d.moved(l.Key, "is not as planned any more, with version %s (%v)", OrNone(f.now), refused)
}
