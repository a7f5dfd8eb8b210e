package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/compare"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/verdict"
)

func (s room) replicationActions(c *action.Catalogue) {
	action.Add(c, action.Action[action.None]{
		Name: "storage.replication", Over: estate.BucketKind, Effect: action.ReadOnly, Drill: action.DrillReadOnly,
		Requires: []estate.Requirement{estate.NeedsDeleteMarkers()},
		Doc:      "Hold a bucket against its copy: rules cover every table, nothing has waited longer than the RPO, nothing was left out, written twice or expired early. Both sides are listed; what differs is asked about one by one.",
		Timing:   action.Timing{Timeout: 30 * time.Minute, Estimate: 10 * time.Second},
		Verify:   s.verifyReplication,
		Permits: permit.Join(
			permit.Remembers(permit.Source, permit.Objects), permit.Administers(permit.Source, permit.Oversees, permit.Replicates, permit.Counts),
			permit.Remembers(permit.Target, permit.Objects), permit.Administers(permit.Target, permit.Oversees, permit.Replicates)),
		RedWhen: []action.Red{
			{Fault: "storage.rule-off", Want: verdict.Fail},
			{Fault: "storage.rule-elsewhere", Want: verdict.Fail},
			{Fault: "storage.markers-stay", Want: verdict.Fail},
			{Fault: "storage.older-than-rule", Want: verdict.Fail},
			{Fault: "storage.replica-removed", Want: verdict.Fail},
			{Fault: "storage.written-at-both", Want: verdict.Fail},
			{Fault: "storage.old-version-missing", Want: verdict.Fail},
			{Fault: "storage.replicas-refused", Want: verdict.Fail},
			{Fault: "storage.source-expires", Want: verdict.Fail},
			{Fault: "region.source-unreachable", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	})
	action.Add(c, action.Action[action.None]{
		Name: "storage.standby-ready", Over: estate.BucketKind, Effect: action.ReadOnly, Drill: action.DrillReadOnly,
		Requires: []estate.Requirement{estate.NeedsReverseRule()},
		Doc:      "Ask the standby alone whether its copy of a bucket can be used: it keeps versions, decrypts what it holds, expires nothing early, has the rule back, and knows every commit of its tables from their logs.",
		Timing:   action.Timing{Timeout: 10 * time.Minute, Estimate: 5 * time.Second},
		Verify:   s.verifyStandby,
		Permits:  permit.Join(permit.Remembers(permit.Target, permit.Objects), permit.Administers(permit.Target, permit.Oversees, permit.Replicates)),
		RedWhen: []action.Red{
			{Fault: "storage.objects-unreadable", Want: verdict.Fail},
			{Fault: "storage.target-expires", Want: verdict.Fail},
			{Fault: "storage.rule-back-elsewhere", Want: verdict.Fail},
			{Fault: "storage.commit-unpublished", Want: verdict.Fail},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	})
	action.Add(c, action.Action[action.None]{
		Name: "storage.late-replicas", Over: estate.BucketKind, Effect: action.ReadOnly, Drill: action.DrillReadOnly,
		Doc:    "Look for commits of tables at the target that a replica has replaced: a late one over the standby's own, or one that brings back what was moved aside.",
		Things: tablesIn, Verify: s.verifyLateReplicas,
		Permits: permit.Join(permit.Remembers(permit.Source, permit.Objects), permit.Remembers(permit.Target, permit.Objects)),
		RedWhen: []action.Red{
			{Fault: "storage.commit-replaced", Want: verdict.Fail},
			{Fault: "storage.table-log-missing", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	})
}

// side is one bucket in its region.
type side struct {
	region string
	objectstore.Bucket
}

// bucketPair is one logical bucket in both regions of a run.
type bucketPair struct {
	s              room
	c              action.Call[action.None]
	decl           *estate.Bucket
	scopes         []scope
	source, target side
}

func (s room) bucketPair(ctx context.Context, c action.Call[action.None]) (*bucketPair, error) {
	decl, ok := c.Estate.Bucket(c.Item.Name)
	if !ok {
		return nil, fmt.Errorf("estate %s has no bucket %q", c.Estate.Estate, c.Item.Name)
	}
	p := &bucketPair{s: s, c: c, decl: decl, scopes: scopesOf(c.Estate, decl.Bucket, c.Run.Groups)}
	for region, side := range map[string]*side{c.Run.Source: &p.source, c.Run.Target: &p.target} {
		b, err := s.Bucket(ctx, c.Estate, region, decl.Bucket)
		if err != nil {
			return nil, err
		}
		side.region, side.Bucket = region, b
	}
	return p, nil
}

// prefixes are those of all scopes.
func (p *bucketPair) prefixes() []string {
	var all []string
	for _, s := range p.scopes {
		all = append(all, s.prefixes...)
	}
	return all
}

// blind is what could not be looked at in a region. From a source that does not
// answer it may become an obligation.
func (p *bucketPair) blind(region, what, want string, err error) action.Observation {
	if at := (*compare.SideError)(nil); errors.As(err, &at) {
		region = map[compare.Side]side{compare.Source: p.source, compare.Target: p.target}[at.Side].region
	}
	return action.Unknown(p.c.Run, region, what, want, err,
		fmt.Sprintf("Compare bucket %s of %s with its copy in %s before anything is copied back", p.decl.Bucket, p.c.Run.Source, p.c.Run.Target))
}

func (s room) verifyReplication(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	p, err := s.bucketPair(ctx, c)
	if err != nil {
		return nil, err
	}
	obs := []action.Observation{
		p.versions(ctx, p.source),
		p.versions(ctx, p.target),
		p.covered(ctx),
		p.markersDeclared(ctx),
		p.expiry(ctx, p.source),
	}
	waiting := false
	far := p.halfway()
	for _, sc := range p.scopes {
		d, err := p.compare(ctx, sc, far)
		if err != nil {
			what, want := "the objects of "+sc.name+" are at "+p.target.region, "a listing of both sides"
			obs = append(obs, p.blind(p.target.region, what, want, err))
			continue
		}
		waits := d.Of(compare.Waits, compare.Failed, compare.Passed, compare.Delivered, compare.Replica, compare.Unlooked)
		waiting = waiting || waits.Count > 0
		obs = append(obs, p.within(sc, d), p.leftOut(sc, d), p.deletions(sc, d), p.twice(sc, d), p.history(sc, d))
	}
	if o, ok := p.counters(ctx, waiting); ok {
		obs = append(obs, o)
	}
	return obs, ctx.Err()
}

// within holds the oldest object that is not at the target against the RPO. What
// replication calls pending is not believed to be all: the listings say what is
// missing.
func (p *bucketPair) within(sc scope, d *compare.Drift) action.Observation {
	what := "what the target lacks of " + sc.name + " is no older than its RPO"
	want, rpo := "no objective: the bucket belongs to no group", time.Duration(-1)
	if sc.rpo != nil {
		rpo = *sc.rpo
		want = "nothing older than " + rpo.String()
	}
	missing := d.Of(compare.Waits, compare.Failed, compare.Passed, compare.Delivered, compare.Replica, compare.Unmarked, compare.Unlooked)
	got := fmt.Sprintf("%s (%s) compared; %d (%s) are not there", plural.Of(d.Objects, "object"), plural.Of(d.Bytes, "byte"), missing.Count, plural.Of(missing.Bytes, "byte"))
	if d.Objects == 0 && missing.Count == 0 {
		return action.Observation{What: what, Want: want, Got: "the source holds nothing there, from which nothing follows", Verdict: verdict.Unknown, Cause: action.CauseOther}
	}
	if missing.Count == 0 {
		return action.Saw(what, want, got, true)
	}
	// Both clocks, the store's and this worker's, may be wrong, either way.
	skew := p.c.Estate.ClockSkew.Std()
	age := max(time.Since(missing.Oldest), 0)
	got += fmt.Sprintf(", the oldest since %s, %s ago (± %s); %s", missing.Oldest.UTC().Format(time.RFC3339), age.Round(time.Millisecond), skew,
		d.Told(compare.Waits, compare.Failed, compare.Passed, compare.Delivered, compare.Replica, compare.Unmarked, compare.Unlooked))
	return action.Saw(what, want, got, rpo < 0 || age+skew <= rpo)
}

// leftOut is what replication will not bring by itself, however long one waits.
func (p *bucketPair) leftOut(sc scope, d *compare.Drift) action.Observation {
	what, want := "replication has left nothing of "+sc.name+" out", "no object that it gave up, passed by, or brought in vain"
	out := d.Of(compare.Failed, compare.Passed, compare.Delivered, compare.Replica)
	got := d.Told(compare.Failed, compare.Passed, compare.Delivered, compare.Replica)
	if out.Count > 0 {
		got += "; only a Batch Replication job, or a resync of the rule at MinIO, brings them"
	}
	if n := d.Of(compare.Unlooked).Count; n > 0 && out.Count == 0 {
		o := p.blind("", what, want, fmt.Errorf("%s missing at the target than were looked at one by one", plural.Of(n, "more object", "is", "are")))
		return o
	}
	return action.Saw(what, want, got, out.Count == 0)
}

// deletions holds delete markers against what the estate decides.
func (p *bucketPair) deletions(sc scope, d *compare.Drift) action.Observation {
	what := "deletions of " + sc.name + " are at " + p.target.region + " what the estate decides"
	want := "delete_markers: " + cmp.Or(p.decl.DeleteMarkers, "replicate or keep")
	switch bad := d.Of(compare.Marked, compare.Hidden); {
	case bad.Count > 0:
		return action.Saw(what, want, d.Told(compare.Marked, compare.Hidden)+"; to undelete, remove the delete markers at "+p.target.region, false)
	case p.decl.DeleteMarkers == "":
		return action.Saw(what, want, "nobody has decided: write it under buckets in the estate", false)
	}
	got := fmt.Sprintf("no other deletion than the source's; only at the target: %s", d.Extra)
	if d.Extra.Count > 0 {
		got += ", which are the target's own, or of which the source has removed every version: that is replicated by no rule"
	}
	return action.Saw(what, want, got, true)
}

// twice is a split brain, as storage sees it.
func (p *bucketPair) twice(sc scope, d *compare.Drift) action.Observation {
	bad := d.Of(compare.Forked)
	return action.Saw("no key of "+sc.name+" was written at both sides", "one content per key, or a replica of it", d.Told(compare.Forked), bad.Count == 0)
}

// history holds the target to the retention that the estate promises.
func (p *bucketPair) history(sc scope, d *compare.Drift) action.Observation {
	what, keep := "what "+sc.name+" has lately overwritten or deleted is at both sides", p.decl.Retention
	if keep == 0 {
		return action.Nothing(what, "as long as the estate promises", "the estate promises no retention")
	}
	bad := d.Of(compare.Forgotten)
	return action.Saw(what, "every version of the last "+keep.String(), d.Told(compare.Forgotten), bad.Count == 0)
}

// versions asks for versioning, without which nothing is replicated, and nothing
// written over comes back.
func (p *bucketPair) versions(ctx context.Context, at side) action.Observation {
	what, want := fmt.Sprintf("s3://%s in %s keeps versions", at.Name(), at.region), "versioning on, for every table"
	overseer, err := p.s.Overseer(ctx, p.c.Estate, at.region)
	var v objectstore.Versioning
	if err == nil {
		v, err = overseer.Versioning(ctx, at.Name())
	}
	if err != nil {
		return p.blind(at.region, what, want, err)
	}
	if !v.On {
		return action.Saw(what, want, "it is off, or suspended", false)
	}
	for _, e := range v.Except {
		for _, prefix := range p.prefixes() {
			if matches(e, prefix) {
				return action.Saw(what, want, fmt.Sprintf("on, except below %s, where %s lies", e, cmp.Or(prefix, "the bucket")), false)
			}
		}
	}
	return action.Saw(what, want, "on", true)
}

// matches reports whether a prefix of MinIO's, in which * stands for anything,
// takes keys below the prefix of a table.
func matches(except, prefix string) bool {
	fixed, _, _ := strings.Cut(except, "*")
	return strings.HasPrefix(prefix, fixed) || strings.HasPrefix(fixed, prefix)
}

// counters hears the server itself, as a second source. It can confirm a backlog
// and never that there is none: its counts begin when the process does.
func (p *bucketPair) counters(ctx context.Context, waiting bool) (action.Observation, bool) {
	counter, err := p.s.Counter(ctx, p.c.Estate, p.source.region)
	if errors.Is(err, objectstore.ErrLacks) {
		return action.Observation{}, false
	}
	what, want := fmt.Sprintf("the server of %s reports no failures beside what is missing", p.source.region), "no failures, or nothing missing any more"
	if err != nil {
		return p.blind(p.source.region, what, want, err), true
	}
	m, err := counter.ReplicationCounts(ctx, p.source.Name())
	if err != nil {
		return p.blind(p.source.region, what, want, err), true
	}
	got := fmt.Sprintf("%d failed in the last minute (%s), %d queued (%s), %d delivered (%s) in the %s since it started",
		m.Failed, plural.Of(m.FailedBytes, "byte"), m.Queued, plural.Of(m.QueuedBytes, "byte"), m.Delivered, plural.Of(m.DeliveredBytes, "byte"), m.Uptime)
	if !m.Any {
		got = fmt.Sprintf("no data: it has counted nothing in the %s since it started; the listings alone speak", m.Uptime)
	}
	return action.Saw(what, want, got, m.Failed == 0 || !waiting), true
}
