package table

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/backup/depot"
	"breakwater/internal/lake"
	"breakwater/internal/plural"
	"breakwater/internal/table"
)

// restoring is a table of a backup and the place that it comes to.
type restoring struct {
	lake.Backups
	from    backup.Table
	found   *backup.Found
	objects []backup.Object // in the order of writing, with the keys that they come to
	site    lake.Table
	format  table.Restorer // of the table
	over    []string       // backups that were stepped over, and why
}

// restoringTo finds the place, and the backup that the parameters ask for or that a
// plan named.
func (s room) restoringTo(ctx context.Context, c action.Call[restoreWith], plan *restorePlan) (restoring, error) {
	site, err := s.lake.Table(ctx, c.Estate, c.Run.Target, c.Item.Name)
	if err != nil {
		return restoring{}, err
	}
	r := restoring{site: site}
	if r.format, err = table.Able[table.Restorer](site.Format.Name(), site.Format, "restored"); err != nil {
		return r, lake.Classed(err)
	}
	if p := strings.Trim(c.With.Prefix, "/"); p != "" {
		r.site.Root.Prefix = p + "/" + r.site.Root.Prefix
	}
	if r.Backups, err = s.lake.Backups(ctx, c.Estate, site.Group.Group); err != nil {
		return r, err
	}
	if plan == nil {
		if err = r.leavesOut(c, r.site.Root != site.Root); err == nil {
			err = lacking(ctx, site, r.choose(ctx, c))
		}
	} else {
		err = r.planned(ctx, *plan)
	}
	if err != nil {
		return r, err
	}
	for i, o := range r.objects {
		key, inside := strings.CutPrefix(o.Key, r.from.Path+"/")
		switch {
		case inside:
			r.objects[i].Key = r.site.Root.Prefix + "/" + key
		case r.site.Root.Prefix != r.from.Path:
			return r, fmt.Errorf("%w: %s lies outside of the table's folder, where its log names it, so the table can come to its own place only", action.ErrRefused, o.Key)
		}
	}
	slices.SortStableFunc(r.objects, func(a, b backup.Object) int {
		return cmp.Or(cmp.Compare(slices.Index(table.Stages(), a.Role), slices.Index(table.Stages(), b.Role)), strings.Compare(a.Key, b.Key))
	})
	return r, nil
}

// planned takes the backup of a plan.
func (r *restoring) planned(ctx context.Context, p restorePlan) error {
	i := slices.IndexFunc(r.All, func(f backup.Found) bool {
		return f.SHA256 == p.SHA256 && (f.Good() || p.Signer != "" && f.Stranger == p.Signer)
	})
	if i < 0 {
		return fmt.Errorf("%w: the manifest of backup %s is not what it was; plan again", action.ErrMoved, p.Backup)
	}
	return r.take(ctx, &r.All[i])
}

func (r *restoring) take(ctx context.Context, f *backup.Found) error {
	t, ok := f.Manifest.Table(r.site.Name)
	if !ok {
		return fmt.Errorf("%w: backup %s does not hold table %s", backup.ErrDamaged, f.Manifest.Name(), r.site.Name)
	}
	objects, err := r.List(ctx, t)
	r.found, r.from, r.objects = f, t, objects
	return err
}

// stranger is the key that signed the backup, if it does not count.
func (r *restoring) stranger() string {
	if r.found.Good() {
		return ""
	}
	return r.found.Stranger
}

// acceptStranger asks people to accept a backup that no signer of the estate signed: by a
// key that was replaced, or by somebody else's.
func acceptStranger(p restorePlan) action.Acceptance {
	return action.Acceptance{ID: "signer " + p.Signer + " of backup " + p.Backup, Sentence: fmt.Sprintf(
		"Backup %s is signed by key %s, which is none of the estate's signers now, and no backup that one of them signed names it. What comes back is what the holder of that key says it is.", p.Backup, p.Signer)}
}

// choose takes the backup that the parameters name, or else the newest whole one.
func (r *restoring) choose(ctx context.Context, c action.Call[restoreWith]) error {
	if c.With.Manifest != "" {
		group, seq, err := backup.ParseName(c.With.Manifest)
		if err != nil {
			return fmt.Errorf("%w: %w", action.ErrRefused, err)
		}
		i := slices.IndexFunc(r.All, func(f backup.Found) bool { return f.Seq == seq })
		if group != r.Group.Group || i < 0 {
			return fmt.Errorf("%w: table %s has no backup %s: its group %s has %s", action.ErrRefused, r.site.Name, c.With.Manifest, r.Group.Group, r.names())
		}
		if why, err := r.whole(ctx, c, &r.All[i]); err != nil || why != "" {
			return cmp.Or(err, fmt.Errorf("%w: backup %s cannot be restored: %s; name another one, or none for the newest that can", backup.ErrDamaged, c.With.Manifest, why))
		}
		return nil
	}
	rest := r.All
	for {
		f, over := backup.Newest(rest)
		if c.With.At != nil {
			f, over = backup.At(rest, *c.With.At)
		}
		for _, o := range over {
			r.over = append(r.over, fmt.Sprintf("%s (%v)", backup.Name(r.Group.Group, o.Seq), o.Damage))
		}
		if f == nil {
			return fmt.Errorf("%w: no backup of group %s can be restored, of %s: %s", backup.ErrDamaged, r.Group.Group, r.names(), strings.Join(r.over, "; "))
		}
		why, err := r.whole(ctx, c, f)
		if err != nil || why == "" {
			return err
		}
		r.over = append(r.over, fmt.Sprintf("%s (%s)", f.Manifest.Name(), why))
		rest = slices.DeleteFunc(slices.Clone(rest), func(o backup.Found) bool { return o.Seq >= f.Seq })
	}
}

// whole takes a backup and says why it cannot be restored; empty if it can.
func (r *restoring) whole(ctx context.Context, c action.Call[restoreWith], f *backup.Found) (why string, err error) {
	if !f.Good() && (f.Stranger == "" || c.With.Manifest != f.Manifest.Name()) { // a stranger's is used where it is asked for
		return f.Damage.Error(), nil
	}
	if err := r.take(ctx, f); depot.Answered(err) {
		return err.Error(), nil
	} else if err != nil {
		return "", err
	}
	// Only what it needs: a lock that ended is no reason to lose the backup.
	t := r.from
	m := f.Manifest
	m.LockedUntil = time.Time{}
	switch o := r.AllHeld(ctx, c.Request, m, t); {
	case o.Cause != action.CauseNone:
		return "", fmt.Errorf("look whether backup %s is whole: %s", f.Manifest.Name(), o.Got)
	default:
		if o.Verdict.String() != "pass" {
			return o.Got, nil
		}
	}
	_, snap, err := r.Readable(ctx, c.Estate, f.Manifest, t)
	if depot.Answered(err) && lake.Answered(err) {
		return err.Error(), nil
	} else if err != nil {
		return "", err
	}
	if elsewhere := snap.Outside(); len(elsewhere) > 0 && r.site.Region != f.Manifest.Region {
		return "", fmt.Errorf("%w: table %s names objects of %s by their whole address, which a restore into another region does not bring back", action.ErrRefused, r.site.Name, elsewhere[0])
	}
	return "", nil
}

func (r *restoring) names() string {
	if len(r.All) == 0 {
		return "none"
	}
	var names []string
	for _, f := range r.All {
		names = append(names, backup.Name(r.Group.Group, f.Seq))
	}
	return plural.Few(names)
}

// present is what a reader sees below the place that the table comes to, with the
// version of each object.
func (r *restoring) present(ctx context.Context) (map[string]table.ObjectVersion, error) {
	have := map[string]table.ObjectVersion{}
	for o, err := range r.site.Bucket.ListVersions(ctx, r.site.Root.Prefix+"/") {
		if err != nil {
			return nil, err
		}
		if o.Latest && !o.DeleteMarker {
			have[o.Key] = table.ObjectVersion{ETag: o.ETag, VersionID: o.VersionID, Size: o.Size}
		}
	}
	return have, nil
}

// same reports whether what is there is what the backup has: by the checksum that a
// listing shows, or else by reading it.
func (r *restoring) same(ctx context.Context, o backup.Object, have table.ObjectVersion) (bool, error) {
	if have.Size != o.Copy.Size {
		return false, nil
	}
	if depot.Equal(o, have.Size, have.ETag) {
		return true, nil
	}
	sum, err := depot.Sum(ctx, r.site.Bucket.Client(), r.site.Bucket.Name(), o.Key, have.VersionID)
	if errors.Is(err, fs.ErrNotExist) && lake.Answered(err) {
		return false, nil
	}
	return sum == o.Copy.SHA256, err
}

// moved is an error that says what is no longer as the plan saw it.
func moved(t lake.Table, key, how string) error {
	return fmt.Errorf("table %s: %s %s; plan again: %w", t.Name, t.Bucket.URL(key), how, action.ErrMoved)
}

// givesUp says what the place holds now that the restored version does not; empty for a
// place that holds no table. A table whose commits somebody else decides is left as it is,
// by a [lake.NotHereError]: that one would go on from there.
func (r restoring) givesUp(ctx context.Context) (string, error) {
	m, t := r.found.Manifest, r.site
	goes := fmt.Sprintf("It comes back to version %d of backup %s, cut at %s; what was committed after that is given up, and stays in the bucket's versions.",
		r.from.Version, m.Name(), m.Cut.Format(time.RFC3339))
	var snap table.Snapshot
	l, err := t.Open(ctx)
	if err == nil {
		snap, err = l.Snapshot(ctx, l.Extent().Head)
	}
	managed := interface{ Managed() bool }(nil)
	switch {
	case l == nil && errors.Is(err, fs.ErrNotExist) && lake.Answered(err):
		return "", nil
	case errors.As(err, &managed) && managed.Managed():
		return "", t.NotHere(err.Error())
	case err != nil && !lake.LogBroken(err) && !errors.Is(err, table.ErrUnsupported):
		return "", err
	case err != nil:
		return fmt.Sprintf("What table %s holds now cannot be read, so that nobody can say what is lost: %v. %s", t.Name, err, goes), nil
	}
	if c, ok := snap.(table.Coordinated); ok && c.Coordinator() != "" {
		return "", t.NotHere(fmt.Sprintf("its commits are decided by another (%s), who would go on from version %d; have that one drop the table first, or restore it beside",
			c.Coordinator(), snap.Version().Number))
	}
	is := fmt.Sprintf("Table %s is now at version %d of %s", t.Name, snap.Version().Number, snap.Version().Time.Format(time.RFC3339))
	if n := snap.Rows(); n >= 0 {
		is += fmt.Sprintf(", with %s", plural.Of(n, "row"))
	}
	for _, p := range l.Extent().Pending {
		is += fmt.Sprintf("; version %d above it may have been acknowledged by another log store, and is given up, too", p.Number)
	}
	return is + ". " + goes, nil
}
