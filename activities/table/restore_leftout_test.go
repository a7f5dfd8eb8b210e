package table

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// TestRestoreWithoutACatalogsTable: a table that no backup of its log brings back keeps no
// other from being restored. It is left as it is, once a gate accepted that.
func TestRestoreWithoutACatalogsTable(t *testing.T) {
	t.Parallel()
	v := world.NewVaulted(t)
	v.Written()
	v.Replicate("payments", nil)
	decl, _, _ := v.Estate.Table("payments")
	decl.LogStore = estate.Catalog
	v.Take("one")
	d := v.Lake.World.Action("table.restore")
	leftAsItIs := func(why, with string) {
		t.Helper()
		before := v.Everything(decl.Path)
		v.As(why)
		r := v.Request(d, "payments")
		out := v.Act(d, &r, json.RawMessage(with))
		if a := r.Plan.Accepts; len(a) != 1 || a[0].ID != "left-out payments" || !strings.Contains(a[0].Sentence, why) || out.Mutations != 0 || len(r.Plan.Effects) > 0 || r.Plan.Loss == nil {
			t.Errorf("%s: plan %+v, outcome %+v", why, r.Plan, out)
		}
		obs, err := d.Verify(t.Context(), r, json.RawMessage(with))
		v.Must(err)
		if owed := action.Owed(obs); action.Worst(obs) != verdict.Unknown || !slices.Equal(owed, []string{"left-out payments"}) {
			t.Errorf("%s: Verify owes %v\n%s", why, owed, prove.Told(obs))
		}
		v.TakenBack(d, &r, json.RawMessage(with))
		if after := v.Everything(decl.Path); len(after) != len(before) {
			t.Errorf("%s: it has %d objects, had %d", why, len(after), len(before))
		}
	}
	leftAsItIs("log_store: catalog", `{}`)
	v.As("the others")
	v.Restored("orders", map[string]any{})

	decl.LogStore = ""
	r := v.Request(d, "payments")
	if _, err := d.Plan(t.Context(), r, nil); err == nil || !strings.Contains(err.Error(), "input leave_out") {
		t.Errorf("without a backup it says %v, and names no way out", err)
	}
	if _, err := d.Plan(t.Context(), r, json.RawMessage(`{"leave_out":"shipments"}`)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "shipments") {
		t.Errorf("leaving out what there is not: %v", err)
	}
	leftAsItIs("people leave it out", `{"leave_out":"clicks, payments"}`)

	v.Tick(time.Minute)
	v.As("two")
	v.Take("two")
	managed := world.Entry(decl.Path, len(v.Truth["payments"]))
	_, err := v.RootBucket(world.West).Put(t.Context(), managed, []byte(`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["catalogManaged"],"writerFeatures":["catalogManaged","inCommitTimestamp"]}}`))
	v.Must(err)
	leftAsItIs("catalogManaged", `{}`)                      // over what a catalog goes on from
	leftAsItIs("catalogManaged", `{"manifest":"orders/1"}`) // and what this backup lacks
	decl.LogStore = estate.Catalog
	v.As("beside")
	if ch, _ := v.Restored("payments", map[string]any{"prefix": "beside"}); len(ch.Accepts) > 0 {
		t.Errorf("beside it asks for %+v", ch.Accepts)
	}
}
