package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/twmb/franz-go/pkg/kgo"
)

// CanaryHeader is the header of a canary record, whose value is the run's id:
// consumers that know it leave the record alone.
const CanaryHeader = "breakwater-canary"

// Canary is a message sent through a topic to prove that it works.
type Canary struct {
	Partition Partition `json:"partition"`
	Offset    int64     `json:"offset"`
	Run       string    `json:"run"` // id of the run, in the header
	Key       string    `json:"key"` // unique within the run
}

// errFound ends a search.
var errFound = errors.New("found")

// SendCanary produces one record, acknowledged by all replicas in sync, as the
// client's user. Sent twice it is there twice. An unknown topic is fs.ErrNotExist, a
// missing ACL fs.ErrPermission.
func (c *Client) SendCanary(ctx context.Context, topic, run, key string, value []byte) (Canary, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	doing := fmt.Sprintf("send canary %s to topic %s", key, topic)
	cl, err := kgo.NewClient(append(c.opts[:len(c.opts):len(c.opts)],
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.UnknownTopicRetries(1),
		kgo.ProduceRequestTimeout(c.timeout),
		kgo.RecordDeliveryTimeout(c.timeout),
		// An idempotent write needs a further permission, and this is one record.
		kgo.DisableIdempotentWrite(),
	)...)
	if err != nil {
		return Canary{}, c.explain(ctx, doing, err)
	}
	defer cl.Close()
	r, err := cl.ProduceSync(ctx, &kgo.Record{
		Topic: topic, Key: []byte(key), Value: value,
		Headers: []kgo.RecordHeader{{Key: CanaryHeader, Value: []byte(run)}},
	}).First()
	if err != nil {
		return Canary{}, c.explain(ctx, doing, err)
	}
	return Canary{Partition{r.Topic, r.Partition}, r.Offset, run, key}, nil
}

// FindCanary looks for a canary that was sent among the committed records of its
// partition, from the offset on that the broker acknowledged, as the client's user and
// outside any group. Stamps are not asked: whose clock they are of is the topic's choice.
// It is fs.ErrNotExist if it is not there.
func (c *Client) FindCanary(ctx context.Context, sent Canary) (Canary, error) {
	ends, err := c.Ends(ctx, sent.Partition.Topic)
	if err != nil {
		return Canary{}, err
	}
	e := ends[sent.Partition]
	found := sent
	err = c.read(ctx, map[Partition]span{sent.Partition: {max(sent.Offset, e.Start), e.Stable}}, func(r *kgo.Record) error {
		if string(r.Key) != sent.Key || header(r, CanaryHeader) != sent.Run {
			return nil
		}
		found.Offset = r.Offset
		return errFound
	})
	switch {
	case errors.Is(err, errFound):
		return found, nil
	case err != nil:
		return Canary{}, err
	}
	return Canary{}, fmt.Errorf("kafka %s: find canary %s of run %s in %v from offset %d: %w",
		c.brokers, sent.Key, sent.Run, sent.Partition, sent.Offset, fs.ErrNotExist)
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}
