package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"breakwater/lab/process"
)

const poll = 25 * time.Millisecond

// Process is one server as a child process, or one that an earlier command left
// running and that was found again by its pid file.
type Process struct {
	process.Process
	Log string // path of its standard output and error

	name string // what it is, for errors
}

// start runs java in dir. It outlives ctx: only Stop and Kill end it.
func start(ctx context.Context, name, dir string, args []string) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if p, err := adopt(name, dir); err == nil {
		return nil, fmt.Errorf("start %s in %s: it already runs as pid %d, stop it first: %w", name, dir, p.Pid, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	bin, err := java()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{name: name, Log: filepath.Join(dir, name+".log")}
	if p.Process, err = process.Start(process.Command{Bin: bin, Args: args, Dir: dir, Log: p.Log}); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	text, err := json.Marshal(p.Process)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".pid"), text, 0o644)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: write its pid: %w", name, err), p.Kill(ctx))
	}
	return p, nil
}

// adopt finds the running server of dir by its pid file; fs.ErrNotExist if none runs.
func adopt(name, dir string) (*Process, error) {
	path := filepath.Join(dir, name+".pid")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	p := &Process{name: name, Log: filepath.Join(dir, name+".log")}
	if err := json.Unmarshal(text, &p.Process); err != nil {
		return nil, fmt.Errorf("find %s: %s does not name a process: %w", name, path, err)
	}
	if !p.Running() {
		return nil, fmt.Errorf("find %s: pid %d of %s is gone: %w", name, p.Pid, path, fs.ErrNotExist)
	}
	return p, nil
}

// ready repeats probe until it answers, the process ends or ctx does.
func (p *Process) ready(ctx context.Context, probe func(context.Context) error) error {
	return p.Ready(ctx, p.name, p.Log, poll, probe)
}
