package group

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/recovery"
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

// TestOutOfReachIsNotDead: a source behind a broken line goes on acknowledging. No
// bound is claimed that the truth then breaks, and the run owes the true number, until
// people say that the source is dead.
func TestOutOfReachIsNotDead(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	for range 4 {
		l.Tick(10 * time.Second)
		for _, name := range []string{"orders", "payments"} {
			if l.Writers[name] == nil {
				l.Create(name, 0)
			} else {
				l.Append(name, 5)
			}
			l.See(name)
		}
	}
	l.Replicate("orders", nil)
	l.Replicate("payments", nil)
	lost := l.Clock
	l.Lost()
	l.Run.SourceDead = false // nobody accepted it
	// The line is down, and the writers go on.
	for range 5 {
		l.Tick(time.Minute)
		l.Append("orders", 50)
	}
	r, _ := l.Do("group.recovery-point", "orders")
	for _, loss := range l.Point("orders").Losses {
		if loss.Count.AtMost != nil || loss.Seconds.AtMost != nil || loss.Met == verdict.Pass {
			t.Errorf("%s: %+v is claimed, and the source lives", loss.Dataset, loss)
		}
	}
	obs := l.Verified("group.recovery-point", r, verdict.Unknown)
	if !action.OnlySourceUnreachable(obs) || !strings.Contains(prove.Told(obs), "may go on acknowledging") {
		t.Errorf("it owes the true number:\n%s", prove.Told(obs))
	}
	owed := slices.ContainsFunc(obs, func(o action.Observation) bool { return strings.Contains(o.Obligation, "state what group orders lost") })
	if !owed {
		t.Error("there is no obligation to state the loss")
	}
	// Accepted to be dead: then there is a bound, on their word.
	l.Run.FirstRun, l.Run.SourceDead, l.Run.SourceDeadSince = "said-dead", true, &lost
	r, _ = l.Do("group.recovery-point", "orders")
	for _, loss := range l.Point("orders").Losses {
		if loss.Count.AtMost == nil || loss.Seconds.AtMost == nil {
			t.Errorf("%s: %+v; want bounds on the word of people", loss.Dataset, loss)
		}
	}
	if told := prove.Told(l.Verified("group.recovery-point", r, verdict.Pass)); !strings.Contains(told, "accepted: dead since "+lost.Format(time.RFC3339)) {
		t.Errorf("it does not say on whose word:\n%s", told)
	}
}

// TestAssumeUnchanged: a table that nobody saw for long gives up hours of its neighbour,
// or leaves no cut; people can take it to be unchanged, and see what that risks.
func TestAssumeUnchanged(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	l.Tick(time.Second)
	l.Create("orders", 0)
	l.Tick(time.Minute)
	l.Create("payments", 0) // and nobody writes to it, or sees it
	for range 3 {
		l.Tick(time.Hour)
		l.Append("orders", 5)
	}
	l.Tick(time.Minute)
	l.See("orders")
	l.Replicate("orders", nil)
	l.Replicate("payments", nil)
	l.Lost()
	d := l.Recorded("group.recovery-point")
	r := l.Request(d, "orders")
	if _, err := d.Plan(t.Context(), r, nil); !errors.Is(err, recovery.ErrNoCut) || !strings.Contains(err.Error(), "take payments to be unchanged") {
		t.Errorf("Plan = %v; want that payments leaves no cut, and the way out", err)
	}
	without, err := d.Plan(t.Context(), r, json.RawMessage(`{"leave_out": " payments "}`))
	l.Must(err)
	if len(without.Accepts) != 1 || without.Accepts[0].ID != "left-out payments" || !strings.Contains(without.Accepts[0].Sentence, "people leave it out") || !strings.Contains(without.Summary, "without payments, bound by orders") {
		t.Errorf("left out: %s, it asks for %+v", without.Summary, without.Accepts)
	}
	if _, err := d.Plan(t.Context(), r, json.RawMessage(`{"leave_out": "payment"}`)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), `leave_out names "payment"`) {
		t.Errorf("leaving out a name of nothing = %v", err)
	}
	with := json.RawMessage(`{"assume_unchanged": "payments, nobody"}`)
	if _, err := d.Plan(t.Context(), r, with); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("Plan with a name of nothing = %v", err)
	}
	with = json.RawMessage(`{"assume_unchanged": "payments"}`)
	ch, err := d.Plan(t.Context(), r, with)
	l.Must(err)
	if len(ch.Accepts) != 1 || ch.Accepts[0].ID != "unchanged payments" || !strings.Contains(ch.Accepts[0].Sentence, "What was written to it after that is lost") {
		t.Errorf("it asks for %+v", ch.Accepts)
	}
	r.Plan = &ch
	_, err = d.Apply(t.Context(), r, with)
	l.Must(err)
	obs, err := d.Verify(t.Context(), r, with)
	l.Must(err)
	if action.Worst(obs) != verdict.Pass {
		t.Errorf("Verify:\n%s", prove.Told(obs))
	}
	p := l.Point("orders")
	if orders, _, _ := p.Table("orders"); orders.Version != 3 {
		t.Errorf("%s: orders could have kept version 3", versionsOf(p))
	}
	promote := l.World.Action("table.promote")
	pr := l.Request(promote, "payments")
	asked, err := promote.Plan(t.Context(), pr, nil)
	l.Must(err)
	if !slices.ContainsFunc(asked.Accepts, func(a action.Acceptance) bool { return a.ID == "unchanged payments" }) {
		t.Errorf("the gate of the promotion is not told: %+v", asked.Accepts)
	}
}

// TestOneTableOfACatalogLeavesItsGroup: a table whose commits somebody else decides, or
// whose format nobody here knows, does not come back here. Its group does, without it,
// and people accept that at the gate.
func TestOneTableOfACatalogLeavesItsGroup(t *testing.T) {
	t.Parallel()
	const catalog = `"readerFeatures":["catalogManaged"],"writerFeatures":["catalogManaged","inCommitTimestamp"]`
	for name, tc := range map[string]struct{ protocol, configuration, says string }{
		"a catalog's":         {catalog, "", "recover it through its catalog"},
		"a coordinator's":     {`"readerFeatures":[],"writerFeatures":["inCommitTimestamp"]`, `"delta.coordinatedCommits.commitCoordinator-preview":"dynamodb"`, "recover it through that one"},
		"of a format to come": {`"readerFeatures":["timeReversal"],"writerFeatures":["timeReversal"]`, "", "timeReversal; use an engine that supports them"},
	} {
		t.Run(name, func(t *testing.T) {
			l := world.NewLake(t)
			for range 4 {
				l.Tick(10 * time.Second)
				for _, name := range []string{"orders", "payments"} {
					if l.Writers[name] == nil {
						l.Create(name, 2)
					} else {
						l.Append(name, 5)
					}
				}
			}
			l.Tick(time.Second)
			l.See("orders")
			l.Replicate("orders", nil)
			l.Replicate("payments", nil)
			// The last commit of payments gives it away, from a checkpoint on.
			last := world.Entry("orders/payments", 4)
			body := fmt.Sprintf(`{"commitInfo":{"timestamp":%d,"operation":"SET TBLPROPERTIES"}}`+"\n"+`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,%s}}`+"\n"+
				`{"metaData":{"id":"p","format":{"provider":"parquet"},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":[],"configuration":{%s}}}`+"\n",
				l.Clock.UnixMilli(), tc.protocol, tc.configuration)
			_, err := l.RootBucket(world.West).Put(t.Context(), last, []byte(body))
			l.Must(err)
			l.Lost()
			d := l.Recorded("group.recovery-point")
			ch, err := d.Plan(t.Context(), l.Request(d, "orders"), nil)
			if err != nil {
				t.Fatalf("one table stops its whole group: %v", err)
			}
			out := func(all []action.Acceptance) bool {
				return slices.ContainsFunc(all, func(a action.Acceptance) bool {
					return a.ID == "left-out payments" && strings.Contains(a.Sentence, tc.says) && strings.Contains(a.Sentence, "nobody can say what it loses")
				})
			}
			if !out(ch.Accepts) || ch.Loss == nil || ch.Loss.Dataset != "payments" || ch.Loss.AtMost != nil || !strings.Contains(ch.Summary, "without payments") {
				t.Errorf("the plan does not say it: %s, %+v, %+v", ch.Summary, ch.Accepts, ch.Loss)
			}
			r, _ := l.Do("group.recovery-point", "orders")
			l.Verified("group.recovery-point", r, verdict.Pass)
			p := l.Point("orders")
			if orders, _, ok := p.Table("orders"); !ok || orders.Version != 3 || len(p.Cut.Tables) != 1 || p.Cut.Binding.Dataset != "orders" {
				t.Errorf("the cut of the others is %+v", p.Cut)
			}
			r, _ = l.Do("table.promote", "orders")
			l.Verified("table.promote", r, verdict.Pass)

			before := l.Everything("orders/payments")
			promote := l.Recorded("table.promote")
			r = l.Request(promote, "payments")
			ch, err = promote.Plan(t.Context(), r, nil)
			l.Must(err)
			if !out(ch.Accepts) || len(ch.Effects) > 0 || ch.Loss == nil || ch.Loss.AtMost != nil {
				t.Errorf("the gate of its promotion is shown %+v, %+v, %+v", ch.Accepts, ch.Effects, ch.Loss)
			}
			r, o := l.Do("table.promote", "payments")
			if o.Mutations != 0 || !maps.Equal(before, l.Everything("orders/payments")) {
				t.Errorf("it was changed: %+v", o)
			}
			for _, name := range []string{"table.promote", "table.history", "access.golden-queries"} {
				obs := l.Verified(name, r, verdict.Unknown)
				if owed := action.Owed(obs); !slices.Equal(owed, []string{"left-out payments"}) || !slices.ContainsFunc(obs, func(o action.Observation) bool { return o.Obligation != "" }) {
					t.Errorf("%s owes %q:\n%s", name, owed, prove.Told(obs))
				}
			}
			back, err := promote.UndoPlan(t.Context(), r, nil)
			l.Must(err)
			r.Plan = &back
			_, err = promote.UndoApply(t.Context(), r, nil)
			l.Must(err)
			if obs, err := promote.UndoVerify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Pass {
				t.Errorf("undo: %v\n%s", err, prove.Told(obs))
			}

			// Alone in its group it leaves no cut, and no other group waits for that.
			g, _ := l.Estate.Group("orders")
			g.Tables = slices.DeleteFunc(g.Tables, func(t estate.Table) bool { return t.Table != "payments" })
			g.Topics = nil
			l.Run.FirstRun = "alone"
			r, _ = l.Do("group.recovery-point", "orders")
			l.Verified("group.recovery-point", r, verdict.Pass)
			if p := l.Point("orders"); !p.Cut.At.IsZero() || len(p.LeftOut) != 1 || len(p.Losses) != 1 {
				t.Errorf("alone: %+v", p)
			}
		})
	}
}

// TestTheSourceSaysWhoDecides: what gives a table away may not have arrived at the target.
func TestTheSourceSaysWhoDecides(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	for _, name := range []string{"orders", "payments"} {
		l.Tick(time.Second)
		l.Create(name, 0)
		l.Append(name, 5)
		l.Replicate(name, nil)
	}
	at := world.Entry("orders/payments", 2)
	_, err := l.RootBucket(world.East).Put(t.Context(), at, fmt.Appendf(nil,
		`{"commitInfo":{"timestamp":%d}}`+"\n"+`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["catalogManaged"],"writerFeatures":["catalogManaged"]}}`+"\n", l.Clock.UnixMilli()))
	l.Must(err)
	decl, _, _ := l.Estate.Table("payments")
	decl.LogStore = estate.Catalog // as people say whom the log says nothing
	d := l.Recorded("group.recovery-point")
	ch, err := d.Plan(t.Context(), l.Request(d, "orders"), nil)
	if err != nil || len(ch.Accepts) != 1 || !strings.Contains(ch.Accepts[0].Sentence, "log_store: catalog") {
		t.Errorf("the estate says it: %+v, %v", ch.Accepts, err)
	}
	decl.LogStore = ""
	l.Run.SourceUnreachable = false
	l.Records.Seen["storage.fence lake"] = []action.Observation{{Verdict: verdict.Pass}}
	l.Do("group.recovery-point", "orders")
	p := l.Point("orders")
	if left, _, not := p.NotHere("payments"); !not || !strings.Contains(left.Why, "catalogManaged") || len(p.Cut.Tables) != 1 || !p.Death.Answered {
		t.Errorf("%+v", p)
	}
}
