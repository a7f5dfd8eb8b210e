package host

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/authority"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/takeover"

	"go.temporal.io/sdk/activity"
)

// turn says who may change things for a batch of a step: one attempt of doing it, or of
// taking it back. It lies in the ledger's location and only goes forward, so that an
// attempt that froze and wakes up later finds that it is no longer its turn.
type turn struct {
	Direction string    `json:"direction"`
	Attempt   int       `json:"attempt"`  // of the step, as the run counts them
	Activity  int32     `json:"activity"` // the try of it, as Temporal counts them
	Since     time.Time `json:"since"`
}

// after is how a turn stands to another one: taking back comes after all doing.
func (t turn) after(o turn) int {
	return cmp.Or(strings.Compare(t.Direction, o.Direction), cmp.Compare(t.Attempt, o.Attempt), cmp.Compare(t.Activity, o.Activity))
}

func (t turn) String() string {
	return fmt.Sprintf("%s, attempt %d, try %d, since %s", t.Direction, t.Attempt, t.Activity, t.Since.UTC().Format(time.RFC3339))
}

var errTurn = errors.New("another attempt has taken the turn")

// takeTurn makes it this attempt's turn, where it changes things. Taking back then waits
// until nothing of before can still be under way.
func (b *batch) takeTurn(ctx context.Context, h *Host) error {
	if b.def.Effect != action.Mutates {
		return nil
	}
	before, err := b.swapTurn(ctx)
	if err == nil && b.undoes() {
		err = b.settle(ctx, h, before)
	}
	if err == nil {
		err = b.settleLock(ctx, h)
	}
	return err
}

// swapTurn makes it this attempt's turn, and returns whose it was before; nil for nobody's.
func (b *batch) swapTurn(ctx context.Context) (*turn, error) {
	mine := turn{Direction: approval.Do, Attempt: b.in.Attempt, Activity: activity.GetInfo(ctx).Attempt, Since: time.Now().UTC()}
	if b.undoes() {
		mine.Direction = approval.Undo
	}
	fresh, err := ledger.Encode(mine)
	if err != nil {
		return nil, err
	}
	for {
		before, raw, err := b.readTurn(ctx)
		if err != nil {
			return nil, err
		}
		if before != nil && mine.after(*before) < 0 {
			return nil, b.notMine(mine, *before)
		}
		if before != nil && mine.after(*before) == 0 { // an answer that was lost
			b.turn = raw
			return before, nil
		}
		switch err := b.ledger.Swap(ctx, b.turnKey(), raw, fresh); {
		case err == nil:
			b.turn = fresh
			return before, nil
		case !errors.Is(err, store.ErrMoved):
			return nil, fmt.Errorf("take the turn of step %q: %w", b.step.Title, err)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
	}
}

func (b *batch) turnKey() string { return ledger.TurnKey(b.run, b.step.ID, b.in.From) }

func (b *batch) notMine(mine, is turn) error {
	return fmt.Errorf("%w of step %q: %w: it is %s, and this is %s", action.ErrRefused, b.step.Title, errTurn, is, mine)
}

func (b *batch) readTurn(ctx context.Context) (*turn, []byte, error) {
	raw, err := b.ledger.Get(ctx, b.turnKey())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	var t turn
	if err == nil {
		err = json.Unmarshal(raw, &t)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read whose turn step %q is: %w", b.step.Title, err)
	}
	return &t, raw, nil
}

// guard refuses to go on when the run lost the estate, or this attempt its turn. It is
// asked before each change.
func (b *batch) guard(ctx context.Context) error {
	if b.def.Effect != action.Mutates {
		return nil
	}
	if b.as.Mode == action.ModeLive {
		if err := b.chain.holds(ctx, b.estate, b.as.Epoch); err != nil {
			return err
		}
	}
	is, raw, err := b.readTurn(ctx)
	switch {
	case err != nil:
		return err
	case is == nil || b.turn == nil:
		return fmt.Errorf("%w of step %q: %w: nobody has it", action.ErrRefused, b.step.Title, errTurn)
	case !bytes.Equal(raw, b.turn):
		var mine turn
		if err := json.Unmarshal(b.turn, &mine); err != nil {
			return err
		}
		return b.notMine(mine, *is)
	}
	return nil
}

// settle waits, before the first change of an undo, until no request of an attempt that
// left no outcome can still be under way.
func (b *batch) settle(ctx context.Context, h *Host, before *turn) error {
	if before == nil {
		return nil // nothing was ever begun
	}
	name := ledger.DocOutcome
	if before.Direction == approval.Undo {
		name = "undo-" + name
	}
	for _, i := range b.items {
		_, _, err := store.FindDoc(ctx, b.ledger, b.trusted, ledger.DocKey(b.run, b.step.ID, i.Name, before.Attempt, name))
		switch {
		case err == nil:
			continue
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		b.say(ctx, "waiting %s: the last attempt at %s left no outcome, and a request of it may be under way", action.LongestRequest, i)
		return h.wait(ctx, action.LongestRequest)
	}
	return nil
}

// settleLock waits, before a change of a run that took the estate over, until no request of
// the run before can still be under way: since then it is no longer at its epoch. People
// waited as long between their signatures, by the clocks of their machines, and the worker
// of the run before may not have known who they are.
func (b *batch) settleLock(ctx context.Context, h *Host) error {
	var since time.Time
	b.chain.read(func(v *authority.View) { since = v.TookOver })
	left := time.Until(since.Add(takeover.Wait))
	if since.IsZero() || left <= 0 {
		return nil
	}
	b.say(ctx, "waiting %s: the estate was just taken over, and a request of the run before may be under way", left.Round(time.Second))
	return h.wait(ctx, left)
}

// wait lets time pass.
func (h *Host) wait(ctx context.Context, d time.Duration) error {
	if h.Wait != nil {
		return h.Wait(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
