package kafka

import (
	"testing"

	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// proofs names the test that takes each action of this room through prove.Action.
var proofs = map[string]string{
	"kafka.promote":        "TestDenialOnBrokers/proof",
	"kafka.recovery-point": "TestKafka/recovery_point",
	"kafka.stop-mirror":    "TestKafka/stop",
	"kafka.witness":        "TestKafka/witness",
}

func TestMain(m *testing.M) { world.Main(m, Add) }

func TestEveryActionIsProven(t *testing.T) { prove.Listed(t, Add, proofs) }

func TestAlwaysPassIsCaught(t *testing.T) {
	t.Parallel()
	prove.AlwaysPassIsCaught(t, proofs)
}
