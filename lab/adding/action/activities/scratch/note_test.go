package scratch

import (
	"testing"

	scratchfaults "breakwater/lab/adding/action/lab/faults"
	"breakwater/lab/faults"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// proofs names the test that takes each action of this room through prove.Action.
var proofs = map[string]string{"scratch.note": "TestNote"}

func TestMain(m *testing.M) { world.Main(m, Add) }

func TestEveryActionIsProven(t *testing.T) { prove.Listed(t, Add, proofs) }

func TestNote(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	def := w.Action("scratch.note")
	prove.Action(t, def, w.Request(def, "lake"), append(scratchfaults.Scratches(w.Faults, Key), faults.Regions(w.Faults)...))
}
