package pipelinetest

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

	"breakwater/internal/pipeline"
	"breakwater/internal/promise"
)

func TestMemory(t *testing.T) {
	m := &Memory{}
	Run(t, m.Target(m))
}

func TestBroken(t *testing.T) {
	var all []promise.Broken[Target]
	broken := func(name, breaks string, wrap func(*Memory) pipeline.Connector) {
		all = append(all, promise.Broken[Target]{Name: name, Breaks: breaks, Target: func(testing.TB) Target {
			m := &Memory{}
			target := m.Target(wrap(m))
			target.Other = wrap(m) // whoever wins a race, the loser is broken too
			target.Away, target.Patience = wrap(&Memory{Down: true}), 100*time.Millisecond
			return target
		}})
	}
	broken("a pause loses the note", "sets state and note", func(m *Memory) pipeline.Connector { return losesNotes{m} })
	broken("a set ignores the token", "changes nothing that was set since", func(m *Memory) pipeline.Connector { return ignoresTokens{m} })
	broken("a set compares states alone", "changes nothing whose note was changed since", func(m *Memory) pipeline.Connector { return comparesStates{m} })
	broken("a lost race is not told", "lets one of two win", func(m *Memory) pipeline.Connector { return hidesLosses{m} })
	broken("a missing pipeline is running", "says what is not there", func(m *Memory) pipeline.Connector { return inventsPipelines{m} })
	broken("runs of what is paused are hidden", "lists the runs that go on", func(m *Memory) pipeline.Connector { return hidesRuns{m} })
	broken("what is queued does not count", "counts what is queued", func(m *Memory) pipeline.Connector { return hidesQueues{m} })
	broken("what is over would act", "says when it acts next", func(m *Memory) pipeline.Connector { return overlooksOver{m} })
	broken("a pause ends the runs that go on", "lists the runs that go on", func(m *Memory) pipeline.Connector { return endsRuns{m} })
	broken("a resume starts what was missed", "starts no run", func(m *Memory) pipeline.Connector { return catchesUp{m} })
	broken("a note takes the calendar with it", "leaves the rest of a pipeline alone", func(m *Memory) pipeline.Connector { return losesSpecs{m} })
	broken("a calendar that is over goes on", "says when it acts next", func(m *Memory) pipeline.Connector { return neverOver{m} })
	broken("a look repeats what was set", "looks at the orchestrator itself", func(m *Memory) pipeline.Connector { return remembers{m, map[string]pipeline.View{}} })
	broken("silence is taken for no run", "says that no answer came", func(m *Memory) pipeline.Connector { return takesSilence{m} })
	broken("every pipeline is paused", "describes and sees a pipeline as it is", func(m *Memory) pipeline.Connector { return allPaused{m} })
	suite.Honest(t, all)
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

func (b hidesRuns) Busy(ctx context.Context, name string) (pipeline.Busy, error) {
	seen, err := b.Describe(ctx, name)
	if err == nil && seen.State == pipeline.Paused {
		return pipeline.Busy{}, nil
	}
	return b.Memory.Busy(ctx, name)
}

// hidesQueues looks at what runs alone.
type hidesQueues struct{ *Memory }

func (b hidesQueues) Busy(ctx context.Context, name string) (pipeline.Busy, error) {
	busy, err := b.Memory.Busy(ctx, name)
	busy.Queued = 0
	return busy, err
}

// overlooksOver looks at the state alone.
type overlooksOver struct{ *Memory }

func (b overlooksOver) Describe(ctx context.Context, name string) (pipeline.Seen, error) {
	seen, err := b.Memory.Describe(ctx, name)
	seen.Over = false
	return seen, err
}

// endsRuns breaks off what goes on.
type endsRuns struct{ *Memory }

func (b endsRuns) Set(ctx context.Context, name string, seen pipeline.Seen, to pipeline.State, note string) error {
	busy, err := b.Busy(ctx, name)
	if err != nil {
		return err
	}
	for _, r := range busy.Runs {
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

func (b takesSilence) Busy(ctx context.Context, name string) (pipeline.Busy, error) {
	busy, err := b.Memory.Busy(ctx, name)
	if b.Down {
		err = nil
	}
	return busy, err
}

// allPaused looks at nothing.
type allPaused struct{ *Memory }

func (b allPaused) Look(ctx context.Context, name string) (pipeline.View, error) {
	v, err := b.Memory.Look(ctx, name)
	v.State = pipeline.Paused
	return v, err
}
