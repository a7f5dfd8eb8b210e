package lake

import (
	"context"
	"fmt"

	"breakwater/internal/table"

	"golang.org/x/sync/semaphore"
)

// budget is how many bytes of memory the tables of a process take that are read at the
// same time, by what their logs let expect. Three tables of a million files fit.
const budget = 5 << 28

var memory = semaphore.NewWeighted(budget)

// reading waits until there is memory to read a version of a table in, and done gives it
// back. A table that is larger than all there is is read alone. Who has some does not
// ask for more, for which it might wait for itself.
func reading(ctx context.Context, t table.Table) (done func(), err error) {
	n := min(t.Extent().Memory, budget)
	if err := memory.Acquire(ctx, n); err != nil {
		return nil, fmt.Errorf("wait until other large tables are read: %w", err)
	}
	return func() { memory.Release(n) }, nil
}
