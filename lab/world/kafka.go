package world

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/mirror"
	"breakwater/internal/poll"
	"breakwater/internal/verdict"
	"breakwater/lab/faults"
	labkafka "breakwater/lab/kafka"
	"breakwater/lab/prove"
	"breakwater/lab/server"
	"breakwater/lab/server/miniotest"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// Mirrored is a pair of real brokers with a real mirror between them, and a
// bucket for the witness.
type Mirrored struct {
	*World
	Jars           string
	Source, Target *labkafka.Broker
	connect        *labkafka.Connect
	journal        *miniotest.Store
	topics         []string
	journalBucket  string // a bucket of its own in the shared store
	Records        *Kept
	Begun          time.Time
}

// Parts is how many partitions every topic has.
const Parts = 2

// Lap logs how long the test has taken so far.
func (m *Mirrored) Lap(format string, args ...any) {
	m.T.Helper()
	m.T.Logf("%5.1f s  %s", time.Since(m.Begun).Seconds(), fmt.Sprintf(format, args...))
}

// NewMirrored starts the brokers, the mirror and the MinIO, with some topics beside those
// that each has.
func NewMirrored(t *testing.T, more ...string) *Mirrored {
	t.Helper()
	jars, err := labkafka.Jars()
	if err != nil {
		t.Fatal(err)
	}
	m := &Mirrored{World: Bare(t), Jars: jars, Records: &Kept{}, Begun: time.Now()}
	dir := t.TempDir()
	var g errgroup.Group
	for name, into := range map[string]**labkafka.Broker{East: &m.Source, West: &m.Target} {
		g.Go(func() error {
			b, err := labkafka.StartBroker(t.Context(), labkafka.Config{
				Dir: filepath.Join(dir, name), Jars: jars, Name: name, Bound: true, Doors: true,
				Users: map[string]string{MirrorUser: MirrorUser, WorkerUser: WorkerUser}, SuperUsers: []string{WorkerUser},
			})
			if err != nil {
				return err
			}
			*into = b
			return b.Ready(t.Context())
		})
	}
	m.journal = miniotest.Shared(t)
	err = g.Wait()
	for _, b := range []*labkafka.Broker{m.Source, m.Target} {
		if b != nil {
			m.ended(b.Server)
		}
	}
	m.Must(err)
	m.connect, err = labkafka.StartConnect(t.Context(), labkafka.ConnectConfig{Dir: filepath.Join(dir, "connect"), Jars: jars, Name: West, Broker: m.Target.Admin(), Bound: true})
	m.Must(err)
	m.ended(m.connect.Server)
	m.topics = append([]string{"orders", "audit", "paid"}, more...)
	for _, topic := range m.topics {
		m.Must(m.Source.CreateTopic(t.Context(), topic, Parts))
		m.Must(m.Target.CreateTopic(t.Context(), topic, Parts))
	}
	m.Must(m.connect.Ready(t.Context()))
	m.putMirror(nil)
	m.describe()
	m.Lap("the servers are up")
	return m
}

// Users of the brokers' listener CLIENT, each its own password: the mirror's may do
// nothing there at first, the worker's everything.
const (
	MirrorUser = "mirror"
	WorkerUser = "worker"
)

func (m *Mirrored) putMirror(as *labkafka.Login) {
	m.T.Helper()
	m.Must(labkafka.PutMirror(m.T.Context(), m.connect.URL(), labkafka.MirrorConfig{
		Source: "east", Target: "west", SourceBroker: m.Source.MirrorAddress(), TargetBroker: m.Target.Admin(), Topics: m.topics, GroupsAs: as,
	}))
}

// MirrorAs lets the mirror move groups at the target as [MirrorUser], who gets all
// rights on topics and groups by ACLs.
func (m *Mirrored) MirrorAs() {
	m.T.Helper()
	made, err := kadm.NewClient(m.Raw(m.Target)).CreateACLs(m.T.Context(), kadm.NewACLs().Allow("User:"+MirrorUser).Topics("*").Groups("*").Operations(kadm.OpAll))
	for _, r := range made {
		err = errors.Join(err, r.Err)
	}
	m.Must(err)
	m.putMirror(&labkafka.Login{Broker: m.Target.Client(), User: MirrorUser, Password: MirrorUser})
}

// NewBroker is a world with one broker, the target's: there is no source and no
// mirror, which a test of what is sent at the target needs neither.
func NewBroker(t *testing.T) *Mirrored {
	t.Helper()
	jars, err := labkafka.Jars()
	if err != nil {
		t.Fatal(err)
	}
	m := &Mirrored{World: Bare(t), Jars: jars, Records: &Kept{}, Begun: time.Now()}
	m.Target, err = labkafka.StartBroker(t.Context(), labkafka.Config{Dir: filepath.Join(t.TempDir(), West), Jars: jars, Name: West, Bound: true})
	m.Must(err)
	m.ended(m.Target.Server)
	m.Must(m.Target.Ready(t.Context()))
	m.Must(m.Target.CreateTopic(t.Context(), "orders", Parts))
	m.Estate.Regions[1].Kafka = &estate.Kafka{Brokers: []string{m.Target.Admin()}, ClusterID: m.Target.ClusterID(), Alias: "west"}
	m.Estate.Groups = mirroredGroups("orders")
	m.Produce(m.Target, "orders", 3)
	m.Commit(m.Target, "whole", "orders", 2)
	return m
}

// ended ends a server with the test, and shows the end of its log if that failed.
func (m *Mirrored) ended(s *server.Server) {
	m.T.Cleanup(func() {
		if err := s.Kill(context.WithoutCancel(m.T.Context())); err != nil {
			m.T.Error(err)
		}
		if m.T.Failed() {
			m.T.Logf("the end of %s:\n%s", s.Command.Log, server.Tail(s.Command.Log))
		}
	})
}

// mirroredGroups are the groups of the estate, with the canary's topic.
func mirroredGroups(canary string) []estate.Group {
	return []estate.Group{{
		Group: "orders", Tier: 1, Topics: []estate.Topic{{Topic: "orders", PeakMessages: 200}, {Topic: "audit"}, {Topic: "paid"}},
		ConsumerGroups: []estate.ConsumerGroup{
			{ConsumerGroup: "whole", Topics: []string{"orders"}},
			{ConsumerGroup: "new", Topics: []string{"orders", "audit"}},
			{ConsumerGroup: "cut", Topics: []string{"orders"}},
		},
		Canary: &estate.Canary{Topic: canary},
	}, {Group: "mute", Tier: 1, Topics: []estate.Topic{}}, {Group: "untried", Tier: 1, Topics: []estate.Topic{{Topic: "nowhere"}}}}
}

// describe writes the estate.
func (m *Mirrored) describe() {
	e := m.Estate
	m.journalBucket = m.journal.Bucket(m.T, "journal", false)
	for i, b := range []*labkafka.Broker{m.Source, m.Target} {
		e.Regions[i].Kafka = &estate.Kafka{Brokers: []string{b.Admin()}, ClusterID: b.ClusterID(), Alias: []string{"east", "west"}[i]}
		e.Regions[i].Storage = estate.Storage{
			Provider: "minio", Endpoint: m.journal.Endpoint, SigningName: "us-east-1", Credentials: m.User(e.Regions[i].Region, miniotest.RootUser),
		}
	}
	e.Regions[1].Connect = &estate.Connect{
		URL: m.connect.URL(), Source: labkafka.SourceConnector, Checkpoint: labkafka.CheckpointConnector,
		Heartbeat: labkafka.HeartbeatConnector, OffsetsTopic: labkafka.OffsetsTopic, PolicyIdentity: true,
	}
	e.Witness = estate.Witness{Bucket: "lake", Prefix: "_witness"}
	e.Buckets = []estate.Bucket{{Bucket: "lake", In: map[string]string{East: "lake-east", West: m.journalBucket}}}
	e.Groups = mirroredGroups("audit")
}

// Renaming adds a second mirror, which renames the topics that it copies, and makes it
// the estate's. The first one goes on.
func (m *Mirrored) Renaming(topics ...string) {
	m.T.Helper()
	m.Must(labkafka.PutMirror(m.T.Context(), m.connect.URL(), labkafka.MirrorConfig{
		Source: "east", Target: "west", SourceBroker: m.Source.MirrorAddress(), TargetBroker: m.Target.Admin(), Topics: topics, Renaming: true,
	}))
	e := m.Estate
	e.Regions = slices.Clone(e.Regions)
	e.Regions[1].Connect = &estate.Connect{
		URL: m.connect.URL(), Source: labkafka.RenamingSource, Checkpoint: labkafka.RenamingCheckpoint, OffsetsTopic: labkafka.OffsetsTopic,
	}
}

// FaultSet is what can be done to the servers that there are.
func (m *Mirrored) FaultSet(group string) fault.Set {
	k := faults.Kafka{
		Target: faults.Cluster{Brokers: []string{m.Target.Admin()}, Pid: m.Target.Pid},
		Topic:  "orders", ConsumerGroup: group,
	}
	if m.Source != nil {
		k.Source = faults.Cluster{Brokers: []string{m.Source.Admin()}, Pid: m.Source.Pid}
		k.Connect, k.ConnectPid, k.Connector = m.connect.URL(), m.connect.Pid, labkafka.SourceConnector
		k.Journal = faults.Storage{Endpoint: m.journal.Endpoint, AccessKey: miniotest.RootUser, SecretKey: miniotest.RootPassword, Bucket: m.journalBucket}
		k.JournalKey = "_witness/topics/orders.json"
	}
	return faults.Kafkas(k)
}

// Raw is a client of a broker that shares nothing with the product.
func (m *Mirrored) Raw(b *labkafka.Broker, opts ...kgo.Opt) *kgo.Client {
	m.T.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.Admin()), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	m.Must(err)
	m.T.Cleanup(cl.Close)
	return cl
}

// Produce sends n records to every partition, each a batch of its own so that
// offset syncs are written between them.
func (m *Mirrored) Produce(b *labkafka.Broker, topic string, n int) {
	m.T.Helper()
	cl := m.Raw(b)
	for i := range n {
		for p := range int32(Parts) {
			m.Must(cl.ProduceSync(m.T.Context(), &kgo.Record{Topic: topic, Partition: p, Value: []byte(strconv.Itoa(i))}).FirstErr())
		}
	}
}

// Transact sends n records to the source in a transaction each, which leaves a
// marker behind every record.
func (m *Mirrored) Transact(topic string, n int) {
	m.T.Helper()
	cl := m.Raw(m.Source, kgo.TransactionalID("paid"))
	for i := range n {
		m.Must(cl.BeginTransaction())
		for p := range int32(Parts) {
			m.Must(cl.ProduceSync(m.T.Context(), &kgo.Record{Topic: topic, Partition: p, Value: []byte(strconv.Itoa(i))}).FirstErr())
		}
		m.Must(cl.EndTransaction(m.T.Context(), kgo.TryCommit))
	}
}

// Commit sets a group's offset in every partition of a topic.
func (m *Mirrored) Commit(b *labkafka.Broker, group, topic string, at int64) {
	m.T.Helper()
	var all kadm.Offsets
	for p := range int32(Parts) {
		all.AddOffset(topic, p, at, -1)
	}
	done, err := kadm.NewClient(m.Raw(b)).CommitOffsets(m.T.Context(), group, all)
	m.Must(errors.Join(err, done.Error()))
}

// Request is [World.Request] with the world's records.
func (m *Mirrored) Request(def *action.Definition, name string) action.Request {
	m.T.Helper()
	r := m.World.Request(def, name)
	r.Records = m.Records
	return r
}

// Do plans and applies.
func (m *Mirrored) Do(def *action.Definition, name string) action.Request {
	m.T.Helper()
	r := m.Request(def, name)
	m.Act(def, &r, nil)
	return r
}

// Is asks for a verdict.
func (m *Mirrored) Is(def *action.Definition, r action.Request, want verdict.Verdict) []action.Observation {
	m.T.Helper()
	obs, err := def.Verify(m.T.Context(), r, nil)
	m.Must(err)
	if got := action.Worst(obs); got != want {
		m.T.Errorf("%s on %s: %s, want %s\n%s", def.Name, r.Item, got, want, prove.Told(obs))
	}
	return obs
}

// Mirror is the mirror as the product sees it.
func (m *Mirrored) Mirror() mirror.Mirror {
	m.T.Helper()
	opened, err := m.Systems.Mirror(m.T.Context(), m.Estate, East, West)
	m.Must(err)
	return opened
}

// Checkpoints waits until the mirror has noted so many checkpoints of a group.
func (m *Mirrored) Checkpoints(group string, n int) {
	m.T.Helper()
	translator, ok := m.Mirror().(mirror.Translator)
	if !ok {
		m.T.Fatal("the mirror translates no group")
	}
	m.Eventually("checkpoints of "+group, func(ctx context.Context) error {
		known, err := translator.Translation(ctx)
		have := 0
		for _, c := range known.Checkpoints {
			if c.Group == group {
				have++
			}
		}
		if err == nil && have < n {
			err = fmt.Errorf("%d of %d", have, n)
		}
		return err
	})
}

// Drained waits until the mirror has brought what the source has.
func (m *Mirrored) Drained() {
	m.T.Helper()
	src, err := m.Systems.Kafka(m.T.Context(), m.Estate, East)
	m.Must(err)
	into := m.Mirror()
	m.Eventually("the mirror is drained", func(ctx context.Context) error {
		at, silence, err := into.Positions(ctx, src, "orders", "audit")
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

// Eventually asks until there is no error, for a minute at most.
func (m *Mirrored) Eventually(what string, ask func(context.Context) error) {
	m.T.Helper()
	ctx, cancel := context.WithTimeout(m.T.Context(), time.Minute)
	defer cancel()
	if err := poll.Until(ctx, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		err := ask(ctx)
		return err == nil, err
	}); err != nil {
		m.T.Fatalf("%s: %v", what, err)
	}
}
