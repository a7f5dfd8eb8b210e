package traffic

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"breakwater/internal/poll"
	"breakwater/lab/oracle"
)

// Odd is what is out of the ordinary about a topic, and happens in the middle of its
// traffic; see [Options].Now.
type Odd struct {
	Anew      bool `json:"anew,omitempty"`      // it is deleted and created anew
	Wider     bool `json:"wider,omitempty"`     // it gets a partition more
	Aborted   bool `json:"aborted,omitempty"`   // its last partition gets aborted transactions alone
	Compacted bool `json:"compacted,omitempty"` // few keys come again and again, from the start
}

// keysOfCompacted is how many keys the messages of a compacted topic have.
const keysOfCompacted = 24

// CompactedKey is the key that the message of an id has in a compacted topic.
func CompactedKey(id string) string {
	return strconv.Itoa(int(crc32.ChecksumIEEE([]byte(id)) % keysOfCompacted))
}

// AbortedPrefix begins the keys of records that no reader of committed ones may see.
const AbortedPrefix = "aborted-"

// odd brings about what is odd about a topic.
type odd struct {
	producer *producer
	consumer *consumer
	region   Region
}

func (o *odd) happen(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(o.region.Kafka.Admin), kgo.ClientID("lab-odd"))
	if err != nil {
		return err
	}
	defer cl.Close()
	adm, topic := kadm.NewClient(cl), o.producer.topic
	fail := func(doing string, err error) error {
		if err != nil {
			err = fmt.Errorf("%s topic %s: %w", doing, topic.Name, err)
		}
		return err
	}
	switch {
	case topic.Odd.Anew:
		return fail("create anew", o.createAnew(ctx, adm))
	case topic.Odd.Wider:
		done, err := adm.CreatePartitions(ctx, 1, topic.Name)
		return fail("widen", errors.Join(err, done.Error()))
	case topic.Odd.Aborted:
		return fail("abort transactions in", o.abort(ctx, adm))
	}
	return nil
}

// createAnew deletes the topic and makes it again as it was, while nobody writes or reads.
func (o *odd) createAnew(ctx context.Context, adm *kadm.Client) error {
	p, q, topic := o.producer, o.consumer, o.producer.topic.Name
	p.gate.Lock()
	defer p.gate.Unlock()
	q.gate.Lock()
	defer q.gate.Unlock()
	p.client.Close()
	p.pending.Wait()
	q.client.CloseAllowingRebalance()
	was, err := adm.ListTopics(ctx, topic)
	if err != nil {
		return err
	}
	described, err := adm.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return err
	}
	configs := map[string]*string{}
	for _, r := range described {
		for _, c := range r.Configs {
			if c.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
				configs[c.Key] = c.Value
			}
		}
	}
	if _, err := adm.DeleteTopic(ctx, topic); err != nil {
		return err
	}
	// It is gone a moment after the answer.
	if err := poll.Until(ctx, 20*time.Millisecond, func(ctx context.Context) (bool, error) {
		_, err := adm.CreateTopic(ctx, int32(len(was[topic].Partitions)), 1, configs, topic) //nolint:gosec // few
		return err == nil, err
	}); err != nil {
		return err
	}
	p.log++
	q.log = p.log
	if err := p.journal.Created(oracle.Anew{Region: p.region, Topic: topic, Log: p.log, Time: time.Now()}); err != nil {
		return err
	}
	return errors.Join(p.open(o.region), q.open(o.region))
}

// abort sends no more messages to the last partition, and transactions that are aborted
// instead, until ctx ends.
func (o *odd) abort(ctx context.Context, adm *kadm.Client) error {
	topic := o.producer.topic.Name
	there, err := adm.ListTopics(ctx, topic)
	if err != nil {
		return err
	}
	last := int32(len(there[topic].Partitions) - 1) //nolint:gosec // few
	o.producer.gate.Lock()
	o.producer.quiet.Store(true)
	o.producer.gate.Unlock()
	cl, err := kgo.NewClient(kgo.SeedBrokers(o.region.Kafka.Admin), kgo.ClientID("lab-aborts"),
		kgo.TransactionalID("lab-aborts-"+topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordDeliveryTimeout(3*time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	for n := 0; ; n++ {
		if err := cl.BeginTransaction(); err != nil {
			return err
		}
		key := fmt.Sprintf("%s%d", AbortedPrefix, n)
		sent := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: last, Key: []byte(key), Value: fmt.Appendf(nil, `{"id":%q}`, key)})
		if err := errors.Join(sent.FirstErr(), cl.EndTransaction(ctx, kgo.TryAbort)); err != nil {
			return err
		}
		if poll.Wait(ctx, 100*time.Millisecond) != nil {
			return nil
		}
	}
}
