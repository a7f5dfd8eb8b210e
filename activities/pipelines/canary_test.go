package pipelines

import (
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

func TestCanary(t *testing.T) {
	t.Parallel()
	m := world.NewBroker(t)
	def := m.World.Action("pipelines.canary")
	prove.Action(t, def, m.Request(def, "orders"), m.FaultSet("whole"))
	k, err := m.Systems.Kafka(t.Context(), m.Estate, world.West)
	m.Must(err)
	ends := func() (n int64) {
		all, err := k.Ends(t.Context(), "orders")
		m.Must(err)
		for _, e := range all {
			n += e.End
		}
		return n
	}
	before := ends()
	for _, mode := range []action.Mode{action.ModePlan, action.ModeDrill} {
		r := m.Request(def, "orders")
		r.Run.Mode = mode
		m.Is(def, r, verdict.Unknown)
	}
	m.Is(def, m.Request(def, "untried"), verdict.Unknown)
	m.Is(def, m.Request(def, "mute"), verdict.Nothing)
	if after := ends(); after != before {
		t.Errorf("%d records were sent outside a live run", after-before)
	}
}
