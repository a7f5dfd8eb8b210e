package activities

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/table/delta"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
)

func (s *Systems) goldenActions(c *action.Catalogue) {
	action.Add(c, action.Action[none]{
		Name: "access.golden-queries", Over: estate.TableKind, Effect: action.ReadOnly, Drill: action.DrillReadOnly,
		Needs:  []string{"table.promote"},
		Doc:    "A table read at the target, with credentials that reach nothing else, holds the rows that the witness saw at the source, and answers the estate's golden and quality queries as declared.",
		Timing: action.Timing{Timeout: time.Hour, Estimate: 10 * time.Second}, Runs: action.OnQueries,
		Verify: s.verifyGolden,
		RedWhen: []action.Red{
			{Fault: "witness.record-changed", Want: verdict.Fail},
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
func (s *Systems) verifyGolden(ctx context.Context, c action.Call[none]) ([]action.Observation, error) {
	p, err := s.pointOf(ctx, c)
	if err != nil {
		return []action.Observation{unknown(c.Run, "", "the table answers as the witness did", "a recovery point", err, "")}, nil
	}
	t := p.site
	what := fmt.Sprintf("version %d can be read whole with the target's credentials alone", p.Version)
	l, err := t.open(ctx)
	if err != nil {
		return []action.Observation{t.notSeen(c.Run, what, "a log", err)}, nil
	}
	var obs []action.Observation
	if _, err := c.Records.Outcome(ctx, "table.promote", t.name); err == nil {
		obs = append(obs, t.about(saw("who reads the table gets the version of the cut", fmt.Sprintf("head %d", p.Version), fmt.Sprintf("head %d", l.Head()), l.Head() == p.Version)))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return []action.Observation{unknown(c.Run, "", what, "the record of the promotion", err, "")}, nil
	}
	c.Progress(0, 1, fmt.Sprintf("reading version %d", p.Version))
	got, err := readVersion(ctx, t, l, p.Version)
	if err != nil {
		return append(obs, t.notSeen(c.Run, what, "all its rows", err)), nil
	}
	snap, err := l.Snapshot(ctx, p.Version)
	if err != nil {
		return append(obs, t.notSeen(c.Run, what, "all its rows", err)), nil
	}
	rows := snap.Rows()
	if rows < 0 {
		rows = got.Rows // its log does not count
	}
	obs = append(obs, t.about(saw(what, fmt.Sprintf("%d rows, as its log says", rows), fmt.Sprintf("%d rows", got.Rows), got.Rows == rows)))
	obs = append(obs, s.asWitnessed(ctx, c, t, l, got))
	for _, q := range t.decl.Queries {
		obs = append(obs, s.answers(ctx, c, t, q))
	}
	return obs, nil
}

// asWitnessed holds what was read against the witness's journal.
func (s *Systems) asWitnessed(ctx context.Context, c action.Call[none], t tableSite, l *delta.Log, got witness.Record) action.Observation {
	const what = "the rows are those that the witness read at the source"
	const want = "the same count and hash"
	j, err := s.journal(ctx, c.Estate, c.Run.Target)
	var r witness.Record
	if err == nil {
		r, err = j.Newest(ctx, t.name, got.Version)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && tableAnswered(err): // nothing to hold it against says nothing against it
		return t.about(action.Observation{What: what, Want: want, Got: err.Error(), Verdict: verdict.Unknown, Cause: action.CauseOther})
	case err != nil:
		return t.notSeen(c.Run, what, want, err)
	}
	which := fmt.Sprintf("version %d, which is what is served", r.Version)
	if r.Version != got.Version {
		which = fmt.Sprintf("version %d, the newest one below %d that was witnessed, by time travel", r.Version, got.Version)
		if got, err = readVersion(ctx, t, l, r.Version); err != nil {
			return t.about(action.Observation{
				What: what, Want: want, Got: fmt.Sprintf("%s, can no longer be read: %v", which, err), Verdict: verdict.Unknown, Cause: action.CauseOther,
			})
		}
	}
	return t.about(saw(what, fmt.Sprintf("%d rows with hash %s", r.Rows, r.Hash),
		fmt.Sprintf("%d rows with hash %s at %s; witnessed at %s", got.Rows, got.Hash, which, r.SeenAt.Format(time.RFC3339)),
		got.Rows == r.Rows && got.Hash == r.Hash))
}
