package kafka

import (
	"context"
)

// DataEnd is the end of a partition's committed data.
type DataEnd struct {
	Ends
	// Data is the position after the newest committed data record. Control markers
	// may follow it, which no mirror copies; while a transaction is open it is the
	// end of the log, since records of others lie above the stable offset.
	Data int64
}

// markers is how many control markers and aborted records are looked past at the
// end of a partition. Behind more of them the end of data is said too late, which
// makes a mirror look worse than it is, and never better.
const markers = 16

// DataEnds reads where the committed data of every partition of a topic ends. A
// topic that does not exist is fs.ErrNotExist.
func (c *Client) DataEnds(ctx context.Context, topic string) (map[Partition]DataEnd, error) {
	ends, err := c.Ends(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(map[Partition]DataEnd, len(ends))
	open := Offsets{}
	for p, e := range ends {
		out[p] = DataEnd{e, e.End}
		if e.Stable == e.End && e.End > e.Start {
			open[p] = e.End - 1
		}
	}
	for range markers {
		if len(open) == 0 {
			break
		}
		n, err := c.Remaining(ctx, open)
		if err != nil {
			return nil, err
		}
		for p, from := range open {
			if n[p] > 0 || from <= ends[p].Start {
				delete(open, p)
			}
			if n[p] == 0 {
				out[p] = DataEnd{ends[p], from}
				if from > ends[p].Start {
					open[p] = from - 1
				}
			}
		}
	}
	return out, nil
}
