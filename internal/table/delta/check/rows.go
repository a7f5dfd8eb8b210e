// Package check holds a Delta table against what its log says of it: whether
// every object is there and is what was recorded, whether the log agrees with
// itself, and which versions can be read in full.
package check

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"breakwater/internal/reach"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/columns"
	"breakwater/internal/table/delta/vector"
)

// atOnce is how many objects are read at the same time.
const atOnce = 16

// Rows counts the live rows of a snapshot: by the log's statistics, and by the
// footers of the files that have none. It reports how many footers it read.
func Rows(ctx context.Context, store table.Store, s *delta.Snapshot) (rows int64, read int, err error) {
	group, each := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	counts := make(chan int64)
	sum := make(chan int64, 1)
	go func() {
		var all int64
		for n := range counts {
			all += n
		}
		sum <- all
	}()
	for a := range s.Files() {
		if each.Err() != nil {
			break
		}
		if n := a.Rows(); n >= 0 {
			rows += n
			continue
		}
		read++
		group.Go(func() error {
			f, err := footer(each, store, a)
			if err != nil {
				return err
			}
			n := f.NumRows()
			if a.Vector != nil {
				n -= a.Vector.Cardinality
			}
			counts <- n
			return nil
		})
	}
	err = group.Wait()
	close(counts)
	rows += <-sum
	if err := errors.Join(err, ctx.Err()); err != nil {
		return -1, read, fmt.Errorf("count the rows of delta table %s at version %d: %w", s.Root, s.Version.Number, err)
	}
	return rows, read, nil
}

// footer opens a data file.
func footer(ctx context.Context, store table.Store, a delta.Add) (*columns.File, error) {
	bucket, key := a.File()
	if bucket != "" {
		return nil, fmt.Errorf("%s: %w: %s", a.Path, vector.ErrElsewhere, bucket)
	}
	f, err := columns.Open(delta.TailReaderAt(ctx, store, key, a.Size), a.Size)
	if errors.Is(err, columns.ErrMalformed) {
		err = fmt.Errorf("%w: %w", delta.ErrCorrupt, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Path, reach.Mark(err))
	}
	return f, nil
}
