package kafka_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"breakwater/internal/kafka"
	"breakwater/internal/kafka/kafkatest"
	"breakwater/internal/reach"
)

func cluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	return kafkatest.Cluster(t, append([]kfake.Opt{kfake.ClusterID("standby-id")}, opts...)...)
}

func client(t *testing.T, c kafka.Config) *kafka.Client {
	t.Helper()
	cl, err := kafka.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func TestEnds(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(2, "orders"))
	cl := client(t, kafka.Config{Brokers: c.ListenAddrs()})
	t0 := time.UnixMilli(1_700_000_000_000)
	p0, p1 := kafka.Partition{Topic: "orders"}, kafka.Partition{Topic: "orders", ID: 1}
	kafkatest.Produce(t, c, kafkatest.Numbered("orders", 0, 10, t0)...)

	commit, abort := kgo.TryCommit, kgo.TryAbort
	kafkatest.Transact(t, c, "a", &commit, kafkatest.Numbered("orders", 0, 1, t0.Add(time.Minute))...)
	kafkatest.Transact(t, c, "b", &abort, kafkatest.Numbered("orders", 0, 3, t0.Add(time.Hour))...)
	kafkatest.Transact(t, c, "c", nil, kafkatest.Numbered("orders", 0, 2, t0.Add(2*time.Hour))...)
	got, err := cl.Ends(t.Context(), "orders")
	// 10 records, 1 with its marker, 3 aborted with theirs, 2 open.
	want := map[kafka.Partition]kafka.Ends{p0: {Start: 0, Stable: 16, End: 18}, p1: {}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("ends (-want +got), error %v:\n%s", err, diff)
	}
	newest, err := cl.Newest(t.Context(), "orders")
	if len(newest) != 1 || !newest[p0].Newest.Equal(t0.Add(time.Minute)) || err != nil {
		t.Errorf("newest committed data is of %v, %v; want %v in %v alone", newest, err, t0.Add(time.Minute), p0)
	}
	left, err := cl.Remaining(t.Context(), kafka.Offsets{p0: 4, p1: 0})
	if diff := cmp.Diff(map[kafka.Partition]int64{p0: 7, p1: 0}, left); diff != "" || err != nil {
		t.Errorf("remaining (-want +got), error %v:\n%s", err, diff)
	}
	for name, tc := range map[string]struct {
		at   time.Time
		want int64
	}{
		"before all": {t0.Add(-time.Second), 0}, "at a record": {t0.Add(3 * time.Second), 3},
		"past a marker": {t0.Add(30 * time.Second), 10}, "between": {t0.Add(3500 * time.Millisecond), 4}, "within a record's millisecond": {t0.Add(3*time.Second + time.Microsecond), 3},
	} {
		if got, err := cl.OffsetsAtOrBefore(t.Context(), tc.at, "orders"); got[p0] != tc.want || err != nil {
			t.Errorf("%s: offset %d, %v; want %d", name, got[p0], err, tc.want)
		}
	}
	// The markers are of today, years after the records.
	for _, at := range []time.Time{t0.Add(24 * time.Hour), time.Now().Add(24 * time.Hour)} {
		if got, err := cl.OffsetsAtOrBefore(t.Context(), at, "orders"); got[p0] != 16 || err != nil {
			t.Errorf("at %v, after all records: offset %d, %v; want the stable end", at, got[p0], err)
		}
	}
	if got, err := cl.Ends(t.Context()); len(got) != 0 || err != nil {
		t.Errorf("ends of no topics: %v, %v", got, err)
	}
	for name, ask := range map[string]func() error{
		"ends":       func() error { _, err := cl.Ends(t.Context(), "orders", "nothing"); return err },
		"at a time":  func() error { _, err := cl.OffsetsAtOrBefore(t.Context(), t0, "nothing"); return err },
		"partitions": func() error { _, err := cl.Partitions(t.Context(), "nothing"); return err },
		"newest":     func() error { _, err := cl.Newest(t.Context(), "nothing"); return err },
		"remaining": func() error {
			_, err := cl.Remaining(t.Context(), kafka.Offsets{{Topic: "orders", ID: 7}: 0})
			return err
		},
		"records": func() error {
			return cl.EachRecord(t.Context(), "nothing", func(kafka.Record) error { return nil })
		},
	} {
		if err := ask(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of what does not exist: %v, want fs.ErrNotExist", name, err)
		}
	}
}

// TestItemErrors hides an error in one partition of an answer that is otherwise
// well, and that has an offset beside the error.
func TestItemErrors(t *testing.T) {
	for _, tc := range []struct {
		hidden *kerr.Error
		want   error
	}{{kerr.TopicAuthorizationFailed, fs.ErrPermission}, {kerr.UnknownServerError, kerr.UnknownServerError}} {
		t.Run(tc.hidden.Message, func(t *testing.T) {
			c := cluster(t, kfake.SeedTopics(2, "orders"))
			cl := client(t, kafka.Config{Brokers: c.ListenAddrs(), Timeout: time.Second})
			c.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				res := req.ResponseKind().(*kmsg.ListOffsetsResponse)
				topic := kmsg.NewListOffsetsResponseTopic()
				topic.Topic = "orders"
				for id := range int32(2) {
					p := kmsg.NewListOffsetsResponseTopicPartition()
					p.Partition, p.Offset = id, 5
					if id == 1 {
						p.ErrorCode = tc.hidden.Code
					}
					topic.Partitions = append(topic.Partitions, p)
				}
				res.Topics = append(res.Topics, topic)
				return res, nil, true
			})
			if got, err := cl.Ends(t.Context(), "orders"); !errors.Is(err, tc.want) {
				t.Errorf("ends are %v, %v; want %v", got, err, tc.want)
			}
		})
	}
}

// TestElection asks for the ends of a partition that elects its leader: the answer
// comes with the leader, and without one within the time of one call it is none.
func TestElection(t *testing.T) {
	for name, tc := range map[string]struct {
		leaderless int // answers without a leader
		want       error
	}{"short": {2, nil}, "for ever": {1 << 20, reach.ErrUnreachable}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := cluster(t, kfake.SeedTopics(1, "orders"))
			kafkatest.Produce(t, c, kafkatest.Numbered("orders", 0, 3, time.UnixMilli(0))...)
			cl := client(t, kafka.Config{Brokers: c.ListenAddrs(), Timeout: time.Second})
			asked := 0
			c.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				if asked++; asked > tc.leaderless {
					return nil, nil, false
				}
				res := req.ResponseKind().(*kmsg.MetadataResponse)
				for i, addr := range c.ListenAddrs() {
					host, port, _ := net.SplitHostPort(addr)
					b := kmsg.NewMetadataResponseBroker()
					n, _ := strconv.Atoi(port)
					b.NodeID, b.Host, b.Port = int32(i), host, int32(n)
					res.Brokers = append(res.Brokers, b)
				}
				topic := kmsg.NewMetadataResponseTopic()
				topic.Topic = kmsg.StringPtr("orders")
				p := kmsg.NewMetadataResponseTopicPartition()
				p.Leader, p.ErrorCode = -1, kerr.LeaderNotAvailable.Code
				topic.Partitions = append(topic.Partitions, p)
				res.Topics = append(res.Topics, topic)
				return res, nil, true
			})
			got, err := cl.Ends(t.Context(), "orders")
			if !errors.Is(err, tc.want) || tc.want == nil && got[kafka.Partition{Topic: "orders"}].End != 3 {
				t.Errorf("ends are %v, %v; want %v", got, err, tc.want)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refuses := gone.Addr().String()
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	died := cluster(t, kfake.SeedTopics(1, "orders"))
	afterwards := client(t, kafka.Config{Brokers: died.ListenAddrs(), Timeout: time.Second})
	if id, err := afterwards.ClusterID(t.Context()); id != "standby-id" || err != nil {
		t.Fatalf("cluster id is %q, %v", id, err)
	}
	if _, err := afterwards.Ends(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	died.Close()
	for name, cl := range map[string]*kafka.Client{
		"silent":            client(t, kafka.Config{Brokers: []string{silent.Addr().String()}, Timeout: time.Second}),
		"refuses":           client(t, kafka.Config{Brokers: []string{refuses}, Timeout: time.Second}),
		"died after an ask": afterwards,
	} {
		for call, ask := range map[string]func(context.Context) error{
			"cluster id": func(ctx context.Context) error { _, err := cl.ClusterID(ctx); return err },
			"ends":       func(ctx context.Context) error { _, err := cl.Ends(ctx, "orders"); return err },
			"group":      func(ctx context.Context) error { _, err := cl.GroupState(ctx, "g"); return err },
			"canary":     func(ctx context.Context) error { _, err := cl.SendCanary(ctx, "orders", "r", "k", nil); return err },
		} {
			t.Run(name+"/"+call, func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				err := ask(t.Context())
				if !reach.Unreachable(err) || !errors.Is(err, reach.ErrUnreachable) {
					t.Errorf("error is %v, want unreachable", err)
				}
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("it took %v, the limit is 1 s", took)
				}
			})
		}
	}
}

func TestAuthentication(t *testing.T) {
	c := cluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "admin", "admin-pw"), kfake.Superuser("SCRAM-SHA-256", "scram", "scram-pw"))
	for _, cfg := range []kafka.Config{{User: "admin", Password: "admin-pw"}, {User: "scram", Password: "scram-pw", Mechanism: "SCRAM-SHA-256"}} {
		cfg.Brokers = c.ListenAddrs()
		if id, err := client(t, cfg).ClusterID(t.Context()); id != "standby-id" || err != nil {
			t.Errorf("as %s: cluster id is %q, %v", cfg.User, id, err)
		}
	}
	for _, bad := range []kafka.Config{{}, {Brokers: []string{"127.0.0.1:1"}, User: "u", Mechanism: "GSSAPI"}} {
		if _, err := kafka.New(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestCanary(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(3, "orders"))
	cl := client(t, kafka.Config{Brokers: c.ListenAddrs()})
	if _, err := cl.FindCanary(t.Context(), kafka.Canary{Partition: kafka.Partition{Topic: "orders"}, Run: "run-1", Key: "key"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before it was sent: %v, want fs.ErrNotExist", err)
	}
	kafkatest.Produce(t, c, kafkatest.Numbered("orders", 1, 20, time.Now())...)
	sent, err := cl.SendCanary(t.Context(), "orders", "run-1", "key", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := cl.FindCanary(t.Context(), sent)
	if diff := cmp.Diff(sent, found); diff != "" || err != nil {
		t.Errorf("found (-sent +found), error %v:\n%s", err, diff)
	}
	but := func(change func(*kafka.Canary)) func() (kafka.Canary, error) {
		other := sent
		change(&other)
		return func() (kafka.Canary, error) { return cl.FindCanary(t.Context(), other) }
	}
	for name, find := range map[string]func() (kafka.Canary, error){
		"another run":       but(func(c *kafka.Canary) { c.Run = "run-2" }),
		"another key":       but(func(c *kafka.Canary) { c.Key = "kez" }),
		"another partition": but(func(c *kafka.Canary) { c.Partition.ID = (c.Partition.ID + 1) % 3 }),
		"a later offset":    but(func(c *kafka.Canary) { c.Offset++ }),
		"no topic":          func() (kafka.Canary, error) { return cl.SendCanary(t.Context(), "nothing", "r", "k", nil) },
	} {
		if got, err := find(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %+v, %v; want fs.ErrNotExist", name, got, err)
		}
	}
}
