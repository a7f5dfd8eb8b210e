package activities

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/kafka"
	"breakwater/internal/objectstore/miniotest"
	"breakwater/internal/verdict"
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
	m.systems.watch = func(time.Duration) (quiet, within time.Duration) { return 300 * time.Millisecond, time.Minute }
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
