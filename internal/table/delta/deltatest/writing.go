package deltatest

import (
	"context"

	"breakwater/internal/table/location"
)

// Writing is a bucket as a table's writer has it.
type Writing struct{ location.Bucket }

// Put writes an object.
func (w Writing) Put(ctx context.Context, key string, body []byte) error {
	_, err := w.Of.Put(ctx, key, body)
	return err
}
