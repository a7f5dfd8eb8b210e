package pipelines

import (
	"context"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
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

	// A mirror that renames topics calls the canary's otherwise, and the target's own topic
	// of that name is none of the group's.
	const copied = "east.orders"
	m.Must(m.Target.CreateTopic(t.Context(), copied, world.Parts))
	m.Estate.Regions[0].Kafka = &estate.Kafka{Alias: "east"}
	m.Estate.Regions[1].Connect = &estate.Connect{}
	m.Eventually("the broker knows the topic", func(ctx context.Context) error {
		_, err := k.Ends(ctx, copied)
		return err
	})
	m.Commit(m.Target, "whole", copied, 0)
	obs := m.Is(def, m.Request(def, "orders"), verdict.Pass)
	if after := ends(); after != before || !strings.Contains(prove.Told(obs), "through topic "+copied) || !strings.Contains(prove.Told(obs), "no consumer group of "+copied) {
		t.Errorf("with a mirror that renames, %d records were sent to orders:\n%s", after-before, prove.Told(obs))
	}
}
