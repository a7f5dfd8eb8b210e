package routing

import (
	"testing"

	"breakwater/lab/world"
)

// TestRoutingNeedsItsPermits takes each right away that routing.secret declares.
func TestRoutingNeedsItsPermits(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	def := w.Action("routing.secret")
	w.NeedsItsPermits(def, w.Request(def, "orders"),
		"data/lakehouse/clicks", "metadata/lakehouse/clicks", "delete/lakehouse/clicks", // another group's
	)
}
