package mirrortest

import (
	"context"
	"errors"
	"io/fs"
	"maps"

	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
)

// Between is a pair on two clusters of Kafka: all but its times. Send sends one record
// to a partition of the source, in a batch of its own: a mirror may relate the numbers
// of batches alone.
func Between(m mirror.Mirror, source, target *kafka.Client, topic string, send func(context.Context, kafka.Partition) error) Pair {
	return Pair{
		Mirror: m, Source: source, Topic: topic, Committed: target.CommittedOffsets,
		Produce: func(ctx context.Context, n int) error {
			ends, err := source.Ends(ctx, topic)
			if err != nil {
				return err
			}
			for range n {
				for p := range ends {
					if err := send(ctx, p); err != nil {
						return err
					}
				}
			}
			return nil
		},
		Held: func(ctx context.Context) (map[kafka.Partition][]int64, error) {
			there := m.Names().AtTarget(topic)
			ends, err := target.Ends(ctx, there)
			if err != nil {
				return nil, err
			}
			held := make(map[kafka.Partition][]int64, len(ends))
			for p := range ends {
				held[kafka.Partition{Topic: topic, ID: p.ID}] = nil
			}
			return held, target.EachRecord(ctx, there, func(r kafka.Record) error {
				p := kafka.Partition{Topic: topic, ID: r.Partition.ID}
				held[p] = append(held[p], r.Offset)
				return nil
			})
		},
		Ends: func(ctx context.Context, topics []string) (map[kafka.Partition]kafka.Ends, error) {
			all := map[kafka.Partition]kafka.Ends{}
			for _, t := range topics {
				ends, err := target.Ends(ctx, t)
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					return nil, err
				}
				maps.Copy(all, ends)
			}
			return all, nil
		},
		Commit: func(ctx context.Context, group string, at int64) error {
			ends, err := source.Ends(ctx, topic)
			if err != nil {
				return err
			}
			to := kafka.Offsets{}
			for p := range ends {
				to[p] = at
			}
			return source.CommitOffsets(ctx, group, to)
		},
	}
}
