// Package poll waits for what another system is about to do.
package poll

import (
	"context"
	"time"
)

// Wait waits for a while, or says why it did not.
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
