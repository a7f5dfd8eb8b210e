package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/batch"
	"breakwater/internal/plural"
	"breakwater/internal/table"

	"golang.org/x/sync/errgroup"
)

// A batch copies the data of a table inside the store. Logs are not left to it: in
// which order a batch copies is nobody's promise.

// batched parts what is to be copied of a table into what one batch copies and the
// rest. No batch copies less than the estate says.
func batched(b lake.Backups, e *estate.Estate, m backup.Manifest, from takenFrom, needs []backup.Need) (batch, rest []backup.Need) {
	if e.Backup.Batch == nil {
		return nil, needs
	}
	below := len(b.Prefix + backup.BatchFolder(m.Group, m.Generation, backup.BatchName("", "", 0)))
	for _, n := range needs {
		if n.Role == table.RoleData && object(from, n).Fits(below) {
			batch = append(batch, n)
		} else {
			rest = append(rest, n)
		}
	}
	if len(batch) < e.Backup.Batch.FromObjects {
		return nil, needs
	}
	return batch, rest
}

// executor says who copies a table's objects, and why; nothing where the estate
// leaves no choice.
func executor(e *estate.Estate, t takeTable) string {
	switch b := e.Backup.Batch; {
	case b == nil:
		return ""
	case t.Batch > 0:
		return fmt.Sprintf("; S3 Batch Operations copy %s as %s, since they are %d or more", plural.Of(t.Batch, "data object"), b.Role, b.FromObjects)
	default:
		return fmt.Sprintf("; object by object, since a batch would copy fewer than %d", b.FromObjects)
	}
}

func object(from takenFrom, n backup.Need) batch.Object {
	return batch.Object{Line: batch.Line{Bucket: from.Bucket.Name(), Key: n.Key, VersionID: n.Version}, Size: n.Size}
}

// tries bounds how many batches a step starts for one table.
const tries = 10

// takeBatch copies objects by one batch, and takes them once each copy is proven. An
// attempt that was broken off left a batch behind, which is found and waited for. One
// that had come to nothing when it was found was told of by the attempt that
// waited for it, and another is started.
func (s room) takeBatch(ctx context.Context, w *taking, needs []backup.Need) error {
	if len(needs) == 0 {
		return nil
	}
	client, err := s.Batches(ctx, w.c.Estate, w.b.Reader)
	if err != nil {
		return err
	}
	objects := func(yield func(batch.Object) bool) {
		for _, n := range needs {
			if !yield(object(w.from, n)) {
				return
			}
		}
	}
	sum := sha256.New()
	if _, err := batch.WriteManifest(sum, objects); err != nil {
		return err
	}
	for failed := range tries {
		r := batch.Request{Token: backup.BatchName(w.c.Token(), hex.EncodeToString(sum.Sum(nil)), failed)}
		if err := w.c.Guard(ctx); err != nil {
			return err
		}
		notes := backup.BatchNotes(w.m.Group, r.Token)
		hold := objectstore.Hold{Mode: w.b.Mode, Until: w.m.LockedUntil}
		if r.Manifest, err = client.Upload(ctx, w.b.Adder, w.b.Bucket, w.b.Prefix+notes+"manifest.csv", objects, hold); err != nil {
			return err
		}
		// What the batch was asked for stands in the hold of its manifest: an earlier
		// attempt may have begun before midnight, when locks had to be a day shorter.
		seal, err := w.b.Reader.Seal(ctx, r.Manifest.Bucket, r.Manifest.Key, r.Manifest.VersionID)
		if err != nil {
			return err
		}
		r.Hold = seal.Hold
		folder := backup.BatchFolder(w.m.Group, w.m.Generation, r.Token)
		r.To = batch.Place{Bucket: w.b.Bucket, Prefix: strings.TrimSuffix(w.b.Prefix+folder, "/")}
		r.Report = batch.Place{Bucket: w.b.Bucket, Prefix: w.b.Prefix + notes + "report"}
		waited, err := w.batch(ctx, client, r, notes)
		if err == nil {
			err = w.copied(ctx, folder, needs, r.Hold)
		}
		switch nothing := errors.Is(err, batch.ErrIncomplete) || errors.Is(err, backup.ErrDamaged); {
		case nothing && waited:
			// People say whether to try again.
			return fmt.Errorf("%w: %w; trying again starts another batch, and without batch in the estate's backup everything is copied object by object", action.ErrRefused, err)
		case nothing:
			continue
		}
		return err
	}
	return fmt.Errorf("%w: %s of this step have come to nothing: %w; take batch out of the estate's backup to copy object by object",
		action.ErrRefused, plural.Of(tries, "batch"), batch.ErrIncomplete)
}

// batch starts a batch or finds it, waits for its end, and judges it. What it was to
// do and what it says to have done are held as the copies are. waited says that it had
// not ended when it was found.
func (w *taking) batch(ctx context.Context, client batch.Copier, r batch.Request, notes string) (waited bool, err error) {
	if err := w.c.Guard(ctx); err != nil {
		return false, err
	}
	id, err := client.Create(ctx, r)
	if err != nil {
		return false, err
	}
	_, err = client.Wait(ctx, id, func(s batch.State) {
		waited = waited || !s.Ended
		w.c.Progress(s.Succeeded, r.Manifest.Lines, fmt.Sprintf("batch %s copies %s, and is %s", id, w.from.Name, s.Status))
	})
	if err != nil {
		return waited, err
	}
	if waited {
		w.mutations += r.Manifest.Lines
	}
	said, err := w.b.Copies(ctx, notes)
	if err != nil {
		return waited, err
	}
	for name, version := range said {
		if err := w.b.Lengthen(ctx, backup.Stored{Key: notes + name, Version: version}, r.Hold.Until); err != nil {
			return waited, err
		}
	}
	return waited, client.Judge(ctx, id, r)
}

// copied looks at each copy of a batch, and takes those that are what they should be.
func (w *taking) copied(ctx context.Context, folder string, needs []backup.Need, hold objectstore.Hold) error {
	versions, err := w.b.Copies(ctx, folder)
	if err != nil {
		return err
	}
	objects := make([]backup.Object, len(needs))
	var done atomic.Int64
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(4 * action.AtOnce)
	for i, n := range needs {
		version, there := versions[n.Key]
		if !there {
			return errors.Join(fmt.Errorf("%w: the batch says that it copied %s, and %s is not there",
				batch.ErrIncomplete, w.from.Bucket.URL(n.Key), w.b.URL(folder+n.Key)), work.Wait())
		}
		work.Go(func() error {
			a, err := w.b.Copied(wctx, w.from.Bucket.Client(), w.from.Bucket.Name(), n, folder+n.Key, version, hold.Until)
			objects[i] = backup.Object{
				Key: n.Key, Role: n.Role, ETag: n.ETag, SourceVersion: n.Version, MD5: a.MD5, Copy: a.Stored, LockedUntil: hold.Until,
			}
			w.c.Progress(done.Add(1), int64(len(needs)), "looking at the copies of "+w.from.Name)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	// As what the backup before holds: with longer locks where theirs end too soon.
	return w.keep(ctx, objects)
}
