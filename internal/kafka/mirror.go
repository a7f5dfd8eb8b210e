package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"breakwater/internal/reach"
)

// Checkpoints reads the newest checkpoint of every (group, partition) from the
// target's topic <source>.checkpoints.internal. A missing topic is fs.ErrNotExist:
// no checkpoint was ever written. Groups without a checkpoint of a partition are
// either new, or behind the oldest offset sync, see [PlanGroup].
func (c *Client) Checkpoints(ctx context.Context, source string) ([]Checkpoint, error) {
	type key struct {
		group string
		Partition
	}
	newest := make(map[key]int)
	var out []Checkpoint
	err := c.readAll(ctx, source+".checkpoints.internal", func(r *kgo.Record) error {
		if r.Value == nil {
			return nil // MirrorMaker writes none; a person may have
		}
		cp, err := DecodeCheckpoint(r.Key, r.Value)
		if err != nil {
			return at(r, err)
		}
		k := key{cp.Group, cp.Partition}
		if i, seen := newest[k]; seen {
			out[i] = cp
			return nil
		}
		newest[k] = len(out)
		out = append(out, cp)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read checkpoints of %s: %w", source, err)
	}
	return out, nil
}

// OffsetSyncs reads the syncs of every mirrored partition from the target's
// topic mm2-offset-syncs.<source>.internal. With MirrorMaker's default the topic
// is in the source and missing here: fs.ErrNotExist.
func (c *Client) OffsetSyncs(ctx context.Context, source string) (map[Partition]Syncs, error) {
	raw := make(map[Partition][]OffsetSync)
	err := c.readAll(ctx, "mm2-offset-syncs."+source+".internal", func(r *kgo.Record) error {
		if r.Value == nil {
			return nil
		}
		s, err := DecodeOffsetSync(r.Key, r.Value)
		if err != nil {
			return at(r, err)
		}
		raw[s.Partition] = append(raw[s.Partition], s)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read offset syncs of %s: %w", source, err)
	}
	out := make(map[Partition]Syncs, len(raw))
	for p, s := range raw {
		out[p] = NewSyncs(s...)
	}
	return out, nil
}

// Heartbeats reads the newest heartbeat of each pair of aliases from the
// target's topic <source>.heartbeats: the last sign that a record made the whole
// way. A missing topic is fs.ErrNotExist.
func (c *Client) Heartbeats(ctx context.Context, source string) ([]Heartbeat, error) {
	newest := make(map[[2]string]Heartbeat)
	err := c.readAll(ctx, source+".heartbeats", func(r *kgo.Record) error {
		if r.Value == nil {
			return nil
		}
		h, err := DecodeHeartbeat(r.Key, r.Value)
		if err != nil {
			return at(r, err)
		}
		k := [2]string{h.Source, h.Target}
		if old, seen := newest[k]; !seen || h.Time.After(old.Time) {
			newest[k] = h
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read heartbeats of %s: %w", source, err)
	}
	out := make([]Heartbeat, 0, len(newest))
	for _, h := range newest {
		out = append(out, h)
	}
	return out, nil
}

// ConnectOffsets reads how far a source connector has come, from the topic in
// which its worker keeps offsets (offset.storage.topic; in dedicated mode
// mm2-offsets.<source>.internal). Deleted entries are left out.
func (c *Client) ConnectOffsets(ctx context.Context, topic, connector string) (map[Partition]ConnectOffset, error) {
	out := make(map[Partition]ConnectOffset)
	err := c.readAll(ctx, topic, func(r *kgo.Record) error {
		o, err := DecodeConnectOffset(r.Key, r.Value)
		switch {
		case errors.Is(err, errOther):
			return nil
		case err != nil:
			return at(r, err)
		case o.Connector != connector:
		case o.Delivered < 0:
			delete(out, o.Partition)
		default:
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
func at(r *kgo.Record, err error) error {
	return fmt.Errorf("record %d of %s: %w", r.Offset, Partition{r.Topic, r.Partition}, err)
}

// Mirror names a mirror as its target knows it.
type Mirror struct {
	Source       string   // alias of the source cluster
	Connector    string   // name of the MirrorSourceConnector
	OffsetsTopic string   // the worker's offset.storage.topic
	Topics       []string // the mirrored topics
}

// MirrorPosition is how far a partition was mirrored, and what is known of the rest.
type MirrorPosition struct {
	Partition Partition

	Delivered bool  // a record of this partition was ever delivered
	Next      int64 // first source offset not known to be delivered; 0 if none was

	Target Ends      // the mirror's log
	Newest time.Time // newest timestamp of a mirrored record; zero if there is none

	// Source is nil when the source did not answer: then nothing is known about
	// the records from Next on, not even whether there are any.
	Source *Ends
}

// Drained reports whether every committed record of the source is at the
// target, and whether that is known at all. It may say "not drained" where only
// control markers are left, never the reverse; records of an open transaction,
// which lie above the last stable offset, keep it from being drained.
func (p MirrorPosition) Drained() (drained, known bool) {
	if p.Source == nil {
		return false, false
	}
	empty := p.Source.Start == p.Source.End
	return p.Source.Stable == p.Source.End && (empty || p.Next >= p.Source.End), true
}

// Expired reports whether the source deleted records that were never delivered:
// MirrorMaker then goes on at the start of the log without a word.
func (p MirrorPosition) Expired() (expired, known bool) {
	if p.Source == nil {
		return false, false
	}
	return p.Source.Start > p.Next, true
}

// MirrorPositions reads how far m has come, from its target. The source may be
// nil, or not answer: then its part is unknown, and silence carries the error of
// that; any other refusal by the source is an error. A topic missing at the
// target is fs.ErrNotExist.
//
// The source's ends are read last: what is delivered after Next was read can
// only make the mirror look worse than it is.
func (c *Client) MirrorPositions(ctx context.Context, m Mirror, source *Client) (at map[Partition]MirrorPosition, silence, err error) {
	fail := func(err error) (map[Partition]MirrorPosition, error, error) {
		return nil, nil, fmt.Errorf("read position of mirror %s: %w", m.Connector, err)
	}
	delivered, err := c.ConnectOffsets(ctx, m.OffsetsTopic, m.Connector)
	if err != nil {
		return fail(err)
	}
	target, err := c.Ends(ctx, m.Topics...)
	if err != nil {
		return fail(err)
	}
	newest, err := c.Newest(ctx, m.Topics...)
	if err != nil {
		return fail(err)
	}
	var ends map[Partition]Ends
	if source == nil {
		silence = fmt.Errorf("read ends of source %s: no client for it: %w", m.Source, reach.ErrUnreachable)
	} else if ends, err = source.Ends(ctx, m.Topics...); err != nil {
		if !reach.Unreachable(err) {
			return fail(fmt.Errorf("read ends of source %s: %w", m.Source, err))
		}
		silence = fmt.Errorf("read ends of source %s: %w", m.Source, err)
	}
	at = make(map[Partition]MirrorPosition, len(target))
	for p, e := range target {
		o, known := delivered[p]
		if known && o.Cluster != m.Source {
			return fail(fmt.Errorf("%v was delivered from cluster %q, want %q: %w", p, o.Cluster, m.Source, fs.ErrNotExist))
		}
		pos := MirrorPosition{Partition: p, Delivered: known, Target: e, Newest: newest[p]}
		if known {
			pos.Next = o.Next()
		}
		if ends != nil {
			s, ok := ends[p]
			if !ok {
				return fail(fmt.Errorf("the source has no partition %v: the topics do not match: %w", p, fs.ErrNotExist))
			}
			pos.Source = &s
		}
		at[p] = pos
	}
	for p := range ends {
		if _, ok := target[p]; !ok {
			return fail(fmt.Errorf("the target has no partition %v: the topics do not match: %w", p, fs.ErrNotExist))
		}
	}
	return at, silence, nil
}
