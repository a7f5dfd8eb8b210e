package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"breakwater/internal/plural"
	"breakwater/internal/poll"
	"breakwater/internal/reach"
)

var (
	// ErrGroupActive means that a consumer group has members, so that its
	// offsets are theirs to commit.
	ErrGroupActive = errors.New("consumer group is active")

	// ErrOutOfLog means that an offset is not between a log's start and end.
	ErrOutOfLog = errors.New("offset outside the log")

	// ErrNotKept means that what was read back is not what was written.
	ErrNotKept = errors.New("offset was not kept")
)

// Group is a consumer group as its coordinator sees it.
type Group struct {
	Name    string
	State   string // Empty, Dead, Stable, PreparingRebalance, …, as Kafka names them
	Members int
}

// Idle reports whether an administrator may commit for the group.
func (g Group) Idle() bool { return g.Members == 0 && (g.State == "Empty" || g.State == "Dead") }

// GroupState asks the coordinator for a consumer group of either protocol (KIP-848 or
// classic). A group that does not exist is fs.ErrNotExist, with state Dead; one that is
// there and is another kind of group [ErrOtherKind].
func (c *Client) GroupState(ctx context.Context, group string) (g Group, err error) {
	err = c.coordinated(ctx, func(ctx context.Context) error {
		g, err = c.groupState(ctx, group)
		return err
	})
	return g, err
}

func (c *Client) groupState(ctx context.Context, group string) (Group, error) {
	doing := "describe group " + group
	none := Group{Name: group, State: "Dead"}
	modern, err := c.adm.DescribeConsumerGroups(ctx, group)
	switch d, ok := modern[group]; {
	case err == nil && ok && d.Err == nil:
		return Group{group, d.State, len(d.Members)}, nil
	// Only "I have no such group of this protocol" leads to the other protocol: a
	// group that merely could not be described must not look dead.
	case ok && d.Err != nil && !otherProtocol(d.Err):
		return Group{}, c.explain(ctx, doing, d.Err)
	case err != nil && !otherProtocol(err):
		return Group{}, c.explain(ctx, doing, err)
	}
	classic, err := c.adm.DescribeGroups(ctx, group)
	switch d, ok := classic[group]; {
	case ok && d.Err != nil:
		err = d.Err
		fallthrough
	case err != nil:
		if errors.Is(err, kerr.GroupIDNotFound) {
			return c.notFound(ctx, doing, none)
		}
		return Group{}, c.explain(ctx, doing, err)
	case !ok:
		return Group{}, c.explain(ctx, doing, errors.New("the broker answered without the group"))
	case d.State == "Dead" && len(d.Members) == 0:
		// Before Kafka 4 a group that never was is described as dead.
		return c.notFound(ctx, doing, none)
	default:
		if err := c.consumers(doing, "", d.ProtocolType); err != nil {
			return Group{}, err
		}
		return Group{group, d.State, len(d.Members)}, nil
	}
}

// notFound is a group of which both protocols say that there is none: of a group of
// another kind they say so too.
func (c *Client) notFound(ctx context.Context, doing string, none Group) (Group, error) {
	if err := c.otherKind(ctx, doing, none.Name); err != nil {
		return Group{}, err
	}
	return none, c.explain(ctx, doing, kerr.GroupIDNotFound)
}

// otherProtocol reports whether err says that a group must be asked for with
// the classic request: it is no KIP-848 group, or the broker (before 3.7) does
// not know these, which kgo finds out by itself and says with an error of its own.
func otherProtocol(err error) bool {
	if answer := (*kerr.Error)(nil); errors.As(err, &answer) {
		return errors.Is(err, kerr.GroupIDNotFound) || errors.Is(err, kerr.UnsupportedVersion)
	}
	return !reach.Unreachable(classify(err)) && !errors.Is(err, context.Canceled)
}

// CommittedOffsets reads what a group has committed. A partition without a
// commit is missing from the answer; a group that does not exist has none, and neither,
// as the broker answers, has one of another kind: [Client.GroupState] tells them apart.
func (c *Client) CommittedOffsets(ctx context.Context, group string) (at Offsets, err error) {
	err = c.coordinated(ctx, func(ctx context.Context) error {
		at, err = c.committedOffsets(ctx, group)
		return err
	})
	return at, err
}

func (c *Client) committedOffsets(ctx context.Context, group string) (Offsets, error) {
	doing := "read committed offsets of group " + group
	got, err := c.adm.FetchOffsets(ctx, group)
	if err != nil {
		if errors.Is(err, kerr.GroupIDNotFound) {
			return Offsets{}, nil
		}
		return nil, c.explain(ctx, doing, err)
	}
	out := make(Offsets)
	for topic, parts := range got {
		for id, o := range parts {
			if o.Err != nil {
				return nil, c.explain(ctx, fmt.Sprintf("%s in %v", doing, Partition{topic, id}), o.Err)
			}
			if o.At >= 0 {
				out[Partition{topic, id}] = o.At
			}
		}
	}
	return out, nil
}

// CommitOffsets places an idle group, and reads back that it is there.
//
// It refuses with ErrGroupActive if the group has members and with ErrOutOfLog
// if an offset is outside its log (Kafka itself accepts that, and shows lag 0),
// in both cases before anything is written. Committing the same offsets again
// changes nothing. Offsets of other partitions stay as they are.
func (c *Client) CommitOffsets(ctx context.Context, group string, offsets Offsets) error {
	doing := "commit offsets of group " + group
	if len(offsets) == 0 {
		return fmt.Errorf("kafka %s: %s: no offsets given", c.brokers, doing)
	}
	g, err := c.GroupState(ctx, group)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !g.Idle() {
		return fmt.Errorf("kafka %s: %s: it is %s with %s, stop its consumers first: %w",
			c.brokers, doing, g.State, plural.Of(g.Members, "member"), ErrGroupActive)
	}
	topics := make(map[string]bool)
	for p := range offsets {
		topics[p.Topic] = true
	}
	ends, err := c.Ends(ctx, slices.Collect(maps.Keys(topics))...)
	if err != nil {
		return err
	}
	var commit kadm.Offsets
	for p, o := range offsets {
		e, ok := ends[p]
		if !ok {
			return c.explain(ctx, fmt.Sprintf("%s in %v", doing, p), kerr.UnknownTopicOrPartition)
		}
		if o < e.Start || o > e.End {
			return fmt.Errorf("kafka %s: %s in %v: %d, the log is from %d to %d: %w", c.brokers, doing, p, o, e.Start, e.End, ErrOutOfLog)
		}
		commit.AddOffset(p.Topic, p.ID, o, -1)
	}
	if err := c.coordinated(ctx, func(ctx context.Context) error {
		return c.commit(ctx, doing, group, commit)
	}); err != nil {
		return err
	}
	kept, err := c.CommittedOffsets(ctx, group)
	if err != nil {
		return err
	}
	for _, p := range slices.SortedFunc(maps.Keys(offsets), Partition.Compare) {
		if got, ok := kept[p]; !ok || got != offsets[p] {
			return fmt.Errorf("kafka %s: %s in %v: wrote %d, read back %d (present: %t), somebody else commits for it: %w",
				c.brokers, doing, p, offsets[p], got, ok, ErrNotKept)
		}
	}
	return nil
}

func (c *Client) commit(ctx context.Context, doing, group string, commit kadm.Offsets) error {
	done, err := c.adm.CommitOffsets(ctx, group, commit)
	if err != nil {
		return c.explain(ctx, doing, err)
	}
	for topic, parts := range commit {
		for id := range parts {
			p := Partition{topic, id}
			o, ok := done.Lookup(topic, id)
			if !ok {
				return c.explain(ctx, fmt.Sprintf("%s in %v", doing, p), errors.New("the broker answered without the partition"))
			}
			if o.Err != nil {
				return c.explain(ctx, fmt.Sprintf("%s in %v", doing, p), o.Err)
			}
		}
	}
	return nil
}

// DeleteOffsets deletes what an idle group has committed in the partitions. Where
// it has committed nothing, nothing changes. Offsets of other partitions stay; a
// group that is left with none is as good as not there, and Kafka removes it in
// time. A group that does not exist is fs.ErrNotExist, one whose members read the
// topics ErrGroupActive.
func (c *Client) DeleteOffsets(ctx context.Context, group string, partitions []Partition) error {
	doing := "delete offsets of group " + group
	if len(partitions) == 0 {
		return fmt.Errorf("kafka %s: %s: no partitions given", c.brokers, doing)
	}
	set := kadm.TopicsSet{}
	for _, p := range partitions {
		set.Add(p.Topic, p.ID)
	}
	return c.coordinated(ctx, func(ctx context.Context) error {
		done, err := c.adm.DeleteOffsets(ctx, group, set)
		if err != nil {
			return c.explain(ctx, doing, err)
		}
		for _, p := range partitions {
			err, ok := done.Lookup(p.Topic, p.ID)
			if !ok {
				err = errors.New("the broker answered without the partition")
			}
			if err != nil {
				return c.explain(ctx, fmt.Sprintf("%s in %v", doing, p), err)
			}
		}
		return nil
	})
}

// loading is how long a coordinator that answers "not yet" is waited for, in
// timeouts of one call: a broker that says so is alive, so the patience for
// silence does not apply.
const loading = 5

// coordinated bounds a call to a group's coordinator and repeats it while there
// is none yet: a young cluster creates its topic of commits on the first
// question, and a broker that just took over first reads it.
func (c *Client) coordinated(ctx context.Context, call func(context.Context) error) error {
	patience, ended := context.WithTimeout(ctx, loading*c.timeout)
	defer ended()
	var last error // what the coordinator said says more than that the patience ended
	if err := poll.Until(patience, 100*time.Millisecond, func(context.Context) (bool, error) {
		once, cancel := c.bound(ctx)
		defer cancel()
		last = call(once)
		return !errors.Is(last, kerr.CoordinatorNotAvailable) && !errors.Is(last, kerr.CoordinatorLoadInProgress) &&
			!errors.Is(last, kerr.NotCoordinator), last
	}); err == nil {
		return nil
	}
	return last
}
