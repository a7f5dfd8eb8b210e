package kafka_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"breakwater/internal/kafka"
	"breakwater/internal/kafka/kafkatest"
)

// join lets a member read in a group until the test stops it.
func join(t *testing.T, c *kfake.Cluster, group string, opts ...kgo.Opt) (leave func()) {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumerGroup(group),
		kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if f := cl.PollFetches(ctx); f.Err() != nil {
		t.Fatal(f.Err())
	}
	return cl.Close
}

func TestGroups(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(2, "orders"))
	cl := client(t, kafka.Config{Brokers: c.ListenAddrs()})
	p0, p1 := kafka.Partition{Topic: "orders"}, kafka.Partition{Topic: "orders", ID: 1}
	kafkatest.Produce(t, c, append(kafkatest.Numbered("orders", 0, 10, time.Now()), kafkatest.Numbered("orders", 1, 5, time.Now())...)...)

	if g, err := cl.GroupState(t.Context(), "sink"); !errors.Is(err, fs.ErrNotExist) || g.State != "Dead" || !g.Idle() {
		t.Errorf("unknown group is %+v, %v; want Dead and fs.ErrNotExist", g, err)
	}
	if at, err := cl.CommittedOffsets(t.Context(), "sink"); len(at) != 0 || err != nil {
		t.Errorf("unknown group has committed %v, %v", at, err)
	}
	leave := join(t, c, "sink")
	if g, err := cl.GroupState(t.Context(), "sink"); g.State != "Stable" || g.Members != 1 || g.Idle() || err != nil {
		t.Errorf("joined group is %+v, %v", g, err)
	}
	want := kafka.Offsets{p0: 7, p1: 5}
	if err := cl.CommitOffsets(t.Context(), "sink", want); !errors.Is(err, kafka.ErrGroupActive) || !strings.Contains(err.Error(), "stop its consumers") {
		t.Errorf("commit for an active group: %v, want ErrGroupActive and what to do", err)
	}
	if at, err := cl.CommittedOffsets(t.Context(), "sink"); len(at) != 0 || err != nil {
		t.Errorf("the refused commit left %v, %v", at, err)
	}
	leave()
	for range 2 {
		if err := cl.CommitOffsets(t.Context(), "sink", want); err != nil {
			t.Fatal(err)
		}
	}
	if g, err := cl.GroupState(t.Context(), "sink"); g.State != "Empty" || !g.Idle() || err != nil {
		t.Errorf("group without members is %+v, %v", g, err)
	}
	for name, tc := range map[string]struct {
		to   kafka.Offsets
		want error
	}{
		"past the end":      {kafka.Offsets{p0: 3, p1: 6}, kafka.ErrOutOfLog},
		"before the start":  {kafka.Offsets{p0: -1}, kafka.ErrOutOfLog},
		"unknown topic":     {kafka.Offsets{{Topic: "nothing"}: 0}, fs.ErrNotExist},
		"unknown partition": {kafka.Offsets{{Topic: "orders", ID: 2}: 0}, fs.ErrNotExist},
	} {
		if err := cl.CommitOffsets(t.Context(), "sink", tc.to); !errors.Is(err, tc.want) {
			t.Errorf("commit %s: %v, want %v", name, err, tc.want)
		}
	}
	if err := cl.CommitOffsets(t.Context(), "sink", nil); err == nil {
		t.Error("a commit of nothing passed")
	}
	at, err := cl.CommittedOffsets(t.Context(), "sink")
	if diff := cmp.Diff(want, at); diff != "" || err != nil {
		t.Errorf("committed (-want +got), error %v:\n%s", err, diff)
	}
	if err := cl.CommitOffsets(t.Context(), "new", want); err != nil {
		t.Errorf("commit for a group that was never there: %v", err)
	}
	for range 2 {
		if err := cl.DeleteOffsets(t.Context(), "sink", []kafka.Partition{p0}); err != nil {
			t.Errorf("delete a commit: %v", err)
		}
	}
	at, err = cl.CommittedOffsets(t.Context(), "sink")
	if diff := cmp.Diff(kafka.Offsets{p1: 5}, at); diff != "" || err != nil {
		t.Errorf("committed after one was deleted (-want +got), error %v:\n%s", err, diff)
	}
	if err := cl.DeleteOffsets(t.Context(), "nobody", []kafka.Partition{p0}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("delete a commit of an unknown group: %v, want fs.ErrNotExist", err)
	}
	if err := cl.DeleteOffsets(t.Context(), "sink", nil); err == nil {
		t.Error("a deletion of nothing passed")
	}
	leave = join(t, c, "sink")
	defer leave()
	if err := cl.DeleteOffsets(t.Context(), "sink", []kafka.Partition{p1}); !errors.Is(err, kafka.ErrGroupActive) {
		t.Errorf("delete a commit of an active group: %v, want ErrGroupActive", err)
	}
}

// TestModernGroup asks for a group of the consumer protocol of KIP-848.
func TestModernGroup(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "orders"))
	cl := client(t, kafka.Config{Brokers: c.ListenAddrs()})
	kafkatest.Produce(t, c, kafkatest.Numbered("orders", 0, 3, time.Now())...)
	leave := join(t, c, "modern", kgo.WithContext(context.WithValue(t.Context(), "opt_in_kafka_next_gen_balancer_beta", true))) //nolint:staticcheck // kgo's own key
	g, err := cl.GroupState(t.Context(), "modern")
	if g.State != "Stable" || g.Members != 1 || err != nil {
		t.Errorf("joined group is %+v, %v", g, err)
	}
	to := kafka.Offsets{{Topic: "orders"}: 2}
	if err := cl.CommitOffsets(t.Context(), "modern", to); !errors.Is(err, kafka.ErrGroupActive) {
		t.Errorf("commit for an active group: %v, want ErrGroupActive", err)
	}
	leave()
	if err := cl.CommitOffsets(t.Context(), "modern", to); err != nil {
		t.Error(err)
	}
}

// TestCommitIsLookedAt breaks one item of an answer that is otherwise well, and
// a commit that is acknowledged but not kept.
func TestCommitIsLookedAt(t *testing.T) {
	for name, tc := range map[string]struct {
		code int16
		want error
	}{
		"an item is refused":    {kerr.TopicAuthorizationFailed.Code, fs.ErrPermission},
		"a member came back":    {kerr.UnknownMemberID.Code, kafka.ErrGroupActive},
		"acknowledged and lost": {0, kafka.ErrNotKept},
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t, kfake.SeedTopics(2, "orders"))
			cl := client(t, kafka.Config{Brokers: c.ListenAddrs(), Timeout: 2 * time.Second})
			kafkatest.Produce(t, c, append(kafkatest.Numbered("orders", 0, 9, time.Now()), kafkatest.Numbered("orders", 1, 9, time.Now())...)...)
			c.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				in := req.(*kmsg.OffsetCommitRequest)
				out := req.ResponseKind().(*kmsg.OffsetCommitResponse)
				for _, t := range in.Topics {
					topic := kmsg.NewOffsetCommitResponseTopic()
					topic.Topic, topic.TopicID = t.Topic, t.TopicID
					for _, p := range t.Partitions {
						part := kmsg.NewOffsetCommitResponseTopicPartition()
						if part.Partition = p.Partition; p.Partition == 1 {
							part.ErrorCode = tc.code
						}
						topic.Partitions = append(topic.Partitions, part)
					}
					out.Topics = append(out.Topics, topic)
				}
				return out, nil, true
			})
			err := cl.CommitOffsets(t.Context(), "sink", kafka.Offsets{{Topic: "orders"}: 3, {Topic: "orders", ID: 1}: 4})
			if !errors.Is(err, tc.want) {
				t.Errorf("error is %v, want %v", err, tc.want)
			}
		})
	}
}

// TestYoungCluster asks for a group while its coordinator is not there yet.
func TestYoungCluster(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "orders"))
	cl := client(t, kafka.Config{Brokers: c.ListenAddrs(), Timeout: 500 * time.Millisecond})
	refusals := 8 // which takes longer than one call may
	c.ControlKey(int16(kmsg.ConsumerGroupDescribe), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if refusals == 0 {
			return nil, nil, false
		}
		refusals--
		out := req.ResponseKind().(*kmsg.ConsumerGroupDescribeResponse)
		for _, name := range req.(*kmsg.ConsumerGroupDescribeRequest).Groups {
			g := kmsg.NewConsumerGroupDescribeResponseGroup()
			g.Group, g.ErrorCode = name, kerr.CoordinatorNotAvailable.Code
			out.Groups = append(out.Groups, g)
		}
		return out, nil, true
	})
	if g, err := cl.GroupState(t.Context(), "sink"); !errors.Is(err, fs.ErrNotExist) || g.State != "Dead" {
		t.Errorf("group is %+v, %v; want Dead after the coordinator came", g, err)
	}
	if refusals != 0 {
		t.Errorf("%d refusals were not used", refusals)
	}
}
