// Package secrets checks the secret store that recovery and clients read.
package secrets

import (
	"context"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/secret"
	"breakwater/internal/system"
)

// systems is what this room needs of the outside systems.
type systems interface {
	Secrets(ctx context.Context, e *estate.Estate, region string) (secret.Store, error)
}

// room is what the actions of this room hang from.
type room struct {
	systems
}

func newRoom(s *system.Systems) room {
	return room{systems: s}
}

// Add registers the actions of this room.
func Add(c *action.Catalogue, s *system.Systems) {
	r := newRoom(s)
	r.secretActions(c)
}
