package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"breakwater/internal/estate"
	"breakwater/internal/lineage"
	"breakwater/internal/table"

	"golang.org/x/sync/errgroup"
)

// items are what the traces together say that the fault reached.
func (t *trace) items() {
	var pipelines []lineage.Node
	reached := map[lineage.Node]bool{}
	for _, r := range t.graph.Reach(t.from, t.settle) {
		reached[r.Node] = true
		if r.Kind == estate.PipelineKind {
			pipelines = append(pipelines, r.Node)
		}
		t.radius.Items = append(t.radius.Items, t.item(r)...)
	}
	for _, step := range t.graph.Order(pipelines) {
		var names []string
		for _, n := range step {
			names = append(names, n.Name)
		}
		t.radius.Order = append(t.radius.Order, strings.Join(names, " and "))
	}
	t.siblings(reached)
}

// item is something that the fault reached: a consumer group once for each region whose
// brokers show it.
func (t *trace) item(r lineage.Reached) []lineage.Item {
	i := lineage.Item{Kind: r.Kind, Name: r.Name, Since: r.Since, First: r.First, Known: true}
	for _, e := range r.By {
		if e.Says != brokersSay {
			i.Why = append(i.Why, e.Says)
		}
	}
	switch r.Kind {
	case lineage.JobKind, lineage.DatasetKind:
		i.Known = false
	case estate.TableKind:
		i.Where = t.region
		if w := t.tables[r.Name]; w != nil {
			i.Streams = w.streams(r.First)
		}
	case estate.ConsumerGroupKind:
		_, _, i.Known = t.c.Estate.ConsumerGroup(r.Name)
		var all []lineage.Item
		for _, region := range slices.Sorted(maps.Keys(t.groups[r.Name])) {
			one := i
			one.Where, one.Why = region, slices.Concat(i.Why, t.groups[r.Name][region])
			all = append(all, one)
		}
		if len(all) > 0 {
			return all
		}
	}
	return []lineage.Item{i}
}

// streams are the streaming writers that brought batches since a version, in order.
func (w *logged) streams(since *int64) []string {
	all := map[string]bool{}
	for _, c := range w.commits {
		for _, app := range c.apps {
			if since != nil && c.number >= *since {
				all[app] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// siblings are the tables into which a streaming writer that wrote bad versions wrote as
// well, since then. Nothing says that they read the fault; what brought it was there.
func (t *trace) siblings(reached map[lineage.Node]bool) {
	wrote := map[string][]string{} // by streaming writer, the tables that hold the fault
	for n, h := range t.from {
		if w := t.tables[n.Name]; n.Kind == estate.TableKind && w != nil {
			for _, app := range w.streams(h.First) {
				wrote[app] = append(wrote[app], n.Name)
			}
		}
	}
	for name, w := range t.tables {
		n := lineage.Node{Kind: estate.TableKind, Name: name}
		if _, start := t.from[n]; start || reached[n] {
			continue
		}
		for _, c := range w.commits {
			for _, app := range c.apps {
				for _, of := range wrote[app] {
					t.radius.Items = append(t.radius.Items, lineage.Item{
						Kind: estate.TableKind, Name: name, Where: t.region, Since: c.at, First: &c.number, Streams: []string{app}, Known: true, Decided: lineage.Leave,
						Why: []string{fmt.Sprintf("the streaming writer %s, which wrote bad versions of table %s, wrote it too: see whether it holds the fault", app, of)},
					})
				}
			}
		}
	}
}

// copies looks which other regions have the bad versions: replication copies a fault, too.
func (t *trace) copies(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, o := range t.radius.Origins {
		for _, r := range t.c.Estate.Regions {
			if o.Kind != estate.TableKind || r.Region == t.region {
				continue
			}
			g.Go(func() error {
				t.copied(ctx, o, r.Region)
				return nil
			})
		}
	}
	_ = g.Wait() // what could not be read is noted
}

func (t *trace) copied(ctx context.Context, o lineage.Origin, region string) {
	var extent table.Extent
	site, err := t.lake.Table(ctx, t.c.Estate, region, o.Name)
	if err == nil {
		var l table.Table
		if l, err = site.Open(ctx); err == nil {
			extent = l.Extent()
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.read("copy of table %s in %s: there is none", o.Name, region)
	case err != nil:
		t.miss(region, err, "copy of table %s in %s", o.Name, region)
	case extent.Head < *o.Bad:
		t.read("copy of table %s in %s: it does not hold the fault", o.Name, region)
	default:
		t.read("copy of table %s in %s", o.Name, region)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.radius.Items = append(t.radius.Items, lineage.Item{
			Kind: lineage.CopyKind, Name: o.Name, Where: region, First: o.Bad, Since: o.Since, Known: true,
			Why: []string{fmt.Sprintf("its log there goes on to version %d, the first bad one, or further", *o.Bad)},
		})
	}
}

// backups looks which backups of the group hold bad versions, and which is the newest
// that holds none.
func (t *trace) backups(ctx context.Context) {
	if t.c.Estate.Backup == nil {
		return
	}
	group := t.radius.Group
	look, err := t.lake.Backups(ctx, t.c.Estate, group)
	if err != nil {
		t.miss("", err, "backups of group %s", group)
		return
	}
	newest := "none of them"
	for _, b := range look.All {
		if !b.Good() {
			t.miss("", b.Damage, "backup %s/%d", group, b.Seq)
			continue
		}
		i := lineage.Item{Kind: lineage.BackupKind, Name: b.Manifest.Name(), Since: b.Manifest.Cut, Known: true}
		for _, o := range t.radius.Origins {
			m, has := b.Manifest.Table(o.Name)
			if o.Kind == estate.TableKind && has && m.Version >= *o.Bad {
				i.Why = append(i.Why, fmt.Sprintf("it has version %d of table %s", m.Version, o.Name))
			}
		}
		if len(i.Why) > 0 {
			t.radius.Items = append(t.radius.Items, i)
		} else {
			newest = b.Manifest.Name()
		}
	}
	t.read("backups of group %s: without the fault is, as the newest, %s", group, newest)
}
