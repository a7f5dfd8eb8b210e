// Command breakwater-demo loses a region and fails over, on real servers.
//
// It starts the laboratory, seeds it, keeps writing, lets the witness journal,
// kills the primary region in the middle of a write, and runs RegionalFailover.
// With a terminal a person approves each gate; without one, each approver is a
// process that recomputes the plan from the ledger before it signs.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"breakwater/internal/verdict"
	"breakwater/lab"
	"breakwater/lab/failover"
)

func main() {
	bin := flag.String("bin", "bin", "folder of the built binaries")
	dir := flag.String("lab", "out/demo-lab", "folder of the laboratory")
	out := flag.String("out", "out/demo", "folder for the report")
	stay := flag.Bool("stay", isTerminal(), "keep everything running at the end until Enter, to look at the run in the UI")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, *bin, *dir, *out, *stay)
	if err != nil {
		fmt.Fprintln(os.Stderr, "breakwater-demo:", err)
		switch {
		case ctx.Err() != nil:
			os.Exit(130)
		default:
			os.Exit(1)
		}
	}
}

func run(ctx context.Context, bin, dir, out string, stay bool) (err error) {
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Printf("%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
	}
	if err := fresh(ctx, dir, out); err != nil {
		return err
	}
	l, err := lab.New(dir)
	if err != nil {
		return err
	}
	l.Out = os.Stdout
	s := &failover.Session{Lab: l, Bin: bin, Out: os.Stdout}
	defer func() {
		// Also after Ctrl-C: nothing stays behind.
		ctx := context.WithoutCancel(ctx)
		s.StopTraffic()
		s.StopWorker(syscall.SIGTERM)
		err = errors.Join(err, l.Down(ctx))
	}()

	say("starting two regions, a third place for the ledger, and Temporal")
	if err := l.Up(ctx); err != nil {
		return err
	}
	if _, err := l.Seed(ctx, 3000, 800); err != nil {
		return err
	}
	if err := s.StartWorker(ctx); err != nil {
		return err
	}
	say("writers, producers and consumers work in %s; the witness journals what they write", lab.Primary)
	if err := s.StartTraffic(); err != nil {
		return err
	}
	if err := s.StartWitness(ctx, 5*time.Second); err != nil {
		return err
	}
	if err := s.Witnessed(ctx, 2); err != nil {
		return err
	}
	say("SIGKILL to every process of %s, in the middle of writes", lab.Primary)
	if err := l.Kill(ctx, lab.Primary); err != nil {
		return err
	}
	outage := time.Now()
	id, err := s.Start(ctx, outage)
	if err != nil {
		return err
	}
	page := fmt.Sprintf("%s/namespaces/default/workflows/%s", l.UI(), id)
	say("run %s", id)
	say("look at it: %s", page)
	_, driveErr := s.Drive(ctx, id, isTerminal(), nil)
	rep, err := s.Report(ctx, id, out)
	if err := errors.Join(driveErr, err); err != nil {
		return err
	}
	fmt.Println()
	if err := rep.Text(os.Stdout, 80); err != nil {
		return err
	}
	fmt.Println()
	if err := s.VerifyEvidence(ctx, id); err != nil {
		return err
	}
	if err := s.HoldAgainstTruth(ctx, rep); err != nil {
		return fmt.Errorf("the report does not agree with what really happened: %w", err)
	}
	say("held against the laboratory's own journal: tables as written, losses inside their intervals, no record skipped")
	say("report: %s, .json and .md; the whole demo took %d s", filepath.Join(out, "report.html"), int(time.Since(began).Seconds()))
	if rep.Verdict != verdict.Pass {
		return fmt.Errorf("the verdict is %s: %s", rep.Verdict, rep.Why)
	}
	if stay {
		say("everything keeps running: look at %s, and press Enter to stop it", page)
		return enter(ctx)
	}
	return nil
}

// enter waits for a line on the terminal, or for Ctrl-C.
func enter(ctx context.Context) error {
	line := make(chan struct{})
	go func() {
		defer close(line)
		bufio.NewReader(os.Stdin).ReadString('\n') //nolint:errcheck // at the end of the input there is nobody to wait for
	}()
	select {
	case <-line:
	case <-ctx.Done():
	}
	return nil
}

// fresh takes away what an earlier demo left.
func fresh(ctx context.Context, dir, out string) error {
	if _, err := os.Stat(filepath.Join(dir, "lab.json")); err == nil {
		l, err := lab.Load(dir)
		if err != nil {
			return err
		}
		if err := l.Down(ctx); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(dir), os.RemoveAll(out))
}

func isTerminal() bool {
	in, err := os.Stdin.Stat()
	if err != nil {
		return false
	}
	o, err := os.Stdout.Stat()
	if err != nil {
		return false
	}
	return in.Mode()&os.ModeCharDevice != 0 && o.Mode()&os.ModeCharDevice != 0
}
