package runbook_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/action"
	"breakwater/internal/mistake"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/internal/runbook/runbooktest"
)

func compile(t *testing.T, name string, groups ...string) *runbook.Compiled {
	t.Helper()
	c, err := runbook.Compile(shipped(t, name), runbooktest.Estate(), runbooktest.Catalogue(), runbook.Input{Estate: "example", Groups: groups})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func stages(c *runbook.Compiled) (ids []string) {
	for _, s := range c.Stages {
		ids = append(ids, s.ID)
	}
	return ids
}

func TestCompile(t *testing.T) {
	c := compile(t, "RegionalFailover")
	want := []string{
		"declare", "fence", "choose-the-recovery-point",
		"restore-meaning@tier-1", "read-only-access@tier-1", "controlled-writes@tier-1",
		"restore-meaning@tier-2", "read-only-access@tier-2", "controlled-writes@tier-2",
		"hand-over",
	}
	if diff := cmp.Diff(want, stages(c)); diff != "" {
		t.Error(diff)
	}
	items := map[string]int{}
	for _, s := range c.Stages {
		for _, step := range s.Steps {
			items[step.ID] = step.Items
			if step.Owner != "data-platform" || step.Timeout == 0 || step.Estimate == 0 {
				t.Errorf("step %+v", step)
			}
		}
	}
	for id, want := range map[string]int{
		"declare/1-region.probe":                           1,
		"fence/2-storage.fence":                            2,
		"choose-the-recovery-point/2-group.recovery-point": 2,
		"restore-meaning@tier-1/1-table.promote":           2,
		"restore-meaning@tier-2/1-table.promote":           1,
		"restore-meaning@tier-2/3-kafka.promote":           0,
		"hand-over/2-obligations.assigned":                 1,
	} {
		if got, there := items[id]; !there || got != want {
			t.Errorf("%s has %d items, %v; want %d", id, got, there, want)
		}
	}
	if s, step, ok := c.Step("controlled-writes@tier-2/3-pipelines.resume"); !ok || s.Tier != 2 || !s.PointOfNoReturn || s.Milestone != "writes" || s.Approval.Quorum != 2 || step.Effect != action.Mutates {
		t.Errorf("%+v, %+v, %v", s, step, ok)
	}
	if !c.Stages[0].ChecksOnly() || c.Stages[1].ChecksOnly() || c.Stages[0].Approval.Reminder.Std() != 5*time.Minute {
		t.Errorf("%+v", c.Stages[:2])
	}
	ask := c.Stages[len(c.Stages)-1].Steps[1]
	if ask.Kind != runbook.Ask || ask.Action != "obligations.assigned" || ask.Question == "" {
		t.Errorf("%+v", ask)
	}
	if !strings.HasPrefix(c.RunbookDigest, "sha256:") || !strings.HasPrefix(c.EstateDigest, "sha256:") {
		t.Errorf("digests %q, %q", c.RunbookDigest, c.EstateDigest)
	}
}

// TestCompileGroups: a tier without a group of the run is not gone through.
func TestCompileGroups(t *testing.T) {
	c := compile(t, "RegionalFailover", "clickstream")
	for _, s := range c.Stages {
		if s.Tier == 1 {
			t.Errorf("stage %s", s.ID)
		}
	}
	if _, step, ok := c.Step("choose-the-recovery-point/2-group.recovery-point"); !ok || step.Items != 1 {
		t.Errorf("%+v", step)
	}
	if w := compile(t, "Witness"); len(w.Stages) != 1 || w.Stages[0].Approval != nil || w.Stages[0].Steps[0].Effect != action.RecordsOnly {
		t.Errorf("%+v", w.Stages)
	}
}

// TestCompiledSurvivesTheWire: a compiled run is in the history as JSON.
func TestCompiledSurvivesTheWire(t *testing.T) {
	c := compile(t, "RegionalFailover")
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var back runbook.Compiled
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	for i := range c.Stages { // places in files stay behind
		if a := c.Stages[i].Approval; a != nil {
			a.At = runbook.Position{}
		}
	}
	if diff := cmp.Diff(*c, back); diff != "" {
		t.Error(diff)
	}
}

func TestCompileRefuses(t *testing.T) {
	const file = `runbook: Bad
summary: What cannot be resolved.
owner: nobody
stages:
  - stage: Fence
    approval: {role: captain, quorum: 2, reminder: 5m, escalate: admiral}
    steps:
      - {step: Deny, do: storage.fense, each: bucket}
  - stage: Look
    approval: {role: incident-commander, quorum: 3}
    steps:
      - {step: Probe, check: region.probe}
`
	rb, ms := load.File([]byte(file), "bad.yaml")
	if err := mistake.Error(ms); err != nil {
		t.Fatal(err)
	}
	_, err := runbook.Compile(rb, runbooktest.Estate(), runbooktest.Catalogue(), runbook.Input{})
	want := `compile Bad for estate example: bad.yaml:6:15: role "captain" is not in estate example
bad.yaml:6:15: role "admiral" is not in estate example
bad.yaml:8:26: no action "storage.fense"
bad.yaml:10:15: quorum is 3 and role "incident-commander" has 2 members
bad.yaml:12:9: owner "nobody" of step "Probe" is not a role of estate example`
	if err == nil || err.Error() != want {
		t.Errorf(" got %v\nwant %s", err, want)
	}
}

// TestInputsFillSteps puts a run's inputs where steps name them, and leaves out
// what was not given.
func TestInputsFillSteps(t *testing.T) {
	const file = `runbook: Inputs
summary: Steps that take what varies from inputs.
owner: data-platform
inputs:
  flag: {type: string, help: The flag.}
  on: {type: bool, help: What to set it to.}
  after: {type: duration, help: How long to wait., optional: true}
  table: {type: table, help: The one table., optional: true}
stages:
  - stage: Trip
    approval: {role: incident-commander}
    steps:
      - step: Trip the circuit breaker
        do: routing.flag
        with: {flag: {input: flag}, value: {input: on}, wait: {input: after}}
      - step: Read the history
        check: table.history
        each: table
        where: {group: payments, name: {input: table}}
`
	rb, ms := load.File([]byte(file), "inputs.yaml")
	e, cat := runbooktest.Estate(), runbooktest.Catalogue()
	if err := mistake.Error(append(ms, runbook.Lint(rb, cat, e)...)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		own  map[string]string
		with string
	}{
		{map[string]string{"flag": "f", "on": "true"}, `{"flag":"f","value":true}`},
		{map[string]string{"flag": "f", "on": "false", "after": "90s", "table": "orders"}, `{"flag":"f","value":false,"wait":"90s"}`},
	} {
		c, err := runbook.Compile(rb, e, cat, runbook.Input{Estate: e.Estate, Own: tc.own})
		if err != nil {
			t.Fatal(err)
		}
		steps := c.Stages[0].Steps
		if got := string(steps[0].With); got != tc.with {
			t.Errorf("with = %s, want %s", got, tc.with)
		}
		want := map[string]string{"group": "payments"}
		if name, ok := tc.own["table"]; ok {
			want["name"] = name
		}
		if diff := cmp.Diff(want, steps[1].Where); diff != "" {
			t.Errorf("where (-want +got):\n%s", diff)
		}
	}
}
