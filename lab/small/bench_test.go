package small

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/activities"
	"breakwater/activities/host"
	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/poll"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/internal/sshsig"
	"breakwater/internal/system"
	"breakwater/internal/wire"
	"breakwater/lab/server/temporaltest"
	"breakwater/lab/world"
	"breakwater/runbooks"
	"breakwater/workflows"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"golang.org/x/crypto/ssh"
)

// TestMain names no room: what is tried here are runbooks, with every room's actions.
func TestMain(m *testing.M) { world.Main(m, func(*action.Catalogue, *system.Systems) {}) }

// people are the members of the roles that the shipped runbooks name.
var people = []struct {
	role    string
	members []string
}{
	{"incident-commander", []string{"ana", "ben"}},
	{"data-owner", []string{"cleo", "dora"}},
	{"data-platform", []string{"emil", "fay"}},
	{"data-platform-lead", []string{"gus", "hana"}},
}

// key is somebody's private key.
func key(who string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte((who + strings.Repeat(".", 32))[:32]))
}

func signer(t *testing.T, who string) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(key(who))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// bench is a worker that serves one small estate, with every action of the catalogue.
type bench struct {
	t      *testing.T
	estate *estate.Estate
	client client.Client
	queue  string
	books  []*runbook.Runbook
	cat    *action.Catalogue
}

// only serves one estate, with its ledger where the estate says.
type only struct {
	*system.Systems
	e *estate.Estate
}

// Load gives the one estate.
func (o only) Load(_ context.Context, name string) (*estate.Estate, error) {
	if name != o.e.Estate {
		return nil, fmt.Errorf("no estate %q: %w", name, fs.ErrNotExist)
	}
	return o.e, nil
}

// serve completes an estate by people and a ledger, and serves it until the test ends.
func serve(t *testing.T, f *temporaltest.Frontend, w *world.World, at estate.Ledger) *bench {
	t.Helper()
	c, err := f.Client(t.Context())
	w.Must(err)
	t.Cleanup(c.Close)
	e := w.Estate
	e.Estate = "small-" + filepath.Base(t.Name())
	e.Roles = nil
	for _, p := range people {
		r := estate.Role{Role: p.role, Method: estate.Signed}
		for _, m := range p.members {
			r.Members = append(r.Members, estate.Member{Name: m, Key: sshsig.Public(signer(t, m)).String()})
		}
		e.Roles = append(e.Roles, r)
	}
	block, err := ssh.MarshalPrivateKey(key("worker"), "")
	w.Must(err)
	w.Must(os.WriteFile(filepath.Join(w.Systems.Folder, "worker"), pem.EncodeToMemory(block), 0o600))
	e.Ledger, e.Ledger.SigningKey = at, "file:worker"
	e.Ledger.Signers = []string{sshsig.Public(signer(t, "worker")).String()}
	for _, p := range e.Validate() {
		t.Errorf("the estate is none that could be loaded: %s: %s", p.At, p.Text)
	}
	w.Systems.Temporal = c
	b := &bench{t: t, estate: e, client: c, queue: "small-" + filepath.Base(t.TempDir()) + strings.ReplaceAll(t.Name(), "/", "-"), cat: activities.Catalogue(w.Systems)}
	var ms []runbook.Mistake
	if b.books, ms = load.FS(runbooks.FS); len(ms) > 0 {
		t.Fatal(ms)
	}
	h := &host.Host{Catalogue: b.cat, Runbooks: b.books, Estates: only{w.Systems, e}}
	options := worker.Options{Interceptors: []interceptor.WorkerInterceptor{&host.Interceptor{}}, DisableRegistrationAliasing: true}
	run := worker.New(c, b.queue, options)
	var names []string
	for _, rb := range b.books {
		names = append(names, rb.Name)
	}
	workflows.Register(run, names)
	h.Register(run)
	options.DisableWorkflowWorker = true
	asks := worker.New(c, wire.QueryQueue(b.queue), options)
	h.RegisterQueries(asks)
	for _, each := range []worker.Worker{run, asks} {
		w.Must(each.Start())
		t.Cleanup(each.Stop)
	}
	return b
}

// ended is how a run came to its end.
type ended struct {
	status  wire.Status
	result  wire.Result
	err     error
	stood   []string            // what it asked that nobody could answer but by retry, undo and abort
	accepts map[string][]string // by gate: the ids of what approving its plan accepted
	took    time.Duration       // all of it
}

func (e ended) String() string {
	return fmt.Sprintf("%v; stood still at: %s; in %s", e.err, strings.Join(e.stood, " | "), e.took.Round(100*time.Millisecond))
}

// run carries a run of a runbook to its end: every gate is approved and every manual step
// done. What asks for more is aborted there, and remembered.
func (b *bench) run(book string, input map[string]any) (e ended) {
	b.t.Helper()
	began := time.Now()
	defer func() { e.took = time.Since(began) }()
	input["estate"] = b.estate.Estate
	r, err := b.client.ExecuteWorkflow(b.t.Context(), client.StartWorkflowOptions{TaskQueue: b.queue, ID: book + "-" + ledger.Escape(b.queue) + fmt.Sprint(input["mode"])}, book, input)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), 8*time.Minute)
	defer cancel()
	answered := map[string]bool{}
	first := func(id string) bool {
		was := answered[id]
		answered[id] = true
		return !was
	}
	e.accepts = map[string][]string{}
	err = poll.Until(ctx, 50*time.Millisecond, func(ctx context.Context) (bool, error) {
		v, err := b.client.QueryWorkflow(ctx, r.GetID(), "", wire.QueryStatus)
		if err == nil {
			err = v.Get(&e.status)
		}
		s := e.status
		switch {
		case err != nil || s.State == wire.StateEnded:
			return err == nil, err
		case s.Run.Workflow == "": // it may have been refused before it read anything
			d, err := b.client.DescribeWorkflowExecution(ctx, r.GetID(), "")
			return err == nil && d.GetWorkflowExecutionInfo().GetCloseTime() != nil, err
		case s.Gate != nil && first(fmt.Sprint(s.Gate.ID, " ", s.Gate.Attempt)):
			for _, a := range s.Gate.Accepts {
				e.accepts[s.Gate.ID] = append(e.accepts[s.Gate.ID], a.ID)
			}
			for _, who := range s.Gate.Members[:s.Gate.Quorum] {
				b.approve(ctx, r.GetID(), s, who)
			}
		case s.Ask != nil && first(s.Ask.ID):
			d := approval.Decision{Gate: s.Ask.ID, Verb: approval.Done, By: s.Open.Spec.Role.Members[0].Name, Owner: "emil", Due: "2099-01-01"}
			sig, err := s.Open.StatementOf(d).Sign(signer(b.t, d.By))
			if err != nil {
				return false, err
			}
			d.Signature = sig
			if !slices.Contains(s.Ask.Choices, "done") {
				e.stood = append(e.stood, fmt.Sprintf("%s: %s: %q", s.Ask.Title, s.Ask.Question, s.Ask.Findings))
				d = approval.Decision{Gate: s.Ask.ID, Verb: approval.Abort, Reason: "nobody can answer that"}
			}
			b.decide(ctx, r.GetID(), d)
		}
		return false, nil
	})
	if err != nil && e.status.State != "" {
		raw, _ := json.MarshalIndent(e.status, "", " ")
		b.t.Fatalf("%s never ended: %v: %s", book, err, raw)
	}
	e.err = r.Get(b.t.Context(), &e.result)
	return e
}

func (b *bench) approve(ctx context.Context, id string, s wire.Status, who string) {
	b.t.Helper()
	g := s.Gate
	sig, err := approval.Statement{
		Namespace: "default", Run: ledger.Run{Workflow: s.Run.Workflow, FirstRun: s.Run.FirstRun},
		Gate: g.ID, Attempt: g.Attempt, Decision: approval.Approve, Plan: g.Root,
		Mode: string(s.Run.Mode), Direction: g.Direction, Estate: g.EstateDigest, Head: g.Head,
	}.Sign(signer(b.t, who))
	if err != nil {
		b.t.Fatal(err)
	}
	b.decide(ctx, id, approval.Decision{Gate: g.ID, Attempt: g.Attempt, Verb: approval.Approve, Plan: g.Root, By: who, Signature: sig})
}

func (b *bench) decide(ctx context.Context, id string, d approval.Decision) {
	b.t.Helper()
	h, err := b.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: wire.UpdateDecide, Args: []any{d}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	var a wire.Answer
	if err == nil {
		err = h.Get(ctx, &a)
	}
	if err != nil || !a.Counted {
		b.t.Errorf("%s of %s did not count: %s; %v", d.Verb, d.Gate, a.Outcome, err)
	}
}
