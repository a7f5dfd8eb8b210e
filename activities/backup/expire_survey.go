package backup

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
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/listing"
	"breakwater/internal/plural"

	"golang.org/x/sync/errgroup"
)

// neededAtMost is how many versions that manifests name are in memory at a time, at
// about 300 bytes each.
const neededAtMost = 500_000

// shown is how many versions a plan names; it counts all, and its digest covers them.
const shown = 20

// survey is what was found of the versions that no backup which stays needs.
type survey struct {
	goes     amount // its lock has ended
	rest     amount // of that, what is no manifest
	probes   amount // of that, what lies outside of the group's folder
	kept     amount // all others: they are held, or were never
	unheld   int64  // of those, what was never held
	first    []backup.Stored
	named    int64          // versions that backups which stay name
	lacking  int64          // of those, what is not there as it was written
	lacks    string         // the first of them
	since    *backup.Stored // it would go, if no backup needed it that came since the plan
	standing *held          // a version over a manifest that goes, and would stand in its place
}

type held struct {
	backup.Stored
	until time.Time
}

// lowest is the one that comes first; nil is none.
func lowest[T any](a, b *T, of func(*T) string) *T {
	if a == nil || b != nil && of(b) < of(a) {
		return b
	}
	return a
}

func (s *survey) add(o survey) {
	s.goes.add(o.goes)
	s.rest.add(o.rest)
	s.probes.add(o.probes)
	s.kept.add(o.kept)
	s.unheld += o.unheld
	s.first = slices.Concat(s.first, o.first)
	slices.SortFunc(s.first, func(a, b backup.Stored) int { return strings.Compare(a.ID(), b.ID()) })
	s.first = s.first[:min(len(s.first), shown)]
	s.named += o.named
	s.lacking += o.lacking
	s.lacks = cmp.Or(s.lacks, o.lacks)
	s.since = lowest(s.since, o.since, func(v *backup.Stored) string { return v.ID() })
	s.standing = lowest(s.standing, o.standing, func(h *held) string { return h.ID() })
}

// unread says that what a backup names could not be read.
type unread struct{ error }

func (u unread) Unwrap() error { return u.error }

// surveying looks at everything that lies in a group's folder. Neither what the manifests
// name nor what lies there has to fit into memory: the keys are gone through in
// stretches of what fits, and each of them in ranges side by side.
type surveying struct {
	*expiring
	c       action.Request
	staying []backup.Found
	since   []backup.Found  // came after the plan
	stays   map[int64]bool  // both, by number
	only    map[string]bool // all that may go, by name; nil where that follows from the rest
	// remove is called with what goes, as it is found; nil where nothing is to go.
	remove func(context.Context, []backup.Stored) error
	asks   chan struct{} // as many as may ask the store for locks at a time
}

func (x *expiring) surveyOf(c action.Request, staying, since []backup.Found) *surveying {
	s := &surveying{expiring: x, c: c, staying: staying, since: since, stays: map[int64]bool{}, asks: make(chan struct{}, 4*action.AtOnce)}
	for _, m := range slices.Concat(staying, since) {
		s.stays[m.Seq] = true
	}
	return s
}

func (x *surveying) do(ctx context.Context) (survey, error) {
	var sum survey
	for after := ""; ; {
		needed, err := x.needed(ctx, after)
		if err != nil {
			return sum, err
		}
		part, err := x.stretch(ctx, after, needed)
		if err != nil {
			return sum, err
		}
		part.named = int64(needed.Len())
		for want, has := range needed.Lacking {
			part.lacking++
			if part.lacks != "" {
				continue
			}
			if part.lacks = fmt.Sprintf("version %s of %s", want.Version, x.URL(want.Key)); has >= 0 {
				part.lacks = fmt.Sprintf("%s of %s, which has %d", plural.Of(want.Size, "byte"), x.URL(want.Key), has)
			}
		}
		sum.add(part)
		if after = needed.Until(); after == "" {
			return sum, nil
		}
	}
}

// needed reads what the manifests name after a key, as much as fits.
func (x *surveying) needed(ctx context.Context, after string) (*backup.Needed, error) {
	needed := backup.NeededAfter(after, x.atMost)
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(action.AtOnce)
	for i, m := range slices.Concat(x.staying, x.since) {
		later := i >= len(x.staying)
		for _, t := range m.Manifest.Tables {
			work.Go(func() error {
				needed.Add(t.List, later)
				err := x.Each(wctx, t, func(o backup.Object) error {
					needed.Add(o.Copy, later)
					return nil
				})
				if err != nil {
					return unread{fmt.Errorf("what backup %s names: %w", m.Manifest.Name(), err)}
				}
				return nil
			})
		}
	}
	return needed, work.Wait()
}

// stretch looks at what lies after a key, as far as it is known what is needed.
func (x *surveying) stretch(ctx context.Context, after string, needed *backup.Needed) (survey, error) {
	var left []listing.Range
	for _, folder := range x.folders {
		r := listing.Range{Prefix: x.Prefix + folder}
		// Only a group's own folder has what is needed, and all keys of the others are
		// looked at with its first ones.
		if folder == x.folders[0] {
			if after != "" {
				r.After = x.Prefix + after
			}
			if needed.Until() != "" {
				r.Until = x.Prefix + needed.Until()
			}
		} else if after != "" {
			continue
		}
		left = append(left, r)
	}
	return listing.Walk[survey]{
		Buckets: []objectstore.Bucket{objectstore.Bind(x.Reader, x.Bucket)},
		Look: func(ctx context.Context, keys []listing.Key) (survey, error) {
			return x.look(ctx, needed, keys)
		},
		Add: func(sum *survey, part survey) { sum.add(part) },
		Progress: func(s listing.State[survey]) {
			x.c.Progress(s.Keys, 0, fmt.Sprintf("keys of backups of %s looked at, of which %s", x.Group.Group, plural.Of(s.Sum.goes.Count, "version", "goes", "go")))
		},
	}.Do(ctx, listing.State[survey]{Left: left})
}

// look looks at some keys.
func (x *surveying) look(ctx context.Context, needed *backup.Needed, keys []listing.Key) (s survey, err error) {
	var loose []backup.Stored
	later := map[string]bool{}
	for _, k := range keys {
		for _, v := range k[0] {
			if v.DeleteMarker {
				continue
			}
			stored := backup.Stored{Key: strings.TrimPrefix(v.Key, x.Prefix), Version: v.VersionID, Size: v.Size}
			named, since := needed.See(stored)
			switch {
			case x.only != nil && !x.only[stored.ID()], v.LastModified.After(x.now): // of no plan
			case x.only != nil && named, since:
				later[stored.ID()] = true
				loose = append(loose, stored)
			case !named && x.loose(stored):
				loose = append(loose, stored)
			}
		}
	}
	ends, err := x.ends(ctx, loose)
	if err != nil {
		return s, err
	}
	var goes []backup.Stored
	for i, v := range loose {
		manifest := strings.HasPrefix(v.Key, backup.ManifestPrefix(x.Group.Group))
		switch until := ends[i]; {
		case until == nil: // gone meanwhile
		case later[v.ID()] && (backup.Free(*until, x.now) || x.only != nil):
			s.since = &v
		case backup.Free(*until, x.now), manifest && until.IsZero():
			goes = append(goes, v)
			s.goes.take(v)
			if !manifest {
				s.rest.take(v)
				if !strings.HasPrefix(v.Key, x.folders[0]) {
					s.probes.take(v)
				}
			}
		case manifest && s.standing == nil:
			s.standing = &held{v, *until}
		default:
			s.kept.take(v)
			if until.IsZero() {
				s.unheld++
			}
		}
	}
	s.add(survey{first: goes})
	if x.remove != nil && len(goes) > 0 {
		err = x.remove(ctx, goes)
	}
	return s, err
}

// loose reports whether none of the manifests that stay needs a version which none of
// them names: a manifest or a note of a backup that does not stay, or anything else.
func (x *surveying) loose(v backup.Stored) bool {
	seq, numbered := backup.SeqOf(v.Key)
	switch {
	case strings.HasPrefix(v.Key, backup.ManifestPrefix(x.Group.Group)):
		return numbered && x.known[seq] && !x.stays[seq]
	case strings.HasPrefix(v.Key, backup.VerifiedPrefix(x.Group.Group)):
		return numbered && !x.stays[seq]
	}
	return true
}

// ends asks the store until when it holds each version: zero for never, and none for one
// that is gone.
func (x *surveying) ends(ctx context.Context, versions []backup.Stored) ([]*time.Time, error) {
	ends := make([]*time.Time, len(versions))
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(cap(x.asks))
	for i, v := range versions {
		work.Go(func() error {
			x.asks <- struct{}{}
			defer func() { <-x.asks }()
			seal, err := x.Reader.Seal(wctx, x.Bucket, x.Prefix+v.Key, v.Version)
			if errors.Is(err, fs.ErrNotExist) && depot.Answered(err) {
				return nil
			}
			ends[i] = &seal.Hold.Until
			return err
		})
	}
	return ends, work.Wait()
}
