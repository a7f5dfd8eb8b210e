package table

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/permit"
	"breakwater/internal/table"
	"breakwater/internal/verdict"
)

func (s room) historyActions(c *action.Catalogue) {
	action.Add(c, action.Action[action.None]{
		Name: "table.history", Over: estate.TableKind, Effect: action.ReadOnly, Drill: action.DrillReadOnly,
		Needs:   []string{"group.recovery-point"},
		Doc:     "Older versions of a table, as far back as its retention promises, can be read at the target: time travel works.",
		Timing:  action.Timing{Timeout: 15 * time.Minute, Estimate: 3 * time.Second},
		Verify:  s.verifyHistory,
		Permits: permit.Reads(permit.Target, permit.Tables),
		RedWhen: []action.Red{
			{Fault: "table.data-file-gone", Want: verdict.Fail},
			{Fault: "table.log-entry-gone", Want: verdict.Fail},
			{Fault: "table.access-revoked", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	})
}

// verifyHistory observes that the version before the cut's and the oldest one
// that is still promised can be read. A version is promised while its files are
// within the table's deleted-file retention at the moment of the cut: what a
// vacuum may have removed before that is no loss.
func (s room) verifyHistory(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	const what = "older versions can be read"
	p, err := s.lake.PointOf(ctx, c)
	var not *lake.NotHereError
	if errors.As(err, &not) {
		return []action.Observation{action.NotHere(not.Dataset, what, "as far back as its retention promises", not.Why,
			fmt.Sprintf("See that older versions of table %s can be read, once it is recovered", not.Dataset))}, nil
	}
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, "", what, "a recovery point", err, "")}, nil
	}
	t := p.Site
	l, err := t.Open(ctx)
	if err != nil {
		return []action.Observation{t.NotSeen(c.Run, what, "a log", err)}, nil
	}
	snap, err := l.Snapshot(ctx, p.Version)
	if err != nil {
		return []action.Observation{t.NotSeen(c.Run, what, fmt.Sprintf("version %d", p.Version), err)}, nil
	}
	since := p.Cut.At // where the promise is not understood, nothing is promised
	if keep := snap.Retention().Files; keep.Understood {
		since = since.Add(-keep.For)
	}
	oldest, err := oldestPromised(ctx, l, p.Version, since)
	if err != nil {
		return []action.Observation{t.NotSeen(c.Run, what, "the times of its versions", err)}, nil
	}
	if oldest == p.Version {
		return []action.Observation{t.About(action.Saw(what, "any older version", fmt.Sprintf("version %d is the only one of which the log begins or the retention promises anything", p.Version), true))}, nil
	}
	obs := []action.Observation{noGaps(t, l, p.Version), t.Whole(ctx, c.Run, l, p.Version-1)}
	if oldest < p.Version-1 {
		obs = append(obs, t.Whole(ctx, c.Run, l, oldest))
	}
	return obs, nil
}

// noGaps observes that between the oldest log entry and the version none is
// missing. A log is cleaned up from below only: a gap is a loss, even where a
// checkpoint above it leads to the version.
func noGaps(t lake.Table, l table.Table, version int64) action.Observation {
	what, want, got := fmt.Sprintf("the log has no gap up to version %d", version), "none", "none"
	for _, g := range l.Extent().Gaps {
		if g.First < version {
			got = fmt.Sprintf("versions %d to %d are missing", g.First, g.Last)
			break
		}
	}
	return t.About(action.Saw(what, want, got, got == want))
}

// oldestPromised is the oldest version from which the log leads to version, and
// whose successor is not older than since: until then its files were live.
func oldestPromised(ctx context.Context, l table.Table, version int64, since time.Time) (int64, error) {
	first := version
	// A checkpoint's version can be read without what lies below it, so the
	// listed runs do not show a commit lost below a checkpoint as a loss.
	for _, r := range l.Extent().Readable {
		if r.Has(version) {
			first = r.First
		}
	}
	var failed error
	n := sort.Search(int(version-first), func(i int) bool {
		if failed != nil {
			return true
		}
		next, err := l.Commit(ctx, first+int64(i)+1)
		if err != nil {
			if !lake.LogBroken(err) { // a checkpoint without its log entry does not tell when: go by the next
				failed = err
			}
			return false
		}
		return !next.Version.Time.Before(since)
	})
	return first + int64(n), failed
}
