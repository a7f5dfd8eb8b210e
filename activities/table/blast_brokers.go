package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/lineage"
)

// brokers asks the cluster of every region which groups have read the topics that the
// fault reached, since it came: all groups that there are, also those of which the estate
// knows nothing. What it counts from is the earliest time of the fault.
func (t *trace) brokers(ctx context.Context) {
	var topics []string
	for n := range t.from {
		if n.Kind == estate.TopicKind {
			topics = append(topics, n.Name)
		}
	}
	settle := func(n lineage.Node, since time.Time) (lineage.Held, bool) {
		if n.Kind == estate.ConsumerGroupKind { // no broker was asked yet
			return lineage.Held{Since: since}, true
		}
		return t.settle(n, since)
	}
	for _, r := range t.graph.Reach(t.from, settle) {
		if r.Kind == estate.TopicKind {
			topics = append(topics, r.Name)
		}
	}
	slices.Sort(topics)
	if len(topics) == 0 {
		return
	}
	t.asked = true
	for _, r := range t.c.Estate.Regions {
		if r.Kafka == nil {
			continue
		}
		if err := t.broker(ctx, r.Region, topics); err != nil {
			t.miss(r.Region, err, "consumer groups in %s", r.Region)
			t.asked = false
			continue
		}
		t.read("consumer groups in %s, of %s", r.Region, strings.Join(topics, ", "))
	}
}

// broker asks one cluster.
func (t *trace) broker(ctx context.Context, region string, topics []string) error {
	k, err := t.Kafka(ctx, t.c.Estate, region)
	if err != nil {
		return err
	}
	called := map[string]string{} // what the region calls a topic → what the estate does
	var there []string
	for _, topic := range topics {
		name := topic
		if primary := t.c.Estate.Primary(); region != primary {
			name = t.Names(t.c.Estate, primary, region).AtTarget(topic)
		}
		called[name] = topic
		there = append(there, name)
	}
	if there, err = t.topicsThere(ctx, k, region, there); err != nil || len(there) == 0 {
		return err
	}
	begin, err := k.OffsetsAtOrBefore(ctx, t.since, there...)
	if err != nil {
		return err
	}
	ends, err := k.Ends(ctx, there...)
	if err != nil {
		return err
	}
	readers, err := k.Readers(ctx, there...)
	if err != nil {
		return err
	}
	came := map[string]bool{} // to which topics any record came since
	for p, e := range ends {
		came[p.Topic] = came[p.Topic] || begin[p] < e.Stable
	}
	for _, r := range readers {
		past := map[string]bool{}
		for p, at := range r.Committed {
			past[p.Topic] = past[p.Topic] || at > begin[p]
		}
		for _, name := range there {
			switch {
			case past[name]:
				t.reads(region, r, called[name], fmt.Sprintf("it has committed records of topic %s that came since", name))
			case came[name] && slices.Contains(r.Reading, name):
				t.reads(region, r, called[name], fmt.Sprintf("its members read topic %s, and have committed none of the records that came since", name))
			}
		}
	}
	return nil
}

// topicsThere are those topics that a region has. One that it has not is noted: of whom it
// was read is not known.
func (t *trace) topicsThere(ctx context.Context, k *kafka.Client, region string, topics []string) ([]string, error) {
	if _, err := k.Partitions(ctx, topics...); !errors.Is(err, fs.ErrNotExist) {
		return topics, err
	}
	var there []string
	for _, topic := range topics {
		_, err := k.Partitions(ctx, topic)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			t.miss(region, err, "who read topic %s in %s", topic, region)
			t.asked = false
		case err != nil:
			return nil, err
		default:
			there = append(there, topic)
		}
	}
	return there, nil
}

// reads notes that a group has read a topic since the fault.
func (t *trace) reads(region string, r kafka.Reader, topic, says string) {
	if t.groups[r.Group] == nil {
		t.groups[r.Group] = map[string][]string{}
	}
	if r.Kind == "share" {
		says = strings.Replace(says, "committed", "acknowledged", 1)
	}
	t.groups[r.Group][region] = append(t.groups[r.Group][region], says)
	t.graph.Add(lineage.Edge{From: lineage.Node{Kind: estate.TopicKind, Name: topic}, To: lineage.Node{Kind: estate.ConsumerGroupKind, Name: r.Group}, Says: brokersSay})
}

// brokersSay marks the edges of which the groups of the regions say more.
const brokersSay = "the brokers show it"
