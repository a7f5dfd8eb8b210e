package storage

import (
	"testing"

	"breakwater/lab/world"
)

// TestTheFenceNeedsItsPermits takes each right away that storage.fence declares: what it
// may take away for good are its probes, and no version of what people wrote.
func TestTheFenceNeedsItsPermits(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	w.Run.SourceUnreachable = false
	def := w.Action("storage.fence")
	w.NeedsItsPermits(def, w.Request(def, "lake"),
		"s3:DeleteObjectVersion",    // a MinIO lets take versions away whoever may delete
		"storage.admin "+world.West, // the probe's replica, where the bucket replicates
	)
}
