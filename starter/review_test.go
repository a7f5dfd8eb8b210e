package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"breakwater/activities"
	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/recovery"
	"breakwater/internal/review"
	"breakwater/internal/runbook"
	"breakwater/internal/system"
	"breakwater/internal/wire"
)

// longName is a table's name that no line holds.
const longName = "commerce_orders_and_returns_by_warehouse_and_carrier_with_adjustments_v2_partitioned_daily"

// incident is a plan of a bad night: many tables alike, and some that are not.
func incident() *reviewed {
	at := time.Date(2026, 11, 21, 3, 12, 5, 0, time.UTC)
	outage := at.Add(-12 * time.Minute)
	most := int64(1200)
	var docs []wire.PlanDoc
	promote := func(name, group string, files int, edit func(*action.Change)) {
		few := int64(files % 5)
		c := action.Change{
			Summary: "promote " + name,
			Effects: []action.EffectLine{
				{On: "s3://lake-west/" + name, Do: fmt.Sprintf("write _delta_log entry %d", 100+files)},
				{On: "s3://lake-west/" + name, Do: fmt.Sprintf("quarantine %d files", files)},
			},
			Preconditions: []action.Precondition{{Resource: "recovery point of table " + name, Version: "7"}},
			Loss:          &recovery.Given{Dataset: name, Unit: "rows", AtMost: &few},
			Data:          json.RawMessage(`{"version":7}`),
		}
		if edit != nil {
			edit(&c)
		}
		docs = append(docs, wire.PlanDoc{
			Step: "meaning@tier-1/1-table.promote", Action: "made.up", Item: estate.Item{Kind: estate.TableKind, Name: name, Group: group, Tier: 1}, Change: c,
		})
	}
	for i := range 212 {
		promote(fmt.Sprintf("t%03d", i), []string{"orders", "clicks"}[i%2], 3+i%15, nil)
	}
	promote(longName, "orders", 9, func(c *action.Change) {
		c.Loss.AtLeast, c.Loss.AtMost = 300, &most
		c.Preconditions = append(c.Preconditions, action.Precondition{Resource: "versioning of lake-west", Version: "Enabled"})
	})
	promote("evil\x1b[2Jtable", "orders", 4, func(c *action.Change) {
		c.Effects = append(c.Effects, action.EffectLine{On: "s3://elsewhere", Do: "delete every object below", To: "nothing"})
	})
	promote("ledgerless", "clicks", 4, func(c *action.Change) {
		c.Loss.AtMost = nil
		c.Accepts = []action.Acceptance{{ID: "left-out", Sentence: "Table ledgerless does not come back here: its log is kept by a catalog."}}
		c.Data = json.RawMessage(`{"version":7,"also":"s3://elsewhere/x"}`)
	})
	e := estate.Estate{
		Estate: "lab",
		Roles: []estate.Role{
			{Role: "incident-commander", Members: []estate.Member{{Name: "ana", Contact: "ana@example.org"}, {Name: "ben", Contact: "+49 30 1234567"}}},
			{Role: "data-platform", Members: []estate.Member{{Name: "cleo", Contact: "cleo@example.org"}}},
			{Role: "duty", Members: []estate.Member{{Name: "dora", Contact: "pager 7"}}},
		},
		Groups: []estate.Group{{Group: "orders", Owner: "data-platform"}, {Group: "clicks", Owner: "data-platform"}},
	}
	r := &reviewed{
		plan: &plan{
			facts: review.Facts{
				Runbook: "RegionalFailover", Mode: action.ModeLive, Source: "us-east-1", Target: "us-west-2", Incident: "INC-2041", Estate: "lab",
				Started: at, OutageStart: &outage, Gate: "meaning@tier-1", Attempt: 2, Stage: "meaning@tier-1", Role: "incident-commander", Quorum: 2,
				Opened: at.Add(8 * time.Minute), Approved: []string{"ana"}, Direction: approval.Do, EstateDigest: "sha256:" + strings.Repeat("a", 64),
			},
			body: wire.PlannedBody{Attempt: 2, Root: strings.Repeat("3f5a", 16), Changed: []string{"meaning@tier-1/1-table.promote: the plan for t007 is another one now"}},
			docs: docs, estate: e, checked: ledger.Result{Entries: 41, Docs: 1311},
			compiled: runbook.Compiled{Owner: "data-platform", Stages: []runbook.Stage{{
				ID: "meaning@tier-1", Title: "Restore meaning", PointOfNoReturn: true, Approval: &runbook.Approval{Escalate: "duty"},
				Steps: []runbook.Step{{ID: "meaning@tier-1/1-table.promote", Title: "Promote the tables"}},
			}}},
		},
		run: "RegionalFailover-lab-20261121-031205", atHand: true,
	}
	r.read, r.losses, r.accepts, r.contacts = review.Steps(docs), review.Losses(docs), review.Accepts(docs, nil), r.whom()
	return r
}

// flat is text with its lines joined, so that a sentence is found wherever it breaks.
func flat(s string) string { return strings.Join(strings.Fields(s), " ") }

// TestReviewFitsAScreen: a plan of hundreds of items is read on one screen, no wider than
// 80 columns, and what is unlike the rest stands there by name.
func TestReviewFitsAScreen(t *testing.T) {
	r := incident()
	var out bytes.Buffer
	r.show(&out, plainStyles(), false, r.facts.Opened.Add(2*time.Minute))
	t.Logf("\n%s", out.String())
	if n := strings.Count(out.String(), "\n"); n > 60 { // what is alike takes a line
		t.Errorf("%d lines", n)
	}
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.ContainsRune(out.String(), '\x1b') {
		t.Error("what a worker wrote reaches the terminal as a command")
	}
	for _, want := range []string{
		"mode LIVE: this changes the real systems", "regions us-east-1 -> us-west-2", "incident INC-2041", "outage since 2026-11-21 03:00:05 UTC",
		"2 approvals of incident-commander, asked 2m00s ago; so far by ana", "the point of no return",
		"Promote the tables (made.up): 215 items, 431 changes, 216 preconditions",
		"214 tables: write _delta_log entry 103..117; quarantine 3..17 files", "t000, t001, t002 and 211 more",
		"commerce_orders_and_…2_partitioned_daily stands out: a precondition that 213 others lack: versioning of lake-west at Enabled",
		"ledgerless stands out: largest loss: at least 0 rows, no upper bound is known", "ledgerless stands out: an acceptance that 213 others lack",
		"ledgerless stands out: data that 213 others lack: also",
		"unlike the others: promote evil\uFFFD[2Jtable", "s3://elsewhere: delete every object below, nothing -> nothing",
		"group orders: in all 300 to", "table commerce_orders_and_…2_partitioned_daily: 300 to 1200 rows",
		"In short: Restore meaning, 431 changes of 215 items, of which 3 items stand out; gives up data of", "accepts 1 risk.",
		"Approving accepts Table ledgerless does not come back here",
		"incident-commander (approves): ana ana@example.org, ben +49 30 1234567", "duty (is told after two reminders): dora pager 7",
		"data-platform (owns orders, clicks; owns the runbook): cleo cleo@example.org",
	} {
		if !strings.Contains(flat(out.String()), want) {
			t.Errorf("%q is not in it", want)
		}
	}
}

// TestReviewOfAll: nothing is left out where all is asked for.
func TestReviewOfAll(t *testing.T) {
	r := incident()
	var out bytes.Buffer
	r.show(&out, plainStyles(), true, r.facts.Opened)
	for _, d := range r.docs {
		for _, e := range d.Change.Effects {
			if !strings.Contains(flat(out.String()), flat(strings.ReplaceAll(effect(e), "\x1b", "\uFFFD"))) {
				t.Errorf("%s is not in it", effect(e))
			}
		}
	}
}

// TestReviewOfAnItem: of one item everything is shown that Apply would read.
func TestReviewOfAnItem(t *testing.T) {
	r := incident()
	r.docs[7].Change.Undo = json.RawMessage(`{"kept":["s3://lake-west/a"]}`)
	cat := activities.Catalogue(&system.Systems{})
	var out bytes.Buffer
	if !r.showWhole(&out, plainStyles(), cat, "ledgerless") || !r.showWhole(&out, plainStyles(), cat, "t007") || r.showWhole(&out, plainStyles(), cat, "t7") {
		t.Error("an item was not found, or one that is not there")
	}
	t.Logf("\n%s", out.String())
	for _, want := range []string{
		"s3://elsewhere/x", "recovery point of table ledgerless: 7", "gives up table ledgerless: at least 0 rows", "left-out", "s3://lake-west/a",
	} {
		if !strings.Contains(flat(out.String()), want) {
			t.Errorf("%q is not in it", want)
		}
	}
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}
