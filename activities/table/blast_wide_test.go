package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup/depot"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/kafka/kafkatest"
	"breakwater/internal/lake"
	"breakwater/internal/lineage"
	"breakwater/internal/mirror"
	"breakwater/internal/objectstore"
	"breakwater/internal/query"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/port"
	"breakwater/internal/table/lastgood"
	"breakwater/lab/world"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/crypto/ssh"
)

// wideSystems are an object store with tables that are made up, of which the requests are
// counted, and a broker.
type wideSystems struct {
	store   madeUp
	brokers *kafka.Client
}

// madeUp has tables t/0000, t/0001 and so on, of a hundred versions a minute apart, of
// which 98 is bad.
type madeUp struct {
	objectstore.Store
	bad         time.Time
	lists, gets *atomic.Int64
}

func (s madeUp) List(_ context.Context, _, prefix string) iter.Seq2[objectstore.Object, error] {
	s.lists.Add(1)
	return func(yield func(objectstore.Object, error) bool) {
		for v := range 100 {
			if o := s.object(world.Entry(strings.TrimSuffix(prefix, "/_delta_log/"), v), v); !yield(o, nil) {
				return
			}
		}
	}
}

func (s madeUp) object(key string, v int) objectstore.Object {
	return objectstore.Object{Key: key, Size: int64(len(s.entry(v))), ETag: "e", LastModified: s.bad.Add(time.Hour)}
}

func (s madeUp) entry(v int) string {
	return fmt.Sprintf(`{"commitInfo":{"timestamp":%d,"operation":"WRITE"}}`+"\n"+`{"add":{"path":"%d","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true,"stats":"{\"numRecords\":1}"}}`,
		s.bad.Add(time.Duration(v-98)*time.Minute).UnixMilli(), v)
}

func (s madeUp) Get(_ context.Context, _, key string) ([]byte, objectstore.Object, error) {
	s.gets.Add(1)
	v, err := strconv.Atoi(strings.TrimSuffix(path.Base(key), ".json"))
	return []byte(s.entry(v)), s.object(key, v), err
}

func (s wideSystems) Bucket(context.Context, *estate.Estate, string, string) (objectstore.Bucket, error) {
	return objectstore.Bind(s.store, "lake"), nil
}

func (wideSystems) StorageAs(context.Context, *estate.Estate, string, estate.Ref, string) (objectstore.Store, error) {
	return nil, errors.ErrUnsupported
}

func (wideSystems) Depot(context.Context, *estate.Estate) (depot.Depot, error) {
	return depot.Depot{}, errors.ErrUnsupported
}
func (wideSystems) Format(string) (table.Format, error) { return port.Format{}, nil }
func (wideSystems) Signer(context.Context, *estate.Estate) (ssh.Signer, error) {
	return nil, errors.ErrUnsupported
}

func (s wideSystems) Kafka(context.Context, *estate.Estate, string) (*kafka.Client, error) {
	return s.brokers, nil
}
func (wideSystems) QueryEngine() query.Engine { return nil }

func (wideSystems) Names(*estate.Estate, string, string) mirror.Names { return mirror.Names{} }

// allBad records a last good version of every table.
type allBad struct {
	world.NoRecords
	bad time.Time
}

func (a allBad) Outcome(_ context.Context, name, item string) (action.Outcome, error) {
	if name != "table.last-good" {
		return action.Outcome{}, fs.ErrNotExist
	}
	data, err := action.Encode(lastgood.Found{Table: item, Region: world.East, Good: table.Version{Number: 97}, Bad: table.Version{Number: 98, Time: a.bad}, Head: table.Version{Number: 99}})
	return action.Outcome{Data: data}, err
}

// TestBlastRadiusOfAThousandTables counts what is asked about a group of 1,000 tables of a
// hundred versions, all of them bad, with a pipeline from each to a topic of its own, and
// 300 consumer groups: with 32 requests at once, and 50 ms for each, it must take less
// than a minute.
func TestBlastRadiusOfAThousandTables(t *testing.T) {
	t.Parallel()
	const tables, consumers = 1000, 300
	bad := time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var lists, gets, asked atomic.Int64
	s := wideSystems{store: madeUp{bad: bad, lists: &lists, gets: &gets}}
	var topics []string
	g := estate.Group{Group: "wide", Tier: 1}
	for n := range tables {
		name := fmt.Sprintf("t%04d", n)
		g.Tables = append(g.Tables, estate.Table{Table: name, Format: "delta", Bucket: "lake", Path: fmt.Sprintf("t/%04d", n)})
		g.Topics = append(g.Topics, estate.Topic{Topic: "topic-" + name})
		g.Pipelines = append(g.Pipelines, estate.Pipeline{Pipeline: "p-" + name, Reads: []string{name}, Writes: []string{"topic-" + name}})
		topics = append(topics, "topic-"+name)
	}
	e := &estate.Estate{
		Estate: "wide", Groups: []estate.Group{g}, Buckets: []estate.Bucket{{Bucket: "lake", In: map[string]string{world.East: "lake", world.West: "lake"}}},
		Regions: []estate.Region{{Region: world.East, Role: estate.Primary, Kafka: &estate.Kafka{}}, {Region: world.West, Role: estate.Standby}},
	}
	c := kafkatest.Cluster(t, kfake.SeedTopics(1, topics...))
	cl := kafkatest.Client(t, c)
	var rs []*kgo.Record
	for _, topic := range topics {
		rs = append(rs, &kgo.Record{Topic: topic, Timestamp: bad.Add(time.Minute)})
	}
	must(cl.ProduceSync(t.Context(), rs...).FirstErr())
	for n := range consumers {
		var all kadm.Offsets
		all.AddOffset(topics[n], 0, 1, -1)
		done, err := kadm.NewClient(cl).CommitOffsets(t.Context(), "g"+strconv.Itoa(n), all)
		must(errors.Join(err, done.Error()))
	}
	c.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked.Add(1)
		return nil, nil, false
	})
	var err error
	s.brokers, err = kafka.New(kafka.Config{Brokers: c.ListenAddrs()})
	must(err)
	t.Cleanup(s.brokers.Close)

	r := room{systems: s, lake: lake.New(s)}
	call := action.Call[blastWith]{Request: action.Request{
		Item: e.Items(estate.GroupKind, estate.Filter{})[0], Estate: e, Records: allBad{bad: bad}, Progress: func(int64, int64, string) {},
	}}
	began := time.Now()
	look, err := r.trace(t.Context(), call, assumed)
	must(err)
	t.Logf("%d listings, %d objects and %d requests to brokers in %s", lists.Load(), gets.Load(), asked.Load(), time.Since(began).Round(time.Millisecond))
	const most = 60 * 32 * 20 // in a minute, with 32 at once and 50 ms for each
	if n := lists.Load() + gets.Load(); n > most/4 {
		t.Errorf("%d requests to the stores for %d tables; want a few for each", n, tables)
	}
	if n := asked.Load(); n > 200 {
		t.Errorf("%d requests to brokers for %d topics and %d groups; want them asked for together", n, tables, consumers)
	}
	of := map[estate.Kind]int{}
	for _, i := range look.radius.Items {
		of[i.Kind]++
	}
	for kind, want := range map[estate.Kind]int{lineage.CopyKind: tables, estate.PipelineKind: tables, estate.TopicKind: tables, estate.ConsumerGroupKind: consumers} {
		if of[kind] != want {
			t.Errorf("%d of kind %s, want %d", of[kind], kind, want)
		}
	}
	if len(look.radius.Unread) > 0 || !strings.Contains(reachWords(look.radius), "1000 pipelines") {
		t.Errorf("%s; unread %+v", reachWords(look.radius), look.radius.Unread)
	}
}
