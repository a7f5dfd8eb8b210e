package storetest

import (
	"testing"

	"breakwater/internal/objectstore"
	"breakwater/internal/promise"
)

// Fenced is what the fence's suite runs against: a bucket, and a fence for principals
// that may write to it, open.
type Fenced struct {
	Bucket string
	// Fence makes the fence, over the same principals each time; none are fenced by
	// anybody else.
	Fence func() objectstore.Fence
	// Nobody is a fence without principals.
	Nobody objectstore.Fence
	// Change changes something else that decides about the principals, as an
	// administrator would, and Restore brings it back.
	Change, Restore func(testing.TB)
	// Writers are the principals that the fence is for, and Other one that it is not
	// for. Nil where the suite runs against a fake that denies nobody.
	Writers []objectstore.Store
	Other   objectstore.Store
}

// RunFence holds a fence to what [objectstore.Fence] promises. The fence is open
// again afterwards.
func RunFence(t *testing.T, target func(testing.TB) Fenced) {
	fences.Run(t, fenced(target))
}

// fenced makes a fresh target for each promise.
type fenced func(testing.TB) Fenced

var fences = promise.Suite[fenced]{
	{Name: "reading changes nothing", Check: checked(testFenceRead)},
	{Name: "closed, it denies the writers and nobody else", Check: checked(testFenceDenies)},
	{Name: "closing again is nothing", Check: checked(testFenceAgain)},
	{Name: "opened, everything is as it was", Check: checked(testFenceOpens)},
	{Name: "another run's fence is its own", Check: checked(testFenceOthers)},
	{Name: "nothing is closed on what has changed", Check: checked(testFenceStale)},
	{Name: "nothing is opened over what has changed", Check: checked(testFenceKeeps)},
	{Name: "what cannot deny is refused", Check: checked(testFenceRefuses)},
}

func checked(test func(testing.TB, Fenced, objectstore.Fence, objectstore.FenceState)) func(testing.TB, fenced) {
	return func(t testing.TB, target fenced) {
		t.Helper()
		f := target(t)
		fence := f.Fence()
		st := readFence(t, fence)
		if st.Closed || st.Run != "" {
			t.Fatalf("before: %+v; the suite needs an open fence", st)
		}
		test(t, f, fence, st)
	}
}

func readFence(t testing.TB, f objectstore.Fence) objectstore.FenceState {
	t.Helper()
	st, err := f.Read(t.Context())
	ok(t, "read the fence", err)
	return st
}

// writes fails the test unless every principal is let, or not let, write.
func (f Fenced) writes(t testing.TB, when string, want objectstore.ProbeOutcome) {
	t.Helper()
	for i, w := range f.Writers {
		_, err := w.Put(t.Context(), f.Bucket, objectstore.ProbePrefix+"storetest", []byte(when))
		if got := objectstore.Attempted(err); got != want {
			t.Errorf("%s: a write of writer %d is %s (%v), want it %s", when, i, got, err, want)
		}
		if err := objectstore.CanList(t.Context(), w, f.Bucket, ""); err != nil {
			t.Errorf("%s: writer %d cannot even list: %v", when, i, err)
		}
	}
	if f.Other != nil {
		if _, err := f.Other.Put(t.Context(), f.Bucket, objectstore.ProbePrefix+"storetest", []byte(when)); err != nil {
			t.Errorf("%s: somebody else cannot write: %v", when, err)
		}
	}
}

func testFenceRead(t testing.TB, f Fenced, fence objectstore.Fence, st objectstore.FenceState) {
	if again := readFence(t, fence); again != st {
		t.Errorf("Read = %+v, and then %+v", st, again)
	}
	f.writes(t, "read", objectstore.ProbeAllowed)
}

func testFenceDenies(t testing.TB, f Fenced, fence objectstore.Fence, before objectstore.FenceState) {
	f.writes(t, "before", objectstore.ProbeAllowed)
	ok(t, "close", fence.Close(t.Context(), before, "r1"))
	if st := readFence(t, f.Fence()); !st.Closed || st.Run != "r1" {
		t.Errorf("closed: %+v, want it closed by r1", st)
	}
	f.writes(t, "closed", objectstore.ProbeDenied)
	ok(t, "open", fence.Open(t.Context(), before, "r1"))
}

func testFenceAgain(t testing.TB, f Fenced, fence objectstore.Fence, before objectstore.FenceState) {
	for range 2 {
		ok(t, "close", fence.Close(t.Context(), before, "r1"))
		if st := readFence(t, fence); !st.Closed || st.Run != "r1" {
			t.Errorf("closed: %+v", st)
		}
	}
	for range 2 {
		ok(t, "open", fence.Open(t.Context(), before, "r1"))
	}
	if st := readFence(t, fence); st != before {
		t.Errorf("opened: %+v, want %+v", st, before)
	}
}

func testFenceOpens(t testing.TB, f Fenced, fence objectstore.Fence, before objectstore.FenceState) {
	ok(t, "close", fence.Close(t.Context(), before, "r1"))
	ok(t, "open", f.Fence().Open(t.Context(), before, "r1")) // as after a restart
	if st := readFence(t, f.Fence()); st != before {
		t.Errorf("opened: %+v, want %+v", st, before)
	}
	f.writes(t, "opened", objectstore.ProbeAllowed)
}

func testFenceOthers(t testing.TB, f Fenced, fence objectstore.Fence, before objectstore.FenceState) {
	ok(t, "close", fence.Close(t.Context(), before, "r1"))
	is(t, "another run closes", fence.Close(t.Context(), readFence(t, fence), "r2"), []error{objectstore.ErrFenced}, objectstore.ErrChanged)
	is(t, "another run opens", fence.Open(t.Context(), before, "r2"), []error{objectstore.ErrFenced}, objectstore.ErrChanged)
	if st := readFence(t, fence); !st.Closed || st.Run != "r1" {
		t.Errorf("afterwards: %+v, want it closed by r1", st)
	}
	f.writes(t, "still closed", objectstore.ProbeDenied)
	ok(t, "open", fence.Open(t.Context(), before, "r1"))
}

func testFenceStale(t testing.TB, f Fenced, fence objectstore.Fence, before objectstore.FenceState) {
	f.Change(t)
	if st := readFence(t, fence); st.Base == before.Base {
		t.Errorf("a change is not seen: %+v", st)
	}
	is(t, "close on what has changed", fence.Close(t.Context(), before, "r1"), []error{objectstore.ErrChanged}, objectstore.ErrFenced)
	if st := readFence(t, fence); st.Run != "" {
		t.Errorf("the refused close left %+v", st)
	}
	f.Restore(t)
}

func testFenceKeeps(t testing.TB, f Fenced, fence objectstore.Fence, before objectstore.FenceState) {
	ok(t, "close", fence.Close(t.Context(), before, "r1"))
	f.Change(t)
	is(t, "open over what has changed", fence.Open(t.Context(), before, "r1"), []error{objectstore.ErrChanged})
	now := readFence(t, fence)
	if !now.Closed || now.Run != "r1" {
		t.Errorf("the refused open left %+v", now)
	}
	f.writes(t, "still closed", objectstore.ProbeDenied)
	ok(t, "open on what was read again", fence.Open(t.Context(), now, "r1"))
	if st := readFence(t, fence); st.Run != "" {
		t.Errorf("opened: %+v", st)
	}
	f.Restore(t)
}

func testFenceRefuses(t testing.TB, f Fenced, fence objectstore.Fence, before objectstore.FenceState) {
	for _, run := range []string{"", "no spaces, please", "a/b"} {
		if err := fence.Close(t.Context(), before, run); err == nil {
			t.Errorf("a fence of run %q was closed", run)
		}
	}
	if err := f.Nobody.Close(t.Context(), objectstore.FenceState{}, "r1"); err == nil {
		t.Error("a fence without principals was closed")
	}
	if st := readFence(t, fence); st != before {
		t.Errorf("refusals left %+v, want %+v", st, before)
	}
}
