package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"

	"golang.org/x/sync/errgroup"
)

func holder(n int) store.Holder {
	return store.Holder{
		Run: ledger.Run{Workflow: fmt.Sprintf("failover-%d", n), FirstRun: "f"}, Runbook: "RegionalFailover",
		Mode: "live", Source: "us-east-1", Target: "us-west-2", Since: noon,
	}
}

func testLock(t *testing.T, s store.Store) {
	lock, one, two := store.NewLock(s, "lab"), holder(1), holder(2)
	is(t, "check before anybody held it", lock.CheckEpoch(t.Context(), one.Run, 0), store.ErrSuperseded)
	acquire := func(h store.Holder, want int64) {
		t.Helper()
		if epoch, err := lock.Acquire(t.Context(), h); err != nil || epoch != want {
			t.Fatalf("acquire: epoch %d, %v; want %d", epoch, err, want)
		}
	}
	acquire(one, 1)
	later := one
	later.Since = noon.Add(5)
	acquire(later, 1) // the same run again
	is(t, "check", lock.CheckEpoch(t.Context(), one.Run, 1), nil)
	is(t, "check of another run at the same epoch", lock.CheckEpoch(t.Context(), two.Run, 1), store.ErrSuperseded)

	_, err := lock.Acquire(t.Context(), two)
	is(t, "acquire what another holds", err, store.ErrHeld)
	if !strings.Contains(err.Error(), one.Run.String()) {
		t.Errorf("%q does not name the holder", err)
	}
	is(t, "release what another holds", lock.Release(t.Context(), two.Run), store.ErrSuperseded)
	is(t, "release", lock.Release(t.Context(), one.Run), nil)
	is(t, "release again", lock.Release(t.Context(), one.Run), nil)
	is(t, "check after the release", lock.CheckEpoch(t.Context(), one.Run, 1), store.ErrSuperseded)
	acquire(two, 2)
	is(t, "check an epoch that passed", lock.CheckEpoch(t.Context(), one.Run, 1), store.ErrSuperseded)
	is(t, "check", lock.CheckEpoch(t.Context(), two.Run, 2), nil)

	state, err := lock.State(t.Context())
	is(t, "state", err, nil)
	if state.Epoch != 2 || state.Holder == nil || *state.Holder != two {
		t.Errorf("state is %+v", state)
	}
	acquireOther, err := store.NewLock(s, "production").Acquire(t.Context(), one)
	if err != nil || acquireOther != 1 {
		t.Errorf("another estate's lock: epoch %d, %v", acquireOther, err)
	}
}

func testTakeOver(t *testing.T, s store.Store) {
	lock := store.NewLock(s, "lab")
	if _, err := lock.Acquire(t.Context(), holder(1)); err != nil {
		t.Fatal(err)
	}
	_, err := lock.TakeOver(t.Context(), holder(2), 7)
	is(t, "take over at another epoch", err, store.ErrHeld)
	for range 2 { // the second is a repeated attempt
		if epoch, err := lock.TakeOver(t.Context(), holder(2), 1); err != nil || epoch != 2 {
			t.Fatalf("take over: epoch %d, %v", epoch, err)
		}
	}
	is(t, "the former holder's epoch", lock.CheckEpoch(t.Context(), holder(1).Run, 1), store.ErrSuperseded)
	is(t, "the former holder's release", lock.Release(t.Context(), holder(1).Run), store.ErrSuperseded)
	_, err = lock.TakeOver(t.Context(), holder(3), 1)
	is(t, "take over what was taken over", err, store.ErrHeld)
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
				epoch, err := lock.Acquire(t.Context(), holder(i))
				switch {
				case errors.Is(err, store.ErrHeld):
					return nil
				case err != nil:
					return err
				case epoch != turn:
					return fmt.Errorf("acquired epoch %d in turn %d", epoch, turn)
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
		is(t, "check", lock.CheckEpoch(t.Context(), holder(int(winner.Load())).Run, turn), nil)
		is(t, "release", lock.Release(t.Context(), holder(int(winner.Load())).Run), nil)
	}
}
