package estate

import (
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/verdict"
	"breakwater/lab/world"
)

// TestPreflightLacks: what the estate lacks for a run is shown with its price, and fails
// where a step cannot pass without it; and that there is no witness is put to the gate.
func TestPreflightLacks(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	w.Brokers()
	def := w.Action("estate.preflight")
	r := w.Request(def, "")
	for _, tc := range []struct {
		lacks []estate.Lack
		want  verdict.Verdict
		say   string
	}{
		{nil, verdict.Pass, "nothing"},
		{[]estate.Lack{{Text: "no routing", Price: "by hand"}}, verdict.Pass, "no routing; by hand"},
		{[]estate.Lack{{Text: "no routing", Price: "by hand"}, {Text: "no writers"}}, verdict.Fail, "no writers"},
	} {
		r.Lacks = tc.lacks
		obs, err := def.Verify(t.Context(), r, nil)
		w.Must(err)
		said, unwitnessed := false, false
		for _, o := range obs {
			said = said || strings.Contains(o.What, "lacks") && o.Got == tc.say
			unwitnessed = unwitnessed || o.Accept == action.AcceptUnwitnessed && o.Verdict == verdict.Pass
		}
		if !said || !unwitnessed || action.Worst(obs) != tc.want {
			t.Errorf("of %+v: %s, want %s and %q: %+v", tc.lacks, action.Worst(obs), tc.want, tc.say, obs)
		}
	}
}
