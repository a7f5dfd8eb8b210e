package pipelines

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/pipeline"
	"breakwater/internal/plural"
)

// replayDraft is a plan of pipelines.replay in the making.
type replayDraft struct {
	draft
	c      replayCall
	plan   replayPlan
	done   int           // dates that ran again already
	unread []string      // dates of which nobody knows whether they ran
	lost   []string      // what does not come back by this
	takes  time.Duration // all runs together, as they took before
}

func (d *replayDraft) accept(id, format string, args ...any) {
	d.Accepts = append(d.Accepts, action.Acceptance{ID: id, Sentence: fmt.Sprintf(format, args...)})
}

// unwritten asks to accept that what else wrote a faulty table is not run again.
func (d *replayDraft) unwritten(faults map[string]faulty, all []replayed) {
	for _, table := range slices.Sorted(maps.Keys(faults)) {
		if !slices.ContainsFunc(all, func(p replayed) bool { return slices.Contains(p.Tables, table) }) {
			d.accept("unreplayed "+table, "No pipeline that is run again writes table %s, by the estate: what was written to it since its last good version does not come back by this step.", table)
		}
	}
}

// date plans one date of a pipeline.
func (d *replayDraft) date(p *replayed, date pipeline.Date) {
	before, since := date.Before(p.Since)
	at := date.At.UTC().Format(time.RFC3339)
	switch {
	case date.Off:
		d.lost = append(d.lost, fmt.Sprintf("%s of %s, which its calendar does not have", at, p.Schedule))
		return
	case len(before)+len(since) == 0 && date.Kept:
		d.leaves("%s of %s, which never ran", at, p.Schedule)
		return
	case len(before)+len(since) == 0:
		d.unread = append(d.unread, at+" of "+p.Schedule)
	}
	p.Dates = append(p.Dates, date.At.UTC())
	if well, _ := ended(since); well > 0 {
		d.done++
		d.leaves("%s of %s, which ran again already", at, p.Schedule)
		return
	}
	took := time.Minute
	if n := len(before); n > 0 && before[n-1].Took > 0 {
		took = before[n-1].Took
	}
	d.takes += took
	from := "ran " + says(before)
	if len(before)+len(since) == 0 {
		from = "no run is on record"
	}
	if len(since) > 0 {
		from += ", and since the rollback " + says(since)
	}
	d.Effects = append(d.Effects, action.EffectLine{On: p.dated(date.At), Do: "run again, once", From: from, To: "one run more, that ends well"})
}

// pipeline adds a pipeline to the plan, with what only people can decide of it.
func (d *replayDraft) pipeline(p replayed) {
	d.plan.Pipelines = append(d.plan.Pipelines, p)
	if p.Paused && pipeline.PausedBy(p.Note) == "" {
		d.accept("paused "+p.Pipeline, "%s was paused by somebody, and not by this run (noted %q): it runs for the dates of this plan all the same, and stays paused.", p.scheduled, p.Note)
	}
	if lacks := unproven(d.c.Estate, p); len(lacks) > 0 {
		d.accept("unproven "+p.Pipeline, "Whether pipeline %s brings back what it wrote rests on its runs ending well: the estate has no quality query of %s.", p.Pipeline, strings.Join(lacks, ", "))
	}
}

// unproven is what of a pipeline's work no quality query looks at.
func unproven(e *estate.Estate, p replayed) (lacks []string) {
	for _, name := range p.Tables {
		if len(lake.Quality(e, name)) == 0 {
			lacks = append(lacks, "table "+name)
		}
	}
	if len(p.Tables) == 0 {
		return []string{"anything that it writes, of which the estate says nothing"}
	}
	return lacks
}

// change is the plan as a whole.
func (d *replayDraft) change() (action.Change, error) {
	if len(d.unread) > 0 {
		d.accept("unrecorded", "Of %s no run is on record, which may be because it is too old for that: whether it ran before, nobody knows, and it runs now.", plural.Few(d.unread))
	}
	if len(d.lost) > 0 {
		d.accept("by-hand", "What ran by hand cannot be run again: what it wrote does not come back by this step. It is %s.", strings.Join(d.lost, ", "))
	}
	dates := len(d.Effects) + d.done
	summary := fmt.Sprintf("Run %d of %s of %s again, one after the other", len(d.Effects), plural.Of(dates, "date"), plural.Of(len(d.plan.Pipelines), "pipeline"))
	if len(d.plan.Pipelines) == 0 {
		summary = "Run nothing again: no pipeline of this run has a date that ran since the last good version of what it writes"
	}
	if d.takes > 0 {
		summary += fmt.Sprintf("; as long as they took before, or a minute each where that is not known: %s", d.takes.Round(time.Second))
	}
	c, err := d.draft.plan(summary, "; not run: ", d.plan, nil)
	c.Estimate = d.takes
	return c, err
}

// ended counts the runs that ended well, and says whether one goes on.
func ended(runs []pipeline.DateRun) (well int, goesOn bool) {
	for _, r := range runs {
		switch r.End {
		case pipeline.EndedWell:
			well++
		case pipeline.GoesOn:
			goesOn = true
		case pipeline.EndedBadly:
		}
	}
	return well, goesOn
}
