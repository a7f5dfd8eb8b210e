package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"breakwater/internal/wire"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
)

// watchEvery is how often a watched run is asked; the clock on the screen moves
// with it.
const watchEvery = time.Second

func (a *app) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch RUN",
		Short: "Watch a run until it ends",
		Long: `Shows a run as it goes: the stage, the step and how many of its items are done,
when it would finish if nobody had to be waited for, what it waits for, and what
has been proven. On a terminal the picture is drawn anew; elsewhere a line is
added for each change.

Ctrl-C stops watching only. The run goes on. When the run ends, the exit code is
that of its verdict.`,
		Example: `  breakwater watch RegionalFailover-lab-20261121-031205
  breakwater watch RegionalFailover-lab-20261121-031205 --json`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error { return a.watch(c.Context(), parseName(args[0])) },
	}
}

// view shows one state of a run after the other.
type view interface {
	// show shows a status; problem says that it could not be asked this time.
	show(s wire.Status, problem string)
	// end says that nothing more comes.
	end()
}

// watch shows a run until it has ended, and returns an error unless it passed.
func (a *app) watch(ctx context.Context, n name) error {
	if _, err := a.describe(ctx, n); err != nil {
		return interrupted(n, err)
	}
	var v view
	switch {
	case a.json:
		v = &jsonView{a: a}
	case terminal(a.out):
		v = &screen{out: a.out, size: size(a.out)}
	default:
		v = &lines{out: a.out}
	}
	var last wire.Status
	last.Run.Workflow = n.workflow
	for {
		s, err := a.status(ctx, n)
		problem := ""
		switch {
		case ctx.Err() != nil:
			v.end()
			return interrupted(n, ctx.Err())
		case err == nil:
			last = s
		case errors.Is(err, errUsage):
			v.end()
			return err
		default:
			problem = err.Error()
		}
		v.show(last, problem)
		d, err := a.describe(ctx, n)
		if err == nil && !d.Open {
			// The very last state, if a worker is there to tell it.
			if s, err := a.status(ctx, n); err == nil {
				v.show(s, "")
				last = s
			}
			v.end()
			return a.conclude(n, last, d)
		}
		select {
		case <-ctx.Done():
			v.end()
			return interrupted(n, ctx.Err())
		case <-time.After(watchEvery):
		}
	}
}

// interrupted says that only the watching ended.
func interrupted(n name, err error) error {
	if !errors.Is(err, context.Canceled) {
		return err
	}
	return wrong(errInterrupted, cmd("watch", n.workflow), "stopped watching; run %s goes on", n)
}

// conclude says how a run ended.
func (a *app) conclude(n name, s wire.Status, d closing) error {
	err := ended(n.workflow, d.Result.Verdict, d.How, d.Why)
	if a.json {
		a.line("ended", struct {
			Run  string `json:"run"`
			How  string `json:"how,omitempty"`
			Why  string `json:"why,omitempty"`
			Exit int    `json:"exit"`
			wire.Result
		}{n.workflow, d.How, d.Why, exitCode(err), d.Result})
	}
	if err != nil {
		return hint(err, reportHint(n, s))
	}
	a.say("%s: %s", n.workflow, d.Result.Summary)
	for _, o := range d.Result.Obligations {
		owner := o.Owner
		if owner == "" {
			owner = "nobody yet"
		}
		a.say("  left to prove: %s %s (owner: %s)", o.ID, o.What, owner)
	}
	fmt.Fprintf(a.err, "The evidence:\n  %s\n", reportHint(n, s))
	return nil
}

// reportHint is the command that shows the evidence of a run, if it has any.
func reportHint(n name, s wire.Status) string {
	if s.Head == "" {
		return cmd("status", n.workflow)
	}
	return cmd("report", n.workflow)
}

// size tells the width and height of a terminal, each time anew.
func size(w io.Writer) func() (int, int) {
	return func() (int, int) {
		f, ok := w.(interface{ Fd() uintptr })
		if !ok {
			return 80, 24
		}
		width, height, err := term.GetSize(f.Fd())
		if err != nil || width < 20 || height < 5 {
			return 80, 24
		}
		return width, height
	}
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status RUN",
		Short: "Show what a run does now, and what it waits for",
		Long: `Shows a run once: the stages, the open gate or question with the command that
answers it, and what has been proven. The exit code is that of the verdict if
the run has ended, and 0 while it goes on.`,
		Example: `  breakwater status RegionalFailover-lab-20261121-031205
  breakwater status RegionalFailover-lab-20261121-031205 --json | jq .gate`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error { return a.showStatus(c.Context(), parseName(args[0])) },
	}
}

func (a *app) showStatus(ctx context.Context, n name) error {
	d, err := a.describe(ctx, n)
	if err != nil {
		return err
	}
	s, err := a.status(ctx, n)
	if err != nil && d.Open {
		return err
	}
	if err == nil {
		if a.json {
			a.line("status", s)
		} else {
			fmt.Fprintln(a.out, picture(s, "", time.Now(), 80, 1000, plainStyles()))
		}
	}
	if d.Open {
		return nil
	}
	return hint(ended(n.workflow, d.Result.Verdict, d.How, d.Why), reportHint(n, s))
}
