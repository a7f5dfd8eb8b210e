package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/kafka/hold"
	"breakwater/internal/kafka/kafkatest"
	"breakwater/internal/mirror/mm2"
	"breakwater/internal/poll"
	"breakwater/internal/recovery"
	"breakwater/internal/system"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/server"
	"breakwater/lab/world"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// heldWorld is a stand-in of the target's Kafka in which a group stands where the
// mirror had synced it, and its tables hold less.
type heldWorld struct {
	*world.World
	adm     *kadm.Client
	cluster *kfake.Cluster
	req     action.Request
	said    []string  // progress
	moved   time.Time // when the abandoned task last moved the group
	times   hold.Times
	mirror  *kadm.Client // as the mirror's own user; nil where nobody has one

	checkpoint string // more of the checkpoint connector's configuration, in JSON
}

// quick are the times of a hold where no task outlives its stop.
func quick(time.Duration) (quiet, within time.Duration) { return 300 * time.Millisecond, time.Minute }

// promoting is kafka.promote with other times.
func promoting(t *testing.T, s *system.Systems, times hold.Times) *action.Definition {
	t.Helper()
	def, ok := prove.Catalogue(s, func(c *action.Catalogue, s *system.Systems) {
		r := newRoom(s)
		r.times = times
		r.add(c)
	}).Get("kafka.promote")
	if !ok {
		t.Fatal("the room has no kafka.promote")
	}
	return def
}

// Where things are in every partition of the topic.
const (
	heldEnd   = 20 // of the log
	heldSync  = 17 // the newest offset sync: no checkpoint lies past the next offset
	heldPoint = 15 // the group's newest checkpoint
	heldCut   = 5  // the tables' first missing record
)

func newHeldWorld(t *testing.T) *heldWorld {
	t.Helper()
	h := &heldWorld{World: world.Bare(t)}
	h.cluster = heldCluster(t)
	h.furnish(h.cluster.ListenAddrs(), "west-id", `"security.protocol":"ignored"`)
	return h
}

// heldCluster is a stand-in of the target's Kafka.
func heldCluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	return kafkatest.Cluster(t, append(opts, kfake.ClusterID("west-id"), kfake.SeedTopics(world.Parts, "orders"),
		kfake.SeedTopics(1, "east.checkpoints.internal", "mm2-offset-syncs.east.internal", "connect-offsets"))...)
}

// furnish fills a target that has the topics, and describes the estate. The checkpoint
// connector is configured so, too.
func (h *heldWorld) furnish(brokers []string, id, checkpoint string, opts ...kgo.Opt) {
	t := h.T
	t.Helper()
	h.checkpoint = checkpoint
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	h.Must(err)
	t.Cleanup(cl.Close)
	h.adm = kadm.NewClient(cl)

	start := time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)
	var rs []*kgo.Record
	for p := range int32(world.Parts) {
		at := kafka.Partition{Topic: "orders", ID: p}
		for i := range heldEnd {
			rs = append(rs, &kgo.Record{Topic: "orders", Partition: p, Value: fmt.Append(nil, i), Timestamp: start.Add(time.Duration(i) * time.Second)})
		}
		k, v, err := mm2.Checkpoint{Group: "held", Partition: at, Upstream: heldPoint, Downstream: heldPoint}.Encode()
		h.Must(err)
		rs = append(rs, &kgo.Record{Topic: "east.checkpoints.internal", Key: k, Value: v})
		k, v, err = mm2.OffsetSync{Partition: at, Upstream: heldSync, Downstream: heldSync}.Encode()
		h.Must(err)
		rs = append(rs, &kgo.Record{Topic: "mm2-offset-syncs.east.internal", Key: k, Value: v})
	}
	h.Must(cl.ProduceSync(t.Context(), rs...).FirstErr())

	worker := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/connectors/mm2-checkpoint/config" {
			http.NotFound(rw, r)
			return
		}
		fmt.Fprintf(rw, `{"connector.class":"x","replication.policy.class":"org.apache.kafka.connect.mirror.IdentityReplicationPolicy","source.cluster.alias":"east","target.cluster.alias":"west","sync.group.offsets.enabled":"true","sync.group.offsets.interval.seconds":"1",%s}`, h.checkpoint)
	}))
	t.Cleanup(worker.Close)
	e := h.Estate
	e.Regions[0].Kafka = &estate.Kafka{Brokers: []string{"127.0.0.1:1"}, ClusterID: "east-id", Alias: "east"}
	e.Regions[1].Kafka = &estate.Kafka{Brokers: brokers, ClusterID: id, Alias: "west"}
	e.Regions[1].Connect = &estate.Connect{URL: worker.URL, Source: "mm2-source", Checkpoint: "mm2-checkpoint", Heartbeat: "mm2-heartbeat", OffsetsTopic: "connect-offsets", PolicyIdentity: true}
	e.Groups = []estate.Group{{
		Group: "orders", Tier: 1, Topics: []estate.Topic{{Topic: "orders"}},
		ConsumerGroups: []estate.ConsumerGroup{{ConsumerGroup: "held", Topics: []string{"orders"}}},
	}}
	h.Run.SourceUnreachable = true

	records := &world.Kept{}
	put := func(name, item string, v any) {
		data, err := action.Encode(v)
		h.Must(err)
		records.Put(name, item, action.Outcome{Summary: name, Data: data})
	}
	// The skew is taken off again.
	put("group.recovery-point", "orders", recovery.GroupPoint{Group: "orders", Cut: recovery.Cut{At: start.Add(heldCut*time.Second + e.ClockSkew.Std()), Tables: []recovery.TablePoint{{Name: "orders"}}}})
	put("kafka.recovery-point", "orders", recovery.TopicState{Name: "orders", Partitions: []recovery.PartitionState{{TargetEnd: heldEnd}, {Partition: 1, TargetEnd: heldEnd}}})
	h.times = func(time.Duration) (quiet, within time.Duration) { return 400 * time.Millisecond, 10 * time.Second }
	h.req = h.Request(h.promote(), "held")
	h.req.Records = records
	h.req.Progress = func(_, _ int64, sentence string) { h.said = append(h.said, sentence) }
}

func (h *heldWorld) promote() *action.Definition { return promoting(h.T, h.Systems, h.times) }

// plan plans what the test's request asks for.
func (h *heldWorld) plan() action.Change {
	h.T.Helper()
	c, err := h.promote().Plan(h.T.Context(), h.req, nil)
	h.Must(err)
	h.req.Plan = &c
	return c
}

func (h *heldWorld) apply() (action.Outcome, error) {
	h.T.Helper()
	return h.promote().Apply(h.T.Context(), h.req, nil)
}

// commit commits for the group in one partition.
func (h *heldWorld) commit(ctx context.Context, partition int32, at int64) error {
	return commitBy(ctx, h.adm, partition, at)
}

func commitBy(ctx context.Context, adm *kadm.Client, partition int32, at int64) error {
	var all kadm.Offsets
	all.AddOffset("orders", partition, at, -1)
	done, err := adm.CommitOffsets(ctx, "held", all)
	return errors.Join(err, done.Error())
}

// at is where the group stands; -1 in a partition without a commit.
func (h *heldWorld) at(ctx context.Context) (at [world.Parts]int64, err error) {
	all, err := h.adm.FetchOffsets(ctx, "held")
	for p := range at {
		at[p] = hold.NoCommit
		if o, ok := all.Lookup("orders", int32(p)); ok && o.Err == nil {
			at[p] = o.At
		}
	}
	return at, err
}

// abandoned plays the task that outlives its stop: as often as it may, it moves
// partition 1 forward from wherever it is lower, as the mirror's user where there is
// one. It returns how often it did.
func (h *heldWorld) abandoned(to int64, times int) (ended func() int) {
	h.T.Helper()
	ctx, cancel := context.WithCancel(h.T.Context())
	by := cmp.Or(h.mirror, h.adm)
	var g sync.WaitGroup
	n := 0
	g.Go(func() {
		for n < times && poll.Wait(ctx, 10*time.Millisecond) == nil {
			at, err := h.at(ctx)
			if err == nil && at[1] < to {
				if err = commitBy(ctx, by, 1, to); err == nil {
					n, h.moved = n+1, time.Now()
				}
			}
			if err != nil && !errors.Is(err, kerr.GroupAuthorizationFailed) && ctx.Err() == nil {
				h.T.Error(err)
			}
		}
	})
	ended = sync.OnceValue(func() int { cancel(); g.Wait(); return n })
	h.T.Cleanup(func() { ended() })
	return ended
}

// stands asks that the group is where it was placed.
func (h *heldWorld) stands(want int64) {
	h.T.Helper()
	at, err := h.at(h.T.Context())
	h.Must(err)
	if at != [world.Parts]int64{want, want} {
		h.T.Errorf("the group is at %v, want %d in each partition", at, want)
	}
}

// synced puts the group where the mirror has synced it.
func (h *heldWorld) synced(to int64) {
	h.T.Helper()
	for p := range int32(world.Parts) {
		h.Must(h.commit(h.T.Context(), p, to))
	}
}

const ever = 1 << 30

// TestHoldEnds places a group below where its stopped mirror syncs it, while a
// task of that mirror lives on for a while.
func TestHoldEnds(t *testing.T) {
	t.Parallel()
	for name, to := range map[string]int64{"at the checkpoint": heldPoint, "at a checkpoint that was never written down": heldSync + 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHeldWorld(t)
			h.synced(to)
			if c := h.plan(); !strings.Contains(c.Summary, "watched until nothing moved it for 400ms") || !strings.Contains(c.Summary, "every 1s") {
				t.Errorf("the plan does not say what it costs: %s", c.Summary)
			}
			ended := h.abandoned(to, 3)
			out, err := h.apply()
			h.Must(err)
			took := time.Now()
			if n := ended(); n != 3 {
				t.Errorf("the task moved the group %d times", n)
			}
			if quiet := took.Sub(h.moved); quiet < 400*time.Millisecond {
				t.Errorf("it was watched for %s after the last move", quiet)
			}
			h.stands(heldCut)
			if out.Mutations != world.Parts+3 || !strings.Contains(out.Summary, "stayed there for 400ms; placed again 3 times") {
				t.Errorf("outcome %+v", out)
			}
			if text := fmt.Sprintf("orders-1 from %d to %d", heldCut, to); !slices.ContainsFunc(h.said, func(s string) bool {
				return strings.Contains(s, text) && strings.Contains(s, "restart the Connect worker")
			}) {
				t.Errorf("progress does not say what happens and what to do: %q", h.said)
			}
			obs, err := h.promote().Verify(t.Context(), h.req, nil)
			h.Must(err)
			if action.Worst(obs) != verdict.Pass {
				t.Error(prove.Told(obs))
			}
			out, err = h.apply()
			h.Must(err)
			if out.Mutations != 0 || !strings.HasSuffix(out.Summary, "stayed there for 400ms") {
				t.Errorf("applied again: %+v", out)
			}
		})
	}
}

// TestHoldGivesUp meets a task that does not end.
func TestHoldGivesUp(t *testing.T) {
	t.Parallel()
	h := newHeldWorld(t)
	h.times = func(time.Duration) (quiet, within time.Duration) {
		return 200 * time.Millisecond, 300 * time.Millisecond
	}
	h.synced(heldPoint)
	h.plan()
	h.abandoned(heldPoint, ever)
	_, err := h.apply()
	if !errors.Is(err, action.ErrMoved) {
		t.Fatalf("Apply = %v, want ErrMoved", err)
	}
	for _, want := range []string{"consumer group held", "orders-1 from 5 to 15", "within 300ms", "restart the Connect worker, then retry"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

// TestHoldTellsOthersCommits finds the group moved between plan and apply.
func TestHoldTellsOthersCommits(t *testing.T) {
	t.Parallel()
	h := newHeldWorld(t)
	h.plan()
	h.Must(h.commit(t.Context(), 0, heldPoint-1))
	if _, err := h.apply(); !errors.Is(err, action.ErrMoved) {
		t.Errorf("Apply over another's commit = %v, want ErrMoved", err)
	}
	h.Must(h.commit(t.Context(), 0, heldPoint)) // the mirror's
	_, err := h.apply()
	h.Must(err)
	h.stands(heldCut)
}

// TestHoldOfUndo takes a placing back while the task lives on: what had no commit
// is to have none again.
func TestHoldOfUndo(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]int64{"no commit": hold.NoCommit, "a lower commit": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHeldWorld(t)
			if before != hold.NoCommit {
				h.synced(before)
			}
			h.plan()
			_, err := h.apply()
			h.Must(err)
			h.Must(h.commit(t.Context(), 1, heldPoint)) // and so the undo finds it
			def := h.promote()
			c, err := def.UndoPlan(t.Context(), h.req, nil)
			h.Must(err)
			if !strings.Contains(c.Summary, "watched until nothing moved it") {
				t.Errorf("the plan does not say what it costs: %s", c.Summary)
			}
			h.req.Plan = &c
			ended := h.abandoned(heldPoint, 2)
			h.Must(h.commit(t.Context(), 0, heldPoint)) // between plan and apply
			out, err := def.UndoApply(t.Context(), h.req, nil)
			h.Must(err)
			h.stands(before)
			if n := ended(); n != 2 || out.Mutations != world.Parts+2 || !strings.Contains(out.Summary, "placed again 2 times") {
				t.Errorf("the task moved it %d times; %+v", n, out)
			}
			obs, err := def.UndoVerify(t.Context(), h.req, nil)
			h.Must(err)
			if action.Worst(obs) != verdict.Pass {
				t.Error(prove.Told(obs))
			}
		})
	}
}

// TestMirrorOutlivesItsStop is the trap itself, on real servers: with a source that
// hangs, connectors that say STOPPED go on moving an idle group at the target; the
// hold outlasts them. The task lives for as long as its source hangs: the source comes
// back when the hold has seen it.
func TestMirrorOutlivesItsStop(t *testing.T) {
	t.Parallel()
	m := world.NewMirrored(t)
	m.MirrorAs()
	for range 4 {
		m.Produce(m.Source, "orders", 15)
		m.Drained() // syncs flow with traffic alone
	}
	// The task asks for one group after the other, and waits for each: so many that
	// it outlives a stop however slow the machine is.
	groups := []string{"cut"}
	for i := range 39 {
		groups = append(groups, fmt.Sprintf("other-%d", i))
	}
	for _, g := range groups {
		m.Commit(m.Source, g, "orders", 60)
	}
	m.Drained()
	k, err := m.Systems.Kafka(t.Context(), m.Estate, world.West)
	m.Must(err)
	for _, g := range groups {
		m.Checkpoints(g, world.Parts)
	}
	m.Lap("checkpoints")
	m.Must(server.Freeze(t.Context(), m.Source.Pid))
	m.Must(poll.Wait(t.Context(), 2*time.Second)) // the task asks every second, and nothing shows that it does
	m.Run.SourceUnreachable = true
	stop := m.World.Action("kafka.stop-mirror")
	m.Is(stop, m.Do(stop, ""), verdict.Pass)
	m.Lap("the mirror is stopped, and proven to be")

	moves := func() {
		m.T.Helper()
		m.Eventually("the stopped mirror moves the group", func(ctx context.Context) error {
			at, err := k.CommittedOffsets(ctx, "cut")
			if err == nil && at[kafka.Partition{Topic: "orders"}] == 0 {
				err = errors.New("it is where it was")
			}
			return err
		})
		m.Lap("the stopped mirror moved the group")
	}
	m.Commit(m.Target, "cut", "orders", 0)
	moves()

	m.Do(m.Records.Keeping(newRoom(m.Systems).kafkaPoint()), "orders")
	cutAt(m, m.Begun)
	deniedWhileItLives(m, t)
	moves()                                // what held it was the denial
	def := m.World.Action("kafka.promote") // with the times that real mirrors need
	r := m.Request(def, "cut")
	c, err := def.Plan(t.Context(), r, nil)
	m.Must(err)
	r.Plan = &c
	t.Log(c.Summary)
	said := ""
	r.Progress = func(_, _ int64, sentence string) {
		if sentence == said {
			return
		}
		said = sentence
		m.Lap("%s", sentence)
		if strings.Contains(sentence, "placed again 2 times") {
			m.Must(server.Thaw(m.Source.Pid))
		}
	}
	out, err := def.Apply(t.Context(), r, nil)
	m.Must(err)
	m.Lap("%s, %d mutations", out.Summary, out.Mutations)
	if out.Mutations <= world.Parts || !strings.Contains(out.Summary, "placed again") {
		t.Errorf("the mirror's task did not outlive its stop: %+v", out)
	}
	m.Is(def, r, verdict.Pass)
	for begun := time.Now(); time.Since(begun) < 3*time.Second; { // three of its rounds
		m.Is(def, r, verdict.Pass)
		m.Must(poll.Wait(t.Context(), 200*time.Millisecond))
	}
	agrees(m, t, "cut", r)
	m.Lap("it stays")
}

// deniedWhileItLives promotes the group with a denial of the mirror's user, while a task
// of the mirror goes on syncing it, and takes the denial away.
func deniedWhileItLives(m *world.Mirrored, t *testing.T) {
	t.Helper()
	r := &m.Estate.Regions[1]
	was := *r.Kafka
	defer func() { *r.Kafka, r.Connect.Principal = was, nil }()
	r.Kafka.Brokers, r.Kafka.Credentials = []string{m.Target.Client()}, login(m.World, world.WorkerUser, world.WorkerUser)
	r.Connect.Principal = &estate.Principal{Name: world.MirrorUser, Credentials: login(m.World, world.MirrorUser, world.MirrorUser)}
	def := m.World.Action("kafka.promote") // with the times that real mirrors need
	req := m.Do(def, "cut")
	m.Lap("denied: %s", req.Plan.Summary)
	for begun := time.Now(); time.Since(begun) < 5*time.Second; { // five of its rounds
		m.Is(def, req, verdict.Pass)
		m.Must(poll.Wait(t.Context(), 200*time.Millisecond))
	}
	m.Lap("it stays")
	k, err := m.Systems.Kafka(t.Context(), m.Estate, world.West)
	m.Must(err)
	m.Must(k.AllowCommits(t.Context(), "User:"+world.MirrorUser, "cut"))
}
