// Command breakwater-worker serves runbooks: it runs the interpreter under each
// runbook's name and the actions that its steps are made of, for the Temporal
// server that it is configured for.
//
// It starts whole or not at all: everything that is missing or wrong is said at
// once, a sentence each, and nothing is served.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"breakwater/internal/config"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errUsage marks what the person typed wrong.
var errUsage = errors.New("see breakwater-worker --help")

// run is the process without its exit.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := command(args, stdout, stderr)
	c.SetArgs(args)
	err := c.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage), errors.Is(err, config.ErrBad):
		fmt.Fprintln(stderr, "breakwater-worker:", err)
		return exitUsage
	default:
		fmt.Fprintln(stderr, "breakwater-worker:", err)
		return exitFailed
	}
}

const long = `Serves runbooks: runs them for the Temporal server that TEMPORAL_ADDRESS or the
temporal CLI's profile names, on the estates in a folder.

It starts whole or not at all. At start it lints every runbook, registers the
search attributes by which runs are found, and says everything that is missing
at once. SIGTERM lets what runs finish for 30 seconds; a run itself is safe at
any moment, also through SIGKILL, and goes on when a worker is back.

Golden queries are answered by DuckDB, which is native code: it could crash its
process, or use it up. So it has one of its own, a child that is started again
when it dies. In production let it be a process of its own altogether, with its
own limits: --serve workflows,activities here and --serve queries there. Steps
that need queries wait while nobody serves them; gates do not.

Every setting can also be given as BREAKWATER_<SETTING> or in a file:
--task-queue is BREAKWATER_TASK_QUEUE, and task-queue: in the file.`

func command(args []string, stdout, stderr io.Writer) *cobra.Command {
	var wait time.Duration
	var parent bool
	c := &cobra.Command{
		Use:   "breakwater-worker --estates DIR",
		Short: "Serve runbooks for a Temporal server",
		Long:  long,
		Example: `  breakwater-worker --estates /etc/breakwater/estates
  breakwater-worker --estates ./estates --runbooks ./runbooks --log json
  TEMPORAL_ADDRESS=temporal.example.org:7233 breakwater-worker --estates ./estates`,
		SilenceUsage: true, SilenceErrors: true, Version: config.Version(),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("it takes no argument, found %q; %w", args[0], errUsage)
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(c.Flags())
			if err != nil {
				return err
			}
			logger, err := cfg.Logger(stderr)
			if err != nil {
				return err
			}
			ctx, stop := context.WithCancel(c.Context())
			defer stop()
			if parent {
				go untilEOF(c.InOrStdin(), stop)
			}
			var children sync.WaitGroup
			defer children.Wait()
			defer stop()
			ready := func() {}
			if cfg.Serve == "all" {
				cfg.Serve = "workflows,activities"
				ready = func() {
					children.Go(func() {
						keepChild(ctx, logger, append(slices.Clone(args), "--serve", "queries", "--"+parentFlag), stderr)
					})
				}
			}
			return serve(ctx, cfg, logger, wait, ready)
		},
	}
	c.SetOut(stdout)
	c.SetErr(stderr)
	c.SetVersionTemplate("breakwater-worker {{.Version}}\n")
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w; %w", err, errUsage) })
	config.Flags(c.Flags())
	config.LogFlags(c.Flags())
	config.ServeFlag(c.Flags())
	c.Flags().BoolVar(&parent, parentFlag, false, "stop when standard input ends")
	c.Flags().MarkHidden(parentFlag) //nolint:errcheck // the flag is there
	c.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long to wait for Temporal at start")
	return c
}
