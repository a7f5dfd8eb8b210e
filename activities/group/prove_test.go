package group

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

func TestProveRecoveryPoint(t *testing.T) {
	t.Parallel()
	l := world.OrdersLake(t)
	d := l.Recorded("group.recovery-point")
	prove.Action(t, d, l.Request(d, "orders"), l.FaultSet())
	p := l.Point("orders")
	orders, _, _ := p.Table("orders")
	payments, _, _ := p.Table("payments")
	if orders.Version != 6 || payments.Version != 6 || orders.NewestComplete != 7 {
		t.Errorf("%s with newest %d; want both at 6, the last before the version of payments that is missing", versionsOf(p), orders.NewestComplete)
	}
	for _, loss := range p.Losses {
		lost := l.Truth[loss.Dataset][8].Rows - l.Truth[loss.Dataset][*loss.Version].Rows
		if loss.Count.AtLeast > lost || loss.Count.AtMost == nil || *loss.Count.AtMost < lost {
			t.Errorf("%s: %s, in truth %d", loss.Dataset, loss.Words(), lost)
		}
	}
}

// With the source alive and fenced the loss is what the source says, and the plan
// does not depend on when it is made.
func TestRecoveryPointFromAFencedSource(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	for range 5 {
		l.Tick(10 * time.Second)
		for _, name := range []string{"orders", "payments"} {
			if l.Writers[name] == nil {
				l.Create(name, 0)
			} else {
				l.Append(name, 5)
			}
		}
	}
	l.Tick(30 * time.Second)
	l.Append("orders", 7) // payments idles since
	l.Replicate("orders", nil)
	l.Replicate("payments", nil)
	d := l.Recorded("group.recovery-point")
	r := l.Request(d, "orders")
	ch, err := d.Plan(t.Context(), r, nil)
	l.Must(err)
	if ch.Loss == nil || ch.Loss.AtMost != nil {
		t.Errorf("nobody was fenced, so writes may go on: loss %+v, want no bound", ch.Loss)
	}
	l.Records.Seen["storage.fence lake"] = []action.Observation{{Verdict: verdict.Pass}}
	prove.Action(t, d, r, l.FaultSet())
	p := l.Point("orders")
	if orders, _, _ := p.Table("orders"); orders.Version != 5 {
		t.Errorf("%s: everything arrived, so nothing is given up", versionsOf(p))
	}
	for _, loss := range p.Losses {
		if !loss.Exact || *loss.Count.AtMost != 0 {
			t.Errorf("%s: %s; the source is fenced and everything arrived", loss.Dataset, loss.Words())
		}
	}
	// A version that never arrives is lost, exactly.
	l.Append("payments", 9)
	r, _ = l.Do("group.recovery-point", "orders")
	l.Verified("group.recovery-point", r, verdict.Pass)
	_, loss, _ := l.Point("orders").Table("payments")
	payments, _, _ := l.Point("orders").Table("payments")
	if lost := l.Truth["payments"][5].Rows - l.Truth["payments"][payments.Version].Rows; !loss.Exact || loss.Count.AtLeast != lost {
		t.Errorf("payments: %s, want exactly %d rows", loss.Words(), lost)
	}
	// A write that gets past the fence is noticed.
	l.Append("payments", 1)
	l.Verified("group.recovery-point", r, verdict.Fail)
}

// Whatever subset of the objects arrives, the promoted tables hold what the
// writer journalled for the versions of the cut, and the claimed loss contains
// the truth.
func TestRandomArrivals(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	const commits = 8
	for range commits {
		for _, name := range []string{"orders", "payments"} {
			l.Tick(time.Duration(1+rand.IntN(9)) * time.Second)
			if l.Writers[name] == nil {
				l.Create(name, 3)
			} else {
				l.Append(name, 1+rand.IntN(20))
			}
			if rand.IntN(3) == 0 {
				l.See(name)
			}
		}
	}
	l.Tick(time.Second)
	l.Lost()
	cuts, promoted := 0, 0
	for n := range 50 {
		seed := rand.Uint64()
		l.Run.FirstRun = fmt.Sprintf("random-%d", n)
		ok := l.Arrive(rand.New(rand.NewPCG(seed, 0)))
		if ok {
			cuts++
			for _, name := range []string{"orders", "payments"} {
				promoted++
				l.Holds(name)
			}
		}
		if t.Failed() {
			t.Fatalf("round %d, seed %d", n, seed)
		}
	}
	t.Logf("%d of 50 subsets had a cut, %d promotions", cuts, promoted)
	if cuts < 10 {
		t.Errorf("only %d of 50 subsets had a cut: the test shows too little", cuts)
	}
}
