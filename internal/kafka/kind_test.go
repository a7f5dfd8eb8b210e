package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"breakwater/internal/kafka"
	"breakwater/internal/kafka/kafkatest"
	"breakwater/internal/poll"
)

// refused asks in each way that changes or decides something for a group of that name.
func refused(t *testing.T, cl *kafka.Client, group, says string) {
	t.Helper()
	if g, err := cl.GroupState(t.Context(), group); !errors.Is(err, kafka.ErrOtherKind) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), says) || g.Idle() {
		t.Errorf("%s is %+v, %v; want an error that says %q, and does not that it is not there", group, g, err, says)
	}
	if err := cl.CommitOffsets(t.Context(), group, kafka.Offsets{{Topic: "orders"}: 1}); !errors.Is(err, kafka.ErrOtherKind) {
		t.Errorf("commit for %s: %v, want a refusal", group, err)
	}
}

func TestShareGroup(t *testing.T) {
	c := kafkatest.Cluster(t, kfake.SeedTopics(1, "orders"))
	cl := client(t, kafka.Config{Brokers: c.ListenAddrs()})
	kafkatest.Produce(t, c, kafkatest.Numbered("orders", 0, 10, time.Now())...)
	member := kafkatest.Client(t, c, kgo.ShareGroup("sink"), kgo.ConsumeTopics("orders"))
	adm := kadm.NewClient(kafkatest.Client(t, c))
	if err := poll.Until(t.Context(), 10*time.Millisecond, func(ctx context.Context) (bool, error) {
		all, err := adm.ListGroupsByType(ctx, []string{"share"})
		return len(all) == 1, err
	}); err != nil {
		t.Fatal(err)
	}
	refused(t, cl, "sink", "it is a share group")
	member.Close()
	refused(t, cl, "sink", "kafka-share-groups")
}

// TestOtherKinds lets a broker list a group as it lists kinds that it does not serve.
func TestOtherKinds(t *testing.T) {
	for name, tc := range map[string]struct {
		kind, protocol, says string
	}{
		"streams":               {"Streams", "streams", "it is a streams group"},
		"one yet to come":       {"Queue", "", "of kind queue"},
		"share, of old listing": {"", "share", "it is a share group"},
		"workers":               {"", "connect", `of the protocol "connect"`},
	} {
		t.Run(name, func(t *testing.T) {
			c := kafkatest.Cluster(t, kfake.SeedTopics(1, "orders"))
			c.ControlKey(int16(kmsg.ListGroups), func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				res := r.ResponseKind().(*kmsg.ListGroupsResponse) //nolint:errcheck,forcetypeassert // it is one
				g := kmsg.NewListGroupsResponseGroup()
				g.Group, g.GroupType, g.ProtocolType = "sink", tc.kind, tc.protocol
				res.Groups = append(res.Groups, g)
				return res, nil, true
			})
			refused(t, client(t, kafka.Config{Brokers: c.ListenAddrs()}), "sink", tc.says)
		})
	}
	t.Run("a broker that does not list", func(t *testing.T) {
		c := kafkatest.Cluster(t, kfake.SeedTopics(1, "orders"))
		c.ControlKey(int16(kmsg.ListGroups), func(r kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			res := r.ResponseKind().(*kmsg.ListGroupsResponse) //nolint:errcheck,forcetypeassert // it is one
			res.ErrorCode = kerr.ClusterAuthorizationFailed.Code
			return res, nil, true
		})
		cl := client(t, kafka.Config{Brokers: c.ListenAddrs()})
		if _, err := cl.GroupState(t.Context(), "sink"); errors.Is(err, fs.ErrNotExist) || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("whether there is a group is %v; want the refusal, and not that there is none", err)
		}
	})
}

// TestWorkersGroup: the workers of a Connect are a classic group, and no consumers.
func TestWorkersGroup(t *testing.T) {
	c := kafkatest.Cluster(t, kfake.SeedTopics(1, "orders"))
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = "workers", "connect", 10_000, 10_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = "sessioned"
	join.Protocols = append(join.Protocols, p)
	cl := kafkatest.Client(t, c)
	for range 2 { // the first answer gives the member its id
		res, err := join.RequestWith(t.Context(), cl)
		if err != nil {
			t.Fatal(err)
		}
		if join.MemberID = res.MemberID; res.ErrorCode == 0 {
			break
		}
		if err := kerr.ErrorForCode(res.ErrorCode); !errors.Is(err, kerr.MemberIDRequired) {
			t.Fatal(fmt.Errorf("join: %w", err))
		}
	}
	refused(t, client(t, kafka.Config{Brokers: c.ListenAddrs()}), "workers", `of the protocol "connect"`)
}
