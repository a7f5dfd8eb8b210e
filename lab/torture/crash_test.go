package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"breakwater/activities"
	"breakwater/internal/mistake"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/internal/system"
	"breakwater/internal/wire"
	"breakwater/lab"
	"breakwater/lab/failover"
	"breakwater/runbooks"
)

// points are where a worker may die in a compiled run: before each effect, after
// it and before the activity returns, and after the return, when what came of it
// is written down. The effect of a check is its look.
func points(c *runbook.Compiled) []string {
	var all []string
	at := func(what string, phase wire.Phase) {
		all = append(all, fmt.Sprintf("%s/%s/before", what, phase), fmt.Sprintf("%s/%s/after", what, phase))
	}
	for _, s := range c.Stages {
		for _, step := range s.Steps {
			switch {
			case step.Kind == runbook.Do:
				at(step.ID, wire.ApplyPhase)
				all = append(all, step.ID+"/outcome/returned", step.ID+"/observed/returned")
			case s.ChecksOnly(): // they look while the stage is planned
				at(step.ID, wire.PlanPhase)
			default:
				at(step.ID, wire.VerifyPhase)
				all = append(all, step.ID+"/observed/returned")
			}
		}
		if s.ChecksOnly() {
			all = append(all, s.ID+"/observed/returned")
		}
	}
	return all
}

// compile compiles a shipped runbook for the laboratory's estate.
func (d *disaster) compile(name, input string) *runbook.Compiled {
	d.t.Helper()
	e, err := d.Estate()
	if err != nil {
		d.t.Fatal(err)
	}
	books, ms := load.FS(runbooks.FS)
	if err := mistake.Error(ms); err != nil {
		d.t.Fatal(err)
	}
	i := slices.IndexFunc(books, func(rb *runbook.Runbook) bool { return rb.Name == name })
	if i < 0 {
		d.t.Fatalf("no runbook %s", name)
	}
	in, err := runbook.ParseInput(books[i], e, fmt.Appendf(nil, input, failover.Estate, lab.Primary, lab.Standby))
	if err != nil {
		d.t.Fatal(err)
	}
	c, err := runbook.Compile(books[i], e, activities.Catalogue(&system.Systems{}), in)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// failoverInput is what the run is started with, as far as its steps depend on it.
const failoverInput = `{"estate":%q,"mode":"live","incident":"LAB-1","source":%q,"target":%q}`

// sampled is how many points the short set dies at.
const sampled = 6

// everywhere asks for a death at every point.
const everywhere = -1

// deaths is what became of the workers of a disaster.
type deaths struct {
	want, others []string // points at which one is to die, and at which one may
	hit          []string // at which one did
	died         int
	temporal     bool // killed and healed
	effects      error
}

// TestWorkerKilledEverywhere carries a live failover through while its worker
// dies by SIGKILL at every point once, each time to be followed by a new one, and
// Temporal once in the middle. Everything must be as if nobody had died: proven,
// with one effect of each mutation by the servers' own counts. The short set dies
// at a sample, in the one laboratory that it has; BREAKWATER_SEED repeats it.
func TestWorkerKilledEverywhere(t *testing.T) {
	var o outcome
	if long() {
		o = carry(t, "crash", number(t, "BREAKWATER_SEED", 1), everywhere)
		o.judged(t)
	} else {
		o = shortSet(t)
	}
	if o.err != nil {
		t.Errorf("seed %d: the run was not carried through, or not as it says", o.seed)
	}
	for _, p := range o.want {
		if !slices.Contains(o.hit, p) {
			t.Errorf("seed %d: nobody died at %s: it was never met", o.seed, p)
		}
	}
	for _, p := range o.hit {
		if !slices.Contains(o.want, p) && !slices.Contains(o.others, p) {
			t.Errorf("seed %d: a worker died at %s, which does not derive from the compiled run", o.seed, p)
		}
	}
	if o.died != len(o.hit) {
		t.Errorf("seed %d: %d workers died, and %d of them where they were to", o.seed, o.died, len(o.hit))
	}
	if !o.temporal {
		t.Errorf("seed %d: Temporal was never killed", o.seed)
	}
	if o.effects != nil {
		t.Errorf("seed %d: %v", o.seed, o.effects)
	}
	t.Logf("seed %d: a worker died at %d of %d points, and Temporal once", o.seed, len(o.hit), len(o.want))
	if testing.Verbose() {
		t.Logf("died at:\n  %s", strings.Join(o.hit, "\n  "))
	}
}

// die chooses the points, and replaces the worker by one that dies there.
func (d *disaster) die(ctx context.Context, cancel func(), seed uint64, many int) (*keeper, deaths) {
	d.t.Helper()
	ds := deaths{
		want: points(d.compile("RegionalFailover", failoverInput)),
		// The witness's Schedule goes on, and its runs share the worker.
		others: points(d.compile("Witness", `{"estate":%q,"source":%q,"target":%q}`)),
	}
	asked := "*"
	if many != everywhere {
		r := rand.New(rand.NewPCG(seed, 0xdead))
		r.Shuffle(len(ds.want), func(i, j int) { ds.want[i], ds.want[j] = ds.want[j], ds.want[i] })
		ds.want = ds.want[:many]
		asked = strings.Join(ds.want, ",")
	}
	d.StopWorker(syscall.SIGTERM)
	return d.keep(ctx, cancel, asked, len(ds.want)/2), ds
}

// keeper starts a worker again whenever it died.
type keeper struct {
	d        *disaster
	marks    string
	deaths   atomic.Int32
	temporal atomic.Bool // killed and healed
	worker   atomic.Pointer[os.Process]
	stopping atomic.Bool
	done     chan struct{}
}

// keep starts the worker that dies where it is asked to, and keeps one running
// until stop. After so many deaths it kills Temporal, too. What it cannot cure
// cancels the run.
func (d *disaster) keep(ctx context.Context, cancel func(), asked string, temporalAfter int) *keeper {
	d.t.Helper()
	k := &keeper{d: d, marks: filepath.Join(d.dir, "deaths"), done: make(chan struct{})}
	if err := os.MkdirAll(k.marks, 0o755); err != nil {
		d.t.Fatal(err)
	}
	d.WorkerBinary = filepath.Join(d.Bin, "worker-that-dies")
	d.WorkerEnv = []string{"BREAKWATER_CRASH_AT=" + asked, "BREAKWATER_CRASH_DIR=" + k.marks,
		"BREAKWATER_SERVE=workflows,activities,queries"} // one process, whose deaths are counted
	d.Patience = 2 * time.Minute
	if err := d.start(ctx, k); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(k.stop)
	go func() {
		defer close(k.done)
		for {
			d.WaitWorker()
			if k.stopping.Load() || ctx.Err() != nil {
				return
			}
			n := int(k.deaths.Add(1))
			err := d.start(ctx, k)
			if err == nil && n >= temporalAfter && !k.temporal.Load() {
				if err = errors.Join(d.Lab.Kill(ctx, "temporal"), d.Lab.Heal(ctx, "temporal")); err == nil {
					k.temporal.Store(true)
				}
			}
			if err != nil {
				d.t.Errorf("after %d deaths: %v", n, err)
				cancel()
				return
			}
		}
	}()
	return k
}

func (d *disaster) start(ctx context.Context, k *keeper) error {
	if err := d.StartWorker(ctx); err != nil {
		return err
	}
	k.worker.Store(d.Worker())
	if k.stopping.Load() {
		return d.Worker().Signal(syscall.SIGTERM)
	}
	return nil
}

// stop ends the worker, and returns when nobody starts another one.
func (k *keeper) stop() {
	k.stopping.Store(true)
	if w := k.worker.Load(); w != nil {
		w.Signal(syscall.SIGTERM) //nolint:errcheck // dead already is dead
	}
	<-k.done
}

// hits are the points at which workers died.
func (k *keeper) hits(t *testing.T) []string {
	t.Helper()
	files, err := os.ReadDir(k.marks)
	if err != nil {
		t.Fatal(err)
	}
	var hit []string
	for _, f := range files {
		p, err := url.PathUnescape(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		hit = append(hit, p)
	}
	return hit
}
