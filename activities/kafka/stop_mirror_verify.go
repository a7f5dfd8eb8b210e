package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
	"breakwater/internal/plural"
	"breakwater/internal/poll"

	"golang.org/x/sync/errgroup"
)

// apart is how long lies between two looks that must see the same. What moves
// less often is caught by the state of whoever would move it.
const apart = time.Second

// verifyStopMirror asks the worker for each connector, and then does not take its
// word: what a mirror writes, its records, its offsets and its checkpoints, must
// be the same at two looks.
func (s room) verifyStopMirror(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	var topics []string
	for _, i := range c.Estate.Items(estate.TopicKind, estate.Filter{}) {
		topics = append(topics, s.names(c).AtTarget(i.Name))
	}
	const arrives = "no record arrives in a mirrored topic"
	m, err := s.Mirror(ctx, c.Estate, c.Run.Source, c.Run.Target)
	if errors.Is(err, mirror.ErrNone) { // whatever mirrors is not the estate's; its topics can be looked at
		none := action.Nothing("every connector into "+c.Run.Target+" is STOPPED", "the connectors of the estate", noMirror(c.Run.Target))
		return []action.Observation{none, s.unmoved(ctx, c, arrives, topics)}, nil
	}
	if err != nil {
		return nil, err
	}
	// All look at the same time: what does not answer costs its time-out once.
	var states []action.Observation
	looks := make([]action.Observation, 2)
	var g errgroup.Group
	g.Go(func() error {
		var err error
		states, err = s.connectorsAre(ctx, c, "STOPPED", func(l mirror.Link) bool { return l.State == mirror.Stopped })
		return err
	})
	for i, what := range []string{arrives, "no connector notes any progress"} {
		g.Go(func() error {
			looks[i] = s.unmoved(ctx, c, what, [][]string{topics, m.Own()}[i])
			return nil
		})
	}
	err = g.Wait()
	return append(states, looks...), err
}

// unmoved observes that topics of the target are the same at two looks.
func (s room) unmoved(ctx context.Context, c action.Call[action.None], what string, topics []string) action.Observation {
	want := fmt.Sprintf("the same ends at two looks, %s apart", apart)
	if len(topics) == 0 {
		return action.Nothing(what, want, "there is no such topic in the estate")
	}
	k, err := s.Kafka(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	}
	moved, n, err := moving(ctx, k, topics)
	if err != nil {
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	}
	got := fmt.Sprintf("%s of %s unmoved", plural.Of(n, "partition"), plural.Of(len(topics), "topic"))
	if n == 0 {
		got = fmt.Sprintf("none of %s is there, at both looks", plural.Of(len(topics), "topic"))
	}
	return action.Conclude(what, want, got, moved, len(topics))
}

// connectorsAre observes how every connector is, as the mirror says.
func (s room) connectorsAre(ctx context.Context, c action.Call[action.None], want string, holds func(mirror.Link) bool) ([]action.Observation, error) {
	m, err := s.Mirror(ctx, c.Estate, c.Run.Source, c.Run.Target)
	if err != nil {
		return nil, err
	}
	names := m.Links()
	obs := make([]action.Observation, len(names))
	g := errgroup.Group{}
	for i, name := range names {
		g.Go(func() error {
			what := "connector " + name + " is " + want
			l, err := m.Look(ctx, name)
			switch {
			case err == nil && l.State == mirror.Missing:
				obs[i] = action.Saw(what, want, "the worker knows no such connector: correct connect in the estate, or look for the worker that runs it", false)
			case err != nil:
				obs[i] = action.Unknown(c.Run, c.Run.Target, what, want, err, "")
			default:
				obs[i] = action.Saw(what, want+" with its tasks", fmt.Sprintf("%s, %s", l.Said, plural.Of(l.Tasks, "task")), holds(l))
			}
			obs[i].Item = name
			return nil
		})
	}
	return obs, g.Wait()
}

// moving reads the ends of topics twice and names the partitions that moved.
// Topics that are not there do not move.
func moving(ctx context.Context, k *kafka.Client, topics []string) (moved []string, partitions int, err error) {
	first, err := endsOf(ctx, k, topics)
	if err != nil {
		return nil, 0, err
	}
	if err := poll.Wait(ctx, apart); err != nil {
		return nil, 0, err
	}
	then, err := endsOf(ctx, k, topics)
	if err != nil {
		return nil, 0, err
	}
	for p, e := range then {
		if was := first[p]; was.End != e.End || was.Stable != e.Stable {
			moved = append(moved, fmt.Sprintf("%v from %d to %d", p, was.End, e.End))
		}
	}
	slices.Sort(moved)
	return moved, len(then), nil
}

// endsOf reads the ends of those of the topics that are there.
func endsOf(ctx context.Context, k *kafka.Client, topics []string) (map[kafka.Partition]kafka.Ends, error) {
	all := map[kafka.Partition]kafka.Ends{}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(action.AtOnce)
	for _, t := range topics {
		g.Go(func() error {
			ends, err := k.Ends(ctx, t)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(all, ends)
			return err
		})
	}
	return all, g.Wait()
}
