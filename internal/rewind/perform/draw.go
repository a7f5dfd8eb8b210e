package perform

import (
	"context"
	"fmt"
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
func (p Place) Changes(lines []rewind.Line) *Changes {
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

// Drawn is the difference of a place to what it was.
type Drawn struct {
	Lines     []rewind.Line
	State     rewind.State
	Ambiguous []rewind.Entry // the first
	Unsure    int64          // how many are ambiguous
	Entries   int64          // versions and delete markers listed
	Equal     int64          // keys that are as they were
	Unknown   []Unknown      // the first keys of which it cannot be known what they were
	Unknowns  int64          // how many
	Gap       Gap
	// Archived are the versions to copy that must be restored from an archive first.
	Archived []objectstore.Object
}

// unknown counts a key of which it cannot be known what it was.
func (d *Drawn) unknown(key, why string, shown int) {
	if d.Unknowns++; len(d.Unknown) < shown {
		d.Unknown = append(d.Unknown, Unknown{key, why})
	}
}

// Draw lists the place, and works out the difference; shown is how many ambiguous
// entries and unknown keys it names. It only reads. [rewind.ErrTooMany] says that one
// plan cannot hold it, and [TakenError] that the other place is not empty.
func (p Place) Draw(ctx context.Context, choice rewind.Choice, shown int) (Drawn, error) {
	var d Drawn
	var there map[string]rewind.Version
	var err error
	if !p.inPlace() {
		if there, err = p.present(ctx); err != nil {
			return d, err
		}
	}
	var absent []int // lines of keys without an entry as at the time
	var gone int64   // such keys without a line
	for h, err := range rewind.Histories(Entries(ctx, p.From, p.Prefix), p.At, nil) {
		if err != nil {
			return d, err
		}
		d.Gap.See(h, p.Except)
		if h.Unknown = h.Why(p.Losses); h.Unknown != "" {
			d.unknown(h.Key, h.Unknown, shown)
		} else {
			d.State.Add(h)
		}
		d.Entries += int64(h.Entries)
		d.Unsure += int64(len(h.Ambiguous))
		if room := shown - len(d.Ambiguous); room > 0 {
			d.Ambiguous = append(d.Ambiguous, h.Ambiguous[:min(room, len(h.Ambiguous))]...)
		}
		if !p.inPlace() {
			h.Key = p.ToKey(h.Key)
			h.Now, h.Markers = rewind.Version{}, nil
			if h.Then.There() && h.Unknown == "" { // else nothing may lie there
				h.Now = there[h.Key]
				delete(there, h.Key)
			}
		}
		l, ok := rewind.Diff(h, choice)
		switch absence := !h.Found && h.Unknown == ""; {
		case absence && ok:
			absent = append(absent, len(d.Lines))
		case absence:
			gone++
		}
		switch {
		case !ok && h.Then.There():
			d.Equal++
		case ok && len(d.Lines) == rewind.MaxLines:
			return d, rewind.ErrTooMany
		case ok:
			d.Lines = append(d.Lines, l)
		}
	}
	for key, v := range there {
		if v.There() {
			return d, &TakenError{p.To.URL(p.ToPrefix), key}
		}
	}
	if len(absent) > 0 || gone > 0 {
		if err := d.Gap.Settle(ctx, p.From, p.At); err != nil {
			return d, err
		}
	}
	if why := d.Gap.Why(); why != "" {
		d.Unknowns += gone
		for _, i := range absent {
			d.unknown(d.Lines[i].Key, why, shown)
			if !choice.Hide {
				d.Lines[i].Do = rewind.Keep
			}
		}
	}
	if err := p.settle(ctx, &d); err != nil {
		return d, err
	}
	d.Archived, err = Archived(ctx, p.From, d.Lines, p.fromKey)
	return d, err
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

// present is what lies where the state is to be put.
func (p Place) present(ctx context.Context) (map[string]rewind.Version, error) {
	there := map[string]rewind.Version{}
	for h, err := range rewind.Histories(Entries(ctx, p.To, p.ToPrefix), p.At, nil) {
		if err != nil {
			return nil, err
		}
		if there[h.Key] = h.Now; len(there) > 2*rewind.MaxLines {
			return nil, rewind.ErrTooMany
		}
	}
	return there, nil
}

// settle asks the objects that may be copies of what is to come back.
func (p Place) settle(ctx context.Context, d *Drawn) error {
	c := p.Changes(nil)
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(AtOnce)
	for i := range d.Lines {
		l := &d.Lines[i]
		if !l.Ask {
			continue
		}
		work.Go(func() error {
			is, err := c.isCopyOf(wctx, l.Key, l.Now, p.From, p.fromKey(l.Key), l.Then)
			if is {
				l.Do = rewind.None
			}
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	left := d.Lines[:0]
	for _, l := range d.Lines {
		if l.Do == rewind.None {
			d.Equal++
			continue
		}
		left = append(left, l)
	}
	d.Lines = left
	return nil
}
