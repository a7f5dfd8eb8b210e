package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/runbook"
	"breakwater/internal/sshsig"
	"breakwater/internal/wire"

	"golang.org/x/crypto/ssh"
)

// forger makes the ledger of a run at an open gate, honest or not.
type forger struct {
	t       *testing.T
	folder  *store.Folder
	local   *estate.Estate
	run     ledger.Run
	chain   ledger.Chain
	doc     ledger.DocRef // of the plan
	started wire.StartedBody
	input   runbook.Input
	planned wire.PlannedBody
	opened  wire.GateBody
	worker  ssh.Signer
	later   bool   // an entry after the gate's opening, which nobody signed
	rewrite bool   // an entry was written anew after it had been signed
	signKey byte   // whose key signs the last head; 0 for nobody
	signed  string // the hash that is signed instead of the head's
	status  wire.Status
}

func newForger(t *testing.T) *forger {
	folder, err := store.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() }) //nolint:errcheck // written durably before
	worker, _ := testKey(t, 1)
	run := ledger.Run{Workflow: "w", FirstRun: "f"}
	f := &forger{
		t: t, folder: folder, run: run, chain: ledger.NewChain(run), signKey: 1, worker: worker,
		local: &estate.Estate{Estate: "lab", Ledger: estate.Ledger{Signers: []string{sshsig.Public(worker).String()}}},
	}
	f.doc = f.keep(ledger.DocKey(run, "fence/1-storage.fence", "lake", 1, ledger.DocPlan), wire.PlanDoc{
		Step: "fence/1-storage.fence", Action: "storage.fence", Item: estate.Item{Name: "lake"}, Change: action.Change{Summary: "deny writes"},
	})
	leaf, err := f.doc.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	root := ledger.Root([]ledger.Leaf{leaf})
	f.planned = wire.PlannedBody{Attempt: 1, Root: root}
	f.opened = wire.GateBody{Gate: "fence", Attempt: 1, Role: "commander", Root: root}
	digest, err := f.local.Digest()
	if err != nil {
		t.Fatal(err)
	}
	f.input = runbook.Input{Estate: "lab", Mode: action.ModeLive, Incident: "INC-1", Own: map[string]string{"source": "east", "target": "west"}}
	f.started.Run = action.Run{
		Workflow: "w", FirstRun: "f", Runbook: "Switch", Mode: action.ModeLive, Source: "east", Target: "west", Incident: "INC-1", Started: time.Unix(1, 0).UTC(),
	}
	f.status = wire.Status{
		Run: f.started.Run, Estate: "lab",
		Gate: &wire.GateStatus{ID: "fence", Attempt: 1, Role: "commander", Root: root, Direction: approval.Do, EstateDigest: digest},
	}
	return f
}

func (f *forger) keep(key string, v any) ledger.DocRef {
	f.t.Helper()
	raw, err := ledger.Encode(v)
	if err != nil {
		f.t.Fatal(err)
	}
	ref, _, err := store.PutDoc(f.t.Context(), f.folder, f.worker, []sshsig.Key{sshsig.Public(f.worker)}, key, raw)
	if err != nil {
		f.t.Fatal(err)
	}
	return ref
}

func (f *forger) add(kind ledger.Kind, body any, docs ...ledger.DocRef) {
	f.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		f.t.Fatal(err)
	}
	data, head, err := f.chain.Append(ledger.Entry{Kind: kind, Time: time.Unix(1, 0), Body: raw, Docs: docs})
	if err == nil {
		err = store.Append(f.t.Context(), f.folder, head, data)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// write puts the run down as the forger has it, up to the open gate.
func (f *forger) write() {
	f.t.Helper()
	digest, err := f.local.Digest()
	if err != nil {
		f.t.Fatal(err)
	}
	compiled := f.keep(ledger.DocKey(f.run, "compiled", "lab", 1, "compiled"), runbook.Compiled{Estate: "lab", EstateDigest: digest})
	pinned := f.keep(ledger.DocKey(f.run, "compiled", "lab", 1, "estate"), f.local)
	f.add(ledger.RunStarted, f.started)
	f.add(ledger.Compiled, wire.CompiledBody{Runbook: "Switch", Estate: "lab", EstateDigest: digest, Mode: f.input.Mode, Input: f.input}, compiled, pinned)
	if f.planned.Root != "" {
		f.add(ledger.Planned, f.planned, f.doc)
	}
	f.add(ledger.GateOpened, f.opened)
	if f.status.Gate.Head == "" {
		f.status.Gate.Head = f.chain.Head.String()
	}
	if f.rewrite {
		f.sign(1, ledger.Head{Run: f.run, Seq: 2, Hash: strings.Repeat("b", 64)})
	}
	if f.signKey != 0 {
		head := f.chain.Head
		if f.signed != "" {
			head.Hash = f.signed
		}
		f.sign(f.signKey, head)
	}
	if f.later {
		f.add(ledger.Decided, wire.DecisionBody{Gate: "fence", Attempt: 1, Decision: "approve", Who: "ana"})
	}
}

// sign keeps a head with a signature.
func (f *forger) sign(n byte, head ledger.Head) {
	f.t.Helper()
	key, _ := testKey(f.t, n)
	signed, err := ledger.SignHead(key, head)
	if err == nil {
		err = store.PutHead(f.t.Context(), f.folder, signed)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// Items of which a batch has no plan are said to have none.
func TestItemsWithoutAPlan(t *testing.T) {
	f := newForger(t)
	index, err := ledger.Encode(ledger.Index{Docs: []ledger.DocRef{f.doc}, Failed: []ledger.ItemError{{Item: "swamp", Error: "it cannot be read"}}})
	if err != nil {
		t.Fatal(err)
	}
	f.doc = f.keep(ledger.DocKey(f.run, "fence/1-storage.fence", "buckets 1-2 of 2", 1, ledger.PartialIndex(index)), json.RawMessage(index))
	trusted, err := f.local.Ledger.Trusted(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := store.Leaf(t.Context(), f.folder, trusted, f.doc)
	if err != nil {
		t.Fatal(err)
	}
	root := ledger.Root([]ledger.Leaf{leaf})
	f.planned.Root, f.opened.Root, f.status.Gate.Root = root, root, root
	f.write()
	p, err := recompute(t.Context(), f.folder, trusted, f.status)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	(&reviewed{plan: p}).show(&out, plainStyles(), false, time.Now())
	if want := "Not planned, and so not approved by this\n  fence/1-storage.fence, swamp: it cannot be read\n"; !strings.Contains(out.String(), want) {
		t.Errorf("it says\n%s", out.String())
	}
}

// Whoever lies about a plan, Temporal, a worker or the ledger, is refused before
// anything is signed.
func TestRecompute(t *testing.T) {
	other := strings.Repeat("a", 64)
	for name, tc := range map[string]struct {
		lie  func(*forger)
		want string // in the refusal; empty where there is none
	}{
		"nobody lies": {func(*forger) {}, ""},
		"a worker names a root that its documents do not make": {func(f *forger) {
			f.planned.Root, f.opened.Root, f.status.Gate.Root = other, other, other
		}, "the documents in the ledger make plan"},
		"a worker plans another attempt":     {func(f *forger) { f.planned.Attempt = 2 }, "attempt 2"},
		"a worker opens a gate without plan": {func(f *forger) { f.planned.Root = "" }, "no plan before"},
		"a worker names another document": {func(f *forger) {
			f.doc = f.keep(ledger.DocKey(f.run, "fence/1-storage.fence", "lake", 2, ledger.DocPlan), wire.PlanDoc{
				Step: "fence/1-storage.fence", Item: estate.Item{Name: "lake"}, Action: "storage.open",
			})
		}, "the documents in the ledger make plan"},
		"a worker names a document of another item": {func(f *forger) {
			f.doc = f.keep(ledger.DocKey(f.run, "fence/1-storage.fence", "lake", 2, ledger.DocPlan), wire.PlanDoc{
				Step: "fence/1-storage.fence", Item: estate.Item{Name: "swamp"}, Action: "storage.fence",
			})
		}, "it lies under the name of another"},
		"Temporal shows another root":    {func(f *forger) { f.status.Gate.Root = other }, "is not the opening of gate"},
		"Temporal shows another gate":    {func(f *forger) { f.status.Gate.ID = "writes" }, "is not the opening of gate"},
		"Temporal shows another attempt": {func(f *forger) { f.status.Gate.Attempt = 2 }, "is not the opening of gate"},
		"Temporal shows another head":    {func(f *forger) { f.status.Gate.Head = "3:" + other }, "has no such head"},
		"Temporal shows another estate":  {func(f *forger) { f.status.Gate.EstateDigest = "sha256:" + other }, "the gate names estate"},
		"Temporal shows another mode":    {func(f *forger) { f.status.Run.Mode = action.ModePlan }, "mode: live in the ledger, plan by Temporal"},
		"Temporal shows other regions": {func(f *forger) { f.status.Run.Source, f.status.Run.Target = "west", "east" },
			"source: east in the ledger, west by Temporal; target: west in the ledger, east by Temporal"},
		"Temporal shows another incident": {func(f *forger) { f.status.Run.Incident = "INC-2" }, "incident: INC-1 in the ledger, INC-2 by Temporal"},
		"Temporal shows a smaller scope":  {func(f *forger) { f.status.Run.Groups = []string{"a"} }, "groups: none in the ledger, a by Temporal"},
		"Temporal shows another role":     {func(f *forger) { f.status.Gate.Role = "anybody" }, "role: commander in the ledger, anybody by Temporal"},
		"Temporal shows a lower quorum":   {func(f *forger) { f.opened.Quorum, f.status.Gate.Quorum = 2, 1 }, "approvals needed: 2 in the ledger, 1 by Temporal"},
		"Temporal shows another start": {func(f *forger) { f.status.Run.Started = time.Unix(9, 0).UTC() },
			"started: 1970-01-01T00:00:01Z in the ledger, 1970-01-01T00:00:09Z by Temporal"},
		"Temporal calls it taking back": {func(f *forger) { f.status.Gate.Direction = approval.Undo }, "direction: do in the ledger, undo by Temporal"},
		"the ledger contradicts itself": {func(f *forger) { f.input.Mode = action.ModeDrill }, "the ledger contradicts itself: mode: drill"},
		"nobody signed the head":        {func(f *forger) { f.signKey = 0 }, "unsigned"},
		"nobody signed what follows":    {func(f *forger) { f.later = true }, "unsigned"},
		"what was signed was rewritten": {func(f *forger) { f.rewrite = true }, "forked"},
		"a stranger signed the head":    {func(f *forger) { f.signKey = 6 }, "nothing vouches for"},
		"a worker signed another head":  {func(f *forger) { f.signed = other }, "signed was"},
		"the ledger lost the document": {func(f *forger) {
			f.doc.Key = ledger.DocKey(f.run, "fence/1-storage.fence", "lake", 7, ledger.DocPlan)
		}, "document missing"},
		"the ledger has another document": {func(f *forger) { f.doc.SHA256 = other }, "document changed"},
		"another run's":                   {func(f *forger) { f.status.Run.FirstRun = "g" }, "no entry of this run"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForger(t)
			tc.lie(f)
			f.write()
			trusted, err := sshsig.ParseKeys(f.local.Ledger.Signers)
			if err != nil {
				t.Fatal(err)
			}
			p, err := recompute(t.Context(), f.folder, trusted, f.status)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want == "" && (len(p.docs) != 1 || p.docs[0].Change.Summary != "deny writes"):
				t.Errorf("the plan is %+v", p.docs)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
