package perform

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/rewind"

	"golang.org/x/sync/errgroup"
)

// Place is a prefix of a bucket that is to come back to what it was at a time: where
// it is, or to another place.
type Place struct {
	From   objectstore.Bucket
	Prefix string
	// To and ToPrefix are where it comes back; the same where it is brought back in
	// place.
	To       objectstore.Bucket
	ToPrefix string
	At       time.Time
	Entries  rewind.Entries // as [Changes] has it
	// Losses are what may have removed versions of that time. Except are prefixes below
	// which the store keeps no versions, as [objectstore.Versioning] has them.
	Losses []rewind.Loss
	Except []string
}

// inPlace reports whether it comes back where it is.
func (p Place) inPlace() bool { return p.From.Name() == p.To.Name() && p.Prefix == p.ToPrefix }

// fromKey is the key whose earlier version comes to a key.
func (p Place) fromKey(key string) string { return p.Prefix + strings.TrimPrefix(key, p.ToPrefix) }

// ToKey is where the earlier version of a key comes to.
func (p Place) ToKey(key string) string { return p.ToPrefix + strings.TrimPrefix(key, p.Prefix) }

// Changes are lines of a plan over the place. In place, every other key must be as at
// the time.
func (p Place) Changes(lines Lines) *Changes {
	c := &Changes{
		To: p.To, From: p.From, FromKey: p.fromKey, FromPrefix: p.Prefix, Prefixes: []string{p.ToPrefix}, Lines: lines, Entries: p.Entries,
	}
	if p.inPlace() {
		c.At = &p.At
	}
	return c
}

// TakenError says that something lies where nothing of the state would come to.
type TakenError struct{ Place, Key string }

// Error is for people.
func (e *TakenError) Error() string {
	return fmt.Sprintf("%s holds %s, which was not there at the time; choose an empty into_prefix", e.Place, e.Key)
}

// Gap says whether the store may have kept no versions at the time or since, as far as a
// listing shows it. What was deleted then has left no trace, whatever its key. The zero
// value has seen nothing.
type Gap struct {
	// Key was written without keeping versions at At, the newest such moment after the
	// time; both are zero for none.
	Key string
	At  time.Time
	// Unproven: no version in the bucket is as old as the time and was kept. Once a
	// bucket has kept versions, a deletion leaves a trace for ever.
	Unproven bool
	kept     bool
}

// See looks at a key. A key that the store excepts from versioning, or that stands for
// a folder, says nothing of others.
func (g *Gap) See(h rewind.History, except []string) {
	g.kept = g.kept || h.Kept
	if !h.Unkept.After(g.At) || strings.HasSuffix(h.Key, "/") {
		return
	}
	for _, e := range except {
		if fixed, _, _ := strings.Cut(e, "*"); strings.HasPrefix(h.Key, fixed) {
			return
		}
	}
	g.Key, g.At = h.Key, h.Unkept
}

// atFirst is how many versions of a bucket are looked at for one that is old enough,
// where the prefix has none: a page.
const atFirst = 1000

// Settle looks elsewhere in the bucket where what was seen does not show that versions
// were kept at the time.
func (g *Gap) Settle(ctx context.Context, b objectstore.Bucket, at time.Time) error {
	first := func(yield func(rewind.Entry, error) bool) {
		n := 0
		for e, err := range Entries(ctx, b, "") {
			if n++; n > atFirst || !yield(e, err) {
				return
			}
		}
	}
	if g.kept {
		return nil
	}
	for h, err := range rewind.Histories(first, at, nil) {
		if err != nil {
			return err
		}
		if g.kept = h.Kept; g.kept {
			return nil
		}
	}
	g.Unproven = true
	return nil
}

// Why says it for people; empty for none.
func (g Gap) Why() string {
	switch {
	case !g.At.IsZero():
		return fmt.Sprintf("the bucket kept no versions at %s, when %s was written", g.At.UTC().Format(time.RFC3339), g.Key)
	case g.Unproven:
		return "nothing as old in the bucket shows that it kept versions then"
	}
	return ""
}

// Unknown is a key of which it cannot be known what it was.
type Unknown struct{ Key, Why string }

// Drawn is the difference of a place to what it was, but for its lines.
type Drawn struct {
	State     rewind.State
	Ambiguous []rewind.Entry // the first
	Unsure    int64          // how many are ambiguous
	Entries   int64          // versions and delete markers listed
	Equal     int64          // keys that are as they were
	Unknown   []Unknown      // the first keys of which it cannot be known what they were
	Unknowns  int64          // how many
	Gap       Gap
	// Archived are the first versions to copy that must be restored from an archive
	// first, and Archives how many there are.
	Archived []objectstore.Object
	Archives int64
}

// Put takes some lines, the next in the order of their keys. It does not keep them.
type Put func(ctx context.Context, lines []rewind.Line) error

// errGap says that nobody can say which keys are in doubt.
var errGap = errors.New("what the listing shows of versions that were not kept changes from one listing to the next; plan again when nobody writes there")

// drawsAtMost is how often a place is listed where what the end of a listing shows
// decides about lines before.
const drawsAtMost = 4

// Draw lists the place, and works out the difference; shown is how many ambiguous
// entries, archived and unknown keys it names. Lines go to what begin returns; where
// begin is called again, those before are void. It only reads. [TakenError] says that
// the other place is not empty.
func (p Place) Draw(ctx context.Context, choice rewind.Choice, shown int, begin func() Put) (Drawn, error) {
	doubt := ""
	for range drawsAtMost {
		d := &drawing{Place: p, choice: choice, shown: shown, doubt: doubt, put: begin()}
		if err := d.draw(ctx); err != nil {
			return d.Drawn, err
		}
		// Whether versions were kept shows in all of the listing. That they were not
		// is rare, and so it is not asked first.
		if doubt = d.why(); doubt == d.doubt {
			return d.Drawn, nil
		}
	}
	return Drawn{}, fmt.Errorf("compare %s: %w", p.From.URL(p.Prefix), errGap)
}

// drawing is one listing of a place.
type drawing struct {
	Place
	Drawn
	choice rewind.Choice
	shown  int
	// doubt is why a key that has no entry as at the time may have been there, as an
	// earlier listing showed it.
	doubt  string
	absent bool // there are such keys
	put    Put
	batch  []rewind.Line
}

// why is the doubt that the listing itself shows.
func (d *drawing) why() string {
	if !d.absent {
		return ""
	}
	return d.Gap.Why()
}

// unknown counts a key of which it cannot be known what it was.
func (d *drawing) unknown(key, why string) {
	if d.Unknowns++; len(d.Unknown) < d.shown {
		d.Unknown = append(d.Unknown, Unknown{key, why})
	}
}

func (d *drawing) draw(ctx context.Context) error {
	var other *present
	if !d.inPlace() {
		other = d.present(ctx)
		defer other.stop()
	}
	for h, err := range rewind.Histories(Entries(ctx, d.From, d.Prefix), d.At, nil) {
		if err != nil {
			return err
		}
		d.see(h)
		if h.Unknown = h.Why(d.Losses); h.Unknown != "" {
			d.unknown(h.Key, h.Unknown)
		} else {
			d.State.Add(h)
		}
		if other != nil {
			h.Key = d.ToKey(h.Key)
			h.Markers = nil
			if h.Now, err = other.at(h.Key, h.Then.There() && h.Unknown == ""); err != nil {
				return err
			}
		}
		l, ok := rewind.Diff(h, d.choice)
		if !h.Found && h.Unknown == "" {
			d.absent = true
			if d.doubt != "" && ok {
				d.unknown(h.Key, d.doubt)
			} else if d.doubt != "" {
				d.Unknowns++
			}
			if d.doubt != "" && !d.choice.Hide {
				l.Do = rewind.Keep
			}
		}
		switch {
		case !ok && h.Then.There():
			d.Equal++
		case ok:
			if d.batch = append(d.batch, l); len(d.batch) == atATime {
				if err := d.pass(ctx); err != nil {
					return err
				}
			}
		}
	}
	if err := d.pass(ctx); err != nil {
		return err
	}
	if other != nil {
		if err := other.below(func(string) bool { return true }); err != nil {
			return err
		}
	}
	if d.absent {
		return d.Gap.Settle(ctx, d.From, d.At)
	}
	return nil
}

// see counts what a key's history shows.
func (d *drawing) see(h rewind.History) {
	d.Gap.See(h, d.Except)
	d.Drawn.Entries += int64(h.Entries)
	d.Unsure += int64(len(h.Ambiguous))
	if room := d.shown - len(d.Ambiguous); room > 0 {
		d.Ambiguous = append(d.Ambiguous, h.Ambiguous[:min(room, len(h.Ambiguous))]...)
	}
}

// pass settles the lines of a batch, and puts them.
func (d *drawing) pass(ctx context.Context) error {
	if err := d.settle(ctx); err != nil {
		return err
	}
	archived, err := Archived(ctx, d.From, d.batch, d.fromKey)
	if err != nil {
		return err
	}
	d.Archives += int64(len(archived))
	d.Archived = append(d.Archived, archived[:min(len(archived), d.shown-len(d.Archived))]...)
	err = d.put(ctx, d.batch)
	d.batch = d.batch[:0]
	return err
}

// Archived are the versions that lines copy and that lie in an archive, from which they
// have not been restored, in the order of the lines.
func Archived(ctx context.Context, from objectstore.Bucket, lines []rewind.Line, fromKey func(string) string) ([]objectstore.Object, error) {
	var asked []objectstore.Object
	for _, l := range lines {
		if l.Do == rewind.Copy && objectstore.MayArchive(l.Then.Class) {
			asked = append(asked, objectstore.Object{Key: fromKey(l.Key), VersionID: l.Then.ID, StorageClass: l.Then.Class})
		}
	}
	return from.Archived(ctx, asked)
}

// present is what lies where the state is to be put, listed beside the other listing.
type present struct {
	place Place
	h     rewind.History // the key it stands at
	err   error
	more  bool
	next  func() (rewind.History, error, bool)
	stop  func()
}

func (p Place) present(ctx context.Context) *present {
	o := &present{place: p}
	o.next, o.stop = iter.Pull2(rewind.Histories(Entries(ctx, p.To, p.ToPrefix), p.At, nil))
	o.h, o.err, o.more = o.next()
	return o
}

// below goes on to the first key that is not. Nothing of the state comes to those it
// passes: nothing may lie there.
func (o *present) below(is func(key string) bool) error {
	for o.more && o.err == nil && is(o.h.Key) {
		if o.h.Now.There() {
			return &TakenError{o.place.To.URL(o.place.ToPrefix), o.h.Key}
		}
		o.h, o.err, o.more = o.next()
	}
	return o.err
}

// at is what lies at a key, if something of the state comes there. Keys come in order.
func (o *present) at(key string, comes bool) (v rewind.Version, err error) {
	if err := o.below(func(k string) bool { return k < key }); err != nil {
		return v, err
	}
	if comes && o.more && o.h.Key == key {
		v = o.h.Now
		o.h, o.err, o.more = o.next()
	}
	return v, nil
}

// settle asks the objects that may be copies of what is to come back, and leaves out
// the lines of those that are.
func (d *drawing) settle(ctx context.Context) error {
	c := d.Changes(nil)
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(AtOnce)
	for i := range d.batch {
		l := &d.batch[i]
		if !l.Ask {
			continue
		}
		work.Go(func() error {
			is, err := c.isCopyOf(wctx, l.Key, l.Now, d.From, d.fromKey(l.Key), l.Then)
			if is {
				l.Do = rewind.None
			}
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	n := len(d.batch)
	d.batch = slices.DeleteFunc(d.batch, func(l rewind.Line) bool { return l.Do == rewind.None })
	d.Equal += int64(n - len(d.batch))
	return nil
}
