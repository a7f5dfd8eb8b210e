package mirrortest

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
	"breakwater/internal/reach"
)

// memory is two clusters and a mirror between them, in memory. The mirror has come
// as far as it can whenever somebody looks.
type memory struct {
	mu     sync.Mutex
	names  mirror.Names
	gap    int64 // numbers that each record takes in the target besides its own
	links  map[string]mirror.State
	source []int64                  // by partition: the end of the log, which starts at 0
	next   []int64                  // by partition: the first that was not copied
	target [][]int64                // by partition: offsets of the records
	syncs  []mirror.Syncs           // by partition
	notes  int64                    // in the mirror's own topic
	theirs map[string]int64         // commits in the source, in every partition
	ours   map[string]kafka.Offsets // commits in the target
}

// Its links: the one copies records, the other moves groups.
const (
	copies = "copies"
	groups = "groups"
	topic  = "orders"
	own    = "notes"
)

func newMemory(gap int64) *memory {
	m := &memory{
		gap: gap, links: map[string]mirror.State{copies: mirror.Running, groups: mirror.Running},
		source: make([]int64, 2), next: make([]int64, 2), target: make([][]int64, 2), syncs: make([]mirror.Syncs, 2),
		theirs: map[string]int64{}, ours: map[string]kafka.Offsets{},
	}
	return m
}

func (m *memory) partition(i int) kafka.Partition {
	return kafka.Partition{Topic: topic, ID: int32(i)}
}

// copied is where it is copied to.
func (m *memory) copied(i int) kafka.Partition { return m.names.Target(m.partition(i)) }

// Names are the names at the target.
func (m *memory) Names() mirror.Names { return m.names }

// end is the end of the target's log.
func (m *memory) end(i int) int64 { return int64(len(m.target[i])) * (m.gap + 1) }

// now brings the mirror as far as it can come, and takes the lock.
func (m *memory) now() (unlock func()) {
	m.mu.Lock()
	if m.links[copies] == mirror.Running {
		for i := range m.source {
			m.copy(i)
		}
	}
	if m.links[groups] == mirror.Running {
		for group, at := range m.theirs {
			m.move(group, at)
		}
	}
	return m.mu.Unlock
}

func (m *memory) copy(i int) {
	for ; m.next[i] < m.source[i]; m.next[i]++ {
		at := m.end(i)
		m.target[i] = append(m.target[i], at)
		m.notes++
		if m.next[i]%3 == 0 {
			m.syncs[i] = mirror.NewSyncs(append(m.syncs[i], mirror.Sync{Partition: m.partition(i), Upstream: m.next[i], Downstream: at})...)
		}
	}
}

func (m *memory) move(group string, at int64) {
	if m.ours[group] == nil {
		m.ours[group] = kafka.Offsets{}
	}
	for i := range m.source {
		if to, _, ok := m.numbers(i).Translate(at); ok && to > m.ours[group][m.copied(i)] {
			m.ours[group][m.copied(i)] = min(to, m.end(i))
			m.notes++
		}
	}
}

// same are the numbers of a mirror that keeps them.
type same struct{}

func (same) Translate(upstream int64) (int64, bool, bool) { return upstream, true, true }
func (same) Reach() int64                                 { return math.MaxInt64 }

func (m *memory) numbers(i int) mirror.Numbers {
	if m.gap == 0 {
		return same{}
	}
	return m.syncs[i]
}

func (m *memory) Links() []string { return []string{copies, groups} }

func (m *memory) Known(context.Context) ([]string, error) { return []string{groups, copies}, nil }

func (m *memory) Look(_ context.Context, link string) (mirror.Link, error) {
	defer m.now()()
	state, ok := m.links[link]
	if !ok {
		return mirror.Link{Name: link, State: mirror.Missing, Said: "who is that?"}, nil
	}
	l := mirror.Link{Name: link, State: state, Works: state == mirror.Running, Said: string(state)}
	if l.Works {
		l.Tasks = 1
	}
	return l, nil
}

func (m *memory) Stop(_ context.Context, link string) error { return m.to(link, mirror.Stopped) }

func (m *memory) Resume(_ context.Context, link string, _ bool) error {
	return m.to(link, mirror.Running)
}

func (m *memory) to(link string, state mirror.State) error {
	defer m.now()()
	if _, ok := m.links[link]; !ok {
		return fmt.Errorf("link %s: %w", link, fs.ErrNotExist)
	}
	m.links[link] = state
	return nil
}

func (m *memory) Own() []string { return []string{own, "never-made"} }

func (m *memory) Positions(ctx context.Context, source mirror.Source, topics ...string) (map[kafka.Partition]mirror.Position, error, error) {
	at := map[kafka.Partition]mirror.Position{}
	for _, t := range topics {
		if t != topic {
			return nil, nil, fmt.Errorf("topic %s: %w", t, fs.ErrNotExist)
		}
		maps.Copy(at, m.positions())
	}
	if source == nil {
		return at, reach.ErrUnreachable, nil
	}
	ends, err := source.Ends(ctx, topics...)
	switch {
	case reach.Unreachable(err):
		return at, err, nil
	case err != nil:
		return nil, nil, err
	}
	for p, pos := range at {
		e, ok := ends[p]
		if !ok {
			return nil, nil, fmt.Errorf("the source has no %v: %w", p, fs.ErrNotExist)
		}
		pos.Source = &e
		at[p] = pos
	}
	return at, nil, nil
}

// positions are what the target has.
func (m *memory) positions() map[kafka.Partition]mirror.Position {
	defer m.now()()
	at := map[kafka.Partition]mirror.Position{}
	for i, next := range m.next {
		pos := mirror.Position{Next: next, Target: kafka.Ends{Stable: m.end(i), End: m.end(i)}}
		if next > 0 {
			pos.Newest.Newest = time.Unix(next, 0)
		}
		at[m.partition(i)] = pos
	}
	return at
}

// able is a mirror with every ability.
type able struct{ *memory }

var (
	_ mirror.Translator  = able{}
	_ mirror.GroupSyncer = able{}
	_ mirror.Teller      = able{}
)

func (m able) Delivered(context.Context) (map[kafka.Partition]int64, error) {
	defer m.now()()
	told := map[kafka.Partition]int64{}
	for i, next := range m.next {
		told[m.partition(i)] = next
	}
	return told, nil
}

func (m able) GroupSync(context.Context) (time.Duration, error) { return time.Second, nil }

func (m able) Translation(context.Context) (mirror.Translation, error) {
	defer m.now()()
	t := mirror.Translation{Numbers: map[kafka.Partition]mirror.Numbers{}}
	for i := range m.source {
		t.Numbers[m.copied(i)] = m.numbers(i)
		for group, at := range m.theirs {
			if down, ok := m.ours[group][m.copied(i)]; ok {
				t.Checkpoints = append(t.Checkpoints, mirror.Checkpoint{Group: group, Partition: m.copied(i), Upstream: at, Downstream: down})
			}
		}
	}
	return t, nil
}

// clusters are both clusters, without the mirror.
type clusters struct{ *memory }

func (c clusters) Ends(_ context.Context, topics ...string) (map[kafka.Partition]kafka.Ends, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ends := map[kafka.Partition]kafka.Ends{}
	for i, end := range c.source {
		ends[c.partition(i)] = kafka.Ends{Stable: end, End: end}
	}
	if !slices.Equal(topics, []string{topic}) {
		return nil, fs.ErrNotExist
	}
	return ends, nil
}

// pair is what the suite needs.
func (m *memory) pair(of mirror.Mirror) Pair {
	return Pair{
		Mirror: of, Source: clusters{m}, Topic: topic, Patience: time.Second, Quiet: 5 * time.Millisecond,
		Produce: func(_ context.Context, n int) error {
			defer m.now()()
			for i := range m.source {
				m.source[i] += int64(n)
			}
			return nil
		},
		Held: func(context.Context) (map[kafka.Partition][]int64, error) {
			defer m.now()()
			held := map[kafka.Partition][]int64{}
			for i, records := range m.target {
				held[m.partition(i)] = slices.Clone(records)
			}
			return held, nil
		},
		Ends: func(_ context.Context, topics []string) (map[kafka.Partition]kafka.Ends, error) {
			defer m.now()()
			ends := map[kafka.Partition]kafka.Ends{}
			for _, t := range topics {
				switch t {
				case own:
					ends[kafka.Partition{Topic: own}] = kafka.Ends{End: m.notes}
				case m.names.AtTarget(topic):
					for i := range m.target {
						ends[m.copied(i)] = kafka.Ends{Stable: m.end(i), End: m.end(i)}
					}
				}
			}
			return ends, nil
		},
		Commit: func(_ context.Context, group string, at int64) error {
			defer m.now()()
			m.theirs[group] = at
			return nil
		},
		Committed: func(_ context.Context, group string) (kafka.Offsets, error) {
			defer m.now()()
			return m.ours[group], nil
		},
	}
}
