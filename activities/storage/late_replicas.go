package storage

import (
	"context"
	"fmt"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/compare"
	"breakwater/internal/table"
)

func (s room) verifyLateReplicas(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	p, err := s.bucketPair(ctx, c)
	if err != nil {
		return nil, err
	}
	var obs []action.Observation
	for _, sc := range p.scopes {
		for _, t := range sc.tables {
			obs = append(obs, p.lateReplicas(ctx, t))
		}
	}
	if len(obs) == 0 {
		obs = append(obs, action.Saw("no replica has replaced a commit of "+p.decl.Bucket, "commits of tables", "no table in scope lies there", true))
	}
	return obs, ctx.Err()
}

// lateReplicas looks for commits whose current content is a replica although
// something is below it. A log entry is written once, so the only honest history
// of a replica is to be alone.
func (p *bucketPair) lateReplicas(ctx context.Context, t estate.Table) action.Observation {
	what, want := "no replica has replaced a commit of "+t.Path+"/", "a replica is its key's only version"
	commits := 0
	var late []string
	format, log, err := p.log(t)
	if err != nil {
		return p.blind(p.target.region, what, want, err)
	}
	for h, err := range p.target.Histories(ctx, log) {
		if err != nil {
			return p.blind(p.target.region, what, want, err)
		}
		if format.Entry(h[0].Key).Role != table.RoleCommit {
			continue
		}
		if commits++; len(h) == 1 || h[0].DeleteMarker {
			continue
		}
		o, there, err := compare.Look(ctx, p.target.Bucket, h[0].Key, h[0].VersionID)
		if err != nil {
			return p.blind(p.target.region, what, want, err)
		}
		if there && o.ReplicationStatus == objectstore.ReplicationReplica {
			late = append(late, fmt.Sprintf("%s (version %s over %s)", o.Key, o.VersionID, h[1].VersionID))
		}
	}
	if len(late) > 0 {
		return action.Saw(what, want, fmt.Sprintf("%d commits were replaced: %s; deny the replicating principal, then remove these versions", len(late), action.Few(late)), false)
	}
	return action.Saw(what, want, fmt.Sprintf("%d commits, none replaced", commits), true)
}
