package kafka_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"breakwater/internal/kafka"
	"breakwater/internal/kafka/kafkatest"
	"breakwater/internal/poll"
)

// TestReaders finds who reads a topic among all groups of a cluster: whoever committed
// there, and whoever reads it now without a commit, of whatever kind.
func TestReaders(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(2, "orders", "clicks"))
	cl := client(t, kafka.Config{Brokers: c.ListenAddrs()})
	kafkatest.Produce(t, c, slices.Concat(kafkatest.Numbered("orders", 0, 10, time.Now()), kafkatest.Numbered("orders", 1, 5, time.Now()))...)
	if all, err := cl.Readers(t.Context(), "orders"); err != nil || len(all) > 0 {
		t.Errorf("without groups: %+v, %v", all, err)
	}
	p0, p1, other := kafka.Partition{Topic: "orders"}, kafka.Partition{Topic: "orders", ID: 1}, kafka.Partition{Topic: "clicks"}
	commit := func(group string, at kafka.Offsets) {
		t.Helper()
		if err := cl.CommitOffsets(t.Context(), group, at); err != nil {
			t.Fatal(err)
		}
	}
	commit("idle", kafka.Offsets{p0: 7, p1: 5, other: 0})
	commit("elsewhere", kafka.Offsets{other: 0})
	join(t, c, "silent") // commits nothing
	kafkatest.Client(t, c, kgo.ShareGroup("queue"), kgo.ConsumeTopics("orders"))
	adm := kadm.NewClient(kafkatest.Client(t, c))
	if err := poll.Until(t.Context(), 10*time.Millisecond, func(ctx context.Context) (bool, error) {
		all, err := adm.DescribeShareGroups(ctx, "queue")
		return len(all["queue"].Members) == 1, err
	}); err != nil {
		t.Fatal(err)
	}
	all, err := cl.Readers(t.Context(), "orders", "clicks")
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range all {
		if r.Kind == "share" {
			all[i].Committed = nil // where a share group begins is its own to choose
		}
	}
	want := []kafka.Reader{
		{Group: "elsewhere", Kind: "classic", Committed: kafka.Offsets{other: 0}},
		{Group: "idle", Kind: "classic", Committed: kafka.Offsets{p0: 7, p1: 5, other: 0}},
		{Group: "queue", Kind: "share", Reading: []string{"orders"}},
		{Group: "silent", Kind: all[len(all)-1].Kind, Committed: kafka.Offsets{}, Reading: []string{"orders"}},
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	if all, err := cl.Readers(t.Context(), "orders"); err != nil || len(all) != 3 {
		t.Errorf("of one topic: %+v, %v; want who reads that one", all, err)
	}
}

// TestReadersAreNeverAPart: an answer that may lack a group is none.
func TestReadersAreNeverAPart(t *testing.T) {
	t.Run("groups that we may not see", func(t *testing.T) {
		sees := func(group string) kfake.ACL {
			return kfake.ACL{Resource: kmsg.ACLResourceTypeGroup, Name: group, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationDescribe, Allow: true}
		}
		c := cluster(t, kfake.SeedTopics(1, "orders"), kfake.EnableSASL(), kfake.EnableACLs(), kfake.User("PLAIN", "worker", "worker", sees("idle")))
		cl := client(t, kafka.Config{Brokers: c.ListenAddrs(), User: "worker", Password: "worker"})
		if all, err := cl.Readers(t.Context(), "orders"); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "DESCRIBE on the cluster") {
			t.Errorf("%+v, %v; want it refused, with what is needed", all, err)
		}
	})
	for name, key := range map[string]kmsg.Key{"a broker that does not list": kmsg.ListGroups, "offsets that are not told": kmsg.OffsetFetch} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t, kfake.SeedTopics(1, "orders"))
			cl := client(t, kafka.Config{Brokers: c.ListenAddrs()})
			kafkatest.Produce(t, c, kafkatest.Numbered("orders", 0, 1, time.Now())...)
			if err := cl.CommitOffsets(t.Context(), "idle", kafka.Offsets{{Topic: "orders"}: 1}); err != nil {
				t.Fatal(err)
			}
			c.ControlKey(int16(key), func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				switch res := r.ResponseKind().(type) {
				case *kmsg.ListGroupsResponse:
					res.ErrorCode = kerr.GroupAuthorizationFailed.Code
					return res, nil, true
				case *kmsg.OffsetFetchResponse:
					g := kmsg.NewOffsetFetchResponseGroup()
					g.Group, g.ErrorCode = "idle", kerr.GroupAuthorizationFailed.Code
					res.Groups = append(res.Groups, g)
					return res, nil, true
				}
				return nil, nil, false
			})
			if all, err := cl.Readers(t.Context(), "orders"); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%+v, %v; want the refusal", all, err)
			}
		})
	}
}
