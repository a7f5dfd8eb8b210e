package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/kafka"
	"breakwater/internal/kafka/hold"
	"breakwater/internal/mirror"
	"breakwater/internal/plural"
)

// consumer is the item's consumer group at the target, as it is.
type consumer struct {
	kafka.Group
	region    string
	names     mirror.Names
	declared  []string // topics that the estate's group reads, as the source calls them
	topics    []string // the same, as the target calls them
	exists    bool
	committed kafka.Offsets // in its topics
	k         *kafka.Client // of the target
}

// consumerGroup looks at the item's group through k.
func (s room) consumerGroup(ctx context.Context, c action.Call[action.None], k *kafka.Client) (consumer, error) {
	decl, _, ok := c.Estate.ConsumerGroup(c.Item.Name)
	if !ok {
		return consumer{}, fmt.Errorf("%w: the estate has no consumer group %q", action.ErrRefused, c.Item.Name)
	}
	g := consumer{region: c.Run.Target, names: s.names(c), declared: decl.Topics, committed: kafka.Offsets{}, k: k}
	g.topics = g.names.AllAtTarget(decl.Topics)
	var err error
	g.Group, err = k.GroupState(ctx, decl.ConsumerGroup)
	g.exists = err == nil
	g.Name = decl.ConsumerGroup
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return g, action.Classed(err, kafka.ErrOtherKind, action.ErrRefused)
	}
	all, err := k.CommittedOffsets(ctx, decl.ConsumerGroup)
	for p, o := range all {
		if slices.Contains(g.topics, p.Topic) {
			g.committed[p] = o
		}
	}
	return g, err
}

// toPlace looks at the item's group for a plan that places it. A group whose offsets
// are its members' is refused.
func (s room) toPlace(ctx context.Context, c action.Call[action.None]) (consumer, error) {
	k, err := s.Kafka(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return consumer{}, err
	}
	g, err := s.consumerGroup(ctx, c, k)
	if err == nil && !g.Idle() {
		err = fmt.Errorf("%w: %s is %s with %s, whose offsets are their own to commit; stop its consumers first, then retry",
			action.ErrRefused, g.on(), g.State, plural.Of(g.Members, "member"))
	}
	return g, err
}

// placing looks at the item's group, in the cluster that the estate means, to place it
// now.
func (s room) placing(ctx context.Context, c action.Call[action.None]) (consumer, error) {
	k, err := s.KafkaToChange(ctx, c.Estate, c.Run.Target)
	if err != nil {
		return consumer{}, err
	}
	return s.consumerGroup(ctx, c, k)
}

// on names the group in plans.
func (g consumer) on() string { return "consumer group " + g.Name + " in " + g.region }

// reads says which topics the group's consumers must read at the target, where those are
// called otherwise than at the source; empty if they are not.
func (g consumer) reads() string {
	if g.names.Keep() {
		return ""
	}
	return fmt.Sprintf("; at %s its consumers must subscribe to %s, which is what the mirror calls %s there", g.region, strings.Join(g.topics, ", "), strings.Join(g.declared, ", "))
}

// seen is the group's state and commits, as a precondition.
func (g consumer) seen() action.Precondition {
	state := g.State
	if !g.exists {
		state = "not there"
	}
	return action.Precondition{Resource: g.on(), Version: fmt.Sprintf("%s, %s", state, offsetsText(g.committed))}
}

// at is where the group stands in a partition; [hold.NoCommit] without a commit.
func (g consumer) at(p kafka.Partition) int64 {
	if o, ok := g.committed[p]; ok {
		return o
	}
	return hold.NoCommit
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
