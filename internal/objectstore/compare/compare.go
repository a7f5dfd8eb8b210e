// Package compare holds what lies in a bucket against its copy in another store, as
// replication should have made it: by the listings of all versions, and where those
// differ, by a look at each object. It only reads.
package compare

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/listing"

	"golang.org/x/sync/errgroup"
)

// lookedAt is how many differences are asked about one by one. A
// listing tells that something is missing, and only a look at the object why.
const lookedAt = 2000

// atOnce is how many objects are asked about at a time.
const atOnce = 16

// Side is one of the two buckets.
type Side int

// The sides of a comparison.
const (
	Source Side = iota + 1
	Target
)

// SideError says which of the two an error came from. Its text is the error's own.
type SideError struct {
	Side Side
	err  error
}

// Error is the text of what went wrong.
func (e *SideError) Error() string { return e.err.Error() }

// Unwrap is what went wrong.
func (e *SideError) Unwrap() error { return e.err }

// Comparison holds a source's bucket against the target's.
type Comparison struct {
	Source, Target objectstore.Bucket
	// KeepsDeleted says that deletions are not to be replicated: what the source has
	// deleted must be at the target.
	KeepsDeleted bool
	// Retention is for how long a version that is not current any more must be at both.
	Retention time.Duration
	Now       time.Time
	// Progress is told now and then how far the comparison is: see [listing.Walk]. It may
	// be nil.
	Progress func(State)
	// AtOnce is how many listings' requests may be under way; as many as usual when zero.
	AtOnce int
}

// State is how far a comparison has come. Another one can begin with it, and goes on with
// what is left.
type State = listing.State[Sum]

// Sum is what was found so far.
type Sum struct {
	Drift    Drift     `json:"drift"`
	Suspects []Suspect `json:"suspects,omitempty"` // to be asked about in the end
}

// Suspect is a difference that the listings show, and a closer look may explain.
type Suspect struct {
	Fate    Fate                `json:"fate,omitempty"` // empty: the source's version is not at the target
	Version objectstore.Version `json:"version"`
	Strange bool                `json:"strange,omitempty"` // what is current at the target has content that the source never had
}

// Below compares what lies below prefixes, none within another. Every error is a
// [SideError] or the end of the context.
func (c Comparison) Below(ctx context.Context, prefixes ...string) (*Drift, error) {
	return c.From(ctx, listing.Below[Sum](prefixes...))
}

// From goes on with a comparison. Its errors are those of [Comparison.Below].
func (c Comparison) From(ctx context.Context, s State) (*Drift, error) {
	sum, err := listing.Walk[Sum]{
		Buckets: []objectstore.Bucket{c.Source, c.Target},
		Look: func(_ context.Context, keys []listing.Key) (found Sum, _ error) {
			for _, k := range keys {
				found.suspect(c.differs(&found.Drift, k[0], k[1]))
			}
			return found, nil
		},
		Add:      func(sum *Sum, part Sum) { sum.add(part) },
		Progress: c.Progress, AtOnce: c.AtOnce,
	}.Do(ctx, s)
	if at := (*listing.BucketError)(nil); errors.As(err, &at) {
		return nil, &SideError{[]Side{Source, Target}[at.Bucket], err}
	}
	if err != nil {
		return nil, err
	}
	return &sum.Drift, c.explain(ctx, &sum.Drift, sum.Suspects)
}

// add adds what was found somewhere else.
func (s *Sum) add(part Sum) {
	s.Drift.Merge(&part.Drift)
	s.suspect(part.Suspects)
}

// suspect keeps what is to be looked at, and counts what is too much.
func (s *Sum) suspect(all []Suspect) {
	n := min(len(all), lookedAt-len(s.Suspects))
	s.Suspects = append(s.Suspects, all[:n]...)
	for _, more := range all[n:] {
		s.Drift.count(cmp.Or(more.Fate, Unlooked), more.tally())
	}
}

func (s Suspect) tally() Tally {
	return Tally{Count: 1, Bytes: s.Version.Size, Oldest: s.Version.LastModified, Examples: []string{s.Version.Key}}
}

// differs holds one key's histories against each other.
func (c Comparison) differs(d *Drift, source, target []objectstore.Version) []Suspect {
	var top objectstore.Version
	if len(target) > 0 {
		top = target[0]
	}
	if len(source) == 0 {
		if !top.DeleteMarker {
			d.Extra.Add(Tally{Count: 1, Bytes: top.Size, Oldest: top.LastModified, Examples: []string{top.Key}})
		}
		return nil
	}
	strange := top.Key != "" && !top.DeleteMarker && held(source, top) < 0
	var all []Suspect
	first := slices.IndexFunc(source, func(v objectstore.Version) bool { return !v.DeleteMarker })
	gone := source[0].DeleteMarker
	if !gone {
		d.Objects++
		d.Bytes += source[0].Size
	}
	switch {
	case gone && c.KeepsDeleted && slices.ContainsFunc(target, func(v objectstore.Version) bool {
		return v.DeleteMarker && v.VersionID == source[0].VersionID
	}):
		all = append(all, Suspect{Marked, source[0], false})
	case gone && !c.KeepsDeleted:
		if top.Key != "" && !top.DeleteMarker {
			all = append(all, Suspect{Unmarked, source[0], false})
		}
	case first >= 0: // it must be what is current at the target
		v := source[first]
		switch at := held(target, v); {
		case at < 0:
			all = append(all, Suspect{"", v, strange})
		case at > 0 && top.DeleteMarker && !slices.ContainsFunc(source, func(m objectstore.Version) bool { return m.VersionID == top.VersionID }):
			all = append(all, Suspect{Hidden, v, false})
		case at > 0 && strange:
			all = append(all, Suspect{Forked, v, true})
		}
	}
	for i, v := range source[1:] {
		replaced := source[i].LastModified
		if age := c.Now.Sub(replaced); v.DeleteMarker || age > c.Retention {
			continue // a marker holds no content; and what is older may have expired
		}
		if i+1 == first && c.KeepsDeleted {
			continue // looked at above
		}
		if held(target, v) < 0 {
			v.LastModified = replaced // from when on it is an old one
			all = append(all, Suspect{Forgotten, v, false})
		}
	}
	return all
}

// held is where the version is among those of the target; -1 if it is not. One
// that was copied rather than replicated has another id and the same content.
func held(target []objectstore.Version, v objectstore.Version) int {
	if i := slices.IndexFunc(target, func(t objectstore.Version) bool {
		return !t.DeleteMarker && t.VersionID == v.VersionID && t.Size == v.Size
	}); i >= 0 {
		return i
	}
	return slices.IndexFunc(target, func(t objectstore.Version) bool { return !t.DeleteMarker && t.Size == v.Size && t.ETag == v.ETag })
}

// explain asks about each suspect, and drops what the two listings, which are
// never of one moment, made up.
func (c Comparison) explain(ctx context.Context, d *Drift, suspects []Suspect) error {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, s := range suspects {
		g.Go(func() error {
			f, err := c.why(ctx, s)
			if err != nil || f == "" {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			d.count(f, s.tally())
			return nil
		})
	}
	return g.Wait()
}

// why looks at one suspect as it is now. An empty fate is none: both sides agree
// by now.
func (c Comparison) why(ctx context.Context, s Suspect) (Fate, error) {
	key := s.Version.Key
	if s.Strange {
		// A replica is no strange content, only newer than the source's listing.
		if at, there, err := c.asked(ctx, Target, key, ""); err != nil || there && at.ReplicationStatus != objectstore.ReplicationReplica {
			return Forked, err
		}
	}
	if s.Fate == "" || s.Fate == Forgotten {
		from, there, err := c.asked(ctx, Source, key, s.Version.VersionID)
		if err != nil || !there {
			return "", err
		}
		at, there, err := c.asked(ctx, Target, key, s.Version.VersionID)
		if err != nil || there && at.Size == s.Version.Size {
			return "", err
		}
		if there {
			return Forked, nil
		}
		switch from.ReplicationStatus {
		case objectstore.ReplicationPending:
			return Waits, nil
		case objectstore.ReplicationFailed:
			return Failed, nil
		}
		if s.Fate == Forgotten {
			return Forgotten, nil
		}
		switch from.ReplicationStatus {
		case objectstore.ReplicationReplica:
			return Replica, nil
		case objectstore.ReplicationCompleted:
			return Delivered, nil
		}
		return Passed, nil
	}
	_, fromThere, err := c.asked(ctx, Source, key, "")
	if err != nil {
		return "", err
	}
	_, atThere, err := c.asked(ctx, Target, key, "")
	if err != nil {
		return "", err
	}
	switch s.Fate {
	case Unmarked:
		if fromThere || !atThere {
			return "", nil
		}
	case Hidden:
		if !fromThere && !c.KeepsDeleted || atThere {
			return "", nil
		}
	case Forked:
		return "", nil // answered above
	}
	return s.Fate, nil
}

// asked looks at an object, and tells what is not there from what could not be asked.
func (c Comparison) asked(ctx context.Context, at Side, key, version string) (o objectstore.Object, there bool, err error) {
	b := c.Source
	if at == Target {
		b = c.Target
	}
	if o, there, err = Look(ctx, b, key, version); err != nil {
		err = &SideError{at, err}
	}
	return o, there, err
}

// Look asks for a version of a key, or the current one when version is empty, and
// tells what is not there from what could not be asked.
func Look(ctx context.Context, b objectstore.Bucket, key, version string) (o objectstore.Object, there bool, err error) {
	o, err = b.HeadVersion(ctx, key, version)
	if errors.Is(err, fs.ErrNotExist) {
		return o, false, nil
	}
	return o, err == nil, err
}
