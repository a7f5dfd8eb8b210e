package kafka

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// DataEnd is the end of a partition's committed data.
type DataEnd struct {
	Ends
	// Data is the position after the newest committed data record. Control markers and
	// aborted records may follow it, which no mirror copies; while a transaction is open
	// it is the end of the log, since records of others lie above the stable offset.
	Data int64
}

// DataEnds reads where the committed data of every partition of a topic ends. A
// topic that does not exist is fs.ErrNotExist.
func (c *Client) DataEnds(ctx context.Context, topic string) (map[Partition]DataEnd, error) {
	ends, err := c.Ends(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(map[Partition]DataEnd, len(ends))
	var closed []Partition
	for p, e := range ends {
		out[p] = DataEnd{e, e.End}
		if e.Stable == e.End {
			closed = append(closed, p)
		}
	}
	last := Offsets{}
	err = c.tails(ctx, ends, closed, func(r *kgo.Record) { last[Partition{r.Topic, r.Partition}] = r.Offset })
	for _, p := range closed {
		data := ends[p].Start
		if o, found := last[p]; found {
			data = o + 1
		}
		out[p] = DataEnd{ends[p], data}
	}
	return out, err
}

// tail is how many numbers at the end of a partition are looked at first.
const tail = 256

// tails hands the newest committed data records of partitions to each, in their order:
// those among the last few numbers, where most logs hold one; where there is none, of
// eight times as many, until the start.
func (c *Client) tails(ctx context.Context, ends map[Partition]Ends, of []Partition, each func(*kgo.Record)) error {
	todo := slices.Clone(of)
	for back := int64(tail); len(todo) > 0; back *= 8 {
		spans := make(map[Partition]span, len(todo))
		for _, p := range todo {
			spans[p] = span{max(ends[p].Start, ends[p].Stable-back), ends[p].Stable}
		}
		left := maps.Clone(spans)
		err := c.read(ctx, spans, func(r *kgo.Record) error {
			delete(left, Partition{r.Topic, r.Partition})
			each(r)
			return nil
		})
		if err != nil {
			return err
		}
		todo = slices.DeleteFunc(todo, func(p Partition) bool { _, none := left[p]; return !none || spans[p].from <= ends[p].Start })
	}
	return nil
}
