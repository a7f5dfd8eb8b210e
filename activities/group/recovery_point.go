package group

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/record"
	"breakwater/internal/recovery"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/verdict"
)

func (s room) recoveryPointActions(c *action.Catalogue) { action.Add(c, s.RecoveryPoint()) }

func (s room) RecoveryPoint() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "group.recovery-point", Over: estate.GroupKind, Effect: action.RecordsOnly, Drill: action.DrillReadOnly,
		Needs:  []string{"storage.stop-replication", "kafka.stop-mirror"},
		Doc:    "Choose the latest moment at which every table of a group is complete at the target and every topic is mirrored, and say what is lost.",
		Timing: action.Timing{Timeout: 15 * time.Minute, Estimate: 5 * time.Second},
		Plan:   s.planPoint, Apply: applyPoint, Verify: s.verifyPoint,
		RedWhen: []action.Red{
			{Fault: "table.data-file-gone", Want: verdict.Fail},
			{Fault: "table.data-file-truncated", Want: verdict.Fail},
			{Fault: "table.log-gone", Want: verdict.Fail},
			{Fault: "table.access-revoked", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	}
}

// point chooses the recovery point from what the world shows now, and says what
// choosing it accepts.
func (s room) point(ctx context.Context, c action.Call[action.None]) (recovery.GroupPoint, []action.Acceptance, error) {
	ev, err := s.lake.Evidence(ctx, c)
	if err != nil {
		return recovery.GroupPoint{}, nil, err
	}
	accepts, err := ev.AbsolutePaths(ctx, c.Estate)
	if err != nil {
		return recovery.GroupPoint{}, nil, fmt.Errorf("group %s: %w", c.Item.Name, err)
	}
	cut, err := ev.Choose(ctx)
	if err != nil {
		return recovery.GroupPoint{}, nil, fmt.Errorf("group %s: %w", c.Item.Name, err)
	}
	losses, err := recovery.Losses(cut, ev.States(), ev.Topics, ev.Death, ev.Skew)
	return recovery.GroupPoint{Group: c.Item.Name, Cut: cut, Losses: losses, Death: ev.Death}, accepts, err
}

func (s room) planPoint(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	p, accepts, err := s.point(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	ch := action.Change{
		Summary: fmt.Sprintf("%s comes back to %s, bound by %s: %s", p.Group, p.Cut.At.Format(time.RFC3339Nano), p.Cut.Binding.Dataset, p.Cut.Binding.Reason),
	}
	ch.Loss, ch.Accepts = worstLoss(p.Losses), accepts
	if ch.Data, err = action.Encode(p); err != nil {
		return ch, err
	}
	if was, err := recordedPoint(ctx, c); err != nil {
		return ch, err
	} else if bytes.Equal(was, ch.Data) {
		return ch, nil
	}
	for _, l := range p.Losses {
		e := action.EffectLine{On: l.Dataset, Do: "record its recovery point: it loses " + recovery.LossWords(l)}
		if t, _, ok := p.Table(l.Dataset); ok && l.Kind == "table" {
			e.To = fmt.Sprintf("version %d of %s", t.Version, t.CommittedAt.Format(time.RFC3339Nano))
			if t.GivesUp.Versions > 0 {
				e.From = fmt.Sprintf("version %d, its newest complete one", t.NewestComplete)
			}
		} else {
			e.To = "mirrored through " + l.RecoveryPoint.Format(time.RFC3339Nano)
		}
		ch.Effects = append(ch.Effects, e)
	}
	return ch, nil
}

// recordedPoint is what this run recorded before, as this program encodes it; nil
// where it recorded nothing.
func recordedPoint(ctx context.Context, c action.Call[action.None]) ([]byte, error) {
	p, _, err := record.GroupPoint.Read(ctx, c.Records, c.Item.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return action.Encode(p)
}

// applyPoint records what was planned: the ledger keeps the outcome, one record
// for each dataset.
func applyPoint(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	p, err := action.Decode[recovery.GroupPoint](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	was, err := recordedPoint(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	o := action.Outcome{
		Summary: fmt.Sprintf("%s comes back to %s", p.Group, p.Cut.At.Format(time.RFC3339Nano)),
		Data:    c.Plan.Data,
	}
	if !bytes.Equal(was, canonical(c.Plan.Data)) {
		o.Mutations = int64(len(p.Losses))
	}
	return o, nil
}

// worstLoss is the loss that reaches furthest back in time, the only measure that
// rows and messages share; one without a bound is worse than any with one.
func worstLoss(losses []recovery.Loss) *action.Loss {
	if len(losses) == 0 {
		return nil
	}
	return lake.ActionLoss(slices.MaxFunc(losses, func(a, b recovery.Loss) int {
		switch {
		case (a.Count.AtMost == nil) != (b.Count.AtMost == nil):
			return lake.Ranks(a.Count.AtMost == nil)
		case (a.Seconds.AtMost == nil) != (b.Seconds.AtMost == nil):
			return lake.Ranks(a.Seconds.AtMost == nil)
		case a.Seconds.AtMost != nil && *a.Seconds.AtMost != *b.Seconds.AtMost:
			return lake.Ranks(*a.Seconds.AtMost > *b.Seconds.AtMost)
		}
		return lake.Ranks(a.Count.AtLeast > b.Count.AtLeast)
	}))
}

// verifyPoint holds the recorded point against a fresh look at the target: what
// each version needs is there, the moment is one that the evidence allows, and
// choosing again gives the same.
func (s room) verifyPoint(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	const what = "the recorded cut is the planned one"
	p, _, err := record.GroupPoint.Read(ctx, c.Records, c.Item.Name)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, "", what, "a record of this run", err, "")}, nil
	}
	var obs []action.Observation
	if c.Plan != nil {
		recorded, err := action.Encode(p)
		if err != nil {
			return nil, err
		}
		obs = append(obs, action.Saw(what, "equal", fmt.Sprintf("versions %s at %s", versionsOf(p), p.Cut.At.Format(time.RFC3339Nano)), bytes.Equal(recorded, canonical(c.Plan.Data))))
	}
	for _, t := range p.Cut.Tables {
		site, err := s.lake.Table(ctx, c.Estate, c.Run.Target, t.Name)
		if err != nil {
			return nil, err
		}
		l, err := site.Open(ctx)
		if err != nil {
			obs = append(obs, site.NotSeen(c.Run, fmt.Sprintf("every object of version %d is present at its size", t.Version), "a log", err))
			continue
		}
		obs = append(obs, site.Whole(ctx, c.Run, l, t.Version), s.settled(ctx, c, site, l, t, p))
	}
	return append(obs, s.chosenAgain(ctx, c, p)), nil
}

// settled observes that at the moment of the cut the table was at the version
// chosen, from the log entries beside it and the sightings of its heads alone.
func (s room) settled(ctx context.Context, c action.Call[action.None], t lake.Table, l *delta.Log, at recovery.TablePoint, p recovery.GroupPoint) action.Observation {
	what := fmt.Sprintf("at the cut the table was at version %d", at.Version)
	want := "committed no later than " + p.Cut.At.Format(time.RFC3339Nano) + ", and nothing after it by then"
	if at.CommittedAt.After(p.Cut.At) {
		return t.About(action.Saw(what, want, "committed at "+at.CommittedAt.Format(time.RFC3339Nano), false))
	}
	next, err := nextStamp(ctx, l, at)
	if err != nil {
		return t.NotSeen(c.Run, what, want, err)
	}
	if !next.IsZero() {
		return t.About(action.Saw(what, want, fmt.Sprintf("version %d committed at %s", at.Version+1, next.Format(time.RFC3339Nano)), next.After(p.Cut.At)))
	}
	known, on := at.CommittedAt, "its own commit"
	see := func(until time.Time, by string) {
		if until = until.Add(-c.Estate.ClockSkew.Std()); until.After(known) {
			known, on = until, by+", less the clock skew"
		}
	}
	if c.Estate.Witness.Bucket != "" {
		j, err := s.lake.Journal(ctx, c.Estate, c.Run.Target)
		if err != nil {
			return t.NotSeen(c.Run, what, want, err)
		}
		seen, err := j.Sightings(ctx, t.Name)
		if err != nil {
			return t.NotSeen(c.Run, what, want, err)
		}
		for _, h := range seen {
			if h.Version <= at.Version {
				see(h.Last, "the witness's last sighting of it as the head")
			}
		}
	}
	if p.Death.Answered && p.Cut.At.After(known) {
		switch h, err := s.lake.SourceHead(ctx, c, t.Name); {
		case err != nil:
			return t.About(action.Unknown(c.Run, c.Run.Source, what, want, err, fmt.Sprintf("see whether version %d was the last of table %s when %s was fenced", at.Version, t.Name, c.Run.Source)))
		case h.Version <= at.Version:
			return t.About(action.Saw(what, want, "it is the head of the fenced source", true))
		}
	}
	return t.About(action.Saw(what, want, fmt.Sprintf("nothing newer by %s (%s)", known.Format(time.RFC3339Nano), on), !p.Cut.At.After(known)))
}

// nextStamp is when the version after a recovery point was committed; zero where
// the target does not have its log entry.
func nextStamp(ctx context.Context, l *delta.Log, at recovery.TablePoint) (time.Time, error) {
	for h, err := range l.History(ctx, at.Version) {
		switch {
		case err != nil && lake.LogBroken(err):
			return time.Time{}, nil
		case err != nil:
			return time.Time{}, err
		case h.Version.Number == at.Version+1 && h.Version.From == table.InCommit, h.Version.Number == at.Version+1 && h.Version.Time.After(at.CommittedAt):
			return h.Version.Time, nil
		case h.Version.Number == at.Version+1: // moved past the one before, as the protocol does
			return at.CommittedAt.Add(time.Millisecond), nil
		case h.Version.Number > at.Version:
			return time.Time{}, nil
		}
	}
	return time.Time{}, nil
}

// chosenAgain observes that the evidence as it is now leads to the same versions
// and the same losses. The moment may have moved between the same versions, where
// the witness goes on looking at a source that answers.
func (s room) chosenAgain(ctx context.Context, c action.Call[action.None], p recovery.GroupPoint) action.Observation {
	const what = "choosing again gives the recorded cut"
	want := pointWords(p)
	again, _, err := s.point(ctx, c)
	switch {
	case err != nil && lake.Answered(err):
		return action.Observation{What: what, Want: want, Got: err.Error(), Verdict: verdict.Fail}
	case err != nil:
		return action.Unknown(c.Run, c.Run.Target, what, want, err, "")
	}
	got := pointWords(again)
	switch {
	case got == want:
	case p.Death.Answered && !again.Death.Answered:
		return action.Observation{
			What: what, Want: want, Got: "the source, which had answered, does not any more: " + got, Verdict: verdict.Unknown,
			Cause: action.CauseSourceUnreachable, Obligation: "hold the recovery point of group " + p.Group + " against the source when it is back",
		}
	case c.Run.Mode != action.ModeLive && !again.Cut.At.Before(p.Cut.At):
		return action.Saw(what, want, got+": nothing is fenced in mode "+string(c.Run.Mode)+", so the group moved on", true)
	}
	return action.Saw(what, want, got, got == want)
}

// versionsOf lists a cut's versions in the order of the tables.
func versionsOf(p recovery.GroupPoint) string {
	var parts []string
	for _, t := range p.Cut.Tables {
		parts = append(parts, fmt.Sprintf("%s@%d", t.Name, t.Version))
	}
	if parts == nil {
		return "of no table"
	}
	return strings.Join(parts, " ")
}

// pointWords says what a recovery point keeps and what it gives up.
func pointWords(p recovery.GroupPoint) string {
	text := "versions " + versionsOf(p)
	for _, l := range p.Losses {
		text += "; " + l.Dataset + " loses " + recovery.LossWords(l)
	}
	return text
}

// canonical is a recovery point as this program encodes it.
func canonical(raw json.RawMessage) []byte {
	p, err := action.Decode[recovery.GroupPoint](raw)
	if err != nil {
		return nil
	}
	b, err := action.Encode(p)
	if err != nil {
		return nil
	}
	return b
}
