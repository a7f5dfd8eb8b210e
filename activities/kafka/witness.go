package kafka

import (
	"context"
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
	"breakwater/internal/plural"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
)

// topicJournal opens the journal at the run's target.
func (s room) topicJournal(ctx context.Context, c action.Call[action.None]) (witness.TopicJournal, error) {
	j, err := s.lake.Journal(ctx, c.Estate, c.Run.Target)
	return witness.TopicJournal{Journal: j}, err
}

// endsSeen is what the witness saw of a topic's partitions, as evidence. Without
// a witness there is none, which is no reason to stop.
func (s room) endsSeen(ctx context.Context, c action.Call[action.None], topic string) (map[int32][]recovery.End, error) {
	if c.Estate.Witness.Bucket == "" {
		return nil, nil
	}
	j, err := s.topicJournal(ctx, c)
	if err != nil {
		return nil, err
	}
	all, err := j.Read(ctx, topic)
	seen := map[int32][]recovery.End{}
	for _, e := range all {
		for _, p := range e.Partitions {
			seen[p.Partition] = append(seen[p.Partition], recovery.End{At: e.First, Offset: p.Data, Open: p.Stable < p.End})
			if e.Last.After(e.First) {
				seen[p.Partition] = append(seen[p.Partition], recovery.End{At: e.Last, Offset: p.Data, Open: p.Stable < p.End})
			}
		}
	}
	return seen, err
}

func (s room) kafkaWitness() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "kafka.witness", Over: estate.TopicKind, Effect: action.RecordsOnly, Drill: action.DrillReadOnly,
		Doc:  "Journal at the target where every partition of a topic ends at the source, and of when its newest record is.",
		Plan: s.planTopicWitness, Apply: s.applyTopicWitness, Verify: s.verifyTopicWitness,
		RedWhen: []action.Red{
			{Fault: "witness.topic-ends-changed", Want: verdict.Fail},
			{Fault: "witness.topic-ends-gone", Want: verdict.Fail},
			{Fault: "kafka.source-frozen", Want: verdict.Unknown},
		},
	}
}

// planTopicWitness says no numbers: a source that lives has others by the time
// that they are noted.
func (s room) planTopicWitness(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	topic := c.Item.Name
	k, err := s.Kafka(ctx, c.Estate, c.Run.Source)
	if err != nil {
		return action.Change{}, err
	}
	n, err := k.Partitions(ctx, topic)
	if err != nil {
		return action.Change{}, err
	}
	j, err := s.topicJournal(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	_, done, err := j.Noted(ctx, topic, c.Run.Name())
	ch := action.Change{Summary: fmt.Sprintf("%s has %s in %s", topic, plural.Of(n[topic], "partition"), c.Run.Source)}
	if !done {
		ch.Effects = []action.EffectLine{{On: j.Bucket.URL(j.Key(topic)), Do: "note where each partition ends", To: fmt.Sprintf("the ends of %s", plural.Of(n[topic], "partition"))}}
	}
	return ch, err
}

// applyTopicWitness notes the ends as of a time before they were read: whatever
// they do not show was written later. Called again in the same run, it changes
// nothing.
func (s room) applyTopicWitness(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	topic := c.Item.Name
	j, err := s.topicJournal(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	if _, done, err := j.Noted(ctx, topic, c.Run.Name()); err != nil || done {
		return action.Outcome{Summary: topic + " was noted by this run already"}, err
	}
	k, err := s.Kafka(ctx, c.Estate, c.Run.Source)
	if err != nil {
		return action.Outcome{}, err
	}
	at := time.Now().UTC()
	ends, err := k.DataEnds(ctx, topic)
	if err != nil {
		return action.Outcome{}, err
	}
	newest, err := k.Newest(ctx, topic)
	if err != nil {
		return action.Outcome{}, err
	}
	now := witness.TopicEnds{First: at, Last: at, Run: c.Run.Name()}
	if now.ID, err = k.TopicID(ctx, topic); err != nil {
		return action.Outcome{}, err
	}
	for _, p := range slices.SortedFunc(maps.Keys(ends), kafka.Partition.Compare) {
		e := ends[p]
		now.Partitions = append(now.Partitions, witness.PartitionEnds{Partition: p.ID, Data: e.Data, Stable: e.Stable, End: e.End, Newest: newest[p].Newest.UTC()})
	}
	if err := c.Guard(ctx); err != nil {
		return action.Outcome{}, err
	}
	changed, err := j.See(ctx, topic, now)
	out := action.Outcome{Summary: fmt.Sprintf("%s: noted the ends of %s", topic, plural.Of(len(now.Partitions), "partition"))}
	if changed {
		out.Mutations = 1
	}
	return out, err
}

// verifyTopicWitness reads the journal back and holds it against the source: its
// logs only grow, so they must have grown from what was noted.
func (s room) verifyTopicWitness(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	topic, what := c.Item.Name, "this run's look at the source is in the journal"
	j, err := s.topicJournal(ctx, c)
	if err != nil {
		return nil, err
	}
	want := "the ends noted by " + c.Run.Name()
	mine, done, err := j.Noted(ctx, topic, c.Run.Name())
	switch {
	case errors.Is(err, witness.ErrMalformed):
		return []action.Observation{action.Saw(what, want, err.Error(), false)}, nil
	case err != nil:
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
	case !done:
		return []action.Observation{action.Saw(what, want, "nothing by it", false)}, nil
	}
	obs := []action.Observation{action.Saw(what, want, fmt.Sprintf("%s at %s", plural.Of(len(mine.Partitions), "partition"), mine.Last.Format(time.RFC3339)), true)}

	what, want = "every partition of the source was noted, no further than it goes", "start ≤ noted ≤ end in each partition"
	k, err := s.Kafka(ctx, c.Estate, c.Run.Source)
	var ends map[kafka.Partition]kafka.Ends
	if err == nil {
		ends, err = k.Ends(ctx, topic)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return append(obs, action.Saw(what, want, err.Error(), false)), nil
	case err != nil:
		return append(obs, action.Unknown(c.Run, c.Run.Source, what, want, err, "")), nil
	}
	var bad []string
	for _, p := range slices.SortedFunc(maps.Keys(ends), kafka.Partition.Compare) {
		i := slices.IndexFunc(mine.Partitions, func(n witness.PartitionEnds) bool { return n.Partition == p.ID })
		switch {
		case i < 0:
			bad = append(bad, fmt.Sprintf("partition %d was not noted", p.ID))
		case mine.Partitions[i].End > ends[p].End, mine.Partitions[i].Data > mine.Partitions[i].End, mine.Partitions[i].Stable > mine.Partitions[i].End:
			bad = append(bad, fmt.Sprintf("partition %d noted at %d, and it ends at %d", p.ID, mine.Partitions[i].End, ends[p].End))
		}
	}
	if len(mine.Partitions) != len(ends) {
		bad = append(bad, fmt.Sprintf("%s noted of %d", plural.Of(len(mine.Partitions), "partition"), len(ends)))
	}
	if len(bad) > 0 {
		return append(obs, action.Saw(what, want, strings.Join(bad, ", "), false)), nil
	}
	return append(obs, action.Saw(what, want, plural.Of(len(ends), "partition"), len(ends) > 0)), nil
}
