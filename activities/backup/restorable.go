package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
	"breakwater/internal/reach"
	"breakwater/internal/table"
	"breakwater/internal/table/location"

	"golang.org/x/sync/errgroup"
)

// trialOf is the table that a backup is tried with: another one for each backup,
// so that all get their turn.
func trialOf(m backup.Manifest) backup.Table { return m.Tables[int(m.Seq)%len(m.Tables)] }

// newest is the newest backup that can be believed.
func newest(b lake.Backups) (*backup.Found, []backup.Found, error) {
	f, over := backup.Newest(b.All)
	if f == nil {
		return nil, over, fmt.Errorf("%w: group %s has no backup that can be believed, out of %d: take one", backup.ErrDamaged, b.Group.Group, len(b.All))
	}
	if len(f.Manifest.Tables) == 0 {
		return nil, over, fmt.Errorf("%w: backup %s holds no table", backup.ErrDamaged, f.Manifest.Name())
	}
	return f, over, nil
}

func (s room) planRestorable(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	b, err := s.lake.Backups(ctx, c.Estate, c.Item.Name)
	if err != nil {
		return action.Change{}, err
	}
	f, over, err := newest(b)
	if err != nil {
		return action.Change{}, err
	}
	verified, err := b.Verified(ctx, b.Group.Group)
	if err != nil {
		return action.Change{}, err
	}
	m := f.Manifest
	t := trialOf(m)
	ch := action.Change{
		Summary:       fmt.Sprintf("Backup %s was restored and compared", m.Name()),
		Preconditions: []action.Precondition{{Resource: b.URL(backup.ManifestKey(m.Group, m.Seq)), Version: f.SHA256}},
		Estimate:      time.Second + time.Duration(t.Objects)*20*time.Millisecond,
	}
	if v, ok := verified[f.Seq]; !ok || v.Manifest != f.SHA256 {
		ch.Summary = fmt.Sprintf("Restore table %s of backup %s into a scratch place, and compare", t.Table, m.Name())
		bucket, err := s.Bucket(ctx, c.Estate, c.Run.Target, t.Bucket)
		if err != nil {
			return ch, err
		}
		ch.Effects = []action.EffectLine{{
			On: bucket.URL(scratchOf(c, m) + "/"), Do: fmt.Sprintf("write table %s there, read it, and remove all that is there for good", t.Table),
		}, {
			On: b.URL(backup.VerifiedKey(m.Group, m.Seq)), Do: "note that it was restored and compared", To: fmt.Sprintf("table %s at version %d", t.Table, t.Version),
		}}
	}
	if len(over) > 0 {
		ch.Summary += fmt.Sprintf("; %s cannot be believed", plural.Of(len(over), "newer manifest"))
	}
	ch.Data, err = action.Encode(backup.Link{Seq: f.Seq, SHA256: f.SHA256, LockedUntil: m.LockedUntil})
	return ch, err
}

// applyRestorable restores, reads, compares, removes what it restored, and notes
// it if it was equal.
func (s room) applyRestorable(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	planned, err := action.Decode[backup.Link](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	b, err := s.lake.Backups(ctx, c.Estate, c.Item.Name)
	if err != nil {
		return action.Outcome{}, err
	}
	f, _, err := newest(b)
	if err != nil {
		return action.Outcome{}, err
	}
	if f.SHA256 != planned.SHA256 {
		return action.Outcome{}, fmt.Errorf("%w: the newest backup is %s; plan again", action.ErrMoved, f.Manifest.Name())
	}
	m := f.Manifest
	verified, err := b.Verified(ctx, m.Group)
	if err != nil {
		return action.Outcome{}, err
	}
	if v, ok := verified[m.Seq]; ok && v.Manifest == f.SHA256 {
		return action.Outcome{Summary: fmt.Sprintf("backup %s was restored and compared at %s", m.Name(), v.At.Format(time.RFC3339))}, nil
	}
	t := trialOf(m)
	rows, hash, err := s.tried(ctx, c, b, m, t)
	if err != nil {
		return action.Outcome{}, fmt.Errorf("restore table %s of backup %s into a scratch place: %w", t.Table, m.Name(), err)
	}
	if rows != t.Rows || hash != t.Hash {
		return action.Outcome{}, fmt.Errorf("%w: table %s of backup %s, restored, has %s, and the manifest says %s",
			backup.ErrDamaged, t.Table, m.Name(), lake.RowWords(rows, hash), lake.RowWords(t.Rows, t.Hash))
	}
	signer, err := s.Signer(ctx, c.Estate)
	if err != nil {
		return action.Outcome{}, err
	}
	body, err := backup.Sign(signer, backup.VerifiedNamespace, backup.Verified{
		Group: m.Group, Seq: m.Seq, Manifest: f.SHA256, Cut: m.Cut, At: time.Now().UTC(), Table: t.Table, Rows: rows, Hash: hash, Token: c.Token(),
	})
	if err != nil {
		return action.Outcome{}, err
	}
	if err := c.Guard(ctx); err != nil {
		return action.Outcome{}, err
	}
	if _, err := b.Add(ctx, backup.VerifiedKey(m.Group, m.Seq), body, m.LockedUntil); err != nil && !errors.Is(err, fs.ErrExist) {
		return action.Outcome{}, err
	}
	return action.Outcome{Summary: fmt.Sprintf("table %s of backup %s was restored and has %s", t.Table, m.Name(), lake.RowWords(rows, hash)), Mutations: 1}, nil
}

// scratchOf is the prefix of a trial's scratch place.
func scratchOf(c action.Call[action.None], m backup.Manifest) string {
	return strings.Join([]string{".breakwater/scratch", c.Run.FirstRun, m.Group, fmt.Sprint(m.Seq)}, "/")
}

// tried restores a table into a scratch place of the target, as a restore writes,
// reads it there and removes it.
func (s room) tried(ctx context.Context, c action.Call[action.None], b lake.Backups, m backup.Manifest, t backup.Table) (rows int64, hash string, err error) {
	bucket, err := s.Bucket(ctx, c.Estate, c.Run.Target, t.Bucket)
	if err != nil {
		return 0, "", err
	}
	objects, err := b.List(ctx, t)
	if err != nil {
		return 0, "", err
	}
	scratch := scratchOf(c, m)
	if err := s.emptied(ctx, c, bucket, scratch+"/"); err != nil { // of an attempt that died
		return 0, "", err
	}
	defer func() {
		// Also of a run that is cancelled: what stays is in nobody's way, and costs.
		err = errors.Join(err, s.emptied(context.WithoutCancel(ctx), c, bucket, scratch+"/"))
	}()
	if err := c.Guard(ctx); err != nil {
		return 0, "", err
	}
	var done atomic.Int64
	for _, role := range table.Stages() {
		work, wctx := errgroup.WithContext(ctx)
		work.SetLimit(action.AtOnce)
		for _, o := range objects {
			if o.Role != role {
				continue
			}
			key, inside := strings.CutPrefix(o.Key, t.Path+"/")
			if !inside {
				return 0, "", fmt.Errorf("%w: %s lies outside of the table's folder, where its log names it, and can be restored to its own place only", action.ErrRefused, o.Key)
			}
			work.Go(func() error {
				err := b.WriteTo(wctx, o, bucket, scratch+"/"+key)
				c.Progress(done.Add(1), int64(len(objects)), "restoring "+t.Table+" into a scratch place")
				return err
			})
		}
		if err := work.Wait(); err != nil {
			return 0, "", err
		}
	}
	format, err := s.Format(t.Format)
	if err != nil {
		return 0, "", err
	}
	l, err := format.Open(ctx, location.Bucket{Of: bucket}, table.Root{Bucket: bucket.Name(), Prefix: scratch})
	if err != nil {
		return 0, "", err
	}
	snap, err := l.Snapshot(ctx, t.Version)
	if err != nil {
		return 0, "", err
	}
	return lake.RowsOf(ctx, t.Format, snap)
}

// emptied removes everything below a prefix for good, as the administrator.
func (s room) emptied(ctx context.Context, c action.Call[action.None], bucket objectstore.Bucket, prefix string) error {
	r, err := c.Estate.RegionNamed(c.Run.Target)
	if err != nil {
		return err
	}
	admin, err := s.StorageAs(ctx, c.Estate, c.Run.Target, r.Storage.Admin, "the administrator")
	if err != nil {
		return err
	}
	for v, err := range admin.ListVersions(ctx, bucket.Name(), prefix) {
		if err != nil {
			return err
		}
		if err := admin.DeleteVersion(ctx, bucket.Name(), v.Key, v.VersionID); err != nil {
			return err
		}
	}
	return nil
}

// verifyRestorable believes neither the trial nor its note: it looks at every
// object of the newest backup, and reads the trial's table where it lies in the
// backup place, without restoring it.
func (s room) verifyRestorable(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	const what, want = "the newest backup was restored and compared", "a signed note beside it"
	b, err := s.lake.Backups(ctx, c.Estate, c.Item.Name)
	if errors.Is(err, action.ErrRefused) {
		return nil, err
	}
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, "", what, want, err, "")}, nil
	}
	f, over, err := newest(b)
	if err != nil {
		return []action.Observation{action.Saw(what, want, err.Error(), false)}, nil
	}
	m := f.Manifest
	obs := []action.Observation{b.ChainHolds()}
	if len(over) > 0 {
		obs = append(obs, action.Saw("the newest manifest can be believed", "the newest one of all", fmt.Sprintf("%d newer than %s cannot, the newest: %v", len(over), m.Name(), over[len(over)-1].Damage), false))
	}
	verified, err := b.Verified(ctx, m.Group)
	if err != nil {
		return append(obs, action.Unknown(c.Run, "", what, want, err, "")), nil
	}
	e := backup.Exposed(b.All, verified, time.Now())
	got := "unverified: no backup of the group was ever restored"
	if e.Backup != "" {
		got = fmt.Sprintf("%s, cut at %s: a disaster now loses what was written in the %s since; verified %s ago, %d newer ones unverified",
			e.Backup, e.Cut.Format(time.RFC3339), e.Lost.Round(time.Second), e.Age.Round(time.Second), e.Unverified)
	}
	obs = append(obs, action.Saw(what, want, got, e.Backup == m.Name()))
	for _, t := range m.Tables {
		obs = append(obs, b.AllHeld(ctx, c.Request, m, t), leads(ctx, b, c, m, t))
	}
	return append(obs, reads(ctx, b, c, m, trialOf(m)), s.scratchEmpty(ctx, c, m)), nil
}

// reads observes the rows of a table where it lies in the backup place.
func reads(ctx context.Context, b lake.Backups, c action.Call[action.None], m backup.Manifest, t backup.Table) action.Observation {
	what, want := fmt.Sprintf("table %s of backup %s reads as it did when it was taken", t.Table, m.Name()), lake.RowWords(t.Rows, t.Hash)
	_, snap, err := b.Readable(ctx, c.Estate, m, t)
	if err != nil {
		return lake.About(t.Table, b.Unseen(c.Run, what, want, err))
	}
	rows, hash, err := lake.RowsOf(ctx, t.Format, snap)
	if err != nil {
		return lake.About(t.Table, b.Unseen(c.Run, what, want, err))
	}
	return lake.About(t.Table, action.Saw(what, want, lake.RowWords(rows, hash), rows == t.Rows && hash == t.Hash))
}

// scratchEmpty observes that nothing of a trial was left.
func (s room) scratchEmpty(ctx context.Context, c action.Call[action.None], m backup.Manifest) action.Observation {
	what, want := "nothing of the trial is left in its scratch place", "nothing"
	bucket, err := s.Bucket(ctx, c.Estate, c.Run.Target, trialOf(m).Bucket)
	if err != nil {
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	}
	for o, err := range bucket.List(ctx, ".breakwater/scratch/"+c.Run.FirstRun+"/"+m.Group+"/") {
		if err != nil {
			return action.Unknown(c.Run, c.Run.Target, what, want, reach.Mark(err), "")
		}
		return action.Saw(what, want, bucket.URL(o.Key), false)
	}
	return action.Saw(what, want, want, true)
}
