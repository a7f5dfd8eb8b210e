package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/plural"
	"breakwater/internal/record"
)

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
	ends, err := k.Ends(ctx, s.names(c).AllAtTarget(decl.Topics)...)
	if errors.Is(err, fs.ErrNotExist) {
		return []action.Observation{action.Saw(what, want, err.Error(), false)}, nil
	}
	if err != nil {
		return not(err)
	}
	g, err := k.GroupState(ctx, decl.ConsumerGroup)
	if errors.Is(err, kafka.ErrOtherKind) {
		return []action.Observation{action.Saw(what, want, err.Error(), false)}, nil
	}
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
			wrong = append(wrong, fmt.Sprintf("%v at %d, planned %d, and the group has %s", at, o, want, plural.Of(g.Members, "member")))
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
		action.Conclude(p.Group+" stands inside each log", "start ≤ committed ≤ end", fmt.Sprintf("so in %s", plural.Of(len(ends), "partition")), outside, len(ends)),
	}
	if p.Hold != nil && p.Hold.Bar != nil {
		obs = append(obs, s.keptOut(ctx, c, k, decl.ConsumerGroup, p.Hold.Bar))
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
			at := s.names(c).Target(kafka.Partition{Topic: topic, ID: ps.Partition})
			if o, ok := planned[at]; !ok || o > ps.TargetEnd {
				beyond = append(beyond, fmt.Sprintf("%v at %d, mirrored to %d (planned: %t)", at, o, ps.TargetEnd, ok))
			}
		}
	}
	return action.Conclude(what, want, fmt.Sprintf("so in %s", plural.Of(looked, "partition")), beyond, looked)
}
