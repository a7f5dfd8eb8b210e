package activities

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/lab/faults"

	"github.com/minio/madmin-go/v3"
)

func TestAccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	set := slices.Concat(faults.Accesses(w.faults), faults.Regions(w.faults))
	readOnly, readWrite := w.action("access.read-only"), w.action("access.read-write")
	t.Run("read-only", func(t *testing.T) { proveAction(t, readOnly, w.request(readOnly, "orders"), set) })
	t.Run("read-write", func(t *testing.T) {
		w.do(t, readOnly, "orders")
		proveAction(t, readWrite, w.request(readWrite, "orders"), set)
	})
	t.Run("read-write, broken off", func(t *testing.T) { proveHalfway(t, readWrite, w.request(readWrite, "orders")) })
	t.Run("read-only, broken off", func(t *testing.T) { proveHalfway(t, readOnly, w.request(readOnly, "clicks")) })
	w.nothingLeft(west, "lake-west")

	t.Run("somebody changes a user between plan and apply", func(t *testing.T) {
		r := w.request(readOnly, "clicks")
		plan, err := readOnly.Plan(t.Context(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plan.Summary, "no concurrency control") {
			t.Errorf("the plan hides that there is no concurrency control: %s", plan.Summary)
		}
		r.Plan = &plan
		if _, err := w.admin[west].AttachPolicy(t.Context(), attach("readonly", "clicks-reader")); err != nil {
			t.Fatal(err)
		}
		if _, err := readOnly.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) {
			t.Errorf("Apply = %v, want ErrMoved", err)
		}
		if _, err := w.admin[west].DetachPolicy(t.Context(), attach("readonly", "clicks-reader")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("two groups share a reader", func(t *testing.T) {
		// Both are planned before either is applied, as one stage does.
		for i := range w.estate.Groups {
			g := w.estate.Groups[i].Access
			g.Readers = append(g.Readers, w.estate.Groups[1-i].Access.Readers[1])
		}
		orders, clicks := w.request(readOnly, "orders"), w.request(readOnly, "clicks")
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
		r, _ := w.estate.Region(west)
		r.Storage.Provider = "aws"
		if _, err := readOnly.Plan(t.Context(), w.request(readOnly, "orders"), nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "not in this release") {
			t.Errorf("Plan = %v, want a refusal", err)
		}
	})
}

func attach(policy, user string) madmin.PolicyAssociationReq {
	return madmin.PolicyAssociationReq{Policies: []string{policy}, User: user}
}

// do plans and applies an action, for what stands before the one under test.
func (w *world) do(t *testing.T, def *action.Definition, item string) {
	t.Helper()
	r := w.request(def, item)
	plan, err := def.Plan(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Plan = &plan
	if _, err := def.Apply(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
}
