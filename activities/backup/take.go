package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/backup/depot"
	"breakwater/internal/lake"
	"breakwater/internal/recovery"

	"golang.org/x/sync/errgroup"
)

// takePlan is the typed plan of backup.take: the versions to copy, and the
// manifest that they follow. What has to be copied is a function of both.
type takePlan struct {
	Seq        int64        `json:"seq"`
	Generation int64        `json:"generation"`
	Previous   *backup.Link `json:"previous,omitempty"`
	Cut        time.Time    `json:"cut"`
	Tables     []takeTable  `json:"tables"`
	Taken      bool         `json:"taken,omitempty"` // by an earlier attempt of this step
}

type takeTable struct {
	Table   string `json:"table"`
	Version int64  `json:"version"`
	Copy    int    `json:"copy"`            // objects
	Bytes   int64  `json:"bytes"`           // of them
	Keep    int    `json:"keep"`            // objects
	Batch   int    `json:"batch,omitempty"` // how many of those to copy S3 Batch Operations are to copy
}

// promised is what the estate promises of its backups.
func promised(c action.Call[action.None]) backup.Policy {
	return backup.Policy{Retention: c.Estate.Backup.Retention.Std(), FullEvery: c.Estate.Backup.FullEvery.Std()}
}

// backupCut chooses the versions: the newest complete ones that stood together at
// one moment. The source is at work, so a version counts as the head only until
// the listing that showed it; as with a fenced source, the moment is that of the
// newest commit plus the skew, which does not depend on when it is looked.
func (s room) backupCut(ctx context.Context, c action.Call[action.None], b lake.Backups) (recovery.Cut, error) {
	listed := time.Now()
	ev := &lake.GroupEvidence{Tables: make([]*lake.TableEvidence, len(b.Group.Tables)), Skew: c.Estate.ClockSkew.Std()}
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(action.AtOnce)
	for i, decl := range b.Group.Tables {
		work.Go(func() error {
			site, err := s.lake.Table(wctx, c.Estate, c.Run.Source, decl.Table)
			if err != nil {
				return err
			}
			t := &lake.TableEvidence{Table: site, Incomplete: map[int64]bool{}, State: recovery.TableState{Name: decl.Table}}
			ev.Tables[i] = t
			if err := t.Look(wctx); err != nil {
				return fmt.Errorf("table %s in %s: %w", decl.Table, c.Run.Source, err)
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return recovery.Cut{}, err
	}
	if len(ev.Tables) == 0 {
		return recovery.Cut{}, fmt.Errorf("%w: group %s has no tables to back up", action.ErrRefused, b.Group.Group)
	}
	var newest time.Time
	for _, t := range ev.Tables {
		for _, v := range t.State.Versions {
			if v.CommittedAt.After(newest) {
				newest = v.CommittedAt
			}
		}
	}
	at := newest.Add(ev.Skew)
	if at.After(listed) {
		at = listed
	}
	for _, t := range ev.Tables {
		if t.Newest != nil && t.Newest.Version.Number == t.Log.Head() {
			t.State.Heads = []recovery.Head{{At: at, Version: t.Log.Head(), Rows: recovery.Unknown}}
		}
	}
	cut, err := ev.Choose(ctx)
	if err != nil {
		return cut, fmt.Errorf("group %s: %w", b.Group.Group, err)
	}
	return cut, nil
}

func (s room) planTake(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	b, err := s.lake.Backups(ctx, c.Estate, c.Item.Name)
	if err != nil {
		return action.Change{}, err
	}
	if mine := b.Mine(c.Token()); mine != nil {
		m := mine.Manifest
		p := takePlan{Seq: m.Seq, Generation: m.Generation, Previous: m.Previous, Cut: m.Cut, Taken: true}
		for _, t := range m.Tables {
			p.Tables = append(p.Tables, takeTable{Table: t.Table, Version: t.Version, Keep: t.Objects})
		}
		ch := action.Change{Summary: fmt.Sprintf("%s was taken by this step already", m.Name())}
		ch.Data, err = action.Encode(p)
		return ch, err
	}
	cut, err := s.backupCut(ctx, c, b)
	if err != nil {
		return action.Change{}, err
	}
	m := backup.Next(b.Group.Group, b.All, promised(c).Due(b.All, time.Now()))
	p := takePlan{Seq: m.Seq, Generation: m.Generation, Previous: m.Previous, Cut: cut.At}
	var objects, inBatches int
	var bytes int64
	ch := action.Change{}
	for _, t := range cut.Tables {
		from, split, err := s.split(ctx, c, b, m, t.Name, t.Version)
		if err != nil {
			return ch, err
		}
		batch, _ := batched(b, c.Estate, m, from, split.Copy)
		row := takeTable{Table: t.Name, Version: t.Version, Copy: len(split.Copy), Bytes: split.Bytes(), Keep: len(split.Keep), Batch: len(batch)}
		p.Tables = append(p.Tables, row)
		objects, inBatches, bytes = objects+row.Copy, inBatches+row.Batch, bytes+row.Bytes
		ch.Effects = append(ch.Effects, action.EffectLine{
			On: "table " + t.Name, Do: fmt.Sprintf("add version %d to backup %s: %d objects, and share %d with the one before", t.Version, m.Name(), row.Copy, row.Keep) + executor(c.Estate, row),
			To: fmt.Sprintf("%d bytes", row.Bytes),
		})
	}
	kind := "of what is new"
	if m.Full() {
		kind = "of everything, a full one"
	}
	ch.Summary = fmt.Sprintf("Backup %s %s at %s: %d objects with %d bytes", m.Name(), kind, cut.At.Format(time.RFC3339Nano), objects, bytes)
	ch.Estimate = time.Second + time.Duration(objects-inBatches)*20*time.Millisecond + time.Duration(inBatches)*2*time.Millisecond
	if inBatches > 0 {
		ch.Estimate += 5 * time.Minute // until a batch begins
	}
	if _, over := backup.Newest(b.All); len(over) > 0 {
		ch.Summary += fmt.Sprintf("; it steps over %d manifests that cannot be believed", len(over))
	}
	ch.Data, err = action.Encode(p)
	return ch, err
}

// applyTake copies what the plan's versions need, then writes the manifest. What
// an earlier attempt copied is there under the name of its content and is not
// copied again; without a manifest it is nothing.
func (s room) applyTake(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	p, err := action.Decode[takePlan](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	b, err := s.lake.Backups(ctx, c.Estate, c.Item.Name)
	if err != nil {
		return action.Outcome{}, err
	}
	done := func(m backup.Manifest, mutations int64) (action.Outcome, error) {
		o := action.Outcome{Summary: fmt.Sprintf("backup %s is in its place", m.Name()), Mutations: mutations}
		o.Data, err = action.Encode(m)
		return o, err
	}
	if mine := b.Mine(c.Token()); mine != nil {
		return done(mine.Manifest, 0)
	}
	m := backup.Next(b.Group.Group, b.All, p.Generation == p.Seq)
	if m.Seq != p.Seq || m.Generation != p.Generation || (m.Previous == nil) != (p.Previous == nil) || m.Previous != nil && m.Previous.SHA256 != p.Previous.SHA256 {
		return action.Outcome{}, fmt.Errorf("%w: backup %s would be %d now, after another manifest; plan again", action.ErrMoved, backup.Name(m.Group, p.Seq), m.Seq)
	}
	if m.EstateDigest, err = c.Estate.Digest(); err != nil {
		return action.Outcome{}, err
	}
	m.Estate, m.Region, m.Cut, m.Token = c.Estate.Estate, c.Run.Source, p.Cut, c.Token()
	m.LockedUntil = promised(c).Until(time.Now())
	var mutations int64
	for _, t := range p.Tables {
		entry, n, err := s.takeTable(ctx, c, b, m, t)
		mutations += n
		if err != nil {
			return action.Outcome{Mutations: mutations}, takeErr(t, err)
		}
		m.Tables = append(m.Tables, entry)
	}
	signer, err := s.Signer(ctx, c.Estate)
	if err != nil {
		return action.Outcome{Mutations: mutations}, err
	}
	m.TakenAt = time.Now().UTC()
	body, err := backup.Sign(signer, backup.ManifestNamespace, m)
	if err != nil {
		return action.Outcome{Mutations: mutations}, err
	}
	if err := c.Guard(ctx); err != nil {
		return action.Outcome{Mutations: mutations}, err
	}
	if _, err := b.Add(ctx, backup.ManifestKey(m.Group, m.Seq), body, m.LockedUntil); err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w: another backup took number %d: %w", action.ErrMoved, m.Seq, err)
		}
		return action.Outcome{Mutations: mutations}, err
	}
	return done(m, mutations+1)
}

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
		return backup.Table{}, w.mutations, fmt.Errorf("%w: a batch was to copy %d objects, and would copy %d now; plan again", action.ErrMoved, t.Batch, len(batch))
	}
	if err := s.takeBatch(ctx, w, batch); err != nil {
		return backup.Table{}, w.mutations, err
	}
	for _, role := range backup.Stages() {
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
		Version: t.Version, CommittedAt: from.snap.Version.Time,
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
func (w *taking) copy(ctx context.Context, role backup.Role, needs []backup.Need) error {
	if role == backup.Pointer && w.from.hint != nil {
		a, err := w.add(ctx, w.from.hint)
		if err != nil {
			return err
		}
		w.took(backup.Object{
			Key: w.from.LogDir() + "_last_checkpoint", Role: role, MD5: a.MD5, Copy: a.Stored, LockedUntil: w.m.LockedUntil,
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
	if role == backup.Commit {
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
		if r, err := j.Record(ctx, from.Name, from.snap.Version.Number); err == nil && r.CommittedAt.Equal(from.snap.Version.Time) {
			return r.Rows, r.Hash, nil
		}
	}
	c.Progress(0, 1, "reading the rows of "+from.Name)
	return lake.RowsOf(ctx, from.Store, from.snap)
}
