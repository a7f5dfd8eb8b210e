package access

import (
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/table"
)

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

// place is a real bucket with the prefixes of the group's tables in it, and of their
// logs.
type place struct {
	bucket         string
	prefixes, logs []string
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

// things are those whom a step lets in to a group's tables, and keeps out.
func (a access) things(r action.Request) (names []string, none string) {
	sc, err := a.scene(action.Call[action.None]{Request: r})
	if err != nil { // whoever plans says so
		return []string{r.Item.Name}, ""
	}
	if none = sc.empty(); none != "" {
		return nil, none
	}
	for _, p := range slices.Concat(sc.readers, sc.writers) {
		names = append(names, p.Name)
	}
	return names, ""
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
		format, err := a.s.Format(t.Format)
		if err != nil {
			return sc, fmt.Errorf("%w: table %s: %w", action.ErrRefused, t.Table, err)
		}
		i := slices.IndexFunc(sc.places, func(p place) bool { return p.bucket == real })
		if i < 0 {
			i, sc.places = len(sc.places), append(sc.places, place{bucket: real})
		}
		sc.places[i].prefixes = append(sc.places[i].prefixes, t.Path)
		sc.places[i].logs = append(sc.places[i].logs, format.Log(table.Root{Bucket: real, Prefix: t.Path}))
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
