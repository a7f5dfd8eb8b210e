package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// Record is what an action leaves in its outcome for later steps and the report, with
// its type. One value of it stands for one action, in package record or in the room
// that alone reads it.
type Record[T any] struct {
	Action string // whose Apply leaves it
	Says   string // what it says, for errors; %s stands for the item
}

// Read returns what the action's last Apply on the item left in this run, and the
// outcome that holds it. It wraps fs.ErrNotExist when no such step ran.
func (r Record[T]) Read(ctx context.Context, from Records, item string) (T, Outcome, error) {
	var v T
	o, err := from.Outcome(ctx, r.Action, item)
	if err == nil {
		v, err = r.Decode(o.Data)
	}
	if err != nil {
		return v, o, fmt.Errorf(r.Says+": %w", item, err)
	}
	return v, o, nil
}

// Encoded is what a run left before, as this program encodes it; nil where it left nothing.
func (r Record[T]) Encoded(ctx context.Context, from Records, item string) (json.RawMessage, error) {
	v, _, err := r.Read(ctx, from, item)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return Encode(v)
}

// Decode reads an outcome's data strictly: what this program does not know of a
// record is a fact that it would pass over.
func (r Record[T]) Decode(data json.RawMessage) (T, error) {
	if len(data) == 0 {
		var v T
		return v, fmt.Errorf("%s left an outcome without data", r.Action)
	}
	return Decode[T](data)
}
