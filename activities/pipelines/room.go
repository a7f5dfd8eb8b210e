// Package pipelines pauses and resumes pipelines, and sends a canary through them.
package pipelines

import (
	"context"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
	"breakwater/internal/pipeline"
	"breakwater/internal/system"
)

// systems is what this room needs of the outside systems.
type systems interface {
	Names(e *estate.Estate, source, target string) mirror.Names
	KafkaToChange(ctx context.Context, e *estate.Estate, region string) (*kafka.Client, error)
	Pipelines(ctx context.Context, e *estate.Estate, region, connector string, run action.Run) (pipeline.Connector, error)
}

// room is what the actions of this room hang from.
type room struct{ systems }

// Add registers the actions of this room.
func Add(c *action.Catalogue, s *system.Systems) {
	r := room{s}
	action.Add(c, r.pause())
	action.Add(c, r.unpause())
	action.Add(c, r.resume())
	action.Add(c, r.canary())
}
