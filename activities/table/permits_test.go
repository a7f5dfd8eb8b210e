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
	l.NeedsItsPermits(def, l.Request(def, "orders"),
		// A MinIO lets read and list versions whoever may read and list, and the reverse.
		"s3:GetObject", "s3:ListBucketVersions",
		"Tagging",                 // where objects have tags
		"s3:AbortMultipartUpload", // where they are large
	)
}
