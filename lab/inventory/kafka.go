package inventory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// moves reports whether a topic is a journal that its servers go on writing while nobody
// does anything: the brokers' own, those in which a Connect worker keeps what connectors it
// has and where they stand, and those of a mirror, which beats and notes where it is. What
// they mean is looked at where it counts: commits, connectors, offsets.
func moves(topic string) bool {
	return strings.HasPrefix(topic, "__") || strings.HasPrefix(topic, "connect-") || strings.HasPrefix(topic, "mm2-") ||
		strings.HasSuffix(topic, ".internal") || topic == "heartbeats" || strings.HasSuffix(topic, ".heartbeats")
}

// kafka notes a cluster's topics, settings, records, rights and commits.
func (t *taken) kafka(ctx context.Context, place, broker string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ClientID("inventory"), kgo.RetryTimeout(20*time.Second))
	if err != nil {
		return fmt.Errorf("kafka of %s: %w", place, err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	topics, err := adm.ListTopicsWithInternal(ctx)
	if err != nil {
		return fmt.Errorf("kafka of %s: list topics: %w", place, err)
	}
	for _, d := range topics.Sorted() {
		if err := t.note(place, Topic, d.Topic, fmt.Sprintf("%s with %d partitions in %d replicas", d.ID, len(d.Partitions), d.Partitions.NumReplicas())); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		what string
		do   func() error
	}{
		{"settings", func() error { return t.settings(ctx, place, adm, topics.Names()) }},
		{"rights", func() error { return t.acls(ctx, place, adm) }},
		{"groups", func() error { return t.groups(ctx, place, adm) }},
		{"records", func() error { return t.records(ctx, place, broker, adm, topics.Names()) }},
	} {
		if err := part.do(); err != nil {
			return fmt.Errorf("kafka of %s: %s: %w", place, part.what, err)
		}
	}
	return nil
}

// settings notes what is set of topics and brokers, not what is so by default.
func (t *taken) settings(ctx context.Context, place string, adm *kadm.Client, topics []string) error {
	set := func(c kadm.ResourceConfig, dynamic ...kmsg.ConfigSource) map[string]string {
		all := map[string]string{}
		for _, k := range c.Configs {
			for _, s := range dynamic {
				if k.Source == s {
					all[k.Key] = k.MaybeValue()
				}
			}
		}
		return all
	}
	configs, err := adm.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return err
	}
	for _, c := range configs {
		if c.Err != nil {
			return c.Err
		}
		if err := t.note(place, TopicSetting, c.Name, set(c, kmsg.ConfigSourceDynamicTopicConfig)); err != nil {
			return err
		}
	}
	brokers, err := adm.ListBrokers(ctx)
	if err != nil {
		return err
	}
	if configs, err = adm.DescribeBrokerConfigs(ctx, brokers.NodeIDs()...); err != nil {
		return err
	}
	for _, c := range configs {
		if c.Err != nil {
			return c.Err
		}
		if err := t.note(place, Broker, c.Name, set(c, kmsg.ConfigSourceDynamicBrokerConfig, kmsg.ConfigSourceDynamicDefaultBrokerConfig)); err != nil {
			return err
		}
	}
	return nil
}

func (t *taken) acls(ctx context.Context, place string, adm *kadm.Client) error {
	all, err := adm.DescribeACLs(ctx, kadm.NewACLs().AnyResource().Allow().AllowHosts().Deny().DenyHosts().ResourcePatternType(kadm.ACLPatternAny).Operations(kadm.OpAny))
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Err != nil {
			return r.Err
		}
		for _, a := range r.Described {
			name := fmt.Sprintf("%s of %s from %s to %s %s %s %s", a.Permission, a.Principal, a.Host, a.Operation, a.Type, a.Pattern, a.Name)
			if err := t.note(place, ACL, name, "there"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *taken) groups(ctx context.Context, place string, adm *kadm.Client) error {
	all, err := adm.ListGroups(ctx)
	if err != nil {
		return err
	}
	commits := map[string]int{}
	for _, f := range adm.FetchManyOffsets(ctx, all.Groups()...) {
		if f.Err != nil {
			return fmt.Errorf("%s: %w", f.Group, f.Err)
		}
		for _, o := range f.Fetched.Sorted() {
			commits[f.Group]++
			if err := t.note(place, Committed, fmt.Sprintf("%s in %s-%d", f.Group, o.Topic, o.Partition), fmt.Sprintf("%d, %q", o.At, o.Metadata)); err != nil {
				return err
			}
		}
	}
	for _, g := range all.Sorted() {
		held := holdsNothing
		if n := commits[g.Group]; n > 0 {
			held = fmt.Sprintf("with commits in %d partitions", n)
		}
		if g.ProtocolType != "" {
			held += ", of the protocol " + g.ProtocolType
		}
		if err := t.note(place, Group, g.Group, held); err != nil {
			return err
		}
	}
	return nil
}

// holdsNothing is a group that has no members and has read nothing.
const holdsNothing = "without any commit"

// records reads every topic that does not move by itself up to its stable end, without the
// records of transactions that were aborted.
func (t *taken) records(ctx context.Context, place, broker string, adm *kadm.Client, topics []string) error {
	type partition struct {
		topic string
		id    int32
	}
	type read struct {
		sum   hash.Hash
		n     int
		start int64
		end   int64
	}
	from := map[string]map[int32]kgo.Offset{}
	logs := map[partition]*read{}
	var names []string
	for _, topic := range topics {
		if !moves(topic) {
			names = append(names, topic)
		}
	}
	if len(names) == 0 {
		return nil
	}
	starts, err := adm.ListStartOffsets(ctx, names...)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return err
	}
	ends, err := adm.ListCommittedOffsets(ctx, names...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return err
	}
	left := 0
	ends.Each(func(o kadm.ListedOffset) {
		s, _ := starts.Lookup(o.Topic, o.Partition)
		logs[partition{o.Topic, o.Partition}] = &read{sha256.New(), 0, s.Offset, o.Offset}
		if s.Offset >= o.Offset {
			return
		}
		left++
		if from[o.Topic] == nil {
			from[o.Topic] = map[int32]kgo.Offset{}
		}
		from[o.Topic][o.Partition] = kgo.NewOffset().At(s.Offset)
	})
	// With control records, since a log may end with one.
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ClientID("inventory"), kgo.ConsumePartitions(from),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := errors.Join(fetches.Err(), ctx.Err()); err != nil {
			return fmt.Errorf("%d partitions are not read to their end: %w", left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			log := logs[partition{r.Topic, r.Partition}]
			if r.Offset >= log.end {
				return
			}
			if r.Offset == log.end-1 {
				left--
			}
			if r.Attrs.IsControl() {
				return
			}
			log.n++
			fmt.Fprintf(log.sum, "%d %d %d %q %q\n", r.Offset, r.Timestamp.UnixMilli(), r.Attrs.TimestampType(), r.Key, r.Value)
			for _, h := range r.Headers {
				fmt.Fprintf(log.sum, "%q %q\n", h.Key, h.Value)
			}
		})
	}
	for p, log := range logs {
		if err := t.note(place, Log, fmt.Sprintf("%s-%d", p.topic, p.id), fmt.Sprintf("%d from offset %d on, SHA-256 %s", log.n, log.start, hex.EncodeToString(log.sum.Sum(nil)))); err != nil {
			return err
		}
	}
	return nil
}
