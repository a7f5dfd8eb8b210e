package group

import (
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/ledger"
	"breakwater/internal/verdict"
	"breakwater/lab/world"
)

// What nobody signed who counts bounds no loss: people are told so, by its place, and the
// group comes back all the same.
func TestForgedSightings(t *testing.T) {
	t.Parallel()
	l := world.OrdersLake(t)
	d := l.Recorded("group.recovery-point")
	plan := func() action.Change {
		ch, err := d.Plan(t.Context(), l.Request(d, "orders"), nil)
		l.Must(err)
		return ch
	}
	before := plan()
	b := l.RootBucket(world.West)
	key := l.Journal(b).HeadsKey("orders")
	signed, _, err := b.Get(t.Context(), key)
	l.Must(err)
	_, err = b.Put(t.Context(), key, ledger.DocBody(signed))
	l.Must(err)
	after := plan()
	if len(before.Accepts) > 0 || !slices.ContainsFunc(after.Accepts, func(a action.Acceptance) bool {
		return a.ID == "forged-journal table:orders" && strings.Contains(a.Sentence, key)
	}) {
		t.Errorf("a gate accepts %+v, and did before %+v", after.Accepts, before.Accepts)
	}
	if string(before.Data) == string(after.Data) {
		t.Error("sightings that nobody signed are used")
	}
	r, _ := l.Do("group.recovery-point", "orders")
	l.Verified("group.recovery-point", r, verdict.Pass)
}
