package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"breakwater/internal/poll"
)

// ErrEnded says that a server's process was gone before the server answered.
var ErrEnded = errors.New("it ended")

// Server is what to start, when it serves, and the process that runs. It is used by
// one goroutine at a time.
type Server struct {
	Command Command
	// Probe asks the server whether it serves, and is nil if so. It is asked again
	// and again, and must come to an end by itself if the server is silent.
	Probe func(context.Context) error
	// Falls, if set, finds in the end of a log that a server that ended while it started
	// did so by a known fault of its own; then it is started once more.
	Falls func(log string) bool
	// Process is the one that runs; the last one, or the zero value, if none does.
	Process
}

// every is how long a server is left alone between two questions.
const every = 20 * time.Millisecond

// Start starts the process, and does not wait until it serves. It refuses with
// fs.ErrExist if it runs already.
func (s *Server) Start(ctx context.Context) (err error) {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("start %s: %w", s.Command.name(), err)
	}
	if s.Running() {
		return fmt.Errorf("start %s: it already runs as pid %d, stop it first: %w", s.Command.name(), s.Pid, fs.ErrExist)
	}
	s.Process, err = Start(s.Command)
	return err
}

// Ready waits until the server serves, its process has ended ([ErrEnded]) or ctx
// ends. The error shows the end of the log.
func (s *Server) Ready(ctx context.Context) error {
	err := poll.Until(ctx, every, func(ctx context.Context) (bool, error) {
		if !s.Running() {
			return true, ErrEnded
		}
		err := s.Probe(ctx)
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("%s is not ready: %w; the end of %s:\n%s", s.Command.name(), err, s.Command.Log, Tail(s.Command.Log))
	}
	return nil
}

// Run starts the server and waits until it serves, for a minute at most. What does
// not come to serve is killed.
func (s *Server) Run(ctx context.Context) error {
	err := s.run(ctx)
	if s.Falls != nil && errors.Is(err, ErrEnded) && s.Falls(Tail(s.Command.Log)) {
		return s.run(ctx)
	}
	return err
}

func (s *Server) run(ctx context.Context) error {
	if err := s.Start(ctx); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.Ready(wait); err != nil {
		return errors.Join(err, s.Process.Kill(ctx))
	}
	return nil
}

// Explain adds to an error about the server how its process ended, if it did: an
// error such as a refused connection says nothing of it. What is ending is given a
// moment to end.
func (s *Server) Explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if s.Gone(ctx) != nil {
		return err
	}
	return fmt.Errorf("%w; %w; the end of %s:\n%s", err, ErrEnded, s.Command.Log, Tail(s.Command.Log))
}

// Tail is the end of a log, for an error that a person reads. Of the stacks that
// Java writes it leaves out the calls, behind which the causes would be lost.
func Tail(log string) string {
	text, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(text)), "\n"), func(l string) bool {
		return strings.HasPrefix(l, "\tat ") || strings.HasPrefix(l, "\t... ")
	})
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// Answers asks a URL, and is nil if the answer is 200.
func Answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

// Accepts connects to host:port.
func Accepts(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}
