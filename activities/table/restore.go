package table

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/backup/depot"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/verdict"

	"golang.org/x/sync/errgroup"
)

func (s room) restoreActions(c *action.Catalogue) {
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

// restoreWith are the parameters of table.restore.
type restoreWith struct {
	Manifest string     `json:"manifest,omitempty" doc:"The backup to restore, as GROUP/NUMBER. Without it, the newest of the table's group that is whole; a damaged one is stepped over and named."`
	At       *time.Time `json:"at,omitempty" doc:"Restore the newest backup whose cut is not after this moment."`
	Prefix   string     `json:"prefix,omitempty" doc:"Restore beside: below this prefix of the bucket, which the table's own path follows. Without it, in the table's own place, where the bucket keeps what was there."`
}

// restorePlan is the typed plan of table.restore, and what taking it back needs.
type restorePlan struct {
	Backup  string `json:"backup"`
	SHA256  string `json:"sha256"` // of its manifest
	List    string `json:"list"`   // SHA-256 of the table's list of objects
	Version int64  `json:"version"`
	Root    string `json:"root"` // prefix that the table comes to
	Write   int    `json:"write"`
	// Replaced are objects with other content, Hidden those of the log that the
	// backup does not have; the bucket keeps both. Equal are left alone.
	Replaced []keptObject `json:"replaced,omitempty"`
	Hidden   []keptObject `json:"hidden,omitempty"`
	Equal    []string     `json:"equal,omitempty"` // keys
	// Done is what earlier attempts of this step changed, and what was there before
	// them; Attempt the number of the note that Apply leaves before its first change.
	Done    []doneLine `json:"done,omitempty"`
	Attempt int        `json:"attempt"`
}

// keptObject is an object as it was, which its bucket keeps.
type keptObject struct {
	Key string `json:"key"`
	objectState
}

// restoring is a table of a backup and the place that it comes to.
type restoring struct {
	lake.Backups
	from    backup.Table
	found   *backup.Found
	objects []backup.Object // in the order of writing, with the keys that they come to
	site    lake.Table
	over    []string // backups that were stepped over, and why
}

// restoringTo finds the place, and the backup that the parameters ask for or that a
// plan named.
func (s room) restoringTo(ctx context.Context, c action.Call[restoreWith], plan *restorePlan) (restoring, error) {
	site, err := s.lake.Table(ctx, c.Estate, c.Run.Target, c.Item.Name)
	if err != nil {
		return restoring{}, err
	}
	r := restoring{site: site}
	if p := strings.Trim(c.With.Prefix, "/"); p != "" {
		r.site.Root.Prefix = p + "/" + r.site.Root.Prefix
	}
	if r.Backups, err = s.lake.Backups(ctx, c.Estate, site.Group.Group); err != nil {
		return r, err
	}
	if plan == nil {
		err = r.choose(ctx, c)
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
		return cmp.Or(cmp.Compare(slices.Index(backup.Stages(), a.Role), slices.Index(backup.Stages(), b.Role)), strings.Compare(a.Key, b.Key))
	})
	return r, nil
}

// planned takes the backup of a plan.
func (r *restoring) planned(ctx context.Context, p restorePlan) error {
	i := slices.IndexFunc(r.All, func(f backup.Found) bool { return f.Good() && f.SHA256 == p.SHA256 })
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
	if !f.Good() {
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
	return action.Few(names)
}

// present is what a reader sees below the place that the table comes to, with the
// version of each object.
func (r *restoring) present(ctx context.Context) (map[string]objectState, error) {
	have := map[string]objectState{}
	for o, err := range r.site.Bucket.ListVersions(ctx, r.site.Root.Prefix+"/") {
		if err != nil {
			return nil, err
		}
		if o.Latest && !o.DeleteMarker {
			have[o.Key] = objectState{ETag: o.ETag, VersionID: o.VersionID, Size: o.Size}
		}
	}
	return have, nil
}

// same reports whether what is there is what the backup has: by the checksum that a
// listing shows, or else by reading it.
func (r *restoring) same(ctx context.Context, o backup.Object, have objectState) (bool, error) {
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

func (s room) planRestore(ctx context.Context, c action.Call[restoreWith]) (action.Change, error) {
	r, err := s.restoringTo(ctx, c, nil)
	if err != nil {
		return action.Change{}, err
	}
	if versioned, err := r.site.Bucket.Versioned(ctx); err != nil {
		return action.Change{}, err
	} else if !versioned {
		return action.Change{}, fmt.Errorf("%w: bucket %s keeps no versions, so that what is there now could not be brought back; turn versioning on", action.ErrRefused, r.site.Bucket.Name())
	}
	have, err := r.present(ctx)
	if err != nil {
		return action.Change{}, err
	}
	m := r.found.Manifest
	p := restorePlan{Backup: m.Name(), SHA256: r.found.SHA256, List: r.from.List.SHA256, Version: r.from.Version, Root: r.site.Root.Prefix}
	if p.Attempt, p.Done, err = s.doneBefore(ctx, c, &r, have); err != nil {
		return action.Change{}, err
	}
	before := map[string]bool{}
	for _, line := range p.Done {
		before[line.Key] = true
	}
	ours := map[string]bool{}
	var bytes int64
	for _, o := range r.objects {
		ours[o.Key] = true
		was, there := have[o.Key]
		if !there {
			p.Write, bytes = p.Write+1, bytes+o.Copy.Size
			continue
		}
		same, err := r.same(ctx, o, was)
		switch {
		case err != nil:
			return action.Change{}, err
		case same && !before[o.Key]:
			p.Equal = append(p.Equal, o.Key)
		case !same:
			p.Replaced, bytes = append(p.Replaced, keptObject{o.Key, was}), bytes+o.Copy.Size
		}
	}
	for key, was := range have {
		if path.Dir(key)+"/" == r.site.LogDir() && !ours[key] {
			p.Hidden = append(p.Hidden, keptObject{key, was})
		}
	}
	// The highest commit first: whoever reads meanwhile sees a shorter table.
	slices.SortFunc(p.Hidden, func(a, b keptObject) int { return strings.Compare(b.Key, a.Key) })

	ch := action.Change{
		Summary:       fmt.Sprintf("%s comes back to version %d of backup %s, cut at %s", r.site.Name, p.Version, p.Backup, m.Cut.Format(time.RFC3339Nano)),
		Preconditions: []action.Precondition{{Resource: r.URL(backup.ManifestKey(m.Group, m.Seq)), Version: p.SHA256}},
		Estimate:      time.Second + time.Duration(p.Write+len(p.Replaced))*50*time.Millisecond,
	}
	if len(p.Done) > 0 {
		ch.Summary += fmt.Sprintf("; %d objects were changed by an earlier attempt of this step, and would be taken back with it", len(p.Done))
	}
	if len(r.over) > 0 {
		ch.Summary += "; stepped over " + strings.Join(r.over, "; ")
	}
	line := func(n int, do, to string) {
		if n > 0 {
			ch.Effects = append(ch.Effects, action.EffectLine{On: r.site.Bucket.URL(p.Root), Do: fmt.Sprintf(do, n), To: to})
		}
	}
	line(len(p.Hidden), "hide %d files of its log that the backup does not have", "delete markers, which can be taken away")
	line(len(p.Replaced), "write %d objects over what is there", "new versions; the bucket keeps the old ones")
	line(p.Write, "write %d objects that are not there", fmt.Sprintf("%d bytes in all", bytes))
	if len(ch.Effects) > 0 {
		ch.Effects = append(ch.Effects, action.EffectLine{On: r.site.Bucket.URL(notesOf(c)), Do: fmt.Sprintf("note before all that, as number %d, what is there now", p.Attempt)})
	}
	if ch.Data, err = action.Encode(p); err == nil {
		ch.Undo = ch.Data
	}
	return ch, err
}

// applyRestore writes data before log and log before pointer, and hides what the
// log had beside the backup in between. It goes by what is there, so that a second
// call, or one after a crash, does what is left.
func (s room) applyRestore(ctx context.Context, c action.Call[restoreWith]) (action.Outcome, error) {
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
	was := map[string]objectState{}
	for _, k := range slices.Concat(p.Replaced, p.Hidden) {
		was[k.Key] = k.objectState
	}
	guard := r.noting(c, p, &out)
	var written atomic.Int64
	for _, role := range backup.Stages() {
		if role == backup.Checkpoint { // the data is there
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
		if role == backup.Commit { // in the order of their versions
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
func (r *restoring) hide(ctx context.Context, guard func(context.Context) error, p restorePlan, have map[string]objectState) (n int64, err error) {
	planned, ours := map[string]objectState{}, map[string]bool{}
	for _, k := range p.Hidden {
		planned[k.Key] = k.objectState
	}
	for _, o := range r.objects {
		ours[o.Key] = true
	}
	for key, now := range have {
		if path.Dir(key)+"/" != r.site.LogDir() || ours[key] {
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
		if _, err := r.site.Bucket.Delete(ctx, k.Key); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
