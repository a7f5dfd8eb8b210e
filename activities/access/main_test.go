package access

import (
	"testing"

	"breakwater/activities/group"
	"breakwater/activities/table"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// proofs names the test that takes each action of this room through prove.Action.
var proofs = map[string]string{
	"access.golden-queries": "TestProveGoldenQueries",
	"access.read-only":      "TestAccess/read-only",
	"access.read-write":     "TestAccess/read-write",
}

func TestMain(m *testing.M) { world.Main(m, Add, group.Add, table.Add) }

func TestEveryActionIsProven(t *testing.T) { prove.Listed(t, Add, proofs) }

func TestAlwaysPassIsCaught(t *testing.T) {
	t.Parallel()
	prove.AlwaysPassIsCaught(t, proofs, "access.read-only")
}
