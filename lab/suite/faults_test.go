package suite

import (
	"go/ast"
	"maps"
	"slices"
	"strings"
	"testing"

	"breakwater/activities"
	"breakwater/internal/fault"
	"breakwater/internal/system"
	"breakwater/lab/faults"
)

// TestEveryFaultIsInjected holds the laboratory's faults against the actions: each is
// one that some action must see, and which its room's Main therefore demands.
func TestEveryFaultIsInjected(t *testing.T) {
	sets := map[string]fault.Set{
		"Accesses": faults.Accesses(faults.Env{}), "Backups": faults.Backups(faults.Vaulted{}), "Connects": faults.Connects(faults.Kafka{}), "Kafkas": faults.Kafkas(faults.Kafka{}),
		"Ledgers": faults.Ledgers(faults.Ledger{}), "Lineages": faults.Lineages(faults.Env{}), "Regions": faults.Regions(faults.Env{}), "Replications": faults.Replications(faults.Env{}),
		"Rewinds": faults.Rewinds(faults.Env{}), "Schedules": faults.Schedules(faults.Pipelines{}), "Storages": faults.Storages(faults.Env{}),
		"Tables": faults.Tables(faults.Env{}), "Vaults": faults.Vaults(faults.Env{}),
	}
	for _, f := range functions(t) {
		if f.dir == "./lab/faults" && ast.IsExported(f.name) && f.body.Recv == nil && sets[f.name] == nil && strings.HasSuffix(f.name, "s") {
			t.Errorf("faults.%s is not known to this test", f.name)
		}
	}
	all := slices.Concat(slices.Collect(maps.Values(sets))...)
	demanded := map[fault.Name]bool{}
	for _, d := range activities.Catalogue(&system.Systems{}).All() {
		for _, red := range d.RedWhen {
			demanded[red.Fault] = true
		}
	}
	for _, f := range all {
		if !demanded[f.Name] {
			t.Errorf("no action lists %s in its RedWhen: nothing injects it", f.Name)
		}
	}
	for name := range demanded {
		if !slices.ContainsFunc(all, func(f fault.Fault) bool { return f.Name == name }) {
			t.Errorf("an action lists %s in its RedWhen, and there is no such fault in lab/faults", name)
		}
	}
}
