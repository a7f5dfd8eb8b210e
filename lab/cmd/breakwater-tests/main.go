// Command breakwater-tests runs go test with one set of servers for all packages, so
// that packages can be tested at the same time. Its arguments are those of go test.
//
//	go run ./lab/cmd/breakwater-tests -p 3 ./...
//
// Where the servers are is handed on by a variable; see [server.SetEnv]. Tests that
// kill, freeze or reconfigure a server start one of their own all the same.
//
// It shows a line for each package and the output of tests that fail, and ends with
// the packages that took longest.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"breakwater/lab/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "breakwater-tests:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run starts the servers, tests, and stops them; code is that of go test.
func run(ctx context.Context, args []string, out io.Writer) (code int, err error) {
	began := time.Now()
	set, err := startSet(ctx)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, set.stop()) }()
	fmt.Fprintf(out, "the shared servers run, after %.1f s\n", time.Since(began).Seconds())
	return goTest(ctx, set.folder, args, out)
}

// goTest runs go test.
func goTest(ctx context.Context, set string, args []string, out io.Writer) (code int, err error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Env = append(os.Environ(), server.SetEnv+"="+set)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute // for tests that end their servers
	events, err := cmd.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	shown := show(events, out)
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), shown
	}
	return 0, errors.Join(err, shown)
}
