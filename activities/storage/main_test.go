package storage

import (
	"testing"

	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// proofs names the test that takes each action of this room through prove.Action.
var proofs = map[string]string{
	"storage.fence":            "TestStorageFence",
	"storage.rewind":           "TestProveRewind",
	"storage.late-replicas":    "TestLateReplicas",
	"storage.replication":      "TestReplication",
	"storage.standby-ready":    "TestStandbyReady",
	"storage.stop-replication": "TestStopReplication",
	"storage.undelete":         "TestProveUndelete",
	"storage.unfence":          "TestStorageFence",
}

func TestMain(m *testing.M) { world.Main(m, Add) }

func TestEveryActionIsProven(t *testing.T) { prove.Listed(t, Add, proofs) }

func TestAlwaysPassIsCaught(t *testing.T) {
	t.Parallel()
	prove.AlwaysPassIsCaught(t, proofs, "storage.fence", "storage.stop-replication")
}
