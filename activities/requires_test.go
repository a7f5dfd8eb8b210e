package activities_test

import (
	"strings"
	"testing"

	"breakwater/activities"
	"breakwater/internal/action"
	"breakwater/internal/estate"
	estateload "breakwater/internal/estate/load"
	"breakwater/internal/mistake"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/internal/system"
	"breakwater/runbooks"
)

// complete is an estate that lacks nothing.
func complete(t *testing.T) *estate.Estate {
	t.Helper()
	e, ms := estateload.File("../internal/estate/load/testdata/good.yaml")
	if err := mistake.Error(ms); err != nil {
		t.Fatal(err)
	}
	for i := range e.Buckets {
		e.Buckets[i].DeleteMarkers, e.Buckets[i].ReverseRule = estate.Keep, estate.Enabled
	}
	owners, _ := e.Role("data-owner")
	commanders, _ := e.Role("incident-commander")
	owners.Method, owners.Members = estate.Signed, commanders.Members
	everybody := e.Groups[0]
	for i := range e.Groups {
		g := &e.Groups[i]
		g.Access, g.Routing = everybody.Access, everybody.Routing
		for j := range g.Tables {
			g.Tables[j].PeakRows = 10
		}
		for j := range g.Topics {
			g.Topics[j].PeakMessages = 10
		}
		if len(g.Topics) > 0 {
			g.Canary = &estate.Canary{Topic: g.Topics[0].Topic}
		}
	}
	return e
}

// TestRequirements takes one thing after the other away from an estate that lacks nothing,
// and demands that linting, compiling and the findings say so, and of which step.
func TestRequirements(t *testing.T) {
	t.Parallel()
	cat := activities.Catalogue(&system.Systems{})
	east := func(e *estate.Estate) *estate.Region { return &e.Regions[0] }
	west := func(e *estate.Estate) *estate.Region { return &e.Regions[1] }
	for name, tc := range map[string]struct {
		take             func(*estate.Estate)
		runbook, actions string // what lacks it
		say              string
		kind             string // mistake, foreign or price
	}{
		"nothing": {take: func(*estate.Estate) {}},
		"no witness to keep": {
			func(e *estate.Estate) { e.Witness = estate.Witness{} }, "Witness", "table.witness", "no journal to keep", "foreign",
		},
		"no witness to choose by": {
			func(e *estate.Estate) { e.Witness = estate.Witness{} }, "RegionalFailover", "group.recovery-point access.golden-queries", "add witness", "price",
		},
		"no peak": {
			func(e *estate.Estate) { e.Groups[0].Tables[1].PeakRows = 0 }, "RegionalFailover", "group.recovery-point", "how fast refunds can grow", "price",
		},
		"a catalog": {
			func(e *estate.Estate) { e.Groups[0].Tables[0].LogStore = estate.Catalog }, "RegionalFailover", "group.recovery-point", "commits of payments count", "price",
		},
		"no writers": {
			func(e *estate.Estate) { east(e).Storage.Writers = nil }, "RegionalFailover", "storage.fence", `region "us-east-1" names no storage.writers`, "mistake",
		},
		"no writers where a table is rolled back": {
			func(e *estate.Estate) { east(e).Storage.Writers = nil }, "TableRollback", "storage.fence", `region "us-east-1" names no storage.writers`, "mistake",
		},
		"no replication": {
			func(e *estate.Estate) { west(e).Storage.Replication = nil }, "RegionalFailover", "storage.stop-replication", `region "us-west-2" names no storage.replication`, "mistake",
		},
		"no mirror": {
			func(e *estate.Estate) { west(e).Connect = nil }, "RegionalFailover", "kafka.recovery-point", "names no connect", "mistake",
		},
		"no canary": {
			func(e *estate.Estate) { e.Groups[0].Canary = nil }, "RegionalFailover", "pipelines.canary", "no canary is named for payments", "mistake",
		},
		"no access": {
			func(e *estate.Estate) { e.Groups[0].Access = nil }, "RegionalFailover", "access.read-only", "nobody is named who reads or writes payments", "price",
		},
		"no administrator": {
			func(e *estate.Estate) { west(e).Storage.Admin = "" }, "RegionalFailover", "access.read-only", "names no storage.admin", "mistake",
		},
		"storage that gives no access": {
			func(e *estate.Estate) { west(e).Storage.Provider = "aws" }, "RegionalFailover", "access.read-only", "not in this release", "mistake",
		},
		"no routing": {
			func(e *estate.Estate) { e.Groups[0].Routing = nil }, "RegionalFailover", "routing.secret", "no routing is named for payments", "price",
		},
		"deletions undecided": {
			func(e *estate.Estate) { e.Buckets[1].DeleteMarkers = "" }, "Readiness", "storage.replication", "delete_markers of bucket raw", "mistake",
		},
		"the rule back undecided": {
			func(e *estate.Estate) { e.Buckets[0].ReverseRule = "" }, "Readiness", "storage.standby-ready", "reverse_rule of bucket lake", "mistake",
		},
		"no backup place":         {func(e *estate.Estate) { e.Backup = nil }, "Backup", "backup.take", "no backup place", "foreign"},
		"no backup to restore":    {func(e *estate.Estate) { e.Backup = nil }, "RestoreFromBackup", "backup.walled", "no backup place", "foreign"},
		"nobody who may expire":   {func(e *estate.Estate) { e.Backup.Expiry = "" }, "BackupExpire", "backup.expire", "nothing expires", "foreign"},
		"a role that only claims": {func(e *estate.Estate) { e.Roles[0].Method = estate.Claimed }, "RegionalFailover", "", "cannot open a gate in live mode", "price"},
		"a role of one person":    {func(e *estate.Estate) { e.Roles[0].Members = e.Roles[0].Members[:1] }, "RegionalFailover", "", "the role has 1 who may decide", "price"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := complete(t)
			tc.take(e)
			books, _ := load.FS(runbooks.FS)
			for _, rb := range books {
				found := runbook.Fit(rb, cat, e, nil)
				if tc.runbook == "" && len(found) > 0 {
					t.Errorf("%s lacks %+v", rb.Name, found)
				}
				if rb.Name != tc.runbook {
					continue
				}
				for _, name := range strings.Fields(tc.actions + strings.Repeat(" -", 1-min(1, len(tc.actions)))) {
					is(t, found, strings.Trim(name, "-"), tc.say, tc.kind)
				}
				lint := mistake.Error(runbook.Lint(rb, cat, e))
				if linted := lint != nil && strings.Contains(lint.Error(), tc.say); linted != (tc.kind == "mistake") {
					t.Errorf("lint says %v; want a mistake: %t", lint, tc.kind == "mistake")
				}
				in := runbook.Input{Estate: e.Estate, Mode: action.ModePlan, Own: map[string]string{
					"source": "us-east-1", "target": "us-west-2", "region": "us-east-1", "bucket": "lake", "at": "2026-11-01T00:00:00Z",
				}}
				c, err := runbook.Compile(rb, e, cat, in)
				if refused := err != nil && strings.Contains(err.Error(), tc.say); refused != (tc.kind != "price") {
					t.Errorf("compiling says %v; want it refused: %t", err, tc.kind != "price")
				}
				if tc.kind == "price" && tc.actions != "" {
					is(t, c.Lacks, strings.Fields(tc.actions)[0], tc.say, tc.kind)
				}
				if in.Mode = action.ModeLive; tc.actions == "" { // no live run could pass its gate
					if _, err := runbook.Compile(rb, e, cat, in); err == nil || !strings.Contains(err.Error(), tc.say) {
						t.Errorf("compiling a live run says %v", err)
					}
				}
			}
		})
	}
}

// is demands a finding.
func is(t *testing.T, found []runbook.Finding, name, say, kind string) {
	t.Helper()
	for _, f := range found {
		of := map[bool]string{true: "mistake", false: "price"}[f.Stops()]
		if f.Foreign {
			of = "foreign"
		}
		if f.Action == name && strings.Contains(f.Text, say) && of == kind {
			return
		}
	}
	t.Errorf("nothing of kind %s says %q of %q: %+v", kind, say, name, found)
}

// TestRegionOfARun: of a run about one region it is known only when it is started whether
// that region has what the run needs.
func TestRegionOfARun(t *testing.T) {
	t.Parallel()
	cat := activities.Catalogue(&system.Systems{})
	e := complete(t)
	books, _ := load.FS(runbooks.FS)
	for _, rb := range books {
		if rb.Name != "TableRollback" {
			continue
		}
		for region, passes := range map[string]bool{"us-east-1": true, "us-west-2": false} {
			in := runbook.Input{Estate: e.Estate, Mode: action.ModePlan, Own: map[string]string{"region": region}}
			_, err := runbook.Compile(rb, e, cat, in)
			if passes != (err == nil) || err != nil && !strings.Contains(err.Error(), `region "us-west-2" names no storage.writers`) {
				t.Errorf("in %s: %v", region, err)
			}
		}
	}
}
