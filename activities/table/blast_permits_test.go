package table

import (
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/verdict"
)

// TestBlastRadiusNeedsItsPermits takes each right away that table.blast-radius declares at
// the object stores of the regions: without it a source of traces is unknown, by name.
// What it plans then is a plan of its own, so it is not [world.World.NeedsItsPermits].
func TestBlastRadiusNeedsItsPermits(t *testing.T) {
	t.Parallel()
	b := newBlasted(t)
	for _, r := range b.Estate.Regions { // of each region some events are to be read
		b.eventsIn(r.Region, "none.json", `{"eventTime":"2026-11-01T01:06:00Z","dataset":{"namespace":"s3://elsewhere","name":"scores"}}`)
	}
	def := b.Recorded("table.blast-radius")
	r := b.Request(def, "orders")
	rights := b.Only("", def)
	if len(rights) != 4 {
		t.Fatalf("it declares %q", rights)
	}
	b.Act(def, &r, nil)
	look := func() verdict.Verdict {
		t.Helper()
		obs, err := def.Verify(t.Context(), r, nil)
		b.Must(err)
		return action.Worst(obs)
	}
	if got := look(); got != verdict.Pass {
		t.Fatalf("with exactly what it declares: %s", got)
	}
	for _, right := range rights {
		b.Only(right, def)
		if got := look(); got != verdict.Unknown {
			t.Errorf("without %s: %s, want unknown", right, got)
		}
		b.Only("", def)
		if got := look(); got != verdict.Pass {
			t.Errorf("with %s again: %s", right, got)
		}
	}
}
