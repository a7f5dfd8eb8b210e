package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"breakwater/internal/poll"
)

// Ends are the borders of a partition's log at one moment.
type Ends struct {
	Start  int64 // log start offset: what is before it was deleted
	Stable int64 // last stable offset: a read_committed reader sees nothing from here on
	End    int64 // log end offset; equal to Stable unless a transaction is open
}

// Ends reads the borders of every partition of the topics. The three numbers are
// read one after the other, the end last, so that Start ≤ Stable ≤ End also
// while records arrive. A topic that does not exist is fs.ErrNotExist; no topics
// are no partitions.
func (c *Client) Ends(ctx context.Context, topics ...string) (map[Partition]Ends, error) {
	start, err := c.list(ctx, "list start offsets", topics, c.adm.ListStartOffsets)
	if err != nil {
		return nil, err
	}
	stable, err := c.list(ctx, "list last stable offsets", topics, c.adm.ListCommittedOffsets)
	if err != nil {
		return nil, err
	}
	end, err := c.list(ctx, "list end offsets", topics, c.adm.ListEndOffsets)
	if err != nil {
		return nil, err
	}
	ends := make(map[Partition]Ends, len(end))
	for p, e := range end {
		s, known := start[p]
		l, stable := stable[p]
		if !known || !stable {
			return nil, fmt.Errorf("kafka %s: list offsets: partition %v appeared meanwhile: read again", c.brokers, p)
		}
		// Retention may move the start past what was the stable end a moment ago.
		ends[p] = Ends{Start: min(s, l), Stable: l, End: e}
	}
	return ends, nil
}

// OffsetsAtOrBefore finds per partition the first committed data record that is
// of time t or later: every one before it is older, so a group placed there
// misses nothing from t on. Where all are older it is the last stable offset.
//
// The broker's own listing by time is only where the search begins: it counts
// control markers, which an exactly-once mirror writes with the time of copying,
// and so stops early by as much as the mirror lags.
func (c *Client) OffsetsAtOrBefore(ctx context.Context, t time.Time, topics ...string) (Offsets, error) {
	// The ends come first: what arrives meanwhile is past them and left out.
	ends, err := c.Ends(ctx, topics...)
	if err != nil {
		return nil, err
	}
	// Kafka keeps milliseconds: a record of the same millisecond but earlier than
	// t must count as "t or later", so rounding is down.
	t = t.Truncate(time.Millisecond)
	found, err := c.list(ctx, "list offsets at "+t.UTC().Format(time.RFC3339Nano), topics,
		func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
			return c.adm.ListOffsetsAfterMilli(ctx, t.UnixMilli(), topics...)
		})
	if err != nil {
		return nil, err
	}
	out := make(Offsets, len(ends))
	spans := make(map[Partition]span, len(ends))
	for p, e := range ends {
		from, ok := found[p]
		if !ok {
			return nil, c.explain(ctx, fmt.Sprintf("list offsets of %v", p), kerr.UnknownTopicOrPartition)
		}
		out[p] = e.Stable
		spans[p] = span{max(from, e.Start), e.Stable}
	}
	return out, c.read(ctx, spans, func(r *kgo.Record) error {
		if r.Timestamp.Before(t) {
			return nil
		}
		out[Partition{r.Topic, r.Partition}] = r.Offset
		return errEnough
	})
}

// listing is one of kadm's listings.
type listing = func(context.Context, ...string) (kadm.ListedOffsets, error)

// list runs one of kadm's listings and refuses a partial answer. While a partition
// elects a leader, as after its broker hung, it asks again as long as one call may take.
func (c *Client) list(ctx context.Context, doing string, topics []string, ask listing) (out Offsets, err error) {
	if len(topics) == 0 {
		return nil, nil // kadm would list every topic
	}
	ctx, cancel := c.bound(ctx)
	defer cancel()
	for {
		out, err = c.listed(ctx, doing, topics, ask)
		if !errors.Is(err, kerr.LeaderNotAvailable) && !errors.Is(err, kerr.NotLeaderForPartition) || poll.Wait(ctx, again) != nil {
			return out, err
		}
	}
}

// listed asks once.
func (c *Client) listed(ctx context.Context, doing string, topics []string, ask listing) (Offsets, error) {
	listed, err := ask(ctx, topics...)
	// A partition's own error says more than the envelope's.
	out := make(Offsets)
	for _, topic := range topics {
		if err == nil && len(listed[topic]) == 0 {
			return nil, c.explain(ctx, doing+" of topic "+topic, kerr.UnknownTopicOrPartition)
		}
		for id, l := range listed[topic] {
			p := Partition{topic, id}
			switch {
			case errors.Is(l.Err, kerr.UnknownTopicOrPartition) && id < 0:
				return nil, c.explain(ctx, doing+" of topic "+topic, l.Err)
			case l.Err != nil:
				return nil, c.explain(ctx, fmt.Sprintf("%s of %v", doing, p), l.Err)
			case l.Offset < 0 && err == nil:
				return nil, c.explain(ctx, fmt.Sprintf("%s of %v", doing, p), errors.New("the broker answered without an offset"))
			}
			out[p] = l.Offset
		}
	}
	if err != nil {
		return nil, c.explain(ctx, doing, err)
	}
	return out, nil
}

// Stamps is what the newest committed data records of a partition say of time.
type Stamps struct {
	Newest time.Time     // the highest timestamp; zero if none has one
	Fell   time.Duration // how far a timestamp lies before that of an earlier record, at most
	// Appended means that a broker stamped a record with the time at which it arrived
	// (LogAppendTime): in a copy, that is when it was copied.
	Appended bool
	Undated  bool // a record has no timestamp (-1)
}

// add takes in the next record.
func (s *Stamps) add(r *kgo.Record) {
	if r.Timestamp.UnixMilli() < 0 {
		s.Undated = true
		return
	}
	s.Appended = s.Appended || r.Attrs.TimestampType() == 1
	if r.Timestamp.After(s.Newest) {
		s.Newest = r.Timestamp
	} else {
		s.Fell = max(s.Fell, s.Newest.Sub(r.Timestamp))
	}
}

// Newest reads per partition the timestamps of its newest committed data records; a
// partition without any is missing from the answer.
//
// It reads records, because the broker's own listing of the highest timestamp
// counts control markers, which are as young as the copying: it would call a
// mirror fresh that delivers old records.
func (c *Client) Newest(ctx context.Context, topics ...string) (map[Partition]Stamps, error) {
	ends, err := c.Ends(ctx, topics...)
	if err != nil {
		return nil, err
	}
	newest := make(map[Partition]Stamps, len(ends))
	return newest, c.tails(ctx, ends, slices.Collect(maps.Keys(ends)), func(r *kgo.Record) {
		p := Partition{r.Topic, r.Partition}
		s := newest[p]
		s.add(r)
		newest[p] = s
	})
}

// Fall finds per partition the first committed data record from one offset to another
// whose timestamp lies before what it should: by more than slack before that of an
// earlier record there, or before since; or that has none. Where there is no such
// record it is the end.
//
// Up to there, the order of timestamps is that in which records came.
func (c *Client) Fall(ctx context.Context, from, to Offsets, since map[Partition]time.Time, slack time.Duration) (Offsets, error) {
	out := maps.Clone(to)
	spans := make(map[Partition]span, len(to))
	for p, end := range to {
		spans[p] = span{from[p], end}
	}
	highest := maps.Clone(since)
	if highest == nil {
		highest = map[Partition]time.Time{}
	}
	return out, c.read(ctx, spans, func(r *kgo.Record) error {
		p := Partition{r.Topic, r.Partition}
		if r.Timestamp.UnixMilli() < 0 || r.Timestamp.Add(slack).Before(highest[p]) {
			out[p] = r.Offset
			return errEnough
		}
		if r.Timestamp.After(highest[p]) {
			highest[p] = r.Timestamp
		}
		return nil
	})
}

// Remaining counts per partition the committed data records from the given
// position to the stable end, by reading them: numbers are not counts. On a
// source it is what its mirror has not delivered.
func (c *Client) Remaining(ctx context.Context, from Offsets) (map[Partition]int64, error) {
	n, err := c.Count(ctx, from, math.MaxInt64)
	count := make(map[Partition]int64, len(n))
	for p, c := range n {
		count[p] = c.Records
	}
	return count, err
}

// Counted is how many committed data records there are.
type Counted struct {
	Records int64
	Whole   bool // all were counted; else there are at least so many
}

// Count is [Client.Remaining], of each partition up to a limit.
func (c *Client) Count(ctx context.Context, from Offsets, limit int64) (map[Partition]Counted, error) {
	topics := make(map[string]bool)
	for p := range from {
		topics[p.Topic] = true
	}
	ends, err := c.Ends(ctx, slices.Collect(maps.Keys(topics))...)
	if err != nil {
		return nil, err
	}
	spans := make(map[Partition]span, len(from))
	count := make(map[Partition]Counted, len(from))
	for p, o := range from {
		e, ok := ends[p]
		if !ok {
			return nil, c.explain(ctx, fmt.Sprintf("count records of %v", p), kerr.UnknownTopicOrPartition)
		}
		spans[p] = span{max(o, e.Start), e.Stable}
		count[p] = Counted{Whole: true}
	}
	return count, c.read(ctx, spans, func(r *kgo.Record) error {
		p := Partition{r.Topic, r.Partition}
		n := count[p]
		if n.Records >= limit {
			count[p] = Counted{Records: n.Records}
			return errEnough
		}
		n.Records++
		count[p] = n
		return nil
	})
}
