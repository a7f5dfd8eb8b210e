package table

import (
	"context"
	"fmt"
	"strings"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/lineage"
	"breakwater/internal/objectstore"

	"golang.org/x/sync/errgroup"
)

// largestEvents is how large an object with events may be: it is read as one.
const largestEvents = 64 << 20

// events reads the OpenLineage events of every region that were written since the fault.
// An object that was not written since has none that are later.
func (t *trace) events(ctx context.Context) {
	l := t.c.Estate.Lineage
	if l == nil {
		return
	}
	pipelines := map[string]lineage.Node{}
	for i := range t.c.Estate.Groups {
		for _, p := range t.c.Estate.Groups[i].Pipelines {
			n := lineage.Node{Kind: estate.PipelineKind, Name: p.Pipeline}
			pipelines[p.Pipeline] = n
			for _, schedule := range p.In {
				pipelines[schedule] = n
			}
		}
	}
	places := lineage.PlacesOf(t.c.Estate)
	for _, r := range t.c.Estate.Regions {
		where := fmt.Sprintf("OpenLineage events in %s", r.Region)
		b, err := t.lake.Bucket(ctx, t.c.Estate, r.Region, l.Bucket)
		if err != nil {
			t.miss(r.Region, err, "%s", where)
			continue
		}
		objects, err := t.writtenSince(ctx, b, l.Prefix)
		if err != nil {
			t.miss(r.Region, err, "%s", where)
			continue
		}
		read := make([][]lineage.Event, len(objects))
		var g errgroup.Group
		g.SetLimit(atOnce)
		for i, o := range objects {
			g.Go(func() error {
				body, err := eventsOf(ctx, b, o)
				if err == nil {
					read[i], err = lineage.ReadEvents(body)
				}
				if err != nil {
					t.miss(r.Region, err, "%s", b.URL(o.Key))
				}
				return nil
			})
		}
		_ = g.Wait() // what could not be read is noted
		for _, events := range read {
			t.graph.Runs(events, places, pipelines)
		}
		t.read("%s", where)
	}
}

// writtenSince lists the objects with events that were written since the fault.
func (t *trace) writtenSince(ctx context.Context, b objectstore.Bucket, prefix string) ([]objectstore.Object, error) {
	var all []objectstore.Object
	for o, err := range b.List(ctx, strings.Trim(prefix, "/")+"/") {
		if err != nil {
			return nil, err
		}
		if !o.LastModified.Add(time.Second).Before(t.since) && o.Size > 0 { // stores tell whole seconds
			all = append(all, o)
		}
	}
	return all, nil
}

func eventsOf(ctx context.Context, b objectstore.Bucket, o objectstore.Object) ([]byte, error) {
	if o.Size > largestEvents {
		return nil, fmt.Errorf("it has %d bytes, and up to %d are read: write smaller objects", o.Size, largestEvents)
	}
	body, _, err := b.Get(ctx, o.Key)
	return body, err
}
