package port

import (
	"context"

	"breakwater/internal/table"
	"breakwater/internal/table/delta/diff"
	"breakwater/internal/table/difference"
)

var _ difference.Differ = snapshot{}

// Since compares the files and rows of two versions.
func (s snapshot) Since(ctx context.Context, from table.Snapshot, o difference.Options) (difference.Difference, error) {
	was, err := deltaOf(from)
	if err != nil {
		return difference.Difference{}, err
	}
	return diff.Between(ctx, s.of.store, was, s.Snapshot, o)
}
