// Package estate checks an estate before anything is done to it.
package estate

import (
	"context"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/lake"
	"breakwater/internal/ledger/store"
	"breakwater/internal/mirror"
	"breakwater/internal/objectstore"
	"breakwater/internal/secret"
	"breakwater/internal/system"
	"breakwater/internal/table"

	"golang.org/x/crypto/ssh"
)

// systems is what this room needs of the outside systems.
type systems interface {
	Bucket(ctx context.Context, e *estate.Estate, region, logical string) (objectstore.Bucket, error)
	Kafka(ctx context.Context, e *estate.Estate, region string) (*kafka.Client, error)
	KafkaAsMirror(ctx context.Context, e *estate.Estate, region string) (*kafka.Client, func(), error)
	Ledger(ctx context.Context, e *estate.Estate) (store.Store, error)
	AccessAt(r *estate.Region) error
	Format(word string) (table.Format, error)
	Granter(ctx context.Context, e *estate.Estate, region string) (objectstore.Granter, error)
	Mirror(ctx context.Context, e *estate.Estate, source, target string) (mirror.Mirror, error)
	Names(e *estate.Estate, source, target string) mirror.Names
	StorageAs(ctx context.Context, e *estate.Estate, region string, ref estate.Ref, who string) (objectstore.Store, error)
	Secrets(ctx context.Context, e *estate.Estate, region string) (secret.Store, error)
	Signer(ctx context.Context, e *estate.Estate) (ssh.Signer, error)
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
	r.preflightActions(c)
}
