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
		"secret/config", "lakehouse/orders create", "delete/lakehouse/orders", // of a secret that is new, of one taken back to nothing
		"data/lakehouse/clicks", "metadata/lakehouse/clicks", "delete/lakehouse/clicks", // another group's
	)
}
