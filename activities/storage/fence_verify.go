package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
)

func (f barring) verify(ctx context.Context, c action.Call[barringWith]) ([]action.Observation, error) {
	where := f.where(c)
	obligation := fmt.Sprintf("Fence the writers of %s in %s before its network returns", c.Item, where)
	bucket, err := c.Estate.RealBucket(c.Item.Name, where)
	if err != nil {
		return nil, err
	}
	r, err := c.Estate.RegionNamed(where)
	if err != nil {
		return nil, err
	}
	try := lake.Trial{S: f.s.lake, Run: c.Run, Estate: c.Estate, Region: r, Bucket: bucket, Obligation: obligation}
	obs := []action.Observation{try.Control(ctx)}
	for _, p := range f.principals(r.Storage) {
		obs = append(obs, try.CannotWrite(ctx, p.Name, p.Credentials, placesOf(c.Estate, c.Item.Name, where, p.Name)))
	}
	if len(obs) == 1 {
		obs = append(obs, action.Saw("somebody is kept out", "the estate names the "+f.who+" of "+where, "nobody is named", false))
	}
	return obs, nil
}

// placesOf is where a principal would write in a bucket, as prefixes: below the
// tables of the groups that it writes for, and if it is no group's writer, below
// one table of each group. A denial elsewhere would say nothing about a fence.
func placesOf(e *estate.Estate, logical, region, name string) []string {
	var own, any []string
	for _, g := range e.Groups {
		mine := g.Access != nil && slices.ContainsFunc(g.Access.Writers, func(p estate.AccessPrincipal) bool {
			return p.Region == region && p.Name == name
		})
		first := true
		for _, t := range g.Tables {
			if t.Bucket != logical {
				continue
			}
			if mine {
				own = append(own, t.Path)
			}
			if first {
				any, first = append(any, t.Path), false
			}
		}
	}
	switch {
	case len(own) > 0:
		return own
	case len(any) > 0:
		return any
	}
	return []string{strings.TrimSuffix(objectstore.ProbePrefix, "/")}
}

// verifyBack proves that this run's fence is gone: no denial of it is left, and
// those who write for a group write there again. In a region that is neither the run's
// source nor the estate's primary, nobody need have written before.
func (f barring) verifyBack(ctx context.Context, c action.Call[barringWith]) ([]action.Observation, error) {
	p, err := action.Decode[barringPlan](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	where := f.where(c)
	const what, want = "this run's fence is gone", "no fence of this run"
	if p.Unreachable {
		return []action.Observation{action.Nothing(what, want, c.Plan.Summary)}, nil
	}
	b, err := f.at(ctx, c)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, where, what, want, err, "")}, nil
	}
	now, err := b.fence.Read(ctx)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, where, what, want, err, "")}, nil
	}
	obs := []action.Observation{action.Saw(what, want, fmt.Sprintf("run with a fence at %s: %q", b, now.Run), now.Run != b.run)}
	if p.Others { // whoever closed it lets nobody write
		return obs, nil
	}
	r, err := c.Estate.RegionNamed(where)
	if err != nil {
		return nil, err
	}
	active := where == c.Run.Source || r.Role == estate.Primary
	try := lake.Trial{S: f.s.lake, Run: c.Run, Estate: c.Estate, Region: r, Bucket: b.bucket}
	for _, p := range b.principals {
		places := placesOf(c.Estate, b.logical, where, p.Name)
		if f.who == "writers" && (!active || !writesAnything(c.Estate, b.logical, where, p.Name)) {
			continue // whether and where it wrote before is not known
		}
		obs = append(obs, try.CanWrite(ctx, p.Name, p.Credentials, places[:1]))
	}
	return obs, nil
}

// writesAnything reports whether the principal is the writer of a group that has
// a table in the bucket.
func writesAnything(e *estate.Estate, logical, region, name string) bool {
	for _, g := range e.Groups {
		if g.Access == nil || !slices.ContainsFunc(g.Tables, func(t estate.Table) bool { return t.Bucket == logical }) {
			continue
		}
		if slices.ContainsFunc(g.Access.Writers, func(p estate.AccessPrincipal) bool { return p.Region == region && p.Name == name }) {
			return true
		}
	}
	return false
}
