package mm2

import (
	"context"
	"errors"
	"fmt"

	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
)

// checkpoints reads the newest checkpoint of every group and partition. A missing
// topic is fs.ErrNotExist: no checkpoint was ever written. Groups without a
// checkpoint of a partition are either new, or behind the oldest offset sync.
func checkpoints(ctx context.Context, target *kafka.Client, topic string) ([]mirror.Checkpoint, error) {
	type key struct {
		group string
		kafka.Partition
	}
	newest := make(map[key]int)
	var out []mirror.Checkpoint
	err := target.EachRecord(ctx, topic, func(r kafka.Record) error {
		if r.Value == nil {
			return nil // MirrorMaker writes none; a person may have
		}
		cp, err := decodeCheckpoint(r.Key, r.Value)
		if err != nil {
			return at(r, err)
		}
		k := key{cp.Group, cp.Partition}
		i, seen := newest[k]
		if !seen {
			i = len(out)
			newest[k], out = i, append(out, mirror.Checkpoint{})
		}
		out[i] = mirror.Checkpoint{Group: cp.Group, Partition: cp.Partition, Upstream: cp.Upstream, Downstream: cp.Downstream, At: r.Time}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read checkpoints in %s: %w", topic, err)
	}
	return out, nil
}

// offsetSyncs reads the syncs of every mirrored partition of the source. With MirrorMaker's
// default their topic is in the source and missing here: fs.ErrNotExist.
func offsetSyncs(ctx context.Context, target *kafka.Client, topic string) (map[kafka.Partition]mirror.Syncs, error) {
	raw := make(map[kafka.Partition][]mirror.Sync)
	err := target.EachRecord(ctx, topic, func(r kafka.Record) error {
		if r.Value == nil {
			return nil
		}
		s, err := decodeOffsetSync(r.Key, r.Value)
		if err != nil {
			return at(r, err)
		}
		s.At = r.Time
		raw[s.Partition] = append(raw[s.Partition], mirror.Sync(s))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read offset syncs in %s: %w", topic, err)
	}
	out := make(map[kafka.Partition]mirror.Syncs, len(raw))
	for p, s := range raw {
		out[p] = mirror.NewSyncs(s...)
	}
	return out, nil
}

// connectOffsets reads how far a source connector has come, from the topic in
// which its worker keeps offsets (offset.storage.topic; in dedicated mode
// mm2-offsets.<source>.internal). Deleted entries are left out.
func connectOffsets(ctx context.Context, target *kafka.Client, topic, connector string) (map[kafka.Partition]connectOffset, error) {
	out := make(map[kafka.Partition]connectOffset)
	err := target.EachRecord(ctx, topic, func(r kafka.Record) error {
		o, err := decodeConnectOffset(connector, r.Key, r.Value)
		switch {
		case errors.Is(err, errOther):
			return nil
		case err != nil:
			return at(r, err)
		case o.Delivered < 0:
			delete(out, o.Partition)
		default:
			if was, ok := out[o.Partition]; ok {
				if o.Fell = was.Fell; o.Delivered < was.Delivered {
					o.Fell = r.Time
				}
			}
			out[o.Partition] = o
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read offsets of connector %s: %w", connector, err)
	}
	return out, nil
}

// at says which record could not be read.
func at(r kafka.Record, err error) error {
	return fmt.Errorf("record %d of %s: %w", r.Offset, r.Partition, err)
}
