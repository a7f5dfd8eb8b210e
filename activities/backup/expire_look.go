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

	"golang.org/x/sync/errgroup"
)

// expiring is a look at everything that lies in a group's folder, and for the
// estate's first group at what was left of trying the wall.
type expiring struct {
	lake.Backups
	// now is when the run began, and not the moment of looking, so that planning
	// twice gives the same. The store asks its own clock before it lets anything go.
	now      time.Time
	versions []backup.Stored // of every key, the newest first; without delete markers
}

func (s room) expiringOf(ctx context.Context, c action.Call[expireWith]) (*expiring, error) {
	b, err := s.lake.Backups(ctx, c.Estate, c.Item.Name)
	if err != nil {
		return &expiring{Backups: b}, err
	}
	x := &expiring{Backups: b, now: c.Run.Started}
	folders := []string{backup.Folder(c.Item.Name)}
	if c.Item.Name == c.Estate.Groups[0].Group { // what tries of the wall left is no group's: the first group expires it, too
		folders = append(folders, wallProbes)
	}
	for _, folder := range folders {
		for v, err := range b.Reader.ListVersions(ctx, b.Bucket, b.Prefix+folder) {
			if err != nil {
				return x, err
			}
			if !v.DeleteMarker {
				x.versions = append(x.versions, backup.Stored{Key: strings.TrimPrefix(v.Key, b.Prefix), Version: v.VersionID, Size: v.Size})
			}
		}
	}
	return x, nil
}

// empty reports whether the group has no backup and no part of one.
func (x *expiring) empty() bool {
	return len(x.All) == 0 && !slices.ContainsFunc(x.versions, func(v backup.Stored) bool { return !strings.HasPrefix(v.Key, wallProbes) })
}

// ends asks the store until when it holds each version: zero for never, and for
// one that is gone.
func (x *expiring) ends(ctx context.Context, c action.Request, versions []backup.Stored) ([]time.Time, error) {
	ends := make([]time.Time, len(versions))
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(4 * action.AtOnce)
	for i, v := range versions {
		work.Go(func() error {
			seal, err := x.Reader.Seal(wctx, x.Bucket, x.Prefix+v.Key, v.Version)
			if errors.Is(err, fs.ErrNotExist) && depot.Answered(err) {
				return nil
			}
			ends[i] = seal.Hold.Until
			c.Progress(int64(i), int64(len(versions)), "looking at the locks of "+x.Group.Group)
			return err
		})
	}
	return ends, work.Wait()
}

// manifests divides the manifests by the rule.
func (x *expiring) manifests(ctx context.Context, c action.Call[expireWith]) (going, staying []backup.Aged, err error) {
	first := map[int64]backup.Stored{}
	for _, v := range x.versions {
		if seq, ok := backup.SeqOf(v.Key); ok && v.Key == backup.ManifestKey(x.Group.Group, seq) {
			first[seq] = v // of a manifest, the first version counts, and it comes last
		}
	}
	at := make([]backup.Stored, len(x.All))
	for i, f := range x.All {
		at[i] = first[f.Seq]
	}
	ends, err := x.ends(ctx, c.Request, at)
	if err != nil {
		return nil, nil, err
	}
	all := make([]backup.Aged, len(x.All))
	for i, f := range x.All {
		all[i] = backup.Aged{Found: f, Held: ends[i]}
	}
	going, staying = backup.Expire(all, c.With.Keep, x.now)
	return going, staying, nil
}

// needed reads what manifests name.
func (x *expiring) needed(ctx context.Context, staying []backup.Aged) (backup.Needed, error) {
	needed := backup.Needed{}
	var mu sync.Mutex
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(action.AtOnce)
	for _, m := range staying {
		for _, t := range m.Manifest.Tables {
			work.Go(func() error {
				objects, err := x.List(wctx, t)
				if err != nil {
					return fmt.Errorf("what backup %s names: %w", m.Manifest.Name(), err)
				}
				mu.Lock()
				defer mu.Unlock()
				needed.Add(t, objects)
				return nil
			})
		}
	}
	return needed, work.Wait()
}

// lacks names what manifests need and a listing of versions does not show.
func (x *expiring) lacks(needed backup.Needed) []string {
	there := make(map[string]int64, len(x.versions))
	for _, v := range x.versions {
		there[v.ID()] = v.Size
	}
	var lacks []string
	for id, want := range needed {
		if size, ok := there[id]; !ok {
			lacks = append(lacks, fmt.Sprintf("version %s of %s", want.Version, x.URL(want.Key)))
		} else if size != want.Size {
			lacks = append(lacks, fmt.Sprintf("%d bytes of %s, which has %d", want.Size, x.URL(want.Key), size))
		}
	}
	slices.Sort(lacks)
	return lacks
}

// loose are the versions that no manifest that stays needs: of manifests and notes,
// those of backups that do not stay, and of all else what none of them names.
func (x *expiring) loose(staying []backup.Aged, needed backup.Needed) []backup.Stored {
	stays := map[int64]bool{}
	for _, m := range staying {
		stays[m.Seq] = true
	}
	known := map[int64]bool{}
	for _, f := range x.All {
		known[f.Seq] = true
	}
	var manifests, notes, rest []backup.Stored
	for _, v := range x.versions {
		seq, numbered := backup.SeqOf(v.Key)
		switch {
		case strings.HasPrefix(v.Key, backup.ManifestPrefix(x.Group.Group)):
			if numbered && known[seq] && !stays[seq] {
				manifests = append(manifests, v) // those over the first one come first, or they would stand in its place
			}
		case strings.HasPrefix(v.Key, backup.VerifiedPrefix(x.Group.Group)):
			if numbered && !stays[seq] {
				notes = append(notes, v)
			}
		default:
			if _, ok := needed[v.ID()]; !ok {
				rest = append(rest, v)
			}
		}
	}
	return slices.Concat(manifests, notes, rest)
}

// free are the loose versions whose lock has ended, in the order of removal, and
// how many were never held.
func (x *expiring) free(ctx context.Context, c action.Call[expireWith], staying []backup.Aged, needed backup.Needed) (free []backup.Stored, unheld int, err error) {
	loose := x.loose(staying, needed)
	ends, err := x.ends(ctx, c.Request, loose)
	if err != nil {
		return nil, 0, err
	}
	for i, v := range loose {
		manifest := strings.HasPrefix(v.Key, backup.ManifestPrefix(x.Group.Group))
		switch {
		case needed.Free(v, ends[i], x.now), manifest && ends[i].IsZero():
			free = append(free, v)
		case ends[i].IsZero():
			unheld++
		case manifest:
			return nil, 0, fmt.Errorf("%w: somebody put a version over %s that is held until %s and would stand in its place: find out who, and wait or remove it as the account's administrator",
				action.ErrRefused, x.URL(v.Key), ends[i].Format(time.RFC3339))
		}
	}
	return free, unheld, nil
}

// believed refuses a look by which nobody could tell what is needed.
func (x *expiring) believed() error {
	if breaks := backup.Check(x.All, x.now); len(breaks) > 0 {
		return fmt.Errorf("%w: the chain of %s's backups does not hold in %d places, the newest: %s; what is needed is not known, so nothing goes: see what became of it, and take a new backup",
			action.ErrRefused, x.Group.Group, len(breaks), breaks[0])
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
	return fmt.Errorf("%w: of the %d backups of group %s that would stay, none was ever restored; run backup.restorable first", action.ErrRefused, len(staying), x.Group.Group)
}
