package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"breakwater/internal/plural"

	"github.com/twmb/franz-go/pkg/kgo"
)

// errEnough, returned for a record, ends the reading of its partition.
var errEnough = errors.New("enough of this partition")

// span is a half-open range of offsets.
type span struct{ from, to int64 }

// Record is one data record.
type Record struct {
	Partition Partition
	Offset    int64
	Key       []byte
	Value     []byte // nil for a deletion
	Time      time.Time
}

// EachRecord hands every committed data record of a topic to each, in the order
// of its partition, up to the stable end at the time of the call. An error of each
// ends the reading and is returned as it is. A topic that does not exist is
// fs.ErrNotExist.
func (c *Client) EachRecord(ctx context.Context, topic string, each func(Record) error) error {
	ends, err := c.Ends(ctx, topic)
	if err != nil {
		return err
	}
	spans := make(map[Partition]span, len(ends))
	for p, e := range ends {
		spans[p] = span{e.Start, e.Stable}
	}
	return c.read(ctx, spans, func(r *kgo.Record) error {
		return each(Record{Partition{r.Topic, r.Partition}, r.Offset, r.Key, r.Value, r.Timestamp})
	})
}

// batches counts what a reader was given, whether it had anything to hand on or not: of
// aborted transactions nobody sees a record, and yet the reading goes on.
type batches struct{ n atomic.Int64 }

var _ kgo.HookFetchBatchRead = (*batches)(nil)

// OnFetchBatchRead is called for every batch.
func (b *batches) OnFetchBatchRead(kgo.BrokerMetadata, string, int32, kgo.FetchBatchMetrics) {
	b.n.Add(1)
}

// read hands every committed data record of the spans to each and returns when
// all spans were passed; errEnough from each passes the rest of a span, and any
// other error ends the reading. Control markers are followed but not handed on: a
// span may well end with one.
//
// The log may give nothing for c.timeout: then the answer would be incomplete,
// and read says that it is unreachable rather than that there is no more.
func (c *Client) read(ctx context.Context, spans map[Partition]span, each func(*kgo.Record) error) error {
	at := make(map[string]map[int32]kgo.Offset)
	open := make(map[Partition]span)
	for p, s := range spans {
		if s.from >= s.to {
			continue
		}
		if at[p.Topic] == nil {
			at[p.Topic] = make(map[int32]kgo.Offset)
		}
		at[p.Topic][p.ID] = kgo.NewOffset().At(s.from)
		open[p] = s
	}
	if len(open) == 0 {
		return nil
	}
	var given batches
	cl, err := kgo.NewClient(append(c.opts[:len(c.opts):len(c.opts)],
		kgo.WithHooks(&given),
		kgo.ConsumePartitions(at),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(100*time.Millisecond),
		// What retention removed meanwhile is gone: the reader goes on at the new start.
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableFetchSessions(),
	)...)
	if err != nil {
		return fmt.Errorf("kafka %s: read: %w", c.brokers, err)
	}
	defer cl.Close()
	for len(open) > 0 {
		before := given.n.Load()
		progress, err := c.readSome(ctx, cl, open, each)
		if err != nil {
			return err
		}
		if !progress && given.n.Load() == before {
			return c.explain(ctx, fmt.Sprintf("read %s", describe(open)), errSilent)
		}
	}
	return nil
}

// readSome polls until one open span has moved, or c.timeout is over.
func (c *Client) readSome(ctx context.Context, cl *kgo.Client, open map[Partition]span, each func(*kgo.Record) error) (bool, error) {
	bounded, cancel := c.bound(ctx)
	defer cancel()
	for {
		fetches := cl.PollFetches(bounded)
		moved := false
		var failed error
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			p := Partition{f.Topic, f.Partition}
			if f.Err != nil && !errors.Is(f.Err, context.DeadlineExceeded) && failed == nil {
				failed = c.explain(ctx, fmt.Sprintf("read %v", p), f.Err)
			}
			for _, r := range f.Records {
				s, wanted := open[p]
				if !wanted || failed != nil {
					return
				}
				moved = true
				if r.Offset < s.to && !r.Attrs.IsControl() {
					failed = each(r)
				}
				s.from = r.Offset + 1
				if errors.Is(failed, errEnough) {
					failed, s.from = nil, s.to
				}
				if s.from >= s.to {
					delete(open, p)
				} else {
					open[p] = s
				}
			}
		})
		switch {
		case ctx.Err() != nil:
			return false, c.explain(ctx, fmt.Sprintf("read %s", describe(open)), context.Cause(ctx))
		case failed != nil:
			return false, failed
		case moved:
			return true, nil
		case bounded.Err() != nil:
			return false, nil
		}
	}
}

// describe names one of the spans that are still open.
func describe(open map[Partition]span) string {
	for p, s := range open {
		return fmt.Sprintf("%v from %d to %d (%s open)", p, s.from, s.to, plural.Of(len(open), "partition"))
	}
	return "nothing"
}
