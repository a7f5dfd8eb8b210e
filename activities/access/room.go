// Package access gives people access at the target, and proves it with their own credentials.
package access

import (
	"context"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/query"
	"breakwater/internal/system"
	"breakwater/internal/table"
)

// systems is what this room needs of the outside systems.
type systems interface {
	QueryEngine() query.Engine
	Storage(ctx context.Context, e *estate.Estate, region string) (objectstore.Store, error)
	StorageAs(ctx context.Context, e *estate.Estate, region string, ref estate.Ref, who string) (objectstore.Store, error)
	AccessAt(r *estate.Region) error
	Format(word string) (table.Format, error)
	Granter(ctx context.Context, e *estate.Estate, region string) (objectstore.Granter, error)
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
	action.Add(c, r.readOnly())
	action.Add(c, r.readWrite())
	r.goldenActions(c)
}

// canGive says why rights cannot be given at a region's storage.
func (s room) canGive(r *estate.Region) error { return s.AccessAt(r) }
