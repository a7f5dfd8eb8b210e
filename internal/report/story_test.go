package report_test

import (
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/recovery"
	"breakwater/internal/runbook"
	"breakwater/internal/sshsig"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// failover is the runbook of the stories, in short: two tiers, one group each.
func failover(t *testing.T, orders string) (runbook.Compiled, estate.Estate) {
	commander := &runbook.Approval{Role: "incident-commander", Quorum: 2}
	step := func(id, title, act string, kind runbook.StepKind, items ...string) runbook.Step {
		s := runbook.Step{ID: id, Title: title, Kind: kind, Action: act, Items: len(items), Names: items, Owner: "data-platform", Effect: action.Mutates, Drill: action.DrillSandboxed, CanUndo: true}
		if kind == runbook.Check {
			s.Effect, s.Drill, s.CanUndo = action.ReadOnly, action.DrillReadOnly, false
		}
		return s
	}
	point := step("point/group.recovery-point", "One cut across each group", "group.recovery-point", runbook.Do, "sales", "web")
	point.Effect, point.CanUndo = action.RecordsOnly, false
	c := runbook.Compiled{
		Engine: 2, Runbook: "RegionalFailover", Summary: "Move the lakehouse from a lost region to its standby.", Owner: "data-platform",
		Estate: "lab", EstateDigest: "sha256:bbbb",
		Tiers: []estate.Tier{{Tier: 1, RTO: estate.Duration(10 * time.Minute), RPO: estate.Duration(time.Minute)}, {Tier: 2, RTO: estate.Duration(4 * time.Minute), RPO: estate.Duration(time.Hour)}},
		Stages: []runbook.Stage{
			{ID: "declare", Title: "Declare", Approval: commander, Steps: []runbook.Step{
				step("declare/region.probe", "Probe both regions from outside", "region.probe", runbook.Check, "lab"),
				step("declare/estate.preflight", "Preflight the standby", "estate.preflight", runbook.Check, "lab"),
			}},
			{ID: "fence", Title: "Fence", Approval: commander, Steps: []runbook.Step{
				step("fence/storage.fence", "Deny writes to the source", "storage.fence", runbook.Do, "lake"),
			}},
			{ID: "point", Title: "Choose the recovery point", Steps: []runbook.Step{point}},
			{ID: "restore@tier-1", Title: "Restore meaning", Tier: 1, Approval: commander, Steps: []runbook.Step{
				step("restore@tier-1/table.promote", "Promote tables to the cut", "table.promote", runbook.Do, orders),
				step("restore@tier-1/access.golden-queries", "Golden queries answer as the witness did", "access.golden-queries", runbook.Check, orders),
			}},
			{ID: "writes@tier-1", Title: "Controlled writes", Tier: 1, Milestone: "writes", Steps: []runbook.Step{
				step("writes@tier-1/access.read-write", "Allow writes", "access.read-write", runbook.Do, "sales"),
			}},
			{ID: "writes@tier-2", Title: "Controlled writes", Tier: 2, Milestone: "writes", Steps: []runbook.Step{
				step("writes@tier-2/access.read-write", "Allow writes", "access.read-write", runbook.Do, "web"),
			}},
			{ID: "handover", Title: "Hand over", Steps: []runbook.Step{
				step("handover/obligations.assigned", "Tell the business, and name the owner of the old region's return", "obligations.assigned", runbook.Ask, "lab"),
			}},
		},
	}
	e := estate.Estate{
		Estate: "lab",
		Roles: []estate.Role{{Role: "incident-commander", Method: estate.Signed, Members: []estate.Member{
			{Name: "alice", Key: sshsig.Public(key(t, "alice")).String()}, {Name: "bob", Key: sshsig.Public(key(t, "bob")).String()},
		}}},
		Groups: []estate.Group{{Group: "sales", Tier: 1}, {Group: "web", Tier: 2}},
	}
	return c, e
}

func ptr[T any](v T) *T { return &v }

type groupPoint struct {
	Group  string          `json:"group"`
	Cut    recovery.Cut    `json:"cut"`
	Losses []recovery.Loss `json:"losses"`
	Death  recovery.Death  `json:"death"`
}

func salesPoint(table string) groupPoint {
	at := outage.Add(-4 * time.Second)
	return groupPoint{
		Group: "sales",
		Cut:   recovery.Cut{At: at, SkewSeconds: 0.25, Binding: recovery.Binding{Dataset: table, Reason: "version 42 lacks 1 of its 12 files at the target"}},
		Losses: []recovery.Loss{
			{Dataset: table, Kind: "table", Unit: "rows", RecoveryPoint: at, Version: ptr(int64(41)), Count: recovery.CountInterval{AtLeast: 120, AtMost: ptr(int64(4800))},
				Seconds: recovery.SecondsInterval{AtLeast: 2.5, AtMost: ptr(9.75)}, RPOSeconds: 60, Met: verdict.Pass},
			{Dataset: "orders-events", Kind: "topic", Unit: "messages", RecoveryPoint: at.Add(time.Second), Count: recovery.CountInterval{AtLeast: 7},
				Seconds: recovery.SecondsInterval{AtLeast: 1}, RPOSeconds: 60},
		},
	}
}

func webPoint() groupPoint {
	at := outage.Add(-90 * time.Second)
	return groupPoint{
		Group: "web", Cut: recovery.Cut{At: at, Binding: recovery.Binding{Dataset: "clicks/3", Reason: "mirrored no further"}},
		Losses: []recovery.Loss{{Dataset: "clicks", Kind: "topic", Unit: "messages", RecoveryPoint: at, Count: recovery.CountInterval{AtLeast: 0, AtMost: ptr(int64(0))},
			Seconds: recovery.SecondsInterval{AtLeast: 0, AtMost: ptr(0.0)}, Exact: true, RPOSeconds: 3600, Met: verdict.Pass}},
	}
}

var obligations = []action.Obligation{
	{ID: "O1", Step: "declare/region.probe", Title: "Probe both regions from outside", What: "that no writer of us-east-1 went on after the probes failed"},
	{ID: "O2", Step: "fence/storage.fence", Title: "Deny writes to the source", What: "that writes to bucket lake in us-east-1 are denied"},
}

// declare plays the first stage: the source does not answer, which the gate
// accepts, after a decision that did not count.
func (b *book) declare() {
	b.t.Helper()
	unreachable := action.Observation{
		What: "storage of us-east-1 answers", Want: "an answer", Got: "connection refused", Cause: action.CauseSourceUnreachable,
		Obligation: obligations[0].What,
	}
	docs := []ledger.DocRef{
		b.planDoc("declare/region.probe", "lab", unreachable, saw("storage of us-west-2 answers", "an answer", "an answer in 3 ms", true)),
		b.planDoc("declare/estate.preflight", "lab", saw("buckets exist at the standby", "1", "1", true)),
	}
	b.plan("declare", docs...)
	b.open("declare", "incident-commander", 2)
	b.pass(20)
	b.entry(ledger.Refused, "declare", "", wire.DecisionBody{
		Gate: "declare", Attempt: b.attempt, Decision: "approve", Via: "signal", Who: "mallory", Reason: "hurry up", Outcome: `refused: "mallory" is not a member of role incident-commander`, Raw: `{"by":"mallory"}`,
	})
	b.pass(10)
	b.vote("declare", "alice", "the region is gone")
	b.pass(15)
	b.vote("declare", "bob", "")
	b.close("declare", "incident-commander", 2, "approve", "alice", "bob")
	b.entry(ledger.Observed, "declare", "", wire.ObservedBody{Attempt: 1, Passed: 2, Unknown: 1, Findings: []string{"storage of us-east-1 answers: connection refused"}}, docs...)
	b.entry(ledger.Obligation, "declare", "declare/region.probe", obligations[0])
}

// fence plays the second stage: what cannot be proven is an obligation.
func (b *book) fence() {
	b.t.Helper()
	b.plan("fence", b.planDoc("fence/storage.fence", "lake"))
	b.open("fence", "incident-commander", 2)
	b.pass(30)
	b.vote("fence", "alice", "")
	b.vote("fence", "bob", "")
	b.close("fence", "incident-commander", 2, "approve", "alice", "bob")
	b.apply("fence", "fence/storage.fence", "lake", 1, nil, action.Observation{
		What: "a write with the writer's credentials is denied", Want: "denied", Got: "no answer", Cause: action.CauseSourceUnreachable, Obligation: obligations[1].What,
	})
	b.entry(ledger.Obligation, "fence", "fence/storage.fence", obligations[1])
}

// points records the recovery points of both groups.
func (b *book) points(table string) {
	b.t.Helper()
	b.plan("point", b.planDoc("point/group.recovery-point", "sales"), b.planDoc("point/group.recovery-point", "web"))
	b.entry(ledger.Intent, "point", "point/group.recovery-point", wire.IntentBody{Attempt: 1})
	var outs, looks []ledger.DocRef
	took := b.worked(wire.ApplyPhase, 2)
	for _, p := range []groupPoint{salesPoint(table), webPoint()} {
		data, err := action.Encode(p)
		b.must(err)
		outs = append(outs, b.doc("point/group.recovery-point", p.Group, 1, ledger.DocOutcome, wire.OutcomeDoc{
			Step: "point/group.recovery-point", Action: "group.recovery-point", Item: estate.Item{Kind: estate.GroupKind, Name: p.Group},
			Outcome: action.Outcome{Mutations: int64(len(p.Losses)), Data: data},
		}))
		looks = append(looks, b.doc("point/group.recovery-point", p.Group, 1, ledger.DocObserved, wire.ObservedDoc{
			Step: "point/group.recovery-point", Item: estate.Item{Kind: estate.GroupKind, Name: p.Group}, Verdict: verdict.Pass,
			Observations: []action.Observation{saw("the recorded cut is the planned one", "equal", "equal", true)},
		}))
	}
	index := b.doc("point/group.recovery-point", "sales..web apply", 1, ledger.DocIndex, ledger.Index{Docs: outs})
	b.entry(ledger.Outcome, "point", "point/group.recovery-point", wire.OutcomeBody{Attempt: 1, Mutations: 3, Intervals: took}, index)
	b.entry(ledger.Observed, "point", "point/group.recovery-point", wire.ObservedBody{Attempt: 1, Verdict: verdict.Pass, Passed: 2, Intervals: b.worked(wire.VerifyPhase, 1)}, looks...)
}

// whole plays a failover to its end: a table is promoted at the second try.
func whole(t *testing.T, to place, table string) *book {
	b := newBook(t, to)
	b.compiled, b.estate = failover(t, table)
	b.start(action.ModeLive, ptr(outage.Add(45*time.Second)))
	b.declare()
	b.fence()
	b.points(table)
	b.plan("restore@tier-1", b.planDoc("restore@tier-1/table.promote", table))
	b.open("restore@tier-1", "incident-commander", 2)
	b.pass(12)
	b.vote("restore@tier-1", "bob", "")
	b.pass(4)
	b.vote("restore@tier-1", "alice", "")
	b.close("restore@tier-1", "incident-commander", 2, "approve", "bob", "alice")
	b.apply("restore@tier-1", "restore@tier-1/table.promote", table, 1, nil, saw("every live file is present at its size", "12 files", "11 files; part-7.parquet is missing", false))
	b.entry(ledger.Asked, "restore@tier-1", "restore@tier-1/table.promote", wire.AskedBody{
		Ask: "ask-1", Question: `Step "Promote tables to the cut" did not pass.`, Findings: []string{"11 files"}, Choices: []string{"retry", "abort"},
	})
	b.pass(25)
	b.entry(ledger.Decided, "restore@tier-1", "", wire.DecisionBody{Gate: "ask-1", Decision: "retry", Via: "update", Who: "alice", Reason: "the replica has arrived", Outcome: "retry"})
	b.apply("restore@tier-1", "restore@tier-1/table.promote", table, 2, nil, saw("every live file is present at its size", "12 files", "12 files", true))
	b.observe("restore@tier-1", "restore@tier-1/access.golden-queries", table, 1, b.worked(wire.VerifyPhase, 1.5), false, saw("rows and hash", "1,204 rows", "1,204 rows", true))
	for _, w := range []struct {
		stage, group string
		tier         int
	}{{"writes@tier-1", "sales", 1}, {"writes@tier-2", "web", 2}} {
		b.plan(w.stage, b.planDoc(w.stage+"/access.read-write", w.group))
		b.apply(w.stage, w.stage+"/access.read-write", w.group, 1, nil, saw("a writer can write", "written", "written and read back", true))
		b.milestone(w.stage, "writes", w.tier)
	}
	b.entry(ledger.Asked, "handover", "handover/obligations.assigned", wire.AskedBody{Ask: "ask-2", Question: "Post the status text, and name the owner of the failback.", Choices: []string{"done", "abort"}})
	b.pass(18)
	b.entry(ledger.Decided, "handover", "", wire.DecisionBody{Gate: "ask-2", Decision: "done", Via: "signal", Who: "bob", Outcome: "done"})
	owned := append([]action.Obligation{}, obligations...)
	for i := range owned {
		owned[i].Owner, owned[i].Due = "alice", "2026-12-01"
		b.entry(ledger.Obligation, "handover", owned[i].Step, owned[i])
	}
	b.observe("handover", "handover/obligations.assigned", "lab", 1, b.worked(wire.VerifyPhase, 0.5), false, saw("open obligations have an owner and a date", "all", "all", true))
	b.entry(ledger.Lock, "", "", wire.LockBody{Epoch: 3})
	b.end(verdict.Pass, "proven", "", owned...)
	return b
}
