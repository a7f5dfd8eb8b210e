package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/activities/host"
	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/reach"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/internal/takeover"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
	"breakwater/workflows"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// smallBook looks, then fences after an approval: each kind of entry once, in few.
const smallBook = `runbook: Small
summary: Looks, then fences.
owner: data-platform
stages:
  - stage: Look
    steps:
      - step: Buckets are there
        check: storage.late-replicas
        each: bucket
  - stage: Act
    approval: {role: incident-commander}
    steps:
      - step: Fence
        do: storage.fence
        each: bucket
`

// hooked is a store that fails where a test says so.
type hooked struct {
	store.Store
	mu   sync.Mutex
	fail func(key string) (before, after error)
	// taken is called when the lock was changed, before anybody is told.
	taken func()
	// wrote is called with what was written, before anybody is told.
	wrote func(data []byte)
}

func (h *hooked) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var before, after error
	if h.fail != nil {
		before, after = h.fail(key)
	}
	if before != nil {
		return before
	}
	if err := h.Store.PutIfAbsent(ctx, key, data); err != nil {
		return err
	}
	if h.wrote != nil {
		h.wrote(data)
	}
	return after
}

// Swap takes and gives back the lock.
func (h *hooked) Swap(ctx context.Context, key string, old, fresh []byte) error {
	err := h.Store.Swap(ctx, key, old, fresh)
	if h.taken != nil && err == nil && strings.Contains(key, "lock") {
		h.taken()
	}
	return err
}

func (h *hooked) hook(fail func(key string) (before, after error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail = fail
}

// told is what the update answered.
type told struct {
	wire.Answer
	err error
}

func (t *told) Accept()          {}
func (t *told) Reject(err error) { t.err = err }
func (t *told) Complete(v any, err error) {
	t.err = err
	if a, ok := v.(wire.Answer); ok {
		t.Answer = a
	}
}

// play is a live run of the small book in Temporal's own simulation, where hours pass in
// no time.
type play struct {
	*bench
	*hooked
	env   *testsuite.TestWorkflowEnvironment
	asked []wire.Status // each question about the ledger, as it was first seen
	// answer is what people say to a question about the ledger; nothing by default.
	answer func(wire.Status)
	// gate is what people do at an open gate; by default they approve it.
	gate func(wire.Status)
}

func newPlay(t *testing.T) *play { return newPlayOf(t, smallBook) }

func newPlayOf(t *testing.T, book string) *play {
	t.Helper()
	rb, mistakes := load.File([]byte(book), "small.yaml")
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	folder, err := store.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	p := &play{hooked: &hooked{Store: folder}}
	p.bench = &bench{t: t, model: newModel(), estate: testEstate(t), ledger: folder, books: []*runbook.Runbook{rb}}
	p.host = &host.Host{Catalogue: p.model.catalogue(definitions(t)), Runbooks: p.books, Estates: estates{e: p.estate, ledger: p.hooked, key: signer(t, 99)}, Server: simulated{}}
	p.env = (&testsuite.WorkflowTestSuite{}).NewTestWorkflowEnvironment()
	p.env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&host.Interceptor{}}, DeadlockDetectionTimeout: time.Minute})
	p.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: "small", TaskQueue: "q"})
	p.env.SetTestTimeout(time.Minute)
	workflows.Register(p.env, []string{rb.Name})
	p.host.Register(p.env)
	return p
}

// simulated says which run an activity works for, and who started it, which the simulation
// does not know.
type simulated struct{}

func (simulated) Describe(_ context.Context, id, run string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflow.WorkflowExecutionInfo{
		Execution: &common.WorkflowExecution{WorkflowId: id, RunId: run}, FirstRunId: "first", StartTime: timestamppb.New(time.Unix(1_800_000_000, 0)),
	}}, nil
}

func (simulated) History(context.Context, *workflowservice.GetWorkflowExecutionHistoryRequest) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	return &workflowservice.GetWorkflowExecutionHistoryResponse{History: &history.History{Events: []*history.HistoryEvent{{}}}}, nil
}

func (p *play) now() wire.Status {
	var s wire.Status
	if v, err := p.env.QueryWorkflow(wire.QueryStatus); err == nil {
		if err := v.Get(&s); err != nil {
			p.t.Error(err)
		}
	}
	return s
}

func (p *play) send(d approval.Decision) *told {
	a := &told{}
	p.env.UpdateWorkflow(wire.UpdateDecide, fmt.Sprint(p.env.Now().UnixNano(), d.By, d.Verb), a, d)
	return a
}

// run plays the run to its end.
func (p *play) run() (wire.Result, error) {
	p.t.Helper()
	seen := map[string]bool{}
	var tick func()
	ticks := 0
	tick = func() {
		if ticks++; ticks > 2000 {
			p.t.Errorf("it never ends; it stands at %+v", p.now())
			p.env.CancelWorkflow()
			return
		}
		if p.env.IsWorkflowCompleted() {
			return
		}
		switch s := p.now(); {
		case s.State == wire.StateLedger:
			if !seen[s.Ask.ID] {
				seen[s.Ask.ID] = true
				p.asked = append(p.asked, s)
			}
			if p.answer != nil {
				p.answer(s)
			}
		case s.Gate != nil && p.gate != nil:
			p.gate(s)
		case s.Ask != nil && p.gate != nil: // nothing was to go wrong
			p.send(approval.Decision{Verb: approval.Abort, Reason: s.Ask.Question})
		case s.Gate != nil:
			for _, who := range s.Gate.Members[:s.Gate.Quorum] {
				if !seen[who] {
					seen[who] = true
					p.send(p.signed(s, approval.Decision{Verb: approval.Approve, By: who}))
				}
			}
		}
		p.env.RegisterDelayedCallback(tick, time.Second)
	}
	p.env.RegisterDelayedCallback(tick, time.Second)
	p.env.ExecuteWorkflow("Small", json.RawMessage(`{"estate":"lab","mode":"live","incident":"INC-1"}`))
	var res wire.Result
	err := p.env.GetWorkflowError()
	if err == nil {
		err = p.env.GetWorkflowResult(&res)
	}
	return res, err
}

// story is what the ledger tells, but for the outages and who answered them.
func (p *play) story() (lines []string, notes int) {
	p.t.Helper()
	runs, err := store.Runs(p.t.Context(), p.ledger)
	if err != nil || len(runs) != 1 {
		p.t.Fatalf("the ledger holds %v, %v", runs, err)
	}
	entries, _, err := store.Load(p.t.Context(), p.ledger, runs[0])
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range entries {
		switch {
		case e.Kind == ledger.Note && strings.Contains(string(e.Body), "could not be done for"):
			notes++
		case e.Kind == ledger.Note && strings.Contains(string(e.Body), "the ledger is tried again"):
		default:
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Kind, e.Stage, e.Step)))
		}
	}
	if ev := p.evidence(wire.Status{Run: action.Run{Workflow: runs[0].Workflow, FirstRun: runs[0].FirstRun}}); ev.Fault != nil {
		p.t.Errorf("evidence: %+v", ev)
	}
	return lines, notes
}

// TestEveryAppendFails: wherever in a run the ledger cannot be written, for a moment or
// until somebody mends it, whether the entry was written or not, the run ends as it would
// have ended, with the same ledger.
func TestEveryAppendFails(t *testing.T) {
	t.Parallel()
	plain := newPlay(t)
	if res, err := plain.run(); err != nil || res.Verdict != verdict.Pass {
		t.Fatalf("undisturbed, the run ended with %+v, %v", res, err)
	}
	want, _ := plain.story()
	denied := fmt.Errorf("the bucket says AccessDenied: %w", fs.ErrPermission)
	gone := fmt.Errorf("the bucket does not answer: %w", reach.ErrUnreachable)
	for name, tc := range map[string]struct {
		err    error
		after  bool // the entry was written all the same
		times  int  // 0: until somebody mends it and says so
		people bool
	}{
		"denied once":            {err: denied, times: 1},
		"denied until mended":    {err: denied, people: true},
		"gone for a while":       {err: gone, times: 9},
		"the answer gets lost":   {err: gone, times: 1, after: true},
		"many answers get lost":  {err: gone, times: 6, after: true},
		"slow until somebody is": {err: context.DeadlineExceeded, people: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seq := 1; seq <= len(want); seq++ {
				p := newPlay(t)
				failed, mended := 0, false
				at := fmt.Sprintf("/chain/%012d.json", seq)
				p.hook(func(key string) (error, error) {
					if !strings.HasSuffix(key, at) || mended || tc.times > 0 && failed == tc.times {
						return nil, nil
					}
					failed++
					if tc.after {
						return nil, tc.err
					}
					return tc.err, nil
				})
				if tc.people {
					p.answer = func(s wire.Status) {
						if s.Ledger.Tries < 3 {
							return
						}
						p.hooked.mu.Lock()
						mended = true
						p.hooked.mu.Unlock()
						p.send(approval.Decision{Gate: s.Ask.ID, Verb: approval.Retry})
					}
				}
				res, err := p.run()
				if err != nil || res.Verdict != verdict.Pass || res.Unrecorded != "" {
					t.Errorf("entry %d: the run ended with %+v, %v", seq, res, err)
					continue
				}
				got, notes := p.story()
				if !slices.Equal(got, want) {
					t.Errorf("entry %d (%s): the ledger tells\n%s\nwant\n%s", seq, want[seq-1], strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				if last := seq == len(want); (notes == 0) != (last || len(p.asked) == 0 && notes == 0) {
					t.Errorf("entry %d: %d notes of an outage after %d questions", seq, notes, len(p.asked))
				}
				for _, s := range p.asked {
					if s.Ledger == nil || s.Ledger.Tries == 0 || s.Ledger.Next == nil || !strings.Contains(s.Doing, "the bucket") && !strings.Contains(s.Doing, "deadline") {
						t.Errorf("entry %d: the run waits and says %+v, %q", seq, s.Ledger, s.Doing)
					}
				}
				if state, err := store.NewLock(p.ledger, "lab").State(t.Context()); err != nil || state.Holder != nil {
					t.Errorf("entry %d: the lock after the run: %+v, %v", seq, state, err)
				}
			}
		})
	}
}

// TestAbortWithoutALedger: a person may end a run whose ledger cannot be written. The
// result says that this is in no ledger, and the lock is kept; a fork is told from a
// ledger that does not answer, and is never tried again by itself.
func TestAbortWithoutALedger(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		forked bool
		says   string
	}{
		"denied": {false, "tried again at"},
		"forked": {true, "two workflows write as this run"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t)
			broken := false
			p.hook(func(key string) (error, error) {
				if !strings.Contains(key, "/chain/") || !broken && !strings.HasSuffix(key, "/000000000005.json") {
					return nil, nil
				}
				if tc.forked && !broken { // somebody else's entry is there already
					if err := p.Store.PutIfAbsent(t.Context(), key, []byte("another")); err != nil {
						return err, nil
					}
				}
				if broken = true; tc.forked {
					return nil, nil
				}
				return fmt.Errorf("AccessDenied: %w", fs.ErrPermission), nil
			})
			var early, refused, abort *told
			ticks := 0
			p.answer = func(s wire.Status) {
				switch ticks++; ticks {
				case 3: // what is decided now cannot be written down, and whoever decides is told
					refused = p.send(approval.Decision{Gate: "act", Attempt: 1, Verb: approval.Approve, By: "ana"})
					early = p.send(approval.Decision{Gate: s.Ask.ID, Verb: approval.Retry, By: member(s)})
				case 10:
					if (s.Ledger.Next == nil) != tc.forked || s.Ledger.Forked != tc.forked || !strings.Contains(s.Ask.Question, tc.says) {
						t.Errorf("the run waits and asks %+v, %+v", s.Ledger, s.Ask)
					}
					abort = p.send(approval.Decision{Verb: approval.Abort, By: "ana", Reason: "the bucket is lost"})
				}
			}
			_, err := p.run()
			endedAs(t, err, wire.ErrTypeAborted)
			var app *temporal.ApplicationError
			var res wire.Result
			if !errors.As(err, &app) || app.Details(&res) != nil || res.Unrecorded == "" || !strings.Contains(res.Unrecorded, "stays with this run at epoch 1") {
				t.Errorf("the result is %+v of %v", res, err)
			}
			if early == nil || !early.Counted || refused == nil || refused.Counted || !strings.Contains(refused.Outcome, "the ledger cannot be written") {
				t.Errorf("a retry was told %+v, an approval %+v", early, refused)
			}
			if abort == nil || !abort.Counted || !strings.Contains(abort.Outcome, "neither this end") {
				t.Errorf("the abort was told %+v", abort)
			}
			if state, err := store.NewLock(p.ledger, "lab").State(t.Context()); err != nil || state.Holder == nil {
				t.Errorf("the lock after the run: %+v, %v", state, err)
			}
		})
	}
}

// TestCancelWhileTheLockIsTaken: a run that is cancelled while it takes the estate's lock
// gives it back.
func TestCancelWhileTheLockIsTaken(t *testing.T) {
	t.Parallel()
	p := newPlay(t)
	p.taken = sync.OnceFunc(p.env.CancelWorkflow)
	_, err := p.run()
	endedAs(t, err, wire.ErrTypeAborted)
	state, err := store.NewLock(p.ledger, "lab").State(t.Context())
	if err != nil || state.Holder != nil || state.Epoch != 1 {
		t.Errorf("the lock after the run: %+v, %v", state, err)
	}
	if got, _ := p.story(); !slices.Contains(got, "lock") || got[len(got)-1] != "run-ended" {
		t.Errorf("the ledger tells %v", got)
	}
}

// TestALedgerIsLostForGood: two people may go on at an empty location. What the run's ledger
// begins with says what is lost, and a lock that says so without them gives the run nothing.
func TestALedgerIsLostForGood(t *testing.T) {
	t.Parallel()
	head := "31:" + strings.Repeat("ab", 32)
	for name, signers := range map[string][]byte{"two people": {0, 1}, "one person": {0, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t)
			p.host.Wait = func(context.Context, time.Duration) error { return nil }
			at := time.Now().UTC().Add(-takeover.Wait - time.Minute).Truncate(time.Second)
			c := takeover.Signed{Statement: takeover.Statement{
				Estate: "lab", Epoch: 3, Holder: ledger.Run{Workflow: "old", FirstRun: "f"}, Run: "small", Runbook: "Small", Role: "incident-commander",
				Reason: "the bucket is gone", At: at, Lost: head,
			}}
			lock := store.NewLock(p.ledger, "lab")
			for _, n := range signers {
				sig, err := c.Statement.Sign(signer(t, n))
				if err != nil {
					t.Fatal(err)
				}
				c.Signatures = append(c.Signatures, sig)
			}
			if err := lock.Claim(t.Context(), c, at, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := lock.TakeOver(t.Context(), c, time.Now()); err != nil {
				t.Fatal(err)
			}
			res, err := p.run()
			if len(signers) == 2 && signers[0] == signers[1] {
				endedAs(t, err, wire.ErrTypeHeld)
				return
			}
			if err != nil || res.Verdict != verdict.Pass {
				t.Fatalf("the run ended with %+v, %v", res, err)
			}
			entries, _, err := store.Load(t.Context(), p.ledger, ledger.Run{Workflow: "small", FirstRun: "first"})
			if err != nil {
				t.Fatal(err)
			}
			var began wire.StartedBody
			var held wire.LockBody
			if err := errors.Join(json.Unmarshal(entries[0].Body, &began), json.Unmarshal(entries[2].Body, &held)); err != nil {
				t.Fatal(err)
			}
			if began.Lost == nil || began.Lost.Lost != head || held.Epoch != 4 || held.Taken == nil || held.Taken.Statement.Lost != head || len(held.Taken.By) != 2 {
				t.Errorf("the ledger begins with %+v, and its lock is %+v", began, held)
			}
		})
	}
}
