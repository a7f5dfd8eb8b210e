package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/table/delta"
	"breakwater/internal/verdict"
)

func (s room) tableActions(c *action.Catalogue) {
	action.Add(c, action.Action[action.None]{
		Name: "table.promote", Over: estate.TableKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Needs:  []string{"group.recovery-point"},
		Doc:    "Make the cut's version the head of a table at the target: later log files move aside, and nothing is destroyed.",
		Timing: action.Timing{Timeout: 30 * time.Minute, Estimate: 5 * time.Second},
		Plan:   s.planPromote, Apply: s.applyPromote, Verify: s.verifyPromote,
		Undo: &action.Undo[action.None]{Plan: s.planDemote, Apply: s.applyDemote, Verify: s.verifyDemote},
		RedWhen: []action.Red{
			{Fault: "table.late-commit", Want: verdict.Fail},
			{Fault: "table.late-replica", Want: verdict.Fail},
			{Fault: "table.data-file-gone", Want: verdict.Fail},
			{Fault: "table.data-file-truncated", Want: verdict.Fail},
			{Fault: "table.log-gone", Want: verdict.Fail},
			{Fault: "table.hint-above", Want: verdict.Fail},
			{Fault: "table.quarantine-gone", Want: verdict.Fail},
			{Fault: "table.access-revoked", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	})
	action.Add(c, action.Action[action.None]{
		Name: "table.history", Over: estate.TableKind, Effect: action.ReadOnly, Drill: action.DrillReadOnly,
		Needs:  []string{"group.recovery-point"},
		Doc:    "Older versions of a table, as far back as its retention promises, can be read at the target: time travel works.",
		Timing: action.Timing{Timeout: 15 * time.Minute, Estimate: 3 * time.Second},
		Verify: s.verifyHistory,
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
	oldest, err := oldestPromised(ctx, l, p.Version, p.Cut.At.Add(-retention(snap.Metadata)))
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
func noGaps(t lake.Table, l *delta.Log, version int64) action.Observation {
	what, want, got := fmt.Sprintf("the log has no gap up to version %d", version), "none", "none"
	for _, g := range l.Gaps() {
		if g.First < version {
			got = fmt.Sprintf("versions %d to %d are missing", g.First, g.Last)
			break
		}
	}
	return t.About(action.Saw(what, want, got, got == want))
}

// oldestPromised is the oldest version from which the log leads to version, and
// whose successor is not older than since: until then its files were live.
func oldestPromised(ctx context.Context, l *delta.Log, version int64, since time.Time) (int64, error) {
	first := version
	// A checkpoint's version can be read without what lies below it, so the
	// listed runs do not show a commit lost below a checkpoint as a loss.
	for _, r := range l.Versions() {
		if r.First <= version && version <= r.Last {
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

// retention is how long the files of a version stay after it, at least; nothing
// where that is not understood.
func retention(m delta.Metadata) time.Duration {
	d, _ := interval(m.Configuration, fileRetention, fileRetentionDefault)
	return d
}

// interval is how long a property says that something is kept. It reports false where
// that is not understood.
func interval(conf map[string]string, property string, _ time.Duration) (time.Duration, bool) {
	d, _, err := delta.Retention(conf, property)
	return d, err == nil
}

// verifyPromote looks at the table as a reader does: it lists and opens it anew.
// What must not be there is told from names alone.
func (s room) verifyPromote(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	plan, err := action.Decode[promotePlan](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	t, err := s.lake.Table(ctx, c.Estate, c.Run.Target, c.Item.Name)
	if err != nil {
		return nil, err
	}
	v := plan.Version
	what := fmt.Sprintf("the head is version %d", v)
	l, err := t.Open(ctx)
	if err != nil {
		return []action.Observation{t.NotSeen(c.Run, what, "a log", err)}, nil
	}
	obs := []action.Observation{t.About(action.Saw(what, fmt.Sprint(v), fmt.Sprint(l.Head()), l.Head() == v))}
	what = fmt.Sprintf("the newest complete version is %d", v)
	switch n, err := l.NewestComplete(ctx, time.Time{}); {
	case err != nil:
		obs = append(obs, t.NotSeen(c.Run, what, fmt.Sprint(v), err))
	default:
		got := n.Snapshot.Version.Number
		obs = append(obs, t.About(action.Saw(what, fmt.Sprint(v), fmt.Sprint(got), got == v)))
	}
	obs = append(obs, t.Whole(ctx, c.Run, l, v), nothingAbove(ctx, t, c.Run, v), hintHolds(ctx, t, c.Run, l, v))
	return append(obs, quarantined(ctx, t, c.Run, plan)...), nil
}

// nothingAbove observes that no name in the log directory speaks of a version
// above v.
func nothingAbove(ctx context.Context, t lake.Table, run action.Run, v int64) action.Observation {
	what, want := fmt.Sprintf("no log file above version %d is listed", v), "none"
	var found []string
	for o, err := range t.Bucket.List(ctx, t.LogDir()) {
		if err != nil {
			return t.NotSeen(run, what, want, err)
		}
		if n, ok := speaksOf(strings.TrimPrefix(o.Key, t.LogDir())); ok && n > v {
			found = append(found, o.Key)
		}
	}
	got := want
	if len(found) > 0 {
		got = fmt.Sprintf("%d, the first: %s", len(found), found[0])
	}
	return t.About(action.Saw(what, want, got, len(found) == 0))
}

// speaksOf is the last version that a file of the log is about, by its name. Unlike
// [delta.EntryOf] it reads names too that the protocol does not know: whatever begins
// with a later version's number must not stay above the head.
func speaksOf(name string) (int64, bool) {
	last, ok := int64(-1), false
	for i, part := range strings.Split(name, ".") {
		if i > 1 || len(part) != 20 { // the version, or the first and last of a compacted commit
			break
		}
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			break
		}
		last, ok = n, true
	}
	return last, ok
}

// hintHolds observes that _last_checkpoint names nothing above v and nothing that
// is not there.
func hintHolds(ctx context.Context, t lake.Table, run action.Run, l *delta.Log, v int64) action.Observation {
	what, want := "the hint to the last checkpoint", fmt.Sprintf("none, or a checkpoint at most at version %d", v)
	body, _, err := t.Bucket.Get(ctx, t.LogDir()+"_last_checkpoint")
	switch {
	case errors.Is(err, fs.ErrNotExist) && lake.Answered(err):
		return t.About(action.Saw(what, want, "none", true))
	case err != nil:
		return t.NotSeen(run, what, want, err)
	}
	h, err := delta.ParseHint(body)
	if err != nil {
		return t.NotSeen(run, what, want, err)
	}
	if _, err := l.Snapshot(ctx, h.Version); err != nil && h.Version <= v {
		return t.NotSeen(run, what, want, err)
	}
	return t.About(action.Saw(what, want, fmt.Sprintf("version %d", h.Version), h.Version <= v))
}

// quarantined observes that each object moved aside is kept as it was, and that
// no later version of it lies under the mark that hides it.
func quarantined(ctx context.Context, t lake.Table, run action.Run, plan promotePlan) []action.Observation {
	if len(plan.Aside) == 0 {
		return nil
	}
	var obs []action.Observation
	what, want := "what was moved aside is kept as it was", fmt.Sprintf("%d objects", len(plan.Aside))
	have := map[string]objectState{}
	for o, err := range t.Bucket.List(ctx, plan.Folder) {
		if err != nil {
			return append(obs, t.NotSeen(run, what, want, err))
		}
		have[o.Key] = objectState{ETag: o.ETag, Size: o.Size}
	}
	var bad []string
	for _, a := range plan.Aside {
		o, ok := have[a.To]
		same, err := ok && o.Size == a.Size, error(nil)
		if same && o.ETag != a.ETag {
			same, err = equal(ctx, t, a.To, a)
		}
		if err != nil {
			return append(obs, t.NotSeen(run, what, want, err))
		}
		if !same {
			bad = append(bad, a.To)
		}
	}
	obs = append(obs, t.About(action.Saw(what, want, counted(len(plan.Aside), bad, "lack or differ"), len(bad) == 0)))

	what, want = "nothing was written over what was moved aside", fmt.Sprintf("%d objects", len(plan.Aside))
	newest := map[string]objectState{}
	for o, err := range t.Bucket.ListVersions(ctx, t.LogDir()) {
		if err != nil {
			return append(obs, t.NotSeen(run, what, want, err))
		}
		if _, ok := newest[o.Key]; !ok && !o.DeleteMarker {
			newest[o.Key] = objectState{ETag: o.ETag, VersionID: o.VersionID, Size: o.Size}
		}
	}
	bad = nil
	for _, a := range plan.Aside {
		if n, ok := newest[a.Key]; ok && (n.ETag != a.ETag || n.Size != a.Size) {
			bad = append(bad, a.Key)
		}
	}
	return append(obs, t.About(action.Saw(what, want, counted(len(plan.Aside), bad, "have a later version"), len(bad) == 0)))
}

func counted(n int, bad []string, words string) string {
	if len(bad) == 0 {
		return fmt.Sprintf("%d objects", n)
	}
	return fmt.Sprintf("%d of %d %s, the first: %s", len(bad), n, words, bad[0])
}
