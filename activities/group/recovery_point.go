package group

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/record"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
)

// pointParams are what a step says about a recovery point.
type pointParams struct {
	AssumeUnchanged string `json:"assume_unchanged,omitempty" doc:"tables and topics, separated by commas, a name that both have as table:NAME or topic:NAME, that nobody has written to since they were last seen or written: they do not hold the cut back. What was written to them all the same is lost, which the plan says"`
	LeaveOut        string `json:"leave_out,omitempty" doc:"tables and topics, written as for assume_unchanged, without which their groups come back: the cut is chosen from the others, nothing is known of what these lose, and a gate accepts that for each table before the others are promoted"`
}

// call is a call without the step's parameters, as the shared looks take it.
func call(c action.Call[pointParams]) action.Call[action.None] {
	return action.Call[action.None]{Request: c.Request}
}

func (s room) recoveryPoint() action.Action[pointParams] {
	return action.Action[pointParams]{
		Name: "group.recovery-point", Over: estate.GroupKind, Effect: action.RecordsOnly, Drill: action.DrillReadOnly,
		Requires: []estate.Requirement{estate.NeedsSightings(), estate.NeedsPeaks(), estate.NeedsOwnLogs()},
		Needs:    []string{"storage.stop-replication", "kafka.stop-mirror"},
		Doc:      "Choose the latest moment at which every table of a group is complete at the target and every topic is mirrored, and say what is lost.",
		Timing:   action.Timing{Timeout: 15 * time.Minute, Estimate: 5 * time.Second},
		Things:   datasetsOf, Plan: s.planPoint, Apply: applyPoint, Verify: s.verifyPoint,
		Show:    action.Shows[recovery.GroupPoint, action.None](),
		Rules:   []action.Rule{{Says: "it stands in the outcome, in the run's ledger"}},
		Permits: permit.Join(permit.Reads(permit.Source, permit.Tables), permit.Reads(permit.Target, permit.Tables, permit.Journal)),
		RedWhen: []action.Red{
			{Fault: "table.data-file-gone", Want: verdict.Fail},
			{Fault: "table.data-file-truncated", Want: verdict.Fail},
			{Fault: "table.log-gone", Want: verdict.Fail},
			{Fault: "table.access-revoked", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	}
}

// datasetsOf are what of a group comes back to one moment, and who reads it.
func datasetsOf(r action.Request) (names []string, none string) {
	g, ok := r.Estate.Group(r.Item.Name)
	if !ok {
		return []string{r.Item.Name}, ""
	}
	names = g.Datasets()
	for _, c := range g.ConsumerGroups {
		names = append(names, c.ConsumerGroup)
	}
	return names, "group " + g.Group + " has neither tables nor topics in the estate"
}

// point chooses the recovery point from what the world shows now, and says what
// choosing it accepts.
func (s room) point(ctx context.Context, c action.Call[pointParams]) (recovery.GroupPoint, []action.Acceptance, error) {
	ev, err := s.lake.Evidence(ctx, call(c))
	if err != nil {
		return recovery.GroupPoint{}, nil, err
	}
	if err := say(c, ev); err != nil {
		return recovery.GroupPoint{}, nil, err
	}
	accepts, err := ev.AbsolutePaths(ctx, c.Estate)
	if err != nil {
		return recovery.GroupPoint{}, nil, fmt.Errorf("group %s: %w", c.Item.Name, err)
	}
	accepts = append(accepts, ev.Forged()...)
	p := recovery.GroupPoint{Group: c.Item.Name, Death: ev.Death, LeftOut: ev.LeftOut()}
	for _, left := range p.LeftOut {
		accepts = append(accepts, action.LeftOut(left.Dataset, left.Why))
	}
	if len(p.LeftOut) < len(ev.Tables)+len(ev.Topics) { // else nothing is left to choose for
		if p.Cut, err = ev.Choose(ctx); err != nil {
			return recovery.GroupPoint{}, nil, fmt.Errorf("group %s: %w", c.Item.Name, err)
		}
		accepts = append(accepts, ev.OddTimes()...)
	}
	if p.Losses, err = recovery.Losses(p.Cut, ev.States(), ev.Topics, ev.Death, ev.Skew); err != nil {
		return recovery.GroupPoint{}, nil, err
	}
	for i, t := range p.Cut.Tables {
		if !t.AssumedSince.IsZero() {
			accepts = append(accepts, lake.AcceptUnchanged(t, p.Losses[i]))
		}
	}
	return p, accepts, nil
}

// comesBack says to which moment a group comes back, and without which tables.
func comesBack(p recovery.GroupPoint) string {
	words := p.Group + " does not come back here"
	if len(p.Losses)+len(p.LeftOut) == 0 {
		words = p.Group + " has no table and no topic, so there is no moment to choose"
	}
	if !p.Cut.At.IsZero() {
		words = fmt.Sprintf("%s comes back to %s", p.Group, p.Cut.At.Format(time.RFC3339Nano))
	}
	var names []string
	for _, left := range p.LeftOut {
		names = append(names, left.Dataset)
	}
	if names != nil {
		words += ", without " + plural.Few(names)
	}
	return words
}

// say marks what the step takes to be unchanged, and what it leaves out.
func say(c action.Call[pointParams], ev *lake.GroupEvidence) error {
	unchanged, err := lake.NamedIn(c.Estate, "assume_unchanged", c.With.AssumeUnchanged)
	if err != nil {
		return err
	}
	for _, t := range ev.Tables {
		t.State.Unchanged = slices.Contains(unchanged, lake.Named{Kind: "table", Name: t.Name})
	}
	for i := range ev.Topics {
		ev.Topics[i].Unchanged = slices.Contains(unchanged, lake.Named{Kind: "topic", Name: ev.Topics[i].Name})
	}
	out, err := lake.NamedIn(c.Estate, "leave_out", c.With.LeaveOut)
	for _, n := range out {
		ev.LeaveOut(n, lake.PeopleLeaveOut)
	}
	return err
}

func (s room) planPoint(ctx context.Context, c action.Call[pointParams]) (action.Change, error) {
	p, accepts, err := s.point(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	ch := action.Change{Summary: comesBack(p)}
	if p.Cut.Binding.Dataset != "" {
		ch.Summary += fmt.Sprintf(", bound by %s: %s", p.Cut.Binding.Dataset, p.Cut.Binding.Reason)
	}
	ch.Loss, ch.Accepts = worstLoss(p.Losses), accepts
	if ch.Data, err = action.Encode(p); err != nil {
		return ch, err
	}
	if was, err := record.GroupPoint.Encoded(ctx, c.Records, c.Item.Name); err != nil {
		return ch, err
	} else if bytes.Equal(was, ch.Data) {
		return ch, nil
	}
	for _, l := range p.Losses {
		e := action.EffectLine{On: l.Dataset, Do: "record its recovery point: it loses " + l.Words()}
		if l.LeftOut() {
			e.Do = "leave it out"
		} else if t, _, ok := p.Table(l.Dataset); ok && l.Kind == "table" {
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

// applyPoint records what was planned: the ledger keeps the outcome, one record
// for each dataset.
func applyPoint(ctx context.Context, c action.Call[pointParams]) (action.Outcome, error) {
	p, err := action.Decode[recovery.GroupPoint](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	was, err := record.GroupPoint.Encoded(ctx, c.Records, c.Item.Name)
	if err != nil {
		return action.Outcome{}, err
	}
	o := action.Outcome{Summary: comesBack(p), Data: c.Plan.Data}
	if !bytes.Equal(was, canonical(c.Plan.Data)) {
		o.Mutations = int64(len(p.Losses))
	}
	return o, nil
}

// worstLoss is the loss that reaches furthest back in time, the only measure that
// rows and messages share; one without a bound is worse than any with one.
func worstLoss(losses []recovery.Loss) *recovery.Given {
	if len(losses) == 0 {
		return nil
	}
	return slices.MaxFunc(losses, func(a, b recovery.Loss) int {
		switch {
		case (a.Count.AtMost == nil) != (b.Count.AtMost == nil):
			return ranks(a.Count.AtMost == nil)
		case (a.Seconds.AtMost == nil) != (b.Seconds.AtMost == nil):
			return ranks(a.Seconds.AtMost == nil)
		case a.Seconds.AtMost != nil && *a.Seconds.AtMost != *b.Seconds.AtMost:
			return ranks(*a.Seconds.AtMost > *b.Seconds.AtMost)
		}
		return ranks(a.Count.AtLeast > b.Count.AtLeast)
	}).Given()
}

// ranks is a comparison of two things that differ.
func ranks(above bool) int {
	if above {
		return 1
	}
	return -1
}
