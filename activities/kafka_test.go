package activities

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/kafka"
	"breakwater/internal/objectstore/miniotest"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
	"breakwater/lab/faults"
	labkafka "breakwater/lab/kafka"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// mirroredWorld is a pair of real brokers with a real mirror between them, and a
// MinIO for the witness.
type mirroredWorld struct {
	*world
	jars           string
	source, target *labkafka.Broker
	connect        *labkafka.Connect
	journal        *miniotest.Server
	records        *kept
	begun          time.Time
}

const parts = 2 // of every topic

func (m *mirroredWorld) lap(format string, args ...any) {
	m.t.Helper()
	m.t.Logf("%5.1f s  %s", time.Since(m.begun).Seconds(), fmt.Sprintf(format, args...))
}

func newMirroredWorld(t *testing.T) *mirroredWorld {
	t.Helper()
	jars, err := labkafka.Jars()
	if err != nil {
		t.Fatal(err)
	}
	m := &mirroredWorld{world: bare(t), jars: jars, records: &kept{}, begun: time.Now()}
	dir := t.TempDir()
	ended := func(p *labkafka.Process) {
		t.Cleanup(func() {
			if err := p.Kill(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
			if text, err := os.ReadFile(p.Log); t.Failed() && err == nil {
				lines := strings.Split(string(text), "\n")
				t.Logf("the end of %s:\n%s", p.Log, strings.Join(lines[max(0, len(lines)-15):], "\n"))
			}
		})
	}
	var g errgroup.Group
	for name, into := range map[string]**labkafka.Broker{east: &m.source, west: &m.target} {
		g.Go(func() error {
			b, err := labkafka.StartBroker(t.Context(), labkafka.Config{Dir: filepath.Join(dir, name), Jars: jars, Name: name})
			if err != nil {
				return err
			}
			*into = b
			return b.Ready(t.Context())
		})
	}
	m.journal = miniotest.Start(t)
	err = g.Wait()
	for _, b := range []*labkafka.Broker{m.source, m.target} {
		if b != nil {
			ended(b.Process)
		}
	}
	m.must(err)
	m.connect, err = labkafka.StartConnect(t.Context(), labkafka.ConnectConfig{Dir: filepath.Join(dir, "connect"), Jars: jars, Name: west, Broker: m.target.Admin()})
	m.must(err)
	ended(m.connect.Process)
	for _, topic := range []string{"orders", "audit", "paid"} {
		m.must(m.source.CreateTopic(t.Context(), topic, parts))
		m.must(m.target.CreateTopic(t.Context(), topic, parts))
	}
	m.must(m.connect.Ready(t.Context()))
	m.must(labkafka.PutMirror(t.Context(), m.connect.URL(), labkafka.MirrorConfig{
		Source: "east", Target: "west", SourceBroker: m.source.MirrorAddress(), TargetBroker: m.target.Admin(), Topics: []string{"orders", "audit", "paid"},
	}))
	m.describe()
	m.lap("the servers are up")
	return m
}

// describe writes the estate.
func (m *mirroredWorld) describe() {
	e := m.estate
	for i, b := range []*labkafka.Broker{m.source, m.target} {
		e.Regions[i].Kafka = &estate.Kafka{Brokers: []string{b.Admin()}, ClusterID: b.ClusterID(), Alias: []string{"east", "west"}[i]}
		e.Regions[i].Storage = estate.Storage{
			Provider: "minio", Endpoint: m.journal.Endpoint, SigningName: "us-east-1", Credentials: m.user(e.Regions[i].Region, miniotest.RootUser),
		}
	}
	e.Regions[1].Connect = &estate.Connect{
		URL: m.connect.URL(), Source: labkafka.SourceConnector, Checkpoint: labkafka.CheckpointConnector,
		Heartbeat: labkafka.HeartbeatConnector, OffsetsTopic: labkafka.OffsetsTopic, PolicyIdentity: true,
	}
	e.Witness = estate.Witness{Bucket: "lake", Prefix: "_witness"}
	e.Buckets = []estate.Bucket{{Bucket: "lake", In: map[string]string{east: "lake-east", west: "lake-west"}}}
	e.Groups = []estate.Group{{
		Group: "orders", Tier: 1, Topics: []estate.Topic{{Topic: "orders", PeakMessages: 200}, {Topic: "audit"}, {Topic: "paid"}},
		ConsumerGroups: []estate.ConsumerGroup{
			{ConsumerGroup: "whole", Topics: []string{"orders"}},
			{ConsumerGroup: "new", Topics: []string{"orders", "audit"}},
			{ConsumerGroup: "cut", Topics: []string{"orders"}},
		},
		Canary: &estate.Canary{Topic: "audit"},
	}, {Group: "mute", Tier: 1, Topics: []estate.Topic{}}, {Group: "untried", Tier: 1, Topics: []estate.Topic{{Topic: "nowhere"}}}}
	c := s3.New(s3.Options{
		BaseEndpoint: &m.journal.Endpoint, Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(miniotest.RootUser, miniotest.RootPassword, ""),
	})
	_, err := c.CreateBucket(m.t.Context(), &s3.CreateBucketInput{Bucket: aws.String("lake-west")})
	m.must(err)
}

func (m *mirroredWorld) faultSet(group string) fault.Set {
	return faults.Kafkas(faults.Kafka{
		Source:  faults.Cluster{Brokers: []string{m.source.Admin()}, Pid: m.source.Pid},
		Target:  faults.Cluster{Brokers: []string{m.target.Admin()}, Pid: m.target.Pid},
		Connect: m.connect.URL(), ConnectPid: m.connect.Pid, Connector: labkafka.SourceConnector,
		Topic: "orders", ConsumerGroup: group,
		Journal:    faults.Storage{Endpoint: m.journal.Endpoint, AccessKey: miniotest.RootUser, SecretKey: miniotest.RootPassword, Bucket: "lake-west"},
		JournalKey: "_witness/topics/orders.json",
	})
}

func (m *mirroredWorld) raw(b *labkafka.Broker, opts ...kgo.Opt) *kgo.Client {
	m.t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.Admin()), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	m.must(err)
	m.t.Cleanup(cl.Close)
	return cl
}

// produce sends n records to every partition, each a batch of its own so that
// offset syncs are written between them.
func (m *mirroredWorld) produce(b *labkafka.Broker, topic string, n int) {
	m.t.Helper()
	cl := m.raw(b)
	for i := range n {
		for p := range int32(parts) {
			m.must(cl.ProduceSync(m.t.Context(), &kgo.Record{Topic: topic, Partition: p, Value: []byte(strconv.Itoa(i))}).FirstErr())
		}
	}
}

// transact sends n records to the source in a transaction each, which leaves a
// marker behind every record.
func (m *mirroredWorld) transact(topic string, n int) {
	m.t.Helper()
	cl := m.raw(m.source, kgo.TransactionalID("paid"))
	for i := range n {
		m.must(cl.BeginTransaction())
		for p := range int32(parts) {
			m.must(cl.ProduceSync(m.t.Context(), &kgo.Record{Topic: topic, Partition: p, Value: []byte(strconv.Itoa(i))}).FirstErr())
		}
		m.must(cl.EndTransaction(m.t.Context(), kgo.TryCommit))
	}
}

func (m *mirroredWorld) commit(b *labkafka.Broker, group, topic string, at int64) {
	m.t.Helper()
	var all kadm.Offsets
	for p := range int32(parts) {
		all.AddOffset(topic, p, at, -1)
	}
	done, err := kadm.NewClient(m.raw(b)).CommitOffsets(m.t.Context(), group, all)
	m.must(errors.Join(err, done.Error()))
}

func (m *mirroredWorld) request(def *action.Definition, name string) action.Request {
	m.t.Helper()
	r := m.world.request(def, name)
	r.Records = m.records
	return r
}

// do plans and applies.
func (m *mirroredWorld) do(def *action.Definition, name string) action.Request {
	m.t.Helper()
	r := m.request(def, name)
	c, err := def.Plan(m.t.Context(), r, nil)
	m.must(err)
	r.Plan = &c
	_, err = def.Apply(m.t.Context(), r, nil)
	m.must(err)
	return r
}

// is asks for a verdict.
func (m *mirroredWorld) is(def *action.Definition, r action.Request, want verdict.Verdict) []action.Observation {
	m.t.Helper()
	obs, err := def.Verify(m.t.Context(), r, nil)
	m.must(err)
	if got := action.Worst(obs); got != want {
		m.t.Errorf("%s on %s: %s, want %s\n%s", def.Name, r.Item, got, want, told(obs))
	}
	return obs
}

// drained waits until the mirror has brought what the source has.
func (m *mirroredWorld) drained() {
	m.t.Helper()
	src, err := m.systems.Kafka(m.t.Context(), m.estate, east)
	m.must(err)
	dst, err := m.systems.Kafka(m.t.Context(), m.estate, west)
	m.must(err)
	m.eventually("the mirror is drained", func(ctx context.Context) error {
		at, silence, err := dst.MirrorPositions(ctx, kafka.Mirror{
			Source: "east", Connector: labkafka.SourceConnector, OffsetsTopic: labkafka.OffsetsTopic, Topics: []string{"orders", "audit"},
		}, src)
		if err != nil || silence != nil {
			return errors.Join(err, silence)
		}
		for p, pos := range at {
			if d, known := pos.Drained(); !d || !known {
				return fmt.Errorf("%v: next %d, source %+v", p, pos.Next, pos.Source)
			}
		}
		return nil
	})
}

func (m *mirroredWorld) eventually(what string, ask func(context.Context) error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			m.t.Fatalf("%s: %v", what, err)
		}
	}
}

// agrees asks Kafka's own command where a group stands.
func (m *mirroredWorld) agrees(t *testing.T, group string, r action.Request) {
	t.Helper()
	plan, err := action.Decode[ConsumerPlan](r.Plan.Data)
	m.must(err)
	rows, err := labkafka.DescribeGroup(t.Context(), m.jars, m.target.Admin(), group)
	m.must(err)
	for p, o := range plan.offsets() {
		if row, ok := rows[p]; !ok || row.Committed != o {
			t.Errorf("kafka-consumer-groups shows %s in %v at %+v, want %d", group, p, row, o)
		}
	}
	if len(plan.Placements) != len(rows) {
		t.Errorf("%d partitions planned, kafka-consumer-groups shows %d", len(plan.Placements), len(rows))
	}
}

// TestKafka takes the actions of a mirrored pair through a failover.
func TestKafka(t *testing.T) {
	t.Parallel()
	m := newMirroredWorld(t)
	m.produce(m.source, "audit", 3)
	m.transact("paid", 2)
	for range 4 {
		m.produce(m.source, "orders", 15)
		m.must(pause(t.Context(), 300*time.Millisecond)) // syncs flow with traffic alone
	}
	const sent = 60
	m.commit(m.source, "whole", "orders", sent)
	m.drained()
	m.lap("the mirror is drained")

	t.Run("witness", func(t *testing.T) {
		def := m.action("kafka.witness")
		proveAction(t, def, m.request(def, "orders"), m.faultSet("whole"))
	})
	m.lap("witness")
	m.eventually("a checkpoint of the group that read all", func(ctx context.Context) error {
		k, err := m.systems.Kafka(ctx, m.estate, west)
		if err != nil {
			return err
		}
		cps, err := k.Checkpoints(ctx, "east")
		if err == nil && !slices.ContainsFunc(cps, func(c kafka.Checkpoint) bool { return c.Group == "whole" }) {
			err = errors.New("none yet")
		}
		return err
	})
	m.lap("checkpoints")

	stop := m.records.keeping(m.systems.stopMirror())
	t.Run("two looks see a mirror that runs", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var g errgroup.Group
		cl := m.raw(m.source)
		g.Go(func() error {
			for pause(ctx, 50*time.Millisecond) == nil {
				if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "audit", Value: []byte("x")}).FirstErr(); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		})
		obs, err := stop.Verify(t.Context(), m.request(stop, ""), nil)
		cancel()
		m.must(errors.Join(err, g.Wait()))
		for _, o := range obs {
			if o.Verdict != verdict.Fail {
				t.Errorf("while the mirror runs: %s", finding(o))
			}
		}
	})
	m.drained()
	t.Run("stop", func(t *testing.T) { proveAction(t, stop, m.request(stop, ""), m.faultSet("whole")) })
	m.lap("stopped and resumed")
	m.drained()
	stopped := m.do(stop, "")
	m.is(stop, stopped, verdict.Pass)
	m.lap("stopped")

	point := m.records.keeping(m.systems.kafkaPoint())
	t.Run("recovery point", func(t *testing.T) {
		proveAction(t, point, m.request(point, "orders"), m.faultSet("whole"))
		m.do(point, "audit")
		st, _, err := topicPoint(t.Context(), m.records, "orders")
		m.must(err)
		if len(st.Partitions) != parts || st.Peak == nil || st.RPOSeconds != 30 {
			t.Errorf("recorded %+v", st)
		}
		for _, p := range st.Partitions {
			if p.MirroredThrough != sent || p.Source == nil || p.Source.Offset != sent || p.Source.At.Before(m.begun) || len(p.Journal) == 0 || p.NewestAt.Before(m.begun) {
				t.Errorf("partition %d: %+v, source %+v", p.Partition, p, p.Source)
			}
		}
	})
	t.Run("markers at the end of the source are no loss", func(t *testing.T) {
		m.do(point, "paid")
		st, _, err := topicPoint(t.Context(), m.records, "paid")
		m.must(err)
		for _, p := range st.Partitions {
			if p.Source == nil || p.Source.Offset != 3 || p.MirroredThrough != 3 { // data, marker, data; and a marker
				t.Errorf("partition %d is mirrored through %d, source %+v; want 3 of 3", p.Partition, p.MirroredThrough, p.Source)
			}
		}
	})
	t.Run("a source that moves between plan and apply", func(t *testing.T) {
		r := m.request(point, "paid")
		r.Records = &kept{}
		c, err := point.Plan(t.Context(), r, nil)
		m.must(err)
		m.transact("paid", 1)
		r.Plan = &c
		o, err := m.action("kafka.recovery-point").Apply(t.Context(), r, nil)
		m.must(err)
		for _, p := range mustDecode[recovery.TopicState](t, o.Data).Partitions {
			if p.Source != nil {
				t.Errorf("partition %d: the record says that a source that went on ended at %d", p.Partition, p.Source.Offset)
			}
		}
		m.is(point, m.request(point, "paid"), verdict.Fail) // recorded before, and no longer true
	})
	m.lap("recovery point")
	t.Run("promote", func(t *testing.T) { m.promote(t) })
	m.lap("promoted")
	t.Run("canary", func(t *testing.T) { m.canary(t) })
	m.lap("canary")
	t.Run("the source is gone", func(t *testing.T) { m.sourceGone(t, point) })
	t.Run("another cluster answers", func(t *testing.T) {
		was := m.estate.Regions[1].Kafka.ClusterID
		m.estate.Regions[1].Kafka.ClusterID = "another"
		defer func() { m.estate.Regions[1].Kafka.ClusterID = was }()
		if _, err := stop.Apply(t.Context(), stopped, nil); err == nil || !strings.Contains(err.Error(), "nothing is changed there") {
			t.Errorf("Apply = %v, want a refusal", err)
		}
	})
	t.Run("records arrive after the point", func(t *testing.T) {
		r := m.request(point, "audit")
		m.is(point, r, verdict.Pass)
		m.produce(m.target, "audit", 1)
		m.is(point, r, verdict.Fail)
		r.Run.Mode = action.ModeDrill
		m.is(point, r, verdict.Pass) // where nothing was stopped, going on is no fault
	})
	m.lap("done")
}

// cutAt records a cut of the group, with a table.
func (m *mirroredWorld) cutAt(at time.Time) {
	m.t.Helper()
	data, err := action.Encode(GroupPoint{Group: "orders", Cut: recovery.Cut{At: at, Tables: []recovery.TablePoint{{Name: "orders"}}}})
	m.must(err)
	m.records.put("group.recovery-point", "orders", action.Outcome{Summary: "a cut", Data: data})
}

func (m *mirroredWorld) promote(t *testing.T) {
	def := m.action("kafka.promote")
	m.cutAt(time.Now().Add(time.Hour))
	t.Run("read all", func(t *testing.T) {
		proveAction(t, def, m.request(def, "whole"), m.faultSet("whole"))
		r := m.do(def, "whole")
		m.agrees(t, "whole", r)
		plan, err := action.Decode[ConsumerPlan](r.Plan.Data)
		m.must(err)
		for _, p := range plan.Placements {
			if p.Reason != kafka.Exact || p.ToRead != 0 {
				t.Errorf("a group that had read all comes back at %+v", p)
			}
		}
	})
	t.Run("never committed", func(t *testing.T) {
		proveAction(t, def, m.request(def, "new"), m.faultSet("new"))
		r := m.request(def, "new")
		c, err := def.Plan(t.Context(), r, nil)
		m.must(err)
		r.Plan = &c
		// A record of somebody else's, between plan and apply.
		m.commit(m.target, "new", "orders", 5)
		if _, err := def.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) {
			t.Errorf("Apply over another's commit = %v, want ErrMoved", err)
		}
		m.agrees(t, "new", m.do(def, "new"))
	})
	t.Run("held back to the cut", func(t *testing.T) {
		m.commit(m.source, "cut", "orders", 60)
		m.cutAt(m.begun) // before any record: everything comes again
		r := m.do(def, "cut")
		m.is(def, r, verdict.Pass)
		for _, p := range mustDecode[ConsumerPlan](t, r.Plan.Data).Placements {
			if p.Reason != kafka.ByCut || p.Offset != 0 {
				t.Errorf("placed at %+v, want the start, by the cut", p)
			}
		}
	})
	t.Run("a member's own commits", func(t *testing.T) {
		r := m.do(def, "cut")
		cl := m.raw(m.target, kgo.ConsumerGroup("cut"), kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit(), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		m.eventually("the member reads", func(ctx context.Context) error {
			f := cl.PollFetches(ctx)
			if f.NumRecords() == 0 {
				return errors.New("nothing")
			}
			return cl.CommitUncommittedOffsets(ctx)
		})
		m.is(def, r, verdict.Pass)
		if _, err := def.Plan(t.Context(), m.request(def, "cut"), nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "stop its consumers") {
			t.Errorf("Plan for an active group = %v, want a refusal that says what to do", err)
		}
		cl.LeaveGroup()
		cl.Close()
		m.is(def, r, verdict.Fail) // moved on, and nobody is there who did
	})
}

func mustDecode[T any](t *testing.T, raw []byte) T {
	t.Helper()
	v, err := action.Decode[T](raw)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (m *mirroredWorld) canary(t *testing.T) {
	def := m.action("pipelines.canary")
	m.estate.Groups[0].Canary.Topic = "orders"
	proveAction(t, def, m.request(def, "orders"), m.faultSet("whole"))
	k, err := m.systems.Kafka(t.Context(), m.estate, west)
	m.must(err)
	ends := func() (n int64) {
		all, err := k.Ends(t.Context(), "orders")
		m.must(err)
		for _, e := range all {
			n += e.End
		}
		return n
	}
	before := ends()
	for _, mode := range []action.Mode{action.ModePlan, action.ModeDrill} {
		r := m.request(def, "orders")
		r.Run.Mode = mode
		m.is(def, r, verdict.Unknown)
	}
	m.is(def, m.request(def, "untried"), verdict.Unknown)
	m.is(def, m.request(def, "mute"), verdict.Pass)
	if after := ends(); after != before {
		t.Errorf("%d records were sent outside a live run", after-before)
	}
}

// sourceGone plans without the source.
func (m *mirroredWorld) sourceGone(t *testing.T, point *action.Definition) {
	m.must(m.source.Kill(t.Context()))
	r := m.request(point, "audit")
	obs := m.is(point, r, verdict.Unknown)
	if !action.OnlySourceUnreachable(obs) {
		t.Errorf("with a dead source: %s", told(obs))
	}
	r.Run.SourceUnreachable = true
	r.Records = &kept{}
	c, err := point.Plan(t.Context(), r, nil)
	m.must(err)
	for _, p := range mustDecode[recovery.TopicState](t, c.Data).Partitions {
		if p.Source != nil || p.MirroredThrough == 0 {
			t.Errorf("a dead source is said to end somewhere: %+v", p)
		}
	}
	def := m.action("kafka.promote")
	r = m.request(def, "whole")
	r.Run.SourceUnreachable = true
	m.cutAt(time.Now().Add(time.Hour))
	c, err = def.Plan(t.Context(), r, nil)
	m.must(err)
	for _, p := range mustDecode[ConsumerPlan](t, c.Data).Placements {
		if p.Reason == kafka.Exact {
			t.Errorf("placed exactly without the source: %+v", p)
		}
	}
	back, err := labkafka.StartBroker(t.Context(), m.source.Config)
	m.must(err)
	m.source = back
	m.t.Cleanup(func() { // not at the end of the subtest
		if err := back.Kill(context.WithoutCancel(m.t.Context())); err != nil {
			m.t.Error(err)
		}
	})
	m.must(back.Ready(t.Context()))
}

func TestTopicEndsAreBounded(t *testing.T) {
	at := time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)
	look := func(minute int, end int64) TopicEnds {
		when := at.Add(time.Duration(minute) * time.Minute)
		return TopicEnds{First: when, Last: when, Run: strconv.Itoa(minute), Partitions: []PartitionEnds{{Data: end, Stable: end, End: end}}}
	}
	var all []TopicEnds
	for i := range 2 * witness.Kept {
		all = addEnds(all, look(i, int64(i)))
	}
	if len(all) != witness.Kept || all[len(all)-1].Run != strconv.Itoa(2*witness.Kept-1) {
		t.Errorf("%d looks are kept, the newest by run %s", len(all), all[len(all)-1].Run)
	}
	all = nil
	for i := range 100 {
		all = addEnds(all, look(i, 7))
	}
	if len(all) != 1 || !all[0].First.Equal(at) || !all[0].Last.Equal(at.Add(99*time.Minute)) {
		t.Errorf("100 looks at a topic that rests are %+v", all)
	}
	all = addEnds(all, look(50, 6)) // a slower reader, who looked earlier
	if len(all) != 2 || all[0].Partitions[0].End != 6 {
		t.Errorf("a late look is not in its place: %+v", all)
	}
}
