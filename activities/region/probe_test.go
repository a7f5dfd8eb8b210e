package region

import (
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/verdict"
	"breakwater/lab/faults"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

func TestRegionProbe(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	w.Brokers()
	def := w.Action("region.probe")
	r := w.Request(def, "")
	prove.Action(t, def, r, faults.Regions(w.Faults))

	t.Run("a source that answers is a planned move", func(t *testing.T) {
		obs, err := def.Verify(t.Context(), r, nil)
		if err != nil || action.Worst(obs) != verdict.Pass {
			t.Fatalf("%v\n%s", err, prove.Told(obs))
		}
		n := 0
		for _, o := range obs {
			if strings.Contains(o.Got, "planned move") {
				n++
			}
		}
		if n != 6 || len(obs) != 12 {
			t.Errorf("%d of %d observations speak of a planned move, want 6 of 12\n%s", n, len(obs), prove.Told(obs))
		}
	})
	t.Run("frozen: connections are accepted and nothing answers", func(t *testing.T) {
		w.Minio[world.East].Freeze(t)
		obs, err := def.Verify(t.Context(), r, nil)
		w.Minio[world.East].Thaw(t)
		if err != nil || !action.OnlySourceUnreachable(obs) {
			t.Fatalf("%v\n%s", err, prove.Told(obs))
		}
	})
	t.Run("the dead source leaves one obligation", func(t *testing.T) {
		f, err := faults.Regions(w.Faults).Find("region.source-unreachable")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Inject(t.Context()); err != nil {
			t.Fatal(err)
		}
		obs, err := def.Verify(t.Context(), r, nil)
		if err != nil || !action.OnlySourceUnreachable(obs) {
			t.Fatalf("%v\n%s", err, prove.Told(obs))
		}
		const owed = "When us-east-1 answers again, prove that its writers are fenced before anybody uses it"
		for _, o := range obs {
			if o.Verdict == verdict.Unknown && o.Obligation != owed {
				t.Errorf("obligation %q, want %q", o.Obligation, owed)
			}
		}
		if err := f.Heal(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("another cluster answers at the address", func(t *testing.T) {
		reg, _ := w.Estate.Region(world.West)
		reg.Kafka.ClusterID = "of-last-year"
		defer func() { reg.Kafka.ClusterID = "cluster-" + world.West }()
		if obs, err := def.Verify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Fail {
			t.Errorf("%v\n%s", err, prove.Told(obs))
		}
	})
}
