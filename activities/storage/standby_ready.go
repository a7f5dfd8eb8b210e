package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/compare"
	"breakwater/internal/plural"
	"breakwater/internal/table"
	"breakwater/internal/verdict"

	"golang.org/x/sync/errgroup"
)

func (s room) verifyStandby(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	p, err := s.bucketPair(ctx, c)
	if err != nil {
		return nil, err
	}
	obs := []action.Observation{p.versions(ctx, p.target), p.expiry(ctx, p.target)}
	replicas := &compare.Tally{}
	for _, sc := range p.scopes {
		c.Progress(0, 0, "reading samples of "+sc.name)
		obs = append(obs, p.decrypts(ctx, sc, replicas))
	}
	obs = append(obs, p.ruleBack(ctx, replicas))
	for _, sc := range p.scopes {
		obs = append(obs, action.Together(sc.tables, func(t estate.Table) []action.Observation {
			return []action.Observation{p.published(ctx, t)}
		})...)
	}
	return obs, ctx.Err()
}

// expiry holds a bucket's lifecycle against what its tables need: a live table
// needs its files however old they are, and what was overwritten or deleted must
// outlive the time that it takes to notice.
func (p *bucketPair) expiry(ctx context.Context, at side) action.Observation {
	what := fmt.Sprintf("no lifecycle rule of s3://%s in %s removes what recovery needs", at.Name(), at.region)
	keep := p.decl.Retention.Std()
	want := "no expiry of current objects, and old versions kept for the retention that the estate promises"
	if keep > 0 {
		want = "no expiry of current objects, and old versions kept for " + keep.String()
	}
	for _, sc := range p.scopes {
		if sc.rpo != nil {
			keep = max(keep, *sc.rpo)
		}
	}
	overseer, err := p.s.Overseer(ctx, p.c.Estate, at.region)
	var cycle objectstore.Lifecycle
	if err == nil {
		cycle, err = overseer.Lifecycle(ctx, at.Name())
	}
	if err != nil {
		return p.blind(at.region, what, want, err)
	}
	var wrong []string
	touching := 0
	for _, r := range cycle.Removals {
		prefix, touches := p.touched(r)
		if !touches {
			continue
		}
		touching++
		if why := p.harm(at, r, prefix, keep); why != "" {
			wrong = append(wrong, fmt.Sprintf("rule %s removes %s below %s: %s", r.Rule, r.What, cmp.Or(prefix, "the bucket"), why))
		}
	}
	if len(wrong) > 0 {
		return action.Saw(what, want, strings.Join(wrong[:min(len(wrong), 3)], "; "), false)
	}
	return action.Saw(what, want, fmt.Sprintf("%s something there, none too soon", plural.Of(touching, "rule", "removes", "remove")), true)
}

// touched is the first table that a rule can take something from.
func (p *bucketPair) touched(r objectstore.Removal) (string, bool) {
	for _, prefix := range p.prefixes() {
		if r.Touches(prefix) {
			return prefix, true
		}
	}
	return "", false
}

// harm says why a rule must not be there; empty if it may.
func (p *bucketPair) harm(at side, r objectstore.Removal, prefix string, keep time.Duration) string {
	tooSoon := ""
	switch {
	case p.decl.Retention == 0:
		tooSoon = "the estate promises no retention to hold that against: write it under buckets"
	case !r.On.IsZero():
		tooSoon = "on " + r.On.UTC().Format(time.DateOnly) + ", whatever the age"
	case r.After < keep:
		tooSoon = fmt.Sprintf("after %s, and %s are promised", r.After, keep)
	}
	switch r.What {
	case objectstore.RemovesObjects, objectstore.RemovesEverything:
		if prefix != "" {
			return "a table needs its files however old they are"
		}
	case objectstore.RemovesBareMarkers:
		// Replication keeps no order: a marker may come before what it hides.
		if at.region == p.target.region {
			return "a delete marker that arrives before its object is removed, and the object lives again"
		}
		return ""
	}
	return tooSoon
}

// decrypts reads a byte of a sample of every table: of its newest and oldest
// object, and of others, drawn by the run's id so that they can be drawn again. A
// HEAD would pass without the key.
func (p *bucketPair) decrypts(ctx context.Context, sc scope, replicas *compare.Tally) action.Observation {
	what := fmt.Sprintf("the objects of %s can be decrypted in %s", sc.name, p.target.region)
	want := fmt.Sprintf("a byte of each of %s per table, per key", plural.Of(sampled, "object"))
	sample, err := p.sample(ctx, sc)
	if errors.Is(err, objectstore.ErrKey) {
		return action.Saw(what, want, err.Error(), false)
	}
	if err != nil {
		return p.blind(p.target.region, what, want, err)
	}
	describer, err := objectstore.As[objectstore.Describer](p.target.Client(), "say whether it can decrypt an object")
	if err != nil {
		return p.blind(p.target.region, what, want, err)
	}
	var mu sync.Mutex
	var silent error
	read, refused := map[string]int{}, map[string]string{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, o := range sample {
		g.Go(func() error {
			enc, status, err := describer.Decrypt(gctx, p.target.Name(), o.Key)
			how, _, headErr := describer.EncryptionOf(gctx, p.target.Name(), o.Key)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, fs.ErrNotExist): // deleted since it was listed
			case objectstore.Attempted(err) == objectstore.ProbeUnreachable:
				silent = err
			case err != nil && headErr != nil:
				refused["key not known"] = err.Error()
			case err != nil:
				refused[how.String()] = err.Error()
			default:
				read[enc.String()]++
				if status == objectstore.ReplicationReplica {
					replicas.Add(compare.Tally{Count: 1, Bytes: o.Size, Examples: []string{o.Key}})
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return p.blind(p.target.region, what, want, err)
	}
	var got []string
	for _, key := range slices.Sorted(maps.Keys(refused)) {
		got = append(got, key+": "+refused[key])
	}
	switch {
	case len(refused) > 0:
		return action.Saw(what, want, strings.Join(got, "; "), false)
	case silent != nil:
		return p.blind(p.target.region, what, want, silent)
	case len(read) == 0:
		return action.Observation{What: what, Want: want, Got: "there is nothing to read, from which nothing follows", Verdict: verdict.Unknown, Cause: action.CauseOther}
	}
	for _, key := range slices.Sorted(maps.Keys(read)) {
		got = append(got, fmt.Sprintf("%d with %s", read[key], key))
	}
	return action.Saw(what, want, "read "+strings.Join(got, ", "), true)
}

// ruleBack asks for the rule that failback will need, and says what it will not
// carry.
func (p *bucketPair) ruleBack(ctx context.Context, replicas *compare.Tally) action.Observation {
	what := fmt.Sprintf("the rule back from %s to %s stands ready", p.target.region, p.source.region)
	want := fmt.Sprintf("reverse_rule: %s, to %s, over each of %s", cmp.Or(p.decl.ReverseRule, "enabled or disabled"), p.source.Name(), plural.Of(len(p.prefixes()), "prefix"))
	if p.decl.ReverseRule == "" {
		return action.Saw(what, want, "nobody has decided: write it under buckets in the estate", false)
	}
	rules, err := p.s.rules(ctx, p.c.Estate, p.target)
	if err != nil {
		return p.blind(p.target.region, what, want, err)
	}
	for _, prefix := range p.prefixes() {
		if why := lacking(rules, prefix, p.source.Name(), false); why != "" {
			return action.Saw(what, want, why, false)
		}
	}
	for _, r := range rules {
		if r.To == p.source.Name() && r.Enabled != (p.decl.ReverseRule == "enabled") {
			return action.Saw(what, want, fmt.Sprintf("rule %s is %s", r.ID, map[bool]string{true: "enabled", false: "disabled"}[r.Enabled]), false)
		}
	}
	got := p.decl.ReverseRule + ", over all of them"
	if replicas.Count > 0 {
		got += fmt.Sprintf("; %d of the sampled objects are replicas, which it will not carry back: if the old primary has lost them, run a Batch Replication job, or a resync of the rule at MinIO", replicas.Count)
	}
	return action.Saw(what, want, got, true)
}

// log is a table's format, and where its log lies at the target.
func (p *bucketPair) log(t estate.Table) (table.Format, string, error) {
	f, err := p.s.Format(t.Format)
	if err != nil {
		return nil, "", err
	}
	return f, f.Log(table.Root{Bucket: p.target.Name(), Prefix: t.Path}), nil
}

// published asks whether a table's log at the target holds every commit that the
// target knows of. One that a catalog or a DynamoDB table has accepted, and whose
// entry in the log is missing, is known only there, and that is not replicated.
func (p *bucketPair) published(ctx context.Context, t estate.Table) action.Observation {
	prefix := t.Path + "/"
	what, want := "the log of "+prefix+" alone says what was committed", "no staged commit above the newest entry of the log"
	newest, staged, first := int64(-1), int64(-1), ""
	format, log, err := p.log(t)
	if err != nil {
		return p.blind(p.target.region, what, want, err)
	}
	for o, err := range p.target.List(ctx, log) {
		if err != nil {
			return p.blind(p.target.region, what, want, err)
		}
		switch e := format.Entry(o.Key); e.Role {
		case table.RoleCommit:
			newest = max(newest, e.Version)
		case table.RoleStaged:
			if e.Version > staged {
				staged, first = e.Version, o.Key
			}
		}
	}
	switch {
	case staged > newest:
		return action.Saw(what, want, fmt.Sprintf("the log ends at %d, and %s is staged: export what the catalog, or DynamoDB, has accepted, or give it up", newest, first), false)
	case newest < 0:
		return action.Observation{What: what, Want: want, Got: "the log has no entry, from which nothing follows", Verdict: verdict.Unknown, Cause: action.CauseOther}
	}
	return action.Saw(what, want, fmt.Sprintf("the log ends at %d, and nothing is staged above", newest), true)
}
