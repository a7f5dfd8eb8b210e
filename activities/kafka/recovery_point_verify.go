package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/kafka"
	"breakwater/internal/plural"
	"breakwater/internal/record"
	"breakwater/internal/recovery"
)

// verifyTopicPoint holds the record against the worker's own answer, the logs of
// the target, and the source.
func (s room) verifyTopicPoint(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	topic := c.Item.Name
	const what = "the recorded point is the planned one"
	st, _, err := record.TopicPoint.Read(ctx, c.Records, topic)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, "", what, "a record of this run", err, "")}, nil
	}
	var obs []action.Observation
	if c.Plan != nil {
		planned, err := action.Decode[recovery.TopicState](c.Plan.Data)
		if err != nil {
			return nil, err
		}
		same, err := sameState(planned, st)
		if err == nil && !same {
			same, err = sameState(endless(planned), st)
		}
		if err != nil {
			return nil, err
		}
		obs = append(obs, action.Saw(what, sums(planned), sums(st), same))
	}
	looks := []func() []action.Observation{
		func() []action.Observation { return []action.Observation{s.deliveredSame(ctx, c, st)} },
		func() []action.Observation { return []action.Observation{s.targetSame(ctx, c, st)} },
		func() []action.Observation { return s.sourceSame(ctx, c, st) },
	}
	return append(obs, action.Together(looks, func(look func() []action.Observation) []action.Observation { return look() })...), nil
}

// deliveredSame observes what the mirror says, in its own words if it has any, that it
// has delivered.
func (s room) deliveredSame(ctx context.Context, c action.Call[action.None], st recovery.TopicState) action.Observation {
	const what = "the mirror delivered no more and no less than recorded"
	want := "the recorded offset in every partition"
	m, err := s.Mirror(ctx, c.Estate, c.Run.Source, c.Run.Target)
	if err != nil {
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	}
	next, err := delivered(ctx, m, st.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return action.Saw(what, want, err.Error(), false)
	}
	if err != nil {
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	}
	return compare(c, what, want, st, func(p recovery.PartitionState) (was, now int64) {
		return p.MirroredThrough, next[kafka.Partition{Topic: st.Name, ID: p.Partition}]
	})
}

// targetSame observes that the target has the partitions that were recorded, and
// nothing more in them.
func (s room) targetSame(ctx context.Context, c action.Call[action.None], st recovery.TopicState) action.Observation {
	const what = "no record arrived at the target since"
	want := fmt.Sprintf("the recorded end of each of its %s", plural.Of(len(st.Partitions), "partition"))
	k, err := s.Kafka(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	}
	there := s.names(c).AtTarget(st.Name)
	ends, err := k.Ends(ctx, there)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return action.Saw(what, want, err.Error(), false)
	case err != nil:
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	}
	st.Partitions = slices.DeleteFunc(slices.Clone(st.Partitions), func(p recovery.PartitionState) bool { return p.Lacking })
	if len(ends) != len(st.Partitions) {
		return action.Saw(what, want, plural.Of(len(ends), "partition"), false)
	}
	return compare(c, what, want, st, func(p recovery.PartitionState) (was, now int64) {
		e, ok := ends[kafka.Partition{Topic: there, ID: p.Partition}]
		if !ok {
			return p.TargetEnd, -1
		}
		return p.TargetEnd, e.End
	})
}

// compare holds a number of every partition against the recorded one. Where
// nothing was stopped, as in a drill, going on is as it should be.
func compare(c action.Call[action.None], what, want string, st recovery.TopicState, of func(recovery.PartitionState) (was, now int64)) action.Observation {
	var differ []string
	forward := true
	for _, p := range st.Partitions {
		if was, now := of(p); was != now {
			differ = append(differ, fmt.Sprintf("partition %d at %d, recorded %d", p.Partition, now, was))
			forward = forward && now > was
		}
	}
	switch {
	case len(st.Partitions) == 0:
		return action.Saw(what, want, "no partition was recorded", false)
	case len(differ) == 0:
		return action.Saw(what, want, fmt.Sprintf("the same in %s", plural.Of(len(st.Partitions), "partition")), true)
	case c.Run.Mode != action.ModeLive && forward:
		return action.Saw(what, want, strings.Join(differ, ", ")+": nothing is stopped in mode "+string(c.Run.Mode), true)
	}
	return action.Saw(what, want, strings.Join(differ, ", "), false)
}

// sourceSame observes that a source that had said where it ends still ends there.
func (s room) sourceSame(ctx context.Context, c action.Call[action.None], st recovery.TopicState) []action.Observation {
	if !slices.ContainsFunc(st.Partitions, func(p recovery.PartitionState) bool { return p.Source != nil }) {
		return nil
	}
	const what = "the source still ends where it did"
	want := "the recorded end of every partition"
	lost := "hold the recovery point of topic " + st.Name + " against the source when it is back"
	k, err := s.Kafka(ctx, c.Estate, c.Run.Source)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, c.Run.Source, what, want, err, lost)}
	}
	from := kafka.Offsets{}
	for _, p := range st.Partitions {
		if p.Source != nil {
			from[kafka.Partition{Topic: st.Name, ID: p.Partition}] = p.Source.Offset
		}
	}
	// An open transaction is not counted as data, and yet is a write since: no
	// source's end was recorded while one was open. Its end is asked for first: one
	// that ends between the two questions is seen by the one or the other.
	ends, err := k.Ends(ctx, st.Name)
	var more map[kafka.Partition]int64
	if err == nil {
		more, err = k.Remaining(ctx, from)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []action.Observation{action.Saw(what, want, err.Error(), false)}
	case err != nil:
		return []action.Observation{action.Unknown(c.Run, c.Run.Source, what, want, err, lost)}
	}
	for _, p := range st.Partitions {
		at := ends[kafka.Partition{Topic: st.Name, ID: p.Partition}]
		if p.Source != nil && at.Stable < at.End {
			return []action.Observation{action.Saw(what, want, fmt.Sprintf("an open transaction in partition %d, from %d to %d", p.Partition, at.Stable, at.End), false)}
		}
	}
	return []action.Observation{compare(c, what, want, st, func(p recovery.PartitionState) (was, now int64) {
		if p.Source == nil {
			return 0, 0
		}
		return p.Source.Offset, p.Source.Offset + more[kafka.Partition{Topic: st.Name, ID: p.Partition}]
	})}
}
