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
	"breakwater/internal/shell"
	"breakwater/internal/takeover"
)

var (
	// ErrHeld means that another run holds the estate. The text names it.
	ErrHeld = errors.New("the estate is held by another run")
	// ErrSuperseded means that a run no longer holds the estate: it was released,
	// or taken over. Whatever still acts for it must stop.
	ErrSuperseded = errors.New("this run no longer holds the estate")
	// ErrEarly means that the former holder may still have a request under way.
	ErrEarly = errors.New("it is too early to take the estate over")
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
	run := h.Run.String()
	if h.Run.FirstRun == "" {
		run = h.Run.Workflow + ", which has not begun"
	}
	return fmt.Sprintf("%s (%s, %s → %s, mode %s, since %s)", run, h.Runbook, h.Source, h.Target, h.Mode, h.Since.UTC().Format(time.RFC3339))
}

// LockState is what the lock's object says.
type LockState struct {
	Estate string `json:"estate"`
	// Epoch counts the holders, from 1. It never goes back, so that an activity
	// of a former holder can be told from one of the present holder.
	Epoch  int64   `json:"epoch"`
	Holder *Holder `json:"holder"` // nil when nobody holds it
	// Claim is a take-over that one person is said to have signed. If a member of the role
	// did, the holder must not act meanwhile.
	Claim *takeover.Signed `json:"claim,omitempty"`
	// Taken is the last take-over, which stays so that a former holder can be told. Two
	// people are said to have signed it: whoever can write here can write that.
	Taken *takeover.Signed `json:"taken,omitempty"`
	// Lost says that the object is gone or behind what was recorded, where it was looked for
	// that: see [Lock.Recalled].
	Lost string `json:"-"`
}

// TakenOver is the take-over by which the lock came to its present epoch; nil where it came
// to it otherwise.
func (s LockState) TakenOver() *takeover.Signed {
	if s.Taken == nil || s.Taken.Statement.Estate != s.Estate || s.Taken.Statement.Epoch+1 != s.Epoch {
		return nil
	}
	return s.Taken
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

// Acquire takes the lock for a run and returns how it stands then, with the epoch that the
// run acts under. A run that holds it gets its epoch again. If another one does, or it
// waits for another one, the error is ErrHeld and names it. Where it waits for this one, may
// says whether what is with it was signed by people who may do so.
func (l Lock) Acquire(ctx context.Context, h Holder, may func(takeover.Signed) error) (LockState, error) {
	return l.change(ctx, "take", func(s *LockState) error {
		waits := s.Holder != nil && s.Holder.Run.FirstRun == ""
		switch {
		case s.Lost != "":
			return fmt.Errorf("%w: %s. Find out who; then, if that run can neither go on nor be aborted, two people take the lock over:\n  breakwater lock show %s",
				ErrHeld, s.Lost, shell.Word(l.estate))
		case s.Holder == nil:
			s.Epoch, s.Holder, s.Claim = s.Epoch+1, &h, nil
			if s.TakenOver() != nil { // not so
				s.Taken = nil
			}
		case waits && s.TakenOver() == nil:
			return fmt.Errorf("%w: it waits for run %s, which nobody signed for", ErrHeld, s.Holder.Run.Workflow)
		case waits:
			t := s.TakenOver()
			err := t.Statement.For(h.Run.Workflow, h.Runbook)
			if err != nil {
				err = fmt.Errorf("%w; start that one:\n  %s", err, t.Statement.Start(s.Holder.Inputs()...))
			} else {
				err = may(*t)
			}
			if err != nil {
				return fmt.Errorf("%w: %w", ErrHeld, err)
			}
			s.Holder, s.Claim = &h, nil
		case s.Holder.Run != h.Run:
			return fmt.Errorf("%w: %s, at epoch %d; wait for it or end it, or see what else there is:\n  breakwater lock show %s", ErrHeld, s.Holder, s.Epoch, shell.Word(l.estate))
		}
		return nil
	})
}

// Inputs are those of the run that a lock waits for, as far as they are known.
func (h Holder) Inputs() []string {
	if h.Source == "" || h.Target == "" {
		return nil
	}
	return []string{"source=" + h.Source, "target=" + h.Target}
}

// Claim keeps a take-over that one person signed. From then on the holder is refused. A
// claim that counts stays: the next person signs that one.
func (l Lock) Claim(ctx context.Context, c takeover.Signed, now time.Time, counts func(takeover.Signed) bool) error {
	_, err := l.change(ctx, "claim", func(s *LockState) error {
		s.begin(c.Statement)
		if err := s.About(c.Statement); err != nil {
			return err
		}
		if have := s.Claim; have != nil && s.About(have.Statement) == nil && now.Before(have.Statement.Until()) && counts(*have) &&
			!bytes.Equal(have.Statement.Text(), c.Statement.Text()) {
			return fmt.Errorf("%w: somebody asks already for it to be taken over for run %s; sign that, or wait until %s",
				ErrHeld, have.Statement.Run, have.Statement.Until().UTC().Format(time.RFC3339))
		}
		s.Claim = &c
		return nil
	})
	return err
}

// begin makes of a lock that was never taken what a statement says of the one that was lost
// with its ledger.
func (s *LockState) begin(c takeover.Statement) {
	if c.Lost != "" && s.Epoch == 0 && s.Holder == nil {
		s.Epoch, s.Holder = c.Epoch, &Holder{Run: c.Holder, Runbook: c.Runbook, Mode: "live", Since: c.At}
	}
}

// TakeOver gives the lock to the run that a claim names, which is started afterwards. That
// two people signed is for the caller to know, and for the worker that acquires it to find
// out again. It is ErrEarly before every request of the former holder has ended.
func (l Lock) TakeOver(ctx context.Context, c takeover.Signed, now time.Time) (LockState, error) {
	return l.change(ctx, "take over", func(s *LockState) error {
		if t := s.TakenOver(); t != nil && s.Holder != nil && s.Holder.Run.Workflow == c.Statement.Run && bytes.Equal(t.Statement.Text(), c.Statement.Text()) {
			return nil // done by an earlier attempt
		}
		if err := s.About(c.Statement); err != nil {
			return err
		}
		switch {
		case s.Claim == nil || !bytes.Equal(s.Claim.Statement.Text(), c.Statement.Text()):
			return fmt.Errorf("%w: this take-over was not claimed", ErrHeld)
		case now.Before(c.Statement.From()):
			return fmt.Errorf("%w: a request of run %s may be under way until %s", ErrEarly, s.Holder.Run, c.Statement.From().UTC().Format(time.RFC3339))
		case now.After(c.Statement.Until()):
			return fmt.Errorf("%w: the first signature counted until %s; begin anew", ErrHeld, c.Statement.Until().UTC().Format(time.RFC3339))
		}
		next := Holder{Run: ledger.Run{Workflow: c.Statement.Run}, Runbook: c.Statement.Runbook, Mode: s.Holder.Mode, Since: now}
		if next.Runbook == s.Holder.Runbook {
			next.Source, next.Target = s.Holder.Source, s.Holder.Target
		}
		s.Epoch, s.Claim, s.Taken, s.Holder = s.Epoch+1, nil, &c, &next
		return nil
	})
}

// About holds a statement against the holder.
func (s LockState) About(c takeover.Statement) error {
	if c.Estate != s.Estate || s.Holder == nil || s.Epoch != c.Epoch || s.Holder.Run != c.Holder {
		return fmt.Errorf("%w: it is at epoch %d, held by %s, and the statement is about epoch %d of estate %s, held by %s; look again before taking it over",
			ErrHeld, s.Epoch, s.holder(), c.Epoch, c.Estate, c.Holder)
	}
	return nil
}

// Release gives the lock back. The epoch stays. It is done if nobody holds it;
// if another run does, the error is ErrSuperseded.
func (l Lock) Release(ctx context.Context, run ledger.Run) error {
	_, err := l.change(ctx, "release", func(s *LockState) error {
		if s.Holder != nil && s.Holder.Run != run {
			return fmt.Errorf("%w: %s does, at epoch %d", ErrSuperseded, s.Holder, s.Epoch)
		}
		s.Holder, s.Claim = nil, nil
		return nil
	})
	return err
}

// Held is asked before every mutation: it returns nil only if the run still holds the
// estate at the epoch that it was given, and ErrSuperseded otherwise. Both are compared,
// since a lock that was taken away by hand counts anew. Whether a claim stops it is for
// who knows the people to say.
func (s LockState) Held(run ledger.Run, epoch int64) error {
	if s.Epoch != epoch || s.Holder == nil || s.Holder.Run != run {
		return fmt.Errorf("estate %s at epoch %d: %w: the epoch is %d, the holder %s", s.Estate, epoch, ErrSuperseded, s.Epoch, s.holder())
	}
	return nil
}

// change applies edit to the lock's state until nobody interferes: each lost
// race means that somebody else's change went through.
func (l Lock) change(ctx context.Context, doing string, edit func(*LockState) error) (LockState, error) {
	fail := func(err error) (LockState, error) {
		return LockState{}, fmt.Errorf("%s the lock of estate %s: %w", doing, l.estate, err)
	}
	for {
		state, old, err := l.read(ctx)
		if err == nil {
			err = l.recall(ctx, &state)
		}
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
			return state, nil
		}
		switch err := l.store.Swap(ctx, ledger.LockKey(l.estate), old, data); {
		case err == nil:
			return state, nil
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
