package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/reach"
	"breakwater/internal/record"
	"breakwater/internal/verdict"
)

func (s room) kafkaPromote() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "kafka.promote", Over: estate.ConsumerGroupKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Needs: []string{"group.recovery-point"},
		Doc:   "Place a consumer group at the target where it misses no record: at what it is known to have read, and no later than what the tables of its cut hold; and hold it there against a mirror's task that outlives its stop.",
		// A mirror that does not end is waited for; of many groups some wait for others.
		Timing: action.Timing{Timeout: time.Hour, Estimate: 10 * time.Second},
		Plan:   s.planPromoteGroup, Apply: s.applyPromoteGroup, Verify: s.verifyPromoteGroup,
		Undo: &action.Undo[action.None]{Plan: s.planDemoteGroup, Apply: s.applyDemoteGroup, Verify: s.verifyDemoteGroup},
		RedWhen: []action.Red{
			{Fault: "kafka.commit-moved", Want: verdict.Fail},
			{Fault: "kafka.commit-deleted", Want: verdict.Fail},
			{Fault: "kafka.target-frozen", Want: verdict.Unknown},
		},
	}
}

// ConsumerPlan is where kafka.promote places a consumer group.
type ConsumerPlan struct {
	Group      string            `json:"group"`
	Placements []kafka.Placement `json:"placements"` // by partition; End of the log is Offset + ToRead
	Start      kafka.Offsets     `json:"start"`      // of each log
	Hold       *Hold             `json:"hold,omitempty"`
}

// offsets are the planned positions.
func (p ConsumerPlan) offsets() kafka.Offsets {
	at := kafka.Offsets{}
	for _, pl := range p.Placements {
		at[pl.Partition] = pl.Offset
	}
	return at
}

// consumer is a group at the target as it is.
type consumer struct {
	name string
	kafka.Group
	exists    bool
	committed kafka.Offsets // in the topics of the estate's group
}

// consumerGroup looks at the item's group at the target.
func (s room) consumerGroup(ctx context.Context, c action.Call[action.None], k *kafka.Client) (consumer, *estate.ConsumerGroup, error) {
	decl, _, ok := c.Estate.ConsumerGroup(c.Item.Name)
	if !ok {
		return consumer{}, nil, fmt.Errorf("%w: the estate has no consumer group %q", action.ErrRefused, c.Item.Name)
	}
	got := consumer{name: decl.ConsumerGroup, committed: kafka.Offsets{}}
	var err error
	got.Group, err = k.GroupState(ctx, decl.ConsumerGroup)
	got.exists = err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return got, decl, err
	}
	all, err := k.CommittedOffsets(ctx, decl.ConsumerGroup)
	for p, o := range all {
		if slices.Contains(decl.Topics, p.Topic) {
			got.committed[p] = o
		}
	}
	return got, decl, err
}

// on names the group in plans.
func (g consumer) on(region string) string { return "consumer group " + g.name + " in " + region }

// version is the group's state and commits, as a precondition.
func (g consumer) version() string {
	state := g.State
	if !g.exists {
		state = "not there"
	}
	return fmt.Sprintf("%s, %s", state, offsetsText(g.committed))
}

// offsetsText writes offsets, by partition.
func offsetsText(all kafka.Offsets) string {
	if len(all) == 0 {
		return "no commits"
	}
	var parts []string
	for _, p := range slices.SortedFunc(maps.Keys(all), kafka.Partition.Compare) {
		parts = append(parts, fmt.Sprintf("%v@%d", p, all[p]))
	}
	return strings.Join(parts, " ")
}

// refuseActive refuses a group whose offsets are its members'.
func (g consumer) refuseActive(region string) error {
	if g.Idle() {
		return nil
	}
	return fmt.Errorf("%w: %s is %s with %d members, whose offsets are their own to commit; stop its consumers first, then retry",
		action.ErrRefused, g.on(region), g.State, g.Members)
}

// places gathers what is known of a group in every partition of its topics.
func (s room) places(ctx context.Context, c action.Call[action.None], decl *estate.ConsumerGroup) (map[kafka.Partition]kafka.Place, error) {
	m, err := s.mirrorOf(ctx, c, decl.Topics...)
	if err != nil {
		return nil, err
	}
	at, silence, err := m.target.MirrorPositions(ctx, m.Mirror, m.source)
	if err != nil {
		return nil, err
	}
	checkpoints, syncs, err := checkpointsOf(ctx, m.target, m.Source)
	if err != nil {
		return nil, err
	}
	var commits kafka.Offsets
	if m.source != nil && silence == nil {
		if commits, err = m.source.CommittedOffsets(ctx, decl.ConsumerGroup); err != nil && !reach.Unreachable(err) {
			return nil, err
		}
	}
	cut, err := s.cutOf(ctx, c, m.target, decl.Topics)
	if err != nil {
		return nil, err
	}
	places := make(map[kafka.Partition]kafka.Place, len(at))
	for p, pos := range at {
		in := kafka.Place{Start: pos.Target.Start, End: pos.Target.Stable, Syncs: syncs[p]}
		if i := slices.IndexFunc(checkpoints, func(cp kafka.Checkpoint) bool {
			return cp.Group == decl.ConsumerGroup && cp.Partition == p
		}); i >= 0 {
			in.Checkpoint = &checkpoints[i]
		}
		if o, ok := commits[p]; ok {
			in.SourceCommit = &o
		}
		if drained, known := pos.Drained(); drained && known {
			in.SourceEnd = &pos.Source.End
		}
		if o, ok := cut[p]; ok {
			in.Cut = &o
		}
		places[p] = in
	}
	return places, nil
}

// cutOf finds in every partition the first record that the tables of the group's
// cut may lack, by its time less the clock skew. A cut without tables holds
// nothing back: there is no output that replaying must meet again.
//
// Times are the records': a group that lags by more than the skew has tables that
// lack older ones. Its own commits and checkpoints are what keeps it there.
func (s room) cutOf(ctx context.Context, c action.Call[action.None], k *kafka.Client, topics []string) (kafka.Offsets, error) {
	point, _, err := record.GroupPoint.Read(ctx, c.Records, c.Item.Group)
	if err != nil || len(point.Cut.Tables) == 0 {
		return nil, err
	}
	return k.OffsetsAtOrBefore(ctx, point.Cut.At.Add(-c.Estate.ClockSkew.Std()), topics...)
}

func (s room) planPromoteGroup(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	k, err := s.Kafka(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return action.Change{}, err
	}
	g, decl, err := s.consumerGroup(ctx, c, k)
	if err != nil {
		return action.Change{}, err
	}
	if err := g.refuseActive(c.Run.Target); err != nil {
		return action.Change{}, err
	}
	places, err := s.places(ctx, c, decl)
	if err != nil {
		return action.Change{}, err
	}
	p := ConsumerPlan{Group: g.name, Start: kafka.Offsets{}}
	if p.Placements, err = kafka.PlanGroup(places); err != nil {
		return action.Change{}, err
	}
	ch := action.Change{Preconditions: []action.Precondition{{Resource: g.on(c.Run.Target), Version: g.version()}}}
	var again int64
	for _, pl := range p.Placements {
		in := places[pl.Partition]
		p.Start[pl.Partition] = in.Start
		ch.Preconditions = append(ch.Preconditions, action.Precondition{
			Resource: fmt.Sprintf("log of %v in %s", pl.Partition, c.Run.Target), Version: fmt.Sprintf("%d to %d", in.Start, in.End),
		})
		comes := "at most " + fmt.Sprint(pl.ToRead) + " records come again"
		if pl.Reason == kafka.Exact {
			comes = "none comes again"
		} else {
			again += pl.ToRead
		}
		from, has := "no commit", false
		if o, ok := g.committed[pl.Partition]; ok {
			from, has = fmt.Sprint(o), o == pl.Offset
		}
		if !has {
			ch.Effects = append(ch.Effects, action.EffectLine{
				On: fmt.Sprintf("%s, %v", g.on(c.Run.Target), pl.Partition), Do: fmt.Sprintf("commit by %s: %s; %s", pl.Reason, pl.Why, comes),
				From: from, To: fmt.Sprint(pl.Offset),
			})
		}
	}
	ch.Summary = fmt.Sprintf("%s stays where it is in all %d partitions", g.name, len(p.Placements))
	if n := len(ch.Effects); n > 0 {
		ch.Summary = fmt.Sprintf("Place %s in %d of %d partitions: at most %d records come again, none is missed", g.name, n, len(p.Placements), again)
	}
	if p.Hold, err = s.holdOf(ctx, c, k, decl, p.offsets()); err != nil {
		return action.Change{}, err
	}
	ch.Summary += p.Hold.note()
	if ch.Data, err = action.Encode(p); err == nil {
		ch.Undo, err = action.Encode(consumerWas{g.committed})
	}
	return ch, err
}

// consumerWas is what a group had before.
type consumerWas struct {
	Committed kafka.Offsets `json:"committed"`
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
	k, err := s.KafkaToChange(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return action.Outcome{}, err
	}
	g, decl, err := s.consumerGroup(ctx, c, k)
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
		case ok == had && now == before, ok && p.Hold.didSync(at, now):
			left[at] = o
		default:
			return action.Outcome{}, fmt.Errorf("%w: %s is at %d in %v (committed: %t), neither where the plan saw it nor where it is to be; plan again",
				action.ErrMoved, g.on(c.Run.Target), now, at, ok)
		}
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s is placed in %d partitions", g.name, len(p.Placements))}
	if len(left) > 0 {
		if !g.Idle() {
			return action.Outcome{}, fmt.Errorf("%w: %s has become %s with %d members; stop its consumers and plan again", action.ErrMoved, g.on(c.Run.Target), g.State, g.Members)
		}
		ends, err := k.Ends(ctx, decl.Topics...)
		if err != nil {
			return action.Outcome{}, err
		}
		for _, pl := range p.Placements {
			if e := ends[pl.Partition]; e.Start != p.Start[pl.Partition] || e.Stable != pl.Offset+pl.ToRead {
				return action.Outcome{}, fmt.Errorf("%w: the log of %v in %s is from %d to %d, and the plan saw %d to %d; plan again",
					action.ErrMoved, pl.Partition, c.Run.Target, e.Start, e.Stable, p.Start[pl.Partition], pl.Offset+pl.ToRead)
			}
		}
	}
	return s.placeAndHold(ctx, c, k, g.name, out, left, heldGroup{p.offsets(), p.Hold})
}

// kafkaMoved says that a refusal by the broker comes from a world that moved.
func kafkaMoved(err error) error {
	if errors.Is(err, kafka.ErrGroupActive) || errors.Is(err, kafka.ErrOutOfLog) || errors.Is(err, kafka.ErrNotKept) {
		return fmt.Errorf("%w: %w", action.ErrMoved, err)
	}
	return err
}

// verifyPromoteGroup reads through a new connection where the group stands in
// every partition that its topics have now.
func (s room) verifyPromoteGroup(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	p, err := action.Decode[ConsumerPlan](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("%s is committed in every partition, as planned", p.Group)
	const want = "the planned offset, or one that a member moved on from there"
	not := func(err error) ([]action.Observation, error) {
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
	}
	k, end, err := s.FreshKafka(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return not(err)
	}
	defer end()
	decl, _, ok := c.Estate.ConsumerGroup(c.Item.Name)
	if !ok {
		return nil, fmt.Errorf("%w: the estate has no consumer group %q", action.ErrRefused, c.Item.Name)
	}
	ends, err := k.Ends(ctx, decl.Topics...)
	if errors.Is(err, fs.ErrNotExist) {
		return []action.Observation{action.Saw(what, want, err.Error(), false)}, nil
	}
	if err != nil {
		return not(err)
	}
	g, err := k.GroupState(ctx, decl.ConsumerGroup)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return not(err)
	}
	now, err := k.CommittedOffsets(ctx, decl.ConsumerGroup)
	if err != nil {
		return not(err)
	}
	planned := p.offsets()
	var wrong, outside []string
	for _, at := range slices.SortedFunc(maps.Keys(ends), kafka.Partition.Compare) {
		o, committed := now[at]
		want, known := planned[at]
		switch {
		case !committed:
			wrong = append(wrong, fmt.Sprintf("%v has no commit", at))
			continue
		case !known:
			wrong = append(wrong, fmt.Sprintf("%v is not in the plan", at))
		case o < want, o > want && g.Members == 0:
			wrong = append(wrong, fmt.Sprintf("%v at %d, planned %d, and the group has %d members", at, o, want, g.Members))
		}
		if e := ends[at]; o < e.Start || o > e.Stable {
			outside = append(outside, fmt.Sprintf("%v at %d of %d to %d", at, o, e.Start, e.Stable))
		}
	}
	for at := range planned {
		if _, ok := ends[at]; !ok {
			wrong = append(wrong, fmt.Sprintf("%v is gone", at))
		}
	}
	obs := []action.Observation{
		action.Conclude(what, want, fmt.Sprintf("%s, %s", offsetsText(now), g.State), wrong, len(ends)),
		action.Conclude(p.Group+" stands inside each log", "start ≤ committed ≤ end", fmt.Sprintf("so in %d partitions", len(ends)), outside, len(ends)),
	}
	return append(obs, s.withinMirrored(ctx, c, decl, p)), nil
}

// withinMirrored observes that no planned position lies beyond what the mirror
// had brought when it was stopped, as kafka.recovery-point recorded it.
func (s room) withinMirrored(ctx context.Context, c action.Call[action.None], decl *estate.ConsumerGroup, p ConsumerPlan) action.Observation {
	const what, want = "no position lies beyond the mirrored records", "at or before the target's end at the recovery point"
	var beyond []string
	planned, looked := p.offsets(), 0
	for _, topic := range decl.Topics {
		st, _, err := record.TopicPoint.Read(ctx, c.Records, topic)
		if err != nil {
			return action.Unknown(c.Run, "", what, want, err, "")
		}
		for _, ps := range st.Partitions {
			looked++
			at := kafka.Partition{Topic: topic, ID: ps.Partition}
			if o, ok := planned[at]; !ok || o > ps.TargetEnd {
				beyond = append(beyond, fmt.Sprintf("%v at %d, mirrored to %d (planned: %t)", at, o, ps.TargetEnd, ok))
			}
		}
	}
	return action.Conclude(what, want, fmt.Sprintf("so in %d partitions", looked), beyond, looked)
}
