package storage

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
)

// rules are those of a bucket, with where they lead to.
func (s room) rules(ctx context.Context, e *estate.Estate, at side) ([]objectstore.Route, error) {
	r, err := s.Replicator(ctx, e, at.region)
	if err != nil {
		return nil, err
	}
	return r.Replication(ctx, at.Name())
}

// covered asks for an enabled rule to the target over every table.
func (p *bucketPair) covered(ctx context.Context) action.Observation {
	what := fmt.Sprintf("rules replicate s3://%s from %s to %s", p.source.Name(), p.source.region, p.target.region)
	want := fmt.Sprintf("an enabled rule to %s over each of %s, existing objects included", p.target.Name(), plural.Of(len(p.prefixes()), "prefix"))
	rules, err := p.s.rules(ctx, p.c.Estate, p.source)
	if err != nil {
		return p.blind(p.source.region, what, want, err)
	}
	var wrong []string
	for _, prefix := range p.prefixes() {
		if why := lacking(rules, prefix, p.target.Name(), true); why != "" {
			wrong = append(wrong, why)
		}
	}
	slices.Sort(wrong)
	wrong = slices.Compact(wrong)
	if len(wrong) > 0 {
		return action.Saw(what, want, strings.Join(wrong[:min(len(wrong), 3)], "; "), false)
	}
	return action.Saw(what, want, fmt.Sprintf("%d of %d, by %s", len(p.prefixes()), len(p.prefixes()), plural.Of(len(rules), "rule")), true)
}

// lacking says why no rule takes what is below a prefix to a bucket; empty if one
// does.
func lacking(rules []objectstore.Route, prefix, to string, enabled bool) string {
	why := "no rule leads to " + to
	if len(rules) == 0 {
		why = "the bucket has no rules"
	}
	for _, r := range rules {
		on := r.ReplicationRule
		on.Enabled = true
		switch {
		case r.To == "":
			why = "rule " + r.ID + " names a target that the server does not have"
		case r.To != to:
		case r.Narrowed:
			why = "rule " + r.ID + " takes only objects with certain tags"
		case !on.Covers(prefix):
			why = fmt.Sprintf("rule %s takes %s, which is not all of %s", r.ID, r.Prefix, prefix)
		case enabled && !r.Enabled:
			why = "rule " + r.ID + " is disabled"
		case r.Resyncs && !r.ExistingObjects:
			why = "rule " + r.ID + " leaves existing objects out, so that no resync brings them"
		default:
			return ""
		}
	}
	return why
}

// markersDeclared holds the rules against what the estate decides about deletions.
func (p *bucketPair) markersDeclared(ctx context.Context) action.Observation {
	what, want := "rules treat deletions as the estate decides", "delete_markers: "+cmp.Or(p.decl.DeleteMarkers, "replicate or keep")
	if p.decl.DeleteMarkers == "" {
		return action.Saw(what, want, "nobody has decided: write it under buckets in the estate", false)
	}
	rules, err := p.s.rules(ctx, p.c.Estate, p.source)
	if err != nil {
		return p.blind(p.source.region, what, want, err)
	}
	n := 0
	for _, r := range rules {
		if r.To != p.target.Name() || !r.Enabled {
			continue
		}
		if n++; r.DeleteMarkers != (p.decl.DeleteMarkers == estate.Replicate) {
			return action.Saw(what, want, fmt.Sprintf("rule %s has the replication of delete markers %s", r.ID, map[bool]string{true: "on", false: "off"}[r.DeleteMarkers]), false)
		}
	}
	return action.Saw(what, want, fmt.Sprintf("%d enabled rules to %s, all so", n, p.target.Name()), n > 0)
}
