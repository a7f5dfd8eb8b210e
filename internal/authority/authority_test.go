package authority_test

import (
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/authority"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/runbook"
	"breakwater/internal/sshsig"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"golang.org/x/crypto/ssh"
)

var (
	run  = ledger.Run{Workflow: "w", FirstRun: "f"}
	noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
)

func signer(t *testing.T, n byte) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(append(make([]byte, 31), n)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// world is a run of three steps: one that looks, one that fences, one that promotes. The
// stages of the last two have a gate of two commanders.
type world struct {
	t        *testing.T
	mode     action.Mode
	pinned   *estate.Estate
	present  *estate.Estate
	compiled *runbook.Compiled
	chain    ledger.Chain
	view     *authority.View
	now      time.Time
	doc      string // digest of the plan of each step
}

func (w *world) member(name string, key byte) estate.Member {
	return estate.Member{Name: name, Key: sshsig.Public(signer(w.t, key)).String()}
}

func newWorld(t *testing.T, mode action.Mode, edit func(*world)) *world {
	w := &world{t: t, mode: mode, now: noon, doc: strings.Repeat("d", 64)}
	w.pinned = &estate.Estate{Estate: "lab", Roles: []estate.Role{{
		Role: "commander", Method: estate.Signed, Members: []estate.Member{w.member("ana", 1), w.member("ben", 2), w.member("cleo", 3)},
	}}}
	step := func(id string, kind runbook.StepKind, effect action.Effect) []runbook.Step {
		return []runbook.Step{{ID: id, Title: id, Kind: kind, Action: "a." + id, Effect: effect, Items: 1, Names: []string{"lake"}, CanUndo: true}}
	}
	gate := &runbook.Approval{Role: "commander", Quorum: 2}
	w.compiled = &runbook.Compiled{Engine: runbook.Engine, Estate: "lab", EstateDigest: "sha256:e", Stages: []runbook.Stage{
		{ID: "look", Title: "look", Steps: step("look/1", runbook.Check, action.ReadOnly)},
		{ID: "fence", Title: "fence", Approval: gate, Steps: step("fence/1", runbook.Do, action.Mutates)},
		{ID: "promote", Title: "promote", Approval: gate, Steps: step("promote/1", runbook.Do, action.Mutates)},
		{ID: "record", Title: "record", Steps: step("record/1", runbook.Do, action.RecordsOnly)},
	}}
	if edit != nil {
		edit(w)
	}
	if w.present == nil {
		w.present = w.pinned
	}
	w.chain, w.view = ledger.NewChain(run), authority.New(run)
	w.add(ledger.RunStarted, "", "", wire.StartedBody{Run: action.Run{Namespace: "default", Workflow: "w", FirstRun: "f", Mode: mode}})
	w.add(ledger.Compiled, "", "", wire.CompiledBody{Estate: "lab", EstateDigest: "sha256:e", Mode: mode},
		ledger.DocRef{Key: "c"}, ledger.DocRef{Key: "e"}, ledger.DocRef{Key: "r"})
	return w
}

func (w *world) add(kind ledger.Kind, stage, step string, body any, docs ...ledger.DocRef) {
	w.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	data, head, err := w.chain.Append(ledger.Entry{Time: w.now, Kind: kind, Stage: stage, Step: step, Body: raw, Docs: docs})
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := ledger.ParseEntry(data)
	if err == nil {
		err = w.view.Add(e, head)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) leaf(step string) ledger.Leaf {
	return ledger.Leaf{Step: step, Item: "lake", SHA256: w.doc}
}

func (w *world) lock() { w.add(ledger.Lock, "", "", wire.LockBody{Held: true, Epoch: 7}) }
func (w *world) saw(stage, step string, v verdict.Verdict) {
	w.add(ledger.Observed, stage, step, wire.ObservedBody{Attempt: 1, Verdict: v})
}
func (w *world) intend(stage, step string, undo bool) {
	w.add(ledger.Intent, stage, step, wire.IntentBody{Attempt: 1, Undo: undo, Epoch: 7})
}

// plan puts a plan of one step into the chain, and returns its root.
func (w *world) plan(stage, step string, attempt int, undo bool) string {
	leaves := []ledger.Leaf{w.leaf(step)}
	w.add(ledger.Planned, stage, "", wire.PlannedBody{Attempt: attempt, Root: ledger.Root(leaves), Leaves: leaves, Undo: undo})
	return ledger.Root(leaves)
}

func (w *world) gate(stage, root string, attempt int, undo bool) wire.GateBody {
	id := stage
	if undo {
		id = wire.UndoGate
	}
	g := wire.GateBody{Gate: id, Attempt: attempt, Role: "commander", Method: "signed", Quorum: 2, Root: root}
	w.add(ledger.GateOpened, stage, "", g)
	return g
}

// vote puts a signed vote into the chain, as it was signed for the statement that edit makes.
func (w *world) vote(stage string, g wire.GateBody, who string, key byte, edit func(*approval.Statement)) {
	w.t.Helper()
	s := approval.Statement{
		Namespace: "default", Run: run, Gate: g.Gate, Attempt: g.Attempt, Decision: approval.Approve, Plan: g.Root, Mode: string(w.mode),
		Direction: authority.Direction(g.Gate == wire.UndoGate), Estate: "sha256:e", Head: w.view.Open().Head,
	}
	if edit != nil {
		edit(&s)
	}
	sig, err := s.Sign(signer(w.t, key))
	if err != nil {
		w.t.Fatal(err)
	}
	w.add(ledger.Decided, stage, "", wire.DecisionBody{
		Gate: g.Gate, Attempt: g.Attempt, Decision: "approve", Who: who, Method: "signed", Raw: sig, Statement: string(s.Text()),
	})
}

func (w *world) close(stage string, g wire.GateBody, how string) {
	g.How = how
	w.add(ledger.GateClosed, stage, "", g)
}

// approved approves a stage's plan as two people do.
func (w *world) approved(stage, step string, undo bool) {
	root := w.plan(stage, step, 1, undo)
	g := w.gate(stage, root, 1, undo)
	w.vote(stage, g, "ana", 1, nil)
	w.vote(stage, g, "ben", 2, nil)
	w.close(stage, g, "approve")
}

// upTo brings the run to just before the Apply of the fence.
func (w *world) upTo() {
	w.lock()
	w.saw("look", "", verdict.Pass)
	w.approved("fence", "fence/1", false)
	w.intend("fence", "fence/1", false)
}

func (w *world) may(edit func(*authority.Act)) error {
	a := authority.Act{Step: "fence/1", Direction: approval.Do, Attempt: 1, Effect: action.Mutates, Leaf: w.leaf("fence/1")}
	if edit != nil {
		edit(&a)
	}
	return w.view.MayApply(w.compiled, authority.Estates{Pinned: w.pinned, Present: w.present}, a, w.now)
}

func undoing(a *authority.Act) { a.Direction = approval.Undo }

// without is an estate with another set of commanders.
func (w *world) without(members ...estate.Member) *estate.Estate {
	e := *w.pinned
	e.Roles = []estate.Role{{Role: "commander", Method: estate.Signed, Members: members}}
	return &e
}

// TestMayApply: what the chain holds is what may be done, and nothing else.
func TestMayApply(t *testing.T) {
	voted := func(vote func(*world, wire.GateBody)) func(*world) {
		return func(w *world) {
			w.lock()
			w.saw("look", "", verdict.Pass)
			g := w.gate("fence", w.plan("fence", "fence/1", 1, false), 1, false)
			vote(w, g)
			w.close("fence", g, "approve")
			w.intend("fence", "fence/1", false)
		}
	}
	signed := func(edit func(*approval.Statement)) func(*world) {
		return voted(func(w *world, g wire.GateBody) {
			w.vote("fence", g, "ana", 1, nil)
			w.vote("fence", g, "ben", 2, edit)
		})
	}
	for name, tc := range map[string]struct {
		mode  action.Mode
		world func(*world) // before the run begins
		build func(*world)
		act   func(*authority.Act)
		want  string // in the refusal; empty where it may
	}{
		"approved":                {build: (*world).upTo},
		"mode plan":               {mode: action.ModePlan, build: (*world).upTo, want: "mode plan"},
		"mode drill":              {mode: action.ModeDrill, build: (*world).upTo, want: "mode drill"},
		"sandboxed in a drill":    {mode: action.ModeDrill, build: (*world).upTo, act: func(a *authority.Act) { a.Drill = action.DrillSandboxed }},
		"sandboxed in a plan":     {mode: action.ModePlan, build: (*world).upTo, act: func(a *authority.Act) { a.Drill = action.DrillSandboxed }, want: "mode plan"},
		"an unknown step":         {build: (*world).upTo, act: func(a *authority.Act) { a.Step = "none" }, want: "no step"},
		"another plan":            {build: (*world).upTo, act: func(a *authority.Act) { a.Leaf.SHA256 = "x" }, want: "not part of what was approved"},
		"another item":            {build: (*world).upTo, act: func(a *authority.Act) { a.Leaf.Item = "sea" }, want: "not part of what was approved"},
		"another attempt":         {build: (*world).upTo, act: func(a *authority.Act) { a.Attempt = 2 }, want: "no intent of attempt 2"},
		"approved to do, undone":  {build: (*world).upTo, act: undoing, want: "nobody was asked about the plan of taking back"},
		"another step's approval": {build: (*world).upTo, act: func(a *authority.Act) { a.Step = "promote/1" }, want: "nobody was asked"},
		"the run has ended": {build: func(w *world) {
			w.upTo()
			w.add(ledger.RunEnded, "", "", wire.EndedBody{How: "Aborted"})
		}, want: "has ended"},
		"no lock": {build: func(w *world) {
			w.saw("look", "", verdict.Pass)
			w.approved("fence", "fence/1", false)
			w.intend("fence", "fence/1", false)
		}, want: "holds no lock"},
		"the lock was given back": {build: func(w *world) {
			w.upTo()
			w.add(ledger.Lock, "", "", wire.LockBody{Epoch: 7})
		}, want: "holds no lock"},
		"no intent": {build: func(w *world) {
			w.lock()
			w.saw("look", "", verdict.Pass)
			w.approved("fence", "fence/1", false)
		}, want: "no intent"},
		"nobody was asked": {build: func(w *world) {
			w.lock()
			w.saw("look", "", verdict.Pass)
			w.plan("fence", "fence/1", 1, false)
			w.intend("fence", "fence/1", false)
		}, want: "nobody was asked"},
		"the gate is open": {build: func(w *world) {
			w.lock()
			g := w.gate("fence", w.plan("fence", "fence/1", 1, false), 1, false)
			w.vote("fence", g, "ana", 1, nil)
			w.vote("fence", g, "ben", 2, nil)
			w.intend("fence", "fence/1", false)
		}, want: "not approved yet"},
		"rejected": {build: func(w *world) {
			w.lock()
			g := w.gate("fence", w.plan("fence", "fence/1", 1, false), 1, false)
			w.vote("fence", g, "ana", 1, nil)
			w.vote("fence", g, "ben", 2, nil)
			w.close("fence", g, "reject")
			w.intend("fence", "fence/1", false)
		}, want: `closed as "reject"`},
		"the gate opened again": {build: func(w *world) {
			w.upTo()
			w.doc = strings.Repeat("e", 64)
			w.gate("fence", w.plan("fence", "fence/1", 2, false), 2, false)
			w.doc = strings.Repeat("d", 64)
		}, want: "attempt 2, is open"},
		"one vote": {build: voted(func(w *world, g wire.GateBody) { w.vote("fence", g, "ana", 1, nil) }), want: "1 of commander are still needed"},
		"no vote":  {build: voted(func(*world, wire.GateBody) {}), want: "2 of commander are still needed"},
		"one person twice": {build: voted(func(w *world, g wire.GateBody) {
			w.vote("fence", g, "ana", 1, nil)
			w.vote("fence", g, "ana", 1, nil)
		}), want: "1 of commander are still needed"},
		"one key under two names": {
			world: func(w *world) {
				w.pinned = w.without(w.member("ana", 1), w.member("anna", 1), w.member("ben", 2))
			},
			build: voted(func(w *world, g wire.GateBody) {
				w.vote("fence", g, "ana", 1, nil)
				w.vote("fence", g, "anna", 1, nil)
			}), want: "1 of commander are still needed",
		},
		"a stranger's key":       {build: voted(func(w *world, g wire.GateBody) { w.vote("fence", g, "ana", 1, nil); w.vote("fence", g, "ben", 9, nil) }), want: "still needed"},
		"another's key":          {build: voted(func(w *world, g wire.GateBody) { w.vote("fence", g, "ana", 1, nil); w.vote("fence", g, "ben", 3, nil) }), want: "still needed"},
		"signed for another run": {build: signed(func(s *approval.Statement) { s.Run.FirstRun = "other" }), want: "still needed"},
		"… another namespace":    {build: signed(func(s *approval.Statement) { s.Namespace = "other" }), want: "still needed"},
		"… another gate":         {build: signed(func(s *approval.Statement) { s.Gate = "promote" }), want: "still needed"},
		"… another attempt":      {build: signed(func(s *approval.Statement) { s.Attempt = 2 }), want: "still needed"},
		"… another root":         {build: signed(func(s *approval.Statement) { s.Plan = strings.Repeat("0", 64) }), want: "still needed"},
		"… another estate":       {build: signed(func(s *approval.Statement) { s.Estate = "sha256:x" }), want: "still needed"},
		"… another mode":         {build: signed(func(s *approval.Statement) { s.Mode = "drill" }), want: "still needed"},
		"… the other direction":  {build: signed(func(s *approval.Statement) { s.Direction = approval.Undo }), want: "still needed"},
		"… another head":         {build: signed(func(s *approval.Statement) { s.Head = "1:x" }), want: "still needed"},
		"… and it was to reject": {build: signed(func(s *approval.Statement) { s.Decision = approval.Reject }), want: "still needed"},
		"… and it had expired":   {build: signed(func(s *approval.Statement) { s.Expires = noon.Add(-time.Second) }), want: "still needed"},
		"it expires after it counts": {build: func(w *world) {
			signed(func(s *approval.Statement) { s.Expires = noon.Add(time.Second) })(w)
			w.now = noon.Add(time.Hour)
		}},
		"honoured for a day": {build: func(w *world) { w.upTo(); w.now = noon.Add(approval.HonouredFor) }},
		"and no longer":      {build: func(w *world) { w.upTo(); w.now = noon.Add(approval.HonouredFor + time.Second) }, want: "honoured for 24h0m0s"},
		"a key was taken away since": {build: func(w *world) { w.upTo(); w.present = w.without(w.member("ana", 1), w.member("cleo", 3)) },
			want: "1 of commander are still needed"},
		"a person's key is another now": {build: func(w *world) {
			w.upTo()
			w.present = w.without(w.member("ana", 1), w.member("ben", 4), w.member("cleo", 3))
		}, want: "1 of commander are still needed"},
		"a person's telephone is another now": {build: func(w *world) {
			w.upTo()
			members := slices.Clone(w.pinned.Roles[0].Members)
			for i := range members {
				members[i].Contact = "+1 555 0100"
			}
			w.present = w.without(members...)
		}},
		"all but one were taken away": {build: func(w *world) { w.upTo(); w.present = w.without(w.member("ana", 1)) }, want: "1 who may decide"},
		"the role is gone":            {build: func(w *world) { w.upTo(); w.present = &estate.Estate{Estate: "lab"} }, want: "commander"},
		"somebody was added since": {build: func(w *world) {
			w.upTo()
			w.present = w.without(append(w.pinned.Roles[0].Members, w.member("dora", 4))...)
		}},
		"a key that only the present estate has": {
			world: func(w *world) {
				w.present = w.without(w.member("ana", 1), w.member("ben", 2), w.member("cleo", 3), w.member("dora", 4))
			},
			build: voted(func(w *world, g wire.GateBody) { w.vote("fence", g, "ana", 1, nil); w.vote("fence", g, "dora", 4, nil) }),
			want:  "1 of commander are still needed",
		},
		"names of people only claimed": {
			world: func(w *world) {
				w.pinned = w.without(w.member("ana", 1), w.member("ben", 2))
				w.pinned.Roles[0].Method = estate.Claimed
			},
			build: (*world).upTo, want: "claimed",
		},
		"before an earlier step was looked at": {build: func(w *world) {
			w.lock()
			w.approved("fence", "fence/1", false)
			w.intend("fence", "fence/1", false)
		}, want: "the ledger has no look"},
		"an earlier step is red": {build: func(w *world) {
			w.upTo()
			w.saw("look", "", verdict.Fail)
		}, want: "neither proven nor owed"},
		"an earlier step is unknown": {build: func(w *world) { w.upTo(); w.saw("look", "", verdict.Unknown) }, want: "neither proven nor owed"},
		"… owed, and nobody accepted it": {build: func(w *world) {
			w.upTo()
			w.add(ledger.Observed, "look", "", wire.ObservedBody{Verdict: verdict.Unknown, Owed: []string{action.AcceptSourceUnreachable}})
		}, want: "neither proven nor owed"},
		"… owed as a gate accepted": {build: func(w *world) {
			w.upTo()
			w.view.Run.SourceUnreachable = true
			w.add(ledger.Observed, "look", "", wire.ObservedBody{Verdict: verdict.Unknown, Owed: []string{action.AcceptSourceUnreachable}})
		}},
		"… waived": {build: func(w *world) {
			w.upTo()
			w.add(ledger.Observed, "look", "", wire.ObservedBody{Verdict: verdict.Fail, Red: []string{"look/1/lake"}})
			w.view.Waived["look/1/lake"] = "ana, ben"
		}},
		"… waived in part": {build: func(w *world) {
			w.upTo()
			w.add(ledger.Observed, "look", "", wire.ObservedBody{Verdict: verdict.Fail, Red: []string{"look/1/lake", "look/1/sea"}})
			w.view.Waived["look/1/lake"] = "ana, ben"
		}, want: "neither proven nor owed"},
		"taken back": {build: func(w *world) {
			w.upTo()
			w.approved("fence", "fence/1", true)
			w.intend("fence", "fence/1", true)
		}, act: undoing},
		"taken back before what was done after it": {build: func(w *world) {
			w.upTo()
			w.intend("promote", "promote/1", false)
			w.approved("promote", "fence/1", true)
			w.intend("fence", "fence/1", true)
		}, act: undoing, want: "taken back first"},
		"… after that": {build: func(w *world) {
			w.upTo()
			w.intend("promote", "promote/1", false)
			w.approved("promote", "fence/1", true)
			w.intend("fence", "fence/1", true)
			w.add(ledger.Observed, "promote", "promote/1", wire.ObservedBody{Verdict: verdict.Pass, Undo: true})
		}, act: undoing},
		"a record of no plan": {build: (*world).upTo, act: func(a *authority.Act) {
			a.Step, a.Effect, a.Leaf.Step = "record/1", action.RecordsOnly, "record/1"
		}, want: "none that the run's ledger has"},
		"a record in a plan": {mode: action.ModePlan, build: func(w *world) {
			w.plan("record", "record/1", 1, false)
			w.intend("record", "record/1", false)
		}, act: func(a *authority.Act) { a.Step, a.Effect, a.Leaf.Step = "record/1", action.RecordsOnly, "record/1" }},
		"a record before its turn": {build: func(w *world) {
			w.upTo()
			w.plan("record", "record/1", 1, false)
			w.intend("record", "record/1", false)
		}, act: func(a *authority.Act) { a.Step, a.Effect, a.Leaf.Step = "record/1", action.RecordsOnly, "record/1" }, want: "the ledger has no look"},
	} {
		t.Run(name, func(t *testing.T) {
			mode := tc.mode
			if mode == "" {
				mode = action.ModeLive
			}
			w := newWorld(t, mode, tc.world)
			tc.build(w)
			err := w.may(tc.act)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && !errors.Is(err, action.ErrRefused):
				t.Errorf("it says %v, want a refusal", err)
			case tc.want != "" && !strings.Contains(err.Error(), tc.want):
				t.Errorf("it says %v, want %q", err, tc.want)
			}
		})
	}
}

// TestAcceptedOncePlannedAgain: what a gate accepted counts when its plan was found to be
// the plan still, so that planning again sees the run as planning did.
func TestAcceptedOncePlannedAgain(t *testing.T) {
	w := newWorld(t, action.ModeLive, nil)
	leaves := []ledger.Leaf{w.leaf("fence/1")}
	end := noon.Add(time.Minute)
	plan := wire.PlannedBody{
		Attempt: 1, Root: ledger.Root(leaves), Leaves: leaves,
		Accepts:   []action.Acceptance{{ID: action.AcceptSourceUnreachable}, {ID: "left-out orders"}, {ID: action.AcceptUnwitnessed}},
		Intervals: []wire.Interval{{End: end}},
	}
	w.add(ledger.Planned, "fence", "", plan)
	g := w.gate("fence", plan.Root, 1, false)
	w.close("fence", g, "approve")
	if r := w.view.Run; r.SourceUnreachable || r.Unwitnessed || r.LeftOut != nil {
		t.Errorf("accepted before it was planned again: %+v", r)
	}
	other := plan
	other.Attempt, other.Root = 2, "another"
	w.add(ledger.Planned, "fence", "", other)
	if r := w.view.Run; r.SourceUnreachable {
		t.Errorf("accepted although the plan is another one: %+v", r)
	}
	plan.Attempt = 3
	w.add(ledger.Planned, "fence", "", plan)
	r := w.view.Run
	if !r.SourceUnreachable || !r.Unwitnessed || !r.Accepted("left-out orders") || r.SourceLost == nil || !r.SourceLost.Equal(end) {
		t.Errorf("planned again, and the run is %+v", r)
	}
}

// TestOnlyTheNextEntryIsTaken: a view follows one chain.
func TestOnlyTheNextEntryIsTaken(t *testing.T) {
	w := newWorld(t, action.ModeLive, nil)
	head := w.view.Head
	for name, e := range map[string]struct {
		entry ledger.Entry
		head  ledger.Head
	}{
		"a gap":         {ledger.Entry{Seq: 4, Prev: head.Hash}, ledger.Head{Run: run, Seq: 4, Hash: "x"}},
		"another past":  {ledger.Entry{Seq: 3, Prev: "y"}, ledger.Head{Run: run, Seq: 3, Hash: "x"}},
		"another run's": {ledger.Entry{Seq: 3, Prev: head.Hash}, ledger.Head{Run: ledger.Run{Workflow: "v", FirstRun: "f"}, Seq: 3, Hash: "x"}},
		"no body":       {ledger.Entry{Seq: 3, Prev: head.Hash, Kind: ledger.Planned, Body: []byte(`[`)}, ledger.Head{Run: run, Seq: 3, Hash: "x"}},
	} {
		if err := w.view.Add(e.entry, e.head); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if w.view.Head != head {
		t.Errorf("the view moved to %v", w.view.Head)
	}
}

// TestPolls: a decision counts where people are asked, if both estates name who made it, and
// enough others said so who still count.
func TestPolls(t *testing.T) {
	sign := func(w *world, verb approval.Verb, gate, plan string, key byte, edit func(*approval.Statement)) (string, string) {
		s := approval.Statement{
			Namespace: "default", Run: run, Gate: gate, Attempt: 1, Decision: verb, Plan: plan, Mode: string(w.mode), Direction: approval.Do, Estate: "sha256:e",
			Head: "7:x",
		}
		if g := w.view.Open(); g != nil && g.Gate == gate {
			s.Head = g.Head
		}
		if edit != nil {
			edit(&s)
		}
		sig, err := s.Sign(signer(w.t, key))
		if err != nil {
			t.Fatal(err)
		}
		return sig, string(s.Text())
	}
	atGate := func(verb approval.Verb, who string, key byte) func(*world) wire.DecisionBody {
		return func(w *world) wire.DecisionBody {
			b := wire.DecisionBody{Gate: "fence", Attempt: 1, Decision: string(verb), Who: who, Method: "signed"}
			if key > 0 {
				b.Raw, b.Statement = sign(w, verb, "fence", w.view.Open().Root, key, nil)
			}
			return b
		}
	}
	goOn := func(pause string, key byte, edit func(*approval.Statement)) func(*world) wire.DecisionBody {
		return func(w *world) wire.DecisionBody {
			w.add(ledger.Decided, "fence", "", wire.DecisionBody{Gate: "pause-1", Decision: "pause"})
			b := wire.DecisionBody{Gate: pause, Attempt: 1, Decision: "resume", Method: "signed"}
			if key > 0 {
				b.Raw, b.Statement = sign(w, approval.Resume, pause, ledger.Digest([]byte(pause)), key, edit)
			}
			return b
		}
	}
	more := func(f func(*world) wire.DecisionBody) func(*world) wire.DecisionBody {
		return func(w *world) wire.DecisionBody { b := f(w); b.Missing = true; return b }
	}
	keep := func(names ...string) func(*world) {
		return func(w *world) {
			var left []estate.Member
			for _, m := range w.pinned.Roles[0].Members {
				for _, n := range names {
					if m.Name == n {
						m.Contact = "another telephone"
						left = append(left, m)
					}
				}
			}
			w.present = w.without(left...)
		}
	}
	for name, tc := range map[string]struct {
		mode  action.Mode // live by default
		world func(*world)
		voted []byte // whose keys have approved: 1 is ana's, 2 ben's
		body  func(*world) wire.DecisionBody
		want  string // in the refusal; empty where it counts
		void  string // whose votes count no longer
	}{
		"the second approval":                  {voted: []byte{1}, body: atGate(approval.Approve, "ben", 2)},
		"the first one":                        {body: more(atGate(approval.Approve, "ben", 2))},
		"the first one as if it decided":       {body: atGate(approval.Approve, "ben", 2), want: "1 of commander are still needed"},
		"whose own key was taken away":         {world: keep("ana", "cleo"), voted: []byte{1}, body: atGate(approval.Approve, "ben", 2), want: "present estate, which names ben no longer"},
		"after one whose key was taken away":   {world: keep("ben", "cleo"), voted: []byte{1}, body: atGate(approval.Approve, "ben", 2), want: "still needed", void: "ana"},
		"the first that counts still":          {world: keep("ben", "cleo"), voted: []byte{1}, body: more(atGate(approval.Approve, "ben", 2))},
		"the second that counts still":         {world: keep("ben", "cleo"), voted: []byte{1, 2}, body: atGate(approval.Approve, "cleo", 3)},
		"who said so before, and counts again": {voted: []byte{1}, body: more(atGate(approval.Approve, "ana", 1))},
		"twice the same":                       {voted: []byte{1}, body: atGate(approval.Approve, "ana", 1), want: "still needed"},
		"nobody is left":                       {world: func(w *world) { w.present = &estate.Estate{Estate: "lab"} }, body: more(atGate(approval.Approve, "ben", 2)), want: "present estate"},
		"rejecting needs nobody's key":         {world: func(w *world) { w.present = &estate.Estate{Estate: "lab"} }, voted: []byte{1}, body: atGate(approval.Reject, "mallory", 0)},
		"undo, signed":                         {body: atGate(approval.TakeBack, "ana", 1)},
		"undo, after an approval":              {voted: []byte{2}, body: atGate(approval.TakeBack, "ana", 1)},
		"undo by nobody":                       {body: atGate(approval.TakeBack, "ana", 0), want: "needs a signature"},
		"undo by a stranger":                   {body: atGate(approval.TakeBack, "", 9), want: "does not count"},
		"undo by whose key was taken away":     {world: keep("ben", "cleo"), body: atGate(approval.TakeBack, "ana", 1), want: "present estate"},
		"undo by a name, in a drill":           {mode: action.ModeDrill, body: atGate(approval.TakeBack, "ana", 0)},
		"a pause ends, signed":                 {body: goOn("pause-1", 1, nil)},
		"a pause ends by nobody":               {body: goOn("pause-1", 0, nil), want: "needs a signature"},
		"a pause ends by a stranger":           {body: goOn("pause-1", 9, nil), want: "does not count"},
		"another pause ends":                   {body: goOn("pause-2", 1, nil), want: "not paused"},
		"a pause of another run ends":          {body: goOn("pause-1", 1, func(s *approval.Statement) { s.Run.FirstRun = "other" }), want: "does not count"},
		"a pause of before ends again":         {body: goOn("pause-1", 1, func(s *approval.Statement) { s.Gate = "pause-0" }), want: "does not count"},
		"a pause ends by whose key is gone":    {world: keep("ben", "cleo"), body: goOn("pause-1", 1, nil), want: "present estate"},
		"an answer to nothing": {body: func(*world) wire.DecisionBody {
			return wire.DecisionBody{Gate: "ask-1", Attempt: 1, Decision: "done"}
		}, want: "asks nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, cmp.Or(tc.mode, action.ModeLive), tc.world)
			g := w.gate("fence", w.plan("fence", "fence/1", 1, false), 1, false)
			for _, key := range tc.voted {
				w.vote("fence", g, []string{"", "ana", "ben"}[key], key, func(s *approval.Statement) { s.Head = w.view.Open().Head })
			}
			b := tc.body(w)
			p, err := w.view.Poll(w.compiled, authority.Estates{Pinned: w.pinned, Present: w.present}, b)
			if err == nil {
				err = p.Counts(w.now, b)
			}
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || !errors.Is(err, action.ErrRefused)) {
				t.Errorf("it says %v, want %q", err, tc.want)
			}
			var void *authority.VoidError
			if errors.As(err, &void) != (tc.void != "") || void != nil && strings.Join(void.People, ", ") != tc.void {
				t.Errorf("the votes of %+v count no longer, want %q", void, tc.void)
			}
		})
	}
}
