package table

import (
	"testing"

	"breakwater/lab/world"
)

// TestPromotionNeedsItsPermits takes each right away that table.promote declares.
func TestPromotionNeedsItsPermits(t *testing.T) {
	t.Parallel()
	l := world.OrdersLake(t)
	l.Do("group.recovery-point", "orders")
	def := l.Recorded("table.promote")
	l.NeedsItsPermits(def, l.Request(def, "orders"))
}
