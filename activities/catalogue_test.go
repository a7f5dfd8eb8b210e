package activities

import (
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/system"
)

// TestActionsAreInTheirRoom holds each action's name against the room that
// registers it, and the whole catalogue against the contract. That an action asks for
// nothing but what its rules say, the proof of each holds.
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
			if !d.IsCheck() && len(d.Rules) == 0 {
				t.Errorf("%s changes something, and no rule says which requests follow from its plans", d.Name)
			}
		}
	}
	for _, d := range Catalogue(&system.Systems{}).All() {
		if d.Permits == nil {
			t.Errorf("%s does not declare what it must be allowed: name its Permits, permit.Nothing() where it asks nobody", d.Name)
		}
	}
	if err := Catalogue(&system.Systems{}).Err(); err != nil {
		t.Error(err)
	}
}
