package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"

	"golang.org/x/sync/errgroup"
)

// fate is what became of something that the source holds and the target does not
// hold in the same way.
type fate string

const (
	waits     fate = "waits"               // replication has it before it
	failed    fate = "failed"              // replication has tried, and reports so
	passed    fate = "never replicated"    // no rule took it: it is older than the rule, or outside of it
	delivered fate = "delivered and gone"  // replication brought it, and it was removed at the target
	replica   fate = "a replica itself"    // no rule takes a replica further
	forked    fate = "written at both"     // the target has content of its own under the key
	hidden    fate = "hidden"              // a delete marker of the target's own lies over it
	unmarked  fate = "not deleted"         // deleted at the source, and to be deleted at the target
	marked    fate = "deleted"             // deleted at both, and to be kept at the target
	forgotten fate = "old version missing" // overwritten or deleted at the source within the retention
	unlooked  fate = "not looked at"       // one of very many that are not at the target
)

// lookedAt is how many differences of one prefix are asked about one by one. A
// listing tells that something is missing, and only a HEAD why.
const lookedAt = 2000

// tally counts objects of one fate.
type tally struct {
	Count, Bytes int64
	Oldest       time.Time // when the oldest of them was written, or deleted, at the source
	Examples     []string  // keys, a few
}

func (t tally) String() string {
	s := fmt.Sprintf("%d (%d bytes)", t.Count, t.Bytes)
	if len(t.Examples) > 0 {
		s += ", such as " + action.Few(t.Examples)
	}
	return s
}

func (t *tally) add(o tally) {
	t.Count += o.Count
	t.Bytes += o.Bytes
	if !o.Oldest.IsZero() && (t.Oldest.IsZero() || o.Oldest.Before(t.Oldest)) {
		t.Oldest = o.Oldest
	}
	for _, e := range o.Examples {
		if len(t.Examples) < 3 {
			t.Examples = append(t.Examples, e)
		}
	}
}

// drift is how two buckets differ below some prefixes.
type drift struct {
	Objects, Bytes int64 // current at the source
	Extra          tally // only at the target
	Fates          map[fate]*tally
}

func newDrift() *drift { return &drift{Fates: map[fate]*tally{}} }

func (d *drift) count(f fate, t tally) {
	if d.Fates[f] == nil {
		d.Fates[f] = &tally{}
	}
	d.Fates[f].add(t)
}

func (d *drift) merge(o *drift) {
	d.Objects += o.Objects
	d.Bytes += o.Bytes
	d.Extra.add(o.Extra)
	for f, t := range o.Fates {
		d.count(f, *t)
	}
}

// of sums up fates.
func (d *drift) of(fates ...fate) tally {
	var sum tally
	for _, f := range fates {
		if t := d.Fates[f]; t != nil {
			sum.add(*t)
		}
	}
	return sum
}

// told lists the fates that occur.
func (d *drift) told(fates ...fate) string {
	var parts []string
	for _, f := range fates {
		if t := d.Fates[f]; t != nil {
			parts = append(parts, fmt.Sprintf("%s: %s", f, t))
		}
	}
	return cmp.Or(strings.Join(parts, "; "), "none")
}

// sideError says which of two regions an error came from.
type sideError struct {
	region string
	err    error
}

func (e *sideError) Error() string { return e.err.Error() }

func (e *sideError) Unwrap() error { return e.err }

// side is one bucket in its region.
type side struct {
	region string
	objectstore.Bucket
}

func (s side) fail(err error) error {
	if err == nil {
		return nil
	}
	return &sideError{s.region, err}
}

// comparison holds a source's bucket against the target's.
type comparison struct {
	source, target side
	deleteMarkers  string        // as the estate decides
	retention      time.Duration // within which old versions must be at both
	now            time.Time
	progress       func(keys int64)
}

// suspect is a difference that the listings show, and a closer look may explain.
type suspect struct {
	fate    fate // empty: the source's version is not at the target
	version objectstore.Version
	strange bool // what is current at the target has content that the source never had
}

// below compares what lies below a prefix.
func (c comparison) below(ctx context.Context, prefix string) (*drift, error) {
	d := newDrift()
	var suspects []suspect
	keys := int64(0)
	for p, err := range c.pairs(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if keys++; keys%10_000 == 0 {
			c.progress(keys)
		}
		for _, s := range c.differs(d, p.source, p.target) {
			if len(suspects) < lookedAt {
				suspects = append(suspects, s)
			} else {
				d.count(cmp.Or(s.fate, unlooked), s.tally())
			}
		}
	}
	return d, c.explain(ctx, d, suspects)
}

func (s suspect) tally() tally {
	return tally{Count: 1, Bytes: s.version.Size, Oldest: s.version.LastModified, Examples: []string{s.version.Key}}
}

// pair is the history of one key at both sides; empty where a side never had it.
type pair struct{ source, target []objectstore.Version }

// pairs walks both listings side by side, so that memory holds a page of each.
func (c comparison) pairs(ctx context.Context, prefix string) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		// The source is asked first: what is written between the two listings is
		// then at the target, if anywhere.
		nextS, stopS := iter.Pull2(c.source.Histories(ctx, prefix))
		defer stopS()
		nextT, stopT := iter.Pull2(c.target.Histories(ctx, prefix))
		defer stopT()
		s, errS, moreS := nextS()
		t, errT, moreT := nextT()
		for moreS || moreT {
			if errS != nil {
				yield(pair{}, c.source.fail(errS))
				return
			}
			if errT != nil {
				yield(pair{}, c.target.fail(errT))
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
func (c comparison) differs(d *drift, source, target []objectstore.Version) []suspect {
	var top objectstore.Version
	if len(target) > 0 {
		top = target[0]
	}
	if len(source) == 0 {
		if !top.DeleteMarker {
			d.Extra.add(tally{Count: 1, Bytes: top.Size, Oldest: top.LastModified, Examples: []string{top.Key}})
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
	case gone && c.deleteMarkers == estate.Keep && slices.ContainsFunc(target, func(v objectstore.Version) bool {
		return v.DeleteMarker && v.VersionID == source[0].VersionID
	}):
		all = append(all, suspect{marked, source[0], false})
	case gone && c.deleteMarkers != estate.Keep:
		if top.Key != "" && !top.DeleteMarker {
			all = append(all, suspect{unmarked, source[0], false})
		}
	case first >= 0: // it must be what is current at the target
		v := source[first]
		switch at := held(target, v); {
		case at < 0:
			all = append(all, suspect{"", v, strange})
		case at > 0 && top.DeleteMarker && !slices.ContainsFunc(source, func(m objectstore.Version) bool { return m.VersionID == top.VersionID }):
			all = append(all, suspect{hidden, v, false})
		case at > 0 && strange:
			all = append(all, suspect{forked, v, true})
		}
	}
	for i, v := range source[1:] {
		replaced := source[i].LastModified
		if age := c.now.Sub(replaced); v.DeleteMarker || age > c.retention {
			continue // a marker holds no content; and what is older may have expired
		}
		if i+1 == first && c.deleteMarkers == estate.Keep {
			continue // looked at above
		}
		if held(target, v) < 0 {
			v.LastModified = replaced // from when on it is an old one
			all = append(all, suspect{forgotten, v, false})
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
func (c comparison) explain(ctx context.Context, d *drift, suspects []suspect) error {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
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
func (c comparison) why(ctx context.Context, s suspect) (fate, error) {
	key := s.version.Key
	if s.strange {
		// A replica is no strange content, only newer than the source's listing.
		if at, there, err := asked(ctx, c.target, key, ""); err != nil || there && at.ReplicationStatus != objectstore.ReplicationReplica {
			return forked, err
		}
	}
	if s.fate == "" || s.fate == forgotten {
		from, there, err := asked(ctx, c.source, key, s.version.VersionID)
		if err != nil || !there {
			return "", err
		}
		at, there, err := asked(ctx, c.target, key, s.version.VersionID)
		if err != nil || there && at.Size == s.version.Size {
			return "", err
		}
		if there {
			return forked, nil
		}
		switch from.ReplicationStatus {
		case objectstore.ReplicationPending:
			return waits, nil
		case objectstore.ReplicationFailed:
			return failed, nil
		}
		if s.fate == forgotten {
			return forgotten, nil
		}
		switch from.ReplicationStatus {
		case objectstore.ReplicationReplica:
			return replica, nil
		case objectstore.ReplicationCompleted:
			return delivered, nil
		}
		return passed, nil
	}
	_, fromThere, err := asked(ctx, c.source, key, "")
	if err != nil {
		return "", err
	}
	_, atThere, err := asked(ctx, c.target, key, "")
	if err != nil {
		return "", err
	}
	switch s.fate {
	case unmarked:
		if fromThere || !atThere {
			return "", nil
		}
	case hidden:
		if !fromThere && c.deleteMarkers != estate.Keep || atThere {
			return "", nil
		}
	case forked:
		return "", nil // answered above
	}
	return s.fate, nil
}

// asked is a HEAD that tells what is not there from what could not be asked.
func asked(ctx context.Context, s side, key, version string) (o objectstore.Object, there bool, err error) {
	o, err = s.HeadVersion(ctx, key, version)
	if errors.Is(err, fs.ErrNotExist) {
		return o, false, nil
	}
	return o, err == nil, s.fail(err)
}

// scope is what of a bucket comes back together: the prefixes of one group's
// tables, with the group's objective.
type scope struct {
	name     string
	prefixes []string
	rpo      *time.Duration // nil: the bucket belongs to no group, and has none
}

// scopesOf are the groups in scope with tables in a bucket; a bucket without any
// is one scope, all of it.
func scopesOf(e *estate.Estate, logical string, groups []string) []scope {
	all := map[string]*scope{}
	any := false
	for _, g := range e.Groups {
		for _, t := range g.Tables {
			if t.Bucket != logical {
				continue
			}
			any = true
			if len(groups) > 0 && !slices.Contains(groups, g.Group) {
				continue
			}
			if all[g.Group] == nil {
				all[g.Group] = &scope{name: "group " + g.Group}
				if tier, ok := e.Tier(g.Tier); ok {
					rpo := tier.RPO.Std()
					all[g.Group].rpo = &rpo
				}
			}
			all[g.Group].prefixes = append(all[g.Group].prefixes, t.Path+"/")
		}
	}
	if !any {
		return []scope{{name: "bucket " + logical, prefixes: []string{""}}}
	}
	var sorted []scope
	for _, name := range slices.Sorted(maps.Keys(all)) {
		sorted = append(sorted, *all[name])
	}
	return sorted
}
