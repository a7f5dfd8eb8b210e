package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync/atomic"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/objectstore"
	"breakwater/internal/table"

	"golang.org/x/sync/errgroup"
)

// applyRestore writes data before log and log before pointer, and hides what the
// log had beside the backup in between. It goes by what is there, so that a second
// call, or one after a crash, does what is left.
func (s room) applyRestore(ctx context.Context, c action.Call[restoreWith]) (action.Outcome, error) {
	if _, out := leftOutBy(c.Plan); out {
		return action.Outcome{Summary: c.Item.Name + " is left as it is"}, nil
	}
	p, err := action.Decode[restorePlan](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	r, err := s.restoringTo(ctx, c, &p)
	if err != nil {
		return action.Outcome{}, err
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s is at version %d of backup %s", r.site.Name, p.Version, p.Backup)}
	have, err := r.present(ctx)
	if err != nil {
		return out, err
	}
	was := map[string]table.ObjectVersion{}
	for _, k := range slices.Concat(p.Replaced, p.Hidden) {
		was[k.Key] = k.ObjectVersion
	}
	guard := r.noting(c, p, &out)
	var written atomic.Int64
	for _, role := range table.Stages() {
		if role == table.RoleCheckpoint { // the data is there
			n, err := r.hide(ctx, guard, p, have)
			out.Mutations += n
			if err != nil {
				return out, err
			}
		}
		var todo []backup.Object
		for _, o := range r.objects {
			now, there := have[o.Key]
			if o.Role != role {
				continue
			}
			if there {
				same, err := r.same(ctx, o, now)
				if err != nil {
					return out, err
				}
				if same {
					continue
				}
			}
			if there && now.ETag != was[o.Key].ETag {
				return out, moved(r.site, o.Key, "came or changed after the plan")
			}
			todo = append(todo, o)
		}
		if len(todo) == 0 {
			continue
		}
		if err := guard(ctx); err != nil {
			return out, err
		}
		work, wctx := errgroup.WithContext(ctx)
		work.SetLimit(action.AtOnce)
		if role == table.RoleCommit { // in the order of their versions
			work.SetLimit(1)
		}
		before := written.Load()
		for _, o := range todo {
			work.Go(func() error {
				err := r.WriteOver(wctx, o, r.site.Bucket, o.Key, have[o.Key].ETag)
				if errors.Is(err, objectstore.ErrChanged) || errors.Is(err, fs.ErrExist) {
					return moved(r.site, o.Key, "was written by somebody else")
				}
				if err == nil {
					c.Progress(written.Add(1), int64(len(r.objects)), "writing the "+string(role)+" of "+r.site.Name)
				}
				return err
			})
		}
		err := work.Wait()
		out.Mutations += written.Load() - before
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// hide puts delete markers over the files of the log that the backup does not
// have. One that came after the plan is for people to look at.
func (r *restoring) hide(ctx context.Context, guard func(context.Context) error, p restorePlan, have map[string]table.ObjectVersion) (n int64, err error) {
	planned, ours := map[string]table.ObjectVersion{}, map[string]bool{}
	for _, k := range p.Hidden {
		planned[k.Key] = k.ObjectVersion
	}
	for _, o := range r.objects {
		ours[o.Key] = true
	}
	for key, now := range have {
		if !r.format.Hides(r.site.Root, key) || ours[key] {
			continue
		}
		if was, ok := planned[key]; !ok || was.ETag != now.ETag {
			return n, moved(r.site, key, "came or changed after the plan")
		}
	}
	asked := false
	for _, k := range p.Hidden {
		if _, there := have[k.Key]; !there {
			continue
		}
		if !asked {
			if err := guard(ctx); err != nil {
				return n, err
			}
			asked = true
		}
		switch err := r.site.Site().Store.Hide(ctx, k.Key, k.ETag); {
		case errors.Is(err, table.ErrChanged):
			return n, moved(r.site, k.Key, "changed while the log was hidden")
		case err != nil:
			return n, err
		}
		n++
	}
	return n, nil
}
