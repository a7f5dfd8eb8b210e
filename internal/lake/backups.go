package lake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/backup/depot"
	"breakwater/internal/estate"
	"breakwater/internal/plural"
	"breakwater/internal/table"

	"golang.org/x/sync/errgroup"
)

// Backups is a look at the backups of a group.
type Backups struct {
	depot.Depot
	Group *estate.Group
	All   []backup.Found

	formats func(word string) (table.Format, error)
}

// Backups looks at the backups of a group.
func (s Lake) Backups(ctx context.Context, e *estate.Estate, group string) (Backups, error) {
	g, ok := e.Group(group)
	if !ok {
		return Backups{}, fmt.Errorf("%w: estate %s has no group %q", action.ErrRefused, e.Estate, group)
	}
	p, err := s.Depot(ctx, e)
	if err != nil {
		return Backups{}, err
	}
	all, err := p.Manifests(ctx, group)
	return Backups{p, g, all, s.Format}, err
}

// Mine is the manifest that a step took.
func (b Backups) Mine(token string) *backup.Found {
	for i := range b.All {
		if b.All[i].Good() && b.All[i].Manifest.Token == token {
			return &b.All[i]
		}
	}
	return nil
}

// Unseen is the observation of a backup place that could not be read: fail where
// its answer shows that something is gone or damaged.
func (b Backups) Unseen(run action.Run, what, want string, err error) action.Observation {
	if depot.Answered(err) && (errors.Is(err, backup.ErrDamaged) || errors.Is(err, fs.ErrNotExist) || LogBroken(err)) {
		return action.Saw(what, want, err.Error(), false)
	}
	return action.Unknown(run, "", what, want, err, "")
}

// ChainHolds observes that no manifest was taken away, replaced or damaged.
func (b Backups) ChainHolds() action.Observation { return b.ChainHoldsAt(time.Now()) }

// ChainHoldsAt is [Backups.ChainHolds] as of a moment, by which locks are judged.
func (b Backups) ChainHoldsAt(now time.Time) action.Observation {
	breaks := backup.Check(b.All, now)
	got := fmt.Sprintf("%s, each as the next one names it", plural.Of(len(b.All), "manifest"))
	if len(breaks) > 0 {
		got = fmt.Sprintf("%s where it does not hold, the newest: %s", plural.Of(len(breaks), "place"), breaks[0])
	}
	return action.Saw("the chain of "+b.Group.Group+"'s backups holds", "every manifest signed, and named by the next one", got, len(breaks) == 0 && len(b.All) > 0)
}

// AllHeld observes that every object of a table of a backup is in its place, with
// its size, checksum and lock.
func (b Backups) AllHeld(ctx context.Context, c action.Request, m backup.Manifest, t backup.Table) action.Observation {
	what := fmt.Sprintf("every object of %s in backup %s is there, and held", t.Table, m.Name())
	want := fmt.Sprintf("%s at their size, held until %s at least", plural.Of(t.Objects+1, "object"), m.LockedUntil.Format(time.RFC3339))
	objects, err := b.List(ctx, t)
	if err != nil {
		return About(t.Table, b.Unseen(c.Run, what, want, err))
	}
	all := []backup.Stored{t.List}
	for _, o := range objects {
		all = append(all, o.Copy)
	}
	wrongs := make([]string, len(all))
	var done atomic.Int64
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(4 * action.AtOnce)
	for i, o := range all {
		work.Go(func() error {
			wrong, err := b.Held(wctx, o, m.LockedUntil)
			if wrong != "" {
				wrongs[i] = b.URL(o.Key) + " " + wrong
			}
			c.Progress(done.Add(1), int64(len(all)), "looking at the locks of "+t.Table)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return About(t.Table, b.Unseen(c.Run, what, want, err))
	}
	bad, first := 0, ""
	for _, w := range wrongs {
		if w != "" {
			bad++
			if first == "" {
				first = w
			}
		}
	}
	got := fmt.Sprintf("%d of %d", len(all)-bad, len(all))
	if bad > 0 {
		got += ", the first that is not: " + first
	}
	return About(t.Table, action.Saw(what, want, got, bad == 0 && len(objects) > 0))
}

// About names the item in an observation.
func About(item string, o action.Observation) action.Observation {
	o.Item = item
	return o
}

// Readable opens a table of a backup where it lies, through nothing but the
// manifest, at the version that it names.
func (b Backups) Readable(ctx context.Context, e *estate.Estate, m backup.Manifest, t backup.Table) (*depot.Tables, table.Snapshot, error) {
	tables, err := b.Table(ctx, m, t)
	if err != nil {
		return nil, nil, err
	}
	bucket, err := e.RealBucket(t.Bucket, m.Region)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", action.ErrRefused, err)
	}
	f, err := b.formats(t.Format)
	if err != nil {
		return tables, nil, fmt.Errorf("%w: %w", action.ErrRefused, err)
	}
	l, err := f.Open(ctx, tables, table.Root{Bucket: bucket, Prefix: t.Path})
	if err != nil {
		return tables, nil, err
	}
	if head := l.Extent().Head; head != t.Version {
		return tables, nil, fmt.Errorf("%w: the log of %s in backup %s leads to version %d, and the manifest says %d", backup.ErrDamaged, t.Table, m.Name(), head, t.Version)
	}
	snap, err := l.Snapshot(ctx, t.Version)
	return tables, snap, err
}

// RowsOf reads the rows of a snapshot. No hash comes of a table with a column that
// cannot be read, and then the rows are those of the log.
func RowsOf(ctx context.Context, format string, snap table.Snapshot) (n int64, hash string, err error) {
	d, err := sum(ctx, format, snap)
	if errors.Is(err, table.ErrColumn) {
		return snap.Rows(), "", nil
	}
	if err != nil {
		return 0, "", err
	}
	return d.Rows, d.Hash(), nil
}

// RowWords says rows and hash for people.
func RowWords(rows int64, hash string) string {
	if hash == "" {
		return fmt.Sprintf("%s by the log: a column's type cannot be read", plural.Of(rows, "row"))
	}
	return fmt.Sprintf("%s with hash %s", plural.Of(rows, "row"), hash)
}
