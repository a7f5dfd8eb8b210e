package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"breakwater/lab/process"
)

// server is one process of the laboratory.
type server struct {
	name   string
	place  string
	client bool // it only talks to the others, and is stopped before them
	lab    *Lab
}

func (s server) process() process.Process {
	return view(&s.lab.state, func(k kept) process.Process { return k.Processes[s.name] })
}

// servers lists every process of the laboratory, running or not.
func (l *Lab) servers() []server {
	list := []server{
		{name: "temporal", place: Third},
		{name: "minio-" + Third, place: Third},
		{name: "wan", place: Third},
		{name: "pipelines", place: Third, client: true},
	}
	for _, region := range Regions() {
		for _, kind := range []string{"minio-", "bao-", "broker-"} {
			list = append(list, server{name: kind + region, place: region})
		}
	}
	list = append(list, server{name: "connect-" + Standby, place: Standby, client: true})
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

// ensure starts a server unless it runs, and waits until probe answers.
func (l *Lab) ensure(ctx context.Context, name string, start func() (process.Process, error), probe func(context.Context) error) error {
	began := time.Now()
	p := view(&l.state, func(k kept) process.Process { return k.Processes[name] })
	if !p.Running() {
		var err error
		if p, err = start(); err != nil {
			return err
		}
		if err := l.state.change(func(k *kept) { k.Processes[name] = p }); err != nil {
			return errors.Join(err, p.Stop(ctx))
		}
	}
	wait, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if err := p.Ready(wait, name, l.path("logs", name+".log"), 20*time.Millisecond, probe); err != nil {
		return err
	}
	l.say("ready  %-22s %5.1f s", name, time.Since(began).Seconds())
	return nil
}

// ensureOther is ensure for a server that another package starts and watches.
func (l *Lab) ensureOther(ctx context.Context, name string, start func() (process.Process, error), ready func(context.Context) error) error {
	began := time.Now()
	if view(&l.state, func(k kept) process.Process { return k.Processes[name] }).Running() {
		l.say("ready  %-22s %5.1f s", name, time.Since(began).Seconds())
		return nil
	}
	p, err := start()
	if err != nil {
		return err
	}
	if err := l.state.change(func(k *kept) { k.Processes[name] = p }); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if err := ready(wait); err != nil {
		return fmt.Errorf("%s is not ready: %w", name, err)
	}
	l.say("ready  %-22s %5.1f s", name, time.Since(began).Seconds())
	return nil
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
