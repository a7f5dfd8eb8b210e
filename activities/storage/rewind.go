package storage

import (
	"context"
	"fmt"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/rewind"
	"breakwater/internal/verdict"

	"golang.org/x/sync/errgroup"
)

// rewindParams are what a step says about a rewind.
type rewindParams struct {
	At           time.Time `json:"at" doc:"the moment to come back to, with a zone; without a fraction of a second the whole second belongs to it"`
	Prefix       string    `json:"prefix,omitempty" doc:"the keys to rewind; all of the bucket when empty"`
	Region       string    `json:"region,omitempty" doc:"the region whose bucket it is; the run's target, else the primary, when empty"`
	Into         string    `json:"into,omitempty" doc:"a logical bucket of the same region to put the state into, instead of rewinding in place"`
	IntoPrefix   string    `json:"into_prefix,omitempty" doc:"what stands there in place of prefix; nothing else may be under it"`
	UnmarkDelete bool      `json:"remove_delete_markers,omitempty" doc:"bring deleted objects back by removing their delete markers for good, where nothing else is newer: far fewer requests. The gate must accept it. Otherwise they are copied"`
}

func (s room) rewindActions(c *action.Catalogue) {
	action.Add(c, action.Action[rewindParams]{
		Name: "storage.rewind", Over: estate.BucketKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Doc: "Bring a prefix of a versioned bucket back to what it was at a moment, in place or into another bucket. " +
			"Earlier versions are put over later ones, so that the rewind can itself be rewound.",
		Timing: action.Timing{Timeout: 12 * time.Hour, Estimate: time.Minute},
		Plan:   s.planRewind, Apply: s.applyRewind, Verify: s.verifyRewind,
		Undo: &action.Undo[rewindParams]{Plan: s.planUnrewind, Apply: s.applyRewind, Verify: s.verifyUnrewind},
		RedWhen: []action.Red{
			{Fault: "storage.object-overwritten", Want: verdict.Fail},
			{Fault: "storage.object-deleted", Want: verdict.Fail},
			{Fault: "storage.object-appeared", Want: verdict.Fail},
			{Fault: "table.access-revoked", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	})
}

// rewindPlan is the typed plan of storage.rewind, and of taking it back.
type rewindPlan struct {
	At         time.Time `json:"at"`
	Region     string    `json:"region"`
	Bucket     string    `json:"bucket"` // real name
	Prefix     string    `json:"prefix,omitempty"`
	Into       string    `json:"into,omitempty"` // real name; empty in place
	IntoPrefix string    `json:"into_prefix,omitempty"`
	// State is the digest of what was there at the time, and its extent.
	State   string `json:"state,omitempty"`
	Objects int64  `json:"objects"`
	Bytes   int64  `json:"bytes"`
	// Lines are the changes, as package rewind encodes them.
	Lines []byte `json:"lines,omitempty"`
	Back  bool   `json:"back,omitempty"` // the lines take a rewind back
}

// inPlace reports whether the bucket is brought back where it is.
func (p rewindPlan) inPlace() bool { return p.Into == "" }

// rewindSite is where a rewind happens.
type rewindSite struct {
	rewindPlan
	from, to objectstore.Bucket
}

func (r rewindSite) toPrefix() string {
	if r.inPlace() {
		return r.Prefix
	}
	return r.IntoPrefix
}

// fromKey is the key whose earlier version comes to a key.
func (r rewindSite) fromKey(key string) string {
	return r.Prefix + strings.TrimPrefix(key, r.toPrefix())
}

// toKey is where the earlier version of a key comes to.
func (r rewindSite) toKey(key string) string {
	return r.toPrefix() + strings.TrimPrefix(key, r.Prefix)
}

// at connects to where a plan is about.
func (s room) rewindAt(ctx context.Context, e *estate.Estate, p rewindPlan) (rewindSite, error) {
	client, err := s.Storage(ctx, e, p.Region)
	if err != nil {
		return rewindSite{}, err
	}
	r := rewindSite{rewindPlan: p, from: objectstore.Bind(client, p.Bucket), to: objectstore.Bind(client, p.Bucket)}
	if !p.inPlace() {
		r.to = objectstore.Bind(client, p.Into)
	}
	if p.Back {
		r.from = r.to
	}
	return r, nil
}

// where resolves a step's parameters.
func (s room) rewindWhere(ctx context.Context, c action.Call[rewindParams]) (rewindSite, error) {
	w := c.With
	refuse := func(format string, args ...any) (rewindSite, error) {
		return rewindSite{}, fmt.Errorf("%w: rewind %s: %s", action.ErrRefused, c.Item, fmt.Sprintf(format, args...))
	}
	if w.At.IsZero() {
		return refuse("no time was given; set at, as in 2026-11-21T10:00:00Z")
	}
	region, err := lake.RegionFor(c.Run, c.Estate, w.Region)
	if err != nil {
		return rewindSite{}, err
	}
	p := rewindPlan{At: w.At.UTC(), Region: region, Prefix: w.Prefix}
	if p.Bucket, err = c.Estate.RealBucket(c.Item.Name, region); err != nil {
		return rewindSite{}, err
	}
	if w.Into != "" {
		if p.Into, err = c.Estate.RealBucket(w.Into, region); err != nil {
			return rewindSite{}, err
		}
		p.IntoPrefix = w.IntoPrefix
		if p.Into == p.Bucket && (strings.HasPrefix(p.IntoPrefix, p.Prefix) || strings.HasPrefix(p.Prefix, p.IntoPrefix)) {
			return refuse("prefix %q and into_prefix %q of one bucket overlap; choose another into_prefix", p.Prefix, p.IntoPrefix)
		}
	} else if w.IntoPrefix != "" {
		return refuse("into_prefix without into; name the logical bucket too")
	}
	return s.rewindAt(ctx, c.Estate, p)
}

func (r rewindSite) String() string {
	if r.inPlace() {
		return r.from.URL(r.Prefix)
	}
	return r.from.URL(r.Prefix) + " into " + r.to.URL(r.IntoPrefix)
}

// drawn is what planning works out.
type drawn struct {
	lines     []rewind.Line
	state     rewind.State
	ambiguous []rewind.Entry
	unsure    int64 // how many are ambiguous
	entries   int64 // versions and delete markers listed
	equal     int64
	archived  []string
}

// draw lists, and works out the difference.
func (r rewindSite) draw(ctx context.Context, choice rewind.Choice) (drawn, error) {
	var d drawn
	var there map[string]rewind.Version
	if !r.inPlace() {
		var err error
		if there, err = r.present(ctx); err != nil {
			return d, err
		}
	}
	for h, err := range rewind.Histories(entries(ctx, r.from, r.Prefix), r.At, nil) {
		if err != nil {
			return d, err
		}
		d.entries += int64(h.Entries)
		d.unsure += int64(len(h.Ambiguous))
		if room := shownLines - len(d.ambiguous); room > 0 {
			d.ambiguous = append(d.ambiguous, h.Ambiguous[:min(room, len(h.Ambiguous))]...)
		}
		d.state.Add(h)
		if !r.inPlace() {
			h.Key = r.toKey(h.Key)
			h.Now, h.Markers = there[h.Key], nil
			delete(there, h.Key)
		}
		l, ok := rewind.Diff(h, choice)
		switch {
		case !ok && h.Then.There():
			d.equal++
		case ok && l.Do == rewind.Copy && rewind.Archived(l.Then.Class):
			d.archived = append(d.archived, l.Key)
		case ok && len(d.lines) == rewind.MaxLines:
			return d, fmt.Errorf("%w: %w", action.ErrRefused, rewind.ErrTooMany)
		case ok:
			d.lines = append(d.lines, l)
		}
	}
	for key, v := range there {
		if v.There() {
			return d, fmt.Errorf("%w: %s holds %s, which was not there at the time; choose an empty into_prefix", action.ErrRefused, r.to.URL(r.IntoPrefix), key)
		}
	}
	return d, r.settle(ctx, &d)
}

// present is what lies where the state is to be put.
func (r rewindSite) present(ctx context.Context) (map[string]rewind.Version, error) {
	there := map[string]rewind.Version{}
	for h, err := range rewind.Histories(entries(ctx, r.to, r.IntoPrefix), r.At, nil) {
		if err != nil {
			return nil, err
		}
		if there[h.Key] = h.Now; len(there) > 2*rewind.MaxLines {
			return nil, fmt.Errorf("%w: %w", action.ErrRefused, rewind.ErrTooMany)
		}
	}
	return there, nil
}

// settle asks the objects that may be copies of what is to come back.
func (r rewindSite) settle(ctx context.Context, d *drawn) error {
	c := r.changes(nil)
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(copiesAtOnce)
	for i := range d.lines {
		l := &d.lines[i]
		if !l.Ask {
			continue
		}
		work.Go(func() error {
			is, err := c.isCopyOf(wctx, l.Key, l.Now, r.from, r.fromKey(l.Key), l.Then)
			if is {
				l.Do = rewind.None
			}
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	left := d.lines[:0]
	for _, l := range d.lines {
		if l.Do == rewind.None {
			d.equal++
			continue
		}
		left = append(left, l)
	}
	d.lines = left
	return nil
}

// changes are a plan's lines over the place.
func (r rewindSite) changes(lines []rewind.Line) *changes {
	c := &changes{
		to: r.to, from: r.from, fromKey: r.fromKey, fromPrefix: r.Prefix, prefixes: []string{r.toPrefix()}, lines: lines,
	}
	switch {
	case r.Back:
		c.fromKey = sameKey
	case r.inPlace():
		c.at = &r.At
	}
	return c
}

func (s room) planRewind(ctx context.Context, c action.Call[rewindParams]) (action.Change, error) {
	r, err := s.rewindWhere(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	fail := func(doing string, err error) (action.Change, error) {
		return action.Change{}, fmt.Errorf("plan to rewind %s to %s: %s: %w", r, r.At.Format(time.RFC3339Nano), doing, err)
	}
	for _, b := range []objectstore.Bucket{r.from, r.to} {
		if versioned, err := b.Versioned(ctx); err != nil {
			return fail("ask whether bucket "+b.Name()+" keeps versions", err)
		} else if !versioned {
			return fail("bucket "+b.Name()+" keeps no versions, so that what is put over would be lost; turn versioning on", action.ErrRefused)
		}
	}
	d, err := r.draw(ctx, rewind.Choice{Unmark: c.With.UnmarkDelete})
	if err != nil {
		return fail("compare it with what it was", err)
	}
	if n := len(d.archived); n > 0 {
		return fail(fmt.Sprintf("%d objects are archived, the first %s; restore them from the archive first", n, d.archived[0]), action.ErrRefused)
	}
	r.State, r.Objects, r.Bytes = d.state.Digest(), d.state.Objects, d.state.Bytes
	ch := describeLines(r.to.URL(r.toPrefix()), r.to, d.lines, (d.entries+999)/1000)
	ch.Summary = fmt.Sprintf("%s comes back to %s, when it held %d objects of %d bytes: %s, %d equal already",
		r, r.At.Format(time.RFC3339Nano), r.Objects, r.Bytes, ch.Summary, d.equal)
	ch.Preconditions = []action.Precondition{
		{Resource: "state of " + r.from.URL(r.Prefix) + " at " + r.At.Format(time.RFC3339Nano), Version: r.State},
		{Resource: "versioning of " + r.to.Name(), Version: "Enabled"},
	}
	if d.unsure > 0 {
		for _, e := range d.ambiguous {
			ch.Preconditions = append(ch.Preconditions, action.Precondition{
				Resource: "ambiguous: " + r.from.URL(e.Key) + " of " + e.Modified.UTC().Format(time.RFC3339Nano), Version: orNone(e.Version),
			})
		}
		ch.Accepts = append(ch.Accepts, action.Acceptance{ID: "ambiguous-versions", Sentence: fmt.Sprintf(
			"%d versions lie within a second of %s, or were uploaded in parts in the hour before: whether they were there then is not settled by their times. The first are among the preconditions.",
			d.unsure, r.At.Format(time.RFC3339Nano))})
	}
	r.Lines = rewind.Encode(d.lines)
	ch.Data, err = action.Encode(r.rewindPlan)
	return ch, err
}

func (s room) applyRewind(ctx context.Context, c action.Call[rewindParams]) (action.Outcome, error) {
	r, lines, err := s.rewindPlanned(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s is as it was at %s", r, r.At.Format(time.RFC3339Nano))}
	if r.Back {
		out.Summary = fmt.Sprintf("%s is as it was before the rewind", r.to.URL(r.toPrefix()))
	}
	out.Mutations, err = r.changes(lines).apply(ctx, c.Guard, c.Progress)
	if err != nil {
		return out, fmt.Errorf("rewind %s: %w", r, err)
	}
	return out, nil
}

// rewindPlanned reads an approved plan.
func (s room) rewindPlanned(ctx context.Context, c action.Call[rewindParams]) (rewindSite, []rewind.Line, error) {
	p, err := action.Decode[rewindPlan](c.Plan.Data)
	if err != nil {
		return rewindSite{}, nil, err
	}
	lines, err := rewind.Decode(p.Lines)
	if err != nil {
		return rewindSite{}, nil, fmt.Errorf("%w: %w", action.ErrRefused, err)
	}
	r, err := s.rewindAt(ctx, c.Estate, p)
	return r, lines, err
}

// planUnrewind plans to take back what of the approved plan was done.
func (s room) planUnrewind(ctx context.Context, c action.Call[rewindParams]) (action.Change, error) {
	r, lines, err := s.rewindPlanned(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	if !r.Back {
		for i := range lines {
			lines[i] = lines[i].Back()
		}
		r.Back, r.from = true, r.to
	}
	todo, err := r.changes(lines).look(ctx)
	if err != nil {
		return action.Change{}, fmt.Errorf("plan to take back the rewind of %s: %w", r.to.URL(r.toPrefix()), err)
	}
	ch := describeLines(r.to.URL(r.toPrefix()), r.to, todo, 1)
	ch.Summary = fmt.Sprintf("%s comes back to what it was before the rewind: %s", r.to.URL(r.toPrefix()), ch.Summary)
	r.Lines = rewind.Encode(todo)
	ch.Data, err = action.Encode(r.rewindPlan)
	return ch, err
}
