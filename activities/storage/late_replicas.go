package storage

import (
	"context"
	"fmt"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/compare"
	"breakwater/internal/objectstore/listing"
	"breakwater/internal/plural"
	"breakwater/internal/table"
)

// tablesIn are the tables in scope that lie in a bucket.
func tablesIn(r action.Request) (names []string, none string) {
	for _, sc := range scopesOf(r.Estate, r.Item.Name, r.Run.Groups) {
		for _, t := range sc.tables {
			names = append(names, t.Table)
		}
	}
	return names, "no table in scope lies in bucket " + r.Item.Name
}

func (s room) verifyLateReplicas(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	p, err := s.bucketPair(ctx, c)
	if err != nil {
		return nil, err
	}
	var obs []action.Observation
	for _, sc := range p.scopes {
		obs = append(obs, action.Together(sc.tables, func(t estate.Table) []action.Observation {
			return []action.Observation{p.lateReplicas(ctx, t)}
		})...)
	}
	return obs, ctx.Err()
}

// lateReplicas looks for commits whose current content is a replica although
// something is below it. A log entry is written once, so the only honest history
// of a replica is to be alone.
func (p *bucketPair) lateReplicas(ctx context.Context, t estate.Table) action.Observation {
	what, want := "no replica has replaced a commit of "+t.Path+"/", "a replica is its key's only version"
	format, log, err := p.log(t)
	if err != nil {
		return p.blind(p.target.region, what, want, err)
	}
	found, err := listing.Walk[lateOnes]{
		Buckets: []objectstore.Bucket{p.target.Bucket},
		Look: func(ctx context.Context, keys []listing.Key) (l lateOnes, err error) {
			for _, k := range keys {
				h := k[0]
				if format.Entry(h[0].Key).Role != table.RoleCommit || h[0].DeleteMarker {
					continue
				}
				if l.commits++; len(h) == 1 {
					continue
				}
				o, there, err := compare.Look(ctx, p.target.Bucket, h[0].Key, h[0].VersionID)
				if err != nil {
					return l, err
				}
				if there && o.ReplicationStatus == objectstore.ReplicationReplica {
					l.keys = append(l.keys, fmt.Sprintf("%s (version %s over %s)", o.Key, o.VersionID, h[1].VersionID))
				}
			}
			return l, nil
		},
		Add: func(sum *lateOnes, part lateOnes) {
			sum.commits, sum.keys = sum.commits+part.commits, append(sum.keys, part.keys...)
		},
		Progress: func(s listing.State[lateOnes]) {
			p.c.Progress(s.Keys, 0, "entries of the log of "+t.Table+" looked at")
		},
	}.Do(ctx, listing.Below[lateOnes](log))
	if err != nil {
		return p.blind(p.target.region, what, want, err)
	}
	if found.commits == 0 && p.c.Run.Accepted(action.LeftOut(t.Table, "").ID) {
		return action.NotHere(t.Table, what, want, "its log has no commit here, and it was left out", fmt.Sprintf("See that no replica replaces a commit of table %s, once it is recovered", t.Table))
	}
	if len(found.keys) > 0 {
		slices.Sort(found.keys)
		return action.Saw(what, want, fmt.Sprintf("%s replaced: %s; deny the replicating principal, then remove these versions", plural.Of(len(found.keys), "commit", "was", "were"), plural.Few(found.keys)), false)
	}
	return action.Conclude(what, want, fmt.Sprintf("%s, none replaced", plural.Of(found.commits, "commit")), nil, found.commits)
}

// lateOnes are the commits of a log that a replica has replaced, of how many.
type lateOnes struct {
	commits int
	keys    []string
}
