package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/backup/depot"
	"breakwater/internal/lake"
	"breakwater/internal/plural"
	"breakwater/internal/table"

	"golang.org/x/sync/errgroup"
)

// takeErr says of an object that went away while it was copied that the table
// moved on.
func takeErr(t takeTable, err error) error {
	if errors.Is(err, fs.ErrNotExist) && lake.Answered(err) {
		return fmt.Errorf("table %s version %d: %w; plan again: %w", t.Table, t.Version, err, action.ErrMoved)
	}
	return fmt.Errorf("table %s version %d: %w", t.Table, t.Version, err)
}

// takeTable copies one table: data before log, log before pointer, and the list of
// all of it last.
func (s room) takeTable(ctx context.Context, c action.Call[action.None], b lake.Backups, m backup.Manifest, t takeTable) (backup.Table, int64, error) {
	from, split, err := s.split(ctx, c, b, m, t.Table, t.Version)
	if err != nil {
		return backup.Table{}, 0, err
	}
	w := &taking{c: c, b: b, m: m, from: from, total: int64(len(split.Keep) + len(split.Copy))}
	if err := w.keep(ctx, split.Keep); err != nil {
		return backup.Table{}, w.mutations, err
	}
	batch, rest := []backup.Need(nil), split.Copy
	if t.Batch > 0 {
		batch, rest = batched(b, c.Estate, m, from, split.Copy)
	}
	if len(batch) != t.Batch {
		return backup.Table{}, w.mutations, fmt.Errorf("%w: a batch was to copy %s, and would copy %d now; plan again", action.ErrMoved, plural.Of(t.Batch, "object"), len(batch))
	}
	if err := s.takeBatch(ctx, w, batch); err != nil {
		return backup.Table{}, w.mutations, err
	}
	for _, role := range table.Stages() {
		var stage []backup.Need
		for _, n := range rest {
			if n.Role == role {
				stage = append(stage, n)
			}
		}
		if err := w.copy(ctx, role, stage); err != nil {
			return backup.Table{}, w.mutations, err
		}
	}
	entry := backup.Table{
		Table: t.Table, Format: from.Decl.Format, Bucket: from.Decl.Bucket, Path: from.Decl.Path,
		Version: t.Version, CommittedAt: from.snap.Version().Time,
	}
	if entry.Rows, entry.Hash, err = s.rowsAt(ctx, c, from); err != nil {
		return entry, w.mutations, err
	}
	slices.SortFunc(w.objects, func(a, b backup.Object) int { return strings.Compare(a.Key, b.Key) })
	for _, o := range w.objects {
		entry.Objects, entry.Bytes = entry.Objects+1, entry.Bytes+o.Copy.Size
	}
	body, err := backup.EncodeList(w.objects)
	if err != nil {
		return entry, w.mutations, err
	}
	list, err := w.add(ctx, body)
	entry.List = list.Stored
	return entry, w.mutations, err
}

// taking is the copying of one table.
type taking struct {
	c     action.Call[action.None]
	b     lake.Backups
	m     backup.Manifest
	from  takenFrom
	total int64

	mu        sync.Mutex
	objects   []backup.Object
	mutations int64
}

func (w *taking) took(o backup.Object, changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.objects = append(w.objects, o)
	if changed {
		w.mutations++
	}
	w.c.Progress(int64(len(w.objects)), w.total, "copying "+w.from.Name)
}

// keep lengthens the locks of what the manifest before holds already.
func (w *taking) keep(ctx context.Context, objects []backup.Object) error {
	if len(objects) == 0 {
		return nil
	}
	if err := w.c.Guard(ctx); err != nil {
		return err
	}
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(4 * action.AtOnce)
	for _, o := range objects {
		work.Go(func() error {
			short := o.LockedUntil.Before(w.m.LockedUntil)
			if short {
				if err := w.b.Lengthen(wctx, o.Copy, w.m.LockedUntil); err != nil {
					return err
				}
				o.LockedUntil = w.m.LockedUntil
			}
			w.took(o, short)
			return nil
		})
	}
	return work.Wait()
}

// copy copies the objects of one role; commits one after another.
func (w *taking) copy(ctx context.Context, role table.Role, needs []backup.Need) error {
	if role == table.RolePointer && w.from.beside.Pointer != "" {
		a, err := w.add(ctx, w.from.beside.Body)
		if err != nil {
			return err
		}
		w.took(backup.Object{
			Key: w.from.beside.Pointer, Role: role, MD5: a.MD5, Copy: a.Stored, LockedUntil: w.m.LockedUntil,
		}, false) // add has counted it
	}
	if len(needs) == 0 {
		return nil
	}
	if err := w.c.Guard(ctx); err != nil {
		return err
	}
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(action.AtOnce)
	if role == table.RoleCommit {
		work.SetLimit(1)
	}
	for _, n := range needs {
		work.Go(func() error {
			a, o, err := w.b.AddContent(wctx, w.m.Group, w.m.Generation, w.from.Bucket.Client(), w.from.Bucket.Name(), n.Key, n.Size, w.m.LockedUntil)
			if err != nil {
				return fmt.Errorf("back up %s: %w", n.Key, err)
			}
			if a.Size != n.Size || o.ETag != n.ETag {
				return fmt.Errorf("back up %s: %w: it was written over since it was listed; plan again", n.Key, action.ErrMoved)
			}
			w.took(backup.Object{
				Key: n.Key, Role: n.Role, ETag: o.ETag, SourceVersion: o.VersionID, MD5: a.MD5, Copy: a.Stored, LockedUntil: w.m.LockedUntil,
			}, a.New)
			return nil
		})
	}
	return work.Wait()
}

// add adds bytes under the name of their content.
func (w *taking) add(ctx context.Context, body []byte) (depot.Added, error) {
	if err := w.c.Guard(ctx); err != nil {
		return depot.Added{}, err
	}
	a, err := w.b.AddBytes(ctx, w.m.Group, w.m.Generation, body, w.m.LockedUntil)
	if err == nil && a.New {
		w.mutations++
	}
	return a, err
}

// rowsAt reads the rows of a version at the source, unless the witness wrote them
// down when it read the same commit.
func (s room) rowsAt(ctx context.Context, c action.Call[action.None], from takenFrom) (int64, string, error) {
	if c.Estate.Witness.Bucket != "" && c.Run.Target != "" {
		j, err := s.lake.Journal(ctx, c.Estate, c.Run.Target)
		if err != nil {
			return 0, "", err
		}
		// A journal that cannot be read costs the time to read the table.
		if r, err := j.Record(ctx, from.Name, from.snap.Version().Number); err == nil && r.CommittedAt.Equal(from.snap.Version().Time) {
			return r.Rows, r.Hash, nil
		}
	}
	c.Progress(0, 1, "reading the rows of "+from.Name)
	return lake.RowsOf(ctx, from.Format.Name(), from.snap)
}
