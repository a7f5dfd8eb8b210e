package check

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"breakwater/internal/table"
)

// lookedFor is of how many objects that lack earlier versions are looked for.
const lookedFor = 1000

// kept looks for earlier versions of what lacks, where the bucket may keep some, and
// whether it goes on keeping them. That they could not be looked for is a warning.
func (r *Result) kept(ctx context.Context, store table.Store) error {
	bucket, ok := store.(table.Remembering)
	if !ok {
		return nil
	}
	var lacks []*table.Lack
	for _, list := range [][]table.Lack{r.Missing, r.Resized} {
		for i := range list {
			if l := &list[i]; l.Fault != table.Archived && l.Fault != table.Elsewhere && len(lacks) < lookedFor {
				lacks = append(lacks, l)
			}
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	var err error
	if r.Unversioned, err = bucket.Unversioned(ctx, lacks[0].File.Key); err == nil {
		group, each := errgroup.WithContext(ctx)
		group.SetLimit(atOnce)
		for _, l := range lacks {
			group.Go(func() (err error) {
				l.Kept, err = newestFit(each, bucket, l.File)
				return err
			})
		}
		err = group.Wait()
	}
	if err != nil {
		r.Warnings = append(r.Warnings, fmt.Sprintf("whether earlier versions of what lacks are kept could not be looked at: %v", err))
	}
	if !slices.ContainsFunc(lacks, func(l *table.Lack) bool { return l.Kept != "" }) {
		r.Unversioned = "" // nothing is left that could be destroyed
	} else if r.Unversioned != "" {
		r.Warnings = append(r.Warnings, r.Unversioned)
	}
	return ctx.Err()
}

// newestFit is the newest version of a file that has the recorded size; empty for none.
func newestFit(ctx context.Context, bucket table.Remembering, f table.File) (string, error) {
	for p, err := range bucket.ListVersions(ctx, f.Key) {
		if err != nil {
			return "", err
		}
		if _, lacks := table.Judge(f, p.Size); p.Key == f.Key && !p.Marker && !lacks {
			return p.VersionID, nil
		}
	}
	return "", nil
}
