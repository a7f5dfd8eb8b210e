package activities

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
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
)

func (s *Systems) kafkaWitness() action.Action[none] {
	return action.Action[none]{
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

// noted finds what this run noted of a topic.
func (j topicJournal) noted(ctx context.Context, topic, run string) (TopicEnds, bool, error) {
	all, _, err := j.read(ctx, topic)
	i := slices.IndexFunc(all, func(e TopicEnds) bool { return e.Run == run })
	if i < 0 {
		return TopicEnds{}, false, err
	}
	return all[i], true, err
}

// planTopicWitness says no numbers: a source that lives has others by the time
// that they are noted.
func (s *Systems) planTopicWitness(ctx context.Context, c action.Call[none]) (action.Change, error) {
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
	_, done, err := j.noted(ctx, topic, runName(c.Run))
	ch := action.Change{Summary: fmt.Sprintf("%s has %d partitions in %s", topic, n[topic], c.Run.Source)}
	if !done {
		ch.Effects = []action.EffectLine{{On: j.Bucket.URL(j.key(topic)), Do: "note where each partition ends", To: fmt.Sprintf("the ends of %d partitions", n[topic])}}
	}
	return ch, err
}

// applyTopicWitness notes the ends as of a time before they were read: whatever
// they do not show was written later. Called again in the same run, it changes
// nothing.
func (s *Systems) applyTopicWitness(ctx context.Context, c action.Call[none]) (action.Outcome, error) {
	topic := c.Item.Name
	j, err := s.topicJournal(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	if _, done, err := j.noted(ctx, topic, runName(c.Run)); err != nil || done {
		return action.Outcome{Summary: topic + " was noted by this run already"}, err
	}
	k, err := s.Kafka(ctx, c.Estate, c.Run.Source)
	if err != nil {
		return action.Outcome{}, err
	}
	at := time.Now().UTC()
	ends, err := dataEnds(ctx, k, topic)
	if err != nil {
		return action.Outcome{}, err
	}
	newest, err := k.Newest(ctx, topic)
	if err != nil {
		return action.Outcome{}, err
	}
	now := TopicEnds{First: at, Last: at, Run: runName(c.Run)}
	for _, p := range slices.SortedFunc(maps.Keys(ends), kafka.Partition.Compare) {
		e := ends[p]
		now.Partitions = append(now.Partitions, PartitionEnds{Partition: p.ID, Data: e.Data, Stable: e.Stable, End: e.End, Newest: newest[p].UTC()})
	}
	if err := c.Guard(ctx); err != nil {
		return action.Outcome{}, err
	}
	changed, err := j.see(ctx, topic, now)
	out := action.Outcome{Summary: fmt.Sprintf("%s: noted the ends of %d partitions", topic, len(now.Partitions))}
	if changed {
		out.Mutations = 1
	}
	return out, err
}

// verifyTopicWitness reads the journal back and holds it against the source: its
// logs only grow, so they must have grown from what was noted.
func (s *Systems) verifyTopicWitness(ctx context.Context, c action.Call[none]) ([]action.Observation, error) {
	topic, what := c.Item.Name, "this run's look at the source is in the journal"
	j, err := s.topicJournal(ctx, c)
	if err != nil {
		return nil, err
	}
	want := "the ends noted by " + runName(c.Run)
	mine, done, err := j.noted(ctx, topic, runName(c.Run))
	switch {
	case errors.Is(err, witness.ErrMalformed):
		return []action.Observation{saw(what, want, err.Error(), false)}, nil
	case err != nil:
		return []action.Observation{unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
	case !done:
		return []action.Observation{saw(what, want, "nothing by it", false)}, nil
	}
	obs := []action.Observation{saw(what, want, fmt.Sprintf("%d partitions at %s", len(mine.Partitions), mine.Last.Format(time.RFC3339)), true)}

	what, want = "every partition of the source was noted, no further than it goes", "start ≤ noted ≤ end in each partition"
	k, err := s.Kafka(ctx, c.Estate, c.Run.Source)
	var ends map[kafka.Partition]kafka.Ends
	if err == nil {
		ends, err = k.Ends(ctx, topic)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return append(obs, saw(what, want, err.Error(), false)), nil
	case err != nil:
		return append(obs, unknown(c.Run, c.Run.Source, what, want, err, "")), nil
	}
	var bad []string
	for _, p := range slices.SortedFunc(maps.Keys(ends), kafka.Partition.Compare) {
		i := slices.IndexFunc(mine.Partitions, func(n PartitionEnds) bool { return n.Partition == p.ID })
		switch {
		case i < 0:
			bad = append(bad, fmt.Sprintf("partition %d was not noted", p.ID))
		case mine.Partitions[i].End > ends[p].End, mine.Partitions[i].Data > mine.Partitions[i].End, mine.Partitions[i].Stable > mine.Partitions[i].End:
			bad = append(bad, fmt.Sprintf("partition %d noted at %d, and it ends at %d", p.ID, mine.Partitions[i].End, ends[p].End))
		}
	}
	if len(mine.Partitions) != len(ends) {
		bad = append(bad, fmt.Sprintf("%d partitions noted of %d", len(mine.Partitions), len(ends)))
	}
	if len(bad) > 0 {
		return append(obs, saw(what, want, strings.Join(bad, ", "), false)), nil
	}
	return append(obs, saw(what, want, fmt.Sprintf("%d partitions", len(ends)), len(ends) > 0)), nil
}
