package table

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/plural"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"
	"breakwater/internal/table"
)

// What a version needs may have been deleted since, by a VACUUM, say. It comes back
// first, data before log, and then the rollback is committed: one plan, which is refused
// as a whole before anything of it is done.

// comeback is a commit worked out, and what comes back before it.
type comeback struct {
	table.Rollback
	first lake.Undeletion
}

// workOut works out the commit that brings a version back. Where objects that it needs
// are deleted or written over, it is the commit that follows once they have come back.
func workOut(ctx context.Context, t lake.Table, format table.Rollbacker, l table.Table, to table.Destination, byCopy bool) (comeback, error) {
	worked, err := format.PlanRollback(ctx, t.Site(), l, to)
	missing := errors.Is(err, table.ErrMissing) || errors.Is(err, table.ErrBroken) || errors.Is(err, fs.ErrNotExist)
	if err == nil || !missing || !lake.Answered(err) || to.Version > l.Extent().Head {
		return comeback{Rollback: worked}, err
	}
	lacks := err
	why, err := t.Bucket.Unversioned(ctx)
	if err != nil {
		return comeback{}, err
	}
	if why != "" {
		return comeback{}, fmt.Errorf("%w; and nothing is brought back: %s", lacks, why)
	}
	store, err := t.Revived(ctx)
	if err != nil {
		return comeback{}, err
	}
	all, err := t.Format.Open(ctx, store, t.Root)
	if err != nil {
		return comeback{}, err
	}
	then, err := format.Aim(ctx, all, to)
	if err != nil {
		return comeback{}, fmt.Errorf("%w; nor can it be read with everything of its log undeleted: %w", lacks, err)
	}
	first, err := t.Undelete(ctx, then, byCopy)
	if err == nil {
		err = first.RefuseLost(shownFiles)
	}
	if err != nil {
		return comeback{}, err
	}
	if len(first.Lines) > rewind.PartLines {
		return comeback{}, fmt.Errorf("%w; %d of its objects are deleted, and this plan holds %d: bring them back by storage.undelete first, in a run of its own", lacks, len(first.Lines), rewind.PartLines)
	}
	if len(first.Lines) == 0 { // what lacks is no deleted object of this bucket
		return comeback{}, lacks
	}
	site := t.Site()
	site.Store = t.AsIf(first.Lines)
	after, err := t.Format.Open(ctx, site.Store, t.Root)
	if err != nil {
		return comeback{}, err
	}
	if head := after.Extent().Head; head != l.Extent().Head {
		return comeback{}, fmt.Errorf("its head is version %d, and was %d: %w", head, l.Extent().Head, table.ErrHeadMoved)
	}
	worked, err = format.PlanRollback(ctx, site, after, to)
	return comeback{worked, first}, err
}

// describeFirst says what comes back before the commit.
func describeFirst(t lake.Table, ch *action.Change, u lake.Undeletion) {
	if len(u.Lines) == 0 {
		return
	}
	var total rewind.Totals
	for _, l := range u.Lines {
		total.Add(l)
	}
	ch.Summary += fmt.Sprintf("; first %s that version %d needs come back, and stay when this is undone", plural.Of(len(u.Lines), "deleted object"), u.Version)
	ch.Effects = append(ch.Effects, action.EffectLine{
		On: t.Bucket.URL(t.Root.Prefix + "/"), Do: fmt.Sprintf("bring %s back: %d by removing %s, %d by copies of %s", plural.Of(len(u.Lines), "deleted object"), total.Unmarks, plural.Of(total.Markers, "delete marker"), total.Copies, plural.Of(total.Bytes, "byte")),
		To: fmt.Sprintf("all of them: sha256:%x", sha256.Sum256(rewind.Encode(u.Lines))),
	})
	for i, l := range u.Lines {
		if i == shownFiles {
			ch.Effects = append(ch.Effects, action.EffectLine{On: t.Bucket.URL(t.Root.Prefix + "/"), Do: fmt.Sprintf("and %s more", plural.Of(len(u.Lines)-i, "object"))})
			break
		}
		ch.Effects = append(ch.Effects, lake.LineEffect(t.Bucket, l))
	}
	if total.Unmarks > 0 {
		ch.Accepts = append(ch.Accepts, action.Acceptance{ID: "remove-delete-markers " + t.Name, Sentence: fmt.Sprintf(
			"%s on %s of table %s are removed for good. The plan names each; when the objects were deleted is on record there alone afterwards.", plural.Of(total.Markers, "delete marker"), plural.Of(total.Unmarks, "object"), t.Name)})
	}
	ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: "versioning of " + t.Bucket.Name(), Version: "Enabled"})
	ch.Estimate += 5*time.Second + time.Duration(len(u.Lines))*time.Millisecond
}

// first are the changes that bring back what the plan names; nil for nothing.
func (p rollbackPlan) first(t lake.Table) (*perform.Changes, error) {
	if len(p.Undelete) == 0 {
		return nil, nil
	}
	lines, err := rewind.Decode(p.Undelete)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", action.ErrRefused, err)
	}
	return &perform.Changes{To: t.Bucket, From: t.Bucket, Prefixes: p.Prefixes, Lines: perform.Whole(lines), Entries: t.Format.Entry}, nil
}

// with puts what comes back first into a plan.
func (p *rollbackPlan) with(u lake.Undeletion) {
	if len(u.Lines) > 0 {
		p.Undelete, p.Prefixes = rewind.Encode(u.Lines), u.Prefixes
	}
}

// bringBack does what is left of it.
func (p rollbackPlan) bringBack(ctx context.Context, t lake.Table, w table.Work) (int64, error) {
	first, err := p.first(t)
	if err != nil || first == nil {
		return 0, err
	}
	n, err := first.Apply(ctx, w)
	return n, action.Classed(err, perform.ErrMoved, table.ErrMoved)
}

// notBuried observes that nobody wrote under what came back, and gives its keys.
func (p rollbackPlan) notBuried(ctx context.Context, t lake.Table, run action.Run) (obs []action.Observation, keys []string, err error) {
	first, err := p.first(t)
	if err != nil || first == nil {
		return nil, nil, err
	}
	for l, err := range first.Lines.All(ctx) {
		if err != nil {
			return nil, nil, err
		}
		keys = append(keys, l.Key)
	}
	var under []perform.Buried
	for b, err := range first.Buried(ctx) {
		if err != nil {
			return []action.Observation{t.NotSeen(run, lake.WhatBuried, "a listing of versions", err)}, keys, nil
		}
		under = append(under, b)
	}
	return []action.Observation{lake.NotBuried(t.Bucket, len(under), under)}, keys, nil
}
