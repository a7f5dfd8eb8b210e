package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

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
	Time      time.Time `json:"time"`
}

// errFound ends a search.
var errFound = errors.New("found")

// SendCanary produces one record, acknowledged by all replicas in sync, as the
// client's user. Sent twice it is there twice: look with [Client.FindCanary]
// first. An unknown topic is fs.ErrNotExist, a missing ACL fs.ErrPermission.
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
	return Canary{Partition{r.Topic, r.Partition}, r.Offset, run, key, r.Timestamp.UTC()}, nil
}

// FindCanary looks for a run's canary among the committed records of a topic
// that are not older than since, as the client's user and outside any group. It
// is fs.ErrNotExist if it is not there.
func (c *Client) FindCanary(ctx context.Context, topic, run, key string, since time.Time) (Canary, error) {
	from, err := c.OffsetsAtOrBefore(ctx, since, topic)
	if err != nil {
		return Canary{}, err
	}
	ends, err := c.Ends(ctx, topic)
	if err != nil {
		return Canary{}, err
	}
	spans := make(map[Partition]span, len(ends))
	for p, e := range ends {
		spans[p] = span{max(from[p], e.Start), e.Stable}
	}
	var found Canary
	err = c.read(ctx, spans, func(r *kgo.Record) error {
		if string(r.Key) != key || header(r, CanaryHeader) != run {
			return nil
		}
		found = Canary{Partition{r.Topic, r.Partition}, r.Offset, run, key, r.Timestamp.UTC()}
		return errFound
	})
	switch {
	case errors.Is(err, errFound):
		return found, nil
	case err != nil:
		return Canary{}, err
	}
	return Canary{}, fmt.Errorf("kafka %s: find canary %s of run %s in topic %s since %s: %w",
		c.brokers, key, run, topic, since.UTC().Format(time.RFC3339), fs.ErrNotExist)
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}
