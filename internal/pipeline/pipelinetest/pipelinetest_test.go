package pipelinetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"testing"
	"time"

	"breakwater/internal/pipeline"
)

func TestMemory(t *testing.T) {
	m := &Memory{}
	Run(t, m.Target(m))
}

// The suite must fail each of these connectors, for the promise that it breaks.
func TestBroken(t *testing.T) {
	untried := map[string]bool{}
	for _, p := range promises {
		untried[p.name] = true
	}
	for name, tc := range map[string]struct {
		wrap   func(*Memory) pipeline.Connector
		breaks string // a promise's name
	}{
		"a pause loses the note":             {func(m *Memory) pipeline.Connector { return losesNotes{m} }, "sets state and note"},
		"a set ignores the token":            {func(m *Memory) pipeline.Connector { return ignoresTokens{m} }, "changes nothing that was set since"},
		"a set compares states alone":        {func(m *Memory) pipeline.Connector { return comparesStates{m} }, "changes nothing whose note was changed since"},
		"a lost race is not told":            {func(m *Memory) pipeline.Connector { return hidesLosses{m} }, "lets one of two win"},
		"a missing pipeline is running":      {func(m *Memory) pipeline.Connector { return inventsPipelines{m} }, "says what is not there"},
		"runs of what is paused are hidden":  {func(m *Memory) pipeline.Connector { return hidesRuns{m} }, "lists the runs that go on"},
		"a pause ends the runs that go on":   {func(m *Memory) pipeline.Connector { return endsRuns{m} }, "lists the runs that go on"},
		"a resume starts what was missed":    {func(m *Memory) pipeline.Connector { return catchesUp{m} }, "starts no run"},
		"a note takes the calendar with it":  {func(m *Memory) pipeline.Connector { return losesSpecs{m} }, "leaves the rest of a pipeline alone"},
		"a calendar that is over goes on":    {func(m *Memory) pipeline.Connector { return neverOver{m} }, "says when it acts next"},
		"a look repeats what was set":        {func(m *Memory) pipeline.Connector { return remembers{m, map[string]pipeline.View{}} }, "looks at the orchestrator itself"},
		"silence is taken for nothing there": {func(m *Memory) pipeline.Connector { return takesSilence{m} }, "says that no answer came"},
		"every pipeline is paused":           {func(m *Memory) pipeline.Connector { return allPaused{m} }, "describes and sees a pipeline as it is"},
	} {
		delete(untried, tc.breaks)
		t.Run(name, func(t *testing.T) {
			m := &Memory{}
			target := m.Target(tc.wrap(m))
			target.Away, target.Patience = tc.wrap(&Memory{Down: true}), 100*time.Millisecond
			failed := map[string][]string{}
			for _, p := range promises {
				if said := breaks(t, p, target); len(said) > 0 {
					failed[p.name] = said
				}
			}
			if failed[tc.breaks] == nil {
				t.Errorf("the suite does not see that this breaks %q; it found %q", tc.breaks, failed)
			}
		})
	}
	if len(untried) > 0 {
		t.Errorf("nothing here breaks %v, so nobody knows whether the suite would see it", untried)
	}
	for _, p := range promises {
		m := &Memory{}
		if said := breaks(t, p, m.Target(m)); len(said) > 0 {
			t.Errorf("a correct connector breaks %q: %s", p.name, said)
		}
	}
}

// breaks tests one promise and returns what its test said against the connector.
func breaks(t *testing.T, p promise, target Target) []string {
	r := &recorder{TB: t}
	var g sync.WaitGroup
	g.Go(func() { p.keeps(kit{r, target}) }) // of its own, to be ended by Fatal
	g.Wait()
	return r.said
}

// recorder is a test that fails without failing the test around it.
type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Error(args ...any)                 { r.said = append(r.said, fmt.Sprint(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.Error(fmt.Sprintf(format, args...)) }
func (r *recorder) Fatalf(format string, args ...any) { r.Fatal(fmt.Sprintf(format, args...)) }
func (r *recorder) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

// losesNotes keeps the old note when it pauses.
type losesNotes struct{ *Memory }

func (b losesNotes) Set(ctx context.Context, name string, seen pipeline.Seen, to pipeline.State, note string) error {
	if to == pipeline.Paused {
		note = seen.Note
	}
	return b.Memory.Set(ctx, name, seen, to, note)
}

// ignoresTokens changes whatever is there.
type ignoresTokens struct{ *Memory }

func (b ignoresTokens) Set(ctx context.Context, name string, _ pipeline.Seen, to pipeline.State, note string) error {
	now, err := b.Describe(ctx, name)
	if err != nil {
		return err
	}
	return b.Memory.Set(ctx, name, now, to, note)
}

// comparesStates does not mind another note.
type comparesStates struct{ *Memory }

func (b comparesStates) Set(ctx context.Context, name string, seen pipeline.Seen, to pipeline.State, note string) error {
	if now, err := b.Describe(ctx, name); err == nil && now.State == seen.State {
		seen = now
	}
	return b.Memory.Set(ctx, name, seen, to, note)
}

// hidesLosses takes a change that came too late for one that was made.
type hidesLosses struct{ *Memory }

func (b hidesLosses) Set(ctx context.Context, name string, seen pipeline.Seen, to pipeline.State, note string) error {
	err := b.Memory.Set(ctx, name, seen, to, note)
	if errors.Is(err, pipeline.ErrMoved) {
		return nil
	}
	return err
}

// inventsPipelines describes what is not there.
type inventsPipelines struct{ *Memory }

func (b inventsPipelines) Describe(ctx context.Context, name string) (pipeline.Seen, error) {
	seen, err := b.Memory.Describe(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return pipeline.Seen{State: pipeline.Running}, nil
	}
	return seen, err
}

// hidesRuns believes that a paused pipeline has none.
type hidesRuns struct{ *Memory }

func (b hidesRuns) Runs(ctx context.Context, name string) ([]string, error) {
	seen, err := b.Describe(ctx, name)
	if err == nil && seen.State == pipeline.Paused {
		return nil, nil
	}
	return b.Memory.Runs(ctx, name)
}

// endsRuns breaks off what goes on.
type endsRuns struct{ *Memory }

func (b endsRuns) Set(ctx context.Context, name string, seen pipeline.Seen, to pipeline.State, note string) error {
	runs, err := b.Runs(ctx, name)
	if err != nil {
		return err
	}
	for _, r := range runs {
		b.End(r)
	}
	return b.Memory.Set(ctx, name, seen, to, note)
}

// catchesUp starts a run for what a pause missed.
type catchesUp struct{ *Memory }

func (b catchesUp) Set(ctx context.Context, name string, seen pipeline.Seen, to pipeline.State, note string) error {
	err := b.Memory.Set(ctx, name, seen, to, note)
	if err == nil && to == pipeline.Running {
		_, err = b.Begin(name)
	}
	return err
}

// losesSpecs sends back less than it read.
type losesSpecs struct{ *Memory }

func (b losesSpecs) Set(ctx context.Context, name string, seen pipeline.Seen, to pipeline.State, note string) error {
	err := b.Memory.Set(ctx, name, seen, to, note)
	if err == nil {
		err = b.use(name, func(j *job) { j.spec = "" })
	}
	return err
}

// neverOver always has a next time.
type neverOver struct{ *Memory }

func (b neverOver) Look(ctx context.Context, name string) (pipeline.View, error) {
	v, err := b.Memory.Look(ctx, name)
	v.Next = time.Now().UTC().Add(time.Hour)
	return v, err
}

// remembers looks at what it set.
type remembers struct {
	*Memory
	mine map[string]pipeline.View
}

func (b remembers) Set(ctx context.Context, name string, seen pipeline.Seen, to pipeline.State, note string) error {
	err := b.Memory.Set(ctx, name, seen, to, note)
	if err == nil {
		b.mine[name] = pipeline.View{State: to, Note: note}
	}
	return err
}

func (b remembers) Look(ctx context.Context, name string) (pipeline.View, error) {
	if v, ok := b.mine[name]; ok {
		return v, nil
	}
	return b.Memory.Look(ctx, name)
}

// takesSilence finds no run where nothing answers.
type takesSilence struct{ *Memory }

func (b takesSilence) Runs(ctx context.Context, name string) ([]string, error) {
	runs, err := b.Memory.Runs(ctx, name)
	if b.Down {
		err = nil
	}
	return runs, err
}

// allPaused looks at nothing.
type allPaused struct{ *Memory }

func (b allPaused) Look(ctx context.Context, name string) (pipeline.View, error) {
	v, err := b.Memory.Look(ctx, name)
	v.State = pipeline.Paused
	return v, err
}
