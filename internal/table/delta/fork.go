package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"breakwater/internal/table"
)

// ErrIncomparable says that two copies of a log have no commit in common, so that
// nothing tells whether they were one.
var ErrIncomparable = errors.New("no commit is in both logs")

// Fork compares the commits of two copies of a log, byte for byte. Replication
// and promotion keep the bytes, so that a commit that differs was made anew.
func (l *Log) Fork(ctx context.Context, other *Log) (table.Fork, error) {
	f := table.Fork{Common: -1}
	var both []int64
	mine, theirs := l.Commits(), other.Commits()
	for _, v := range mine {
		if _, ok := other.commits[v]; ok {
			both = append(both, v)
		}
	}
	if len(both) == 0 {
		return f, fmt.Errorf("compare the logs of %s and %s: %w", l.root, other.root, ErrIncomparable)
	}
	f.Compared = len(both)
	first := both[0]
	forked := int64(-1) // the first version that differs
	for batch := range slices.Chunk(both, fetchAhead) {
		same := make([]bool, len(batch))
		errs := make([]error, len(batch))
		var wg sync.WaitGroup
		for i, v := range batch {
			wg.Go(func() { same[i], errs[i] = l.sameCommit(ctx, other, v) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return f, err
		}
		i := slices.Index(same, false)
		if i >= 0 {
			forked = batch[i]
		}
		if i != 0 {
			f.Common = batch[len(batch)-1]
			if i > 0 {
				f.Common = batch[i-1]
			}
		}
		if forked >= 0 {
			break
		}
	}
	// Below the first common version log cleanup may have taken either's.
	only := func(versions []int64, has func(int64) bool) (out []int64) {
		for _, v := range versions {
			if v >= first && (forked >= 0 && v >= forked || !has(v)) {
				out = append(out, v)
			}
		}
		return out
	}
	f.Here = only(mine, func(v int64) bool { _, ok := other.commits[v]; return ok })
	f.There = only(theirs, func(v int64) bool { _, ok := l.commits[v]; return ok })
	return f, nil
}

// Commits are the versions of which a commit is listed, in order.
func (l *Log) Commits() []int64 {
	return slices.DeleteFunc(slices.Clone(l.known()), func(v int64) bool { _, ok := l.commits[v]; return !ok })
}

// sameCommit compares one commit. One that is gone since the listing is an error:
// the copy is being written.
func (l *Log) sameCommit(ctx context.Context, other *Log, v int64) (bool, error) {
	if l.commits[v].Size != other.commits[v].Size {
		return false, nil
	}
	a, err := l.get(ctx, l.commits[v])
	if err != nil {
		return false, err
	}
	b, err := other.get(ctx, other.commits[v])
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("commit %d went away while the logs were compared: %w", v, err)
	}
	return bytes.Equal(a, b), err
}
