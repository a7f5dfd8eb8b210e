package table

import (
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/witness"
	"breakwater/lab/world"
)

// witnessed plans and applies table.witness in a run of its own.
func witnessed(l *world.Lake, name, run string) action.Outcome {
	l.T.Helper()
	d := l.Recorded("table.witness")
	r := l.Request(d, name)
	r.Run.Workflow = run
	ch, err := d.Plan(l.T.Context(), r, nil)
	l.Must(err)
	r.Plan = &ch
	out, err := d.Apply(l.T.Context(), r, nil)
	l.Must(err)
	return out
}

// TestWitnessReadsWhatIsNew: a new head costs the rows that are new. That nothing else
// is read shows by its not being there.
func TestWitnessReadsWhatIsNew(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	l.Tick(time.Second)
	l.Create("orders", 0)
	l.Append("orders", 12)
	l.Append("orders", 5)
	witnessed(l, "orders", "witness-1")
	l.Tick(time.Second)
	l.Append("orders", 3)
	for _, v := range []int{1, 2} {
		for _, key := range l.DataOf("orders", v) {
			_, err := l.RootBucket(world.East).Delete(t.Context(), key)
			l.Must(err)
		}
	}
	witnessed(l, "orders", "witness-2")
	j := witness.Journal{Bucket: l.RootBucket(world.West), Prefix: "_witness"}
	r, err := j.Record(t.Context(), "orders", 3)
	l.Must(err)
	if want := l.Truth["orders"][3]; r.Rows != want.Rows || r.Hash != want.Hash() {
		t.Errorf("the journal has %d rows with hash %s, the source %v", r.Rows, r.Hash, want)
	}
}
