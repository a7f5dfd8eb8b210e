package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/objectstore"
	"breakwater/internal/reach"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"
	"breakwater/internal/verdict"

	"golang.org/x/sync/errgroup"
)

// keyState is a key in a fresh listing: what it is now, and what it was at a time.
type keyState struct {
	key       string
	now, then *objectstore.Version // nil where there is nothing to read
}

// statesOf reads a listing anew, key by key, with no word from the plan. The
// bound is the first moment that does not belong to the time any more.
func statesOf(ctx context.Context, b objectstore.Bucket, prefix string, bound time.Time) iter.Seq2[keyState, error] {
	return func(yield func(keyState, error) bool) {
		var st keyState
		begun, past := false, false
		for v, err := range b.ListVersions(ctx, prefix) {
			if err != nil {
				yield(keyState{}, err)
				return
			}
			if begun && v.Key != st.key && !yield(st, nil) {
				return
			}
			if !begun || v.Key != st.key {
				st, begun, past = keyState{key: v.Key}, true, false
			}
			if v.Latest && !v.DeleteMarker {
				st.now = &v
			}
			if !past && v.LastModified.Before(bound) {
				if past = true; !v.DeleteMarker {
					st.then = &v
				}
			}
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

// compared is one key to hold against what it is to be.
type compared struct {
	key        string
	got        *objectstore.Version // nil: nothing to read
	want       *objectstore.Version
	from       objectstore.Bucket // where want lies
	fromKey    string
	difference string // empty: equal
	sure       bool   // the listing alone tells
}

// differ says how they differ by what the listing shows; sure is false where only
// the objects can tell.
func (k compared) differ() (difference string, sure bool) {
	switch {
	case k.want == nil && k.got == nil:
		return "", true
	case k.want == nil:
		return "is there with version " + k.got.VersionID + ", and was not", true
	case k.got == nil:
		return "is not there, and was with version " + k.want.VersionID, true
	case k.got.Size != k.want.Size:
		return fmt.Sprintf("has %d bytes, and had %d", k.got.Size, k.want.Size), true
	case k.got.ETag != k.want.ETag:
		return fmt.Sprintf("has ETag %s, and had %s", k.got.ETag, k.want.ETag), false
	}
	return "", true
}

// byObjects settles by checksum or, without one in common, by the source version
// in the copy's metadata. It goes by no date.
func (k compared) byObjects(ctx context.Context, to objectstore.Bucket) (equal bool, err error) {
	got, err := to.Describe(ctx, k.key, k.got.VersionID)
	if err != nil {
		return false, err
	}
	want, err := k.from.Describe(ctx, k.fromKey, k.want.VersionID)
	if err != nil {
		return false, err
	}
	if same, known := got.SameChecksum(want); known {
		return same && got.Size == want.Size, nil
	}
	return got.Size == want.Size && got.CopyOf == objectstore.SourceName(k.want.VersionID, k.want.ETag), nil
}

// comparing collects what differs. It holds no key that is as it is to be.
type comparing struct {
	to      objectstore.Bucket
	counted int
	unlike  []compared
}

func (c *comparing) add(k compared) {
	c.counted++
	if k.difference, k.sure = k.differ(); k.difference != "" {
		c.unlike = append(c.unlike, k)
	}
}

// settle asks the objects where the listing does not tell, and leaves what
// differs.
func (c *comparing) settle(ctx context.Context) error {
	equal := make([]bool, len(c.unlike))
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(perform.AtOnce)
	for i, k := range c.unlike {
		if k.sure {
			continue
		}
		work.Go(func() (err error) {
			equal[i], err = k.byObjects(wctx, c.to)
			if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, objectstore.ErrNoBucket) { // went away meanwhile: it differs
				err = nil
			}
			return err
		})
	}
	err := work.Wait()
	var left []compared
	for i, k := range c.unlike {
		if !equal[i] {
			left = append(left, k)
		}
	}
	c.unlike = left
	return err
}

// got says what was found, after settle.
func (c *comparing) got(things string) string {
	if len(c.unlike) == 0 {
		return fmt.Sprintf("%d %s", c.counted, things)
	}
	first := slices.MinFunc(c.unlike, func(a, b compared) int { return strings.Compare(a.key, b.key) })
	return fmt.Sprintf("%d of %d differ, the first: %s %s", len(c.unlike), c.counted, c.to.URL(first.key), first.difference)
}

// observed concludes from what was compared. Nothing compared, nothing concluded,
// unless that is what is to be.
func (r rewindSite) observed(ctx context.Context, run action.Run, what string, c *comparing, empty bool) action.Observation {
	want := fmt.Sprintf("%d keys", c.counted)
	if err := c.settle(ctx); err != nil {
		return r.unseen(run, what, want, err)
	}
	o := action.Saw(what, want, c.got("keys"), len(c.unlike) == 0 && (c.counted > 0 || empty))
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
	r, _, err := s.rewindPlanned(ctx, c)
	if err != nil {
		return nil, err
	}
	what := "every key is as it was at " + r.At.Format(time.RFC3339Nano)
	there := map[string]*objectstore.Version{} // where the state was put into another place
	if !r.inPlace() {
		for st, err := range statesOf(ctx, r.place.To, r.IntoPrefix, bound(r.At)) {
			if err != nil {
				return []action.Observation{r.unseen(c.Run, what, "a listing", err)}, nil
			}
			there[st.key] = st.now
		}
	}
	all := &comparing{to: r.place.To}
	var state rewind.State
	for st, err := range statesOf(ctx, r.place.From, r.Prefix, bound(r.At)) {
		if err != nil {
			return []action.Observation{r.unseen(c.Run, what, "a listing", err)}, nil
		}
		k := compared{key: r.place.ToKey(st.key), got: st.now, want: st.then, from: r.place.From, fromKey: st.key}
		if !r.inPlace() {
			k.got = there[k.key]
			delete(there, k.key)
		}
		if v := st.then; v != nil {
			state.Add(rewind.History{Key: st.key, Then: rewind.Version{ID: v.VersionID, ETag: v.ETag, Size: v.Size}})
		}
		all.add(k)
	}
	for key, v := range there { // what came from elsewhere
		all.add(compared{key: key, got: v})
	}
	const approved = "what was there at the time is what was approved"
	want := fmt.Sprintf("%d objects, %d bytes, %s", r.Objects, r.Bytes, r.State)
	got := fmt.Sprintf("%d objects, %d bytes, %s", state.Objects, state.Bytes, state.Digest())
	same := action.Saw(approved, want, got, got == want)
	same.Item = r.place.From.URL(r.Prefix)
	return []action.Observation{r.observed(ctx, c.Run, what, all, r.Objects == 0), same}, nil
}

// verifyUnrewind looks at the keys that are taken back as a reader sees them.
func (s room) verifyUnrewind(ctx context.Context, c action.Call[rewindParams]) ([]action.Observation, error) {
	const what = "every key that the rewind changed is as it was before"
	r, lines, err := s.rewindPlanned(ctx, c)
	if err != nil {
		return nil, err
	}
	all, err := compareLines(ctx, r.place.To, []string{r.place.ToPrefix}, lines)
	if err != nil {
		return []action.Observation{r.unseen(c.Run, what, fmt.Sprintf("%d keys", len(lines)), err)}, nil
	}
	return []action.Observation{r.observed(ctx, c.Run, what, all, len(lines) == 0)}, nil
}

// compareLines holds the keys of lines, which are sorted, against what they are
// to be.
func compareLines(ctx context.Context, to objectstore.Bucket, prefixes []string, lines []rewind.Line) (*comparing, error) {
	all, i := &comparing{to: to}, 0
	add := func(l rewind.Line, got *objectstore.Version) {
		k := compared{key: l.Key, got: got, from: to, fromKey: l.Key}
		if l.Then.There() {
			k.want = &objectstore.Version{Object: objectstore.Object{Key: l.Key, Size: l.Then.Size, ETag: l.Then.ETag, VersionID: l.Then.ID}}
		}
		all.add(k)
	}
	for _, prefix := range prefixes {
		for o, err := range to.List(ctx, prefix) {
			if err != nil {
				return nil, err
			}
			for i < len(lines) && lines[i].Key < o.Key {
				add(lines[i], nil)
				i++
			}
			if i < len(lines) && lines[i].Key == o.Key {
				add(lines[i], &objectstore.Version{Object: o})
				i++
			}
		}
	}
	for ; i < len(lines); i++ {
		add(lines[i], nil)
	}
	return all, nil
}
