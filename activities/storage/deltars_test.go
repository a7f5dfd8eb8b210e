package storage

import (
	"fmt"
	"testing"

	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// readAs is what delta-rs is to find in a version.
func readAs(ids []int64) map[string]any {
	sum := int64(0)
	for _, id := range ids {
		sum += id
	}
	return map[string]any{"rows": float64(len(ids)), "sum": fmt.Sprint(sum)}
}

// TestRewindReadsBackInDeltaRS lets delta-rs read the head and the older versions
// of a rewound table.
func TestRewindReadsBackInDeltaRS(t *testing.T) {
	t.Parallel()
	l, all := world.RewoundLake(t)
	path := "orders/orders"
	got := l.DeltaRS(path, map[string]any{"do": "read", "versions": []int{1, 2, 3, 4, 5}})
	if got["head"] != float64(5) {
		t.Errorf("the head is %v", got["head"])
	}
	for v := 1; v <= 5; v++ {
		if want := readAs(all[v-1]); fmt.Sprint(got[fmt.Sprint(v)]) != fmt.Sprint(want) {
			t.Errorf("delta-rs reads version %d as %v, want %v", v, got[fmt.Sprint(v)], want)
		}
	}
}

// TestUndeleteAfterVacuumByDeltaRS brings back what a real VACUUM deleted.
func TestUndeleteAfterVacuumByDeltaRS(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	l.Run.SourceUnreachable = false
	path := "orders/orders"
	made := [][]int64{{1, 2, 3}, {10, 20}, {100}}
	if a := l.DeltaRS(path, map[string]any{"do": "make", "rows": made}); a["vacuumed"] != float64(2) {
		t.Fatalf("delta-rs vacuumed %v files, want 2", a["vacuumed"])
	}
	def := l.World.Action("storage.undelete")
	for version := range int64(2) {
		p := prove.With(t, undeleteParams{Version: &version})
		r := l.Request(def, "orders")
		ch, err := def.Plan(t.Context(), r, p)
		l.Must(err)
		r.Plan = &ch
		if out, err := def.Apply(t.Context(), r, p); err != nil || out.Mutations != 1 {
			t.Errorf("Apply of version %d = %+v, %v", version, out, err)
		}
		prove.Passes(t, def, r, p)
	}
	got := l.DeltaRS(path, map[string]any{"do": "read", "versions": []int{0, 1, 2}})
	for v, ids := range made {
		if fmt.Sprint(got[fmt.Sprint(v)]) != fmt.Sprint(readAs(ids)) {
			t.Errorf("delta-rs reads version %d as %v, want %v", v, got[fmt.Sprint(v)], readAs(ids))
		}
	}
}
