package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/kafka/connect"
	"breakwater/internal/poll"
	"breakwater/internal/verdict"

	"golang.org/x/sync/errgroup"
)

func (s room) kafkaActions(c *action.Catalogue) {
	action.Add(c, s.kafkaWitness())
	action.Add(c, s.stopMirror())
	action.Add(c, s.kafkaPoint())
	action.Add(c, s.kafkaPromote())
}

func (s room) stopMirror() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "kafka.stop-mirror", Over: estate.Nothing, Effect: action.Mutates, Drill: action.DrillSkipped,
		Doc: "Stop every connector that writes into the target's Kafka, and see that nothing moves there any more.",
		// Each connector may wait out its own requests to a dead source, a minute each.
		Timing: action.Timing{Timeout: 10 * time.Minute, Estimate: 20 * time.Second},
		Plan:   s.planStopMirror, Apply: s.applyStopMirror, Verify: s.verifyStopMirror,
		Undo: &action.Undo[action.None]{Plan: s.planResumeMirror, Apply: s.applyResumeMirror, Verify: s.verifyResumeMirror},
		RedWhen: []action.Red{
			{Fault: "kafka.mirror-resumed", Want: verdict.Fail},
			{Fault: "kafka.connect-frozen", Want: verdict.Unknown},
			{Fault: "kafka.target-frozen", Want: verdict.Unknown},
		},
	}
}

// apart is how long lies between two looks that must see the same. What moves
// less often is caught by the state of whoever would move it.
const apart = time.Second

// The states of a connector, as coarse as a plan needs them: a running one may
// say FAILED or UNASSIGNED from one moment to the next.
const (
	connectorRuns    = "running"
	connectorPaused  = "paused"
	connectorEnding  = "stopping"
	connectorStopped = "stopped"
	connectorMissing = "not there"
)

// connector is one connector in a plan, as the plan found it.
type connector struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

// connectorState asks how a connector is. One that is not there is no error.
func connectorState(ctx context.Context, w *connect.Client, name string) (string, error) {
	st, err := w.Status(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return connectorMissing, nil
	case err != nil:
		return "", err
	case st.Stopped():
		return connectorStopped, nil
	case st.Connector.State == connect.Stopped:
		return connectorEnding, nil
	case st.Connector.State == connect.Paused:
		return connectorPaused, nil
	}
	return connectorRuns, nil
}

// connectors asks how every connector of the mirror into the target is. Without a
// mirror there are none, and the client is nil.
func (s room) connectors(ctx context.Context, c action.Call[action.None]) (*connect.Client, []connector, error) {
	reg, err := c.Estate.RegionNamed(c.Run.Target)
	if err != nil {
		return nil, nil, err
	}
	if reg.Connect == nil {
		return nil, nil, nil
	}
	w, decl, err := s.Connect(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return nil, nil, err
	}
	names := decl.Connectors()
	all := make([]connector, len(names))
	g, ctx := errgroup.WithContext(ctx)
	for i, name := range names {
		g.Go(func() error {
			state, err := connectorState(ctx, w, name)
			all[i] = connector{name, state}
			return err
		})
	}
	return w, all, g.Wait()
}

func onConnector(name, region string) string {
	return "connector " + name + " of " + region
}

func noMirror(region string) string {
	return "the estate names no Connect that mirrors into " + region
}

func (s room) planStopMirror(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	w, all, err := s.connectors(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	if w == nil {
		return action.Change{Summary: "Nothing to stop: " + noMirror(c.Run.Target)}, nil
	}
	ch := action.Change{Summary: "Every connector into " + c.Run.Target + " is stopped already"}
	for _, k := range all {
		on := onConnector(k.Name, c.Run.Target)
		ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: on, Version: k.State})
		if k.State != connectorStopped && k.State != connectorMissing {
			ch.Effects = append(ch.Effects, action.EffectLine{On: on, Do: "stop", From: k.State, To: connectorStopped})
		}
	}
	if n := len(ch.Effects); n > 0 {
		ch.Summary = fmt.Sprintf("Stop %d of %d connectors that write into %s", n, len(all), c.Run.Target)
	}
	if ch.Data, err = action.Encode(all); err == nil {
		ch.Undo, err = action.Encode(all)
	}
	return ch, err
}

// applyStopMirror stops what the plan stops.
func (s room) applyStopMirror(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	return s.moveConnectors(ctx, c, "stopped", connectorStopped, (*connect.Client).Stop)
}

// moveConnectors brings the plan's connectors to a state. One that is neither as
// the plan saw it nor there already is [action.ErrMoved]: then what an undo would
// put back is not what there was.
func (s room) moveConnectors(ctx context.Context, c action.Call[action.None], word, want string, move func(*connect.Client, context.Context, string) (connect.Status, error)) (action.Outcome, error) {
	planned, err := action.Decode[[]connector](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	if len(planned) == 0 {
		return action.Outcome{Summary: c.Plan.Summary}, nil
	}
	return s.eachConnector(ctx, c, planned, word, func(ctx context.Context, w *connect.Client, k connector) (bool, error) {
		now, err := connectorState(ctx, w, k.Name)
		switch {
		case err != nil || now == want:
			return false, err
		case now != k.State && now != connectorEnding:
			return false, fmt.Errorf("%w: %s is %s, and the plan saw it %s; plan again", action.ErrMoved, onConnector(k.Name, c.Run.Target), now, k.State)
		case now == connectorMissing:
			return false, nil
		}
		if err := c.Guard(ctx); err != nil {
			return false, err
		}
		_, err = move(w, ctx, k.Name)
		return err == nil, err
	})
}

// eachConnector does f for every connector at the same time: with a dead source
// each takes a minute, and they do not wait for one another.
func (s room) eachConnector(ctx context.Context, c action.Call[action.None], all []connector, done string, f func(context.Context, *connect.Client, connector) (bool, error)) (action.Outcome, error) {
	if _, err := s.KafkaToChange(ctx, c.Estate, c.Run.Target); err != nil {
		return action.Outcome{}, err
	}
	w, _, err := s.Connect(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return action.Outcome{}, err
	}
	var changed, looked atomic.Int64
	var g errgroup.Group // one that fails does not break off the others
	for _, k := range all {
		g.Go(func() error {
			did, err := f(ctx, w, k)
			if did {
				changed.Add(1)
			}
			if err == nil {
				c.Progress(looked.Add(1), int64(len(all)), k.Name+" is "+done)
			}
			return err
		})
	}
	err = g.Wait()
	n := changed.Load()
	return action.Outcome{Summary: fmt.Sprintf("%s %d of %d connectors", done, n, len(all)), Mutations: n}, err
}

// verifyStopMirror asks the worker for each connector, and then does not take its
// word: what a mirror writes, its records, its offsets and its checkpoints, must
// be the same at two looks.
func (s room) verifyStopMirror(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	reg, err := c.Estate.RegionNamed(c.Run.Target)
	if err != nil {
		return nil, err
	}
	if reg.Connect == nil {
		return []action.Observation{action.Saw("nothing mirrors into "+c.Run.Target, "no Connect in the estate", noMirror(c.Run.Target), true)}, nil
	}
	var topics []string
	for _, i := range c.Estate.Items(estate.TopicKind, estate.Filter{}) {
		topics = append(topics, i.Name)
	}
	internal := []string{reg.Connect.OffsetsTopic}
	if src, err := c.Estate.RegionNamed(c.Run.Source); err == nil && src.Kafka != nil {
		internal = append(internal, src.Kafka.Alias+".checkpoints.internal", src.Kafka.Alias+".heartbeats")
	}
	// All look at the same time: what does not answer costs its time-out once.
	var states []action.Observation
	looks := make([]action.Observation, 2)
	var g errgroup.Group
	g.Go(func() error {
		var err error
		states, err = s.connectorsAre(ctx, c, connect.Stopped, connect.Status.Stopped)
		return err
	})
	for i, what := range []string{"no record arrives in a mirrored topic", "no connector notes any progress"} {
		g.Go(func() error {
			looks[i] = s.unmoved(ctx, c, what, [][]string{topics, internal}[i])
			return nil
		})
	}
	err = g.Wait()
	return append(states, looks...), err
}

// unmoved observes that topics of the target are the same at two looks.
func (s room) unmoved(ctx context.Context, c action.Call[action.None], what string, topics []string) action.Observation {
	want := fmt.Sprintf("the same ends at two looks, %s apart", apart)
	k, err := s.Kafka(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	}
	moved, n, err := moving(ctx, k, topics)
	if err != nil {
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	}
	return action.Conclude(what, want, fmt.Sprintf("%d partitions of %d topics unmoved", n, len(topics)), moved, 1)
}

// connectorsAre observes every connector's state by the worker's status.
func (s room) connectorsAre(ctx context.Context, c action.Call[action.None], want string, holds func(connect.Status) bool) ([]action.Observation, error) {
	w, decl, err := s.Connect(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return nil, err
	}
	names := decl.Connectors()
	obs := make([]action.Observation, len(names))
	g := errgroup.Group{}
	for i, name := range names {
		g.Go(func() error {
			what := "connector " + name + " is " + want
			st, err := w.Status(ctx, name)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				obs[i] = action.Saw(what, want, "the worker knows no such connector: correct connect in the estate, or look for the worker that runs it", false)
			case err != nil:
				obs[i] = action.Unknown(c.Run, c.Run.Target, what, want, err, "")
			default:
				obs[i] = action.Saw(what, want+" with its tasks", fmt.Sprintf("%s, %d tasks", st, len(st.Tasks)), holds(st))
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
	if len(first) == 0 {
		return nil, 0, nil
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

// planResumeMirror resumes those connectors that ran before this run stopped
// them. One that a person had paused stays stopped, which moves no more records
// than a paused one.
func (s room) planResumeMirror(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	was, err := action.Decode[[]connector](c.Plan.Undo)
	if err != nil {
		return action.Change{}, err
	}
	if len(was) == 0 {
		return action.Change{Summary: "Nothing was stopped: " + noMirror(c.Run.Target)}, nil
	}
	w, _, err := s.Connect(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return action.Change{}, err
	}
	var back []connector
	ch := action.Change{Summary: "Every connector that ran into " + c.Run.Target + " runs again"}
	var left []string
	for _, k := range was {
		if k.State != connectorRuns {
			left = append(left, fmt.Sprintf("%s was %s before", k.Name, k.State))
			continue
		}
		now, err := connectorState(ctx, w, k.Name)
		if err != nil {
			return action.Change{}, err
		}
		if now == connectorEnding {
			now = connectorStopped // it will be
		}
		on := onConnector(k.Name, c.Run.Target)
		back = append(back, connector{k.Name, now})
		ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: on, Version: now})
		if now != connectorRuns && now != connectorMissing {
			ch.Effects = append(ch.Effects, action.EffectLine{On: on, Do: "resume", From: now, To: connectorRuns})
		}
	}
	if n := len(ch.Effects); n > 0 {
		ch.Summary = fmt.Sprintf("Resume %d connectors into %s", n, c.Run.Target)
	}
	if len(left) > 0 {
		ch.Summary += "; as they are stay: " + strings.Join(left, ", ")
	}
	ch.Data, err = action.Encode(back)
	return ch, err
}

func (s room) applyResumeMirror(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	return s.moveConnectors(ctx, c, "resumed", connectorRuns, (*connect.Client).Resume)
}

func (s room) verifyResumeMirror(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	back, err := action.Decode[[]connector](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	if len(back) == 0 {
		return []action.Observation{action.Saw("connectors that ran before run again", "those that this run stopped", "it stopped none that ran", true)}, nil
	}
	all, err := s.connectorsAre(ctx, c, connect.Running, connect.Status.Running)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(o action.Observation) bool {
		return !slices.ContainsFunc(back, func(k connector) bool { return k.Name == o.Item })
	}), nil
}
