package workflows_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"breakwater/activities/host"
	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/ledger/store"
	"breakwater/internal/query/duckdb"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
	"breakwater/lab/server/temporaltest"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
)

// queried is the action that needs the query engine.
const queried = "access.golden-queries"

// queryProcess is the variable that makes the test's binary a process of
// queries. It holds a [queryConfig].
const queryProcess = "BREAKWATER_TEST_QUERY_PROCESS"

type queryConfig struct {
	Address, Queue, Ledger string
	SQL                    string
	Marks                  string // folder in which each query that was begun leaves a file
}

// TestQueryProcess is no test but the process that TestQueryProcessKilled starts:
// a worker of queries with the real engine.
func TestQueryProcess(t *testing.T) {
	raw := os.Getenv(queryProcess)
	if raw == "" {
		return
	}
	var cfg queryConfig
	if err := json.Unmarshal([]byte(raw), &cfg); err != nil {
		t.Fatal(err)
	}
	c, err := (&temporaltest.Frontend{Address: cfg.Address}).Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	folder, err := store.OpenFolder(cfg.Ledger)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	cat := action.NewCatalogue()
	for _, d := range definitions(t) {
		if d.Name != queried {
			continue
		}
		a := newModel().action(d)
		a.Verify = func(ctx context.Context, c action.Call[map[string]any]) ([]action.Observation, error) {
			if err := os.WriteFile(filepath.Join(cfg.Marks, fmt.Sprint(os.Getpid())), nil, 0o600); err != nil {
				return nil, err
			}
			r, err := duckdb.Engine{}.Query(ctx, nil, cfg.SQL)
			if err != nil {
				return nil, err
			}
			o := action.Observation{What: c.Item.Name, Want: "[1]", Got: r.Lines()[0], Verdict: verdict.Fail}
			if o.Got == o.Want {
				o.Verdict = verdict.Pass
			}
			return []action.Observation{o}, nil
		}
		action.Add(cat, a)
	}
	w := worker.New(c, cfg.Queue, worker.Options{
		Interceptors: []interceptor.WorkerInterceptor{&host.Interceptor{}}, DisableRegistrationAliasing: true,
		DisableWorkflowWorker: true, MaxHeartbeatThrottleInterval: time.Second,
	})
	(&host.Host{Catalogue: cat, Estates: estates{e: testEstate(t), ledger: folder, key: signer(t, 99)}}).RegisterQueries(w)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil { // until the parent kills it, or has ended itself
		t.Fatal(err)
	}
}

// While the process of queries is dead in the middle of one, the run goes on
// answering; the next process answers the query, and the gates after it open.
func TestQueryProcessKilled(t *testing.T) {
	t.Parallel()
	b := newBench(t, shipped(t))
	b.queries.Stop()
	marks := t.TempDir()
	endless := b.queryProcess(t, marks, "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range * b.range = 7")
	r := b.start("RegionalFailover", inputs)
	for begun(t, marks) == 0 { // through the gates before it, until the query works
		s := b.until(r, "the query, or a gate before it", func(s wire.Status) bool { return s.Gate != nil || begun(t, marks) > 0 })
		if s.Gate != nil && begun(t, marks) == 0 {
			b.approve(r, s)
			b.until(r, "past the gate", func(now wire.Status) bool {
				return now.Gate == nil || now.Gate.ID != s.Gate.ID || now.Gate.Attempt != s.Gate.Attempt
			})
		}
	}
	if err := endless.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	endless.Wait() //nolint:errcheck // it was killed
	s, err := b.status(r)
	if err != nil || s.State != wire.StateRunning {
		t.Fatalf("while no query is served the run is %q, %v", s.State, err)
	}
	if a := b.decide(r, approval.Decision{Gate: "none", Verb: approval.Approve, By: "ana"}); a.Counted || a.Outcome == "" {
		t.Errorf("a decision was answered with %+v", a)
	}
	b.queryProcess(t, marks, "SELECT 1")
	res, err := b.carry(r, nil)
	if err != nil || res.Verdict != verdict.Pass {
		t.Errorf("the run ended with %+v, %v", res, err)
	}
	if n := begun(t, marks); n != 2 {
		t.Errorf("%d processes began a query", n)
	}
}

func begun(t *testing.T, marks string) int {
	t.Helper()
	files, err := os.ReadDir(marks)
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// queryProcess starts a process that answers every query of the bench.
func (b *bench) queryProcess(t *testing.T, marks, sql string) *exec.Cmd {
	t.Helper()
	raw, err := json.Marshal(queryConfig{server.Address, wire.QueryQueue(b.queue), b.dir, sql, marks})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestQueryProcess$")
	cmd.Env = append(os.Environ(), queryProcess+"="+string(raw))
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // it is closed when this process ends
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // dead already is dead
		cmd.Wait()         //nolint:errcheck // as above
	})
	return cmd
}
