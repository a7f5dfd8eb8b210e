// Package compare holds what lies in a bucket against its copy in another store, as
// replication should have made it: by the listings of all versions, and where those
// differ, by a look at each object. It only reads.
package compare

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"breakwater/internal/objectstore"

	"golang.org/x/sync/errgroup"
)

// lookedAt is how many differences of one prefix are asked about one by one. A
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
	// Progress is told now and then how many keys were compared.
	Progress func(keys int64)
}

// suspect is a difference that the listings show, and a closer look may explain.
type suspect struct {
	fate    Fate // empty: the source's version is not at the target
	version objectstore.Version
	strange bool // what is current at the target has content that the source never had
}

// Below compares what lies below a prefix. Every error is a [SideError] or the end of
// the context.
func (c Comparison) Below(ctx context.Context, prefix string) (*Drift, error) {
	d := &Drift{}
	var suspects []suspect
	keys := int64(0)
	for p, err := range c.pairs(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if keys++; keys%10_000 == 0 {
			c.Progress(keys)
		}
		for _, s := range c.differs(d, p.source, p.target) {
			if len(suspects) < lookedAt {
				suspects = append(suspects, s)
			} else {
				d.count(cmp.Or(s.fate, Unlooked), s.tally())
			}
		}
	}
	return d, c.explain(ctx, d, suspects)
}

func (s suspect) tally() Tally {
	return Tally{Count: 1, Bytes: s.version.Size, Oldest: s.version.LastModified, Examples: []string{s.version.Key}}
}

// pair is the history of one key at both sides; empty where a side never had it.
type pair struct{ source, target []objectstore.Version }

// pairs walks both listings side by side, so that memory holds a page of each.
func (c Comparison) pairs(ctx context.Context, prefix string) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		// The source is asked first: what is written between the two listings is
		// then at the target, if anywhere.
		nextS, stopS := iter.Pull2(c.Source.Histories(ctx, prefix))
		defer stopS()
		nextT, stopT := iter.Pull2(c.Target.Histories(ctx, prefix))
		defer stopT()
		s, errS, moreS := nextS()
		t, errT, moreT := nextT()
		for moreS || moreT {
			if errS != nil {
				yield(pair{}, &SideError{Source, errS})
				return
			}
			if errT != nil {
				yield(pair{}, &SideError{Target, errT})
				return
			}
			var p pair
			order := 0
			if moreS && moreT {
				order = strings.Compare(s[0].Key, t[0].Key)
			}
			takeS, takeT := moreS && (!moreT || order <= 0), moreT && (!moreS || order >= 0)
			if takeS {
				p.source = s
			}
			if takeT {
				p.target = t
			}
			if !yield(p, nil) {
				return
			}
			if takeS {
				s, errS, moreS = nextS()
			}
			if takeT {
				t, errT, moreT = nextT()
			}
		}
	}
}

// differs holds one key's histories against each other.
func (c Comparison) differs(d *Drift, source, target []objectstore.Version) []suspect {
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
	var all []suspect
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
		all = append(all, suspect{Marked, source[0], false})
	case gone && !c.KeepsDeleted:
		if top.Key != "" && !top.DeleteMarker {
			all = append(all, suspect{Unmarked, source[0], false})
		}
	case first >= 0: // it must be what is current at the target
		v := source[first]
		switch at := held(target, v); {
		case at < 0:
			all = append(all, suspect{"", v, strange})
		case at > 0 && top.DeleteMarker && !slices.ContainsFunc(source, func(m objectstore.Version) bool { return m.VersionID == top.VersionID }):
			all = append(all, suspect{Hidden, v, false})
		case at > 0 && strange:
			all = append(all, suspect{Forked, v, true})
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
			all = append(all, suspect{Forgotten, v, false})
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
func (c Comparison) explain(ctx context.Context, d *Drift, suspects []suspect) error {
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
func (c Comparison) why(ctx context.Context, s suspect) (Fate, error) {
	key := s.version.Key
	if s.strange {
		// A replica is no strange content, only newer than the source's listing.
		if at, there, err := c.asked(ctx, Target, key, ""); err != nil || there && at.ReplicationStatus != objectstore.ReplicationReplica {
			return Forked, err
		}
	}
	if s.fate == "" || s.fate == Forgotten {
		from, there, err := c.asked(ctx, Source, key, s.version.VersionID)
		if err != nil || !there {
			return "", err
		}
		at, there, err := c.asked(ctx, Target, key, s.version.VersionID)
		if err != nil || there && at.Size == s.version.Size {
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
		if s.fate == Forgotten {
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
	switch s.fate {
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
	return s.fate, nil
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
