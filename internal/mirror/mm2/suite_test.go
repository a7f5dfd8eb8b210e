package mm2

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"breakwater/internal/kafka"
	"breakwater/internal/kafka/kafkatest"
	"breakwater/internal/mirror"
	"breakwater/internal/mirror/mirrortest"
	"breakwater/internal/poll"
)

// TestSuite passes the suite with a stand-in of MirrorMaker; the real one passes it
// in the laboratory's tests.
func TestSuite(t *testing.T) {
	for name, c := range map[string]Config{
		"IdentityReplicationPolicy":                        {},
		"DefaultReplicationPolicy":                         {Renames: true},
		"DefaultReplicationPolicy, separator of their own": {Renames: true, Separator: "__"},
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); suite(t, c) })
	}
}

func suite(t *testing.T, c Config) {
	t.Helper()
	c.Alias, c.TargetAlias = "primary", "standby"
	m := newStandIn(t, c)
	worker, err := NewWorker(m.url, Login{})
	if err != nil {
		t.Fatal(err)
	}
	c.Worker, c.Source, c.Checkpoint, c.Connectors = worker, "source", "checkpoint", []string{"source", "checkpoint", "heartbeat"}
	c.OffsetsTopic, c.Target = "connect-offsets", func(context.Context) (*kafka.Client, error) { return m.target, nil }
	of := New(c)
	if err := of.Conform(t.Context()); err != nil {
		t.Error(err)
	}
	p := mirrortest.Between(of, m.source, m.target, "orders", func(ctx context.Context, p kafka.Partition) error {
		return m.from.ProduceSync(ctx, &kgo.Record{Topic: p.Topic, Partition: p.ID, Value: []byte("x")}).FirstErr()
	})
	p.Patience, p.Quiet = 20*time.Second, 10*every
	mirrortest.Run(t, p)
}

const every = 20 * time.Millisecond // the stand-in does what it does

// standIn is a Connect worker with MirrorMaker's three connectors, between two
// clusters of kfake. It delivers in transactions, as one does that delivers exactly once.
type standIn struct {
	c              Config // of the mirror: how it names topics
	url            string
	source, target *kafka.Client
	into           *kgo.Client // the target, in transactions
	from           *kgo.Client // the source
	notes          *kgo.Client // the target

	mu     sync.Mutex
	states map[string]string
	next   map[kafka.Partition]int64 // source offsets to copy
	syncs  map[kafka.Partition]mirror.Syncs
	points map[groupPartition]int64 // upstream offsets of the newest checkpoints
}

type groupPartition struct {
	group string
	kafka.Partition
}

func newStandIn(t *testing.T, c Config) *standIn {
	t.Helper()
	src := kafkatest.Cluster(t, kfake.SeedTopics(2, "orders"))
	// The target has a topic of its own by the source's name, whatever the copy is called.
	dst := kafkatest.Cluster(t, kfake.SeedTopics(2, slices.Compact([]string{"orders", c.Names().AtTarget("orders")})...),
		kfake.SeedTopics(1, "connect-offsets", c.checkpointsTopic(), c.syncsTopic(), c.heartbeatsTopic()))
	m := &standIn{
		c:      c,
		source: client(t, src), target: client(t, dst), from: kafkatest.Client(t, src), notes: kafkatest.Client(t, dst), into: kafkatest.Client(t, dst, kgo.TransactionalID("mirror")),
		states: map[string]string{"source": running, "checkpoint": running, "heartbeat": running},
		next:   map[kafka.Partition]int64{}, syncs: map[kafka.Partition]mirror.Syncs{}, points: map[groupPartition]int64{},
	}
	rest := httptest.NewServer(m)
	t.Cleanup(rest.Close)
	m.url = rest.URL
	ctx, cancel := context.WithCancel(t.Context())
	var g sync.WaitGroup
	g.Go(func() {
		for poll.Wait(ctx, every) == nil {
			if err := m.round(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	t.Cleanup(func() { cancel(); g.Wait() })
	return m
}

func (m *standIn) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	answer := func(v any) {
		if err := json.NewEncoder(rw).Encode(v); err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
		}
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/connectors"), "/")
	if len(parts) < 3 {
		answer([]string{"source", "checkpoint", "heartbeat"})
		return
	}
	name, what := parts[1], parts[2]
	state, ok := m.states[name]
	if !ok {
		rw.WriteHeader(http.StatusNotFound)
		answer(map[string]any{"error_code": 404, "message": "No status found for connector " + name})
		return
	}
	switch what {
	case "stop":
		if r.Method != http.MethodPut {
			rw.WriteHeader(http.StatusMethodNotAllowed)
			answer(map[string]any{"error_code": 405, "message": "HTTP 405 Method Not Allowed"})
			return
		}
		m.states[name] = stopped
	case "resume":
		m.states[name] = running
	case "status":
		var st status
		if st.Connector.State = state; state == running {
			st.Tasks = []task{{State: running}}
		}
		answer(st)
	case "config":
		config := map[string]string{"connector.class": "x", "source.cluster.alias": "primary", "target.cluster.alias": "standby", "replication.policy.separator": m.c.separator(), "sync.group.offsets.enabled": "true", "sync.group.offsets.interval.seconds": "1"}
		if !m.c.Renames {
			config["replication.policy.class"] = identityPack
		}
		answer(config)
	case "offsets":
		var all offsets
		for p, next := range m.next {
			var o offset
			o.Partition.Cluster, o.Partition.Topic, o.Partition.Partition = "primary", p.Topic, p.ID
			o.Offset = &struct {
				Offset int64 `json:"offset"`
			}{next - 1}
			all.Offsets = append(all.Offsets, o)
		}
		answer(all)
	}
}

// round does what the connectors that run have to do.
func (m *standIn) round(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.states["source"] == running {
		if err := m.copy(ctx); err != nil {
			return err
		}
	}
	if m.states["checkpoint"] == running {
		all, err := kadm.NewClient(m.from).ListGroups(ctx)
		if err != nil {
			return err
		}
		for _, group := range all.Groups() {
			if err := m.checkpoint(ctx, group); err != nil {
				return err
			}
		}
	}
	if m.states["heartbeat"] == running {
		return m.notes.ProduceSync(ctx, &kgo.Record{Topic: m.c.heartbeatsTopic(), Value: []byte("x")}).FirstErr()
	}
	return nil
}

// copy delivers what has come to the source since.
func (m *standIn) copy(ctx context.Context) error {
	var rs []*kgo.Record
	from := map[*kgo.Record]int64{}
	if err := m.source.EachRecord(ctx, "orders", func(r kafka.Record) error {
		if r.Offset >= m.next[r.Partition] {
			rs = append(rs, &kgo.Record{Topic: m.c.Names().AtTarget(r.Partition.Topic), Partition: r.Partition.ID, Value: r.Value})
			from[rs[len(rs)-1]] = r.Offset
		}
		return nil
	}); err != nil || len(rs) == 0 {
		return err
	}
	if err := m.into.BeginTransaction(); err != nil {
		return err
	}
	if err := m.into.ProduceSync(ctx, rs...).FirstErr(); err != nil {
		return err
	}
	for _, r := range rs {
		p, _ := m.c.Names().Source(kafka.Partition{Topic: r.Topic, ID: r.Partition})
		key, value, err := connectOffset{Connector: "source", Cluster: "primary", Partition: p, Delivered: from[r]}.encode()
		if err != nil {
			return err
		}
		if err := m.into.ProduceSync(ctx, &kgo.Record{Topic: "connect-offsets", Key: key, Value: value}).FirstErr(); err != nil {
			return err
		}
		m.next[p] = from[r] + 1
		if from[r]%3 != 0 {
			continue
		}
		sync := mirror.Sync{Partition: p, Upstream: from[r], Downstream: r.Offset}
		m.syncs[p] = mirror.NewSyncs(append(m.syncs[p], sync)...)
		if key, value, err = OffsetSync(sync).Encode(); err != nil {
			return err
		}
		if err := m.into.ProduceSync(ctx, &kgo.Record{Topic: m.c.syncsTopic(), Key: key, Value: value}).FirstErr(); err != nil {
			return err
		}
	}
	return m.into.EndTransaction(ctx, kgo.TryCommit)
}

// checkpoint writes down where a group is, and moves it forward.
func (m *standIn) checkpoint(ctx context.Context, group string) error {
	at, err := m.source.CommittedOffsets(ctx, group)
	if err != nil {
		return err
	}
	for p, up := range at {
		down, _, ok := m.syncs[p].Translate(up)
		key := groupPartition{group, p}
		if was, seen := m.points[key]; !ok || seen && was == up {
			continue
		}
		k, v, err := Checkpoint{Group: group, Partition: m.c.Names().Target(p), Upstream: up, Downstream: down}.Encode()
		if err != nil {
			return err
		}
		if err := m.notes.ProduceSync(ctx, &kgo.Record{Topic: m.c.checkpointsTopic(), Key: k, Value: v}).FirstErr(); err != nil {
			return err
		}
		if err := m.target.CommitOffsets(ctx, group, kafka.Offsets{m.c.Names().Target(p): down}); err != nil {
			return err
		}
		m.points[key] = up
	}
	return nil
}
