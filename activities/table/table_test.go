package table

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/check"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

func TestProvePromotion(t *testing.T) {
	t.Parallel()
	l := world.OrdersLake(t)
	l.Do("group.recovery-point", "orders")
	l.Compact("orders", 5, 8)
	d := l.Recorded("table.promote")
	before := l.Everything("orders/orders")
	prove.Action(t, d, l.Request(d, "orders"), l.FaultSet())
	after := l.Everything("orders/orders")
	for key, etag := range before {
		if after[key] != etag {
			t.Errorf("after undo %s has ETag %q, had %q", key, after[key], etag)
		}
	}
}

// Moving commits aside is no business of ours where a coordinator accepts them.
func TestPromotionOfACoordinatedTableIsRefused(t *testing.T) {
	t.Parallel()
	l := world.OrdersLake(t)
	l.Do("group.recovery-point", "orders")
	coordinate(l, world.West)
	d := l.Recorded("table.promote")
	if _, err := d.Plan(t.Context(), l.Request(d, "orders"), nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "commitCoordinator-preview of dynamodb") {
		t.Errorf("promote = %v, want it refused by name", err)
	}
}

// coordinate gives the commits of table orders in a region to a coordinator.
func coordinate(l *world.Lake, region string) {
	l.T.Helper()
	b, at := l.RootBucket(region), world.Entry("orders/orders", 0)
	body, _, err := b.Get(l.T.Context(), at)
	l.Must(err)
	with := strings.Replace(string(body), `"configuration":{`, `"configuration":{"delta.coordinatedCommits.commitCoordinator-preview":"dynamodb",`, 1)
	_, err = b.Put(l.T.Context(), at, []byte(strings.Replace(with, ",}", "}", 1)))
	l.Must(err)
	for o, err := range b.List(l.T.Context(), "orders/orders/_delta_log/") { // which have the old metadata
		l.Must(err)
		if strings.Contains(o.Key, ".checkpoint.") {
			_, err := b.Delete(l.T.Context(), o.Key)
			l.Must(err)
		}
	}
}

// TestWitnessOfACoordinatedTable: who else decides what was committed takes nothing from
// the witness's look at other tables.
func TestWitnessOfACoordinatedTable(t *testing.T) {
	t.Parallel()
	l := world.OrdersLake(t)
	coordinate(l, world.East)
	l.Append("orders", 1) // no head of which there is a record already
	d := l.Recorded("table.witness")
	r := l.Request(d, "orders")
	if o := l.Act(d, &r, nil); o.Mutations != 0 || !strings.Contains(o.Summary, "not witnessed") || !strings.Contains(r.Plan.Summary, "dynamodb") {
		t.Errorf("plan %q, outcome %+v; want it said that it is not witnessed", r.Plan.Summary, o)
	}
	l.Verified("table.witness", r, verdict.Pass)
}

// TestLogStoreIsNamedAtTheGate: what people must do at DynamoDB, which nobody asks here,
// is in the plans of a promotion and of a rollback, whether the estate says it or not.
func TestLogStoreIsNamedAtTheGate(t *testing.T) {
	t.Parallel()
	l := world.OrdersLake(t)
	l.Do("group.recovery-point", "orders")
	says := func(name, with, item, what string, words ...string) {
		t.Helper()
		d := l.Recorded(name)
		ch, err := d.Plan(t.Context(), l.Request(d, item), json.RawMessage(with))
		l.Must(err)
		got := ""
		for _, a := range ch.Accepts {
			if a.ID == "log-store "+item {
				got = a.Sentence
			}
		}
		if (got == "") != (len(words) == 0) {
			t.Errorf("%s, %s: it asks to accept %q", name, what, got)
		}
		for _, w := range words {
			if !strings.Contains(got, w) {
				t.Errorf("%s, %s: %q does not say %q", name, what, got, w)
			}
		}
	}
	const back = `{"to_version": 3}`
	says("table.promote", "", "orders", "of a table of no log store")
	says("table.rollback", back, "orders", "of a table of no log store")
	decl, _, _ := l.Estate.Table("orders")
	decl.LogStore = table.S3DynamoDB
	says("table.promote", "", "orders", "declared", "as the estate says", "delete the entries of this table above version 6")
	says("table.rollback", back, "orders", "declared", "as the estate says", "Every writer with that log store", "version 9 is committed in the log alone", "above version 8")
	decl.LogStore = ""
	_, err := l.RootBucket(world.West).Put(t.Context(), "orders/orders/_delta_log/.tmp/00000000000000000004.json.8f3a", []byte("{}")) // published since
	l.Must(err)
	says("table.promote", "", "orders", "only seen", "write log_store: s3-dynamodb there", "above version 6")
	says("table.rollback", back, "orders", "only seen", "write log_store: s3-dynamodb there", "above version 8")
}

// A compaction that reaches above the promoted version tells of commits that were
// moved aside, and Spark would read it in place of those that come to stand under
// their numbers.
func TestPromotionLeavesNoCompactionAbove(t *testing.T) {
	t.Parallel()
	l := world.OrdersLake(t)
	stale, good := l.Compact("orders", 5, 8), l.Compact("orders", 2, 6)
	l.Do("group.recovery-point", "orders")
	r, _ := l.Do("table.promote", "orders")
	l.Verified("table.promote", r, verdict.Pass)
	log, store := l.Log(world.West, "orders")
	if all := log.Compactions(); log.Head() != 6 || len(all) != 1 || all[0].Key != good || len(log.Beyond()) > 0 {
		t.Errorf("promoted to %d with %v", log.Head(), all)
	}
	var kept []string
	for o, err := range l.RootBucket(world.West).List(t.Context(), "orders/orders/.breakwater/") {
		l.Must(err)
		kept = append(kept, path.Base(o.Key))
	}
	if !slices.Contains(kept, path.Base(stale)) {
		t.Errorf("%s is not kept among %q", stale, kept)
	}
	if c, err := check.Table(t.Context(), store, log, check.Options{}); err != nil || !c.Sound() {
		t.Errorf("after promotion: %+v, %v", c.Problems, err)
	}
	l.Compact("orders", 5, 8) // comes late
	l.Verified("table.promote", r, verdict.Fail)
}

func TestProveHistory(t *testing.T) {
	t.Parallel()
	l := world.PromotedLake(t)
	d := l.Recorded("table.history")
	prove.Action(t, d, l.Request(d, "orders"), l.FaultSet())
	l.Verified("table.history", l.Request(d, "payments"), verdict.Pass)
}

func TestProveWitness(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	l.Tick(time.Second)
	l.Create("orders", 0)
	l.Append("orders", 12)
	d := l.Recorded("table.witness")
	r := l.Request(d, "orders")
	prove.Action(t, d, r, l.FaultSet())

	// Another run with the same head notes it and reads nothing.
	r.Run.Workflow = "witness-2"
	ch, err := d.Plan(t.Context(), r, nil)
	l.Must(err)
	if len(ch.Effects) != 1 || !strings.Contains(ch.Effects[0].Do, "note") {
		t.Errorf("a second run with an unchanged head plans %+v; want a sighting alone", ch.Effects)
	}
	r.Plan = &ch
	o, err := d.Apply(t.Context(), r, nil)
	l.Must(err)
	if o.Mutations != 1 {
		t.Errorf("a second run made %d mutations, want 1", o.Mutations)
	}
	l.Verified("table.witness", r, verdict.Pass)
	j := l.Journal(l.RootBucket(world.West))
	rec, err := j.Record(t.Context(), "orders", 1)
	l.Must(err)
	if want := l.Truth["orders"][1]; rec.Rows != want.Rows || rec.Hash != hex.EncodeToString(want.Sum[:]) {
		t.Errorf("the journal has %+v, the source %v", rec, want)
	}
}

// TestWitnessSeesFirst: the rows of a large table take long to read, and may not be
// readable at all; that it was seen is in the journal before.
func TestWitnessSeesFirst(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	l.Tick(time.Second)
	l.Create("orders", 0)
	l.Append("orders", 12)
	for _, key := range l.Objects("orders") {
		if strings.HasSuffix(key, ".parquet") { // nobody can read the rows
			_, err := l.RootBucket(world.East).Delete(t.Context(), key)
			l.Must(err)
		}
	}
	d := l.Recorded("table.witness")
	r := l.Request(d, "orders")
	ch, err := d.Plan(t.Context(), r, nil)
	l.Must(err)
	r.Plan = &ch
	if _, err := d.Apply(t.Context(), r, nil); err == nil {
		t.Error("the rows were read, and their files are gone")
	}
	j := l.Journal(l.RootBucket(world.West))
	all, err := j.Sightings(t.Context(), "orders")
	l.Must(err)
	if len(all) != 1 || all[0].Version != 1 || all[0].Rows != l.Truth["orders"][1].Rows || all[0].Hash != "" || all[0].CommittedAt.IsZero() {
		t.Errorf("the journal has %+v; want a sighting of version 1 with the rows of its log", all)
	}
}

// A promotion that moved half and died is finished by the next attempt, planned
// anew or not, and all of it can be taken back.
func TestPromotionResumes(t *testing.T) {
	t.Parallel()
	for _, anew := range []bool{false, true} {
		t.Run(fmt.Sprintf("planned anew %v", anew), func(t *testing.T) {
			t.Parallel()
			l := world.OrdersLake(t)
			l.Do("group.recovery-point", "orders")
			before := l.Everything("orders/orders")
			d := l.Recorded("table.promote")
			r := l.Request(d, "orders")
			ch, err := d.Plan(t.Context(), r, nil)
			l.Must(err)
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
			l.Verified("table.promote", r, verdict.Fail)
			r.Guard = func(context.Context) error { return nil }
			if anew {
				ch, err := d.Plan(t.Context(), r, nil)
				l.Must(err)
				r.Plan = &ch
			}
			_, err = d.Apply(t.Context(), r, nil)
			l.Must(err)
			l.Verified("table.promote", r, verdict.Pass)
			back, err := d.UndoPlan(t.Context(), r, nil)
			l.Must(err)
			r.Plan = &back
			_, err = d.UndoApply(t.Context(), r, nil)
			l.Must(err)
			after := l.Everything("orders/orders")
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
	l := world.OrdersLake(t)
	l.Do("group.recovery-point", "orders")
	d := l.Recorded("table.promote")
	r := l.Request(d, "orders")
	ch, err := d.Plan(t.Context(), r, nil)
	l.Must(err)
	r.Plan = &ch
	write := func(key string) {
		t.Helper()
		_, err := l.RootBucket(world.West).Put(t.Context(), key, []byte(`{"commitInfo":{"timestamp":1}}`))
		l.Must(err)
	}
	write(world.Entry("orders/orders", 9))
	if _, err := d.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) {
		t.Fatalf("Apply after a log entry came = %v, want ErrMoved", err)
	}
	r.Plan = nil
	r, _ = l.Do("table.promote", "orders")
	l.Verified("table.promote", r, verdict.Pass)
	write(world.Entry("orders/orders", 7))
	if _, err := d.UndoPlan(t.Context(), r, nil); !errors.Is(err, action.ErrRefused) {
		t.Errorf("Undo.Plan after somebody wrote version 7 = %v, want ErrRefused", err)
	}
}

// A table of one version has no history to lose.
func TestHistoryOfASingleVersion(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	l.Tick(time.Second)
	l.Create("clicks", 0)
	l.Tick(time.Minute)
	l.See("clicks")
	l.Replicate("clicks", nil)
	l.Lost()
	l.Do("group.recovery-point", "clicks")
	obs := l.Verified("table.history", l.Request(l.Recorded("table.history"), "clicks"), verdict.Pass)
	if len(obs) != 1 || !strings.Contains(obs[0].Got, "only one") {
		t.Errorf("observed %+v; want it said that there is one version", obs)
	}
}
