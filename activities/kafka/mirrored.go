package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
	"breakwater/internal/reach"
	"breakwater/internal/recovery"
	"breakwater/internal/witness"
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

// countAtMost is up to how many records of a partition are counted that are not
// mirrored: what is read of a source that is to be left.
const countAtMost = 10_000

// left counts what a source that has ended has not been mirrored of.
func (m mirrored) left(ctx context.Context, at map[kafka.Partition]mirror.Position, source map[kafka.Partition]kafka.DataEnd) (map[kafka.Partition]kafka.Counted, error) {
	from := kafka.Offsets{}
	for p := range source {
		from[p] = at[p].Rest().From
	}
	if len(from) == 0 {
		return nil, nil
	}
	n, err := m.source.Count(ctx, from, countAtMost)
	if reach.Unreachable(err) {
		return nil, nil
	}
	return n, err
}

// newestOf is when the newest copied record was written at the source, as far as its
// timestamps say so: else why they do not.
func newestOf(s kafka.Stamps, now time.Time, skew time.Duration) (at time.Time, why string) {
	switch {
	case s.Undated:
		return at, "its records carry no time"
	case s.Appended:
		return at, "its records are stamped with the time at which they came to the target (LogAppendTime)"
	case s.Fell > skew:
		return at, fmt.Sprintf("the times of its newest records fall by %s from one to the next", s.Fell)
	case s.Newest.After(now.Add(skew)):
		return at, fmt.Sprintf("its newest record is of %s, which is yet to come", s.Newest.UTC().Format(time.RFC3339Nano))
	}
	return s.Newest.UTC(), ""
}

// ended is where a source's partition ends: after its newest record, or as far as the
// mirror has come, which may have passed markers or aborted records behind it.
func ended(p recovery.PartitionState, e kafka.DataEnd) int64 {
	if p.From != nil {
		return max(e.Data, *p.From)
	}
	return max(e.Data, p.MirroredThrough)
}

// createdAnew says, for people, that a source's topic is another than the witness saw;
// empty if it is not, or nobody saw one.
func (s room) createdAnew(ctx context.Context, c action.Call[action.None], m mirrored, topic string) (string, error) {
	if c.Estate.Witness.Bucket == "" {
		return "", nil
	}
	j, err := s.topicJournal(ctx, c)
	if err != nil {
		return "", err
	}
	all, err := j.Read(ctx, topic)
	if errors.Is(err, witness.ErrForged) {
		return "", nil
	}
	if err != nil || len(all) == 0 || all[len(all)-1].ID == "" {
		return "", err
	}
	now, err := m.source.TopicID(ctx, topic)
	last := all[len(all)-1]
	if err != nil || now == last.ID {
		return "", err
	}
	return fmt.Sprintf("the source's topic is %s, and the witness saw %s at %s: it was created anew since", now, last.ID, last.Last.Format(time.RFC3339)), nil
}
