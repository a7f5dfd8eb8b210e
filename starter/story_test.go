package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/poll"
	"breakwater/internal/sshsig"
	"breakwater/internal/wire"
	"breakwater/lab/server/miniotest"
	"breakwater/lab/server/temporaltest"

	"github.com/rogpeppe/go-internal/testscript"
	"go.temporal.io/sdk/client"
	"golang.org/x/crypto/ssh"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"breakwater": main})
}

// signer makes a key that is the same for the same number.
func testKey(t testing.TB, n byte) (ssh.Signer, []byte) {
	t.Helper()
	private := ed25519.NewKeyFromSeed(append(make([]byte, 31), n))
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return s, pem.EncodeToMemory(block)
}

// keyNames are whose keys the stories have, each as a file of that name.
var keyNames = []string{"worker", "ana", "ben", "cleo", "dora", "stranger"}

// writeKeys writes each key pair into a folder and returns the public lines.
func writeKeys(t testing.TB, dir string) map[string]string {
	t.Helper()
	public := map[string]string{}
	for n, who := range keyNames {
		s, text := testKey(t, byte(n+1))
		public[who] = sshsig.Public(s).String()
		write(t, filepath.Join(dir, who), text, 0o600)
		write(t, filepath.Join(dir, who+".pub"), []byte(public[who]+" "+who+"\n"), 0o644)
	}
	return public
}

func write(t testing.TB, path string, text []byte, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, mode)); err != nil {
		t.Fatal(err)
	}
}

// writeEstate writes the stories' estate, with the ledger in a bucket at an endpoint.
func writeEstate(t testing.TB, dir, endpoint, bucket string, public map[string]string) {
	t.Helper()
	text, err := os.ReadFile("testdata/lab.yaml")
	if err != nil {
		t.Fatal(err)
	}
	expanded := os.Expand(string(text), func(name string) string {
		switch name {
		case "endpoint":
			return endpoint
		case "bucket":
			return bucket
		}
		return public[name]
	})
	write(t, filepath.Join(dir, "lab.yaml"), []byte(expanded), 0o644)
	credentials := fmt.Sprintf(`{"access_key":%q,"secret_key":%q}`, miniotest.RootUser, miniotest.RootPassword)
	write(t, filepath.Join(dir, "credentials.json"), []byte(credentials), 0o600)
	_, key := testKey(t, 1)
	write(t, filepath.Join(dir, "worker-key"), key, 0o600)
	write(t, filepath.Join(dir, "token"), []byte("a-token"), 0o600)
}

// exits runs a command and demands its exit code: exits 4 breakwater approve …
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// narrow demands that no line of the last output is wider than 80 columns,
// except for commands to paste.
func narrow(ts *testscript.TestScript, _ bool, args []string) {
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		line = strings.TrimSuffix(line, "\n")
		if n := len([]rune(line)); n > 80 && !strings.HasPrefix(line, "  breakwater ") {
			ts.Fatalf("%d columns: %s", n, line)
		}
	}
}

// edit replaces one text in a file by another: edit FILE OLD NEW
func edit(ts *testscript.TestScript, _ bool, args []string) {
	before := ts.ReadFile(args[0])
	after := strings.ReplaceAll(before, args[1], args[2])
	if after == before {
		ts.Fatalf("%s holds no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(after), 0o600))
}

// TestOffline tells stories that need no server.
func TestOffline(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			public := writeKeys(t, filepath.Join(e.WorkDir, "keys"))
			writeEstate(t, filepath.Join(e.WorkDir, "estates"), "http://127.0.0.1:1", "ledger", public)
			exported(t, filepath.Join(e.WorkDir, "evidence"))
			if strings.HasPrefix(filepath.Base(e.WorkDir), "script-table") {
				unpackTables(t, filepath.Join(e.WorkDir, "lake"))
			}
			// Nothing listens there: who asks Temporal hears nothing.
			e.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
			e.Setenv("TEMPORAL_CONFIG_FILE", filepath.Join(e.WorkDir, "none.toml"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "narrow": narrow},
	})
}

// exported writes the evidence of a small run into a folder, signed by the
// worker's key.
func exported(t testing.TB, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	folder, err := store.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close() //nolint:errcheck // written durably before
	key, _ := testKey(t, 1)
	run := ledger.Run{Workflow: "Switch-lab-1", FirstRun: "0192f0aa-0000-7000-8000-000000000001"}
	chain := ledger.NewChain(run)
	doc, _, err := store.PutDoc(t.Context(), folder, key, nil, ledger.DocKey(run, "fence/1-storage.fence", "lake", 1, ledger.DocPlan), []byte(`{"step":"fence"}`+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	for n, e := range []ledger.Entry{
		{Kind: ledger.RunStarted, Body: json.RawMessage(`{}`)},
		{Kind: ledger.Planned, Stage: "fence", Body: json.RawMessage(`{"attempt":1}`), Docs: []ledger.DocRef{doc}},
		{Kind: ledger.RunEnded, Body: json.RawMessage(`{"how":"planned"}`)},
	} {
		e.Time = time.Date(2026, 11, 21, 3, 12, n, 0, time.UTC)
		data, head, err := chain.Append(e)
		if err == nil {
			err = store.Append(t.Context(), folder, head, data)
		}
		if err != nil {
			t.Fatal(err)
		}
		signed, err := ledger.SignHead(key, head)
		if err == nil {
			err = store.PutHead(t.Context(), folder, signed)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestLive tells stories on a real Temporal server and a real object store for
// the ledger, with a worker on model actions in this process.
func TestLive(t *testing.T) {
	ctx := t.Context()
	server, err := temporaltest.Start(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Kill)
	minio := miniotest.Shared(t)
	bucket := minio.Bucket(t, "ledger", true)
	c, err := server.Client(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	dir := t.TempDir()
	public := writeKeys(t, filepath.Join(dir, "keys"))
	estates := filepath.Join(dir, "estates")
	writeEstate(t, estates, minio.Endpoint, bucket, public)
	m := &model{state: map[string]string{}, broken: map[string]bool{}}
	m.serve(t, c, wire.TaskQueue, estates, "testdata/runbooks")
	books, err := filepath.Abs("testdata/runbooks")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ctx: ctx, client: c, minio: minio.Client(t), ledger: bucket, model: m}
	// One after the other: a live run holds the estate.
	for _, story := range scripts(t, "testdata/live") {
		testscript.RunT(inTurn{t}, testscript.Params{
			Files: []string{story},
			Setup: func(e *testscript.Env) error {
				e.Setenv("TEMPORAL_ADDRESS", server.Address)
				e.Setenv("TEMPORAL_CONFIG_FILE", filepath.Join(e.WorkDir, "none.toml"))
				e.Setenv("BREAKWATER_ESTATES", estates)
				e.Setenv("BREAKWATER_RUNBOOKS", books)
				e.Setenv("KEYS", filepath.Join(dir, "keys"))
				e.Setenv("UI", server.UI)
				return nil
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){
				"exits": exits, "narrow": narrow, "edit": edit, "until": w.until, "tamper": w.tamper, "breaks": w.breaks, "signed-ago": w.signedAgo,
			},
		})
	}
}

// inTurn runs stories one after the other.
type inTurn struct{ *testing.T }

func (t inTurn) Parallel()     {}
func (t inTurn) Verbose() bool { return testing.Verbose() }
func (t inTurn) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(t *testing.T) { f(inTurn{t}) })
}

func scripts(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no story in %s: %v", dir, err)
	}
	return all
}

// world is what stories on servers can do beside calling the command.
type world struct {
	ctx    context.Context
	client client.Client
	minio  *s3.Client
	ledger string // its bucket
	model  *model
}

// until waits for a run to be in a state: until RUN STATE [GATE]
func (w *world) until(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(w.ctx, 60*time.Second)
	defer cancel()
	var s wire.Status
	err := poll.Until(ctx, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		v, err := w.client.QueryWorkflow(ctx, args[0], "", wire.QueryStatus)
		if err == nil {
			err = v.Get(&s)
		}
		return err == nil && string(s.State) == args[1] && (len(args) < 3 || s.Gate != nil && s.Gate.ID == args[2]), err
	})
	if err != nil {
		ts.Fatalf("%s never came to %v: it is %s, %s; %v", args[0], args[1:], s.State, s.Doing, err)
	}
}

// tamper changes what the ledger holds of a run, with a raw client: tamper RUN
// plan|entry|head
func (w *world) tamper(ts *testscript.TestScript, _ bool, args []string) {
	part := map[string]string{"plan": "/0001/plan.json", "entry": "/chain/", "head": "/heads/"}[args[1]]
	last := ""
	for o, err := range w.minio.List(w.ctx, w.ledger, "lab/"+ledger.RunsPrefix+ledger.Escape(args[0])+"/") {
		ts.Check(err)
		if strings.Contains(o.Key, part) && (args[1] != "plan" || strings.Contains(o.Key, "storage.fence")) {
			last = o.Key
		}
	}
	if last == "" {
		ts.Fatalf("nothing to tamper with")
	}
	data, _, err := w.minio.Get(w.ctx, w.ledger, last)
	ts.Check(err)
	changed := strings.Replace(string(data), "lake", "cake", 1)
	if changed == string(data) {
		changed = strings.Replace(changed, "e", "3", 1)
	}
	_, err = w.minio.Put(w.ctx, w.ledger, last, []byte(changed))
	ts.Check(err)
}

// breaks makes an action's proof fail: breaks ACTION; ! breaks ACTION heals it.
func (w *world) breaks(_ *testscript.TestScript, neg bool, args []string) {
	w.model.breaks(args[0], !neg)
}

// signedAgo lets the one person who signed a take-over have done so a while earlier, since
// nobody waits here: signed-ago WHO DURATION
func (w *world) signedAgo(ts *testscript.TestScript, _ bool, args []string) {
	ago, err := time.ParseDuration(args[1])
	ts.Check(err)
	key := "lab/" + ledger.LockKey("lab")
	data, _, err := w.minio.Get(w.ctx, w.ledger, key)
	ts.Check(err)
	var s store.LockState
	ts.Check(json.Unmarshal(data, &s))
	if s.Claim == nil {
		ts.Fatalf("nobody signed anything: %s", data)
	}
	s.Claim.Statement.At = s.Claim.Statement.At.Add(-ago)
	private, err := os.ReadFile(filepath.Join(ts.Getenv("KEYS"), args[0]))
	ts.Check(err)
	signer, err := ssh.ParsePrivateKey(private)
	ts.Check(err)
	sig, err := s.Claim.Statement.Sign(signer)
	ts.Check(err)
	s.Claim.Signatures = []string{sig}
	data, err = ledger.Encode(s)
	ts.Check(err)
	_, err = w.minio.Put(w.ctx, w.ledger, key, data)
	ts.Check(err)
}
