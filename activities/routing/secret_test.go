package routing

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/lab/faults"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

func TestRoutingSecret(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	def := w.Action("routing.secret")
	set := slices.Concat(faults.Vaults(w.Faults), faults.Regions(w.Faults))
	t.Run("life", func(t *testing.T) { prove.Action(t, def, w.Request(def, "orders"), set) })

	t.Run("somebody else writes between plan and apply", func(t *testing.T) {
		r := w.Request(def, "clicks")
		plan, err := def.Plan(t.Context(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(plan.Effects) != 1 || !strings.Contains(plan.Effects[0].Do, "region="+world.West) {
			t.Errorf("the plan does not show the value: %+v", plan.Effects)
		}
		if _, err := w.Vault[world.West].KVv2(world.Mount).Put(t.Context(), "lakehouse/clicks", map[string]any{"password": "hunter2"}); err != nil {
			t.Fatal(err)
		}
		r.Plan = &plan
		if _, err := def.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) {
			t.Errorf("Apply = %v, want ErrMoved", err)
		}
		now, err := w.Vault[world.West].KVv2(world.Mount).Get(t.Context(), "lakehouse/clicks")
		if err != nil || now.Data["password"] != "hunter2" {
			t.Errorf("their secret is gone: %v", err)
		}
	})

	t.Run("what is no region's value is not copied into the ledger", func(t *testing.T) {
		r := w.Request(def, "clicks")
		plan, err := def.Plan(t.Context(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := action.Encode(plan)
		if err != nil || strings.Contains(string(text), "hunter2") {
			t.Fatalf("the plan holds the secret, %v: %s", err, text)
		}
		r.Plan = &plan
		r.Guard = func(context.Context) error { return nil }
		if _, err := def.Apply(t.Context(), r, nil); err != nil {
			t.Fatal(err)
		}
		back, err := def.UndoPlan(t.Context(), r, nil)
		text, encoded := action.Encode(back)
		if err != nil || encoded != nil || len(back.Effects) != 1 || strings.Contains(string(text), "hunter2") {
			t.Errorf("UndoPlan = %s, %v, %v; want one that names the version to bring back, and not its text", text, err, encoded)
		}
	})

	t.Run("back to what was", func(t *testing.T) { backToWhatWas(t, w, def) })
}
