package leaks

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"breakwater/internal/poll"
)

// often is how often the processes of the machine are looked at: a command that ends
// sooner may be missed.
const often = 100 * time.Millisecond

// Processes looks at what all processes of this machine show of themselves to others,
// their arguments and their environment, until it is stopped.
type Processes struct {
	search *Search
	named  func(pid int) string
	stop   context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	seen  map[string]bool // by pid and arguments: what was looked at
	found []Finding
	err   error
}

// Watch begins to look. named says which process of [Secret.Env] a pid is, or nothing.
func (s *Search) Watch(ctx context.Context, named func(pid int) string) *Processes {
	ctx, cancel := context.WithCancel(ctx)
	p := &Processes{search: s, named: named, stop: cancel, done: make(chan struct{}), seen: map[string]bool{}}
	go func() {
		defer close(p.done)
		for ctx.Err() == nil {
			p.look()
			if poll.Wait(ctx, often) != nil {
				return
			}
		}
	}()
	return p
}

// Stop looks once more, and gives what was found and at how many processes.
func (p *Processes) Stop() (found []Finding, looked int, err error) {
	p.stop()
	<-p.done
	p.look()
	return p.found, len(p.seen), p.err
}

func (p *Processes) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		p.err = err
		return
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		args, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		// One that has just ended has neither; a kernel's thread has no arguments.
		if err != nil || len(args) == 0 || p.seen[filepath.Base(dir)+" "+string(args)] {
			p.keep(err)
			continue
		}
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil {
			p.keep(err)
			continue
		}
		p.seen[filepath.Base(dir)+" "+string(args)] = true
		program, _, _ := bytes.Cut(args, []byte{0})
		where := "process " + filepath.Base(dir) + ", " + filepath.Base(string(program))
		p.found = append(p.found, p.search.In("arguments", where, args)...)
		for _, f := range p.search.In("environment", where, env) {
			i := slices.IndexFunc(p.search.secrets, func(s Secret) bool { return s.Name == f.Secret })
			if own := p.search.secrets[i].Env; own == "" || own != p.named(pid) {
				p.found = append(p.found, f)
			}
		}
	}
}

// keep keeps the first error but for processes that have ended, and for those of others.
func (p *Processes) keep(err error) {
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ESRCH) {
		return
	}
	p.err = cmp.Or(p.err, err)
}
