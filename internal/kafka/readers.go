package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Reader is a group of any kind that reads topics, or has read them.
type Reader struct {
	Group     string
	Kind      string  // consumer, classic, share, streams, … as brokers name it; empty before Kafka 3.8
	Committed Offsets // of the topics that were asked for
	// Reading are those of them that a member subscribes to or is given now, in order.
	Reading []string
}

// Readers finds every group of the cluster that has committed in one of the topics, or
// that reads one now, in the order of names: also those that nobody told of. A group
// whose members commit nothing is seen while they are there, and a consumer without a
// group never. Brokers show a group only to whoever may see it: who may not see all of
// them (DESCRIBE on the cluster) is refused with fs.ErrPermission, since the answer would
// look whole.
func (c *Client) Readers(ctx context.Context, topics ...string) (all []Reader, err error) {
	if len(topics) == 0 {
		return nil, nil
	}
	err = c.coordinated(ctx, func(ctx context.Context) error {
		if err := c.seesAll(ctx); err != nil {
			return err
		}
		all, err = c.readers(ctx, topics)
		return err
	})
	return all, err
}

// seesAll asks whether the listing of groups hides none from us.
func (c *Client) seesAll(ctx context.Context) error {
	const doing = "ask whether all groups may be seen"
	ask := kmsg.NewPtrDescribeClusterRequest()
	ask.IncludeClusterAuthorizedOperations = true
	answer, err := ask.RequestWith(ctx, c.cl)
	if err == nil {
		err = kerr.ErrorForCode(answer.ErrorCode)
	}
	if err != nil {
		return c.explain(ctx, doing, err)
	}
	may := kadm.DecodeACLOperations(answer.ClusterAuthorizedOperations)
	if !slices.Contains(may, kadm.OpDescribe) && !slices.Contains(may, kadm.OpAll) {
		return c.explain(ctx, doing, fmt.Errorf("%w: give DESCRIBE on the cluster; without it brokers leave groups out and do not say so", fs.ErrPermission))
	}
	return nil
}

// listed is a group as its coordinator lists it.
type listedGroup struct{ name, kind, state string }

// listGroups asks every broker for its groups. One that does not answer leaves it unknown.
func (c *Client) listGroups(ctx context.Context) ([]listedGroup, error) {
	var all []listedGroup
	for _, shard := range c.cl.RequestSharded(ctx, kmsg.NewPtrListGroupsRequest()) {
		err := shard.Err
		answer, ok := shard.Resp.(*kmsg.ListGroupsResponse)
		if err == nil && ok {
			err = kerr.ErrorForCode(answer.ErrorCode)
		}
		if err != nil || !ok {
			return nil, c.explain(ctx, fmt.Sprintf("list the groups of broker %d", shard.Meta.NodeID), cmp.Or(err, errors.New("the broker answered something else")))
		}
		for _, g := range answer.Groups {
			kind := strings.ToLower(g.GroupType)
			if kind == "" && g.ProtocolType == "share" {
				kind = "share"
			}
			all = append(all, listedGroup{g.Group, kind, g.GroupState})
		}
	}
	slices.SortFunc(all, func(a, b listedGroup) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

func (c *Client) readers(ctx context.Context, topics []string) ([]Reader, error) {
	listed, err := c.listGroups(ctx)
	if err != nil {
		return nil, err
	}
	of := map[string]*Reader{}
	var share, others []string
	active := map[string][]string{} // by kind
	for _, g := range listed {
		of[g.name] = &Reader{Group: g.name, Kind: g.kind, Committed: Offsets{}}
		if g.kind == "share" {
			share = append(share, g.name)
		} else {
			others = append(others, g.name)
		}
		if g.state != "Empty" && g.state != "Dead" {
			active[g.kind] = append(active[g.kind], g.name)
		}
	}
	wanted := func(topic string) bool { return slices.Contains(topics, topic) }
	if err := c.manyOffsets(ctx, others, wanted, of); err != nil {
		return nil, err
	}
	if err := c.shareOffsets(ctx, share, wanted, of); err != nil {
		return nil, err
	}
	for _, kind := range slices.Sorted(maps.Keys(active)) {
		if err := c.members(ctx, kind, active[kind], wanted, of); err != nil {
			return nil, err
		}
	}
	var all []Reader
	for _, g := range listed {
		r := of[g.name]
		slices.Sort(r.Reading)
		r.Reading = slices.Compact(r.Reading)
		if len(r.Committed) > 0 || len(r.Reading) > 0 {
			all = append(all, *r)
		}
	}
	return all, nil
}

// askedGroups is how many groups one request asks about.
const askedGroups = 500

// manyOffsets reads what groups have committed in the topics that are wanted.
func (c *Client) manyOffsets(ctx context.Context, groups []string, wanted func(string) bool, of map[string]*Reader) error {
	for some := range slices.Chunk(groups, askedGroups) {
		for name, got := range c.adm.FetchManyOffsets(ctx, some...) {
			doing := "read committed offsets of group " + name
			if errors.Is(got.Err, kerr.GroupIDNotFound) {
				continue // it is gone since
			}
			if got.Err != nil {
				return c.explain(ctx, doing, got.Err)
			}
			for topic, parts := range got.Fetched {
				for id, o := range parts {
					switch p := (Partition{topic, id}); {
					case !wanted(topic):
					case o.Err != nil:
						return c.explain(ctx, fmt.Sprintf("%s in %v", doing, p), o.Err)
					case o.At >= 0:
						of[name].Committed[p] = o.At
					}
				}
			}
		}
	}
	return nil
}

// shareOffsets reads from where on share groups have not acknowledged all.
func (c *Client) shareOffsets(ctx context.Context, groups []string, wanted func(string) bool, of map[string]*Reader) error {
	for some := range slices.Chunk(groups, askedGroups) {
		got, err := c.adm.DescribeShareGroupOffsets(ctx, some...)
		if err != nil {
			return c.explain(ctx, "read the offsets of share groups", err)
		}
		for name, g := range got {
			doing := "read the offsets of share group " + name
			if errors.Is(g.Err, kerr.GroupIDNotFound) {
				continue
			}
			if g.Err != nil {
				return c.explain(ctx, doing, g.Err)
			}
			for topic, parts := range g.Offsets {
				for id, o := range parts {
					switch p := (Partition{topic, id}); {
					case !wanted(topic):
					case o.Err != nil:
						return c.explain(ctx, fmt.Sprintf("%s in %v", doing, p), o.Err)
					case o.StartOffset >= 0:
						of[name].Committed[p] = o.StartOffset
					}
				}
			}
		}
	}
	return nil
}

// members notes which of the topics the members of groups of one kind read now. Of a kind
// that nobody here can describe, what it commits is all that is known.
func (c *Client) members(ctx context.Context, kind string, groups []string, wanted func(string) bool, of map[string]*Reader) error {
	reads := func(group string, err error, topics ...[]string) error {
		if errors.Is(err, kerr.GroupIDNotFound) {
			return nil
		}
		if err != nil {
			return c.explain(ctx, "describe group "+group, err)
		}
		for _, t := range slices.Concat(topics...) {
			if wanted(t) {
				of[group].Reading = append(of[group].Reading, t)
			}
		}
		return nil
	}
	var bad error
	note := func(group string, err error, topics ...[]string) {
		bad = cmp.Or(bad, reads(group, err, topics...))
	}
	given := func(s kadm.TopicsSet) []string { return s.Topics() }
	var err error
	for some := range slices.Chunk(groups, askedGroups) {
		switch kind {
		case "consumer":
			var all kadm.DescribedConsumerGroups
			all, err = c.adm.DescribeConsumerGroups(ctx, some...)
			for name, g := range all {
				note(name, g.Err)
				for _, m := range g.Members {
					note(name, g.Err, m.SubscribedTopics, given(m.Assignment), given(m.TargetAssignment))
				}
			}
		case "share":
			var all kadm.DescribedShareGroups
			all, err = c.adm.DescribeShareGroups(ctx, some...)
			for name, g := range all {
				note(name, g.Err)
				for _, m := range g.Members {
					note(name, g.Err, m.SubscribedTopicNames, given(m.Assignment))
				}
			}
		case "classic", "":
			var all kadm.DescribedGroups
			all, err = c.adm.DescribeGroups(ctx, some...)
			for name, g := range all {
				note(name, g.Err)
				for _, m := range g.Members {
					if join, ok := m.Join.AsConsumer(); ok {
						note(name, g.Err, join.Topics)
					}
					if is, ok := m.Assigned.AsConsumer(); ok {
						for _, t := range is.Topics {
							note(name, g.Err, []string{t.Topic})
						}
					}
				}
			}
		}
		if err := cmp.Or(bad, c.explain(ctx, "describe groups", err)); err != nil {
			return err
		}
	}
	return nil
}
