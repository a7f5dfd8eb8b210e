package workflows_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"breakwater/activities/host"
	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/poll"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/internal/sshsig"
	"breakwater/internal/wire"
	"breakwater/lab/server/temporaltest"
	"breakwater/runbooks"
	"breakwater/workflows"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"golang.org/x/crypto/ssh"

	"crypto/ed25519"
)

// server is the Temporal server that all tests of the package share.
var server *temporaltest.Frontend

func TestMain(m *testing.M) {
	if os.Getenv(queryProcess) != "" { // it asks the parent's server
		os.Exit(m.Run())
	}
	var stop func()
	dir, err := os.MkdirTemp("", "breakwater-workflows")
	if err == nil {
		server, stop, err = temporaltest.Shared(context.Background(), dir) //nolint:usetesting // there is no test yet
	}
	// Most of a test's time is waiting: for the server, and for the pauses between tries.
	flag.Parse()
	if f := flag.Lookup("test.parallel"); err == nil && f.Value.String() == f.DefValue {
		err = f.Value.Set("4")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "workflows tests:", err)
		os.Exit(1)
	}
	if os.Getenv("BREAKWATER_STICKY_CACHE") == "0" {
		// Every workflow task replays its whole history: the cheapest way to find
		// what is not deterministic. make test runs a sample so.
		worker.SetStickyWorkflowCacheSize(0)
	}
	code := m.Run()
	stop()
	os.RemoveAll(dir)
	os.Exit(code)
}

// signer makes a key that is the same for the same number.
func signer(t testing.TB, n byte) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(append(make([]byte, 31), n)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// estates serves one estate with its ledger in a folder.
type estates struct {
	e      *estate.Estate
	ledger store.Store
	key    ssh.Signer
	broken error // of opening the ledger
}

func (s estates) Load(_ context.Context, name string) (*estate.Estate, error) {
	if name != s.e.Estate {
		return nil, fmt.Errorf("this worker serves no estate %q: it has %s: %w", name, s.e.Estate, fs.ErrNotExist)
	}
	return s.e, nil
}
func (s estates) Ledger(context.Context, *estate.Estate) (store.Store, error) {
	return s.ledger, s.broken
}
func (s estates) Signer(context.Context, *estate.Estate) (ssh.Signer, error) { return s.key, nil }

// people are the members of the test's roles, with their keys.
var people = []string{"ana", "ben", "cleo", "dora", "emil", "fay"}

func testEstate(t testing.TB) *estate.Estate {
	e := &estate.Estate{
		Estate: "lab", ClockSkew: estate.Duration(500 * time.Millisecond),
		Ledger: estate.Ledger{Signers: []string{sshsig.Public(signer(t, 99)).String()}},
		Regions: []estate.Region{
			{Region: "us-east-1", Role: estate.Primary},
			{Region: "us-west-2", Role: estate.Standby},
		},
		Tiers: []estate.Tier{
			{Tier: 1, RTO: estate.Duration(5 * time.Minute), RPO: estate.Duration(30 * time.Second)},
			{Tier: 2, RTO: estate.Duration(15 * time.Minute), RPO: estate.Duration(2 * time.Minute)},
		},
		Buckets: []estate.Bucket{{Bucket: "lake", In: map[string]string{"us-east-1": "lake-east", "us-west-2": "lake-west"}}},
		Groups: []estate.Group{
			{
				Group: "orders", Tier: 1, Owner: "data-owner",
				Tables:         []estate.Table{{Table: "orders", Bucket: "lake", Path: "orders"}, {Table: "payments", Bucket: "lake", Path: "payments"}},
				Topics:         []estate.Topic{{Topic: "orders-events"}},
				ConsumerGroups: []estate.ConsumerGroup{{ConsumerGroup: "orders-app", Topics: []string{"orders-events"}}},
			},
			{
				Group: "clicks", Tier: 2, Owner: "data-owner",
				Tables: []estate.Table{{Table: "clicks", Bucket: "lake", Path: "clicks"}},
			},
		},
	}
	role := func(name string, members ...string) {
		r := estate.Role{Role: name, Method: estate.Signed}
		for _, m := range members {
			n := byte(slices.Index(people, m))
			r.Members = append(r.Members, estate.Member{Name: m, Key: sshsig.Public(signer(t, n)).String()})
		}
		e.Roles = append(e.Roles, r)
	}
	role("incident-commander", "ana", "ben")
	role("data-owner", "cleo", "dora")
	role("data-platform", "emil", "fay")
	role("data-platform-lead", "fay", "emil")
	return e
}

// bench is one test's worker, model and client.
type bench struct {
	t      testing.TB
	model  *model
	estate *estate.Estate
	ledger store.Store
	client client.Client
	queue  string
	books  []*runbook.Runbook
	host   *host.Host
	worker worker.Worker

	dir string // of the ledger

	interpreter *workflows.Interpreter // nil for the product's own
	queries     worker.Worker
}

// shipped are the runbooks of runbooks/.
func shipped(t testing.TB) []*runbook.Runbook {
	t.Helper()
	books, mistakes := load.FS(runbooks.FS)
	if len(mistakes) > 0 {
		t.Fatalf("runbooks/: %v", mistakes)
	}
	return books
}

func newBench(t testing.TB, books []*runbook.Runbook) *bench {
	t.Helper()
	dir := t.TempDir()
	folder, err := store.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	c, err := server.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	b := &bench{t: t, model: newModel(), estate: testEstate(t), ledger: folder, client: c, queue: "q-" + filepath.Base(t.TempDir()) + t.Name(), books: books, dir: dir}
	b.host = &host.Host{
		Catalogue: b.model.catalogue(definitions(t)), Runbooks: books,
		Estates: estates{e: b.estate, ledger: folder, key: signer(t, 99)},
		Wait:    func(context.Context, time.Duration) error { return nil },
	}
	if err := b.host.Catalogue.Err(); err != nil {
		t.Fatal(err)
	}
	b.startWorker()
	return b
}

// restart serves anew with actions of other timing.
func (b *bench) restart(edit func()) {
	b.t.Helper()
	b.worker.Stop()
	b.queries.Stop()
	edit()
	b.host.Catalogue = b.model.catalogue(definitions(b.t))
	b.startWorker()
}

// forget deletes an object of the ledger, as nobody of ours does.
func (b *bench) forget(key string) error {
	return os.Remove(filepath.Join(b.dir, filepath.FromSlash(key)))
}

func (b *bench) startWorker() {
	b.t.Helper()
	w := worker.New(b.client, b.queue, worker.Options{
		Interceptors: []interceptor.WorkerInterceptor{&host.Interceptor{}}, DisableRegistrationAliasing: true,
		// Short timeouts make a lost task seen soon.
		MaxHeartbeatThrottleInterval: time.Second,
	})
	var names []string
	for _, rb := range b.books {
		names = append(names, rb.Name)
	}
	if b.interpreter != nil {
		b.interpreter.Register(w, names)
	} else {
		workflows.Register(w, names)
	}
	b.host.Register(w)
	if err := w.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.worker = w
	b.t.Cleanup(w.Stop)
	q := worker.New(b.client, wire.QueryQueue(b.queue), worker.Options{
		Interceptors: []interceptor.WorkerInterceptor{&host.Interceptor{}}, DisableRegistrationAliasing: true,
		DisableWorkflowWorker: true, MaxHeartbeatThrottleInterval: time.Second,
	})
	b.host.RegisterQueries(q)
	if err := q.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.queries = q
	b.t.Cleanup(q.Stop)
}

// start begins a run of the named runbook.
func (b *bench) start(name, input string) client.WorkflowRun {
	b.t.Helper()
	r, err := b.client.ExecuteWorkflow(b.t.Context(), client.StartWorkflowOptions{TaskQueue: b.queue}, name, json.RawMessage(input))
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

const liveInput = `{"estate":"lab","mode":"live","incident":"INC-1","source":"us-east-1","target":"us-west-2"}`

// status asks the run what it is doing.
func (b *bench) status(r client.WorkflowRun) (wire.Status, error) {
	var s wire.Status
	v, err := b.client.QueryWorkflow(b.t.Context(), r.GetID(), "", wire.QueryStatus)
	if err != nil {
		return s, err
	}
	return s, v.Get(&s)
}

// until polls the run's status until it is as wanted.
func (b *bench) until(r client.WorkflowRun, what string, ok func(wire.Status) bool) wire.Status {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 60*time.Second)
	defer cancel()
	var s wire.Status
	err := poll.Until(ctx, 100*time.Millisecond, func(context.Context) (bool, error) {
		var err error
		s, err = b.status(r)
		return err == nil && ok(s), err
	})
	if err != nil {
		raw, _ := json.MarshalIndent(s, "", " ")
		b.t.Fatalf("never came to: %s; %v, status %s", what, err, raw)
	}
	return s
}

// sign makes a person's decision for the open gate, as the command does.
func (b *bench) sign(s wire.Status, verb approval.Verb, who string, r client.WorkflowRun) approval.Decision {
	b.t.Helper()
	g := s.Gate
	d := approval.Decision{Gate: g.ID, Attempt: g.Attempt, Verb: verb, Plan: g.Root, By: who}
	return b.signed(s, d)
}

// signed signs a decision about the open question, by whom it says it is.
func (b *bench) signed(s wire.Status, d approval.Decision) approval.Decision {
	b.t.Helper()
	sig, err := s.Open.StatementOf(d).Sign(signer(b.t, byte(slices.Index(people, d.By))))
	if err != nil {
		b.t.Fatal(err)
	}
	d.Signature = sig
	return d
}

// member is somebody who may answer the open question.
func member(s wire.Status) string { return s.Open.Spec.Role.Members[0].Name }

// decide sends a decision as an update and returns the answer.
func (b *bench) decide(r client.WorkflowRun, d approval.Decision) wire.Answer {
	b.t.Helper()
	h, err := b.client.UpdateWorkflow(b.t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: r.GetID(), UpdateName: wire.UpdateDecide, Args: []any{d}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	var a wire.Answer
	if err := h.Get(b.t.Context(), &a); err != nil {
		b.t.Fatal(err)
	}
	return a
}

// approve lets as many members as the open gate wants approve it.
func (b *bench) approve(r client.WorkflowRun, s wire.Status) {
	b.t.Helper()
	for _, who := range s.Gate.Members[:s.Gate.Quorum] {
		if a := b.decide(r, b.sign(s, approval.Approve, who, r)); !a.Counted {
			b.t.Fatalf("%s could not approve %s: %s", who, s.Gate.ID, a.Outcome)
		}
	}
}

// carry answers whatever the run asks until it ends: gates are approved, manual
// steps done; a step that did not pass is answered by onFailure.
func (b *bench) carry(r client.WorkflowRun, onFailure func(wire.Status) approval.Decision) (wire.Result, error) {
	b.t.Helper()
	last := ""
	for {
		s := b.until(r, "a gate, a question or the end", func(s wire.Status) bool {
			now := fmt.Sprint(s.State)
			if s.Gate != nil {
				now += fmt.Sprint(s.Gate.ID, s.Gate.Attempt)
			}
			if s.Ask != nil {
				now += s.Ask.ID
			}
			return s.State == wire.StateEnded || (s.Gate != nil || s.Ask != nil) && now != last
		})
		last = fmt.Sprint(s.State)
		switch {
		case s.State == wire.StateEnded:
			var res wire.Result
			err := r.Get(b.t.Context(), &res)
			return res, err
		case s.Gate != nil:
			last += fmt.Sprint(s.Gate.ID, s.Gate.Attempt)
			b.approve(r, s)
		case slices.Contains(s.Ask.Choices, "done"):
			last += s.Ask.ID
			if a := b.decide(r, b.signed(s, approval.Decision{Gate: s.Ask.ID, Verb: approval.Done, By: member(s), Owner: "emil", Due: "2099-01-01"})); !a.Counted {
				b.t.Fatalf("done did not count: %s", a.Outcome)
			}
		default:
			last += s.Ask.ID
			if onFailure == nil {
				b.t.Fatalf("the run asks: %+v", s.Ask)
			}
			d := onFailure(s)
			d.By = "" // whoever, where it needs no authority of its own
			if d.Verb == approval.TakeBack {
				d.By = member(s)
				d = b.signed(s, d)
			}
			if d.Verb == "" { // the test stopped it otherwise
				continue
			}
			if a := b.decide(r, d); !a.Counted {
				b.t.Fatalf("%+v did not count: %s", d, a.Outcome)
			}
		}
	}
}

// evidence verifies the run's ledger offline.
func (b *bench) evidence(s wire.Status) ledger.Result {
	b.t.Helper()
	keys, err := b.estate.Ledger.Trusted(time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	res, err := ledger.Verify(b.t.Context(), b.ledger, ledger.Run{Workflow: s.Run.Workflow, FirstRun: s.Run.FirstRun}, keys)
	if err != nil {
		b.t.Fatal(err)
	}
	return res
}
