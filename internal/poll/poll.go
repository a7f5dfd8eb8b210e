// Package poll waits: for a time, or until a question that is asked again and
// again has its answer. Every wait ends with its context.
package poll

import (
	"context"
	"errors"
	"time"
)

// Wait returns nil after d, or before that the cause for which ctx ended.
func Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// Until asks, at once and then again after each pause of the given length, until
// the answer is final, and returns the error of that answer. An answer that is not
// final may say with an error why not.
//
// If ctx ends first, the error is the last answer's, which says what is still
// missing, joined with the cause for which ctx ended.
func Until(ctx context.Context, every time.Duration, ask func(context.Context) (final bool, err error)) error {
	for {
		final, err := ask(ctx)
		if final {
			return err
		}
		if ended := Wait(ctx, every); ended != nil {
			return errors.Join(err, ended)
		}
	}
}
