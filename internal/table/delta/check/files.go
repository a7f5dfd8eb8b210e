package check

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"golang.org/x/sync/errgroup"

	"breakwater/internal/plural"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/vector"
)

// files reads footers and deletion vectors. What is known to be gone or resized
// was reported already.
func (r *Result) files(ctx context.Context, store table.Store, gone map[[2]string]bool, o Options) error {
	chosen := r.choose(o)
	group, each := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	var mu sync.Mutex
	judge := func(kind table.ProblemKind, path string, counted *int, err error) error {
		mu.Lock()
		defer mu.Unlock()
		*counted++
		switch {
		case err == nil:
		case !saysSomething(err):
			return err
		default:
			r.problem(kind, "%s: %v", path, err)
		}
		return nil
	}
	i := -1
	for a := range r.Snapshot.Files() {
		if i++; each.Err() != nil {
			break
		}
		needs := a.Needs()
		is := func(f table.File) bool { return gone[[2]string{f.Bucket, f.Key}] }
		if !is(needs[0]) && (chosen == nil || chosen[i]) {
			group.Go(func() error { return judge(DataFile, a.Path, &r.Footers, dataFile(each, store, a)) })
		}
		if a.Vector != nil && (len(needs) < 2 || !is(needs[1])) {
			group.Go(func() error { return judge(Vector, a.Path, &r.Vectors, deleted(each, store, a)) })
		}
	}
	return errors.Join(group.Wait(), ctx.Err())
}

// choose draws the sample: nil means every file.
func (r *Result) choose(o Options) map[int]bool {
	n := r.Snapshot.Len()
	if o.Sample < 0 || o.Sample >= n {
		return nil
	}
	r.Sampled, r.Seed = true, o.Seed
	chosen := make(map[int]bool, o.Sample)
	for _, i := range rand.New(rand.NewPCG(o.Seed, 0)).Perm(n)[:o.Sample] {
		chosen[i] = true
	}
	return chosen
}

// dataFile holds a file's magic numbers and row count against the log.
func dataFile(ctx context.Context, store table.Store, a delta.Add) error {
	f, err := footer(ctx, store, a)
	if err != nil {
		return err
	}
	if n := f.NumRows(); a.Records >= 0 && n != a.Records {
		return fmt.Errorf("%w: its footer counts %s, recorded %d", delta.ErrCorrupt, plural.Of(n, "row"), a.Records)
	}
	return nil
}

// deleted holds a deletion vector's size, checksum, cardinality and reach against
// the log.
func deleted(ctx context.Context, store table.Store, a delta.Add) error {
	rows, err := vector.Read(ctx, store, a.Vector)
	if err != nil {
		return err
	}
	if a.Records >= 0 && !rows.IsEmpty() && rows.Maximum() >= uint64(a.Records) {
		return fmt.Errorf("%w: it deletes row %d of %d", delta.ErrCorrupt, rows.Maximum(), a.Records)
	}
	return nil
}
