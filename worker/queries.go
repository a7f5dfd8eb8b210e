package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// parentFlag makes a worker end with the process that started it, by whichever
// end: the pipe that is its standard input is closed then.
const parentFlag = "until-stdin-ends"

// untilEOF stops when there is no more input.
func untilEOF(in io.Reader, stop func()) {
	io.Copy(io.Discard, in) //nolint:errcheck // broken or at its end, the parent is gone
	stop()
}

// keepChild runs a worker of queries as a child process, and a new one whenever
// that dies, until ctx ends.
func keepChild(ctx context.Context, logger *slog.Logger, args []string, stderr io.Writer) {
	const least, most = time.Second, 30 * time.Second
	pause := least
	for {
		began := time.Now()
		err := child(ctx, logger, args, stderr)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > most {
			pause = least
		}
		logger.Warn("the process of queries ended; steps that need it wait for the next", "error", err, "next_in", pause.String())
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, most)
	}
}

// child runs one until it ends. When ctx ends it is asked to stop.
func child(ctx context.Context, logger *slog.Logger, args []string, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout + 5*time.Second
	cmd.Stderr = stderr
	in, err := cmd.StdinPipe() // held open for as long as we live
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	logger.Info("queries have a process of their own", "pid", cmd.Process.Pid)
	return errors.Join(cmd.Wait(), ignoreClosed(in.Close()))
}

// ignoreClosed drops the error of a pipe that Wait closed already.
func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
