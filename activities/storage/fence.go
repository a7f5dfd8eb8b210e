package storage

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/permit"
	"breakwater/internal/reach"
	"breakwater/internal/verdict"
)

func (s room) storageActions(c *action.Catalogue) {
	writers := barring{s: s, region: source, principals: writersOf, who: "writers"}
	action.Add(c, action.Action[barringWith]{
		Name: "storage.fence", Over: estate.BucketKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Requires: []estate.Requirement{estate.NeedsWriters()},
		Doc:      "Deny the source's writers every write to a bucket, and prove it with their own credentials; an obligation where the source does not answer.",
		Plan:     writers.plan, Apply: writers.apply, Verify: writers.verify,
		Undo: &action.Undo[barringWith]{Plan: writers.planBack, Apply: writers.applyBack, Verify: writers.verifyBack, Show: showBarring},
		Show: showBarring, Rules: barringRules,
		Permits: permit.Join(permit.Administers(permit.Source, permit.Fences), permit.Reads(permit.Source, permit.Objects), permit.CleansUp(permit.Source, permit.Probes), permit.CleansUp(permit.Target, permit.Probes)),
		RedWhen: []action.Red{
			{Fault: "storage.fence-opened", Want: verdict.Fail},
			{Fault: "storage.writer-key-changed", Want: verdict.Unknown},
			{Fault: "region.source-unreachable", Want: verdict.Unknown},
		},
	})
	action.Add(c, action.Action[barringWith]{
		Name: "storage.unfence", Over: estate.BucketKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Requires: []estate.Requirement{estate.NeedsWriters()},
		Needs:    []string{"storage.fence"},
		Doc:      "Take this run's fence of a bucket away, and prove with their own credentials that the writers of its tables write there again.",
		Plan:     writers.planOpen, Apply: writers.applyBack, Verify: writers.verifyBack,
		Undo: &action.Undo[barringWith]{Plan: writers.plan, Apply: writers.apply, Verify: writers.verify, Show: showBarring},
		Show: showBarring, Rules: barringRules,
		Permits: permit.Join(permit.Administers(permit.Source, permit.Fences), permit.Reads(permit.Source, permit.Objects), permit.CleansUp(permit.Source, permit.Probes), permit.CleansUp(permit.Target, permit.Probes)),
		RedWhen: []action.Red{
			{Fault: "storage.writer-detached", Want: verdict.Fail},
			{Fault: "storage.writer-key-changed", Want: verdict.Fail},
			{Fault: "region.source-unreachable", Want: verdict.Unknown},
		},
	})
	intake := barring{s: s, region: target, principals: replicationOf, who: "replication"}
	action.Add(c, action.Action[barringWith]{
		Name: "storage.stop-replication", Over: estate.BucketKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Requires: []estate.Requirement{estate.NeedsReplication()},
		Doc:      "Close the target's intake of objects: the principal that delivers replicas loses its rights there, proven with its own credentials. Works while the source is dead.",
		Plan:     intake.plan, Apply: intake.apply, Verify: intake.verify,
		Undo: &action.Undo[barringWith]{Plan: intake.planBack, Apply: intake.applyBack, Verify: intake.verifyBack, Show: showBarring},
		Show: showBarring, Rules: barringRules,
		Permits: permit.Join(permit.Administers(permit.Target, permit.Fences), permit.Reads(permit.Target, permit.Objects), permit.CleansUp(permit.Target, permit.Probes)),
		RedWhen: []action.Red{
			{Fault: "storage.intake-opened", Want: verdict.Fail},
			{Fault: "storage.replicator-key-changed", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	})
}

// barringWith are what a step says about a fence.
type barringWith struct {
	Region string `json:"region,omitempty" doc:"the region whose bucket it is, for a run that moves nothing; the run's source, or for replicas its target, when empty"`
}

func source(r action.Run) string { return r.Source }

func target(r action.Run) string { return r.Target }

func writersOf(s estate.Storage) []estate.Principal { return s.Writers }

func replicationOf(s estate.Storage) []estate.Principal {
	if s.Replication == nil {
		return nil
	}
	return []estate.Principal{*s.Replication}
}

// barring keeps some principals of a region out of a bucket there: the source's
// writers, or whoever delivers replicas at the target.
//
// A fence covers one bucket. Where several buckets share a writer, each has a
// policy of its own, so that fences come and go independently of one another.
type barring struct {
	s          room
	region     func(action.Run) string
	principals func(estate.Storage) []estate.Principal
	who        string
}

// where is the region that a step is about.
func (f barring) where(c action.Call[barringWith]) string {
	return cmp.Or(c.With.Region, f.region(c.Run))
}

// barringPlan is what Plan saw, and Undo's plan after it.
type barringPlan struct {
	// Unreachable: the region did not answer, and that was accepted.
	Unreachable bool                   `json:"unreachable,omitempty"`
	Seen        objectstore.FenceState `json:"seen"`
	// Others: an earlier run's fence stands, complete, and is left to that run.
	Others bool `json:"others,omitempty"`
	// Fence is the name of what closes it, and is taken away to open it.
	Fence string `json:"fence,omitempty"`
}

var showBarring = action.Shows[barringPlan, barringPlan]()

// barringRules are for closing and for opening.
var barringRules = []action.Rule{{
	Do:    "deny every write",
	Says:  "the fence's policy, which denies whatever writes to the bucket, is written and attached (MinIO), or its statement is added to the bucket's policy (AWS)",
	Sends: []string{"write policy {data.fence} at *", "attach policy {data.fence}, user {on}", "put s3://*?policy="},
}, {
	Do:    "take this run's denial",
	Says:  "the fence's policy is detached and removed (MinIO), or its statement is taken out of the bucket's policy (AWS)",
	Sends: []string{"detach policy {data.fence}, user {on}", "remove policy {data.fence} at *", "put s3://*?policy=", "delete s3://*?policy="},
}}

// barrier is a bucket with the principals to keep out.
type barrier struct {
	region, logical, bucket string
	storage                 estate.Storage
	principals              []estate.Principal
	fence                   objectstore.Fence
	run                     string
}

func (b barrier) names() string {
	var names []string
	for _, p := range b.principals {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

func (b barrier) String() string { return fmt.Sprintf("s3://%s in %s", b.bucket, b.region) }

// at resolves the item. It asks nothing of the region.
func (f barring) at(ctx context.Context, c action.Call[barringWith]) (barrier, error) {
	b := barrier{region: f.where(c), logical: c.Item.Name, run: c.Run.FirstRun}
	r, err := c.Estate.RegionNamed(b.region)
	if err != nil {
		return b, err
	}
	if b.bucket, err = c.Estate.RealBucket(b.logical, b.region); err != nil {
		return b, err
	}
	b.storage, b.principals = r.Storage, f.principals(r.Storage)
	if len(b.principals) == 0 {
		return b, fmt.Errorf("%w: the estate names no %s at the storage of %s, and a fence without them denies nobody; name them under storage there", action.ErrRefused, f.who, b.region)
	}
	var names []string
	for _, p := range b.principals {
		names = append(names, p.Name)
	}
	fencer, err := f.s.Fencer(ctx, c.Estate, b.region)
	if err != nil {
		return b, err
	}
	b.fence = fencer.Fence(b.bucket, names)
	return b, nil
}

// gone reports whether err is the silence of a source that the run's gate has
// accepted to be unreachable.
func (f barring) gone(c action.Call[barringWith], err error) bool {
	return c.Run.SourceUnreachable && f.where(c) == c.Run.Source && reach.Unreachable(err)
}

func (f barring) plan(ctx context.Context, c action.Call[barringWith]) (action.Change, error) {
	b, err := f.at(ctx, c)
	var p barringPlan
	if err == nil {
		p.Seen, err = b.fence.Read(ctx)
	}
	if f.gone(c, err) {
		p.Unreachable = true
		ch := action.Change{Summary: fmt.Sprintf("%s does not answer: its writers of %s cannot be denied now, which becomes an obligation", f.where(c), c.Item)}
		ch.Data, err = action.Encode(p)
		return ch, err
	}
	if err != nil {
		return action.Change{}, err
	}
	ch := action.Change{Preconditions: []action.Precondition{b.precondition(p.Seen)}}
	switch {
	case p.Seen.Closed && p.Seen.Run == b.run:
		ch.Summary = fmt.Sprintf("%s is closed to its %s by this run already", b, f.who)
	case p.Seen.Closed:
		p.Others = true
		ch.Summary = fmt.Sprintf("%s is closed to its %s already, by run %s, whose fence stays", b, f.who, p.Seen.Run)
	case p.Seen.Run != "" && p.Seen.Run != b.run:
		return action.Change{}, fmt.Errorf("%w: run %s left an incomplete fence at %s; have that run take it back, or complete it by hand", action.ErrRefused, p.Seen.Run, b)
	default:
		ch.Summary = fmt.Sprintf("Deny %s every write to %s; there is no concurrency control for policies: they are read, written and read again", b.names(), b)
		if p.Fence, err = b.fence.Name(b.run); err != nil {
			return action.Change{}, err
		}
		for _, name := range b.principals {
			ch.Effects = append(ch.Effects, action.EffectLine{On: name.Name + " at " + b.region, Do: "deny every write to s3://" + b.bucket, To: p.Fence})
		}
		slices.SortFunc(ch.Effects, func(a, b action.EffectLine) int { return strings.Compare(a.On, b.On) })
	}
	if ch.Data, err = action.Encode(p); err == nil {
		ch.Undo, err = action.Encode(p)
	}
	return ch, err
}

// precondition is the writers' other policies, as far as a plan shows them.
func (b barrier) precondition(st objectstore.FenceState) action.Precondition {
	sum := sha256.Sum256([]byte(st.Base))
	return action.Precondition{Resource: fmt.Sprintf("policies for %s at %s", b.names(), b), Version: hex.EncodeToString(sum[:6])}
}

func (f barring) apply(ctx context.Context, c action.Call[barringWith]) (action.Outcome, error) {
	p, err := action.Decode[barringPlan](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	b, err := f.at(ctx, c)
	var now objectstore.FenceState
	if err == nil {
		now, err = b.fence.Read(ctx)
	}
	switch {
	case p.Unreachable && f.gone(c, err):
		return action.Outcome{Summary: fmt.Sprintf("nothing was done: %s does not answer", f.where(c))}, nil
	case p.Unreachable && !reach.Unreachable(err):
		return action.Outcome{}, fmt.Errorf("%w: %s answers again, so that its writers of %s can be denied; plan again", action.ErrMoved, f.where(c), c.Item)
	case err != nil:
		return action.Outcome{}, err
	case now.Closed && (p.Others || now.Run == b.run):
		return action.Outcome{Summary: fmt.Sprintf("%s is closed to its %s already, by run %s", b, f.who, now.Run)}, nil
	case p.Others:
		return action.Outcome{}, fmt.Errorf("%w: the fence of run %s at %s is no longer complete; plan again", action.ErrMoved, p.Seen.Run, b)
	}
	if err := c.Guard(ctx); err != nil {
		return action.Outcome{}, err
	}
	if err := moved(b.fence.Close(ctx, p.Seen, b.run)); err != nil {
		return action.Outcome{}, err
	}
	return action.Outcome{
		Summary:   fmt.Sprintf("%s are denied every write to %s", b.names(), b),
		Mutations: 1 + int64(len(b.principals)), // the policy, and who has it
	}, nil
}

// moved gives a fence's errors the contract's classes.
func moved(err error) error {
	switch {
	case errors.Is(err, objectstore.ErrChanged):
		return fmt.Errorf("%w: %w", action.ErrMoved, err)
	case errors.Is(err, objectstore.ErrFenced):
		return fmt.Errorf("%w: %w", action.ErrRefused, err)
	}
	return err
}
