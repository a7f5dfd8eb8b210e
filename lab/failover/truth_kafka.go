package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/report"
	"breakwater/internal/table"
	"breakwater/lab"
	"breakwater/lab/oracle"
	"breakwater/lab/traffic"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// bucketStore is a bucket as package delta reads it, apart from the product's
// own adapter.
type bucketStore struct{ objectstore.Bucket }

func (s bucketStore) List(ctx context.Context, prefix string) iter.Seq2[table.Object, error] {
	return func(yield func(table.Object, error) bool) {
		for o, err := range s.Bucket.List(ctx, prefix) {
			if !yield(table.Object{Key: o.Key, Size: o.Size, Modified: o.LastModified, ETag: o.ETag, VersionID: o.VersionID}, err) {
				return
			}
		}
	}
}

func (s bucketStore) Get(ctx context.Context, key string) ([]byte, error) {
	body, _, err := s.Bucket.Get(ctx, key)
	return body, err
}

// mirrored is what one partition of the standby holds, by its own offsets.
type mirrored struct {
	offset int64
	id     string // of the message: of a compacted topic, several have one key
}

// log is a partition of the standby's topic; empty of a partition that it has not.
type log struct {
	records []mirrored
	holes   int64 // numbers that are neither of a record nor of a marker
}

// partitions reads the standby's topic, with the committed records alone, up to where it
// ends now.
func (t *truth) partitions(ctx context.Context, topic string) (map[int32]log, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	all := map[int32]log{}
	adm, err := kadm.NewOptClient(kgo.SeedBrokers(t.s.Lab.KafkaAdmin(lab.Standby)))
	if err != nil {
		return nil, err
	}
	defer adm.Close()
	ends, err := adm.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	for id, end := range ends[topic] {
		if all[id], err = t.partition(ctx, topic, id, end.Offset); err != nil {
			return nil, fmt.Errorf("read partition %d up to %d: %w", id, end.Offset, err)
		}
	}
	return all, nil
}

func (t *truth) partition(ctx context.Context, topic string, id int32, end int64) (log, error) {
	c, err := kgo.NewClient(
		kgo.SeedBrokers(t.s.Lab.KafkaAdmin(lab.Standby)), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {id: kgo.NewOffset().AtStart()}}), kgo.KeepControlRecords(),
	)
	if err != nil {
		return log{}, err
	}
	defer c.Close()
	all := log{}
	for next := int64(0); next < end; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return all, fmt.Errorf("from %d: %w", next, err)
		}
		for r := range fetches.RecordsAll() {
			all.holes += r.Offset - next
			next = r.Offset + 1
			if r.Attrs.IsControl() || r.Offset >= end {
				continue
			}
			var value struct {
				ID string `json:"id"`
			}
			if json.Unmarshal(r.Value, &value) != nil || value.ID == "" {
				value.ID = string(r.Key) // not the laboratory's: a canary
			}
			if strings.HasPrefix(value.ID, traffic.AbortedPrefix) {
				return all, fmt.Errorf("record %d is of a transaction that was aborted at the source", r.Offset)
			}
			all.records = append(all.records, mirrored{r.Offset, value.ID})
		}
	}
	return all, nil
}

// Happened tells how often a topic was created anew at the primary, and how many numbers of
// its copy hold no record any more, since a later one has its key.
func (s *Session) Happened(ctx context.Context, topic string) (anew int, holes int64, err error) {
	t, err := s.truth(report.Report{})
	if err != nil {
		return 0, 0, err
	}
	all, err := t.partitions(ctx, topic)
	for _, there := range all {
		holes += there.holes
	}
	return t.oracle.Log(topic), holes, err
}

// missing are the messages that the primary acknowledged, kept, and did not bring over.
// Of a compacted topic they are at least as many as they have keys: that one which a
// later one replaced did not come over is no loss, if that one did.
func (t *truth) missing(topic string, id int32, there log) (messages []oracle.Message, least int) {
	compacted := t.s.Lab.OddOf(topic).Compacted
	arrived, through := map[string]bool{}, int64(-1)
	for _, m := range there.records {
		arrived[m.id] = true
		if sent, ok := t.oracle.Sent(topic, m.id); ok && sent.Log == t.oracle.Log(topic) {
			through = max(through, sent.Offset)
		}
	}
	keys := map[string]bool{}
	for _, m := range t.oracle.Messages(topic, id) {
		if arrived[m.Key] || compacted && m.Offset < through {
			continue
		}
		messages = append(messages, m)
		if compacted {
			keys[traffic.CompactedKey(m.Key)] = true
		} else {
			keys[m.Key] = true
		}
	}
	return messages, len(keys)
}

// topics asks [truth.topic] of every topic.
func (t *truth) topics(ctx context.Context) error {
	var errs []error
	for _, g := range t.estate.Groups {
		for _, topic := range g.Topics {
			if err := t.topic(ctx, topic.Topic); err != nil {
				errs = append(errs, fmt.Errorf("topic %s: %w", topic.Topic, err))
			}
		}
	}
	return errors.Join(errs...)
}

// topic asks that the true number of messages that were acknowledged and never
// mirrored lies inside the claimed interval.
func (t *truth) topic(ctx context.Context, topic string) error {
	claim, err := t.claim("topic", topic)
	if err != nil {
		return err
	}
	there, err := t.partitions(ctx, topic)
	if err != nil {
		return err
	}
	ids := t.oracle.Partitions(topic)
	for id := range there {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	var lost missed
	for _, id := range ids {
		messages, least := t.missing(topic, id, there[id])
		lost.least += int64(least)
		lost.most += int64(len(messages))
		for _, m := range messages {
			if m.Time.After(lost.last) {
				lost.last = m.Time
			}
		}
	}
	// In seconds each partition counts from its own moment, and the report from
	// the worst one: its upper bound must hold for the newest message of all.
	return inside(claim.Loss, lost)
}

// consumers asks that a promoted group skips nothing: every record below its offset at
// the standby was consumed at the primary, and was sent before the moment of which the
// group's tables come back.
func (t *truth) consumers(ctx context.Context, g estate.Group, decl estate.ConsumerGroup) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(t.s.Lab.KafkaAdmin(lab.Standby)))
	if err != nil {
		return err
	}
	defer c.Close()
	committed, err := kadm.NewClient(c).FetchOffsets(ctx, decl.ConsumerGroup)
	if err != nil {
		return err
	}
	var cut time.Time
	for _, table := range g.Tables {
		claim, err := t.claim("table", table.Table)
		if err != nil {
			return err
		}
		if cut.IsZero() || claim.RecoveryPoint.Before(cut) {
			cut = claim.RecoveryPoint
		}
	}
	for _, topic := range decl.Topics {
		all, err := t.partitions(ctx, topic)
		if err != nil {
			return err
		}
		for id, there := range all {
			at, ok := committed.Lookup(topic, id)
			if !ok || at.At < 0 || at.Err != nil {
				return fmt.Errorf("partition %s-%d has no committed offset (%w)", topic, id, at.Err)
			}
			done, known := t.oracle.Consumed(decl.ConsumerGroup, topic, id, time.Time{})
			for _, m := range there.records {
				if m.offset >= at.At {
					break
				}
				sent, ok := t.oracle.Sent(topic, m.id)
				if !ok {
					continue // not the laboratory's: a canary
				}
				if sent.Log == t.oracle.Log(topic) && (!known || !consumed(done, sent)) {
					return fmt.Errorf("partition %s-%d is committed at %d, and the record %q at %d was never consumed (at the primary the group was at %d, the record at %d)",
						topic, id, at.At, m.id, m.offset, done.Offset, sent.Offset)
				}
				if !cut.IsZero() && sent.Time.After(cut) {
					return fmt.Errorf("partition %s-%d is committed at %d, and the record %q at %d was sent at %s, after %s, of which the tables come back",
						topic, id, at.At, m.id, m.offset, sent.Time.Format(time.RFC3339Nano), cut.Format(time.RFC3339Nano))
				}
			}
		}
	}
	return nil
}

// consumed reports whether a message lies below what the group had committed at
// the primary. One that was never acknowledged has no offset, and is left out.
func consumed(done oracle.Consumed, m oracle.Message) bool {
	return m.Offset < 0 || m.Log == done.Log && m.Offset < done.Offset
}
