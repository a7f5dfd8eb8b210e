package group

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/record"
	"breakwater/internal/recovery"
	"breakwater/internal/table"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
)

// verifyPoint holds the recorded point against a fresh look at the target: what
// each version needs is there, the moment is one that the evidence allows, and
// choosing again gives the same.
func (s room) verifyPoint(ctx context.Context, c action.Call[pointParams]) ([]action.Observation, error) {
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
	if o, ok := bounded(c.Run, p); ok {
		obs = append(obs, o)
	}
	return append(obs, s.chosenAgain(ctx, c, p)), nil
}

// bounded observes whether the losses have an upper bound, for a source that does not
// answer; false where it was asked.
func bounded(run action.Run, p recovery.GroupPoint) (action.Observation, bool) {
	if p.Death.Answered || !run.SourceUnreachable {
		return action.Observation{}, false
	}
	const what = "it is known until when the source acknowledged writes"
	want := "a proven fence, or people who accepted since when it is dead"
	if !p.Death.By.IsZero() {
		return action.Saw(what, want, "accepted: dead since "+p.Death.By.UTC().Format(time.RFC3339), true), true
	}
	since := ""
	if run.SourceLost != nil {
		since = " since " + run.SourceLost.UTC().Format(time.RFC3339)
	}
	return action.Observation{
		What: what, Want: want, Got: run.Source + " is out of reach" + since + ", and may go on acknowledging: the losses have no upper bound, and no RPO is claimed to be met",
		Verdict: verdict.Unknown, Cause: action.CauseSourceUnreachable,
		Obligation: fmt.Sprintf("When %s answers again, read what it acknowledged after the cut, and state what group %s lost", run.Source, p.Group),
	}, true
}

// settled observes that at the moment of the cut the table was at the version
// chosen, from the log entries beside it and the sightings of its heads alone.
func (s room) settled(ctx context.Context, c action.Call[pointParams], t lake.Table, l table.Table, at recovery.TablePoint, p recovery.GroupPoint) action.Observation {
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
		if err != nil && !errors.Is(err, witness.ErrForged) { // that was not used to choose, either
			return t.NotSeen(c.Run, what, want, err)
		}
		for _, h := range seen {
			if h.Version <= at.Version {
				see(h.Last, "the witness's last sighting of it as the head")
			}
		}
	}
	if since := at.AssumedSince; !since.IsZero() {
		return t.About(action.Saw(what, want, fmt.Sprintf("nothing newer by %s (%s), and accepted to be unchanged since", known.Format(time.RFC3339Nano), on), !since.After(known)))
	}
	if p.Death.Answered && p.Cut.At.After(known) {
		switch h, err := s.lake.SourceHead(ctx, call(c), t.Name); {
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
func nextStamp(ctx context.Context, l table.Table, at recovery.TablePoint) (time.Time, error) {
	for h, err := range l.History(ctx, at.Version) {
		switch {
		case err != nil && lake.LogBroken(err):
			return time.Time{}, nil
		case err != nil:
			return time.Time{}, err
		case h.Version.Number == at.Version+1 && h.Version.From == table.InCommit, h.Version.Number == at.Version+1 && h.Version.Time.After(at.CommittedAt):
			return h.Version.Time, nil
		case h.Version.Number == at.Version+1: // by a clock that differs: no time is known but that it came after
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
func (s room) chosenAgain(ctx context.Context, c action.Call[pointParams], p recovery.GroupPoint) action.Observation {
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
		text += "; " + l.Dataset + " loses " + l.Words()
	}
	for _, left := range p.LeftOut {
		text += "; without " + left.Dataset + ": " + left.Why
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
