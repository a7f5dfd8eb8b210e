// Package pipelines pauses and resumes pipelines, and sends a canary through them.
package pipelines

import (
	"context"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/system"

	"go.temporal.io/sdk/client"
)

// systems is what this room needs of the outside systems.
type systems interface {
	Schedules() client.Client
	KafkaToChange(ctx context.Context, e *estate.Estate, region string) (*kafka.Client, error)
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
	r.pipelineActions(c)
}
