package access

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/verdict"
)

func (s room) accessActions(c *action.Catalogue) {
	read, write := access{s, readLevel}, access{s, writeLevel}
	action.Add(c, action.Action[action.None]{
		Name: "access.read-only", Over: estate.GroupKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Needs: []string{"table.promote"},
		Doc:   "The group's readers may read its tables at the target, and nobody may write there: proven with everybody's own credentials.",
		Plan:  read.plan, Apply: read.apply, Verify: read.verifyReadOnly,
		Undo: &action.Undo[action.None]{Plan: read.planBack, Apply: read.apply, Verify: read.verifyBack},
		RedWhen: []action.Red{
			{Fault: "access.reader-detached", Want: verdict.Fail},
			{Fault: "access.writer-may-write", Want: verdict.Fail},
			{Fault: "access.reader-may-write", Want: verdict.Fail},
			{Fault: "access.other-reader-may-read", Want: verdict.Fail},
			{Fault: "access.writer-key-changed", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	})
	action.Add(c, action.Action[action.None]{
		Name: "access.read-write", Over: estate.GroupKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Needs: []string{"access.read-only"},
		Doc:   "The group's writers may write to its tables at the target, and nobody else: a write of each is made, read back and removed.",
		Plan:  write.plan, Apply: write.apply, Verify: write.verifyReadWrite,
		Undo: &action.Undo[action.None]{Plan: write.planBack, Apply: write.apply, Verify: write.verifyBack},
		RedWhen: []action.Red{
			{Fault: "access.writer-detached", Want: verdict.Fail},
			{Fault: "access.reader-may-write", Want: verdict.Fail},
			{Fault: "access.other-writer-may-write", Want: verdict.Fail},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	})
}

// scene is a group's tables and people at the target.
type scene struct {
	group   *estate.Group
	region  *estate.Region
	readers []estate.AccessPrincipal
	writers []estate.AccessPrincipal
	places  []place
	// Of another group, and neither readers nor writers of this one; nil where the
	// estate has none.
	otherReader, otherWriter *estate.AccessPrincipal
}

// place is a real bucket with the prefixes of the group's tables in it.
type place struct {
	bucket   string
	prefixes []string
}

// empty says why there is nothing to give access to; empty if there is.
func (sc scene) empty() string {
	switch {
	case len(sc.places) == 0:
		return sc.group.Group + " has no tables, so that there is nothing in storage to open"
	case len(sc.readers)+len(sc.writers) == 0:
		return "the estate names nobody who reads or writes " + sc.group.Group + " in " + sc.region.Region
	}
	return ""
}

// scene resolves the item. It asks nothing of any server.
func (a access) scene(c action.Call[action.None]) (scene, error) {
	var sc scene
	var ok bool
	if sc.group, ok = c.Estate.Group(c.Item.Name); !ok {
		return sc, fmt.Errorf("%w: the estate has no group %q", action.ErrRefused, c.Item.Name)
	}
	var err error
	if sc.region, err = c.Estate.RegionNamed(c.Run.Target); err != nil {
		return sc, err
	}
	for _, t := range sc.group.Tables {
		real, err := c.Estate.RealBucket(t.Bucket, c.Run.Target)
		if err != nil {
			return sc, err
		}
		i := slices.IndexFunc(sc.places, func(p place) bool { return p.bucket == real })
		if i < 0 {
			i, sc.places = len(sc.places), append(sc.places, place{bucket: real})
		}
		sc.places[i].prefixes = append(sc.places[i].prefixes, t.Path)
	}
	sc.readers, sc.writers = sc.group.AccessIn(c.Run.Target)
	known := func(p estate.AccessPrincipal) bool {
		is := func(q estate.AccessPrincipal) bool { return q.Name == p.Name }
		return slices.ContainsFunc(sc.readers, is) || slices.ContainsFunc(sc.writers, is)
	}
	for i := range c.Estate.Groups {
		readers, writers := c.Estate.Groups[i].AccessIn(c.Run.Target)
		for _, p := range readers {
			if sc.otherReader == nil && !known(p) {
				sc.otherReader = &p
			}
		}
		for _, p := range writers {
			if sc.otherWriter == nil && !known(p) {
				sc.otherWriter = &p
			}
		}
	}
	return sc, nil
}

func (a access) trial(c action.Call[action.None], sc scene, bucket string) lake.Trial {
	return lake.Trial{S: a.s.lake, Run: c.Run, Estate: c.Estate, Region: sc.region, Bucket: bucket}
}

// samples finds, as recovery, one real object of each table: of its log, or else
// any. A table without an object has none.
func (a access) samples(ctx context.Context, c action.Call[action.None], p place) ([]objectstore.Object, error) {
	store, err := a.s.Storage(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return nil, err
	}
	var found []objectstore.Object
	for _, prefix := range p.prefixes {
		n := len(found)
		for _, below := range []string{prefix + "/_delta_log/", prefix + "/"} {
			for o, err := range store.List(ctx, p.bucket, below) {
				if err != nil {
					return nil, err
				}
				if found = append(found, o); true {
					break
				}
			}
			if len(found) > n {
				break
			}
		}
	}
	return found, nil
}

// could lists the readers who read the tables already, by other rights: those
// stay when this run's are taken back. Reading changes nothing.
func (a access) could(ctx context.Context, c action.Call[action.None], sc scene) ([]string, error) {
	if a.level == writeLevel {
		return nil, nil // access.read-only has shown that nobody writes
	}
	var names []string
	for _, p := range sc.places {
		samples, err := a.samples(ctx, c, p)
		if err != nil {
			return nil, err
		}
		for _, r := range sc.readers {
			store, err := a.s.StorageAs(ctx, c.Estate, c.Run.Target, r.Credentials, r.Name)
			if err != nil {
				return nil, err
			}
			for _, o := range samples {
				_, _, err := store.Get(ctx, p.bucket, o.Key)
				switch objectstore.Attempted(err) {
				case objectstore.ProbeUnreachable:
					return nil, err
				case objectstore.ProbeAllowed:
					if !slices.Contains(names, r.Name) {
						names = append(names, r.Name)
					}
				}
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// names lists principals, sorted, each once.
func names(ps []estate.AccessPrincipal) []string {
	var ns []string
	for _, p := range ps {
		ns = append(ns, p.Name)
	}
	slices.Sort(ns)
	return slices.Compact(ns)
}

func orNobody(ns []string) string {
	if len(ns) == 0 {
		return "nobody"
	}
	return strings.Join(ns, ", ")
}
