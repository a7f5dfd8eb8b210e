package kafka

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/mirror"
	"breakwater/internal/plural"
)

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
	m, err := s.Mirror(ctx, c.Estate, c.Run.Source, c.Run.Target)
	if err != nil {
		return action.Change{}, err
	}
	var back []connector
	ch := action.Change{Summary: "Every connector that ran into " + c.Run.Target + " runs again"}
	var left []string
	for _, k := range was {
		if k.State != mirror.Running {
			left = append(left, fmt.Sprintf("%s was %s before", k.Name, k.State))
			continue
		}
		l, err := m.Look(ctx, k.Name)
		if err != nil {
			return action.Change{}, err
		}
		now := l.State
		if now == mirror.Stopping {
			now = mirror.Stopped // it will be
		}
		on := onConnector(k.Name, c.Run.Target)
		back = append(back, connector{k.Name, now, k.Idle})
		ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: on, Version: string(now)})
		if now != mirror.Running && now != mirror.Missing {
			ch.Effects = append(ch.Effects, action.EffectLine{On: on, Do: "resume", From: string(now), To: string(mirror.Running)})
		}
	}
	if n := len(ch.Effects); n > 0 {
		ch.Summary = fmt.Sprintf("Resume %s into %s", plural.Of(n, "connector"), c.Run.Target)
	}
	if len(left) > 0 {
		ch.Summary += "; as they are stay: " + strings.Join(left, ", ")
	}
	ch.Data, err = action.Encode(back)
	return ch, err
}

func (s room) applyResumeMirror(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	return s.moveConnectors(ctx, c, "resumed", mirror.Running, func(ctx context.Context, m mirror.Mirror, k connector) error {
		return m.Resume(ctx, k.Name, k.Idle || c.Run.SourceUnreachable)
	})
}

func (s room) verifyResumeMirror(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	back, err := action.Decode[[]connector](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	if len(back) == 0 {
		return []action.Observation{action.Nothing("connectors that ran before run again", "those that this run stopped", "it stopped none that ran")}, nil
	}
	// Of a source that is gone, as people accepted, a connector has no task that could run:
	// nor had it before.
	idle := map[string]bool{}
	for _, k := range back {
		idle[k.Name] = k.Idle || c.Run.SourceUnreachable
	}
	all, err := s.connectorsAre(ctx, c, "RUNNING", func(l mirror.Link) bool { return l.Works || l.Idle() && idle[l.Name] })
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(o action.Observation) bool {
		return !slices.ContainsFunc(back, func(k connector) bool { return k.Name == o.Item })
	}), nil
}
