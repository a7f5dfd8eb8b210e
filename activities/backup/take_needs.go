package backup

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/table"
)

// takenFrom is a version of a table at the source, as a backup takes it.
type takenFrom struct {
	lake.Table
	snap table.Snapshot
	// beside is what the copy holds beside the closure.
	beside table.Beside
}

// split says what of a version has to be copied, and what the manifest before has.
func (s room) split(ctx context.Context, c action.Call[action.None], b lake.Backups, m backup.Manifest, name string, version int64) (takenFrom, backup.Plan, error) {
	from, needs, err := s.needs(ctx, c, name, version)
	if err != nil {
		return from, backup.Plan{}, fmt.Errorf("table %s version %d in %s: %w", name, version, c.Run.Source, err)
	}
	var previous []backup.Object
	if m.Previous != nil && !m.Full() {
		i := slices.IndexFunc(b.All, func(f backup.Found) bool { return f.Seq == m.Previous.Seq && f.SHA256 == m.Previous.SHA256 && f.Good() })
		if i < 0 {
			return from, backup.Plan{}, fmt.Errorf("%w: manifest %d, which the plan builds on, is not what it was; plan again", action.ErrMoved, m.Previous.Seq)
		}
		if t, ok := b.All[i].Manifest.Table(name); ok {
			if previous, err = b.List(ctx, t); err != nil {
				return from, backup.Plan{}, fmt.Errorf("what backup %s holds: %w", b.All[i].Manifest.Name(), err)
			}
		}
	}
	return from, backup.Split(needs, previous), nil
}

// needs lists what a version needs, as the source has it now. An object that is
// gone means that the table moved on under the plan.
func (s room) needs(ctx context.Context, c action.Call[action.None], name string, version int64) (takenFrom, []backup.Need, error) {
	site, err := s.lake.Table(ctx, c.Estate, c.Run.Source, name)
	if err != nil {
		return takenFrom{}, nil, err
	}
	from := takenFrom{Table: site}
	l, err := site.Open(ctx)
	if err != nil {
		return from, nil, err
	}
	if from.snap, err = l.Snapshot(ctx, version); err != nil {
		return from, nil, err
	}
	want := map[string]table.File{}
	for f, err := range from.snap.Closure() {
		if err != nil {
			return from, nil, err
		}
		if f.Bucket != "" {
			return from, nil, fmt.Errorf("%w: it needs %s in another bucket, which a backup of this table cannot bring back; back up what it was cloned from, and make the clone deep", action.ErrRefused, f.URI())
		}
		want[f.Key] = f
	}
	if len(want) == 0 {
		return from, nil, fmt.Errorf("%w: the version needs no object at all", action.ErrRefused)
	}
	portable, err := table.Able[table.Portable](site.Format.Name(), from.snap, "backed up")
	if err != nil {
		return from, nil, lake.Classed(err)
	}
	if from.beside, err = portable.Beside(ctx); err != nil {
		return from, nil, err
	}
	for _, f := range from.beside.Files {
		if want[f.Key].Key == "" {
			want[f.Key] = f
		}
	}
	var needs []backup.Need
	var listed []objectstore.Object
	prefixes := []string{site.Root.Prefix + "/"}
	for _, uri := range from.snap.Outside() {
		if dir, ok := strings.CutPrefix(uri, "s3://"+site.Root.Bucket+"/"); ok {
			prefixes = append(prefixes, dir+"/")
		}
	}
	for _, p := range prefixes {
		for o, err := range current(ctx, site, p, c.Estate.Backup.Batch != nil) {
			if err != nil {
				return from, nil, err
			}
			f, ok := want[o.Key]
			if !ok {
				continue
			}
			if f.Size >= 0 {
				if lack, lacks := table.Judge(f, o.Size); lacks {
					return from, nil, fmt.Errorf("%w: %s; plan again", action.ErrMoved, lack)
				}
			}
			delete(want, o.Key)
			listed = append(listed, o)
			needs = append(needs, backup.Need{Key: o.Key, Role: site.Format.Entry(o.Key).Role, Size: o.Size, ETag: o.ETag, Version: o.VersionID})
		}
	}
	for _, f := range want {
		if f.Size >= 0 {
			return from, nil, fmt.Errorf("%w: %s is gone; plan again", action.ErrMoved, f.URI())
		}
	}
	archived, err := site.Bucket.Archived(ctx, listed)
	if err != nil {
		return from, nil, err
	}
	if len(archived) > 0 {
		return from, nil, fmt.Errorf("%w: %s", action.ErrRefused, site.Bucket.Restoring(archived))
	}
	backup.Order(needs)
	return from, needs, nil
}

// current lists the objects below a prefix, with their versions where they are
// wanted: then every version is listed.
func current(ctx context.Context, t lake.Table, prefix string, versions bool) iter.Seq2[objectstore.Object, error] {
	if !versions {
		return t.Bucket.List(ctx, prefix)
	}
	return func(yield func(objectstore.Object, error) bool) {
		for v, err := range t.Bucket.ListVersions(ctx, prefix) {
			if err == nil && (!v.Latest || v.DeleteMarker) {
				continue
			}
			if !yield(v.Object, err) {
				return
			}
		}
	}
}
