package store_test

import (
	"strings"
	"testing"
	"time"

	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/sshsig"
	"breakwater/internal/takeover"
)

// A lock that was taken away, or of which an old one was put back, is none that was not
// taken yet: whoever was given the newest recorded epoch holds it, until two people take it
// over.
func testEpochs(t *testing.T, s store.Store) {
	worker := signer(t, 1)
	trusted := []sshsig.Key{sshsig.Public(worker)}
	lock := store.NewLock(s, "lab")
	var states [][]byte
	held := func() []byte {
		t.Helper()
		raw, err := s.Get(t.Context(), ledger.LockKey("lab"))
		is(t, "read the lock's object", err, nil)
		return raw
	}
	for n := int64(1); n <= 3; n++ {
		for range 2 { // the second is a repeated attempt
			state, err := lock.Acquire(t.Context(), holder(int(n)), all)
			is(t, "acquire", err, nil)
			if state.Epoch != n {
				t.Fatalf("acquired epoch %d, want %d", state.Epoch, n)
			}
			is(t, "keep the record", lock.Keep(t.Context(), worker, trusted, state), nil)
		}
		states = append(states, held())
		is(t, "release", lock.Release(t.Context(), holder(int(n)).Run), nil)
	}
	for name, old := range map[string][]byte{
		"none was taken": []byte(`{"epoch":0,"estate":"lab","holder":null}` + "\n"),
		"the first one":  states[0],
		"the second one": states[1],
	} {
		is(t, "put back as if "+name, s.Swap(t.Context(), ledger.LockKey("lab"), held(), old), nil)
		for n := 1; n <= 4; n++ {
			_, err := lock.Acquire(t.Context(), holder(n), all)
			is(t, "acquire", err, store.ErrHeld)
			if text := err.Error(); !strings.Contains(text, holder(3).Run.String()) || !strings.Contains(text, "epoch 3") || !strings.Contains(text, "breakwater lock show lab") {
				t.Errorf("%s: it is refused with %v", name, err)
			}
		}
		if state, err := lock.Recalled(t.Context()); err != nil || state.Epoch != 3 || state.Holder == nil || state.Holder.Run != holder(3).Run || state.Lost == "" {
			t.Errorf("%s: it is recalled as %+v, %v", name, state, err)
		}
	}
	now := time.Now().UTC()
	c := takeover.Signed{Statement: takeover.Statement{Estate: "lab", Epoch: 3, Holder: holder(3).Run, Run: "failover-5", Runbook: "RegionalFailover", At: now}}
	is(t, "claim it", lock.Claim(t.Context(), c, now, func(takeover.Signed) bool { return true }), nil)
	_, err := lock.TakeOver(t.Context(), c, now.Add(takeover.Wait+time.Second))
	is(t, "take it over", err, nil)
	state, err := lock.Acquire(t.Context(), holder(5), all)
	is(t, "acquire what was taken over", err, nil)
	if state.Epoch != 4 || state.Lost != "" {
		t.Errorf("it was acquired as %+v", state)
	}
	is(t, "keep the record", lock.Keep(t.Context(), worker, trusted, state), nil)
	other := state
	other.Holder = &store.Holder{Run: holder(6).Run}
	is(t, "record the epoch of another run", lock.Keep(t.Context(), worker, trusted, other), store.ErrHeld)
	if _, err := store.NewLock(s, "production").Acquire(t.Context(), holder(7), all); err != nil {
		t.Errorf("another estate's lock: %v", err)
	}

	planted := ledger.EpochKey("lab", 5)
	is(t, "plant a record", s.PutIfAbsent(t.Context(), planted, []byte(`{"epoch":5,"estate":"lab","holder":{"run":{"workflow":"theirs","first_run":"f"}}}`+"\n")), nil)
	is(t, "a record of mine where one is planted", lock.Keep(t.Context(), worker, trusted, store.LockState{Estate: "lab", Epoch: 5, Holder: &store.Holder{Run: ledger.Run{Workflow: "theirs", FirstRun: "f"}}}), store.ErrPlanted)
	_, err = lock.Acquire(t.Context(), store.Holder{Run: ledger.Run{Workflow: "theirs", FirstRun: "f"}}, all)
	is(t, "acquire what a planted record names", err, store.ErrHeld)
}
