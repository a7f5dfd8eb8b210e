package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
	"breakwater/internal/reach"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"
	"breakwater/internal/verdict"
)

// keyState is a key in a fresh listing: what it is now, and what it was at a time.
type keyState struct {
	key       string
	now, then *objectstore.Version // nil where there is nothing to read
	past      bool                 // whether there is an entry as at the time
	kept      bool                 // and one that shows that versions were kept
	unkept    time.Time            // of the version null, if that is newer; zero otherwise
	entries   int                  // versions and delete markers
	heads     []rewind.Entry       // the newest, until the next key
}

// statesOf reads a listing anew, key by key, with no word from the plan. The
// bound is the first moment that does not belong to the time any more.
func statesOf(ctx context.Context, b objectstore.Bucket, prefix string, bound time.Time) iter.Seq2[keyState, error] {
	return func(yield func(keyState, error) bool) {
		var st keyState
		begun := false
		for v, err := range b.ListVersions(ctx, prefix) {
			if err != nil {
				yield(keyState{}, err)
				return
			}
			if begun && v.Key < st.key {
				yield(keyState{}, fmt.Errorf("%w: %q comes after %q", rewind.ErrOrder, v.Key, st.key))
				return
			}
			if begun && v.Key != st.key && !yield(st, nil) {
				return
			}
			if !begun || v.Key != st.key {
				st, begun = keyState{key: v.Key, heads: st.heads[:0]}, true
			}
			if st.entries++; len(st.heads) < rewind.Heads {
				st.heads = append(st.heads, perform.Entry(v))
			}
			if v.Latest && !v.DeleteMarker {
				st.now = &v
			}
			switch {
			case !v.LastModified.Before(bound):
				if v.VersionID == rewind.Null {
					st.unkept = v.LastModified
				}
			case !st.past:
				if st.past = true; !v.DeleteMarker {
					st.then = &v
				}
			}
			st.kept = st.kept || v.LastModified.Before(bound) && v.VersionID != rewind.Null
		}
		if begun {
			yield(st, nil)
		}
	}
}

// bound is the first moment after a time, where a whole second stands for all of it.
func bound(at time.Time) time.Time {
	if at.Truncate(time.Second).Equal(at) {
		return at.Add(time.Second)
	}
	return at.Add(1)
}

// pair is a key where the state came to, beside what its origin is and was.
type pair struct {
	key  string
	got  *objectstore.Version // nil where there is nothing to read
	from bool                 // there is an origin, which follows
	keyState
}

// pairs lists the place, and where the state came to beside it, in the order of the keys.
func (r rewindSite) pairs(ctx context.Context) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		to := iter.Seq2[keyState, error](func(func(keyState, error) bool) {})
		if !r.inPlace() {
			to = statesOf(ctx, r.place.To, r.IntoPrefix, bound(r.At))
		}
		next, stop := iter.Pull2(to)
		defer stop()
		other, otherErr, more := next()
		// alone yields the keys of the other place that have no origin.
		alone := func(below func() bool) bool {
			for more && otherErr == nil && below() {
				if !yield(pair{key: other.key, got: other.now}, nil) {
					return false
				}
				other, otherErr, more = next()
			}
			if otherErr != nil {
				yield(pair{}, otherErr)
			}
			return otherErr == nil
		}
		for st, err := range statesOf(ctx, r.place.From, r.Prefix, bound(r.At)) {
			if err != nil {
				yield(pair{}, err)
				return
			}
			p := pair{key: r.place.ToKey(st.key), got: st.now, from: true, keyState: st}
			if !r.inPlace() {
				if !alone(func() bool { return other.key < p.key }) {
					return
				}
				if p.got = nil; more && other.key == p.key {
					p.got = other.now
					other, otherErr, more = next()
				}
			}
			if !yield(p, nil) {
				return
			}
		}
		alone(func() bool { return true })
	}
}

// observed concludes from what was compared. Nothing compared, nothing concluded,
// unless that is what is to be.
func (r rewindSite) observed(ctx context.Context, run action.Run, what string, c *comparing, empty bool) action.Observation {
	want := plural.Of(c.counted, "key")
	if err := c.settle(ctx); err != nil {
		return r.unseen(run, what, want, err)
	}
	o := action.Saw(what, want, c.got("keys"), c.differ == 0 && (c.counted > 0 || empty))
	o.Item = r.place.To.URL(r.place.ToPrefix)
	return o
}

// unseen is the observation of something that could not be listed.
func (r rewindSite) unseen(run action.Run, what, want string, err error) action.Observation {
	o := action.Unknown(run, r.Region, what, want, err, fmt.Sprintf("look at %s again: %s", r.place.To.URL(r.place.ToPrefix), what))
	if errors.Is(err, objectstore.ErrNoBucket) && !reach.Unreachable(err) {
		o = action.Observation{What: what, Want: want, Got: err.Error(), Verdict: verdict.Fail}
	}
	o.Item = r.place.To.URL(r.place.ToPrefix)
	return o
}

// verifyRewind lists anew, works out what was there at the time, and holds every
// key against it; then the state found against the one that was approved, since
// a version of it that is gone meanwhile cannot have come back.
func (s room) verifyRewind(ctx context.Context, c action.Call[rewindParams]) ([]action.Observation, error) {
	r, lines, err := s.rewindPlanned(ctx, c)
	if err != nil {
		return nil, err
	}
	what := "every key is as it was at " + r.At.Format(time.RFC3339Nano)
	forgets, err := s.forgetting(ctx, c.Estate, r.rewindPlan)
	if err != nil {
		return []action.Observation{r.unseen(c.Run, what, "the rules that remove versions", err)}, nil
	}
	j := &judging{site: r, lines: perform.NewCursor(lines.All(ctx)), losses: forgets.losses, except: forgets.except}
	defer j.lines.Stop()
	under := &covering{changes: r.changes(lines)}
	all := &comparing{to: r.place.To}
	var state rewind.State
	for p, err := range r.pairs(ctx) {
		if err != nil {
			return []action.Observation{r.unseen(c.Run, what, "a listing", err)}, nil
		}
		if !p.from { // it came from elsewhere
			all.add(ctx, compared{key: p.key, got: p.got})
			continue
		}
		k := compared{key: p.key, got: p.got, want: p.then, from: r.place.From, fromKey: p.keyState.key}
		l, planned, err := j.line(k.key)
		if err != nil {
			return nil, fmt.Errorf("verify the rewind of %s: %w", r, stopped(err))
		}
		j.see(p.keyState, l)
		if e, ok := l.Buried(p.heads); ok && r.inPlace() {
			under.add(ctx, perform.Buried{Line: l, Version: e})
		}
		switch {
		case l.Do == rewind.Keep && r.inPlace(): // nobody knows what it was: it stays what the plan found
			k.want = versionOf(l.Key, l.Now)
		case l.Do == rewind.Keep, l.Do == rewind.Mark:
			k.want = nil
		}
		if v := p.then; v != nil && (!planned || l.Do != rewind.Keep && l.Do != rewind.Mark) {
			state.Add(rewind.History{Key: p.keyState.key, Then: rewind.Version{ID: v.VersionID, ETag: v.ETag, Size: v.Size}})
		}
		all.add(ctx, k)
	}
	const approved = "what was there at the time is what was approved"
	want := fmt.Sprintf("%s, %s, %s", plural.Of(r.Objects, "object"), plural.Of(r.Bytes, "byte"), r.State)
	got := fmt.Sprintf("%s, %s, %s", plural.Of(state.Objects, "object"), plural.Of(state.Bytes, "byte"), state.Digest())
	same := action.Saw(approved, want, got, got == want)
	same.Item = r.place.From.URL(r.Prefix)
	obs := []action.Observation{r.observed(ctx, c.Run, what, all, r.Objects == 0), same}
	if under.sift(ctx); under.err != nil {
		obs = append(obs, r.unseen(c.Run, lake.WhatBuried, "the versions there", under.err))
	} else {
		obs = append(obs, lake.NotBuried(r.place.To, under.n, under.first))
	}
	if r.inPlace() && j.hidden > 0 {
		o, err := j.observed(ctx)
		if err != nil {
			o = r.unseen(c.Run, whatHidden, "a listing", err)
		}
		obs = append(obs, o)
	}
	return obs, nil
}

// verifyUnrewind looks at the keys that are taken back as a reader sees them.
func (s room) verifyUnrewind(ctx context.Context, c action.Call[rewindParams]) ([]action.Observation, error) {
	const what = "every key that the rewind changed is as it was before"
	r, lines, err := s.rewindPlanned(ctx, c)
	if err != nil {
		return nil, err
	}
	all, err := compareLines(ctx, r.place.To, []string{r.place.ToPrefix}, lines)
	switch {
	case errors.Is(err, errPlan):
		return nil, fmt.Errorf("verify that the rewind of %s was taken back: %w", r, stopped(err))
	case err != nil:
		return []action.Observation{r.unseen(c.Run, what, "a listing", err)}, nil
	}
	return []action.Observation{r.observed(ctx, c.Run, what, all, all.counted == 0)}, nil
}

// versionOf is a version of a plan as a listing has it; nil where there is nothing to
// read.
func versionOf(key string, v rewind.Version) *objectstore.Version {
	if !v.There() {
		return nil
	}
	return &objectstore.Version{Object: objectstore.Object{Key: key, Size: v.Size, ETag: v.ETag, VersionID: v.ID}}
}

// errPlan is in the chain of an error about the plan, and not about the store.
var errPlan = errors.New("read the plan")

// compareLines holds the keys of lines against what they are to be.
func compareLines(ctx context.Context, to objectstore.Bucket, prefixes []string, lines perform.Lines) (*comparing, error) {
	all, at := &comparing{to: to}, perform.NewCursor(lines.All(ctx))
	defer at.Stop()
	add := func(got *objectstore.Version) {
		all.add(ctx, compared{key: at.Line.Key, got: got, want: versionOf(at.Line.Key, at.Line.Then), from: to, fromKey: at.Line.Key})
		at.Next()
	}
	for _, prefix := range prefixes {
		for o, err := range to.List(ctx, prefix) {
			if err != nil {
				return nil, err
			}
			for at.Below(o.Key) {
				add(nil)
			}
			if at.At(o.Key) {
				add(&objectstore.Version{Object: o})
			}
		}
	}
	for at.There {
		add(nil)
	}
	if at.Err != nil {
		return nil, fmt.Errorf("%w: %w", errPlan, at.Err)
	}
	return all, nil
}
