package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"breakwater/internal/ledger"
)

var (
	// ErrHeld means that another run holds the estate. The text names it.
	ErrHeld = errors.New("the estate is held by another run")
	// ErrSuperseded means that a run no longer holds the estate: it was released,
	// or taken over. Whatever still acts for it must stop.
	ErrSuperseded = errors.New("this run no longer holds the estate")
)

// Holder is the run that may change an estate, and what it is about.
type Holder struct {
	Run     ledger.Run `json:"run"`
	Runbook string     `json:"runbook"`
	Mode    string     `json:"mode"`
	Source  string     `json:"source"`
	Target  string     `json:"target"`
	Since   time.Time  `json:"since"` // the workflow's time
}

// String says who it is, for people.
func (h Holder) String() string {
	return fmt.Sprintf("%s (%s, %s → %s, mode %s, since %s)", h.Run, h.Runbook, h.Source, h.Target, h.Mode, h.Since.UTC().Format(time.RFC3339))
}

// LockState is what the lock's object says.
type LockState struct {
	Estate string `json:"estate"`
	// Epoch counts the holders, from 1. It never goes back, so that an activity
	// of a former holder can be told from one of the present holder.
	Epoch  int64   `json:"epoch"`
	Holder *Holder `json:"holder"` // nil when nobody holds it
}

// Lock is the lock of an estate: one run at a time may change it. It does not
// expire. A run that died keeps it until it is resumed, or until people who know
// that it died take it over.
type Lock struct {
	store  Store
	estate string
}

// NewLock returns the lock of an estate in a location.
func NewLock(s Store, estate string) Lock { return Lock{s, estate} }

// State reads the lock. One that was never taken has epoch 0.
func (l Lock) State(ctx context.Context) (LockState, error) {
	state, _, err := l.read(ctx)
	return state, err
}

// Acquire takes the lock for a run and returns the epoch that it acts under. A
// run that holds it gets its epoch again. If another one does, the error is
// ErrHeld and names it.
func (l Lock) Acquire(ctx context.Context, h Holder) (int64, error) {
	return l.change(ctx, "take", func(s *LockState) error {
		switch {
		case s.Holder == nil:
			s.Epoch, s.Holder = s.Epoch+1, &h
		case s.Holder.Run != h.Run:
			return fmt.Errorf("%w: %s, at epoch %d; wait for it or end it", ErrHeld, s.Holder, s.Epoch)
		}
		return nil
	})
}

// TakeOver takes the lock from whoever holds it at the given epoch, and returns
// the new one. That people agreed to it, and that no request of the former
// holder can still be under way, is for the caller to know. If the lock is no
// longer at that epoch, the error is ErrHeld.
func (l Lock) TakeOver(ctx context.Context, h Holder, epoch int64) (int64, error) {
	return l.change(ctx, "take over", func(s *LockState) error {
		switch {
		case s.Holder != nil && s.Holder.Run == h.Run && s.Epoch == epoch+1: // done by an earlier attempt
		case s.Epoch != epoch:
			return fmt.Errorf("%w: it is at epoch %d, not %d (holder: %s); look again before taking it over", ErrHeld, s.Epoch, epoch, s.holder())
		default:
			s.Epoch, s.Holder = epoch+1, &h
		}
		return nil
	})
}

// Release gives the lock back. The epoch stays. It is done if nobody holds it;
// if another run does, the error is ErrSuperseded.
func (l Lock) Release(ctx context.Context, run ledger.Run) error {
	_, err := l.change(ctx, "release", func(s *LockState) error {
		if s.Holder != nil && s.Holder.Run != run {
			return fmt.Errorf("%w: %s does, at epoch %d", ErrSuperseded, s.Holder, s.Epoch)
		}
		s.Holder = nil
		return nil
	})
	return err
}

// CheckEpoch is asked before every mutation: it returns nil only if the run still
// holds the estate at the epoch that it was given, and ErrSuperseded otherwise.
// Both are compared, since a lock that was taken away by hand counts anew.
func (l Lock) CheckEpoch(ctx context.Context, run ledger.Run, epoch int64) error {
	state, err := l.State(ctx)
	switch {
	case err != nil:
		return err
	case state.Epoch != epoch || state.Holder == nil || state.Holder.Run != run:
		return fmt.Errorf("estate %s at epoch %d: %w: the epoch is %d, the holder %s; do not retry",
			l.estate, epoch, ErrSuperseded, state.Epoch, state.holder())
	}
	return nil
}

// change applies edit to the lock's state until nobody interferes: each lost
// race means that somebody else's change went through.
func (l Lock) change(ctx context.Context, doing string, edit func(*LockState) error) (int64, error) {
	fail := func(err error) (int64, error) {
		return 0, fmt.Errorf("%s the lock of estate %s: %w", doing, l.estate, err)
	}
	for {
		state, old, err := l.read(ctx)
		if err != nil {
			return fail(err)
		}
		if err := edit(&state); err != nil {
			return fail(err)
		}
		data, err := ledger.Encode(state)
		if err != nil {
			return fail(err)
		}
		if bytes.Equal(data, old) {
			return state.Epoch, nil
		}
		switch err := l.store.Swap(ctx, ledger.LockKey(l.estate), old, data); {
		case err == nil:
			return state.Epoch, nil
		case !errors.Is(err, ErrMoved):
			return fail(err)
		case ctx.Err() != nil:
			return fail(ctx.Err())
		}
	}
}

func (l Lock) read(ctx context.Context) (LockState, []byte, error) {
	state := LockState{Estate: l.estate}
	data, err := l.store.Get(ctx, ledger.LockKey(l.estate))
	if errors.Is(err, fs.ErrNotExist) {
		return state, nil, nil
	}
	if err == nil {
		if err = json.Unmarshal(data, &state); err == nil && state.Estate != l.estate {
			err = fmt.Errorf("it is the lock of estate %q", state.Estate)
		}
	}
	if err != nil {
		return LockState{}, nil, fmt.Errorf("read the lock of estate %s: %w", l.estate, err)
	}
	return state, data, nil
}

func (s LockState) holder() string {
	if s.Holder == nil {
		return "nobody"
	}
	return s.Holder.String()
}
