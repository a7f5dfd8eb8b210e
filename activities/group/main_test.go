package group

import (
	"testing"

	"breakwater/activities/access"
	"breakwater/activities/table"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// proofs names the test that takes each action of this room through prove.Action.
var proofs = map[string]string{
	"group.recovery-point": "TestProveRecoveryPoint",
}

func TestMain(m *testing.M) { world.Main(m, Add, table.Add, access.Add) }

func TestEveryActionIsProven(t *testing.T) { prove.Listed(t, Add, proofs) }

func TestAlwaysPassIsCaught(t *testing.T) {
	t.Parallel()
	prove.AlwaysPassIsCaught(t, proofs)
}
