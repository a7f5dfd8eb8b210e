package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/takeover"

	"golang.org/x/sync/errgroup"
)

func holder(n int) store.Holder {
	return store.Holder{
		Run: ledger.Run{Workflow: fmt.Sprintf("failover-%d", n), FirstRun: "f"}, Runbook: "RegionalFailover",
		Mode: "live", Source: "us-east-1", Target: "us-west-2", Since: noon,
	}
}

// all lets everybody take the estate over.
func all(takeover.Signed) error { return nil }

// check is whether a run holds the estate at an epoch.
func check(t *testing.T, lock store.Lock, run ledger.Run, epoch int64) error {
	t.Helper()
	state, err := lock.State(t.Context())
	if err != nil {
		return err
	}
	return state.Held(run, epoch)
}

func testLock(t *testing.T, s store.Store) {
	lock, one, two := store.NewLock(s, "lab"), holder(1), holder(2)
	is(t, "check before anybody held it", check(t, lock, one.Run, 0), store.ErrSuperseded)
	acquire := func(h store.Holder, want int64) {
		t.Helper()
		if got, err := lock.Acquire(t.Context(), h, all); err != nil || got.Epoch != want {
			t.Fatalf("acquire: epoch %d, %v; want %d", got.Epoch, err, want)
		}
	}
	acquire(one, 1)
	later := one
	later.Since = noon.Add(5)
	acquire(later, 1) // the same run again
	is(t, "check", check(t, lock, one.Run, 1), nil)
	is(t, "check of another run at the same epoch", check(t, lock, two.Run, 1), store.ErrSuperseded)

	_, err := lock.Acquire(t.Context(), two, all)
	is(t, "acquire what another holds", err, store.ErrHeld)
	if !strings.Contains(err.Error(), one.Run.String()) {
		t.Errorf("%q does not name the holder", err)
	}
	is(t, "release what another holds", lock.Release(t.Context(), two.Run), store.ErrSuperseded)
	is(t, "release", lock.Release(t.Context(), one.Run), nil)
	is(t, "release again", lock.Release(t.Context(), one.Run), nil)
	is(t, "check after the release", check(t, lock, one.Run, 1), store.ErrSuperseded)
	acquire(two, 2)
	is(t, "check an epoch that passed", check(t, lock, one.Run, 1), store.ErrSuperseded)
	is(t, "check", check(t, lock, two.Run, 2), nil)

	state, err := lock.State(t.Context())
	is(t, "state", err, nil)
	if state.Epoch != 2 || state.Holder == nil || *state.Holder != two {
		t.Errorf("state is %+v", state)
	}
	acquireOther, err := store.NewLock(s, "production").Acquire(t.Context(), one, all)
	if err != nil || acquireOther.Epoch != 1 {
		t.Errorf("another estate's lock: epoch %d, %v", acquireOther.Epoch, err)
	}
}

func testTakeOver(t *testing.T, s store.Store) {
	lock, now := store.NewLock(s, "lab"), time.Now().UTC()
	if _, err := lock.Acquire(t.Context(), holder(1), all); err != nil {
		t.Fatal(err)
	}
	counts := func(c takeover.Signed) bool { return len(c.Signatures) > 0 }
	claim := takeover.Signed{Signatures: []string{"ana's"}, Statement: takeover.Statement{
		Estate: "lab", Epoch: 1, Holder: holder(1).Run, Run: holder(2).Run.Workflow, Runbook: "RegionalFailover", Role: "r", Reason: "it is dead", At: now,
	}}
	other, wrong, elsewhere := claim, claim, claim
	other.Statement.Run, wrong.Statement.Epoch, elsewhere.Statement.Estate = "another", 7, "production"
	planted := other
	planted.Signatures = nil
	taken := func(c takeover.Signed, at time.Time) error {
		_, err := lock.TakeOver(t.Context(), c, at)
		return err
	}
	is(t, "take over what nobody claimed", taken(claim, claim.Statement.From()), store.ErrHeld)
	is(t, "claim another epoch", lock.Claim(t.Context(), wrong, now, counts), store.ErrHeld)
	is(t, "claim another estate", lock.Claim(t.Context(), elsewhere, now, counts), store.ErrHeld)
	is(t, "somebody plants a claim", lock.Claim(t.Context(), planted, now, counts), nil)
	is(t, "which is in nobody's way", lock.Claim(t.Context(), claim, now, counts), nil)
	is(t, "claim again", lock.Claim(t.Context(), claim, now, counts), nil)
	is(t, "claim it for another run", lock.Claim(t.Context(), other, now, counts), store.ErrHeld)
	is(t, "the holder of a lock that is claimed", check(t, lock, holder(1).Run, 1), nil)
	is(t, "take over while a request may be under way", taken(claim, claim.Statement.From().Add(-time.Second)), store.ErrEarly)
	is(t, "take over when the claim counts no longer", taken(claim, claim.Statement.Until().Add(time.Second)), store.ErrHeld)
	is(t, "take it over for another run", taken(other, claim.Statement.From()), store.ErrHeld)
	for range 2 { // the second is a repeated attempt
		if got, err := lock.TakeOver(t.Context(), claim, claim.Statement.From()); err != nil || got.Epoch != 2 || got.TakenOver() == nil || got.Claim != nil {
			t.Fatalf("take over: %+v, %v", got, err)
		}
	}
	is(t, "the former holder's epoch", check(t, lock, holder(1).Run, 1), store.ErrSuperseded)
	is(t, "the former holder's release", lock.Release(t.Context(), holder(1).Run), store.ErrSuperseded)

	acquire := func(h store.Holder, may func(takeover.Signed) error) error {
		_, err := lock.Acquire(t.Context(), h, may)
		return err
	}
	err := acquire(holder(3), all)
	is(t, "acquire what waits for another run", err, store.ErrHeld)
	const start = "breakwater start RegionalFailover --estate lab --mode live --id failover-2 --incident ID source=us-east-1 target=us-west-2"
	if !strings.Contains(err.Error(), start) {
		t.Errorf("%q does not say how the run that it waits for is started", err)
	}
	book := holder(2)
	book.Runbook = "TableRollback"
	is(t, "acquire it for another runbook", acquire(book, all), store.ErrHeld)
	no := errors.New("nobody signed it")
	err = acquire(holder(2), func(takeover.Signed) error { return no })
	is(t, "acquire what nobody signed for", err, store.ErrHeld)
	is(t, "acquire what nobody signed for", err, no)
	for range 2 {
		if got, err := lock.Acquire(t.Context(), holder(2), all); err != nil || got.Epoch != 2 || got.TakenOver() == nil {
			t.Fatalf("acquire what was taken over: %+v, %v", got, err)
		}
	}
	is(t, "check", check(t, lock, holder(2).Run, 2), nil)
	again := holder(2)
	again.Run.FirstRun = "g"
	is(t, "acquire it as a second run of that id", acquire(again, all), store.ErrHeld)

	// The next holder got it from nobody, and a former one can still be told.
	is(t, "release", lock.Release(t.Context(), holder(2).Run), nil)
	got, err := lock.Acquire(t.Context(), holder(3), all)
	if err != nil || got.Epoch != 3 || got.TakenOver() != nil || got.Taken == nil {
		t.Errorf("acquire what was given back: %+v, %v", got, err)
	}
}

// A take-over that somebody wrote into a lock which nobody holds makes no run one that took
// it over.
func TestAPlantedTakeOverOfAFreeLock(t *testing.T) {
	folder, err := store.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	planted := store.LockState{Estate: "lab", Epoch: 4, Taken: &takeover.Signed{Statement: takeover.Statement{Estate: "lab", Epoch: 4}}}
	raw, err := ledger.Encode(planted)
	if err == nil {
		err = folder.Swap(t.Context(), ledger.LockKey("lab"), nil, raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.NewLock(folder, "lab").Acquire(t.Context(), holder(1), all)
	if err != nil || got.Epoch != 5 || got.TakenOver() != nil {
		t.Errorf("acquire: %+v, %v", got, err)
	}
}

// Twenty runs race for the estate, again and again. At any time at most one of
// them holds it, and each turn has an epoch of its own.
func testLockRace(t *testing.T, s store.Store) {
	lock := store.NewLock(s, "lab")
	for turn := int64(1); turn <= 3; turn++ {
		var won, winner atomic.Int64
		var g errgroup.Group
		for i := range 20 {
			g.Go(func() error {
				got, err := lock.Acquire(t.Context(), holder(i), all)
				switch {
				case errors.Is(err, store.ErrHeld):
					return nil
				case err != nil:
					return err
				case got.Epoch != turn:
					return fmt.Errorf("acquired epoch %d in turn %d", got.Epoch, turn)
				}
				won.Add(1)
				winner.Store(int64(i))
				return nil
			})
		}
		is(t, "race", g.Wait(), nil)
		if won.Load() != 1 {
			t.Fatalf("%d runs hold the estate", won.Load())
		}
		is(t, "check", check(t, lock, holder(int(winner.Load())).Run, turn), nil)
		is(t, "release", lock.Release(t.Context(), holder(int(winner.Load())).Run), nil)
	}
}
