// Package secrets checks the secret store that recovery and clients read.
package secrets

import (
	"context"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/secret/vault"
	"breakwater/internal/system"
)

// systems is what this room needs of the outside systems.
type systems interface {
	Vault(ctx context.Context, e *estate.Estate, region string) (*vault.Client, error)
}

// room is what the actions of this room hang from.
type room struct {
	systems
	lake lake.Lake
}

func newRoom(s *system.Systems) room {
	return room{systems: s, lake: lake.New(s)}
}

// Add registers the actions of this room.
func Add(c *action.Catalogue, s *system.Systems) {
	r := newRoom(s)
	r.secretActions(c)
}
