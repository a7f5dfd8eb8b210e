// Package obligations checks what a run left to prove later.
package obligations

import (
	"breakwater/internal/action"
	"breakwater/internal/system"
)

// room is what the actions of this room hang from.
type room struct{}

func newRoom(_ *system.Systems) room {
	return room{}
}

// Add registers the actions of this room.
func Add(c *action.Catalogue, s *system.Systems) {
	r := newRoom(s)
	r.obligationActions(c)
}
