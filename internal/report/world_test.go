package report_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/report"
	"breakwater/internal/runbook"
	"breakwater/internal/sshsig"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"golang.org/x/crypto/ssh"
)

var run = ledger.Run{Workflow: "failover-2026-11-21", FirstRun: "0193-first"}

// outage is when every story begins; the run starts two minutes later.
var outage = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

// key is a signer that is the same in every test run.
func key(t *testing.T, name string) ssh.Signer {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	signer, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// place is where a book is written to.
type place interface {
	ledger.Reader
	PutIfAbsent(ctx context.Context, key string, data []byte) error
}

// memory is a place without a disk.
type memory map[string][]byte

func (m memory) Get(_ context.Context, key string) ([]byte, error) {
	data, ok := m[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, fs.ErrNotExist)
	}
	return data, nil
}

func (m memory) List(_ context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if strings.HasPrefix(k, prefix) && !yield(k, nil) {
				return
			}
		}
	}
}

func (m memory) PutIfAbsent(_ context.Context, key string, data []byte) error {
	m[key] = bytes.Clone(data)
	return nil
}

func folder(t *testing.T) *store.Folder {
	t.Helper()
	f, err := store.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// book writes a run's ledger as the interpreter does, with a clock of its own.
type book struct {
	t        *testing.T
	to       place
	chain    ledger.Chain
	now      time.Time
	compiled runbook.Compiled
	estate   estate.Estate
	stage    string // of the newest plan
	attempt  int    // of the newest plan
	root     string // of the newest plan
	opened   approval.Statement
}

func newBook(t *testing.T, to place) *book {
	return &book{t: t, to: to, chain: ledger.NewChain(run), now: outage.Add(2 * time.Minute)}
}

func (b *book) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *book) pass(seconds float64) {
	b.now = b.now.Add(time.Duration(seconds * float64(time.Second)))
}

// entry appends an entry and its signed head.
func (b *book) entry(kind ledger.Kind, stage, step string, body any, docs ...ledger.DocRef) {
	b.t.Helper()
	raw, err := json.Marshal(body)
	b.must(err)
	data, head, err := b.chain.Append(ledger.Entry{Time: b.now, Kind: kind, Stage: stage, Step: step, Body: raw, Docs: docs})
	b.must(err)
	b.must(b.to.PutIfAbsent(b.t.Context(), ledger.ChainKey(run, head.Seq), data))
	signed, err := ledger.SignHead(key(b.t, "worker"), head)
	b.must(err)
	b.must(b.to.PutIfAbsent(b.t.Context(), ledger.HeadKey(run, head.Seq), signed.Bytes()))
}

func (b *book) doc(step, item string, attempt int, name string, v any) ledger.DocRef {
	b.t.Helper()
	data, err := ledger.Encode(v)
	b.must(err)
	k := ledger.DocKey(run, step, item, attempt, name)
	b.must(b.to.PutIfAbsent(b.t.Context(), k, data))
	return ledger.Ref(k, data)
}

// worked lets a phase take some seconds and returns when that was.
func (b *book) worked(p wire.Phase, seconds float64) []wire.Interval {
	start := b.now
	b.pass(seconds)
	return []wire.Interval{{Phase: p, Start: start, End: b.now}}
}

func (b *book) start(mode action.Mode, detected *time.Time) {
	b.t.Helper()
	r := action.Run{
		Namespace: "default", Workflow: run.Workflow, FirstRun: run.FirstRun, Runbook: "RegionalFailover", Mode: mode,
		Source: "us-east-1", Target: "us-west-2", Incident: "INC-4711", Started: b.now,
	}
	if detected != nil {
		r.OutageStart, r.DetectedAt = &outage, detected
	}
	b.pass(0.4)
	b.entry(ledger.RunStarted, "", "", wire.StartedBody{Run: r, Input: json.RawMessage(`{"estate":"lab"}`)})
	b.entry(ledger.Compiled, "", "", wire.CompiledBody{
		Runbook: "RegionalFailover", RunbookDigest: "sha256:aaaa", Estate: "lab", EstateDigest: "sha256:bbbb", Mode: mode,
	}, b.doc("run", "lab", 1, "compiled", b.compiled), b.doc("run", "lab", 1, "estate", b.estate))
	if mode == action.ModeLive {
		b.entry(ledger.Lock, "", "", wire.LockBody{Held: true, Epoch: 3})
	}
	b.pass(0.3)
}

// plan records a stage's plan; each item is an item of the step that it names.
func (b *book) plan(stage string, docs ...ledger.DocRef) {
	b.t.Helper()
	b.attempt, b.stage = b.next(stage), stage
	body := wire.PlannedBody{Attempt: b.attempt, Intervals: b.worked(wire.PlanPhase, 1.5)}
	for _, d := range docs {
		leaf, err := d.Leaf()
		b.must(err)
		body.Leaves = append(body.Leaves, leaf)
	}
	body.Root = ledger.Root(body.Leaves)
	b.root = body.Root
	for _, s := range b.compiled.Stages {
		for _, st := range s.Steps {
			if s.ID == stage && (st.Kind == runbook.Do || s.ChecksOnly()) {
				body.Steps = append(body.Steps, wire.StepPlan{Step: st.Title, Action: st.Action, Items: st.Items, Effects: int64(st.Items), Summary: []string{"change " + st.Title}})
			}
		}
	}
	b.entry(ledger.Planned, stage, "", body, docs...)
	b.pass(0.1)
}

// next is the number of the stage's next plan.
func (b *book) next(stage string) int {
	if b.stage == stage {
		return b.attempt + 1
	}
	return 1
}

// thing is an item of that name; the estate itself has no kind.
func thing(name string) estate.Item {
	if name == "lab" {
		return estate.Item{Name: name}
	}
	return estate.Item{Kind: estate.TableKind, Name: name}
}

func (b *book) planDoc(step, item string, found ...action.Observation) ledger.DocRef {
	b.t.Helper()
	stage, name, _ := strings.Cut(step, "/")
	return b.doc(step, item, b.next(stage), ledger.DocPlan, wire.PlanDoc{Step: step, Action: name, Item: thing(item), Found: found})
}

func (b *book) open(stage, role string, quorum int) {
	b.t.Helper()
	b.opened = approval.Statement{
		Namespace: "default", Run: run, Gate: stage, Attempt: b.attempt, Decision: approval.Approve, Plan: b.root, Mode: "live", Direction: approval.Do,
		Estate: "sha256:bbbb", Head: b.chain.Head.String(),
	}
	b.entry(ledger.GateOpened, stage, "", b.gate(stage, role, quorum))
}

func (b *book) gate(stage, role string, quorum int) wire.GateBody {
	return wire.GateBody{Gate: b.opened.Gate, Attempt: b.attempt, Role: role, Method: "signed", Quorum: quorum, Root: b.root}
}

// vote signs the open gate as the person of that name, with the person's key.
func (b *book) vote(stage, who, reason string) {
	b.t.Helper()
	signer := key(b.t, who)
	sig, err := b.opened.Sign(signer)
	b.must(err)
	b.entry(ledger.Decided, stage, "", wire.DecisionBody{
		Gate: b.opened.Gate, Attempt: b.attempt, Decision: "approve", Via: "signal", Who: who, Key: sshsig.Public(signer).Fingerprint(),
		Method: "signed", Reason: reason, Outcome: "approve by " + who + " counts", Raw: sig, Statement: string(b.opened.Text()),
	})
}

func (b *book) close(stage, role string, quorum int, how string, by ...string) {
	b.t.Helper()
	g := b.gate(stage, role, quorum)
	g.How, g.By = how, by
	b.entry(ledger.GateClosed, stage, "", g)
	b.pass(1)
}

// apply records intent, outcome and observation of one attempt at a step.
func (b *book) apply(stage, step, item string, attempt int, data any, look ...action.Observation) {
	b.t.Helper()
	name := strings.SplitN(step, "/", 2)[1]
	b.entry(ledger.Intent, stage, step, wire.IntentBody{Attempt: attempt, Epoch: 3})
	start := b.now
	took := b.worked(wire.ApplyPhase, 3)
	var raw json.RawMessage
	if data != nil {
		var err error
		raw, err = action.Encode(data)
		b.must(err)
	}
	it := thing(item)
	outcome := b.doc(step, item, attempt, ledger.DocOutcome, wire.OutcomeDoc{
		Step: step, Action: name, Item: it, Start: start, End: b.now, Outcome: action.Outcome{Summary: "done", Mutations: 2, Data: raw},
	})
	looked := b.worked(wire.VerifyPhase, 2)
	b.entry(ledger.Outcome, stage, step, wire.OutcomeBody{Attempt: attempt, Mutations: 2, Intervals: took}, outcome)
	b.observe(stage, step, item, attempt, looked, false, look...)
}

func (b *book) observe(stage, step, item string, attempt int, took []wire.Interval, undo bool, look ...action.Observation) {
	b.t.Helper()
	body := wire.ObservedBody{Attempt: attempt, Intervals: took, Undo: undo, Verdict: action.Worst(look)}
	for _, o := range look {
		switch o.Verdict {
		case verdict.Pass:
			body.Passed++
			continue
		case verdict.Fail:
			body.Failed++
		default:
			body.Unknown++
		}
		body.Findings = append(body.Findings, item+": "+o.What+": "+o.Got)
	}
	name := ledger.DocObserved
	if undo {
		name = "undo-" + name
	}
	b.entry(ledger.Observed, stage, step, body, b.doc(step, item, attempt, name, wire.ObservedDoc{
		Step: step, Item: thing(item), Verdict: body.Verdict, Observations: look,
	}))
	b.pass(0.1)
}

func (b *book) milestone(stage, name string, tier int) {
	b.t.Helper()
	b.entry(ledger.Note, stage, "", wire.NoteBody{Text: "milestone", Milestone: &wire.Milestone{Name: name, Tier: tier, At: b.now}})
}

func (b *book) end(v verdict.Verdict, how, why string, obligations ...action.Obligation) {
	b.t.Helper()
	res := wire.Result{Verdict: v, Summary: "pass", Obligations: obligations, Exercised: 7, Steps: 9}
	if len(obligations) > 0 {
		res.Summary = fmt.Sprintf("pass, %d obligations open", len(obligations))
	}
	if why != "" {
		res.Summary = how + ": " + why
	}
	b.pass(0.2)
	b.entry(ledger.RunEnded, "", "", wire.EndedBody{Result: res, How: how, Why: why, Ended: b.now})
}

func (b *book) report() report.Report {
	b.t.Helper()
	r, err := report.Build(b.t.Context(), b.to, run, []sshsig.Key{sshsig.Public(key(b.t, "worker"))})
	b.must(err)
	return r
}

func saw(what, want, got string, ok bool) action.Observation {
	o := action.Observation{What: what, Want: want, Got: got, Verdict: verdict.Fail}
	if ok {
		o.Verdict = verdict.Pass
	}
	return o
}
