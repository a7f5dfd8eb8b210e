package activities

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
	"breakwater/internal/backup/depot"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/sshsig"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/rows"
	"breakwater/internal/table/delta/scan"
	"breakwater/internal/verdict"

	"golang.org/x/sync/errgroup"
)

func (s *Systems) backupActions(c *action.Catalogue) {
	action.Add(c, action.Action[none]{
		Name: "backup.take", Over: estate.GroupKind, Effect: action.RecordsOnly, Drill: action.DrillReadOnly,
		Doc:    "Add a backup of a group's tables at one cut to the backup place: what the one before does not hold, then a signed manifest of everything.",
		Timing: action.Timing{Timeout: 12 * time.Hour, Estimate: time.Minute},
		Plan:   s.planTake, Apply: s.applyTake, Verify: s.verifyTake,
		RedWhen: []action.Red{
			{Fault: "backup.object-gone", Want: verdict.Fail},
			{Fault: "backup.manifest-gone", Want: verdict.Fail},
			{Fault: "backup.manifest-damaged", Want: verdict.Fail},
			{Fault: "backup.lock-shortened", Want: verdict.Fail},
			{Fault: "backup.reading-revoked", Want: verdict.Unknown},
			{Fault: "backup.unreachable", Want: verdict.Unknown},
		},
	})
	action.Add(c, action.Action[none]{
		Name: "backup.walled", Over: estate.Nothing, Effect: action.ReadOnly, Drill: action.DrillReadOnly,
		Doc:    "Nobody of a region, nor who adds backups, can destroy one: tried with the credentials of each on an object of its own, beside what must work.",
		Timing: action.Timing{Timeout: 10 * time.Minute, Estimate: 5 * time.Second},
		Verify: s.verifyWalled,
		RedWhen: []action.Red{
			{Fault: "backup.adder-may-delete", Want: verdict.Fail},
			{Fault: "backup.adder-may-configure", Want: verdict.Fail},
			{Fault: "backup.adder-may-open", Want: verdict.Fail},
			{Fault: "backup.restorer-may-open", Want: verdict.Fail},
			{Fault: "backup.expirer-may-bypass", Want: verdict.Fail},
			{Fault: "backup.lifecycle-expires", Want: verdict.Fail},
			{Fault: "backup.writer-known", Want: verdict.Fail},
			{Fault: "backup.adder-key-changed", Want: verdict.Unknown},
			{Fault: "backup.reading-revoked", Want: verdict.Unknown},
			{Fault: "backup.unreachable", Want: verdict.Unknown},
		},
	})
	action.Add(c, action.Action[none]{
		Name: "backup.restorable", Over: estate.GroupKind, Effect: action.RecordsOnly, Drill: action.DrillReadOnly,
		Doc:    "Restore a table of a group's newest backup into a scratch place, read it, compare it with the manifest, and note that beside the backup; says what a disaster now would lose.",
		Timing: action.Timing{Timeout: 6 * time.Hour, Estimate: time.Minute},
		Plan:   s.planRestorable, Apply: s.applyRestorable, Verify: s.verifyRestorable,
		RedWhen: []action.Red{
			{Fault: "backup.object-gone", Want: verdict.Fail},
			{Fault: "backup.manifest-gone", Want: verdict.Fail},
			{Fault: "backup.manifest-damaged", Want: verdict.Fail},
			{Fault: "backup.lock-shortened", Want: verdict.Fail},
			{Fault: "backup.reading-revoked", Want: verdict.Unknown},
			{Fault: "backup.unreachable", Want: verdict.Unknown},
		},
	})
	action.Add(c, s.expireAction())
	action.Add(c, action.Action[restoreWith]{
		Name: "table.restore", Over: estate.TableKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Doc:    "Bring a table back from a backup into the target's bucket, to its own place or beside it: data before log, log before pointer; the bucket keeps what was there.",
		Timing: action.Timing{Timeout: 12 * time.Hour, Estimate: time.Minute},
		Plan:   s.planRestore, Apply: s.applyRestore, Verify: s.verifyRestore,
		Undo: &action.Undo[restoreWith]{Plan: s.planUnrestore, Apply: s.applyUnrestore, Verify: s.verifyUnrestore},
		RedWhen: []action.Red{
			{Fault: "table.late-commit", Want: verdict.Fail},
			{Fault: "table.data-file-gone", Want: verdict.Fail},
			{Fault: "table.data-file-truncated", Want: verdict.Fail},
			{Fault: "table.log-gone", Want: verdict.Fail},
			{Fault: "table.access-revoked", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
			{Fault: "backup.unreachable", Want: verdict.Unknown},
		},
	})
}

// Backups connects to the estate's backup place.
func (s *Systems) Backups(ctx context.Context, e *estate.Estate) (depot.Depot, error) {
	b := e.Backup
	if b == nil {
		return depot.Depot{}, fmt.Errorf("%w: estate %s has no backup place: add backup to the estate file", action.ErrRefused, e.Estate)
	}
	p := depot.Depot{Bucket: b.Bucket, Prefix: b.Keys(), Mode: objectstore.LockMode(strings.ToUpper(string(b.Mode)))}
	var err error
	if p.Adder, err = s.backupAs(ctx, e, b.Credentials, "who adds backups"); err != nil {
		return p, err
	}
	if p.Reader, err = s.backupAs(ctx, e, b.Restore, "who restores backups"); err != nil {
		return p, err
	}
	if p.Trusted, err = sshsig.ParseKeys(e.Ledger.Signers); err != nil {
		return p, fmt.Errorf("signers of the ledger of estate %s, who sign backups too: %w", e.Estate, err)
	}
	return p, nil
}

// backupAs connects to the backup place as one principal.
func (s *Systems) backupAs(ctx context.Context, e *estate.Estate, ref estate.Ref, who string) (*objectstore.Client, error) {
	v, err := s.credentials(ctx, e, "", ref, who+" of estate "+e.Estate)
	if err != nil {
		return nil, err
	}
	cfg, err := storeConfig(v, e.Backup.Endpoint, e.Backup.SigningName, "us-east-1", true)
	if err != nil {
		return nil, err
	}
	return keep(s, fmt.Sprintf("s3 %s %s %s", cfg.Endpoint, cfg.AccessKey, cfg.SecretKey), func() (*objectstore.Client, error) {
		return objectstore.New(cfg)
	})
}

// backupsOf is a look at the backups of a group.
type backupsOf struct {
	depot.Depot
	group *estate.Group
	all   []backup.Found
}

func (s *Systems) backupsOf(ctx context.Context, e *estate.Estate, group string) (backupsOf, error) {
	g, ok := e.Group(group)
	if !ok {
		return backupsOf{}, fmt.Errorf("%w: estate %s has no group %q", action.ErrRefused, e.Estate, group)
	}
	p, err := s.Backups(ctx, e)
	if err != nil {
		return backupsOf{}, err
	}
	all, err := p.Manifests(ctx, group)
	return backupsOf{p, g, all}, err
}

// mine is the manifest that a step took.
func (b backupsOf) mine(token string) *backup.Found {
	for i := range b.all {
		if b.all[i].Good() && b.all[i].Manifest.Token == token {
			return &b.all[i]
		}
	}
	return nil
}

// unseen is the observation of a backup place that could not be read: fail where
// its answer shows that something is gone or damaged.
func (b backupsOf) unseen(run action.Run, what, want string, err error) action.Observation {
	if depot.Answered(err) && (errors.Is(err, backup.ErrDamaged) || errors.Is(err, fs.ErrNotExist) || logBroken(err)) {
		return saw(what, want, err.Error(), false)
	}
	return unknown(run, "", what, want, err, "")
}

// chainHolds observes that no manifest was taken away, replaced or damaged.
func (b backupsOf) chainHolds() action.Observation { return b.chainHoldsAt(time.Now()) }

func (b backupsOf) chainHoldsAt(now time.Time) action.Observation {
	breaks := backup.Check(b.all, now)
	got := fmt.Sprintf("%d manifests, each as the next one names it", len(b.all))
	if len(breaks) > 0 {
		got = fmt.Sprintf("%d places where it does not hold, the newest: %s", len(breaks), breaks[0])
	}
	return saw("the chain of "+b.group.Group+"'s backups holds", "every manifest signed, and named by the next one", got, len(breaks) == 0 && len(b.all) > 0)
}

// held observes that every object of a table of a backup is in its place, with
// its size, checksum and lock.
func (b backupsOf) held(ctx context.Context, c action.Request, m backup.Manifest, t backup.Table) action.Observation {
	what := fmt.Sprintf("every object of %s in backup %s is there, and held", t.Table, m.Name())
	want := fmt.Sprintf("%d objects at their size, held until %s at least", t.Objects+1, m.LockedUntil.Format(time.RFC3339))
	objects, err := b.List(ctx, t)
	if err != nil {
		return aboutItem(t.Table, b.unseen(c.Run, what, want, err))
	}
	all := []backup.Stored{t.List}
	for _, o := range objects {
		all = append(all, o.Copy)
	}
	wrongs := make([]string, len(all))
	var done atomic.Int64
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(4 * inBatch)
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
		return aboutItem(t.Table, b.unseen(c.Run, what, want, err))
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
	return aboutItem(t.Table, saw(what, want, got, bad == 0 && len(objects) > 0))
}

func aboutItem(item string, o action.Observation) action.Observation {
	o.Item = item
	return o
}

// readable opens a table of a backup where it lies, through nothing but the
// manifest, at the version that it names.
func (b backupsOf) readable(ctx context.Context, e *estate.Estate, m backup.Manifest, t backup.Table) (*depot.Tables, *delta.Snapshot, error) {
	tables, err := b.Table(ctx, m, t)
	if err != nil {
		return nil, nil, err
	}
	bucket, err := e.RealBucket(t.Bucket, m.Region)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", action.ErrRefused, err)
	}
	l, err := delta.Open(ctx, tables, delta.Root{Bucket: bucket, Prefix: t.Path})
	if err != nil {
		return tables, nil, err
	}
	if l.Head() != t.Version {
		return tables, nil, fmt.Errorf("%w: the log of %s in backup %s leads to version %d, and the manifest says %d", backup.ErrDamaged, t.Table, m.Name(), l.Head(), t.Version)
	}
	snap, err := l.Snapshot(ctx, t.Version)
	return tables, snap, err
}

// rowsOf reads the rows of a snapshot. No hash comes of a table with a column that
// cannot be read, and then the rows are those of the log.
func rowsOf(ctx context.Context, store delta.Store, snap *delta.Snapshot) (n int64, hash string, err error) {
	d, err := scan.Sum(ctx, store, snap)
	var typ *rows.TypeError
	if errors.As(err, &typ) {
		return snap.Rows(), "", nil
	}
	if err != nil {
		return 0, "", err
	}
	return d.Rows, fmt.Sprintf("%x", d.Sum), nil
}

// rowWords says rows and hash for people.
func rowWords(rows int64, hash string) string {
	if hash == "" {
		return fmt.Sprintf("%d rows by the log: a column's type cannot be read", rows)
	}
	return fmt.Sprintf("%d rows with hash %s", rows, hash)
}
