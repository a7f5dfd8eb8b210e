package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrOtherKind means that a group is there and is no consumer group, so that it has no
// place that could be read or set as one.
var ErrOtherKind = errors.New("not a consumer group")

// otherKind is the error of a group that its coordinator lists as another kind than a
// consumer group: whoever asks for it as one is told that there is none. It is nil for
// a consumer group, and for one that is not listed.
func (c *Client) otherKind(ctx context.Context, doing, group string) error {
	doing += ": list the groups of its coordinator"
	at, ok := c.adm.FindGroupCoordinators(ctx, group)[group]
	if !ok {
		at.Err = errors.New("the broker answered without the group")
	}
	if at.Err != nil {
		return c.explain(ctx, doing, at.Err)
	}
	// It coordinates every kind of group by that name. Other brokers need not answer.
	answer, err := kmsg.NewPtrListGroupsRequest().RequestWith(ctx, c.cl.Broker(int(at.NodeID)))
	if err == nil {
		err = kerr.ErrorForCode(answer.ErrorCode)
	}
	if err != nil {
		return c.explain(ctx, doing, err)
	}
	for _, g := range answer.Groups {
		if g.Group == group {
			return c.consumers(doing, g.GroupType, g.ProtocolType)
		}
	}
	return nil
}

// consumers refuses a group by its kind (empty where brokers do not tell it, before
// Kafka 3.8) and its members' protocol (empty where it never had a member).
func (c *Client) consumers(doing, kind, protocol string) error {
	var is string
	switch kind = strings.ToLower(kind); {
	case kind == "share" || kind == "" && protocol == "share":
		is = "a share group, whose place is no offset that is committed; take it out of the estate's consumer_groups, and set its start at the standby with kafka-share-groups --reset-offsets"
	case kind == "streams":
		is = "a streams group, whose place hangs together with its own topics; take it out of the estate's consumer_groups, and set its start at the standby with kafka-streams-groups --reset-offsets"
	case kind != "" && kind != "classic" && kind != "consumer":
		is = fmt.Sprintf("a group of kind %s; take it out of the estate's consumer_groups", kind)
	case protocol != "" && protocol != "consumer":
		is = fmt.Sprintf("a group of the protocol %q, as of the workers of Kafka Connect, which commits no offsets; take it out of the estate's consumer_groups", protocol)
	default:
		return nil
	}
	return fmt.Errorf("kafka %s: %s: %w: it is %s", c.brokers, doing, ErrOtherKind, is)
}
