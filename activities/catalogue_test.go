package activities

import (
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/system"
)

// TestActionsAreInTheirRoom holds each action's name against the room that
// registers it, and the whole catalogue against the contract.
func TestActionsAreInTheirRoom(t *testing.T) {
	for _, r := range Rooms() {
		c := action.NewCatalogue()
		r.Add(c, &system.Systems{})
		if len(c.All()) == 0 {
			t.Errorf("room %s registers nothing", r.Name)
		}
		for _, d := range c.All() {
			if room, _, _ := strings.Cut(d.Name, "."); room != r.Name {
				t.Errorf("room %s registers %s", r.Name, d.Name)
			}
		}
	}
	if err := Catalogue(&system.Systems{}).Err(); err != nil {
		t.Error(err)
	}
}
