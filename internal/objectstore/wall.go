package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"breakwater/internal/plural"
)

// Wall is a place whose content somebody must not be able to destroy, and one
// object in it, held, on which that is tried.
type Wall struct {
	Bucket  string
	Key     string
	Version string
	Hold    Hold
	// HasLifecycle is [Lifecycle.Any]: an attempt on a bucket that has rules would
	// replace them if let through, so it is not made there.
	HasLifecycle bool
	// Policy is what [WallTester.BucketPolicy] returned; nil where that is not known,
	// and then nothing is tried that could replace it.
	Policy *string
}

// Attempt is one way to destroy what is behind a wall.
type Attempt struct {
	What string
	// Deletes marks what a lock alone stops, even of those who may delete.
	Deletes bool
	// Marks says that it leaves a delete marker, and hides nothing from who reads
	// by version.
	Marks bool
	// Shortens marks what nobody can do to a hold in mode compliance, and what a
	// store may answer there before it asks for rights.
	Shortens bool
	Try      func(context.Context) error
	// Undo takes back what came of it where it was let through; nil where nothing
	// can or need be.
	Undo func(context.Context) error
}

// Stands reports whether the wall's object is still there as it was, by the eyes
// of another: nil if it is.
func (w Wall) Stands(ctx context.Context, reader Keeper, size int64) error {
	s, err := reader.Seal(ctx, w.Bucket, w.Key, w.Version)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("version %s of %s is gone: %w", w.Version, w.Key, ErrChanged)
	case err != nil:
		return err
	case s.Size != size:
		return fmt.Errorf("version %s of %s has %s, had %d: %w", w.Version, w.Key, plural.Of(s.Size, "byte"), size, ErrChanged)
	case s.Hold.Mode != w.Hold.Mode || s.Hold.Until.Before(w.Hold.Until):
		return fmt.Errorf("version %s of %s is held until %s in mode %q, was until %s in mode %s: %w",
			w.Version, w.Key, s.Hold.Until.Format(time.RFC3339), s.Hold.Mode, w.Hold.Until.Format(time.RFC3339), w.Hold.Mode, ErrChanged)
	}
	return nil
}
