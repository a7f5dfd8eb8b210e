// Package table promotes, rolls back, restores and witnesses tables, and finds their last
// good version.
package table

import (
	"context"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/lake"
	"breakwater/internal/mirror"
	"breakwater/internal/query"
	"breakwater/internal/system"
)

// systems is what this room needs of the outside systems, beside the tables themselves.
type systems interface {
	Kafka(ctx context.Context, e *estate.Estate, region string) (*kafka.Client, error)
	Names(e *estate.Estate, source, target string) mirror.Names
	QueryEngine() query.Engine
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
	r.blastActions(c)
	r.promoteActions(c)
	r.historyActions(c)
	r.lastGoodActions(c)
	r.rollbackActions(c)
	r.restoreActions(c)
	r.witnessActions(c)
}
