package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync/atomic"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/pipeline"

	"golang.org/x/sync/errgroup"
)

// call is one phase of an action of this room.
type call = action.Call[action.None]

// scheduled is a pipeline as it runs in one region.
type scheduled struct {
	Pipeline string `json:"pipeline"`
	Group    string `json:"group"`
	Region   string `json:"region"`
	Schedule string `json:"schedule"` // its name there
}

func (p scheduled) String() string { return "schedule " + p.Schedule + " in " + p.Region }

// missing is the state of a schedule that is not there.
const missing pipeline.State = "not there"

// regions are those of which a run pauses the pipelines: its source and its target, or
// all of the estate where it moves nothing.
func regions(c call) []string {
	if c.Run.Source != "" || c.Run.Target != "" {
		return []string{c.Run.Source, c.Run.Target}
	}
	var all []string
	for _, r := range c.Estate.Regions {
		all = append(all, r.Region)
	}
	return all
}

// pipelinesOf are the pipelines of the run's groups, or of the group that the item is, with
// a schedule in one of the run's regions.
func pipelinesOf(r action.Request) (names []string, none string) {
	c := call{Request: r}
	for _, g := range c.Estate.Groups {
		if len(c.Run.Groups) > 0 && !slices.Contains(c.Run.Groups, g.Group) || c.Item.Kind == estate.GroupKind && c.Item.Name != g.Group {
			continue
		}
		for _, p := range g.Pipelines {
			if slices.ContainsFunc(regions(c), func(region string) bool { return p.In[region] != "" }) {
				names = append(names, p.Pipeline)
			}
		}
	}
	return names, "the estate names no pipeline here"
}

// schedules lists the schedules of the pipelines of the run's groups, in the order
// of the estate, the source's before the target's.
func (r room) schedules(ctx context.Context, c call) ([]scheduled, error) {
	var all []scheduled
	for _, g := range c.Estate.Groups {
		if len(c.Run.Groups) > 0 && !slices.Contains(c.Run.Groups, g.Group) {
			continue
		}
		for _, p := range g.Pipelines {
			for _, region := range regions(c) {
				if _, err := r.Pipelines(ctx, c.Estate, region, p.Connector, c.Run); errors.Is(err, errors.ErrUnsupported) {
					return nil, fmt.Errorf("%w: pipeline %s runs in %q, which this release cannot pause; pause it by hand and take it out of the estate",
						action.ErrRefused, p.Pipeline, p.Connector)
				}
				if name := p.In[region]; name != "" {
					all = append(all, scheduled{p.Pipeline, g.Group, region, name})
				}
			}
		}
	}
	return all, nil
}

// connector opens the connector of a schedule.
func (r room) connector(ctx context.Context, c call, p scheduled) (pipeline.Connector, error) {
	if g, ok := c.Estate.Group(p.Group); ok {
		if i := slices.IndexFunc(g.Pipelines, func(has estate.Pipeline) bool { return has.Pipeline == p.Pipeline }); i >= 0 {
			return r.Pipelines(ctx, c.Estate, p.Region, g.Pipelines[i].Connector, c.Run)
		}
	}
	return nil, fmt.Errorf("%w: the estate no longer has pipeline %s of group %s, whose %s is in the plan; see to it by hand", action.ErrRefused, p.Pipeline, p.Group, p)
}

// describe asks for a schedule. One that is not there is no error.
func (r room) describe(ctx context.Context, c call, p scheduled) (pipeline.Seen, error) {
	k, err := r.connector(ctx, c, p)
	if err != nil {
		return pipeline.Seen{}, err
	}
	now, err := k.Describe(ctx, p.Schedule)
	if errors.Is(err, fs.ErrNotExist) {
		return pipeline.Seen{State: missing}, nil
	}
	return now, err
}

// describeAll asks for all of them, a few at once.
func (r room) describeAll(ctx context.Context, c call, all []scheduled) ([]pipeline.Seen, error) {
	out := make([]pipeline.Seen, len(all))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(action.AtOnce)
	for i, p := range all {
		g.Go(func() error {
			var err error
			out[i], err = r.describe(ctx, c, p)
			return err
		})
	}
	return out, g.Wait()
}

// order is what a schedule shall become.
type order struct {
	to   pipeline.State
	note string
}

// carryOut does for every schedule what decide makes of its state now, a few at
// once, and counts those that it changed: nil is nothing to do. One that fails does
// not break off the others.
func (r room) carryOut(ctx context.Context, c call, all []scheduled, decide func(i int, now pipeline.Seen) (*order, error)) (int64, error) {
	var n atomic.Int64
	var g errgroup.Group
	g.SetLimit(action.AtOnce)
	for i, p := range all {
		g.Go(func() error {
			now, err := r.describe(ctx, c, p)
			if err != nil {
				return err
			}
			o, err := decide(i, now)
			if err != nil || o == nil {
				return err
			}
			if err := r.set(ctx, c, p, now, *o); err != nil {
				return err
			}
			n.Add(1)
			return nil
		})
	}
	err := g.Wait()
	return n.Load(), err
}

// set gives a schedule what was ordered, if it is still as seen.
func (r room) set(ctx context.Context, c call, p scheduled, seen pipeline.Seen, o order) error {
	if err := c.Guard(ctx); err != nil {
		return err
	}
	k, err := r.connector(ctx, c, p)
	if err != nil {
		return err
	}
	err = k.Set(ctx, p.Schedule, seen, o.to, o.note)
	if errors.Is(err, pipeline.ErrMoved) {
		return fmt.Errorf("%w: %s %w", action.ErrMoved, p, err)
	}
	return err
}
