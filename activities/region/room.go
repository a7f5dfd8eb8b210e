// Package region asks whether regions answer.
package region

import (
	"context"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/objectstore"
	"breakwater/internal/secret"
	"breakwater/internal/system"
)

// systems is what this room needs of the outside systems.
type systems interface {
	Bucket(ctx context.Context, e *estate.Estate, region, logical string) (objectstore.Bucket, error)
	Kafka(ctx context.Context, e *estate.Estate, region string) (*kafka.Client, error)
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
	r.regionActions(c)
}
