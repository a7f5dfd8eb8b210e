package kafka

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/poll"
	"breakwater/internal/reach"
	"breakwater/internal/record"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
)

func (s room) kafkaPoint() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "kafka.recovery-point", Over: estate.TopicKind, Effect: action.RecordsOnly, Drill: action.DrillReadOnly,
		Needs: []string{"kafka.stop-mirror"},
		Doc:   "Record how far every partition of a topic was mirrored, what the witness saw of its source, and where the source ends if it answers.",
		Plan:  s.planTopicPoint, Apply: s.applyTopicPoint, Verify: s.verifyTopicPoint,
		RedWhen: []action.Red{
			{Fault: "kafka.mirror-offset-moved", Want: verdict.Fail},
			{Fault: "kafka.target-frozen", Want: verdict.Unknown},
			{Fault: "kafka.source-frozen", Want: verdict.Unknown},
		},
	}
}

// mirrored is the mirror of some topics into the run's target.
type mirrored struct {
	kafka.Mirror
	target *kafka.Client
	source *kafka.Client // nil where nobody may ask it, or it cannot be asked
}

// mirrorOf connects to both ends of the mirror of the topics. A source that was
// accepted as unreachable, or whose credentials cannot be reached, is not asked.
func (s room) mirrorOf(ctx context.Context, c action.Call[action.None], topics ...string) (mirrored, error) {
	var m mirrored
	src, err := c.Estate.RegionNamed(c.Run.Source)
	if err != nil {
		return m, err
	}
	dst, err := c.Estate.RegionNamed(c.Run.Target)
	if err != nil {
		return m, err
	}
	switch {
	case src.Kafka == nil:
		return m, fmt.Errorf("%w: region %s has no kafka in the estate", action.ErrRefused, c.Run.Source)
	case dst.Connect == nil:
		return m, fmt.Errorf("%w: %s, so nobody can say how far topics are mirrored; add connect to the region", action.ErrRefused, noMirror(c.Run.Target))
	}
	m.Mirror = kafka.Mirror{Source: src.Kafka.Alias, Connector: dst.Connect.Source, OffsetsTopic: dst.Connect.OffsetsTopic, Topics: topics}
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

// dataEnd is the end of a partition's committed data.
type dataEnd struct {
	kafka.Ends
	// Data is the position after the newest committed data record. Control markers
	// may follow it, which no mirror copies; while a transaction is open it is the
	// end of the log, since records of others lie above the stable offset.
	Data int64
}

// markers is how many control markers and aborted records are looked past at the
// end of a partition. Behind more of them the end of data is said too late, which
// makes a mirror look worse than it is, and never better.
const markers = 16

// dataEnds reads where the committed data of every partition of a topic ends.
func dataEnds(ctx context.Context, k *kafka.Client, topic string) (map[kafka.Partition]dataEnd, error) {
	ends, err := k.Ends(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(map[kafka.Partition]dataEnd, len(ends))
	open := kafka.Offsets{}
	for p, e := range ends {
		out[p] = dataEnd{e, e.End}
		if e.Stable == e.End && e.End > e.Start {
			open[p] = e.End - 1
		}
	}
	for range markers {
		if len(open) == 0 {
			break
		}
		n, err := k.Remaining(ctx, open)
		if err != nil {
			return nil, err
		}
		for p, from := range open {
			if n[p] > 0 || from <= ends[p].Start {
				delete(open, p)
			}
			if n[p] == 0 {
				out[p] = dataEnd{ends[p], from}
				if from > ends[p].Start {
					open[p] = from - 1
				}
			}
		}
	}
	return out, nil
}

// quiet reads the end of the data of every partition of the source, where two
// looks see the same and no transaction is open; else it is nil, since whoever
// still writes has not said its last. A source that does not answer is nil too.
func quiet(ctx context.Context, source *kafka.Client, topic string) (map[kafka.Partition]dataEnd, error) {
	if source == nil {
		return nil, nil
	}
	first, err := dataEnds(ctx, source, topic)
	if err == nil {
		err = poll.Wait(ctx, apart)
	}
	var then map[kafka.Partition]kafka.Ends
	if err == nil {
		then, err = source.Ends(ctx, topic)
	}
	switch {
	case reach.Unreachable(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	for p, e := range then {
		if f, ok := first[p]; !ok || f.Stable != f.End || e.End != f.End || e.Stable != f.Stable {
			return nil, nil
		}
	}
	return first, nil
}

// topicState is what is known of a topic now. The time at which the source was
// asked is left out: it is no part of the world.
func (s room) topicState(ctx context.Context, c action.Call[action.None]) (recovery.TopicState, error) {
	t, g, ok := c.Estate.Topic(c.Item.Name)
	if !ok {
		return recovery.TopicState{}, fmt.Errorf("%w: the estate has no topic %q", action.ErrRefused, c.Item.Name)
	}
	m, err := s.mirrorOf(ctx, c, t.Topic)
	if err != nil {
		return recovery.TopicState{}, err
	}
	at, silence, err := m.target.MirrorPositions(ctx, m.Mirror, m.source)
	if err != nil {
		return recovery.TopicState{}, err
	}
	var source map[kafka.Partition]dataEnd
	if silence == nil {
		if source, err = quiet(ctx, m.source, t.Topic); err != nil {
			return recovery.TopicState{}, err
		}
	}
	seen, err := s.endsSeen(ctx, c, t.Topic)
	if err != nil {
		return recovery.TopicState{}, err
	}
	state := recovery.TopicState{Name: t.Topic}
	if tier, ok := c.Estate.Tier(g.Tier); ok {
		state.RPOSeconds = tier.RPO.Std().Seconds()
	}
	if t.PeakMessages > 0 {
		state.Peak = &recovery.Peak{PerSecond: t.PeakMessages, Burst: t.PeakBurst}
	}
	latest := time.Now().Add(c.Estate.ClockSkew.Std())
	for _, p := range slices.SortedFunc(maps.Keys(at), kafka.Partition.Compare) {
		pos := at[p]
		ps := recovery.PartitionState{Partition: p.ID, MirroredThrough: pos.Next, TargetEnd: pos.Target.End, Journal: seen[p.ID]}
		if !pos.Newest.After(latest) {
			ps.NewestAt = pos.Newest.UTC()
		}
		if e, ok := source[p]; ok {
			ps.Source = &recovery.End{Offset: e.Data}
		}
		state.Partitions = append(state.Partitions, ps)
	}
	return state, nil
}

// untimed is a state without the times at which its source was asked.
func untimed(st recovery.TopicState) recovery.TopicState {
	st.Partitions = slices.Clone(st.Partitions)
	for i, p := range st.Partitions {
		if p.Source != nil {
			st.Partitions[i].Source = &recovery.End{Offset: p.Source.Offset}
		}
	}
	return st
}

// sameState reports whether two states say the same but for the time of asking.
func sameState(a, b recovery.TopicState) (bool, error) {
	x, err := json.Marshal(untimed(a))
	if err != nil {
		return false, err
	}
	y, err := json.Marshal(untimed(b))
	return bytes.Equal(x, y), err
}

// sums says a state in a few words.
func sums(st recovery.TopicState) string {
	var through, behind int64
	told := len(st.Partitions) > 0
	for _, p := range st.Partitions {
		through += p.MirroredThrough
		if p.Source == nil {
			told = false
		} else {
			behind += max(0, p.Source.Offset-p.MirroredThrough)
		}
	}
	s := fmt.Sprintf("%d partitions, mirrored through %d source offsets in all", len(st.Partitions), through)
	if !told {
		return s + "; the source does not say where it ends, or has not ended"
	}
	return fmt.Sprintf("%s; the source has %d more", s, behind)
}

func (s room) planTopicPoint(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	st, err := s.topicState(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	ch := action.Change{Summary: fmt.Sprintf("%s: %s", st.Name, sums(st))}
	if ch.Data, err = action.Encode(st); err != nil {
		return ch, err
	}
	was, _, err := record.TopicPoint.Read(ctx, c.Records, st.Name)
	same := false
	if err == nil {
		same, err = sameState(was, st)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if !same {
		ch.Effects = []action.EffectLine{{On: "topic " + st.Name, Do: "record how far it is mirrored", To: sums(st)}}
	}
	return ch, err
}

// applyTopicPoint records what was planned, with the time at which the source
// still ended where the plan saw it. Where it has moved on since, or fallen
// silent, the record says nothing of its end: less than the plan, and never more.
func (s room) applyTopicPoint(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	st, err := action.Decode[recovery.TopicState](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	was, o, err := record.TopicPoint.Read(ctx, c.Records, st.Name)
	if err == nil {
		same, err := sameState(was, st)
		if same || err != nil {
			return action.Outcome{Summary: o.Summary, Data: o.Data}, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return action.Outcome{}, err
	}
	if st, err = s.timed(ctx, c, st); err != nil {
		return action.Outcome{}, err
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s: %s", st.Name, sums(st)), Mutations: 1}
	out.Data, err = action.Encode(st)
	return out, err
}

// endless is a state that says nothing of its source's end.
func endless(st recovery.TopicState) recovery.TopicState {
	st.Partitions = slices.Clone(st.Partitions)
	for i := range st.Partitions {
		st.Partitions[i].Source = nil
	}
	return st
}

// timed asks the source again, and puts the time before asking into the state.
func (s room) timed(ctx context.Context, c action.Call[action.None], st recovery.TopicState) (recovery.TopicState, error) {
	if !slices.ContainsFunc(st.Partitions, func(p recovery.PartitionState) bool { return p.Source != nil }) {
		return st, nil
	}
	k, err := s.Kafka(ctx, c.Estate, c.Run.Source)
	if err != nil {
		return st, err
	}
	now := time.Now().UTC()
	ends, err := dataEnds(ctx, k, st.Name)
	if reach.Unreachable(err) {
		return endless(st), nil
	}
	if err != nil {
		return st, err
	}
	for i, p := range st.Partitions {
		e, ok := ends[kafka.Partition{Topic: st.Name, ID: p.Partition}]
		if p.Source == nil || !ok || e.Data != p.Source.Offset || e.Stable != e.End {
			return endless(st), nil
		}
		st.Partitions[i].Source.At = now
	}
	return st, nil
}

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

// deliveredSame observes what the worker says that the mirror has delivered.
func (s room) deliveredSame(ctx context.Context, c action.Call[action.None], st recovery.TopicState) action.Observation {
	const what = "the mirror delivered no more and no less than recorded"
	want := "the recorded offset in every partition"
	w, decl, err := s.Connect(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	}
	told, err := w.Offsets(ctx, decl.Source)
	if errors.Is(err, fs.ErrNotExist) {
		return action.Saw(what, want, err.Error(), false)
	}
	if err != nil {
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	}
	next := map[int32]int64{}
	for _, o := range told {
		if o.Topic == st.Name {
			next[o.Partition] = o.Delivered + 1
		}
	}
	return compare(c, what, want, st, func(p recovery.PartitionState) (was, now int64) { return p.MirroredThrough, next[p.Partition] })
}

// targetSame observes that the target has the partitions that were recorded, and
// nothing more in them.
func (s room) targetSame(ctx context.Context, c action.Call[action.None], st recovery.TopicState) action.Observation {
	const what = "no record arrived at the target since"
	want := fmt.Sprintf("the recorded end of each of its %d partitions", len(st.Partitions))
	k, err := s.Kafka(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	}
	ends, err := k.Ends(ctx, st.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return action.Saw(what, want, err.Error(), false)
	case err != nil:
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	case len(ends) != len(st.Partitions):
		return action.Saw(what, want, fmt.Sprintf("%d partitions", len(ends)), false)
	}
	return compare(c, what, want, st, func(p recovery.PartitionState) (was, now int64) {
		e, ok := ends[kafka.Partition{Topic: st.Name, ID: p.Partition}]
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
		return action.Saw(what, want, fmt.Sprintf("the same in %d partitions", len(st.Partitions)), true)
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
