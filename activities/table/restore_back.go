package table

import (
	"context"
	"errors"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"
	"breakwater/internal/table"
)

// moved reports whether a line's key no longer holds what the plan saw there. A plan of
// an earlier release does not say.
func (b backPlan) moved(i int, have map[string]table.ObjectVersion) bool {
	if len(b.Saw) != len(b.Lines) {
		return false
	}
	now, there := have[b.Lines[i].Key]
	if saw := b.Saw[i]; saw != nil {
		return !there || now.ETag != saw.ETag
	}
	return there
}

// putBack makes one object what it was, where the store takes conditions only over the
// one that has the ETag.
func (r *restoring) putBack(ctx context.Context, line backLine, over string) error {
	b := r.site.Bucket
	if line.Was == nil {
		err := r.site.Site().Store.Hide(ctx, line.Key, over)
		if errors.Is(err, table.ErrChanged) {
			return moved(r.site, line.Key, "changed while it was taken back")
		}
		return err
	}
	copier, err := b.Copier()
	if err != nil {
		return err
	}
	_, err = copier.Copy(ctx, objectstore.CopyRequest{
		From: objectstore.Source{Bucket: b.Name(), Key: line.Key, VersionID: line.Was.VersionID, ETag: line.Was.ETag},
		Size: line.Was.Size, Bucket: b.Name(), Key: line.Key, Over: over,
	})
	if errors.Is(err, objectstore.ErrChanged) {
		return moved(r.site, line.Key, "changed while it was taken back")
	}
	return err
}

// notCovered observes that taking back covered nothing that its plan did not see.
func (r *restoring) notCovered(ctx context.Context, run action.Run, b backPlan) []action.Observation {
	if len(b.Saw) != len(b.Lines) {
		return nil
	}
	var lines []rewind.Line
	for i, back := range b.Lines {
		l := rewind.Line{Key: back.Key, Do: rewind.Mark}
		if was := back.Was; was != nil {
			l.Do, l.Then = rewind.Copy, rewind.Version{ID: was.VersionID, ETag: was.ETag, Size: was.Size}
		}
		if saw := b.Saw[i]; saw != nil {
			l.Now = rewind.Version{ID: saw.VersionID, ETag: saw.ETag, Size: saw.Size}
		}
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b rewind.Line) int { return strings.Compare(a.Key, b.Key) })
	to := r.site.Bucket
	changes := perform.Changes{To: to, From: to, Prefixes: []string{r.site.Root.Prefix + "/"}, Lines: perform.Whole(lines)}
	var under []perform.Buried
	for u, err := range changes.Buried(ctx) {
		if err != nil {
			return []action.Observation{r.site.NotSeen(run, lake.WhatBuried, "a listing of versions", err)}
		}
		under = append(under, u)
	}
	return []action.Observation{lake.NotBuried(to, len(under), under)}
}
