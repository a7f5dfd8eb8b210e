package kafka

import (
	"context"
	"fmt"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/kafka/hold"
	"breakwater/internal/kafka/place"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/verdict"
)

func (s room) kafkaPromote() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "kafka.promote", Over: estate.ConsumerGroupKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Requires: []estate.Requirement{estate.NeedsMirror()},
		Needs:    []string{"group.recovery-point"},
		Doc:      "Place a consumer group at the target where it misses no record: at what it is known to have read, and no later than what the tables of its cut hold; and hold it there against a mirror's task that outlives its stop, by a denial that is tried as the mirror, or by watching. Its topics are those of the target, as the mirror calls them; a group that is no consumer group is refused.",
		// A mirror that does not end is waited for; of many groups some wait for others.
		Timing: action.Timing{Timeout: time.Hour, Estimate: 10 * time.Second},
		Plan:   s.planPromoteGroup, Apply: s.applyPromoteGroup, Verify: s.verifyPromoteGroup,
		Undo: &action.Undo[action.None]{Plan: s.planDemoteGroup, Apply: s.applyDemoteGroup, Verify: s.verifyDemoteGroup, Show: action.Shows[consumerBack, action.None]()},
		Show: action.Shows[ConsumerPlan, consumerWas](),
		Rules: []action.Rule{
			{Do: "commit", Says: "the offset is committed, and again where the mirror moves the group while it is watched", Sends: []string{"commit {on}"}},
			{Do: "delete the commit", Says: "the group's offset there is deleted", Sends: []string{"forget {on}"}},
			{Do: "deny READ", Says: "an ACL is made", Sends: []string{"deny READ to {on}"}},
			{Do: "take away that it is denied READ", Says: "this very ACL is deleted", Sends: []string{"no longer deny READ to {on}"}},
		},
		Permits: permit.Join(permit.AsksMirror(), permit.ReadsRecords(permit.Target, permit.Topics, permit.Mirror), permit.PlacesGroups(permit.Target)),
		RedWhen: []action.Red{
			{Fault: "kafka.commit-moved", Want: verdict.Fail},
			{Fault: "kafka.commit-deleted", Want: verdict.Fail},
			{Fault: "kafka.denial-lifted", Want: verdict.Fail},
			{Fault: "kafka.mirror-password-changed", Want: verdict.Unknown},
			{Fault: "kafka.target-frozen", Want: verdict.Unknown},
		},
	}
}

// ConsumerPlan is where kafka.promote places a consumer group.
type ConsumerPlan struct {
	Group      string            `json:"group"`
	Placements []place.Placement `json:"placements"` // by partition; End of the log is Offset + ToRead
	Start      kafka.Offsets     `json:"start"`      // of each log
	Hold       *hold.Hold        `json:"hold,omitempty"`
}

// offsets are the planned positions.
func (p ConsumerPlan) offsets() kafka.Offsets {
	at := kafka.Offsets{}
	for _, pl := range p.Placements {
		at[pl.Partition] = pl.Offset
	}
	return at
}

// consumerWas is what a group had before.
type consumerWas struct {
	Committed kafka.Offsets `json:"committed"`
	Denial    string        `json:"denial,omitempty"` // of this principal there was none; empty if none is put
}

func (s room) planPromoteGroup(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	g, err := s.toPlace(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	facts, accepts, err := s.facts(ctx, c, g)
	if err != nil {
		return action.Change{}, err
	}
	p := ConsumerPlan{Group: g.Name, Start: kafka.Offsets{}}
	if p.Placements, err = place.Group(facts); err != nil {
		return action.Change{}, err
	}
	ch := action.Change{Preconditions: []action.Precondition{g.seen()}, Accepts: accepts}
	var again int64
	for _, pl := range p.Placements {
		in := facts[pl.Partition]
		p.Start[pl.Partition] = in.Start
		ch.Preconditions = append(ch.Preconditions, action.Precondition{
			Resource: fmt.Sprintf("log of %v in %s", pl.Partition, c.Run.Target), Version: fmt.Sprintf("%d to %d", in.Start, in.End),
		})
		comes := "at most " + fmt.Sprint(pl.ToRead) + " records come again"
		if pl.Reason == place.Exact {
			comes = "none comes again"
		} else {
			again += pl.ToRead
		}
		now := g.at(pl.Partition)
		if now == pl.Offset {
			continue
		}
		from := "no commit"
		if now != hold.NoCommit {
			from = fmt.Sprint(now)
		}
		ch.Effects = append(ch.Effects, action.EffectLine{
			On: fmt.Sprintf("%s, %v", g.on(), pl.Partition), Do: fmt.Sprintf("commit by %s: %s; %s", pl.Reason, pl.Why, comes),
			From: from, To: fmt.Sprint(pl.Offset),
		})
	}
	ch.Summary = fmt.Sprintf("%s stays where it is in all %s", g.Name, plural.Of(len(p.Placements), "partition"))
	if n := len(ch.Effects); n > 0 {
		ch.Summary = fmt.Sprintf("Place %s in %d of %s: at most %s come again, none is missed", g.Name, n, plural.Of(len(p.Placements), "partition"), plural.Of(again, "record"))
	}
	if p.Hold, err = s.holdOf(ctx, c, g, p.offsets(), true); err != nil {
		return action.Change{}, err
	}
	ch.Summary += g.reads() + p.Hold.Note(held(c), atOnce)
	was := consumerWas{Committed: g.committed}
	if d := g.denies(p.Hold); len(d) > 0 {
		ch.Effects, was.Denial = append(d, ch.Effects...), p.Hold.Bar.Principal
	}
	if ch.Data, err = action.Encode(p); err == nil {
		ch.Undo, err = action.Encode(was)
	}
	return ch, err
}

// applyPromoteGroup commits the planned positions, if the group and its logs are
// as the plan saw them, and holds the group there. Positions that are there
// already are no mutation.
func (s room) applyPromoteGroup(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	p, err := action.Decode[ConsumerPlan](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	was, err := action.Decode[consumerWas](c.Plan.Undo)
	if err != nil {
		return action.Outcome{}, err
	}
	g, err := s.placing(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	left := kafka.Offsets{}
	for at, o := range p.offsets() {
		now, ok := g.committed[at]
		before, had := was.Committed[at]
		switch {
		case ok && now == o:
			continue
		case ok == had && now == before, ok && p.Hold.DidSync(at, now):
			left[at] = o
		default:
			return action.Outcome{}, fmt.Errorf("%w: %s is at %d in %v (committed: %t), neither where the plan saw it nor where it is to be; plan again",
				action.ErrMoved, g.on(), now, at, ok)
		}
	}
	if len(left) > 0 {
		if err := g.asPlanned(ctx, p); err != nil {
			return action.Outcome{}, err
		}
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s is placed in %s%s", g.Name, plural.Of(len(p.Placements), "partition"), g.reads())}
	return s.keep(ctx, c, g, out, left, p.offsets(), p.Hold)
}

// asPlanned asks that the group has no members, and its logs are as the plan saw them.
func (g consumer) asPlanned(ctx context.Context, p ConsumerPlan) error {
	if !g.Idle() {
		return fmt.Errorf("%w: %s has become %s with %s; stop its consumers and plan again", action.ErrMoved, g.on(), g.State, plural.Of(g.Members, "member"))
	}
	ends, err := g.k.Ends(ctx, g.topics...)
	if err != nil {
		return err
	}
	for _, pl := range p.Placements {
		if e := ends[pl.Partition]; e.Start != p.Start[pl.Partition] || e.Stable != pl.Offset+pl.ToRead {
			return fmt.Errorf("%w: the log of %v in %s is from %d to %d, and the plan saw %d to %d; plan again",
				action.ErrMoved, pl.Partition, g.region, e.Start, e.Stable, p.Start[pl.Partition], pl.Offset+pl.ToRead)
		}
	}
	return nil
}
