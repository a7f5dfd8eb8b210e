package pipelines

import (
	"testing"

	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// proofs names the test that takes each action of this room through prove.Action.
var proofs = map[string]string{
	"pipelines.canary":  "TestCanary",
	"pipelines.pause":   "TestPipelines/pause",
	"pipelines.replay":  "TestReplay/proof",
	"pipelines.resume":  "TestPipelines/resume",
	"pipelines.unpause": "TestPipelines/unpause",
}

func TestMain(m *testing.M) { world.Main(m, Add) }

func TestEveryActionIsProven(t *testing.T) { prove.Listed(t, Add, proofs) }

func TestAlwaysPassIsCaught(t *testing.T) {
	t.Parallel()
	prove.AlwaysPassIsCaught(t, proofs)
}
