package storage

import (
	"testing"

	"breakwater/lab/world"
)

// TestFencesNeedTheirPermits takes each right away that the fences declare.
func TestFencesNeedTheirPermits(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	w.Run.SourceUnreachable = false
	for _, name := range []string{"storage.fence", "storage.stop-replication"} {
		def := w.Action(name)
		w.NeedsItsPermits(def, w.Request(def, "lake"))
	}
}
