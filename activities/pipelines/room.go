// Package pipelines pauses and resumes pipelines, runs dates of them again, and sends a
// canary through them.
package pipelines

import (
	"context"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/lake"
	"breakwater/internal/mirror"
	"breakwater/internal/pipeline"
	"breakwater/internal/query"
	"breakwater/internal/system"
)

// systems is what this room needs of the outside systems.
type systems interface {
	Names(e *estate.Estate, source, target string) mirror.Names
	KafkaToChange(ctx context.Context, e *estate.Estate, region string) (*kafka.Client, error)
	QueryEngine() query.Engine
	Pipelines(ctx context.Context, e *estate.Estate, region, connector string, run action.Run) (pipeline.Connector, error)
}

// room is what the actions of this room hang from.
type room struct {
	systems
	lake lake.Lake
}

// Add registers the actions of this room.
func Add(c *action.Catalogue, s *system.Systems) {
	r := room{systems: s, lake: lake.New(s)}
	action.Add(c, r.pause())
	action.Add(c, r.unpause())
	action.Add(c, r.resume())
	action.Add(c, r.canary())
	action.Add(c, r.replay())
}
