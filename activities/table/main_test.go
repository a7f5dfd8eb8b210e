package table

import (
	"testing"

	"breakwater/activities/access"
	"breakwater/activities/backup"
	"breakwater/activities/group"
	"breakwater/activities/storage"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// proofs names the test that takes each action of this room through prove.Action.
var proofs = map[string]string{
	"table.blast-radius": "TestProveBlastRadius",
	"table.history":      "TestProveHistory",
	"table.promote":      "TestProvePromotion",
	"table.rollback":     "TestProveRollback",
	"table.restore":      "TestRestore/prove",
	"table.witness":      "TestProveWitness",
	"table.last-good":    "TestProveLastGood",
}

func TestMain(m *testing.M) { world.Main(m, Add, group.Add, access.Add, backup.Add, storage.Add) }

func TestEveryActionIsProven(t *testing.T) { prove.Listed(t, Add, proofs) }

func TestAlwaysPassIsCaught(t *testing.T) {
	t.Parallel()
	prove.AlwaysPassIsCaught(t, proofs, "table.promote", "table.witness")
}
