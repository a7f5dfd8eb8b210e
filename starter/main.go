// Command breakwater is the incident commander's command: it starts runs of
// runbooks, shows what they do and what they wait for, signs approvals of plans
// that it recomputed itself, and reads the evidence.
//
// Everything but evidence and files goes through Temporal, with nothing that a
// person could not also do in Temporal's own UI. Evidence is read from the
// ledger, and needs no Temporal.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(Main()) }

// Main runs the command on this process's arguments and returns its exit code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// run is the command without its process.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{in: stdin, out: stdout, err: stderr}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	a.close()
	return a.finish(ctx, err)
}
