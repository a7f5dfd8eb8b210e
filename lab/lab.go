// Package lab is a two-region lakehouse laboratory of real servers as child
// processes on loopback ports: per region MinIO, OpenBao and Apache Kafka, with
// bucket replication and MirrorMaker 2 from the primary to the standby over a
// line that has latency and a bandwidth ([breakwater/lab/wan]); beside them, in
// a third place, Temporal and the ledger's bucket, which survive either region.
//
// A laboratory is a folder. Its servers outlive the process that started them;
// any later process finds them through lab.json there ([Load]). Kill is SIGKILL
// for every process of a region at once, in the middle of whatever it does.
//
// The folder:
//
//	lab.json       ports, processes and root credentials; the laboratory's own
//	estate/        lab.yaml and credentials: what recovery is given
//	keys/          SSH keys of the people, and of the worker
//	env            variables for a shell: where Temporal and the estate are
//	logs/, data/   of the servers
//	oracle/        the journal of what really happened; recovery never reads it
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"breakwater/internal/permit"
	"breakwater/lab/server"
)

// The places of the laboratory.
const (
	Primary = "us-east-1"
	Standby = "us-west-2"
	Third   = "us-central-1" // the ledger's bucket and Temporal: neither region is needed to read or run
)

// Regions are the two that can be killed.
func Regions() []string { return []string{Primary, Standby} }

// ErrRegion says that a name is not that of a region that can be killed.
var ErrRegion = errors.New("unknown region")

// Lab is one laboratory.
type Lab struct {
	Dir string    // absolute
	Out io.Writer // progress in lines for a person; nil for none
	// Bound ends the servers with the process that starts them, however that ends, as
	// a test wants it.
	Bound bool
	// Runbooks are those that the worker's credentials must suffice for; all that the
	// product ships when empty.
	Runbooks []string

	mu       sync.Mutex
	state    state
	policies []permit.Policy // what the worker's credentials are allowed, and no more
}

// New returns the laboratory of a folder, which need not exist yet.
func New(dir string) (*Lab, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("laboratory in %s: %w", dir, err)
	}
	return &Lab{Dir: abs}, nil
}

// Load returns the laboratory that an earlier Up made in dir; fs.ErrNotExist if
// there is none.
func Load(dir string) (*Lab, error) {
	l, err := New(dir)
	if err != nil {
		return nil, err
	}
	if err := l.state.read(l.path("lab.json")); err != nil {
		return nil, fmt.Errorf("no laboratory in %s: start one with breakwater-lab up: %w", dir, err)
	}
	return l, nil
}

func (l *Lab) path(parts ...string) string {
	return filepath.Join(append([]string{l.Dir}, parts...)...)
}

// EstateFile is the estate that the laboratory wrote.
func (l *Lab) EstateFile() string { return l.path("estate", "lab.yaml") }

// Key is the file of a person's private SSH key; its public half is beside it
// with .pub. The worker's is Key("worker").
func (l *Lab) Key(name string) string { return l.path("keys", name) }

// OracleDir is the folder of the oracle's journal, for [breakwater/lab/oracle.Read].
func (l *Lab) OracleDir() string { return l.path("oracle") }

func (l *Lab) say(format string, args ...any) {
	if l.Out == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.Out, format+"\n", args...)
}

// lock keeps two commands from changing the same laboratory at once. It is given
// back when the process ends, however that happens.
func (l *Lab) lock() (unlock func(), err error) {
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the laboratory's folder: %w", err)
	}
	f, err := os.OpenFile(l.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the laboratory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close() //nolint:errcheck // nothing was written
		return nil, fmt.Errorf("lock the laboratory in %s: another command is starting or stopping it, wait for that: %w", l.Dir, err)
	}
	return func() { f.Close() }, nil //nolint:errcheck // nothing was written
}

// Kill ends every process of a region with SIGKILL, all at the same moment, and
// returns when they are gone; the lines to the other region are cut until both
// run again. At the standby Connect goes with it. Instead of a
// region it takes the name of one server, as [Lab.Status] lists them.
func (l *Lab) Kill(ctx context.Context, what string) error {
	chosen, err := l.choose(what)
	if err != nil {
		return err
	}
	unlock, err := l.begin()
	if err != nil {
		return err
	}
	defer unlock()
	start := time.Now()
	var errs []error
	var found []server.Process
	if slices.Contains(Regions(), what) {
		// A host that dies takes with it what its kernel had still to send; a
		// process that dies does not. So the lines end with the region.
		errs = append(errs, l.cut(ctx, true))
	}
	for _, s := range chosen {
		if p := s.process(); p.Running() {
			found = append(found, p)
		}
	}
	for _, p := range found { // no waiting in between: the region dies at one moment
		errs = append(errs, p.Signal(syscall.SIGKILL))
	}
	for _, p := range found {
		errs = append(errs, p.Gone(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("kill %s: %w", what, err)
	}
	l.say("killed %s: %d processes, gone after %d ms", what, len(found), time.Since(start).Milliseconds())
	return nil
}

// Heal starts again what does not run, on the same ports and data: of a region,
// one server by its name, or everything if what is empty. It does not resume what
// replication lost when the source died: see [Lab.Resync].
func (l *Lab) Heal(ctx context.Context, what string) error {
	places := []string{Primary, Standby, Third}
	if what != "" {
		chosen, err := l.choose(what)
		if err != nil {
			return err
		}
		// The others of the place are started too, if they do not run.
		places = []string{chosen[0].place}
	}
	unlock, err := l.begin()
	if err != nil {
		return err
	}
	defer unlock()
	return l.start(ctx, places)
}

// cut cuts or joins the lines between the regions. Without the process that
// carries them there is nothing to cut.
func (l *Lab) cut(ctx context.Context, cut bool) error {
	if !l.process("wan").Running() {
		return nil
	}
	for _, name := range []string{LineObjects, LineKafka} {
		c, err := l.Line(ctx, name)
		if err == nil && c.Cut != cut {
			c.Cut = cut
			err = l.SetLine(ctx, name, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// choose is the servers of a region, or the one server of that name.
func (l *Lab) choose(what string) ([]part, error) {
	var chosen []part
	for _, s := range l.parts() {
		if s.name == what || s.place == what && what != Third {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		return nil, unknownRegion(what)
	}
	return chosen, nil
}

func unknownRegion(region string) error {
	return fmt.Errorf("%w %q: the laboratory's are %s and %s", ErrRegion, region, Primary, Standby)
}

// begin locks the laboratory and reads its state afresh.
func (l *Lab) begin() (unlock func(), err error) {
	if _, err := os.Stat(l.path("lab.json")); err != nil {
		return nil, fmt.Errorf("no laboratory in %s: start one with breakwater-lab up: %w", l.Dir, err)
	}
	if unlock, err = l.lock(); err != nil {
		return nil, err
	}
	if err := l.state.read(l.path("lab.json")); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// Down stops every process of the laboratory and keeps its data. A laboratory
// that is down already, or was never up, is no error.
func (l *Lab) Down(ctx context.Context) error {
	if _, err := os.Stat(l.path("lab.json")); err != nil {
		return nil // nothing was ever started
	}
	unlock, err := l.begin()
	if err != nil {
		return err
	}
	defer unlock()
	start := time.Now()
	stopped := 0
	// The mirror and the pipelines first: they would spend their last seconds
	// asking for servers that are gone.
	for _, first := range []bool{true, false} {
		var wg sync.WaitGroup
		var errs []error
		for _, s := range l.parts() {
			if s.client != first {
				continue
			}
			p := s.process()
			if !p.Running() {
				continue
			}
			stopped++
			wg.Go(func() {
				if err := p.Stop(ctx); err != nil {
					l.mu.Lock()
					defer l.mu.Unlock()
					errs = append(errs, fmt.Errorf("stop %s: %w", s.name, err))
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	l.say("down: %d processes stopped in %.1f s; data is kept in %s", stopped, time.Since(start).Seconds(), l.Dir)
	return nil
}
