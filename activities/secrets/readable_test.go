package secrets

import (
	"slices"
	"testing"

	"breakwater/lab/faults"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

func TestSecretsReadable(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	def := w.Action("secrets.readable")
	prove.Action(t, def, w.Request(def, ""), slices.Concat(faults.Vaults(w.Faults), faults.Regions(w.Faults)))
}
