package pipelines

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/pipeline"
	"breakwater/internal/plural"
	"breakwater/internal/query"
	"breakwater/internal/verdict"
)

// verifyReplay looks at the orchestrator's own record of every date, at the schedules, and
// at what the pipelines wrote.
func (r room) verifyReplay(ctx context.Context, c replayCall) ([]action.Observation, error) {
	plan, err := action.Decode[replayPlan](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	if len(plan.Pipelines) == 0 {
		return noPipelines("what was written since the last good version ran again", c.Plan.Summary), nil
	}
	var obs []action.Observation
	asked := map[string]bool{}
	for _, p := range plan.Pipelines {
		obs = append(obs, r.seenOnce(ctx, c, p))
		if p.Paused {
			obs = append(obs, r.seenPaused(ctx, plain(c), p.scheduled))
		}
		for _, name := range p.Tables {
			if !asked[name] {
				asked[name] = true
				obs = append(obs, r.seenGood(ctx, c, p, name)...)
			}
		}
		if len(p.Tables) == 0 {
			obs = append(obs, action.Nothing("what "+p.Pipeline+" writes passes", "no row that must not be", "the estate says of nothing that it writes it, which the gate accepted"))
		}
	}
	return obs, nil
}

// seenOnce observes that each date of a pipeline ran once since the rollback, and ended
// well. Attempts that failed before do not count.
func (r room) seenOnce(ctx context.Context, c replayCall, p replayed) action.Observation {
	what := fmt.Sprintf("%s of %s ran again", plural.Of(len(p.Dates), "date"), p.scheduled)
	want := fmt.Sprintf("each of them once since %s, and to a good end", p.Since.Format(time.RFC3339))
	again, err := r.rerunner(ctx, c, p.scheduled)
	var wrong []string
	for _, at := range p.Dates {
		var d pipeline.Date
		if err == nil {
			d, err = again.Date(ctx, p.Schedule, at)
		}
		if err != nil {
			break
		}
		_, since := d.Before(p.Since)
		if well, goesOn := ended(since); well != 1 || goesOn || since[len(since)-1].End != pipeline.EndedWell {
			wrong = append(wrong, fmt.Sprintf("that of %s ran %s", at.Format(time.RFC3339), says(since)))
		}
	}
	o := action.Conclude(what, want, "so by the orchestrator's record", wrong, len(p.Dates))
	if err != nil {
		o = action.Unknown(c.Run, "", what, want, err, "")
	}
	o.Item = p.Pipeline
	return o
}

// seenGood asks the quality queries of a table that a pipeline writes.
func (r room) seenGood(ctx context.Context, c replayCall, p replayed, name string) []action.Observation {
	queries := lake.Quality(c.Estate, name)
	if len(queries) == 0 {
		o := action.Nothing("what "+p.Pipeline+" wrote passes a quality query", "no row that must not be", "the estate has none of the table, which the gate accepted")
		o.Item = name
		return []action.Observation{o}
	}
	t, err := r.lake.Table(ctx, c.Estate, p.Region, name)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, p.Region, "table "+name+" passes its quality queries", "no row that must not be", err, "")}
	}
	var obs []action.Observation
	for _, q := range queries {
		obs = append(obs, r.answer(ctx, c, t, q))
	}
	return obs
}

func (r room) answer(ctx context.Context, c replayCall, t lake.Table, q estate.Query) action.Observation {
	what, want := qualityOf(t.Name, q.Query), "no row"
	rows, err := r.lake.AskQuality(ctx, r.QueryEngine(), c.Estate, t, q)
	switch {
	case errors.Is(err, query.ErrRows):
		return t.About(action.Saw(what, want, "more rows than an answer may have", false))
	case errors.Is(err, query.ErrQuery), errors.Is(err, query.ErrLimit): // says nothing of the table
		return t.About(action.Observation{What: what, Want: want, Got: err.Error(), Verdict: verdict.Unknown, Cause: action.CauseOther})
	case err != nil:
		return t.NotSeen(c.Run, what, want, err)
	case len(rows) == 0:
		return t.About(action.Saw(what, want, "no row", true))
	}
	shown, more := rows, ""
	if len(rows) > 3 {
		shown, more = rows[:3], fmt.Sprintf(" and %d more", len(rows)-3)
	}
	return t.About(action.Saw(what, want, "rows that must not be: "+strings.Join(shown, " ")+more, false))
}
