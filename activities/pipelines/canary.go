package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/poll"
	"breakwater/internal/reach"
	"breakwater/internal/verdict"
)

func (r room) canary() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "pipelines.canary", Over: estate.GroupKind, Effect: action.ReadOnly, Drill: action.DrillSkipped,
		Requires: []estate.Requirement{estate.NeedsCanary()},
		Needs:    []string{"access.read-write"},
		Doc: "Send one record, marked in its header " + kafka.CanaryHeader + ", through a group's canary topic at the target, and read it back; " +
			"the one check that writes, and only in a live run.",
		Timing: action.Timing{Timeout: 2 * time.Minute, Estimate: 3 * time.Second},
		Things: topicsOf, Verify: r.verifyCanary,
		Permits: permit.Join(permit.ReadsRecords(permit.Target, permit.CanaryTopics), permit.Of(permit.Target, permit.Kafka, permit.CanaryTopics, "Write"), permit.SeesSchedules()),
		RedWhen: []action.Red{
			{Fault: "kafka.topic-closed", Want: verdict.Fail},
			{Fault: "kafka.transaction-open", Want: verdict.Fail},
			{Fault: "kafka.target-frozen", Want: verdict.Unknown},
		},
	}
}

// topicsOf are the topics of a group.
func topicsOf(r action.Request) (names []string, none string) {
	g, ok := r.Estate.Group(r.Item.Name)
	if !ok {
		return []string{r.Item.Name}, ""
	}
	for _, t := range g.Topics {
		names = append(names, t.Topic)
	}
	return names, "the group has no topic in the estate: there is nothing to send a record through"
}

// canaryTime is how long a canary may take to come back.
const canaryTime = 5 * time.Second

// verifyCanary sends a record at every look, since only a new one says that the
// topic works now. It is marked by its header, for consumers that leave it alone;
// others process it as any record, so a group's owners choose the topic.
//
// It writes in live runs alone. A group with topics and no canary is unknown: that
// writes go through is then for a person to see.
func (r room) verifyCanary(ctx context.Context, c call) ([]action.Observation, error) {
	g, err := inGroup(c)
	if err != nil {
		return nil, err
	}
	what := "a canary record goes through " + g.Group
	const want = "acknowledged, and read back as committed"
	not := func(why string) []action.Observation {
		return []action.Observation{{What: what, Want: want, Got: why, Verdict: verdict.Unknown, Cause: action.CauseOther}}
	}
	switch {
	case g.Canary == nil:
		return not("the estate names no canary topic for the group: see for yourself that a write goes through, or add canary to the group"), nil
	case c.Run.Mode != action.ModeLive:
		return not("nothing is sent in mode " + string(c.Run.Mode) + ": a record would stay in the topic"), nil
	}
	topic := r.names(c).AtTarget(g.Canary.Topic)
	what = "a canary record goes through topic " + topic
	k, err := r.KafkaToChange(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
	}
	before, err := r.readers(ctx, c, k, topic)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
	}
	if err := c.Guard(ctx); err != nil {
		return nil, err
	}
	value, err := json.Marshal(map[string]string{"breakwater": "canary", "run": c.Run.Name()})
	if err != nil {
		return nil, err
	}
	sent, err := k.SendCanary(ctx, topic, c.Run.Name(), c.Token()+"/"+time.Now().UTC().Format(time.RFC3339Nano), value)
	switch {
	case reach.Unreachable(err):
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
	case errors.Is(err, context.Canceled):
		return nil, err
	case err != nil:
		return []action.Observation{action.Saw(what, want, "refused: "+err.Error(), false)}, nil
	}
	back, err := findCanary(ctx, k, sent)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []action.Observation{action.Saw(what, want, fmt.Sprintf("acknowledged as %v@%d, and not readable after %s: %v", sent.Partition, sent.Offset, canaryTime, err), false)}, nil
	case err != nil:
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
	}
	same := back.Partition == sent.Partition && back.Offset == sent.Offset
	obs := []action.Observation{action.Saw(what, want, fmt.Sprintf("sent as %v@%d, read back as %v@%d", sent.Partition, sent.Offset, back.Partition, back.Offset), same)}
	return append(obs, r.undisturbed(ctx, c, k, topic, before)), nil
}

// findCanary reads a sent record back, outside any group, until it is there.
func findCanary(ctx context.Context, k *kafka.Client, sent kafka.Canary) (kafka.Canary, error) {
	for begun := time.Now(); ; {
		found, err := k.FindCanary(ctx, sent)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || time.Since(begun) > canaryTime {
			return found, err
		}
		if err := poll.Wait(ctx, 250*time.Millisecond); err != nil {
			return found, err
		}
	}
}

// names says what the estate's topics are called at the run's target.
func (r room) names(c call) mirror.Names { return r.Names(c.Estate, c.Run.Source, c.Run.Target) }

// readers reads where the estate's consumer groups of a topic stand in it.
func (r room) readers(ctx context.Context, c call, k *kafka.Client, topic string) (map[string]kafka.Offsets, error) {
	at := map[string]kafka.Offsets{}
	for _, i := range c.Estate.Items(estate.ConsumerGroupKind, estate.Filter{}) {
		g, _, _ := c.Estate.ConsumerGroup(i.Name)
		if !slices.Contains(r.names(c).AllAtTarget(g.Topics), topic) {
			continue
		}
		all, err := k.CommittedOffsets(ctx, g.ConsumerGroup)
		if err != nil {
			return nil, err
		}
		at[g.ConsumerGroup] = kafka.Offsets{}
		for p, o := range all {
			if p.Topic == topic {
				at[g.ConsumerGroup][p] = o
			}
		}
	}
	return at, nil
}

// undisturbed observes that no consumer group of the topic lost its place.
func (r room) undisturbed(ctx context.Context, c call, k *kafka.Client, topic string, before map[string]kafka.Offsets) action.Observation {
	what, want := "the canary disturbed no consumer group of "+topic, "each is where it was, or further"
	if len(before) == 0 {
		return action.Nothing(what, want, "no consumer group of the estate reads it")
	}
	after, err := r.readers(ctx, c, k, topic)
	if err != nil {
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(before)) {
		for p, was := range before[name] {
			if now, ok := after[name][p]; !ok || now < was {
				wrong = append(wrong, fmt.Sprintf("%s was at %d in %v and is at %d (committed: %t)", name, was, p, now, ok))
			}
		}
	}
	slices.Sort(wrong)
	return action.Conclude(what, want, fmt.Sprintf("so for %s", plural.Of(len(before), "group")), wrong, len(before))
}
