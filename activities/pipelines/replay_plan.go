package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/lineage"
	"breakwater/internal/pipeline"
	"breakwater/internal/plural"
	"breakwater/internal/record"
)

// window is the time whose dates a pipeline runs again.
type window struct {
	from, to time.Time
	since    time.Time // from then on a run is one that was brought back
	ahead    bool      // there was no rollback yet: from now on
}

// faulty is what this run knows of a table that a pipeline writes.
type faulty struct {
	good, back time.Time // its last good version, and its rollback
}

// writes are the tables that a pipeline writes, by the estate.
func writes(all estate.Datasets, p estate.Pipeline) (tables []string) {
	for _, name := range p.Writes {
		if d, ok := all.Of(name); ok && d.Kind == estate.TableKind {
			tables = append(tables, d.Name)
		}
	}
	return tables
}

// faults are the tables of the run's groups of which this run found the last good version,
// or which it rolled back.
func (r room) faults(ctx context.Context, c replayCall, region string) (map[string]faulty, error) {
	all := map[string]faulty{}
	for _, g := range lake.Groups(c.Estate, c.Run) {
		for _, t := range g.Tables {
			var f faulty
			found, _, err := record.LastGood.Read(ctx, c.Records, t.Table)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			if err == nil && found.Region == region {
				f.good = found.Good.Time
			}
			if f.back, err = r.rolledBack(ctx, c, region, t.Table); err != nil {
				return nil, err
			}
			if f != (faulty{}) {
				all[t.Table] = f
			}
		}
	}
	return all, nil
}

// chosen are the pipelines that run again, what is read before what reads it, with what
// each of them writes.
func chosen(c replayCall, region string, faults map[string]faulty) (all []replayed, err error) {
	named, datasets := slices.Clone(c.With.Pipelines), c.Estate.Datasets()
	byNode := map[lineage.Node]replayed{}
	for _, g := range lake.Groups(c.Estate, c.Run) {
		for _, p := range g.Pipelines {
			tables := writes(datasets, p)
			at := slices.Index(named, p.Pipeline)
			if at < 0 && (len(c.With.Pipelines) > 0 || !slices.ContainsFunc(tables, func(t string) bool { _, is := faults[t]; return is })) {
				continue
			}
			if at >= 0 {
				named = slices.Delete(named, at, at+1)
			}
			if p.In[region] == "" {
				return nil, fmt.Errorf("%w: pipeline %s has no schedule in %s: name those that run there in pipelines", action.ErrRefused, p.Pipeline, region)
			}
			byNode[lineage.Node{Kind: estate.PipelineKind, Name: p.Pipeline}] = replayed{scheduled: scheduled{p.Pipeline, g.Group, region, p.In[region]}, Tables: tables}
		}
	}
	if len(named) > 0 {
		return nil, fmt.Errorf("%w: the groups of this run have no pipeline %s: correct pipelines", action.ErrRefused, plural.Few(named))
	}
	nodes := make([]lineage.Node, 0, len(byNode))
	for n := range byNode {
		nodes = append(nodes, n)
	}
	for _, step := range lineage.OfEstate(c.Estate).Order(nodes) {
		for _, n := range step {
			all = append(all, byNode[n])
		}
	}
	return all, nil
}

// windowOf is the time of a pipeline.
func windowOf(c replayCall, p replayed, faults map[string]faulty) (w window, err error) {
	for _, name := range p.Tables {
		f := faults[name]
		if !f.good.IsZero() && (w.from.IsZero() || f.good.Before(w.from)) {
			w.from = f.good
		}
		if f.back.After(w.since) {
			w.since = f.back
		}
	}
	if c.With.From != nil {
		w.from = *c.With.From
	}
	if c.With.To != nil {
		w.to = *c.With.To
	}
	now := time.Now()
	switch {
	case w.from.IsZero():
		return w, fmt.Errorf("%w: this run found no last good version, with its time, of what pipeline %s writes: give from, or put table.last-good before this step", action.ErrRefused, p.Pipeline)
	case w.since.IsZero() && w.to.IsZero() && c.Run.Mode == action.ModeLive:
		return w, fmt.Errorf("%w: this run rolled back nothing that pipeline %s writes, so nothing says which of its runs came before that: give to, the time at which the writers stood still", action.ErrRefused, p.Pipeline)
	case w.since.IsZero() && w.to.IsZero(): // it only plans, and there is no rollback yet
		w.to, w.since, w.ahead = now, now, true
	case w.since.IsZero():
		w.since = w.to
	case w.to.IsZero():
		w.to = w.since
	}
	if !w.from.Before(w.to) {
		return w, fmt.Errorf("%w: for pipeline %s, from (%s) is not before to (%s)", action.ErrRefused, p.Pipeline, w.from.UTC().Format(time.RFC3339), w.to.UTC().Format(time.RFC3339))
	}
	w.since = w.since.UTC()
	return w, nil
}

// rerunner opens what runs dates of a schedule again.
func (r room) rerunner(ctx context.Context, c replayCall, p scheduled) (pipeline.Rerunner, error) {
	k, err := r.connector(ctx, plain(c), p)
	if err != nil {
		return nil, err
	}
	again, err := pipeline.RerunnerOf(k)
	if err != nil {
		return nil, fmt.Errorf("%w: run %s again: %w: do it by hand, and leave it out of pipelines", action.ErrRefused, p, err)
	}
	return again, nil
}

func (r room) planReplay(ctx context.Context, c replayCall) (action.Change, error) {
	region, err := lake.RegionFor(c.Run, c.Estate, c.With.Region)
	if err != nil {
		return action.Change{}, err
	}
	faults, err := r.faults(ctx, c, region)
	if err != nil {
		return action.Change{}, err
	}
	all, err := chosen(c, region, faults)
	if err != nil {
		return action.Change{}, err
	}
	d := replayDraft{c: c}
	d.unwritten(faults, all)
	for _, p := range all {
		if err := r.planOne(ctx, &d, p, faults); err != nil {
			return action.Change{}, err
		}
	}
	return d.change()
}

// planOne plans the dates of one pipeline.
func (r room) planOne(ctx context.Context, d *replayDraft, p replayed, faults map[string]faulty) error {
	w, err := windowOf(d.c, p, faults)
	if err != nil {
		return err
	}
	now, err := r.describe(ctx, plain(d.c), p.scheduled)
	if err != nil {
		return err
	}
	switch {
	case now.State == missing:
		return fmt.Errorf("%w: %s: %s", action.ErrRefused, p.scheduled, noSuch)
	case now.State == pipeline.Running && d.c.Run.Mode == action.ModeLive:
		return fmt.Errorf("%w: %s is not paused: its own runs would be skipped, or come between those that are brought back; pause it, and plan again", action.ErrRefused, p.scheduled)
	}
	p.Paused, p.Note, p.Since = now.State == pipeline.Paused, now.Note, w.since
	again, err := r.rerunner(ctx, d.c, p.scheduled)
	if err != nil {
		return err
	}
	dates, err := again.Dates(ctx, p.Schedule, w.from, w.to, d.c.With.most())
	if errors.Is(err, pipeline.ErrManyDates) {
		return fmt.Errorf("%w: %w of pipeline %s: give a later from or an earlier to, and do it in parts, or give more by most", action.ErrRefused, err, p.Pipeline)
	}
	if err != nil {
		return err
	}
	d.needs(p.scheduled, now)
	for _, date := range dates {
		d.date(&p, date)
	}
	if w.ahead { // when it was planned is no part of a plan
		p.Since = time.Time{}
	}
	if len(p.Dates) > 0 {
		d.pipeline(p)
	}
	return nil
}

// says writes runs for people, as the orchestrator calls their ends.
func says(runs []pipeline.DateRun) string {
	if len(runs) == 0 {
		return "never"
	}
	var words []string
	for _, r := range runs {
		words = append(words, r.Says)
	}
	return fmt.Sprintf("%s (%s)", plural.Of(len(runs), "time"), strings.Join(words, ", "))
}
