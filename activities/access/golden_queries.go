package access

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/table"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
)

func (s room) goldenActions(c *action.Catalogue) {
	action.Add(c, action.Action[action.None]{
		Name: "access.golden-queries", Over: estate.TableKind, Effect: action.ReadOnly, Drill: action.DrillReadOnly,
		Requires: []estate.Requirement{estate.NeedsWitnessedRows()},
		Needs:    []string{"table.promote"},
		Doc:      "A table read at the target, with credentials that reach nothing else, holds the rows that the witness saw at the source, and answers the estate's golden and quality queries as declared.",
		Timing:   action.Timing{Timeout: time.Hour, Estimate: 10 * time.Second}, Runs: action.OnQueries,
		Verify:  s.verifyGolden,
		Permits: permit.Reads(permit.Target, permit.Tables, permit.Journal),
		RedWhen: []action.Red{
			{Fault: "witness.record-changed", Want: verdict.Unknown},
			{Fault: "witness.record-gone", Want: verdict.Unknown},
			{Fault: "table.data-file-gone", Want: verdict.Fail},
			{Fault: "table.data-file-truncated", Want: verdict.Fail},
			{Fault: "table.late-commit", Want: verdict.Fail},
			{Fault: "table.access-revoked", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	})
}

// verifyGolden reads the promoted table at the target as recovery itself, whose
// credentials there are no credentials anywhere else: the group's readers get
// their access in a later stage. What is read is held against the witness's
// record of that very version, or of the newest one below that has a record, by
// time travel.
func (s room) verifyGolden(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	p, err := s.lake.PointOf(ctx, c)
	var not *lake.NotHereError
	if errors.As(err, &not) {
		return []action.Observation{action.NotHere(not.Dataset, "the table answers as the witness did", "the same rows, and the declared answers", not.Why,
			fmt.Sprintf("Hold table %s against the witness and its golden queries, once it is recovered", not.Dataset))}, nil
	}
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, "", "the table answers as the witness did", "a recovery point", err, "")}, nil
	}
	t := p.Site
	what := fmt.Sprintf("version %d can be read whole with the target's credentials alone", p.Version)
	l, err := t.Open(ctx)
	if err != nil {
		return []action.Observation{t.NotSeen(c.Run, what, "a log", err)}, nil
	}
	var obs []action.Observation
	if _, err := c.Records.Outcome(ctx, "table.promote", t.Name); err == nil {
		obs = append(obs, t.About(action.Saw("who reads the table gets the version of the cut", fmt.Sprintf("head %d", p.Version), fmt.Sprintf("head %d", l.Extent().Head), l.Extent().Head == p.Version)))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return []action.Observation{action.Unknown(c.Run, "", what, "the record of the promotion", err, "")}, nil
	}
	c.Progress(0, 1, fmt.Sprintf("reading version %d", p.Version))
	got, err := lake.ReadVersion(ctx, t, l, p.Version)
	if err != nil {
		return append(obs, t.NotSeen(c.Run, what, "all its rows", err)), nil
	}
	snap, err := l.Snapshot(ctx, p.Version)
	if err != nil {
		return append(obs, t.NotSeen(c.Run, what, "all its rows", err)), nil
	}
	rows := snap.Rows()
	if rows < 0 {
		rows = got.Rows // its log does not count
	}
	obs = append(obs, t.About(action.Saw(what, fmt.Sprintf("%s, as its log says", plural.Of(rows, "row")), plural.Of(got.Rows, "row"), got.Rows == rows)))
	obs = append(obs, s.asWitnessed(ctx, c, t, l, got))
	for _, q := range t.Decl.Queries {
		obs = append(obs, s.answers(ctx, c, t, q))
	}
	return obs, nil
}

// asWitnessed holds what was read against the witness's journal.
func (s room) asWitnessed(ctx context.Context, c action.Call[action.None], t lake.Table, l table.Table, got witness.Record) action.Observation {
	const what = "the rows are those that the witness read at the source"
	const want = "the same count and hash"
	if c.Estate.Witness.Bucket == "" {
		return t.About(action.Observation{
			What: what, Want: want, Got: "the estate has no witness, so nobody wrote down what they were", Verdict: verdict.Unknown, Cause: action.CauseUnwitnessed,
			Obligation: fmt.Sprintf("Hold the rows of table %s, at version %d, against the source when it answers, or against who knows them: no witness had written them down", t.Name, got.Version),
		})
	}
	j, err := s.lake.Journal(ctx, c.Estate, c.Run.Target)
	var r witness.Record
	if err == nil {
		r, err = j.Newest(ctx, t.Name, got.Version)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && lake.Answered(err): // nothing to hold it against says nothing against it
		return t.About(action.Observation{What: what, Want: want, Got: err.Error(), Verdict: verdict.Unknown, Cause: action.CauseOther})
	case err != nil:
		return t.NotSeen(c.Run, what, want, err)
	}
	which := fmt.Sprintf("version %d, which is what is served", r.Version)
	if r.Version != got.Version {
		which = fmt.Sprintf("version %d, the newest one below %d that was witnessed, by time travel", r.Version, got.Version)
		if got, err = lake.ReadVersion(ctx, t, l, r.Version); err != nil {
			return t.About(action.Observation{
				What: what, Want: want, Got: fmt.Sprintf("%s, can no longer be read: %v", which, err), Verdict: verdict.Unknown, Cause: action.CauseOther,
			})
		}
	}
	o := action.Saw(what, lake.RowWords(r.Rows, r.Hash),
		fmt.Sprintf("%s at %s; witnessed at %s", lake.RowWords(got.Rows, got.Hash), which, r.SeenAt.Format(time.RFC3339)),
		got.Rows == r.Rows && got.Hash == r.Hash)
	if o.Verdict == verdict.Pass && r.Hash == "" { // the counts of two logs say nothing of the rows
		o.Verdict, o.Cause = verdict.Unknown, action.CauseOther
	}
	return t.About(o)
}
