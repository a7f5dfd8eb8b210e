package storage

import (
	"maps"
	"slices"
	"time"

	"breakwater/internal/estate"
)

// scope is what of a bucket comes back together: the prefixes of one group's
// tables, with the group's objective.
type scope struct {
	name     string
	prefixes []string
	tables   []estate.Table // none where it is all of a bucket
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
			all[g.Group].tables = append(all[g.Group].tables, t)
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
