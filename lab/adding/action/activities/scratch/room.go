// Package scratch is the room of the example: one small action, with all that an
// action owes. No worker serves it; activities/catalogue.go would name a real room.
package scratch

import (
	"context"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/system"
)

// systems is what this room needs of the outside systems.
type systems interface {
	Bucket(ctx context.Context, e *estate.Estate, region, logical string) (objectstore.Bucket, error)
}

// room is what the actions of this room hang from.
type room struct {
	systems
}

// Add registers the actions of this room.
func Add(c *action.Catalogue, s *system.Systems) {
	action.Add(c, room{s}.note())
}
