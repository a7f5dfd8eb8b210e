package prove

import (
	"context"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/system"
	"breakwater/internal/verdict"
)

// TestMissingNamesWhatWasNotSeen holds the demand of a room's Main against a room
// of one action with two faults.
func TestMissingNamesWhatWasNotSeen(t *testing.T) {
	all := Definitions(func(c *action.Catalogue, _ *system.Systems) {
		action.Add(c, action.Action[action.None]{
			Name: "room.look", Doc: "Looks.", Over: estate.Nothing, Effect: action.ReadOnly, Drill: action.DrillReadOnly,
			Verify:  func(context.Context, action.Call[action.None]) ([]action.Observation, error) { return nil, nil },
			RedWhen: []action.Red{{Fault: "a.fault", Want: verdict.Fail}, {Fault: "b.fault", Want: verdict.Unknown}},
		})
	})
	seen := map[string]map[fault.Name]bool{"room.look": {"a.fault": true, "b.fault": true}}
	if missing := unproven(all, seen); len(missing) > 0 {
		t.Errorf("everything was seen, and yet: %q", missing)
	}
	delete(seen["room.look"], "b.fault")
	if missing := unproven(all, seen); len(missing) != 1 || !strings.Contains(missing[0], "room.look unknown under b.fault") {
		t.Errorf("what was not seen is %q", missing)
	}
}
