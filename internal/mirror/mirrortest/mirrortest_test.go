package mirrortest

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
	"breakwater/internal/promise"
)

// bare hides what a mirror is able to do.
type bare struct{ mirror.Mirror }

// TestMemory passes the suite with mirrors as different as there may be.
func TestMemory(t *testing.T) {
	for name, open := range map[string]func() Pair{
		"one that notes which record became which": func() Pair { m := newMemory(1); return m.pair(able{m}) },
		"one that keeps numbers":                   func() Pair { m := newMemory(0); return m.pair(able{m}) },
		"one that gives topics other names":        func() Pair { m := newMemory(1); m.names.Prefix = "east."; return m.pair(able{m}) },
		"one that copies and does nothing else": func() Pair {
			m := newMemory(0)
			delete(m.links, groups)
			return m.pair(bare{onlyCopies{m}})
		},
	} {
		t.Run(name, func(t *testing.T) { Run(t, open()) })
	}
}

type onlyCopies struct{ *memory }

func (onlyCopies) Links() []string { return []string{copies} }
func (onlyCopies) Own() []string   { return nil }

// TestHonest holds the suite against mirrors that each break one promise.
func TestHonest(t *testing.T) {
	broken := func(name, breaks string, wrap func(able) mirror.Mirror) promise.Broken[*suite] {
		return promise.Broken[*suite]{Name: name, Breaks: breaks, Target: func(testing.TB) *suite {
			m := newMemory(1)
			p := m.pair(wrap(able{m}))
			p.Patience = 50 * time.Millisecond // which a broken one uses up again and again
			return &suite{Pair: p}
		}}
	}
	promises.Honest(t, []promise.Broken[*suite]{
		broken("one says that its parts do not work", "what runs is said to run", func(m able) mirror.Mirror { return neverWorks{m} }),
		broken("a missing link is an error", "a link that is not there is said to be missing", func(m able) mirror.Mirror { return missingFails{m} }),
		broken("a missing link is said to be stopped", "a link that is not there is said to be missing", func(m able) mirror.Mirror { return missingStopped{m} }),
		broken("a missing link is stopped without a word", "a link that is not there is said to be missing", func(m able) mirror.Mirror { return stopsAnything{m} }),
		broken("its topics are called otherwise than it says", "a topic is where its names say", func(m able) mirror.Mirror { return othersNames{m} }),
		{Name: "its translation speaks of the source's topics", Breaks: "a translated group misses no record", Target: func(testing.TB) *suite {
			m := newMemory(1)
			m.names.Prefix = "east."
			p := m.pair(sourcesNumbers{able{m}})
			p.Patience = 50 * time.Millisecond
			return &suite{Pair: p}
		}},
		broken("positions are past what the target holds", "what the source has arrives once, and no position is past it", func(m able) mirror.Mirror { return tooFar{m} }),
		broken("a silent source is taken for an empty one", "a silent source is unknown, and not empty", func(m able) mirror.Mirror { return silentIsEmpty{m} }),
		broken("a silent source is an error", "a silent source is unknown, and not empty", func(m able) mirror.Mirror { return silentFails{m} }),
		broken("a topic that is not there is left out", "what cannot be told is an error", func(m able) mirror.Mirror { return leavesOut{m} }),
		broken("its own topics are somebody else's", "its own topics move while it copies", func(m able) mirror.Mirror { return othersTopics{m} }),
		broken("resumed, it forgets what it had not copied", "resumed, it goes on where it was stopped", func(m able) mirror.Mirror { return resumesAtEnd{m} }),
		broken("resumed, it copies again", "resumed, it goes on where it was stopped", func(m able) mirror.Mirror { return resumesAtStart{m} }),
		broken("it says that it is stopped while its tasks run", "what is stopped writes nothing", func(m able) mirror.Mirror { return &tasksRun{m, map[string]bool{}} }),
		broken("a second stop is refused", "a second stop or resume changes nothing", func(m able) mirror.Mirror { return stopsOnce{m} }),
		broken("a second stop resumes", "a second stop or resume changes nothing", func(m able) mirror.Mirror { return toggles{m} }),
		broken("one stop ends every link", "a link's stop leaves the others alone", func(m able) mirror.Mirror { return stopsAll{m} }),
		broken("in its own words it delivered more", "in its own words it delivered what its positions say", func(m able) mirror.Mirror { return boasts{m} }),
		broken("a translation skips a record", "a translated group misses no record", func(m able) mirror.Mirror { return skips{m} }),
		broken("what it does not know it calls exact", "a translated group misses no record", func(m able) mirror.Mirror { return allExact{m} }),
		broken("a checkpoint is past what its group has read", "a translated group misses no record", func(m able) mirror.Mirror { return pastCheckpoint{m} }),
		broken("it says that it moves no groups, and does", "groups are moved as it says", func(m able) mirror.Mirror { return saysNever{m} }),
		broken("it does not have the ability to, and moves groups", "groups are moved as it says", func(m able) mirror.Mirror { return bare{m} }),
	})
}

type neverWorks struct{ able }

func (m neverWorks) Look(ctx context.Context, link string) (mirror.Link, error) {
	l, err := m.able.Look(ctx, link)
	l.Works = false
	return l, err
}

type othersNames struct{ able }

func (m othersNames) Names() mirror.Names { return mirror.Names{Prefix: "east."} }

type sourcesNumbers struct{ able }

func (m sourcesNumbers) Translation(ctx context.Context) (mirror.Translation, error) {
	known, err := m.able.Translation(ctx)
	for p, numbers := range known.Numbers {
		from, _ := m.names.Source(p)
		delete(known.Numbers, p)
		known.Numbers[from] = numbers
	}
	return known, err
}

type missingFails struct{ able }

func (m missingFails) Look(ctx context.Context, link string) (mirror.Link, error) {
	l, err := m.able.Look(ctx, link)
	if l.State == mirror.Missing {
		err = errors.New("no such link")
	}
	return l, err
}

type missingStopped struct{ able }

func (m missingStopped) Look(ctx context.Context, link string) (mirror.Link, error) {
	l, err := m.able.Look(ctx, link)
	if l.State == mirror.Missing {
		l.State = mirror.Stopped
	}
	return l, err
}

type stopsAnything struct{ able }

func (m stopsAnything) Stop(ctx context.Context, link string) error {
	if l, err := m.Look(ctx, link); err != nil || l.State == mirror.Missing {
		return err
	}
	return m.able.Stop(ctx, link)
}

// changed are a mirror's positions, each as change makes it.
func changed(ctx context.Context, m able, source mirror.Source, topics []string, change func(*mirror.Position)) (map[kafka.Partition]mirror.Position, error, error) {
	at, silence, err := m.Positions(ctx, source, topics...)
	for p, pos := range at {
		change(&pos)
		at[p] = pos
	}
	return at, silence, err
}

type tooFar struct{ able }

func (m tooFar) Positions(ctx context.Context, source mirror.Source, topics ...string) (map[kafka.Partition]mirror.Position, error, error) {
	return changed(ctx, m.able, source, topics, func(p *mirror.Position) { p.Next++ })
}

type silentIsEmpty struct{ able }

func (m silentIsEmpty) Positions(ctx context.Context, source mirror.Source, topics ...string) (map[kafka.Partition]mirror.Position, error, error) {
	at, silence, err := changed(ctx, m.able, source, topics, func(p *mirror.Position) {
		if p.Source == nil {
			p.Source = &kafka.Ends{}
		}
	})
	return at, silence, err
}

type silentFails struct{ able }

func (m silentFails) Positions(ctx context.Context, source mirror.Source, topics ...string) (map[kafka.Partition]mirror.Position, error, error) {
	at, silence, err := m.able.Positions(ctx, source, topics...)
	return at, nil, errors.Join(silence, err)
}

type leavesOut struct{ able }

func (m leavesOut) Positions(ctx context.Context, source mirror.Source, topics ...string) (map[kafka.Partition]mirror.Position, error, error) {
	return m.able.Positions(ctx, source, topics[:min(1, len(topics))]...)
}

type othersTopics struct{ able }

func (m othersTopics) Own() []string { return []string{"somebody-elses"} }

type resumesAtEnd struct{ able }

func (m resumesAtEnd) Resume(ctx context.Context, link string, idle bool) error {
	if l, err := m.Look(ctx, link); err == nil && link == copies && l.State == mirror.Stopped {
		copy(m.next, m.source)
	}
	return m.able.Resume(ctx, link, idle)
}

type resumesAtStart struct{ able }

func (m resumesAtStart) Resume(ctx context.Context, link string, idle bool) error {
	if l, err := m.Look(ctx, link); err == nil && link == copies && l.State == mirror.Stopped {
		clear(m.next)
	}
	return m.able.Resume(ctx, link, idle)
}

type tasksRun struct {
	able
	said map[string]bool
}

func (m *tasksRun) Look(ctx context.Context, link string) (mirror.Link, error) {
	if m.said[link] {
		return mirror.Link{Name: link, State: mirror.Stopped, Said: "STOPPED"}, nil
	}
	return m.able.Look(ctx, link)
}

func (m *tasksRun) Stop(ctx context.Context, link string) error {
	err := m.Resume(ctx, link, false) // whether it is there
	m.said[link] = err == nil
	return err
}

func (m *tasksRun) Resume(ctx context.Context, link string, idle bool) error {
	delete(m.said, link)
	return m.able.Resume(ctx, link, idle)
}

type stopsOnce struct{ able }

func (m stopsOnce) Stop(ctx context.Context, link string) error {
	if l, err := m.Look(ctx, link); err == nil && l.State == mirror.Stopped {
		return errors.New("it is stopped")
	}
	return m.able.Stop(ctx, link)
}

type toggles struct{ able }

func (m toggles) Stop(ctx context.Context, link string) error {
	if l, err := m.Look(ctx, link); err == nil && l.State == mirror.Stopped {
		return m.Resume(ctx, link, false)
	}
	return m.able.Stop(ctx, link)
}

type stopsAll struct{ able }

func (m stopsAll) Stop(ctx context.Context, link string) error {
	err := m.able.Stop(ctx, link)
	if err == nil {
		err = errors.Join(m.able.Stop(ctx, copies), m.able.Stop(ctx, groups))
	}
	return err
}

func (m stopsAll) Resume(ctx context.Context, link string, idle bool) error {
	err := m.able.Resume(ctx, link, idle)
	if err == nil {
		err = errors.Join(m.able.Resume(ctx, copies, idle), m.able.Resume(ctx, groups, idle))
	}
	return err
}

type boasts struct{ able }

func (m boasts) Delivered(ctx context.Context) (map[kafka.Partition]int64, error) {
	told, err := m.able.Delivered(ctx)
	for p := range told {
		told[p]++
	}
	return told, err
}

// translated are numbers that are changed.
type translated struct {
	mirror.Numbers
	change func(down int64, exact bool) (int64, bool)
}

func (n translated) Translate(up int64) (int64, bool, bool) {
	down, exact, ok := n.Numbers.Translate(up)
	down, exact = n.change(down, exact)
	return down, exact, ok
}

func (m able) translated(ctx context.Context, change func(int64, bool) (int64, bool)) (mirror.Translation, error) {
	t, err := m.Translation(ctx)
	for p, n := range maps.All(t.Numbers) {
		t.Numbers[p] = translated{n, change}
	}
	return t, err
}

type skips struct{ able }

func (m skips) Translation(ctx context.Context) (mirror.Translation, error) {
	return m.translated(ctx, func(down int64, exact bool) (int64, bool) { return down + 1, exact })
}

type allExact struct{ able }

func (m allExact) Translation(ctx context.Context) (mirror.Translation, error) {
	return m.translated(ctx, func(down int64, _ bool) (int64, bool) { return down, true })
}

type pastCheckpoint struct{ able }

func (m pastCheckpoint) Translation(ctx context.Context) (mirror.Translation, error) {
	t, err := m.able.Translation(ctx)
	for i := range t.Checkpoints {
		t.Checkpoints[i].Downstream += 3
	}
	return t, err
}

type saysNever struct{ able }

func (m saysNever) GroupSync(context.Context) (time.Duration, error) { return -1, nil }
