// Package kafka stops mirrors, says how far they came, and places consumer groups.
package kafka

import (
	"context"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/credential"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/kafka/connect"
	"breakwater/internal/lake"
	"breakwater/internal/system"
)

// systems is what this room needs of the outside systems.
type systems interface {
	HoldTimes() func(every time.Duration) (quiet, within time.Duration)
	Connect(ctx context.Context, e *estate.Estate, region string) (*connect.Client, *estate.Connect, error)
	Credentials(ctx context.Context, e *estate.Estate, region string, ref estate.Ref, wanted string) (credential.Values, error)
	FreshKafka(ctx context.Context, e *estate.Estate, region string) (*kafka.Client, func(), error)
	Kafka(ctx context.Context, e *estate.Estate, region string) (*kafka.Client, error)
	KafkaToChange(ctx context.Context, e *estate.Estate, region string) (*kafka.Client, error)
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
	r.kafkaActions(c)
}
