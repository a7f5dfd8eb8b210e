package backup

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/lake"
	"breakwater/internal/plural"
)

// expiring is a look at the manifests of a group, and where to look for everything
// else that lies in its folder, and for the estate's first group what was left of trying
// the wall.
type expiring struct {
	lake.Backups
	// now is when the run began, and not the moment of looking, so that planning
	// twice gives the same. The store asks its own clock before it lets anything go.
	now     time.Time
	folders []string // the group's own is the first
	known   map[int64]bool
	atMost  int // of what is needed, in memory
}

func (s room) expiringOf(ctx context.Context, c action.Call[expireWith]) (*expiring, error) {
	b, err := s.lake.Backups(ctx, c.Estate, c.Item.Name)
	x := &expiring{Backups: b, now: c.Run.Started, folders: []string{backup.Folder(c.Item.Name)}, known: map[int64]bool{}, atMost: neededAtMost}
	if err == nil && c.Item.Name == c.Estate.Groups[0].Group { // what tries of the wall left is no group's: the first group expires it, too
		x.folders = append(x.folders, wallProbes)
	}
	for _, f := range b.All {
		x.known[f.Seq] = true
	}
	return x, err
}

// below yields the versions below a prefix that are no delete markers.
func (x *expiring) below(ctx context.Context, prefix string) iter.Seq2[backup.Stored, error] {
	return func(yield func(backup.Stored, error) bool) {
		for v, err := range x.Reader.ListVersions(ctx, x.Bucket, x.Prefix+prefix) {
			if v.DeleteMarker && err == nil {
				continue
			}
			if !yield(backup.Stored{Key: strings.TrimPrefix(v.Key, x.Prefix), Version: v.VersionID, Size: v.Size}, err) || err != nil {
				return
			}
		}
	}
}

// part is the first key of the group's folder, which is empty if there is no backup and
// no part of one.
func (x *expiring) part(ctx context.Context) (string, error) {
	for v, err := range x.below(ctx, x.folders[0]) {
		return v.Key, err
	}
	return "", nil
}

// manifests divides the manifests by the rule.
func (x *expiring) manifests(ctx context.Context, c action.Call[expireWith]) (going, staying []backup.Aged, err error) {
	first := map[int64]backup.Stored{}
	for v, err := range x.below(ctx, backup.ManifestPrefix(x.Group.Group)) {
		if err != nil {
			return nil, nil, err
		}
		if seq, ok := backup.SeqOf(v.Key); ok && v.Key == backup.ManifestKey(x.Group.Group, seq) {
			first[seq] = v // of a manifest, the first version counts, and it comes last
		}
	}
	at := make([]backup.Stored, len(x.All))
	for i, f := range x.All {
		at[i] = first[f.Seq]
	}
	ends, err := x.surveyOf(c.Request, nil, nil).ends(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	all := make([]backup.Aged, len(x.All))
	for i, f := range x.All {
		all[i] = backup.Aged{Found: f}
		if ends[i] != nil {
			all[i].Held = *ends[i]
		}
	}
	going, staying = backup.Expire(all, c.With.Keep, x.now)
	return going, staying, nil
}

// found are manifests without their locks.
func found(all []backup.Aged) []backup.Found {
	var plain []backup.Found
	for _, a := range all {
		plain = append(plain, a.Found)
	}
	return plain
}

// believed refuses a look by which nobody could tell what is needed.
func (x *expiring) believed() error {
	if breaks := backup.Check(x.All, x.now); len(breaks) > 0 {
		return fmt.Errorf("%w: the chain of %s's backups does not hold in %s, the newest: %s; what is needed is not known, so nothing goes: see what became of it, and take a new backup",
			action.ErrRefused, x.Group.Group, plural.Of(len(breaks), "place"), breaks[0])
	}
	return nil
}

// proven refuses to let backups go that were restored once, if none of those that
// stay ever was.
func (x *expiring) proven(ctx context.Context, going, staying []backup.Aged) error {
	if len(going) == 0 {
		return nil
	}
	verified, err := x.Verified(ctx, x.Group.Group)
	if err != nil {
		return err
	}
	for _, m := range staying {
		if v, ok := verified[m.Seq]; ok && v.Manifest == m.SHA256 {
			return nil
		}
	}
	return fmt.Errorf("%w: of the %s of group %s that would stay, none was ever restored; run backup.restorable first", action.ErrRefused, plural.Of(len(staying), "backup"), x.Group.Group)
}
