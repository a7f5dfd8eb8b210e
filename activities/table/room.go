// Package table promotes, rolls back, restores and witnesses tables.
package table

import (
	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/system"
)

// room is what the actions of this room hang from.
type room struct {
	lake lake.Lake
}

func newRoom(s *system.Systems) room {
	return room{lake: lake.New(s)}
}

// Add registers the actions of this room.
func Add(c *action.Catalogue, s *system.Systems) {
	r := newRoom(s)
	r.promoteActions(c)
	r.historyActions(c)
	r.rollbackActions(c)
	r.restoreActions(c)
	r.witnessActions(c)
}
