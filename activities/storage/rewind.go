package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"
	"breakwater/internal/table"
	"breakwater/internal/verdict"
)

// rewindParams are what a step says about a rewind.
type rewindParams struct {
	At           time.Time `json:"at" doc:"the moment to come back to, with a zone; without a fraction of a second the whole second belongs to it"`
	Prefix       string    `json:"prefix,omitempty" doc:"the keys to rewind; all of the bucket when empty"`
	Region       string    `json:"region,omitempty" doc:"the region whose bucket it is; the run's target, else the primary, when empty"`
	Into         string    `json:"into,omitempty" doc:"a logical bucket of the same region to put the state into, instead of rewinding in place"`
	IntoPrefix   string    `json:"into_prefix,omitempty" doc:"what stands there in place of prefix; nothing else may be under it"`
	Unknown      string    `json:"unknown,omitempty" doc:"what becomes of a key of which it cannot be known what it was at that moment, since a lifecycle rule may have removed that version, or none was kept: keep it as it is (the default), or hide it"`
	UnmarkDelete bool      `json:"remove_delete_markers,omitempty" doc:"bring deleted objects back by removing their delete markers for good, where nothing else is newer: far fewer requests. The gate must accept it. Otherwise they are copied"`
}

func (s room) rewindActions(c *action.Catalogue) {
	action.Add(c, action.Action[rewindParams]{
		Name: "storage.rewind", Over: estate.BucketKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Doc: "Bring a prefix of a versioned bucket back to what it was at a moment, in place or into another bucket. " +
			"Earlier versions are put over later ones, so that the rewind can itself be rewound.",
		Timing: action.Timing{Timeout: 12 * time.Hour, Estimate: time.Minute},
		Plan:   s.planRewind, Apply: s.applyRewind, Verify: s.verifyRewind,
		Undo: &action.Undo[rewindParams]{Plan: s.planUnrewind, Apply: s.applyRewind, Verify: s.verifyUnrewind, Show: showRewind},
		Show: showRewind, ShowPart: lake.ShowLines, Rules: lake.LineRules(),
		Permits: permit.Join(permit.Changes(permit.Target, permit.Objects), permit.Unhides(permit.Target, permit.Objects), permit.Administers(permit.Target, permit.Oversees)),
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
	planned
	Back bool `json:"back,omitempty"` // the lines take a rewind back
	Hide bool `json:"hide,omitempty"` // keys of which nothing can be known are hidden
}

// Words is [action.Worded]: the lines are encoded.
func (p rewindPlan) Words() (any, error) {
	lines, err := lake.LineWords(p.Lines)
	p.Lines = nil
	return worded[rewindPlan]{p, lines}, err
}

var showRewind = action.Shows[rewindPlan, action.None]()

// What becomes of a key of which it cannot be known what it was.
const (
	keepUnknown = "keep"
	hideUnknown = "hide"
)

// inPlace reports whether the bucket is brought back where it is.
func (p rewindPlan) inPlace() bool { return p.Into == "" }

// rewindSite is where a rewind happens.
type rewindSite struct {
	rewindPlan
	place perform.Place
}

// rewindAt connects to where a plan is about.
func (s room) rewindAt(ctx context.Context, e *estate.Estate, p rewindPlan) (rewindSite, error) {
	client, err := s.Storage(ctx, e, p.Region)
	if err != nil {
		return rewindSite{}, err
	}
	b := objectstore.Bind(client, p.Bucket)
	r := rewindSite{p, perform.Place{From: b, Prefix: p.Prefix, To: b, ToPrefix: p.Prefix, At: p.At, Entries: s.Formats().Entry}}
	if !p.inPlace() {
		r.place.To, r.place.ToPrefix = objectstore.Bind(client, p.Into), p.IntoPrefix
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
	if w.Unknown != "" && w.Unknown != keepUnknown && w.Unknown != hideUnknown {
		return refuse("unknown is %q; set %s or %s", w.Unknown, keepUnknown, hideUnknown)
	}
	region, err := lake.RegionFor(c.Run, c.Estate, w.Region)
	if err != nil {
		return rewindSite{}, err
	}
	p := rewindPlan{At: w.At.UTC(), Region: region, Prefix: w.Prefix, Hide: w.Unknown == hideUnknown}
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
		return r.place.From.URL(r.Prefix)
	}
	return r.place.From.URL(r.Prefix) + " into " + r.place.To.URL(r.IntoPrefix)
}

// changes are a plan's lines over the place. Those that take a rewind back bring
// earlier versions of the very keys that they change.
func (r rewindSite) changes(lines perform.Lines) *perform.Changes {
	if r.Back {
		return &perform.Changes{To: r.place.To, From: r.place.To, Prefixes: []string{r.place.ToPrefix}, Lines: lines, Entries: r.place.Entries}
	}
	return r.place.Changes(lines)
}

// unfit gives what makes a plan impossible the contract's class.
func unfit(err error) error {
	if taken := (*perform.TakenError)(nil); errors.As(err, &taken) {
		return fmt.Errorf("%w: %w", action.ErrRefused, err)
	}
	return err
}

// stopped gives what stops a plan that is performed the contract's class.
func stopped(err error) error {
	return action.Classed(action.Classed(err, perform.ErrMoved, action.ErrMoved), perform.ErrLines, action.ErrRefused)
}

func (s room) planRewind(ctx context.Context, c action.Call[rewindParams]) (action.Change, error) {
	r, err := s.rewindWhere(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	fail := func(doing string, err error) (action.Change, error) {
		return action.Change{}, fmt.Errorf("plan to rewind %s to %s: %s: %w", r, r.At.Format(time.RFC3339Nano), doing, err)
	}
	for _, b := range []objectstore.Bucket{r.place.From, r.place.To} {
		if why, err := b.Unversioned(ctx); err != nil {
			return fail("ask whether bucket "+b.Name()+" keeps versions", err)
		} else if why != "" {
			return fail(why, action.ErrRefused)
		}
	}
	forgets, err := s.forgetting(ctx, c.Estate, r.rewindPlan)
	if err != nil {
		return fail("ask what removes versions from it", err)
	}
	r.place.Losses, r.place.Except = forgets.losses, forgets.except
	var lines *planning
	d, err := r.place.Draw(ctx, rewind.Choice{Unmark: c.With.UnmarkDelete, Hide: r.Hide}, shownLines, func() perform.Put {
		lines = s.planning(c.Request)
		return lines.put
	})
	if err != nil {
		return fail("compare it with what it was", unfit(err))
	}
	if len(d.Archived) > 0 {
		says := r.place.From.Restoring(d.Archived)
		if d.Archives > int64(len(d.Archived)) {
			says = fmt.Sprintf("%s archived: %s", plural.Of(d.Archives, "version", "is", "are"), says)
		}
		return fail(says, action.ErrRefused)
	}
	var parts []string
	if r.planned, parts, err = lines.end(ctx); err != nil {
		return fail("keep its lines", err)
	}
	r.State, r.Objects, r.Bytes = d.State.Digest(), d.State.Objects, d.State.Bytes
	ch := lines.describe(r.place.To.URL(r.place.ToPrefix), r.place.To, (d.Entries+999)/1000)
	ch.Parts = parts
	ch.Summary = fmt.Sprintf("%s comes back to %s, when it held %s%s of %s: %s, %d equal already",
		r, r.At.Format(time.RFC3339Nano), forgets.atLeast(d), plural.Of(r.Objects, "object"), plural.Of(r.Bytes, "byte"), ch.Summary, d.Equal)
	ch.Preconditions = []action.Precondition{
		{Resource: "state of " + r.place.From.URL(r.Prefix) + " at " + r.At.Format(time.RFC3339Nano), Version: r.State},
		{Resource: "versioning of " + r.place.To.Name(), Version: "Enabled"},
	}
	forgets.tell(&ch, r, d)
	if d.Unsure > 0 {
		for _, e := range d.Ambiguous {
			ch.Preconditions = append(ch.Preconditions, action.Precondition{
				Resource: "ambiguous: " + r.place.From.URL(e.Key) + " of " + e.Modified.UTC().Format(time.RFC3339Nano), Version: perform.OrNone(e.Version),
			})
		}
		ch.Accepts = append(ch.Accepts, action.Acceptance{ID: "ambiguous-versions", Sentence: fmt.Sprintf(
			"%s within a second of %s, or were uploaded in parts in the hour before: whether they were there then is not settled by their times. The first are among the preconditions.",
			plural.Of(d.Unsure, "version", "lies", "lie"), r.At.Format(time.RFC3339Nano))})
	}
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
		out.Summary = fmt.Sprintf("%s is as it was before the rewind", r.place.To.URL(r.place.ToPrefix))
	}
	out.Mutations, err = r.changes(lines).Apply(ctx, table.Work{Guard: c.Guard, Progress: c.Progress})
	if err != nil {
		return out, fmt.Errorf("rewind %s: %w", r, stopped(err))
	}
	return out, nil
}

// rewindPlanned reads an approved plan.
func (s room) rewindPlanned(ctx context.Context, c action.Call[rewindParams]) (rewindSite, perform.Lines, error) {
	p, err := action.Decode[rewindPlan](c.Plan.Data)
	if err != nil {
		return rewindSite{}, nil, err
	}
	lines, err := p.read(c.Request)
	if err != nil {
		return rewindSite{}, nil, err
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
	on := r.place.To.URL(r.place.ToPrefix)
	var ch action.Change
	var buried int64
	if r.planned, ch, buried, err = s.planBack(ctx, c.Request, r.changes(lines), r.Back, on); err != nil {
		return action.Change{}, fmt.Errorf("plan to take back the rewind of %s: %w", on, err)
	}
	r.Back = true
	ch.Summary = fmt.Sprintf("%s comes back to what it was before the rewind: %s", on, ch.Summary)
	if buried > 0 {
		ch.Summary += fmt.Sprintf("; %d of them to what was written between its plan and its change", buried)
	}
	ch.Data, err = action.Encode(r.rewindPlan)
	return ch, err
}
