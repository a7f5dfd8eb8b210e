package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/permit"
	"breakwater/internal/record"
	"breakwater/internal/verdict"
)

// replayWith says what is run again.
type replayWith struct {
	From      *time.Time      `json:"from,omitempty" doc:"Dates from then on; the time of the last good version that table.last-good found of what a pipeline writes, the oldest of them, when empty."`
	To        *time.Time      `json:"to,omitempty" doc:"Dates before that time, which is when the writers stood still: what began then or later is no longer to be brought back. When empty, the time at which table.rollback of this run committed."`
	Pipelines []string        `json:"pipelines,omitempty" doc:"The pipelines, by their names in the estate; those that write a table which this run found the last good version of, or rolled back, when empty."`
	Most      *int            `json:"most,omitempty" doc:"How many dates of one pipeline there may be; more are refused. 10 if not given."`
	Within    estate.Duration `json:"within,omitempty" doc:"How long one run of one date may take; 1h if not given."`
	Region    string          `json:"region,omitempty" doc:"The region in which they run; the run's target, else the primary, when empty."`
}

func (w replayWith) most() int {
	if w.Most == nil {
		return 10
	}
	return *w.Most
}

func (w replayWith) within() time.Duration {
	if w.Within <= 0 {
		return time.Hour
	}
	return w.Within.Std()
}

// replayCall is one phase of pipelines.replay.
type replayCall = action.Call[replayWith]

// plain is a call for what the actions of this room share.
func plain(c replayCall) call { return call{Request: c.Request} }

func (r room) replay() action.Action[replayWith] {
	return action.Action[replayWith]{
		Name: "pipelines.replay", Over: estate.Nothing, Effect: action.Mutates, Drill: action.DrillSkipped,
		Needs: []string{"pipelines.pause"},
		Doc: "Bring back what was written since the last good version: run pipelines again for the dates of that time, each date once, one after the other, and what is read before what reads it. " +
			"It stops at the first date that fails, and at the first after which a quality query fails that passed before. What is paused stays paused. It cannot be taken back: roll the tables back again.",
		Timing: action.Timing{Timeout: 12 * time.Hour, Estimate: 5 * time.Minute}, Runs: action.OnQueries,
		Things: pipelinesOf, Plan: r.planReplay, Apply: r.applyReplay, Verify: r.verifyReplay,
		Show: action.Shows[replayPlan, action.None](),
		Rules: []action.Rule{
			{Do: "run again", Says: "the pipeline runs for that date, and for no other", Sends: []string{"run {on}"}},
		},
		Permits: permit.Join(permit.RunsDatesAgain(), permit.Reads(permit.Target, permit.Tables)),
		RedWhen: []action.Red{
			{Fault: "pipelines.ran-twice", Want: verdict.Fail},
			{Fault: "pipelines.source-unpaused", Want: verdict.Fail},
			{Fault: "table.data-file-gone", Want: verdict.Fail},
			{Fault: "pipelines.temporal-down", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	}
}

// replayPlan is the plan of pipelines.replay.
type replayPlan struct {
	Pipelines []replayed `json:"pipelines,omitempty"` // in the order in which they run
}

// replayed is a pipeline that runs again.
type replayed struct {
	scheduled
	Paused bool        `json:"paused"`           // as the plan saw it, with the note
	Note   string      `json:"note,omitempty"`   //
	Since  time.Time   `json:"since,omitzero"`   // a run that began then or later counts; zero before the rollback
	Dates  []time.Time `json:"dates"`            // of which each is to have run once since then
	Tables []string    `json:"tables,omitempty"` // that it writes
}

// dated is how a plan names a date of a schedule, and how it is asked for.
func (p scheduled) dated(at time.Time) string {
	return fmt.Sprintf("date %s of %s", at.UTC().Format(time.RFC3339), p)
}

// rolledBack is when this run's rollback of a table was committed; zero where there was
// none.
func (r room) rolledBack(ctx context.Context, c replayCall, region, table string) (time.Time, error) {
	back, _, err := record.Rollback.Read(ctx, c.Records, table)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	t, err := r.lake.Table(ctx, c.Estate, region, table)
	if err != nil {
		return time.Time{}, err
	}
	l, err := t.Open(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("read when table %s was rolled back: %w", table, err)
	}
	times, err := l.Times(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("read when table %s was rolled back: %w", table, err)
	}
	at, ok := times.Of(back.Version)
	if !ok || at.Time.IsZero() {
		return time.Time{}, fmt.Errorf("%w: nothing says when version %d of table %s was committed, by which it was rolled back: give to, the time at which the writers stood still", action.ErrRefused, back.Version, table)
	}
	return at.Time.UTC(), nil
}
