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
	"breakwater/internal/lake"
	"breakwater/internal/mirror"
	"breakwater/internal/permit"
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

// keptTopics opens it to be written.
func (s room) keptTopics(ctx context.Context, c action.Call[action.None]) (witness.TopicJournal, error) {
	j, err := s.lake.Keep(ctx, c.Estate, c.Run.Target)
	return witness.TopicJournal{Journal: j}, err
}

// looks are what the witness saw of a topic, oldest first.
type looks []witness.TopicEnds

// looked reads what the witness saw of a topic. Without a witness that is nothing,
// which is no reason to stop.
func (s room) looked(ctx context.Context, c action.Call[action.None], topic string) (looks, error) {
	if c.Estate.Witness.Bucket == "" {
		return nil, nil
	}
	j, err := s.topicJournal(ctx, c)
	if err != nil {
		return nil, err
	}
	return j.Read(ctx, topic)
}

// undated tells whether records of a partition carried no time when it was seen last.
func (l looks) undated(id int32) bool {
	return slices.ContainsFunc(l.last().Partitions, func(p witness.PartitionEnds) bool { return p.Partition == id && p.Undated })
}

// before are the ends of a partition while it held no record.
func (l looks) before(id int32) []recovery.End {
	return slices.DeleteFunc(l.ends(id), func(e recovery.End) bool { return e.Offset > 0 || e.Open })
}

// last is the newest look; empty if there is none.
func (l looks) last() witness.TopicEnds {
	if len(l) == 0 {
		return witness.TopicEnds{}
	}
	return l[len(l)-1]
}

// another tells of a look that what it saw was another topic than that of the newest:
// since then the topic was deleted, and created anew.
func (l looks) another(e witness.TopicEnds) bool {
	return e.ID != "" && l.last().ID != "" && e.ID != l.last().ID
}

// since is the first look at the topic as it is, if before that another one of its name
// was seen; else zero.
func (l looks) since() time.Time {
	for i := len(l) - 1; i > 0; i-- {
		if l.another(l[i-1]) {
			return l[i].First
		}
	}
	return time.Time{}
}

// other says, for people, why what the mirror has of a partition is not known to be of the
// topic as it is; empty if it is known, or nobody saw another one. Where another one was
// seen and the mirror may still be with it, of the new one nothing need be mirrored.
func (l looks) other(pos mirror.Position, newest time.Time, skew time.Duration) (why string, still bool) {
	since := l.since()
	switch {
	case len(l) == 0:
	case pos.Fell.Add(skew).After(l.last().Last):
		return fmt.Sprintf("the mirror began again at %s, after the witness looked at %s: the source's topic was created anew, or somebody moved the mirror",
			pos.Fell.UTC().Format(time.RFC3339), l.last().Last.Format(time.RFC3339)), !since.IsZero()
	case !since.IsZero() && !newest.After(since.Add(skew)):
		return fmt.Sprintf("the witness sees another topic of this name at the source since %s, and no mirrored record is known to be of it", since.Format(time.RFC3339)), true
	}
	return "", false
}

// partitions are those that the topic has, as far as was seen.
func (l looks) partitions() []int32 {
	var ids []int32
	for _, p := range l.last().Partitions {
		ids = append(ids, p.Partition)
	}
	return ids
}

// ends are those of a partition, as evidence. Where a look saw others, or another topic,
// the partition was not there yet, and so had no record.
func (l looks) ends(id int32) (all []recovery.End) {
	for _, e := range l {
		end := recovery.End{At: e.First}
		if i := slices.IndexFunc(e.Partitions, func(p witness.PartitionEnds) bool { return p.Partition == id }); i >= 0 && !l.another(e) {
			end.Offset, end.Open = e.Partitions[i].Data, e.Partitions[i].Stable < e.Partitions[i].End
		}
		all = append(all, end)
		if e.Last.After(e.First) {
			end.At = e.Last
			all = append(all, end)
		}
	}
	return all
}

func (s room) kafkaWitness() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "kafka.witness", Over: estate.TopicKind, Effect: action.RecordsOnly, Drill: action.DrillReadOnly,
		Requires: []estate.Requirement{estate.NeedsWitness()},
		Doc:      "Journal at the target where every partition of a topic ends at the source, and of when its newest record is.",
		Rules:    []action.Rule{{Says: "the topic's file in the journal is written", Sends: []string{"put {on}"}}},
		Plan:     s.planTopicWitness, Apply: s.applyTopicWitness, Verify: s.verifyTopicWitness,
		Permits: permit.Join(permit.ReadsRecords(permit.Source, permit.Topics), permit.Adds(permit.Target, permit.Journal)),
		RedWhen: []action.Red{
			{Fault: "witness.topic-ends-changed", Want: verdict.Unknown},
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
	return ch, lake.Classed(err)
}

// applyTopicWitness notes the ends as of a time before they were read: whatever
// they do not show was written later. Called again in the same run, it changes
// nothing.
func (s room) applyTopicWitness(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	topic := c.Item.Name
	j, err := s.keptTopics(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	if _, done, err := j.Noted(ctx, topic, c.Run.Name()); err != nil || done {
		return action.Outcome{Summary: topic + " was noted by this run already"}, lake.Classed(err)
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
		now.Partitions = append(now.Partitions, witness.PartitionEnds{Partition: p.ID, Data: e.Data, Stable: e.Stable, End: e.End, Newest: newest[p].Newest.UTC(), Undated: newest[p].Undated})
	}
	if err := c.Guard(ctx); err != nil {
		return action.Outcome{}, err
	}
	changed, err := j.See(ctx, topic, now)
	out := action.Outcome{Summary: fmt.Sprintf("%s: noted the ends of %s", topic, plural.Of(len(now.Partitions), "partition"))}
	if changed {
		out.Mutations = 1
	}
	return out, lake.Classed(err)
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
