// Package storage fences, compares, rewinds and undeletes what lies in buckets.
package storage

import (
	"context"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/rewind"
	"breakwater/internal/system"
	"breakwater/internal/table"
)

// systems is what this room needs of the outside systems.
type systems interface {
	Bucket(ctx context.Context, e *estate.Estate, region, logical string) (objectstore.Bucket, error)
	Counter(ctx context.Context, e *estate.Estate, region string) (objectstore.Counter, error)
	Format(word string) (table.Format, error)
	Formats() table.Formats
	Fencer(ctx context.Context, e *estate.Estate, region string) (objectstore.Fencer, error)
	Overseer(ctx context.Context, e *estate.Estate, region string) (objectstore.Overseer, error)
	Replicator(ctx context.Context, e *estate.Estate, region string) (objectstore.Replicator, error)
	Storage(ctx context.Context, e *estate.Estate, region string) (objectstore.Store, error)
}

// room is what the actions of this room hang from.
type room struct {
	systems
	lake      lake.Lake
	partLines int // how many lines of a plan go into one part of it
}

func newRoom(s *system.Systems) room {
	return room{systems: s, lake: lake.New(s), partLines: rewind.PartLines}
}

// Add registers the actions of this room.
func Add(c *action.Catalogue, s *system.Systems) {
	r := newRoom(s)
	r.storageActions(c)
	r.rewindActions(c)
	r.undeleteActions(c)
	r.replicationActions(c)
}
