package kafka

import (
	"context"
	"errors"
	"fmt"

	"breakwater/internal/action"
	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
	"breakwater/internal/reach"
)

// mirrored is the mirror into the run's target, with both of its ends.
type mirrored struct {
	mirror.Mirror
	target *kafka.Client
	source *kafka.Client // nil where nobody may ask it, or it cannot be asked
}

// mirrorOf connects to both ends of the mirror. A source that was accepted as
// unreachable, or whose credentials cannot be reached, is not asked.
func (s room) mirrorOf(ctx context.Context, c action.Call[action.None]) (mirrored, error) {
	var m mirrored
	src, err := c.Estate.RegionNamed(c.Run.Source)
	if err != nil {
		return m, err
	}
	m.Mirror, err = s.Mirror(ctx, c.Estate, c.Run.Source, c.Run.Target)
	none := errors.Is(err, mirror.ErrNone)
	switch {
	case err != nil && !none:
		return m, err
	case src.Kafka == nil:
		return m, fmt.Errorf("%w: region %s has no kafka in the estate", action.ErrRefused, c.Run.Source)
	case none:
		return m, fmt.Errorf("%w: %s, so nobody can say how far topics are mirrored; add connect to the region", action.ErrRefused, noMirror(c.Run.Target))
	}
	if m.target, err = s.Kafka(ctx, c.Estate, c.Run.Target); err != nil {
		return m, err
	}
	if c.Run.SourceUnreachable {
		return m, nil
	}
	if m.source, err = s.Kafka(ctx, c.Estate, c.Run.Source); reach.Unreachable(err) {
		m.source, err = nil, nil
	}
	return m, err
}

func noMirror(region string) string {
	return "the estate names no Connect that mirrors into " + region
}

// positions is how far topics are mirrored; see [mirror.Mirror].
func (m mirrored) positions(ctx context.Context, topics ...string) (at map[kafka.Partition]mirror.Position, silence, err error) {
	var source mirror.Source // nil, and not a client that is nil
	if m.source != nil {
		source = m.source
	}
	return m.Positions(ctx, source, topics...)
}

// translation is what the mirror knows of consumer groups; nothing if it is not able
// to translate any.
func (m mirrored) translation(ctx context.Context) (mirror.Translation, error) {
	t, ok := m.Mirror.(mirror.Translator)
	if !ok {
		return mirror.Translation{}, nil
	}
	return t.Translation(ctx)
}

// delivered is what a mirror says that it has delivered of a topic: in its own words,
// or where it has none, by the target's.
func delivered(ctx context.Context, m mirror.Mirror, topic string) (map[kafka.Partition]int64, error) {
	if t, ok := m.(mirror.Teller); ok {
		return t.Delivered(ctx)
	}
	at, _, err := m.Positions(ctx, nil, topic) // that the source is silent is known: nobody asks it
	next := make(map[kafka.Partition]int64, len(at))
	for p, pos := range at {
		next[p] = pos.Next
	}
	return next, err
}
