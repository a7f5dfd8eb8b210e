package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"

	"breakwater/internal/action"
	"breakwater/internal/backup/depot"
	"breakwater/internal/lake"
	"breakwater/internal/plural"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"

	"golang.org/x/sync/errgroup"
)

// verifyRestore reads the table as any reader would, and every byte of it once
// more against the manifest's checksums.
func (s room) verifyRestore(ctx context.Context, c action.Call[restoreWith]) ([]action.Observation, error) {
	if left, out := leftOutBy(c.Plan); out {
		return s.verifyNotRestored(ctx, c, left)
	}
	p, err := action.Decode[restorePlan](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	const what = "the backup says what must be there"
	r, err := s.restoringTo(ctx, c, &p)
	if errors.Is(err, action.ErrRefused) {
		return nil, err
	}
	if err != nil {
		return []action.Observation{r.Unseen(c.Run, what, "manifest and list", err)}, nil
	}
	t := r.site
	l, err := t.Open(ctx)
	head := fmt.Sprintf("the head is version %d", p.Version)
	if err != nil {
		return []action.Observation{t.NotSeen(c.Run, head, "a log", err)}, nil
	}
	obs := []action.Observation{t.About(action.Saw(head, fmt.Sprint(p.Version), fmt.Sprint(l.Extent().Head), l.Extent().Head == p.Version)), r.logIsThe(ctx, c)}
	obs = append(obs, t.Whole(ctx, c.Run, l, p.Version))
	obs = append(append(obs, t.Looked(c.Run, r.format.Restored(ctx, t.Store, t.Root, p.Version)...)...), r.bytesAre(ctx, c))
	obs = append(obs, r.notBuried(ctx, c, p))
	rows, want := "its rows are those that were backed up", lake.RowWords(r.from.Rows, r.from.Hash)
	snap, err := l.Snapshot(ctx, p.Version)
	if err == nil {
		var n int64
		var hash string
		if n, hash, err = lake.RowsOf(ctx, t.Format.Name(), snap); err == nil {
			return append(obs, t.About(action.Saw(rows, want, lake.RowWords(n, hash), n == r.from.Rows && hash == r.from.Hash))), nil
		}
	}
	return append(obs, t.NotSeen(c.Run, rows, want, err)), nil
}

// logIsThe observes that the log is the backup's and nothing beside it.
func (r *restoring) logIsThe(ctx context.Context, c action.Call[restoreWith]) action.Observation {
	what, want := "its log holds what the backup holds", "nothing else"
	ours := map[string]bool{}
	for _, o := range r.objects {
		ours[o.Key] = true
	}
	got := want
	for o, err := range r.site.Bucket.List(ctx, r.site.LogDir()) {
		if err != nil {
			return r.site.NotSeen(c.Run, what, want, err)
		}
		if r.format.Hides(r.site.Root, o.Key) && !ours[o.Key] {
			got = "also " + o.Key
		}
	}
	return r.site.About(action.Saw(what, want, got, got == want))
}

// bytesAre observes the checksum of every object.
func (r *restoring) bytesAre(ctx context.Context, c action.Call[restoreWith]) action.Observation {
	what, want := "every object has the bytes that were backed up", fmt.Sprintf("%s with their SHA-256", plural.Of(len(r.objects), "object"))
	bad := make([]string, len(r.objects))
	var done atomic.Int64
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(action.AtOnce)
	for i, o := range r.objects {
		work.Go(func() error {
			sum, err := depot.Sum(wctx, r.site.Bucket.Client(), r.site.Bucket.Name(), o.Key, "")
			if errors.Is(err, fs.ErrNotExist) && lake.Answered(err) {
				sum, err = "it is gone", nil
			}
			if err == nil && sum != o.Copy.SHA256 {
				bad[i] = o.Key + ": " + sum
			}
			c.Progress(done.Add(1), int64(len(r.objects)), "reading "+r.site.Name)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return r.site.NotSeen(c.Run, what, want, err)
	}
	bad = slices.DeleteFunc(bad, func(b string) bool { return b == "" })
	got := want
	if len(bad) > 0 {
		got = fmt.Sprintf("%d of %d have not, the first: %s", len(bad), len(r.objects), bad[0])
	}
	return r.site.About(action.Saw(what, want, got, len(bad) == 0))
}

// notBuried observes that what the restore hid and wrote over is what its plan saw: no
// store here takes every write on a condition.
func (r *restoring) notBuried(ctx context.Context, c action.Call[restoreWith], p restorePlan) action.Observation {
	under, err := r.buried(ctx, p)
	if err != nil {
		return r.site.NotSeen(c.Run, lake.WhatBuried, "a listing of versions", err)
	}
	return lake.NotBuried(r.site.Bucket, len(under), under)
}

// buried finds what lies under the restore's changes that its plan did not see.
func (r *restoring) buried(ctx context.Context, p restorePlan) ([]perform.Buried, error) {
	seen, equal := map[string]rewind.Version{}, map[string]bool{}
	for _, key := range p.Equal {
		equal[key] = true
	}
	for _, d := range p.Done { // as an earlier attempt of this step had left it
		if d.Now != nil {
			seen[d.Key] = rewind.Version{ID: d.Now.VersionID, ETag: d.Now.ETag, Size: d.Now.Size}
		}
	}
	for _, k := range slices.Concat(p.Hidden, p.Replaced) {
		seen[k.Key] = rewind.Version{ID: k.VersionID, ETag: k.ETag, Size: k.Size}
	}
	var lines []rewind.Line
	for _, k := range p.Hidden {
		lines = append(lines, rewind.Line{Key: k.Key, Do: rewind.Mark, Now: seen[k.Key]})
	}
	sums := map[string]string{}
	for _, o := range r.objects {
		if sums[o.Key] = o.Copy.SHA256; !equal[o.Key] {
			lines = append(lines, rewind.Line{Key: o.Key, Do: rewind.Copy, Now: seen[o.Key], Then: rewind.Version{Size: o.Copy.Size}})
		}
	}
	slices.SortFunc(lines, func(a, b rewind.Line) int { return strings.Compare(a.Key, b.Key) })
	b := r.site.Bucket
	changes := perform.Changes{To: b, From: b, Prefixes: []string{r.site.Root.Prefix + "/"}, Lines: perform.Whole(lines)}
	// What lies on top must be the restore's own: not what an undo brought back since.
	var under []perform.Buried
	for u, err := range changes.Buried(ctx) {
		if err != nil {
			return nil, err
		}
		if u.Line.Do == rewind.Copy {
			sum, err := depot.Sum(ctx, b.Client(), b.Name(), u.Line.Key, "")
			if err != nil && (!errors.Is(err, fs.ErrNotExist) || !lake.Answered(err)) {
				return nil, err
			}
			if sum != sums[u.Line.Key] {
				continue
			}
		}
		under = append(under, u)
	}
	return under, nil
}
