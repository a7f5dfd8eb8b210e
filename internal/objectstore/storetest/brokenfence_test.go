package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
	"breakwater/internal/promise"
)

// memoryFences are fences in memory, each made by wrap of a right one.
func memoryFences(wrap func(objectstore.Fence) objectstore.Fence) fenced {
	return func(t testing.TB) Fenced {
		m := memory.New()
		m.Create("lake", memory.Versioned)
		rights := func(text string) func(testing.TB) { return func(testing.TB) { m.SetRights("etl", text) } }
		rights("all")(t)
		m.SetRights("loader", "all")
		fence := func(writers ...string) objectstore.Fence { return wrap(m.Admin().Fence("lake", writers)) }
		return Fenced{
			Bucket: "lake", Fence: func() objectstore.Fence { return fence("etl", "loader") }, Nobody: fence(),
			Change: rights("less"), Restore: rights("all"),
			Writers: []objectstore.Store{m.User("etl"), m.User("loader")}, Other: m.User("reader"),
		}
	}
}

func TestMemoryFence(t *testing.T) {
	RunFence(t, memoryFences(func(f objectstore.Fence) objectstore.Fence { return f }))
}

var brokenFences = []struct {
	name, breaks string
	wrap         func(objectstore.Fence) objectstore.Fence
}{
	{"it counts how often it is read", "reading changes nothing", func(f objectstore.Fence) objectstore.Fence { return &counts{Fence: f} }},
	{"it says that it is closed", "closed, it denies the writers and nobody else", pretending()},
	{"it closes once only", "closing again is nothing", func(f objectstore.Fence) objectstore.Fence { return once{f} }},
	{"it leaves itself when it is opened", "opened, everything is as it was", func(f objectstore.Fence) objectstore.Fence { return stays{f} }},
	{"it goes for everybody's run", "another run's fence is its own", func(f objectstore.Fence) objectstore.Fence { return shared{f} }},
	{"it closes on whatever is there", "nothing is closed on what has changed", func(f objectstore.Fence) objectstore.Fence { return hasty{f} }},
	{"it opens over whatever is there", "nothing is opened over what has changed", func(f objectstore.Fence) objectstore.Fence { return yielding{f} }},
	{"it closes for nobody", "what cannot deny is refused", func(f objectstore.Fence) objectstore.Fence { return servile{f} }},
}

func TestHonestFence(t *testing.T) {
	var all []promise.Broken[fenced]
	for _, b := range brokenFences {
		all = append(all, promise.Broken[fenced]{Name: b.name, Breaks: b.breaks, Target: func(testing.TB) fenced { return memoryFences(b.wrap) }})
	}
	fences.Honest(t, all)
}

type counts struct {
	objectstore.Fence
	n int
}

func (f *counts) Read(ctx context.Context) (objectstore.FenceState, error) {
	st, err := f.Fence.Read(ctx)
	f.n++
	st.Base += fmt.Sprint(f.n)
	return st, err
}

// pretending makes fences that deny nobody, and agree on whether they are closed.
func pretending() func(objectstore.Fence) objectstore.Fence {
	closed := map[objectstore.FenceState]string{}
	return func(f objectstore.Fence) objectstore.Fence { return pretends{f, closed} }
}

type pretends struct {
	objectstore.Fence
	closed map[objectstore.FenceState]string
}

func (f pretends) Close(_ context.Context, seen objectstore.FenceState, run string) error {
	f.closed[seen] = run
	return nil
}

func (f pretends) Read(ctx context.Context) (objectstore.FenceState, error) {
	st, err := f.Fence.Read(ctx)
	if run, closed := f.closed[st]; closed {
		st.Closed, st.Run = true, run
	}
	return st, err
}

func (f pretends) Open(_ context.Context, was objectstore.FenceState, _ string) error {
	delete(f.closed, was)
	return nil
}

type once struct{ objectstore.Fence }

func (f once) Close(ctx context.Context, seen objectstore.FenceState, run string) error {
	if now, err := f.Read(ctx); err != nil || now.Closed {
		return errors.Join(err, errors.New("it is closed already"))
	}
	return f.Fence.Close(ctx, seen, run)
}

type stays struct{ objectstore.Fence }

func (f stays) Open(context.Context, objectstore.FenceState, string) error { return nil }

type shared struct{ objectstore.Fence }

func (f shared) Open(ctx context.Context, was objectstore.FenceState, run string) error {
	if now, err := f.Read(ctx); err == nil && now.Run != "" {
		run = now.Run
	}
	return f.Fence.Open(ctx, was, run)
}

type hasty struct{ objectstore.Fence }

func (f hasty) Close(ctx context.Context, seen objectstore.FenceState, run string) error {
	now, err := f.Read(ctx)
	if err != nil {
		return err
	}
	seen.Base = now.Base
	return f.Fence.Close(ctx, seen, run)
}

type yielding struct{ objectstore.Fence }

func (f yielding) Open(ctx context.Context, was objectstore.FenceState, run string) error {
	now, err := f.Read(ctx)
	if err != nil {
		return err
	}
	was.Base = now.Base
	return f.Fence.Open(ctx, was, run)
}

type servile struct{ objectstore.Fence }

func (f servile) Close(ctx context.Context, seen objectstore.FenceState, run string) error {
	if seen == (objectstore.FenceState{}) {
		return nil
	}
	return f.Fence.Close(ctx, seen, run)
}
