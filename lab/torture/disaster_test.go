package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"breakwater/internal/poll"
	"breakwater/internal/report"
	"breakwater/internal/verdict"
	"breakwater/lab"
	"breakwater/lab/failover"
	"breakwater/lab/wan"
)

// long reports whether the long set was asked for.
func long() bool { return os.Getenv("BREAKWATER_TORTURE") != "" }

// root is the module's folder, and where the folders of disasters lie.
const root = "../.."

// product builds the product once, from the sources as they are.
var product = sync.OnceValues(func() (string, error) {
	dir, err := filepath.Abs(filepath.Join(root, "out", "torture", "bin"))
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, b := range []struct{ name, tags, from string }{
		{"breakwater", "", "./starter"},
		{"breakwater-worker", "", "./worker"},
		{"breakwater-lab", "", "./lab/cmd/breakwater-lab"},
		{"worker-that-dies", "crashpoints", "./worker"},
	} {
		cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-s -w", "-tags", b.tags, "-o", filepath.Join(dir, b.name), b.from) //nolint:noctx // it ends
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", b.name, err, out)
		}
	}
	return dir, nil
})

// python lets delta-rs judge also where make did not say where it is.
func python(t *testing.T) {
	t.Helper()
	if os.Getenv("BREAKWATER_PYTHON") != "" {
		return
	}
	path, err := filepath.Abs(filepath.Join(root, ".cache", "python", "bin", "python"))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("delta-rs is part of this test; run make tools: %v", err)
	}
	if err := os.Setenv("BREAKWATER_PYTHON", path); err != nil { //nolint:usetesting // for every test of the package, whichever comes first
		t.Fatal(err)
	}
}

// disaster is a laboratory whose primary dies at a random moment, or is parted from
// everybody else.
type disaster struct {
	*failover.Session
	t   *testing.T
	dir string

	wait    time.Duration // from the first witness to the kill
	objects wan.Condition
	kafka   wan.Condition

	odd   map[string]lab.Odd // by topic
	ahead time.Duration      // of the kill, that what is odd happens
	anew  bool               // a topic was created anew before
	holes bool               // a compacted topic has holes

	dead   bool   // as people vouch, so that what was lost has a bound
	parted bool   // and does not die
	lines  *lines // the product's to the primary, until they are cut; nil where it needs none
	after  int    // commits in the primary after it was parted, above what came back

	killed time.Time       // or parted
	lost   []lab.TableLoss // at the standby when nothing more could arrive
	run    string
	rep    report.Report

	watched *watched // who may see what processes show of themselves
}

// notes is what a disaster says, for when it fails.
type notes struct {
	mu sync.Mutex
	bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.Buffer.Write(p)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.Buffer.String()
}

// newDisaster starts a laboratory with everything at work in it. Its folder stays
// if the test fails, and what went on is shown then.
func newDisaster(t *testing.T, name string, seed uint64) *disaster {
	t.Helper()
	python(t)
	bin, err := product()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs(filepath.Join(root, "out", "torture", fmt.Sprintf("%s-%d", name, seed)))
	if err != nil {
		t.Fatal(err)
	}
	wipe(t, dir)
	l, err := lab.New(filepath.Join(dir, "lab"))
	if err != nil {
		t.Fatal(err)
	}
	said := &notes{}
	l.Out = said
	l.Bound = true
	l.Runbooks = []string{"RegionalFailover", "Witness"} // whoever runs no other is allowed nothing else
	d := &disaster{Session: &failover.Session{Lab: l, Bin: bin, Out: said}, t: t, dir: dir}
	t.Cleanup(func() {
		d.StopTraffic()
		d.StopWorker(syscall.SIGTERM)
		if err := l.Down(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if !t.Failed() {
			wipe(t, dir)
			return
		}
		set := map[string]string{"seed": "SEEDS=1 ", "crash": "BREAKWATER_TORTURE=1 "}[name]
		t.Logf("%s\nthe folder stays: %s\nagain: BREAKWATER_SEED=%d %sgo test ./lab/torture -run '^%s$' -count=1 -v",
			said, dir, seed, set, strings.Split(t.Name(), "/")[0])
	})
	d.choose(seed)
	for topic, o := range d.odd {
		if name != "seed" && timeless(o) { // one run must be enough, since its effects are counted
			o.Appended = []string{lab.Primary}
			d.odd[topic] = o
		}
	}
	return d
}

// wipe removes a laboratory, which must not run.
func wipe(t *testing.T, dir string) {
	t.Helper()
	if l, err := lab.Load(filepath.Join(dir, "lab")); err == nil {
		if err := l.Down(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

// choose picks the moment and the lines.
func (d *disaster) choose(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0x0b5e55ed))
	d.parted = seed%onePartedIn == 0
	d.dead = !d.parted && seed%3 != 0
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(r.Int64N(int64(most-least)))
	}
	d.odd = oddities(seed)
	d.wait = between(time.Second, 8*time.Second)
	d.objects = wan.Condition{Latency: between(20*time.Millisecond, 250*time.Millisecond), Out: 768<<10 + r.Int64N(1280<<10)}
	d.kafka = wan.Condition{Latency: between(5*time.Millisecond, 100*time.Millisecond), Out: 256<<10 + r.Int64N(2<<20), Back: 256<<10 + r.Int64N(2<<20)}
	d.ahead = min(d.wait, between(300*time.Millisecond, 8*time.Second))
}

// strike lets everybody work, and kills the primary, or parts it from everybody else.
func (d *disaster) strike(ctx context.Context) error {
	if err := d.Lab.Up(ctx); err != nil {
		return err
	}
	if err := d.watch(ctx); err != nil {
		return err
	}
	if _, err := d.Lab.Seed(ctx, 1000, 400); err != nil {
		return err
	}
	if err := errors.Join(d.Lab.SetLine(ctx, lab.LineObjects, d.objects), d.Lab.SetLine(ctx, lab.LineKafka, d.kafka)); err != nil {
		return err
	}
	if d.parted {
		if err := d.throughLines(); err != nil {
			return err
		}
	}
	if err := d.Lab.MakeOdd(ctx, d.odd); err != nil {
		return err
	}
	if err := d.StartWorker(ctx); err != nil {
		return err
	}
	if err := d.StartTraffic(); err != nil {
		return err
	}
	if err := d.StartWitness(ctx, 5*time.Second); err != nil {
		return err
	}
	if err := d.Witnessed(ctx, 1); err != nil {
		return err
	}
	if err := poll.Wait(ctx, d.wait-d.ahead); err != nil { // it happens at any moment
		return err
	}
	if err := d.HappenNow(); err != nil {
		return err
	}
	if err := poll.Wait(ctx, d.ahead); err != nil {
		return err
	}
	end := func() error { return d.Lab.Kill(ctx, lab.Primary) }
	if d.parted {
		end = func() error { return d.part(ctx) }
	}
	if err := end(); err != nil {
		return err
	}
	if d.killed = time.Now(); d.dead {
		d.DeadSince = d.killed
	}
	var err error
	d.lost, err = d.Lab.Loss(ctx)
	return err
}

// judge reads the report of the run, and holds everything against what happened.
func (d *disaster) judge(ctx context.Context) error {
	rep, err := d.Report(ctx, d.run, filepath.Join(d.dir, "report"))
	if err != nil {
		return err
	}
	d.rep = rep
	if rep.Verdict != verdict.Pass {
		err = fmt.Errorf("the verdict is %s: %s", rep.Verdict, rep.Why)
	}
	if d.parted { // it wrote until now: only what has ended can be counted
		d.StopTraffic()
		err = errors.Join(err, d.livedOn())
	}
	for topic, o := range d.odd {
		anew, holes, looked := d.Happened(ctx, topic)
		err = errors.Join(err, looked)
		d.anew = d.anew || anew > 0
		d.holes = d.holes || o.Compacted && holes > 0
	}
	return errors.Join(err, d.VerifyEvidence(ctx, d.run), d.HoldAgainstTruth(ctx, rep))
}

// rows are those that the primary acknowledged and the standby had not whole,
// and dangling the versions whose log entry came without its data.
func (d *disaster) rows() (rows int64, dangling int) {
	for _, l := range d.lost {
		rows += l.Rows
		dangling += len(l.Dangling)
	}
	return rows, dangling
}

// claims are the losses of tables and of topics that the report claims.
func (d *disaster) claims() string {
	var out []string
	for _, r := range d.rep.Recovery {
		most := "?"
		if r.Count.AtMost != nil {
			most = fmt.Sprint(*r.Count.AtMost)
		}
		out = append(out, fmt.Sprintf("%s %s %d..%s", r.Kind, r.Dataset, r.Count.AtLeast, most))
	}
	return strings.Join(out, ", ")
}
