package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/kafka"
	"breakwater/internal/kafka/place"
	"breakwater/internal/mirror"
	"breakwater/internal/reach"
	"breakwater/internal/record"
	"breakwater/internal/recovery"
)

// facts gathers what is known of a group in every partition of its topics, and what
// placing it so accepts.
func (s room) facts(ctx context.Context, c action.Call[action.None], g consumer) (map[kafka.Partition]place.Facts, []action.Acceptance, error) {
	m, err := s.mirrorOf(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	accepts, err := asDeclared(ctx, c, m.Mirror)
	if err != nil {
		return nil, nil, err
	}
	at, silence, err := m.positions(ctx, g.declared...)
	if err != nil {
		return nil, nil, err
	}
	known, err := m.translation(ctx)
	if err != nil {
		return nil, nil, err
	}
	var commits kafka.Offsets
	if m.source != nil && silence == nil {
		if commits, err = sourceCommits(ctx, m.source, g.Name); err != nil && !reach.Unreachable(err) {
			return nil, nil, err
		}
	}
	states, err := s.recorded(ctx, c, g.declared)
	if err != nil {
		return nil, nil, err
	}
	point, _, err := record.GroupPoint.Read(ctx, c.Records, c.Item.Group)
	if err != nil {
		return nil, nil, err
	}
	cut, err := s.cutOf(ctx, c, m.target, point, g.topics, known, states)
	if err != nil {
		return nil, nil, err
	}
	facts := make(map[kafka.Partition]place.Facts, len(at))
	for from, pos := range at {
		if pos.Missing {
			continue
		}
		p := g.names.Target(from) // where it is placed
		in := place.Facts{Start: pos.Target.Start, End: pos.Target.Stable}
		if o, ok := cut[p]; ok {
			in.Cut = &o
		}
		facts[p] = in
		if pos.Rest().Anew || states[p].Anew {
			continue // what the mirror and the source know is of another log than the target's
		}
		in.Numbers = known.Numbers[p]
		if i := slices.IndexFunc(known.Checkpoints, func(cp mirror.Checkpoint) bool {
			return cp.Group == g.Name && cp.Partition == p
		}); i >= 0 {
			in.Checkpoint = &known.Checkpoints[i]
		}
		if o, ok := commits[from]; ok {
			in.SourceCommit = &o
		}
		if drained, known := pos.Drained(); drained && known {
			in.SourceEnd = &pos.Source.End
		}
		facts[p] = in
	}
	return facts, append(accepts, accepting(g, point, commits, known)...), nil
}

// sourceCommits reads what a group has committed at the source. Of a group that is no
// consumer group brokers say that it has committed nothing: it is refused.
func sourceCommits(ctx context.Context, source *kafka.Client, group string) (kafka.Offsets, error) {
	if _, err := source.GroupState(ctx, group); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, action.Classed(fmt.Errorf("at the source: %w", err), kafka.ErrOtherKind, action.ErrRefused)
	}
	return source.CommittedOffsets(ctx, group)
}

// recorded is what this run recorded of the topics' partitions, as the target calls
// them; nothing of a topic that it did not look at.
func (s room) recorded(ctx context.Context, c action.Call[action.None], topics []string) (map[kafka.Partition]recovery.PartitionState, error) {
	all := map[kafka.Partition]recovery.PartitionState{}
	for _, topic := range topics {
		st, _, err := record.TopicPoint.Read(ctx, c.Records, topic)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, p := range st.Partitions {
			all[s.names(c).Target(kafka.Partition{Topic: topic, ID: p.Partition})] = p
		}
	}
	return all, nil
}

// accepting is what people accept who place a group: what is odd about its topics, what
// is taken to be so, and topics of it that nobody declared.
func accepting(g consumer, point recovery.GroupPoint, commits kafka.Offsets, known mirror.Translation) []action.Acceptance {
	var all []action.Acceptance
	for _, topic := range g.declared {
		t, l, ok := point.Topic(topic)
		if !ok {
			continue
		}
		if len(l.Odd) > 0 {
			all = append(all, action.Acceptance{ID: "odd " + topic, Sentence: fmt.Sprintf(
				"Of topic %s not everything fits together: %s. What was lost of it: %s.", topic, strings.Join(l.Odd, "; "), l.Words())})
		}
		if t.Assumed {
			all = append(all, action.Acceptance{ID: "unchanged " + topic, Sentence: fmt.Sprintf(
				"Topic %s is taken to be unchanged since it was last known to be mirrored. What was written to it after that is lost: %s.", topic, l.Words())})
		}
	}
	var others []string
	other := func(topic string) {
		if !slices.Contains(g.declared, topic) && !slices.Contains(others, topic) {
			others = append(others, topic)
		}
	}
	for p := range commits {
		other(p.Topic)
	}
	for _, cp := range known.Checkpoints {
		// Of a topic of the target's own, the group has its place there already.
		if p, ok := g.names.Source(cp.Partition); ok && cp.Group == g.Name {
			other(p.Topic)
		}
	}
	if slices.Sort(others); len(others) > 0 {
		all = append(all, action.Acceptance{ID: "other topics of " + g.Name, Sentence: fmt.Sprintf(
			"Consumer group %s has commits in %s too, which the estate does not name among its topics. Its place there is not set here, and auto.offset.reset of its consumers decides; or name them under topics of the group.",
			g.Name, strings.Join(others, ", "))})
	}
	return all
}

// look is how many records before the cut are looked at for their order, where the
// witness saw no end of the source before it.
const look = 1000

// cutOf finds in every partition the first record that the tables of the group's
// cut may lack, by its time less the clock skew. A cut without tables holds
// nothing back: there is no output that replaying must meet again.
//
// Times are the records', and speak of the cut only as far as they rise with the
// offsets. A record that the witness saw at the source before the cut was there before
// it, whatever its time; from there on the first record that lies before an earlier one
// ends what is believed.
func (s room) cutOf(ctx context.Context, c action.Call[action.None], k *kafka.Client, point recovery.GroupPoint, topics []string, known mirror.Translation, states map[kafka.Partition]recovery.PartitionState) (kafka.Offsets, error) {
	if len(point.Cut.Tables) == 0 {
		return nil, nil
	}
	at, skew := point.Cut.At.Add(-c.Estate.ClockSkew.Std()), c.Estate.ClockSkew.Std()
	to, err := k.OffsetsAtOrBefore(ctx, at, topics...)
	if err != nil {
		return nil, err
	}
	from, since := kafka.Offsets{}, map[kafka.Partition]time.Time{}
	for p, end := range to {
		from[p] = max(0, end-look)
		var seen recovery.End
		for _, e := range states[p].Journal {
			if !e.Open && !e.At.Add(skew).After(at) && e.At.After(seen.At) {
				seen = e
			}
		}
		numbers := known.Numbers[p]
		if seen.At.IsZero() || numbers == nil {
			continue
		}
		there, exact, ok := numbers.Translate(seen.Offset)
		if ok {
			from[p] = there
		}
		if exact { // what follows came after that look
			since[p] = seen.At.Add(-skew)
		}
	}
	return k.Fall(ctx, from, to, since, skew)
}
