package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/authority"
	"breakwater/internal/estate"
	"breakwater/internal/ledger/store"
	"breakwater/internal/runbook"
	"breakwater/internal/shell"
	"breakwater/internal/takeover"
	"breakwater/internal/wire"
)

// The lock lies where many can write. What this worker believes of it: whether this run is
// its holder, and what people signed, by keys that it knows. A claim or a take-over that
// nobody of the role signed stops no run and gives it to none.

// acquireLock takes the estate for a live run. The same run gets the same epoch
// again.
func (h *Host) acquireLock(ctx context.Context, in wire.LockInput) (wire.LockResult, error) {
	defer reading(ctx)()
	c, err := h.chain(ctx, in.Estate, 0)
	if err != nil {
		return wire.LockResult{}, err
	}
	_, pinned, err := h.pinned(ctx, c)
	if err != nil {
		return wire.LockResult{}, err
	}
	var run action.Run
	c.read(func(v *authority.View) { run = v.Run })
	if run.Mode != action.ModeLive {
		return wire.LockResult{}, refuse("the lock of estate %s is for live runs, and run %s is one of mode %s", in.Estate, c.run, run.Mode)
	}
	if run.Epoch > 0 { // it has it: what it was given must still be there
		return wire.LockResult{Epoch: run.Epoch}, c.holds(ctx, pinned, run.Epoch)
	}
	l := store.NewLock(c.ledger, in.Estate)
	state, err := l.Acquire(ctx, store.Holder{
		Run: c.run, Runbook: run.Runbook, Mode: string(run.Mode), Source: run.Source, Target: run.Target, Since: run.Started,
	}, func(t takeover.Signed) error {
		_, err := c.tookOver(pinned, t)
		return errors.Join(err, t.Begins(time.Now()))
	})
	if err != nil {
		return wire.LockResult{}, err
	}
	taken, err := c.takenOver(pinned, state)
	if err == nil { // before the run's own entry, so that no later run is given this epoch
		err = l.Keep(ctx, c.signer, c.trusted, state)
	}
	return wire.LockResult{Epoch: state.Epoch, Taken: taken}, err
}

// lostBefore is what a lock says of a ledger that was lost, where it waits for that run. It
// is not judged here: the run gets no lock by what two people did not sign.
func lostBefore(state store.LockState, by caller) *takeover.Statement {
	t := state.TakenOver()
	if t == nil || t.Statement.Lost == "" || t.Statement.For(by.run.Workflow, by.runbook) != nil {
		return nil
	}
	return &t.Statement
}

// takenOver is how this run got the estate from another one; nil where it did not.
func (c *chain) takenOver(pinned *estate.Estate, state store.LockState) (*wire.TakeOver, error) {
	t := state.TakenOver()
	if t == nil {
		return nil, nil
	}
	by, err := c.tookOver(pinned, *t)
	if err == nil {
		err = t.Statement.For(c.run.Workflow, c.runbook)
	}
	if err != nil {
		return nil, refuse("how run %s got the lock of estate %s: %w", c.run, state.Estate, err)
	}
	return &wire.TakeOver{Signed: *t, By: by}, nil
}

// tookOver names the two people who signed a take-over.
func (c *chain) tookOver(pinned *estate.Estate, t takeover.Signed) ([]string, error) {
	role, err := c.takers(pinned, t.Statement)
	if err != nil {
		return nil, err
	}
	return t.Check(role)
}

// takers are those who may take the estate over for the run that a statement names: the
// members of the role that approves the first gate of its runbook, as both the estate that
// this run pinned and the present one have them.
func (c *chain) takers(pinned *estate.Estate, s takeover.Statement) (estate.Role, error) {
	i := slices.IndexFunc(c.books, func(rb *runbook.Runbook) bool { return rb.Name == s.Runbook })
	if i < 0 {
		return estate.Role{}, fmt.Errorf("this worker has no runbook %q: %w", s.Runbook, takeover.ErrUnsigned)
	}
	name, err := runbook.FirstRole(c.books[i])
	if err != nil {
		return estate.Role{}, err
	}
	role, ok := authority.Estates{Pinned: pinned, Present: c.estate}.Role(name)
	if !ok {
		return role, fmt.Errorf("role %s of the first gate of runbook %s is not in the run's estate: %w", name, s.Runbook, takeover.ErrUnsigned)
	}
	return role, nil
}

// holds says why this run must not act on its estate, if it must not: it has lost it, or
// somebody who may do so begins to take it over.
func (c *chain) holds(ctx context.Context, pinned *estate.Estate, epoch int64) error {
	state, err := store.NewLock(c.ledger, c.estate.Estate).State(ctx)
	if err != nil {
		return err
	}
	if err := state.Held(c.run, epoch); err != nil {
		return c.lost(pinned, state, epoch, err)
	}
	claim := state.Claim
	if claim == nil || state.About(claim.Statement) != nil {
		return nil
	}
	role, err := c.takers(pinned, claim.Statement)
	if err != nil {
		return nil // for a run that nobody could begin here
	}
	who, s := claim.Claims(role, time.Now()), claim.Statement
	if who == "" {
		return nil
	}
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	return refuse("estate %s is being taken over: %s signed at %s that run %s of %s takes it from this run: %s. This run changes nothing before %s. "+
		"If nobody signs it too by %s, it comes to nothing: answer retry after %s, and this run goes on",
		s.Estate, who, at(s.At), s.Run, s.Runbook, s.Reason, at(s.Lapses()), at(s.Until()), at(s.Lapses()))
}

// lost says how this run lost its estate. It is store.ErrSuperseded, after which a run
// ends, only where two people signed that: by what others may have written into the lock a
// run stops, and asks.
func (c *chain) lost(pinned *estate.Estate, state store.LockState, epoch int64, how error) error {
	if t := state.Taken; t != nil && t.Statement.Estate == state.Estate && t.Statement.Epoch == epoch && t.Statement.Holder == c.run {
		if by, err := c.tookOver(pinned, *t); err == nil {
			return fmt.Errorf("%w: %s", store.ErrSuperseded, t.Statement.Sentence(by))
		}
	}
	return refuse("%v, and no two people signed a take-over: find out who changed the lock before anything goes on:\n  breakwater lock show %s", how, shell.Word(state.Estate))
}

// releaseLock gives the estate back. A lock that is older than the run's own entry of it,
// or gone, is none that this run was given: it stays as it is, and a person must look.
func (h *Host) releaseLock(ctx context.Context, in wire.LockInput) error {
	defer reading(ctx)()
	c, err := h.chain(ctx, in.Estate, 0)
	if err != nil {
		return err
	}
	var epoch int64
	c.read(func(v *authority.View) { epoch = v.Run.Epoch })
	l := store.NewLock(c.ledger, in.Estate)
	state, err := l.State(ctx)
	switch {
	case err != nil:
		return err
	case state.Epoch < epoch:
		return refuse("the lock of estate %s is at epoch %d, and run %s was given it at epoch %d: somebody removed or replaced it; find out who before anything else is started",
			in.Estate, state.Epoch, c.run, epoch)
	case state.Holder != nil && state.Holder.Run != c.run:
		_, pinned, err := h.pinned(ctx, c)
		if err != nil {
			return err
		}
		return c.lost(pinned, state, epoch, state.Held(c.run, epoch))
	}
	return l.Release(ctx, c.run)
}
