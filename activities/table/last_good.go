package table

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/permit"
	"breakwater/internal/record"
	"breakwater/internal/table/lastgood"
	"breakwater/internal/verdict"
)

// lastGoodWith is what people know of a fault.
type lastGoodWith struct {
	BadVersion *int64          `json:"bad_version,omitempty" doc:"A version that holds the fault."`
	BadSince   *time.Time      `json:"bad_since,omitempty" doc:"The fault came then or later, by the times by which versions are chosen."`
	Job        string          `json:"job,omitempty" doc:"The fault came by this job, or this run of one: an id or a name that commits record, a streaming writer, or whatever else a writer left."`
	User       string          `json:"user,omitempty" doc:"The fault came by this user: a name or an id that commits record."`
	Operation  string          `json:"operation,omitempty" doc:"The fault came by this operation, such as DELETE."`
	Query      string          `json:"query,omitempty" doc:"The quality query of the table, by its name in the estate, that sees the fault; all for all of the table's. The other tables that it names are read as they were when the version was committed."`
	Scan       *int            `json:"scan,omitempty" doc:"How many versions more than the bisection needs are asked, one by one; 20 if not given. No bisection sees that a table was good again, or bad before."`
	Within     estate.Duration `json:"within,omitempty" doc:"How long one query of one version may take; 10m if not given."`
	Region     string          `json:"region,omitempty" doc:"The region whose copy of the table it is; the run's target, else the primary, when empty."`
}

// allQueries stands for every quality query of a table.
const allQueries = "all"

func (w lastGoodWith) named() lastgood.Named {
	return lastgood.Named{Bad: w.BadVersion, Since: w.BadSince, Job: w.Job, User: w.User, Operation: w.Operation}
}

func (w lastGoodWith) scan() int {
	if w.Scan == nil {
		return 20
	}
	return *w.Scan
}

func (w lastGoodWith) within() time.Duration {
	if w.Within <= 0 {
		return 10 * time.Minute
	}
	return w.Within.Std()
}

func (s room) lastGoodActions(c *action.Catalogue) {
	action.Add(c, action.Action[lastGoodWith]{
		Name: "table.last-good", Over: estate.TableKind, Effect: action.RecordsOnly, Drill: action.DrillReadOnly,
		Doc: "Find the newest version of a table that holds no fault and whose next one does: a quality query passes there and fails at the next, or commit records say who brought the fault. " +
			"Both together: commits propose, the query proves. It is never taken to be monotonic: the plan says which versions were asked, how far back, and which do not fit.",
		Timing: action.Timing{Timeout: 4 * time.Hour, Estimate: 30 * time.Second}, Runs: action.OnQueries,
		Plan: s.planLastGood, Apply: applyLastGood, Verify: s.verifyLastGood,
		Show:    action.Shows[lastgood.Found, action.None](),
		Rules:   []action.Rule{{Says: "it stands in the outcome, in the run's ledger"}},
		Permits: permit.Reads(permit.Target, permit.Tables),
		RedWhen: []action.Red{
			{Fault: "table.newest-entries-swapped", Want: verdict.Fail},
			{Fault: "table.newest-entry-emptied", Want: verdict.Fail},
			{Fault: "table.newest-author-changed", Want: verdict.Fail},
			{Fault: "table.late-commit", Want: verdict.Fail},
			{Fault: "table.data-file-gone", Want: verdict.Fail},
			{Fault: "table.data-file-truncated", Want: verdict.Fail},
			{Fault: "table.log-gone", Want: verdict.Fail},
			{Fault: "table.access-revoked", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	})
}

func (s room) planLastGood(ctx context.Context, c action.Call[lastGoodWith]) (action.Change, error) {
	found, notes, err := s.findLastGood(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	ch := action.Change{Summary: foundWords(found), Accepts: foundAccepts(found), Estimate: 10 * time.Second}
	ch.Preconditions = []action.Precondition{{Resource: "head of table " + found.Table + " in " + found.Region, Version: fmt.Sprint(found.Head.Number)}}
	if ch.Data, err = action.Encode(found); err != nil {
		return ch, err
	}
	if was, err := record.LastGood.Encoded(ctx, c.Records, c.Item.Name); err != nil || bytes.Equal(was, ch.Data) {
		return ch, err
	}
	ch.Effects = append(foundEffects(found), notes...)
	return ch, nil
}

// applyLastGood records what was planned: the ledger keeps the outcome.
func applyLastGood(ctx context.Context, c action.Call[lastGoodWith]) (action.Outcome, error) {
	f, err := action.Decode[lastgood.Found](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	o := action.Outcome{Summary: foundWords(f)}
	if o.Data, err = action.Encode(f); err != nil {
		return o, err
	}
	was, err := record.LastGood.Encoded(ctx, c.Records, c.Item.Name)
	if err == nil && !bytes.Equal(was, o.Data) {
		o.Mutations = 1
	}
	return o, err
}
