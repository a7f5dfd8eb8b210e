package failover

import (
	"context"
	"fmt"
	"iter"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/table"
	"breakwater/lab"
	"breakwater/lab/oracle"

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
	key    string
}

// partition reads a partition of the standby's topic, with the committed records
// alone, up to where it ends now.
func (t *truth) partition(ctx context.Context, topic string, id int32) ([]mirrored, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, err := kgo.NewClient(
		kgo.SeedBrokers(t.s.Lab.KafkaAdmin(lab.Standby)), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {id: kgo.NewOffset().AtStart()}}), kgo.KeepControlRecords(),
	)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ends, err := kadm.NewClient(c).ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	end, ok := ends.Lookup(topic, id)
	if !ok || end.Err != nil {
		return nil, fmt.Errorf("end of partition %d: %w", id, end.Err)
	}
	var all []mirrored
	for next := int64(0); next < end.Offset; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read partition %d from %d: %w", id, next, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() && r.Offset < end.Offset {
				all = append(all, mirrored{r.Offset, string(r.Key)})
			}
		})
	}
	return all, nil
}

// topic asks that the true number of messages that were acknowledged and never
// mirrored lies inside the claimed interval.
func (t *truth) topic(ctx context.Context, topic string) error {
	claim, err := t.claim("topic", topic)
	if err != nil {
		return err
	}
	lost, last := int64(0), time.Time{}
	for id := range int32(partitions) {
		there, err := t.partition(ctx, topic, id)
		if err != nil {
			return err
		}
		arrived := map[string]bool{}
		for _, m := range there {
			arrived[m.key] = true
		}
		for _, m := range t.oracle.Messages(topic, id) {
			if !arrived[m.Key] {
				lost++
				if m.Time.After(last) {
					last = m.Time
				}
			}
		}
	}
	// In seconds each partition counts from its own moment, and the report from
	// the worst one: its upper bound must hold for the newest message of all.
	if err := inside(claim.Loss, lost, last); err != nil {
		return err
	}
	return nil
}

// partitions is how many each topic of the laboratory has.
const partitions = 4

// consumers asks that a promoted group skips nothing: every record below its
// offset at the standby was consumed at the primary.
func (t *truth) consumers(ctx context.Context, decl estate.ConsumerGroup) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(t.s.Lab.KafkaAdmin(lab.Standby)))
	if err != nil {
		return err
	}
	defer c.Close()
	committed, err := kadm.NewClient(c).FetchOffsets(ctx, decl.ConsumerGroup)
	if err != nil {
		return err
	}
	for _, topic := range decl.Topics {
		for id := range int32(partitions) {
			at, ok := committed.Lookup(topic, id)
			if !ok || at.At < 0 || at.Err != nil {
				return fmt.Errorf("partition %s-%d has no committed offset (%w)", topic, id, at.Err)
			}
			there, err := t.partition(ctx, topic, id)
			if err != nil {
				return err
			}
			done, known := t.oracle.Consumed(decl.ConsumerGroup, topic, id, time.Time{})
			for _, m := range there {
				if m.offset >= at.At {
					break
				}
				sent, ok := t.oracle.Sent(topic, m.key)
				if !ok {
					continue // not the laboratory's: a canary
				}
				if !known || !consumed(done, sent) {
					return fmt.Errorf("partition %s-%d is committed at %d, and the record %q at %d was never consumed (at the primary the group was at %d, the record at %d)",
						topic, id, at.At, m.key, m.offset, done.Offset, sent.Offset)
				}
			}
		}
	}
	return nil
}

// consumed reports whether a message lies below what the group had committed at
// the primary. One that was never acknowledged has no offset, and is left out.
func consumed(done oracle.Consumed, m oracle.Message) bool {
	return m.Offset < 0 || m.Offset < done.Offset
}
