// Package failover drives a laboratory through a disaster the way people would:
// with the product's own binaries as separate processes. The demo, the torture
// and the end-to-end tests are made of it.
//
// It plays the platform team (worker, the witness's Schedule, traffic), the
// disaster (SIGKILL of a region), and the approvers, each of whom runs
// `breakwater approve`, which recomputes the plan's root from the ledger before
// it signs. It never gives the product anything but the estate file and the keys.
package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"breakwater/internal/report"
	"breakwater/internal/wire"
	"breakwater/lab"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
)

// Session is a laboratory with the product running in it.
type Session struct {
	Lab *lab.Lab
	Bin string    // folder of breakwater, breakwater-worker and breakwater-lab
	Out io.Writer // what is going on, for people

	// WorkerEnv is added to the environment of workers started by this session.
	WorkerEnv []string
	// WorkerBinary is started instead of Bin/breakwater-worker, where given.
	WorkerBinary string
	// Patience is how long a person whose decision gets no answer, because no
	// worker or no Temporal runs, goes on trying. Zero: not at all.
	Patience time.Duration
	// DeadSince is since when people vouch that the source is dead; zero where nobody does.
	DeadSince time.Time
	// LeaveOut are tables and topics without which their groups come back.
	LeaveOut string
	// Stop says at which status [Session.Drive] leaves a run alone; nil for none.
	Stop func(wire.Status) bool

	worker, traffic *exec.Cmd

	mu      sync.Mutex
	printed []printed
}

// printed is what one of the product's commands has printed.
type printed struct{ args, text string }

// WitnessSchedule is the Schedule that runs the witness.
const WitnessSchedule = "breakwater-witness"

// Estate is the name of the laboratory's estate.
const Estate = "lab"

func (s *Session) say(format string, args ...any) {
	fmt.Fprintf(s.Out, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// env is how every process of the product finds Temporal and the estates.
func (s *Session) env() []string {
	return append(os.Environ(),
		"TEMPORAL_ADDRESS="+s.Lab.TemporalAddress(),
		"BREAKWATER_ESTATES="+filepath.Dir(s.Lab.EstateFile()),
		"BREAKWATER_UI="+s.Lab.UI(),
	)
}

// Client connects to the laboratory's Temporal.
func (s *Session) Client(ctx context.Context) (client.Client, error) {
	return client.DialContext(ctx, client.Options{HostPort: s.Lab.TemporalAddress(), Logger: sdklog.NewStructuredLogger(nowhere())})
}

// StartWorker starts a worker whose log goes to the laboratory's logs.
func (s *Session) StartWorker(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(s.Lab.Dir, "logs", "worker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the child has its own handle

	bin := s.WorkerBinary
	if bin == "" {
		bin = filepath.Join(s.Bin, "breakwater-worker")
	}
	cmd := exec.Command(bin) //nolint:noctx // outlives ctx: it is stopped by StopWorker
	cmd.Env = append(s.env(), s.WorkerEnv...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	s.worker = cmd
	return s.workerPolls(ctx)
}

// workerPolls waits until a worker polls the product's task queue.
func (s *Session) workerPolls(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, err := s.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		d, err := c.DescribeTaskQueue(ctx, wire.TaskQueue, enums.TASK_QUEUE_TYPE_WORKFLOW)
		if err == nil && len(d.GetPollers()) > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no worker polls after 30 s; see %s: %w", filepath.Join(s.Lab.Dir, "logs", "worker.log"), errors.Join(err, ctx.Err()))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Worker is the running worker's process, or nil.
func (s *Session) Worker() *os.Process {
	if s.worker == nil {
		return nil
	}
	return s.worker.Process
}

// WaitWorker waits until the worker is dead.
func (s *Session) WaitWorker() {
	if s.worker != nil {
		s.worker.Wait() //nolint:errcheck // how it ended is in its log
		s.worker = nil
	}
}

// StopWorker stops the worker with the signal and waits until it is gone.
func (s *Session) StopWorker(sig syscall.Signal) {
	stop(s.worker, sig)
	s.worker = nil
}

func stop(cmd *exec.Cmd, sig syscall.Signal) {
	if cmd == nil || cmd.Process == nil {
		return
	}
	cmd.Process.Signal(sig) //nolint:errcheck // dead already is dead
	done := make(chan struct{})
	go func() {
		defer close(done)
		cmd.Wait() //nolint:errcheck // how it ended does not matter here
	}()
	select {
	case <-done:
	case <-time.After(35 * time.Second):
		cmd.Process.Kill() //nolint:errcheck // the last resort
		<-done
	}
}

// StartWitness makes the Schedule that runs the witness, or lets it go on.
func (s *Session) StartWitness(ctx context.Context, every time.Duration) error {
	c, err := s.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	h, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:   WitnessSchedule,
		Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: every}}},
		Action: &client.ScheduleWorkflowAction{
			ID: "Witness-" + Estate, Workflow: "Witness", TaskQueue: wire.TaskQueue,
			Args: []any{map[string]string{"estate": Estate, "source": lab.Primary, "target": lab.Standby}},
		},
		Overlap: enums.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: 10 * time.Second, PauseOnFailure: true,
	})
	if err != nil {
		return fmt.Errorf("schedule the witness: %w", err)
	}
	return h.Trigger(ctx, client.ScheduleTriggerOptions{})
}

// Witnessed waits until n runs of the witness ended well.
func (s *Session) Witnessed(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	c, err := s.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		good := 0
		d, err := c.ScheduleClient().GetHandle(ctx, WitnessSchedule).Describe(ctx)
		if err == nil {
			for _, a := range d.Info.RecentActions {
				if c.GetWorkflow(ctx, a.StartWorkflowResult.WorkflowID, a.StartWorkflowResult.FirstExecutionRunID).Get(ctx, nil) == nil {
					good++
				}
			}
		}
		if good >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the witness ended well %d times in 90 s, want %d: %w", good, n, errors.Join(err, ctx.Err()))
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// StartTraffic lets writers, producers and consumers work in the primary until
// it dies.
func (s *Session) StartTraffic() error {
	log, err := os.OpenFile(filepath.Join(s.Lab.Dir, "logs", "traffic.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the child has its own handle

	cmd := exec.Command(filepath.Join(s.Bin, "breakwater-lab"), "traffic", "--dir", s.Lab.Dir) //nolint:noctx // it works until StopTraffic
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the traffic: %w", err)
	}
	s.traffic = cmd
	return nil
}

// HappenNow lets happen what is odd about the topics.
func (s *Session) HappenNow() error { return s.traffic.Process.Signal(syscall.SIGUSR1) }

// StopTraffic ends the traffic, if it has not ended with its region.
func (s *Session) StopTraffic() {
	stop(s.traffic, syscall.SIGTERM)
	s.traffic = nil
}

// Start starts a live run and returns its workflow id.
func (s *Session) Start(ctx context.Context, outage time.Time, extra ...string) (string, error) {
	in := map[string]string{
		"estate": Estate, "mode": "live", "incident": "LAB-1", "source": lab.Primary, "target": lab.Standby,
		"outage_start": outage.UTC().Format(time.RFC3339), "detected_at": time.Now().UTC().Format(time.RFC3339),
	}
	if !s.DeadSince.IsZero() {
		in["source_dead_since"] = s.DeadSince.UTC().Format(time.RFC3339Nano)
	}
	if s.LeaveOut != "" {
		in["leave_out"] = s.LeaveOut
	}
	input, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	id := fmt.Sprintf("RegionalFailover-%s-%s", Estate, time.Now().UTC().Format("20060102-150405"))
	args := append([]string{"start", "RegionalFailover", "--input", string(input), "--id", id}, extra...)
	out, err := s.breakwater(ctx, args...)
	if err != nil {
		return "", fmt.Errorf("start the run: %w\n%s", err, out)
	}
	return id, nil
}

// breakwater runs the product's command and gives back what it printed.
func (s *Session) breakwater(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.Bin, "breakwater"), args...)
	cmd.Env = s.env()
	out, err := cmd.CombinedOutput()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.printed = append(s.printed, printed{strings.Join(args, " "), string(out)})
	return string(out), err
}

// Status asks the run what it is doing.
func Status(ctx context.Context, c client.Client, run string) (wire.Status, error) {
	var st wire.Status
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	v, err := c.QueryWorkflow(ctx, run, "", wire.QueryStatus)
	if err != nil {
		return st, err
	}
	return st, v.Get(&st)
}

// Approve lets one member approve the run's open gate, in a process of its own
// that recomputes the plan's root from the ledger first. With a terminal it
// shows the plan there and asks.
func (s *Session) Approve(ctx context.Context, run, member string, terminal bool) error {
	args := []string{"approve", run, "--as", member, "--key", s.Lab.Key(member)}
	if !terminal {
		out, err := s.breakwater(ctx, append(args, "--yes", "--reason", "the plan was recomputed from the ledger")...)
		if err != nil {
			return fmt.Errorf("%s approves: %w\n%s", member, err, out)
		}
		return nil
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.Bin, "breakwater"), args...)
	cmd.Env = s.env()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// TakeBack has a member of the role that the run asks take it back, instead of approving the
// plan of the open gate. The error holds why it did not count.
func (s *Session) TakeBack(ctx context.Context, run string, st wire.Status) error {
	member := st.Open.Spec.Role.Members[0].Name
	s.say("%s takes the run back", member)
	out, err := s.breakwater(ctx, "decide", run, "undo", "--key", s.Lab.Key(member), "--reason", "the region is back")
	if err != nil {
		return fmt.Errorf("%s takes it back: %w\n%s", member, err, out)
	}
	return nil
}

// Abort stops a run where it is.
func (s *Session) Abort(ctx context.Context, run string) error {
	out, err := s.breakwater(ctx, "abort", run, "--reason", "the region is back")
	if err != nil {
		return fmt.Errorf("abort: %w\n%s", err, out)
	}
	return nil
}

// ErrStopped means that the run ended without a pass.
var ErrStopped = errors.New("the run did not pass")

// Drive approves every gate and answers the manual step until the run ends. What
// a step that did not pass is answered with is onAsk's to say; without onAsk the
// run is aborted there.
func (s *Session) Drive(ctx context.Context, run string, terminal bool, onAsk func(wire.Status) string) (wire.Status, error) {
	c, err := s.Client(ctx)
	if err != nil {
		return wire.Status{}, err
	}
	defer c.Close()
	seen, asked := "", ""
	var trouble time.Time // since when decisions get no answer
	bear := func(err error) error {
		switch {
		case err == nil:
			trouble = time.Time{}
		case trouble.IsZero() && s.Patience > 0:
			trouble = time.Now()
		case time.Since(trouble) > s.Patience:
			return err
		}
		return nil
	}
	for {
		st, err := Status(ctx, c, run)
		switch {
		case ctx.Err() != nil:
			return st, ctx.Err()
		case err != nil: // no worker, or no Temporal, for the moment
		case st.State == wire.StateEnded:
			if c.GetWorkflow(ctx, run, "").Get(ctx, nil) != nil {
				return st, fmt.Errorf("%w: %s", ErrStopped, st.Doing)
			}
			return st, nil
		case s.Stop != nil && s.Stop(st):
			return st, nil
		case st.Gate != nil && len(st.Gate.Approved) < st.Gate.Quorum:
			member := st.Gate.Members[len(st.Gate.Approved)]
			s.say("gate %q, attempt %d: %s looks at plan %.12s", st.Gate.Stage, st.Gate.Attempt, member, st.Gate.Root)
			if err := bear(s.Approve(ctx, run, member, terminal)); err != nil {
				return st, err
			}
		case st.Ask != nil && st.Ask.ID != asked:
			err := s.answer(ctx, run, st, onAsk)
			if err == nil {
				asked = st.Ask.ID
			}
			if err := bear(err); err != nil {
				return st, err
			}
		}
		if line := Line(st); line != "" && line != seen {
			seen = line
			s.say("%s", line)
		}
		select {
		case <-ctx.Done():
			return st, ctx.Err()
		case <-time.After(150 * time.Millisecond):
		}
	}
}

func (s *Session) answer(ctx context.Context, run string, st wire.Status, onAsk func(wire.Status) string) error {
	for _, f := range st.Ask.Findings {
		s.say("  %s", f)
	}
	choice := "abort"
	args := []string{}
	switch {
	case strings.Contains(strings.Join(st.Ask.Choices, " "), "done"):
		choice = "done"
		args = []string{"--by", "erin", "--key", s.Lab.Key("erin"), "--owner", "erin", "--due", time.Now().AddDate(0, 0, 7).Format(time.DateOnly)}
	case onAsk != nil:
		choice = onAsk(st)
	}
	s.say("the run asks: %s — %s", st.Ask.Question, choice)
	if choice == "" {
		return nil // left open
	}
	out, err := s.breakwater(ctx, append([]string{"decide", run, choice}, args...)...)
	if err != nil {
		return fmt.Errorf("decide %s: %w\n%s", choice, err, out)
	}
	return nil
}

// Line is a run's progress on one line.
func Line(st wire.Status) string {
	if st.Current >= len(st.Stages) || st.State == wire.StateStarting {
		return ""
	}
	stage := st.Stages[st.Current]
	for _, step := range stage.Steps {
		if step.State == "running" {
			return fmt.Sprintf("[%d/%d] %s: %s, %d of %d proven", st.Current+1, len(st.Stages), stage.Title, step.Title, step.Verified, step.Items)
		}
	}
	return fmt.Sprintf("[%d/%d] %s: %s", st.Current+1, len(st.Stages), stage.Title, st.Doing)
}

// Report writes the run's report into a folder, and reads it back.
func (s *Session) Report(ctx context.Context, run, dir string) (report.Report, error) {
	var rep report.Report
	out, cmdErr := s.breakwater(ctx, "report", run, "--out", dir)
	raw, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		return rep, fmt.Errorf("make the report: %w\n%s", errors.Join(cmdErr, err), out)
	}
	if err := json.Unmarshal(raw, &rep); err != nil {
		return rep, fmt.Errorf("read the report: %w", err)
	}
	return rep, nil
}

// VerifyEvidence lets the product verify the run's ledger.
func (s *Session) VerifyEvidence(ctx context.Context, run string) error {
	if out, err := s.breakwater(ctx, "verify-evidence", run); err != nil {
		return fmt.Errorf("verify the evidence: %w\n%s", err, out)
	}
	return nil
}
