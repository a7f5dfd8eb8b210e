package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"breakwater/internal/poll"
	"breakwater/lab/server"
)

// part is one process of the laboratory.
type part struct {
	name   string
	place  string
	client bool // it only talks to the others, and is stopped before them
	lab    *Lab
}

func (p part) process() server.Process { return p.lab.process(p.name) }

// process is the one that runs as, or was last, a part of the laboratory.
func (l *Lab) process(name string) server.Process {
	return view(&l.state, func(k kept) server.Process { return k.Processes[name] })
}

// parts lists every process of the laboratory, running or not.
func (l *Lab) parts() []part {
	list := []part{
		{name: "temporal", place: Third},
		{name: "minio-" + Third, place: Third},
		{name: "wan", place: Third},
		{name: "pipelines", place: Third, client: true},
	}
	for _, region := range Regions() {
		for _, kind := range []string{"minio-", "bao-", "broker-"} {
			list = append(list, part{name: kind + region, place: region})
		}
	}
	list = append(list, part{name: "connect-" + Standby, place: Standby, client: true})
	for i := range list {
		list[i].lab = l
	}
	return list
}

// ports are the reserved names, and how many ports in a row one needs.
func ports() (names []string, width map[string]int) {
	names = []string{"temporal", "temporal-ui", "line-" + LineObjects, "line-" + LineKafka, "line-control"}
	for _, place := range []string{Primary, Standby, Third} {
		names = append(names, "minio-"+place, "minio-"+place+"-console")
		if place != Third {
			names = append(names, "bao-"+place)
		}
	}
	return names, map[string]int{"temporal": 5}
}

// ensure starts a part of the laboratory unless it runs, and waits until it serves.
// The command needs no name and no log.
func (l *Lab) ensure(ctx context.Context, name string, c server.Command, probe func(context.Context) error) error {
	began := time.Now()
	c.Name, c.Log, c.Bound = name, l.path("logs", name+".log"), l.Bound
	s := &server.Server{Command: c, Probe: probe, Process: l.process(name)}
	if !s.Running() {
		if err := s.Start(ctx); err != nil {
			return err
		}
	}
	return l.keep(ctx, name, s, began)
}

// keep remembers the process of a part that was started, and waits until it serves.
func (l *Lab) keep(ctx context.Context, name string, s *server.Server, began time.Time) error {
	if l.process(name) != s.Process {
		if err := l.state.change(func(k *kept) { k.Processes[name] = s.Process }); err != nil {
			return errors.Join(err, s.Stop(ctx))
		}
	}
	wait, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if err := s.Ready(wait); err != nil {
		return err
	}
	l.say("ready  %-22s %5.1f s", name, time.Since(began).Seconds())
	return nil
}

// until repeats try until it returns nil, or ctx ends.
func until(ctx context.Context, every time.Duration, try func(context.Context) error) error {
	return poll.Until(ctx, every, func(ctx context.Context) (bool, error) {
		err := try(ctx)
		return err == nil, err
	})
}

// binaries finds the servers' binaries, by name, before any of them is started.
func binaries() (map[string]string, error) {
	names := []string{"temporal-lab", "minio", "bao-lab"}
	paths := map[string]string{}
	for _, name := range names {
		path, err := server.Binary(name)
		if err != nil {
			return nil, fmt.Errorf("the laboratory's servers (%s) are not built: %w", strings.Join(names, ", "), err)
		}
		paths[name] = path
	}
	return paths, nil
}

// once runs do the first time only.
func (l *Lab) once(what string, do func() error) error {
	if view(&l.state, func(k kept) bool { return k.Done[what] }) {
		return nil
	}
	if err := do(); err != nil {
		return err
	}
	return l.state.change(func(k *kept) { k.Done[what] = true })
}
