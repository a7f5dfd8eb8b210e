package workflows_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"breakwater/internal/ledger"
	"breakwater/internal/report"
	"breakwater/internal/verdict"

	"go.temporal.io/api/enums/v1"
)

// TestOverhead measures what the interpreter itself costs: the wall time of a
// failover of 500 tables in which no activity runs and no gate is open. make
// bench runs it; it asserts nothing about time, so that it can never be flaky.
func TestOverhead(t *testing.T) {
	if os.Getenv("BREAKWATER_BENCH") == "" {
		t.Log("not measured: make bench sets BREAKWATER_BENCH")
		return
	}
	for _, tables := range []int{1, 50, 500} {
		t.Run(fmt.Sprint(tables), func(t *testing.T) {
			b := newBench(t, shipped(t))
			b.model.work = 10 * time.Millisecond // what a real phase of one table takes at least
			g := &b.estate.Groups[0]
			table := g.Tables[0]
			g.Tables = nil
			for n := range tables {
				table.Table = fmt.Sprintf("orders-%03d", n)
				g.Tables = append(g.Tables, table)
			}
			r := b.start("RegionalFailover", inputs)
			res, err := b.carry(r, nil)
			if err != nil || res.Verdict != verdict.Pass {
				t.Fatalf("the run ended with %+v, %v", res, err)
			}
			keys, err := b.estate.Ledger.Trusted(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			s, err := b.status(r)
			if err != nil {
				t.Fatal(err)
			}
			rep, err := report.Build(t.Context(), b.ledger, ledger.Run{Workflow: s.Run.Workflow, FirstRun: s.Run.FirstRun}, keys)
			if err != nil {
				t.Fatal(err)
			}
			events, bytes := 0, 0
			for it := b.client.GetWorkflowHistory(t.Context(), r.GetID(), r.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); it.HasNext(); events++ {
				e, err := it.Next()
				if err != nil {
					t.Fatal(err)
				}
				bytes += e.Size()
			}
			raw, err := json.Marshal(rep.Time)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d tables: overhead %.2f s of %.2f s (%.0f %%); history %d events, %d KiB; %s",
				tables, rep.Time.Overhead, rep.Time.Total, 100*rep.Time.Overhead/rep.Time.Total, events, bytes>>10, raw)
		})
	}
}
