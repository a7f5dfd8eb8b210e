package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"breakwater/lab/server"
)

// newServer describes a server that lives in dir: its log and its pid are there.
func newServer(name, dir string, bound bool, probe func(context.Context) error) *server.Server {
	return &server.Server{Probe: probe, Command: server.Command{Name: name, Dir: dir, Log: filepath.Join(dir, name+".log"), Bound: bound}}
}

// start runs java with the arguments. The server outlives ctx: Stop and Kill end it,
// and the end of this process if it is bound to that. It refuses with fs.ErrExist if one runs in the folder already.
func start(ctx context.Context, s *server.Server, args []string) error {
	if err := adopt(s); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	bin, err := java()
	if err != nil {
		return fmt.Errorf("start %s: %w", s.Command.Name, err)
	}
	s.Command.Bin, s.Command.Args = bin, args
	if err := s.Start(ctx); err != nil {
		return err
	}
	if err := save(pidFile(s), s.Process); err != nil {
		return errors.Join(fmt.Errorf("start %s: write its pid: %w", s.Command.Name, err), s.Kill(ctx))
	}
	return nil
}

// adopt finds the process that an earlier command left running in the server's
// folder, by its pid file; fs.ErrNotExist if none runs.
func adopt(s *server.Server) error {
	path := pidFile(s)
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("find %s: %w", s.Command.Name, err)
	}
	var p server.Process
	if err := json.Unmarshal(text, &p); err != nil {
		return fmt.Errorf("find %s: %s does not name a process: %w", s.Command.Name, path, err)
	}
	if !p.Running() {
		return fmt.Errorf("find %s: pid %d of %s is gone: %w", s.Command.Name, p.Pid, path, fs.ErrNotExist)
	}
	s.Process = p
	return nil
}

func pidFile(s *server.Server) string { return filepath.Join(s.Command.Dir, s.Command.Name+".pid") }
