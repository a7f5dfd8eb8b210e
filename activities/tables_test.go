package activities

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/table/delta/check"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/scan"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
)

// ordersLake has two tables with different lag. Of orders only the data of
// version 8 did not arrive; of payments neither data nor log entry of 7, while 8
// arrived. So 7 of orders is complete, and the group comes back to 6.
func ordersLake(t *testing.T) *lake {
	t.Helper()
	l := newLake(t)
	for range 9 {
		l.tick(10 * time.Second)
		for _, name := range []string{"orders", "payments"} {
			if l.writers[name] == nil {
				l.create(name, 4)
			} else {
				l.append(name, 10+len(l.truth[name]))
			}
		}
		l.tick(2 * time.Second)
		l.see("orders")
		l.see("payments")
	}
	l.tick(3 * time.Second)
	late := append(l.dataOf("orders", 8), l.dataOf("payments", 7)...)
	late = append(late, entry("orders/payments", 7))
	l.replicate("orders", func(key string) bool { return slices.Contains(late, key) })
	l.replicate("payments", func(key string) bool { return slices.Contains(late, key) })
	l.lost()
	return l
}

func TestProveRecoveryPoint(t *testing.T) {
	t.Parallel()
	l := ordersLake(t)
	d := l.recorded("group.recovery-point")
	proveAction(t, d, l.request(d, "orders"), l.faultSet())
	p := l.point("orders")
	orders, _, _ := p.Table("orders")
	payments, _, _ := p.Table("payments")
	if orders.Version != 6 || payments.Version != 6 || orders.NewestComplete != 7 {
		t.Errorf("%s with newest %d; want both at 6, the last before the version of payments that is missing", versionsOf(p), orders.NewestComplete)
	}
	for _, loss := range p.Losses {
		lost := l.truth[loss.Dataset][8].Rows - l.truth[loss.Dataset][*loss.Version].Rows
		if loss.Count.AtLeast > lost || loss.Count.AtMost == nil || *loss.Count.AtMost < lost {
			t.Errorf("%s: %s, in truth %d", loss.Dataset, lossWords(loss), lost)
		}
	}
}

func TestProvePromotion(t *testing.T) {
	t.Parallel()
	l := ordersLake(t)
	l.do("group.recovery-point", "orders")
	l.compact("orders", 5, 8)
	d := l.recorded("table.promote")
	before := l.everything("orders/orders")
	proveAction(t, d, l.request(d, "orders"), l.faultSet())
	after := l.everything("orders/orders")
	for key, etag := range before {
		if after[key] != etag {
			t.Errorf("after undo %s has ETag %q, had %q", key, after[key], etag)
		}
	}
}

// compact puts a log compaction file at the target, of the commits at the source.
func (l *lake) compact(name string, first, last int) string {
	l.t.Helper()
	decl, _, _ := l.estate.Table(name)
	var commits [][]byte
	for v := first; v <= last; v++ {
		body, _, err := l.rootBucket(east).Get(l.t.Context(), entry(decl.Path, v))
		l.must(err)
		commits = append(commits, body)
	}
	body, err := deltatest.Compacted(commits...)
	l.must(err)
	key := strings.TrimSuffix(entry(decl.Path, first), "json") + fmt.Sprintf("%020d.compacted.json", last)
	_, err = l.rootBucket(west).Put(l.t.Context(), key, body)
	l.must(err)
	return key
}

// Moving commits aside is no business of ours where a coordinator accepts them.
func TestPromotionOfACoordinatedTableIsRefused(t *testing.T) {
	t.Parallel()
	l := ordersLake(t)
	at := entry("orders/orders", 0)
	body, _, err := l.rootBucket(west).Get(t.Context(), at)
	l.must(err)
	with := strings.Replace(string(body), `"configuration":{`, `"configuration":{"delta.coordinatedCommits.commitCoordinator-preview":"dynamodb",`, 1)
	_, err = l.rootBucket(west).Put(t.Context(), at, []byte(strings.Replace(with, ",}", "}", 1)))
	l.must(err)
	for o, err := range l.rootBucket(west).List(t.Context(), "orders/orders/_delta_log/") { // which have the old metadata
		l.must(err)
		if strings.Contains(o.Key, ".checkpoint.") {
			_, err := l.rootBucket(west).Delete(t.Context(), o.Key)
			l.must(err)
		}
	}
	l.do("group.recovery-point", "orders")
	d := l.recorded("table.promote")
	if _, err := d.Plan(t.Context(), l.request(d, "orders"), nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "commitCoordinator-preview of dynamodb") {
		t.Errorf("promote = %v, want it refused by name", err)
	}
}

// A compaction that reaches above the promoted version tells of commits that were
// moved aside, and Spark would read it in place of those that come to stand under
// their numbers.
func TestPromotionLeavesNoCompactionAbove(t *testing.T) {
	t.Parallel()
	l := ordersLake(t)
	stale, good := l.compact("orders", 5, 8), l.compact("orders", 2, 6)
	l.do("group.recovery-point", "orders")
	r, _ := l.do("table.promote", "orders")
	l.verified("table.promote", r, verdict.Pass)
	log, store := l.log(west, "orders")
	if all := log.Compactions(); log.Head() != 6 || len(all) != 1 || all[0].Key != good || len(log.Beyond()) > 0 {
		t.Errorf("promoted to %d with %v", log.Head(), all)
	}
	var kept []string
	for o, err := range l.rootBucket(west).List(t.Context(), "orders/orders/.breakwater/") {
		l.must(err)
		kept = append(kept, path.Base(o.Key))
	}
	if !slices.Contains(kept, path.Base(stale)) {
		t.Errorf("%s is not kept among %q", stale, kept)
	}
	if c, err := check.Table(t.Context(), store, log, check.Options{}); err != nil || !c.Sound() {
		t.Errorf("after promotion: %+v, %v", c.Problems, err)
	}
	l.compact("orders", 5, 8) // comes late
	l.verified("table.promote", r, verdict.Fail)
}

func TestProveHistoryAndGoldenQueries(t *testing.T) {
	t.Parallel()
	l := ordersLake(t)
	l.do("group.recovery-point", "orders")
	for _, name := range []string{"orders", "payments"} {
		r, _ := l.do("table.promote", name)
		l.verified("table.promote", r, verdict.Pass)
	}
	for _, name := range []string{"table.history", "access.golden-queries"} {
		t.Run(name, func(t *testing.T) {
			d := l.recorded(name)
			proveAction(t, d, l.request(d, "orders"), l.faultSet())
			l.verified(name, l.request(d, "payments"), verdict.Pass)
		})
	}
}

func TestProveWitness(t *testing.T) {
	t.Parallel()
	l := newLake(t)
	l.tick(time.Second)
	l.create("orders", 0)
	l.append("orders", 12)
	d := l.recorded("table.witness")
	r := l.request(d, "orders")
	proveAction(t, d, r, l.faultSet())

	// Another run with the same head notes it and reads nothing.
	r.Run.Workflow = "witness-2"
	ch, err := d.Plan(t.Context(), r, nil)
	l.must(err)
	if len(ch.Effects) != 1 || !strings.Contains(ch.Effects[0].Do, "note") {
		t.Errorf("a second run with an unchanged head plans %+v; want a sighting alone", ch.Effects)
	}
	r.Plan = &ch
	o, err := d.Apply(t.Context(), r, nil)
	l.must(err)
	if o.Mutations != 1 {
		t.Errorf("a second run made %d mutations, want 1", o.Mutations)
	}
	l.verified("table.witness", r, verdict.Pass)
	j := witness.Journal{Bucket: l.rootBucket(west), Prefix: "_witness"}
	rec, err := j.Record(t.Context(), "orders", 1)
	l.must(err)
	if want := l.truth["orders"][1]; rec.Rows != want.Rows || rec.Hash != hex.EncodeToString(want.Sum[:]) {
		t.Errorf("the journal has %+v, the source %v", rec, want)
	}
}

// A promotion that moved half and died is finished by the next attempt, planned
// anew or not, and all of it can be taken back.
func TestPromotionResumes(t *testing.T) {
	t.Parallel()
	for _, anew := range []bool{false, true} {
		t.Run(fmt.Sprintf("planned anew %v", anew), func(t *testing.T) {
			t.Parallel()
			l := ordersLake(t)
			l.do("group.recovery-point", "orders")
			before := l.everything("orders/orders")
			d := l.recorded("table.promote")
			r := l.request(d, "orders")
			ch, err := d.Plan(t.Context(), r, nil)
			l.must(err)
			r.Plan = &ch
			guards := 0
			died := errors.New("died")
			r.Guard = func(context.Context) error {
				if guards++; guards > 3 {
					return died
				}
				return nil
			}
			if o, err := d.Apply(t.Context(), r, nil); !errors.Is(err, died) || o.Mutations == 0 {
				t.Fatalf("Apply = %d mutations, %v; want some and the guard's error", o.Mutations, err)
			}
			l.verified("table.promote", r, verdict.Fail)
			r.Guard = func(context.Context) error { return nil }
			if anew {
				ch, err := d.Plan(t.Context(), r, nil)
				l.must(err)
				r.Plan = &ch
			}
			_, err = d.Apply(t.Context(), r, nil)
			l.must(err)
			l.verified("table.promote", r, verdict.Pass)
			back, err := d.UndoPlan(t.Context(), r, nil)
			l.must(err)
			r.Plan = &back
			_, err = d.UndoApply(t.Context(), r, nil)
			l.must(err)
			after := l.everything("orders/orders")
			for key, etag := range before {
				if after[key] != etag {
					t.Errorf("%s came back with ETag %q, had %q", key, after[key], etag)
				}
			}
		})
	}
}

// What came after the plan is not promoted over, and a commit made after the
// promotion is not written over by taking it back.
func TestPromotionNoticesWhatMoved(t *testing.T) {
	t.Parallel()
	l := ordersLake(t)
	l.do("group.recovery-point", "orders")
	d := l.recorded("table.promote")
	r := l.request(d, "orders")
	ch, err := d.Plan(t.Context(), r, nil)
	l.must(err)
	r.Plan = &ch
	write := func(key string) {
		t.Helper()
		_, err := l.rootBucket(west).Put(t.Context(), key, []byte(`{"commitInfo":{"timestamp":1}}`))
		l.must(err)
	}
	write(entry("orders/orders", 9))
	if _, err := d.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) {
		t.Fatalf("Apply after a log entry came = %v, want ErrMoved", err)
	}
	r.Plan = nil
	r, _ = l.do("table.promote", "orders")
	l.verified("table.promote", r, verdict.Pass)
	write(entry("orders/orders", 7))
	if _, err := d.UndoPlan(t.Context(), r, nil); !errors.Is(err, action.ErrRefused) {
		t.Errorf("Undo.Plan after somebody wrote version 7 = %v, want ErrRefused", err)
	}
}

// With the source alive and fenced the loss is what the source says, and the plan
// does not depend on when it is made.
func TestRecoveryPointFromAFencedSource(t *testing.T) {
	t.Parallel()
	l := newLake(t)
	for range 5 {
		l.tick(10 * time.Second)
		for _, name := range []string{"orders", "payments"} {
			if l.writers[name] == nil {
				l.create(name, 0)
			} else {
				l.append(name, 5)
			}
		}
	}
	l.tick(30 * time.Second)
	l.append("orders", 7) // payments idles since
	l.replicate("orders", nil)
	l.replicate("payments", nil)
	d := l.recorded("group.recovery-point")
	r := l.request(d, "orders")
	ch, err := d.Plan(t.Context(), r, nil)
	l.must(err)
	if ch.Loss == nil || ch.Loss.AtMost != nil {
		t.Errorf("nobody was fenced, so writes may go on: loss %+v, want no bound", ch.Loss)
	}
	l.records.seen["storage.fence lake"] = []action.Observation{{Verdict: verdict.Pass}}
	proveAction(t, d, r, l.faultSet())
	p := l.point("orders")
	if orders, _, _ := p.Table("orders"); orders.Version != 5 {
		t.Errorf("%s: everything arrived, so nothing is given up", versionsOf(p))
	}
	for _, loss := range p.Losses {
		if !loss.Exact || *loss.Count.AtMost != 0 {
			t.Errorf("%s: %s; the source is fenced and everything arrived", loss.Dataset, lossWords(loss))
		}
	}
	// A version that never arrives is lost, exactly.
	l.append("payments", 9)
	r, _ = l.do("group.recovery-point", "orders")
	l.verified("group.recovery-point", r, verdict.Pass)
	_, loss, _ := l.point("orders").Table("payments")
	payments, _, _ := l.point("orders").Table("payments")
	if lost := l.truth["payments"][5].Rows - l.truth["payments"][payments.Version].Rows; !loss.Exact || loss.Count.AtLeast != lost {
		t.Errorf("payments: %s, want exactly %d rows", lossWords(loss), lost)
	}
	// A write that gets past the fence is noticed.
	l.append("payments", 1)
	l.verified("group.recovery-point", r, verdict.Fail)
}

// A table of one version has no history to lose.
func TestHistoryOfASingleVersion(t *testing.T) {
	t.Parallel()
	l := newLake(t)
	l.tick(time.Second)
	l.create("clicks", 0)
	l.tick(time.Minute)
	l.see("clicks")
	l.replicate("clicks", nil)
	l.lost()
	l.do("group.recovery-point", "clicks")
	obs := l.verified("table.history", l.request(l.recorded("table.history"), "clicks"), verdict.Pass)
	if len(obs) != 1 || !strings.Contains(obs[0].Got, "only one") {
		t.Errorf("observed %+v; want it said that there is one version", obs)
	}
}

// Whatever subset of the objects arrives, the promoted tables hold what the
// writer journalled for the versions of the cut, and the claimed loss contains
// the truth.
func TestRandomArrivals(t *testing.T) {
	t.Parallel()
	l := newLake(t)
	const commits = 8
	for range commits {
		for _, name := range []string{"orders", "payments"} {
			l.tick(time.Duration(1+rand.IntN(9)) * time.Second)
			if l.writers[name] == nil {
				l.create(name, 3)
			} else {
				l.append(name, 1+rand.IntN(20))
			}
			if rand.IntN(3) == 0 {
				l.see(name)
			}
		}
	}
	l.tick(time.Second)
	l.lost()
	cuts, promoted := 0, 0
	for n := range 50 {
		seed := rand.Uint64()
		l.run.FirstRun = fmt.Sprintf("random-%d", n)
		ok := l.arrive(rand.New(rand.NewPCG(seed, 0)))
		if ok {
			cuts++
			for _, name := range []string{"orders", "payments"} {
				promoted++
				l.holds(name)
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

// arrive empties the target's tables, lets a random subset arrive and chooses.
func (l *lake) arrive(r *rand.Rand) bool {
	l.t.Helper()
	l.records.outcomes = map[string]action.Outcome{}
	for _, name := range []string{"orders", "payments"} {
		decl, _, _ := l.estate.Table(name)
		l.empty(west, decl.Path+"/")
		l.unmark(decl.Path + "/")
		lag := r.Float64() * 0.4
		l.replicate(name, func(key string) bool {
			if strings.HasSuffix(key, "0000.json") || strings.HasSuffix(key, "0001.json") || slices.Contains(l.dataOf(name, 1), key) {
				return r.IntN(30) == 0
			}
			return r.Float64() < lag
		})
	}
	d := l.recorded("group.recovery-point")
	req := l.request(d, "orders")
	ch, err := d.Plan(l.t.Context(), req, nil)
	if err != nil {
		if !strings.Contains(err.Error(), "choose the cut") {
			l.t.Errorf("Plan: %v", err)
		}
		return false
	}
	req.Plan = &ch
	_, err = d.Apply(l.t.Context(), req, nil)
	l.must(err)
	l.verified("group.recovery-point", req, verdict.Pass)
	for _, loss := range l.point("orders").Losses {
		v := *loss.Version
		all := l.truth[loss.Dataset]
		lost := all[len(all)-1].Rows - all[v].Rows
		if loss.Count.AtLeast > lost || loss.Count.AtMost != nil && *loss.Count.AtMost < lost {
			l.t.Errorf("%s at version %d: %s, in truth %d", loss.Dataset, v, lossWords(loss), lost)
		}
		// One cut: no table is before, or after, its version at that moment.
		at := l.point("orders").Cut.At
		if l.commits[loss.Dataset][v].After(at) || int(v)+1 < len(all) && !l.commits[loss.Dataset][v+1].After(at) {
			l.t.Errorf("%s at version %d is not where it was at %s", loss.Dataset, v, at)
		}
	}
	return true
}

// holds promotes a table and holds what a reader finds against the truth.
func (l *lake) holds(name string) {
	l.t.Helper()
	r, _ := l.do("table.promote", name)
	l.verified("table.promote", r, verdict.Pass)
	p, _, _ := l.point("orders").Table(name)
	log, store := l.log(west, name)
	s, err := log.Snapshot(l.t.Context(), log.Head())
	l.must(err)
	got, err := scan.Sum(l.t.Context(), store, s)
	l.must(err)
	if want := l.truth[name][p.Version]; log.Head() != p.Version || got != want {
		l.t.Errorf("%s promoted to %d: head %d holds %v, the writer's journal says %v", name, p.Version, log.Head(), got, want)
	}
	golden := l.recorded("access.golden-queries")
	obs, err := golden.Verify(l.t.Context(), l.request(golden, name), nil)
	l.must(err)
	if action.Worst(obs) == verdict.Fail {
		l.t.Errorf("golden queries on %s:\n%s", name, told(obs))
	}
}
