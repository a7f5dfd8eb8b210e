package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/lake"
	"breakwater/internal/plural"
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
	// Without are the group's tables that no backup of their log brings back.
	Without []recovery.LeftOut `json:"without,omitempty"`
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
func (s room) backupCut(ctx context.Context, c action.Call[action.None], b lake.Backups) (recovery.Cut, []recovery.LeftOut, error) {
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
			if err := t.LookOrLeaveOut(wctx); err != nil {
				return fmt.Errorf("table %s in %s: %w", decl.Table, c.Run.Source, err)
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return recovery.Cut{}, nil, err
	}
	if len(ev.Tables) == 0 {
		return recovery.Cut{}, nil, fmt.Errorf("%w: group %s has no tables to back up", action.ErrRefused, b.Group.Group)
	}
	without := ev.LeftOut()
	if len(without) == len(ev.Tables) {
		return recovery.Cut{}, nil, fmt.Errorf("%w: no table of group %s can be backed up by its log; %s: %s", action.ErrRefused, b.Group.Group, without[0].Dataset, without[0].Why)
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
		if t.Newest != nil && t.Newest.Version.Number == t.Log.Extent().Head {
			t.State.Heads = []recovery.Head{{At: at, Version: t.Log.Extent().Head, Rows: recovery.Unknown}}
		}
	}
	cut, err := ev.Choose(ctx)
	if err != nil {
		return cut, nil, fmt.Errorf("group %s: %w", b.Group.Group, err)
	}
	return cut, without, nil
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
	cut, without, err := s.backupCut(ctx, c, b)
	if err != nil {
		return action.Change{}, err
	}
	m := backup.Next(b.Group.Group, b.All, promised(c).Due(b.All, time.Now()))
	p := takePlan{Seq: m.Seq, Generation: m.Generation, Previous: m.Previous, Cut: cut.At, Without: without}
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
			On: "table " + t.Name, Do: fmt.Sprintf("add version %d to backup %s: %s, and share %d with the one before", t.Version, m.Name(), plural.Of(row.Copy, "object"), row.Keep) + executor(c.Estate, row),
			To: plural.Of(row.Bytes, "byte"),
		})
	}
	ch.Effects = append(ch.Effects, action.EffectLine{
		On: b.URL(backup.Folder(m.Group)), Do: "write what is added there, hold it and what is shared, and then write the signed manifest",
		To: fmt.Sprintf("held for %s", promised(c).Retention),
	})
	kind := "of what is new"
	if m.Full() {
		kind = "of everything, a full one"
	}
	ch.Summary = fmt.Sprintf("Backup %s %s at %s: %s with %s", m.Name(), kind, cut.At.Format(time.RFC3339Nano), plural.Of(objects, "object"), plural.Of(bytes, "byte"))
	ch.Estimate = time.Second + time.Duration(objects-inBatches)*20*time.Millisecond + time.Duration(inBatches)*2*time.Millisecond
	if inBatches > 0 {
		ch.Estimate += 5 * time.Minute // until a batch begins
	}
	for _, w := range without {
		ch.Summary += fmt.Sprintf("; without %s, which must be backed up another way: %s", w.Dataset, w.Why)
	}
	if _, over := backup.Newest(b.All); len(over) > 0 {
		ch.Summary += fmt.Sprintf("; it steps over %s that cannot be believed", plural.Of(len(over), "manifest"))
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
