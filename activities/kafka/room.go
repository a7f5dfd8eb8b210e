// Package kafka stops mirrors, says how far they came, and places consumer groups.
package kafka

import (
	"context"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/kafka/hold"
	"breakwater/internal/lake"
	"breakwater/internal/mirror"
	"breakwater/internal/system"
)

// systems is what this room needs of the outside systems.
type systems interface {
	FreshKafka(ctx context.Context, e *estate.Estate, region string) (*kafka.Client, func(), error)
	Kafka(ctx context.Context, e *estate.Estate, region string) (*kafka.Client, error)
	KafkaAsMirror(ctx context.Context, e *estate.Estate, region string) (*kafka.Client, func(), error)
	KafkaToChange(ctx context.Context, e *estate.Estate, region string) (*kafka.Client, error)
	Mirror(ctx context.Context, e *estate.Estate, source, target string) (mirror.Mirror, error)
	Names(e *estate.Estate, source, target string) mirror.Names
}

// room is what the actions of this room hang from.
type room struct {
	systems
	lake  lake.Lake
	times hold.Times // for which a group is held that a mirror moves so often
}

func newRoom(s *system.Systems) room {
	return room{systems: s, lake: lake.New(s), times: hold.Real}
}

// Add registers the actions of this room.
func Add(c *action.Catalogue, s *system.Systems) { newRoom(s).add(c) }

func (s room) add(c *action.Catalogue) {
	action.Add(c, s.kafkaWitness())
	action.Add(c, s.stopMirror())
	action.Add(c, s.kafkaPoint())
	action.Add(c, s.kafkaPromote())
}
