package pipelinetest

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"time"

	"breakwater/internal/pipeline"
	"breakwater/internal/reach"
)

// Memory is an orchestrator in memory, which is a connector to itself. The zero
// value has no pipelines.
type Memory struct {
	// Down makes every call end without an answer.
	Down bool

	mu  sync.Mutex
	all map[string]*job
}

// job is a pipeline of [Memory].
type job struct {
	Pipeline
	changes int // how often it was changed: its token
	begun   int
	runs    []string
	queued  int
	spec    string
	record  []ran // all that it ever ran
}

var _ pipeline.Connector = (*Memory)(nil)

// use does f with a pipeline, alone.
func (m *Memory) use(name string, f func(*job)) error {
	if m.Down {
		return fmt.Errorf("ask for pipeline %s: %w", name, reach.ErrUnreachable)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	j, ok := m.all[name]
	if !ok {
		return fmt.Errorf("pipeline %s: %w", name, fs.ErrNotExist)
	}
	f(j)
	return nil
}

// Describe reads a pipeline's state.
func (m *Memory) Describe(_ context.Context, name string) (seen pipeline.Seen, err error) {
	err = m.use(name, func(j *job) {
		seen = pipeline.Seen{State: j.State, Note: j.Note, Runs: len(j.runs), Queued: j.queued, Over: j.Over, Token: j.changes}
	})
	return seen, err
}

// Set pauses or resumes a pipeline.
func (m *Memory) Set(_ context.Context, name string, seen pipeline.Seen, to pipeline.State, note string) error {
	var lost error
	err := m.use(name, func(j *job) {
		if seen.Token != j.changes {
			lost = pipeline.Lost(pipeline.Seen{State: j.State, Note: j.Note}, to)
			return
		}
		j.State, j.Note = to, note
		j.changes++
	})
	if err != nil {
		return err
	}
	return lost
}

// Look reads a pipeline's state.
func (m *Memory) Look(_ context.Context, name string) (v pipeline.View, err error) {
	err = m.use(name, func(j *job) {
		v = pipeline.View{State: j.State, Note: j.Note}
		if !j.Over {
			v.Next = time.Now().UTC().AddDate(1, 0, 0)
		}
	})
	return v, err
}

// Busy tells what goes on.
func (m *Memory) Busy(_ context.Context, name string) (b pipeline.Busy, err error) {
	err = m.use(name, func(j *job) { b = pipeline.Busy{Runs: slices.Clone(j.runs), Queued: j.queued} })
	if err != nil && !m.Down {
		return b, nil
	}
	return b, err
}

// Make makes a pipeline, or makes it anew.
func (m *Memory) Make(name string, p Pipeline) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = map[string]*job{}
	}
	m.all[name] = &job{Pipeline: p, spec: "on the 29th of February"}
}

// Delete deletes a pipeline.
func (m *Memory) Delete(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, name)
}

// Begin starts a run and returns its name.
func (m *Memory) Begin(name string) (run string, err error) {
	err = m.use(name, func(j *job) { run = j.begin(name) })
	return run, err
}

func (j *job) begin(name string) string {
	return j.beginFor(name, time.Now().UTC().Truncate(time.Second))
}

func (j *job) beginFor(name string, at time.Time) string {
	j.begun++
	run := fmt.Sprintf("%s/%d", name, j.begun)
	j.runs = append(j.runs, run)
	j.record = append(j.record, ran{pipeline.DateRun{ID: run, Begun: time.Now().UTC(), Says: "running"}, at})
	return run
}

// Queue lets a run wait for those that go on.
func (m *Memory) Queue(name string) error {
	return m.use(name, func(j *job) { j.queued++ })
}

// End ends a run, and begins what waited for it.
func (m *Memory) End(run string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, j := range m.all {
		j.runs = slices.DeleteFunc(j.runs, func(r string) bool { return r == run })
		if len(j.runs) == 0 && j.queued > 0 {
			j.queued--
			j.begin(name)
		}
	}
}

// Target is the orchestrator for the suite, through a connector to it.
func (m *Memory) Target(c pipeline.Connector) Target {
	return Target{
		Connector: c, Other: m, Away: &Memory{Down: true}, Patience: time.Second,
		Make: func(_ testing.TB, name string, p Pipeline) { m.Make(name, p) },
		Begin: func(t testing.TB, name string) string {
			run, err := m.Begin(name)
			if err != nil {
				t.Fatal(err)
			}
			return run
		},
		Queue: func(t testing.TB, name string) {
			if err := m.Queue(name); err != nil {
				t.Fatal(err)
			}
		},
		End: func(_ testing.TB, run string) { m.End(run) },
		Rest: func(t testing.TB, name string) (spec string) {
			if err := m.use(name, func(j *job) { spec = j.spec }); err != nil {
				t.Fatal(err)
			}
			return spec
		},
	}
}
