package activities

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/reach"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/location"
	"breakwater/internal/table/delta/rows"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
)

// tableSite is a table in one region.
type tableSite struct {
	name   string
	group  *estate.Group
	decl   *estate.Table
	region string
	bucket objectstore.Bucket
	store  delta.Store
	root   delta.Root
}

// site finds a table in a region, seen with recovery's own credentials there.
func (s *Systems) site(ctx context.Context, e *estate.Estate, region, name string) (tableSite, error) {
	t, g, ok := e.Table(name)
	if !ok {
		return tableSite{}, fmt.Errorf("%w: estate %s has no table %q", action.ErrRefused, e.Estate, name)
	}
	b, err := s.Bucket(ctx, e, region, t.Bucket)
	if err != nil {
		return tableSite{}, err
	}
	return tableSite{
		name: name, group: g, decl: t, region: region, bucket: b,
		store: location.Bucket{Bucket: b}, root: delta.Root{Bucket: b.Name(), Prefix: t.Path},
	}, nil
}

// open lists the table's log as it is now.
func (t tableSite) open(ctx context.Context) (*delta.Log, error) {
	return delta.Open(ctx, t.store, t.root)
}

// logDir is the prefix of the table's log.
func (t tableSite) logDir() string { return t.root.Prefix + "/_delta_log/" }

// lacking holds a version against a fresh listing: what of it is not there as
// recorded, out of how many objects.
func (t tableSite) lacking(ctx context.Context, s *delta.Snapshot) ([]table.Lack, int, error) {
	prefixes := []string{t.root.Prefix + "/"}
	for _, uri := range s.Outside() { // folders of other tables, for shallow clones
		if dir, ok := strings.CutPrefix(uri, "s3://"+t.root.Bucket+"/"); ok {
			prefixes = append(prefixes, dir+"/")
		}
	}
	return table.Lacking(s.Closure(), func(yield func(table.Object, error) bool) {
		for _, p := range prefixes {
			for o, err := range t.store.List(ctx, p) {
				if !yield(o, err) {
					return
				}
			}
		}
	})
}

// whole observes that every object of a version is present at its size.
func (t tableSite) whole(ctx context.Context, run action.Run, l *delta.Log, version int64) action.Observation {
	what := fmt.Sprintf("every object of version %d is present at its size", version)
	s, err := l.Snapshot(ctx, version)
	if err != nil {
		return t.notSeen(run, what, "a version that its log gives", err)
	}
	lacks, n, err := t.lacking(ctx, s)
	if err != nil {
		return t.notSeen(run, what, "a listing", err)
	}
	want, got := fmt.Sprintf("%d objects", n), fmt.Sprintf("%d objects", n)
	if len(lacks) > 0 {
		got = fmt.Sprintf("%d of %d lack, the first: %s", len(lacks), n, lacks[0])
	}
	return t.about(saw(what, want, got, len(lacks) == 0 && n > 0))
}

// about names the table in an observation.
func (t tableSite) about(o action.Observation) action.Observation {
	o.Item = t.name
	return o
}

// notSeen is the observation of something that could not be read: fail where the
// store's answer shows that it is gone or broken, else unknown.
func (t tableSite) notSeen(run action.Run, what, want string, err error) action.Observation {
	if !tableAnswered(err) {
		return t.about(unknown(run, t.region, what, want, err, fmt.Sprintf("look at table %s in %s again: %s", t.name, t.region, what)))
	}
	return t.about(action.Observation{What: what, Want: want, Got: err.Error(), Verdict: verdict.Fail})
}

// tableAnswered reports whether an error about a table says something about the table,
// rather than about our way to it or what we know of its format.
func tableAnswered(err error) bool {
	var feature *delta.FeatureError
	var typ *rows.TypeError
	switch {
	case reach.Unreachable(err), errors.Is(err, fs.ErrPermission), errors.Is(err, objectstore.ErrNoBucket),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &feature), errors.As(err, &typ):
		return false
	}
	return true
}

// logBroken reports whether an error says that an object of the log is gone or
// unreadable, which one can step around.
func logBroken(err error) bool {
	return tableAnswered(err) && (errors.Is(err, delta.ErrCorrupt) || errors.Is(err, delta.ErrNoStart) || errors.Is(err, fs.ErrNotExist))
}

// journal is the witness's journal as a region keeps it.
func (s *Systems) journal(ctx context.Context, e *estate.Estate, region string) (witness.Journal, error) {
	if e.Witness.Bucket == "" {
		return witness.Journal{}, fmt.Errorf("estate %s has no witness bucket: add witness to the estate file: %w", e.Estate, fs.ErrNotExist)
	}
	b, err := s.Bucket(ctx, e, region, e.Witness.Bucket)
	return witness.Journal{Bucket: b, Prefix: strings.Trim(e.Witness.Prefix, "/")}, err
}
