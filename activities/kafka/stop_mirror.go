package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/mirror"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/verdict"

	"golang.org/x/sync/errgroup"
)

func (s room) stopMirror() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "kafka.stop-mirror", Over: estate.Nothing, Effect: action.Mutates, Drill: action.DrillSkipped,
		Doc: "Stop every connector that writes into the target's Kafka, and see that nothing moves there any more.",
		// Each connector may wait out its own requests to a dead source, a minute each.
		Timing: action.Timing{Timeout: 10 * time.Minute, Estimate: 20 * time.Second},
		Things: mirroredOf, Plan: s.planStopMirror, Apply: s.applyStopMirror, Verify: s.verifyStopMirror,
		Undo: &action.Undo[action.None]{Plan: s.planResumeMirror, Apply: s.applyResumeMirror, Verify: s.verifyResumeMirror, Show: action.Shows[[]connector, action.None]()},
		Show: action.Shows[[]connector, []connector](),
		Rules: []action.Rule{
			{Do: "stop", Says: "its worker is told to stop the connector", Sends: []string{"stop {on}"}},
			{Do: "resume", Says: "its worker is told to resume the connector", Sends: []string{"resume {on}"}},
		},
		Permits: permit.Join(permit.AsksMirror(), permit.StopsMirror(), permit.ReadsRecords(permit.Target, permit.Topics, permit.Mirror)),
		RedWhen: []action.Red{
			{Fault: "kafka.mirror-resumed", Want: verdict.Fail},
			{Fault: "kafka.connect-frozen", Want: verdict.Unknown},
			{Fault: "kafka.target-frozen", Want: verdict.Unknown},
		},
	}
}

// mirroredOf are what writes into the target's Kafka, as far as the estate says, and the
// topics that it would write to.
func mirroredOf(r action.Request) (names []string, none string) {
	at, ok := r.Estate.Region(r.Run.Target)
	if !ok || at.Connect != nil {
		names = append(names, "the connectors into "+r.Run.Target)
	}
	if ok && at.Kafka != nil {
		for _, i := range r.Estate.Items(estate.TopicKind, estate.Filter{}) {
			names = append(names, i.Name)
		}
	}
	return names, noMirror(r.Run.Target)
}

// connector is one connector in a plan, as the plan found it.
type connector struct {
	Name  string       `json:"name"`
	State mirror.State `json:"state"`
	// Idle says that it ran without any task, having nothing to do: so it comes back.
	Idle bool `json:"idle,omitempty"`
}

// connectors asks how every connector of the mirror into the target is.
// [mirror.ErrNone] without a mirror.
func (s room) connectors(ctx context.Context, c action.Call[action.None]) ([]connector, error) {
	m, err := s.Mirror(ctx, c.Estate, c.Run.Source, c.Run.Target)
	if err != nil {
		return nil, err
	}
	names := m.Links()
	all := make([]connector, len(names))
	g, ctx := errgroup.WithContext(ctx)
	for i, name := range names {
		g.Go(func() error {
			l, err := m.Look(ctx, name)
			all[i] = connector{name, l.State, l.Idle()}
			return err
		})
	}
	return all, g.Wait()
}

func onConnector(name, region string) string {
	return "connector " + name + " of " + region
}

func (s room) planStopMirror(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	all, err := s.connectors(ctx, c)
	if errors.Is(err, mirror.ErrNone) {
		return action.Change{Summary: "Nothing to stop: " + noMirror(c.Run.Target)}, nil
	}
	if err != nil {
		return action.Change{}, err
	}
	if err := s.canStop(ctx, c, all); err != nil {
		return action.Change{}, err
	}
	ch := action.Change{Summary: "Every connector into " + c.Run.Target + " is stopped already"}
	for _, k := range all {
		on := onConnector(k.Name, c.Run.Target)
		ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: on, Version: string(k.State)})
		if k.State != mirror.Stopped && k.State != mirror.Missing {
			ch.Effects = append(ch.Effects, action.EffectLine{On: on, Do: "stop", From: string(k.State), To: string(mirror.Stopped)})
		}
	}
	if n := len(ch.Effects); n > 0 {
		ch.Summary = fmt.Sprintf("Stop %d of %s into %s", n, plural.Of(len(all), "connector", "that writes", "that write"), c.Run.Target)
	}
	if ch.Data, err = action.Encode(all); err == nil {
		ch.Undo, err = action.Encode(all)
	}
	return ch, err
}

// canStop refuses what could not be done later: a mirror that has no way to stop a link
// that runs. Nor is one stopped that is not as the estate says: topics that it does not
// write would be watched for what arrives in them.
func (s room) canStop(ctx context.Context, c action.Call[action.None], all []connector) error {
	m, err := s.Mirror(ctx, c.Estate, c.Run.Source, c.Run.Target)
	if err != nil {
		return err
	}
	if _, err := asDeclared(ctx, c, m); err != nil {
		return err
	}
	tells, ok := m.(mirror.Foreteller)
	if !ok {
		return nil
	}
	for _, k := range all {
		if k.State == mirror.Stopped || k.State == mirror.Missing {
			continue
		}
		if err := tells.CanStop(ctx, k.Name); err != nil {
			return action.Classed(err, errors.ErrUnsupported, action.ErrRefused)
		}
	}
	return nil
}

// applyStopMirror stops what the plan stops.
func (s room) applyStopMirror(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	return s.moveConnectors(ctx, c, "stopped", mirror.Stopped, func(ctx context.Context, m mirror.Mirror, k connector) error {
		return m.Stop(ctx, k.Name)
	})
}

// moveConnectors brings the plan's connectors to a state. One that is neither as
// the plan saw it nor there already is [action.ErrMoved]: then what an undo would
// put back is not what there was.
func (s room) moveConnectors(ctx context.Context, c action.Call[action.None], word string, want mirror.State, move func(context.Context, mirror.Mirror, connector) error) (action.Outcome, error) {
	planned, err := action.Decode[[]connector](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	if len(planned) == 0 {
		return action.Outcome{Summary: c.Plan.Summary}, nil
	}
	return s.eachConnector(ctx, c, planned, word, func(ctx context.Context, m mirror.Mirror, k connector) (bool, error) {
		l, err := m.Look(ctx, k.Name)
		now := l.State
		switch {
		case err != nil || now == want:
			return false, err
		case now != k.State && now != mirror.Stopping:
			return false, fmt.Errorf("%w: %s is %s, and the plan saw it %s; plan again", action.ErrMoved, onConnector(k.Name, c.Run.Target), now, k.State)
		case now == mirror.Missing:
			return false, nil
		}
		if err := c.Guard(ctx); err != nil {
			return false, err
		}
		err = move(ctx, m, k)
		return err == nil, err
	})
}

// eachConnector does f for every connector at the same time: with a dead source
// each takes a minute, and they do not wait for one another.
func (s room) eachConnector(ctx context.Context, c action.Call[action.None], all []connector, done string, f func(context.Context, mirror.Mirror, connector) (bool, error)) (action.Outcome, error) {
	if _, err := s.KafkaToChange(ctx, c.Estate, c.Run.Target); err != nil {
		return action.Outcome{}, err
	}
	m, err := s.Mirror(ctx, c.Estate, c.Run.Source, c.Run.Target)
	if err != nil {
		return action.Outcome{}, err
	}
	var changed, looked atomic.Int64
	var g errgroup.Group // one that fails does not break off the others
	for _, k := range all {
		g.Go(func() error {
			did, err := f(ctx, m, k)
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
	return action.Outcome{Summary: fmt.Sprintf("%s %d of %s", done, n, plural.Of(len(all), "connector")), Mutations: n}, err
}
