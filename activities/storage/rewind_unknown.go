package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"
	"breakwater/internal/verdict"
)

// forgetting is what a bucket does so that a listing does not show any more what was
// there at a time.
type forgetting struct {
	rules  []string // all that remove something, in words; sorted
	losses []rewind.Loss
	except []string // prefixes below which no versions are kept
}

// forgetting asks for the rules of the bucket whose listing a plan rests on. A store
// that does not let us read them says nothing, and so every absence is in doubt.
func (s room) forgetting(ctx context.Context, e *estate.Estate, p rewindPlan) (forgetting, error) {
	var f forgetting
	overseer, err := s.Overseer(ctx, e, p.Region)
	var cycle objectstore.Lifecycle
	if err == nil {
		cycle, err = overseer.Lifecycle(ctx, p.Bucket)
	}
	var v objectstore.Versioning
	if err == nil {
		v, err = overseer.Versioning(ctx, p.Bucket)
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, objectstore.ErrLacks) {
		f.rules = []string{"not known: the store does not let us read them"}
		f.losses = []rewind.Loss{{Why: "the bucket's lifecycle rules cannot be read, and one of them may have removed it"}}
		return f, nil
	}
	f.except = v.Except
	now := time.Now()
	for _, r := range cycle.Removals {
		if !r.Touches(p.Prefix) || r.What == objectstore.RemovesBareMarkers {
			continue
		}
		f.rules = append(f.rules, r.String())
		if r.Forgets(p.At, now) {
			f.losses = append(f.losses, rewind.Loss{Why: r.String(), Prefix: r.Prefix, Narrowed: r.Narrowed, Keep: r.Keep})
		}
	}
	slices.Sort(f.rules)
	return f, err
}

// words are the rules, for people and for comparison.
func (f forgetting) words() string {
	if len(f.rules) == 0 {
		return "none"
	}
	return strings.Join(f.rules, "; ")
}

// atLeast goes before a number of objects that may have been more.
func (f forgetting) atLeast(d perform.Drawn) string {
	if len(f.losses) == 0 && d.Unknowns == 0 && d.Gap.At.IsZero() {
		return ""
	}
	return "at least "
}

// tell puts what cannot be known into a plan: on what that rests, and what people
// accept with it.
func (f forgetting) tell(ch *action.Change, r rewindSite, d perform.Drawn) {
	at := r.At.Format(time.RFC3339Nano)
	ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: "lifecycle rules of s3://" + r.Bucket, Version: f.words()})
	var why []string
	for _, l := range f.losses {
		why = append(why, l.Why)
	}
	if gap := d.Gap.Why(); gap != "" {
		why = append(why, gap)
	}
	if len(why) > 0 {
		ch.Accepts = append(ch.Accepts, action.Acceptance{ID: "removed-without-trace", Sentence: fmt.Sprintf(
			"What was overwritten or deleted after %s may be gone without a trace, and does not come back then: %s.", at, strings.Join(why, "; "))})
	}
	if d.Unknowns == 0 {
		return
	}
	for _, u := range d.Unknown {
		ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: "not known at " + at + ": " + r.place.From.URL(u.Key), Version: u.Why})
	}
	becomes := "They are left as they are; set unknown: hide to hide them instead."
	switch {
	case !r.inPlace():
		becomes = "They are left out."
	case r.Hide:
		becomes = "They are hidden, but for those whose version is null, which the store might not keep."
	}
	ch.Accepts = append(ch.Accepts, action.Acceptance{ID: "unknown-at-time", Sentence: fmt.Sprintf(
		"Of %s it cannot be known what they were at %s. %s The first are among the preconditions.", plural.Of(d.Unknowns, "key"), at, becomes)})
}

// changing are the lines that change something.
func changing(lines []rewind.Line) []rewind.Line {
	return slices.DeleteFunc(slices.Clone(lines), func(l rewind.Line) bool { return l.Do == rewind.Keep })
}

// judging holds a fresh listing against what a plan says that cannot be known.
type judging struct {
	site   rewindSite
	lines  *perform.Cursor // of the plan, by key in To
	losses []rewind.Loss
	except []string

	gap     perform.Gap
	hidden  int             // keys that the plan hides
	absent  int             // of them, those without an entry as at the time
	guessed int             // of them, those of which it cannot be known that they were not there
	first   perform.Unknown // of the latter
}

// line is the plan's line of a key, false where it has none. Keys come in order.
func (j *judging) line(key string) (rewind.Line, bool, error) {
	for j.lines.Below(key) {
		j.lines.Next()
	}
	if j.lines.At(key) {
		return j.lines.Line, true, nil
	}
	return rewind.Line{}, false, j.lines.Err
}

// see looks at a key, with the plan's line of it.
func (j *judging) see(st keyState, l rewind.Line) {
	j.gap.See(rewind.History{Key: st.key, Unkept: st.unkept, Kept: st.kept}, j.except)
	if l.Do != rewind.Mark {
		return
	}
	j.hidden++
	h := rewind.History{Key: st.key, Found: st.past, Unkept: st.unkept, Entries: st.entries}
	if st.now == nil {
		h.Entries-- // the delete marker that this run added
	}
	if why := h.Why(j.losses); why != "" {
		if j.guessed++; j.guessed == 1 {
			j.first = perform.Unknown{Key: j.site.place.From.URL(st.key), Why: why}
		}
	} else if !st.past {
		j.absent++
	}
}

const whatHidden = "what was hidden is known not to have been there"

// observed says whether what was hidden is known not to have been there.
func (j *judging) observed(ctx context.Context) (action.Observation, error) {
	if j.absent > 0 {
		if err := j.gap.Settle(ctx, j.site.place.From, j.site.At); err != nil {
			return action.Observation{}, err
		}
	}
	want := plural.Of(j.hidden, "key")
	n, first := j.guessed, j.first
	if why := j.gap.Why(); why != "" && j.absent > 0 {
		n += j.absent
		if first.Key == "" {
			first = perform.Unknown{Key: plural.Of(j.absent, "key"), Why: why}
		}
	}
	what := whatHidden
	o := action.Saw(what, want, want, true)
	switch {
	case n > 0 && j.site.Hide:
		o = action.Saw(what, want, fmt.Sprintf("%s; of %d it cannot be known, and people accepted to hide them", plural.Of(j.hidden-n, "key"), n), true)
	case n > 0:
		o = action.Observation{What: what, Want: want, Verdict: verdict.Unknown, Got: fmt.Sprintf(
			"of %s it cannot be known, the first: %s: %s; take the rewind back, or look for what they held", plural.Of(n, "key"), first.Key, first.Why)}
	}
	o.Item = j.site.place.From.URL(j.site.Prefix)
	return o, nil
}
