package access

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/lab/faults"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

func TestAccess(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	set := slices.Concat(faults.Accesses(w.Faults), faults.Regions(w.Faults))
	readOnly, readWrite := w.Action("access.read-only"), w.Action("access.read-write")
	t.Run("read-only", func(t *testing.T) { prove.Action(t, readOnly, w.Request(readOnly, "orders"), set) })
	t.Run("read-write", func(t *testing.T) {
		w.Do(t, readOnly, "orders")
		prove.Action(t, readWrite, w.Request(readWrite, "orders"), set)
	})
	t.Run("read-write, broken off", func(t *testing.T) { prove.Halfway(t, readWrite, w.Request(readWrite, "orders")) })
	t.Run("read-only, broken off", func(t *testing.T) { prove.Halfway(t, readOnly, w.Request(readOnly, "clicks")) })
	w.NothingLeft(world.West, "lake-west")

	t.Run("somebody changes a user between plan and apply", func(t *testing.T) {
		r := w.Request(readOnly, "clicks")
		plan, err := readOnly.Plan(t.Context(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plan.Summary, "no concurrency control") {
			t.Errorf("the plan hides that there is no concurrency control: %s", plan.Summary)
		}
		r.Plan = &plan
		if _, err := w.Admin[world.West].AttachPolicy(t.Context(), world.Attach("readonly", "clicks-reader")); err != nil {
			t.Fatal(err)
		}
		if _, err := readOnly.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) {
			t.Errorf("Apply = %v, want ErrMoved", err)
		}
		if _, err := w.Admin[world.West].DetachPolicy(t.Context(), world.Attach("readonly", "clicks-reader")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("two groups share a reader", func(t *testing.T) {
		// Both are planned before either is applied, as one stage does.
		for i := range w.Estate.Groups {
			g := w.Estate.Groups[i].Access
			g.Readers = append(g.Readers, w.Estate.Groups[1-i].Access.Readers[1])
		}
		orders, clicks := w.Request(readOnly, "orders"), w.Request(readOnly, "clicks")
		for _, r := range []*action.Request{&orders, &clicks} {
			plan, err := readOnly.Plan(t.Context(), *r, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Plan = &plan
		}
		for _, r := range []action.Request{orders, clicks} {
			if _, err := readOnly.Apply(t.Context(), r, nil); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("aws is refused before anything is done", func(t *testing.T) {
		r, _ := w.Estate.Region(world.West)
		r.Storage.Provider = "aws"
		if _, err := readOnly.Plan(t.Context(), w.Request(readOnly, "orders"), nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "not in this release") {
			t.Errorf("Plan = %v, want a refusal", err)
		}
	})
}
