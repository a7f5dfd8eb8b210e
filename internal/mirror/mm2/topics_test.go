package mm2

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"breakwater/internal/kafka"
	"breakwater/internal/kafka/kafkatest"
	"breakwater/internal/mirror"
	"breakwater/internal/reach"
)

func client(t testing.TB, c *kfake.Cluster) *kafka.Client {
	t.Helper()
	cl, err := kafka.New(kafka.Config{Brokers: c.ListenAddrs(), Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// record is what an encoder gave, as a record of a topic.
func record(t testing.TB, topic string, key, value []byte, err error) *kgo.Record {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return &kgo.Record{Topic: topic, Key: key, Value: value}
}

var (
	p0 = kafka.Partition{Topic: "orders"}
	p1 = kafka.Partition{Topic: "orders", ID: 1}
)

// untimed compares what a mirror noted without the times of the notes.
var untimed = cmp.Options{cmpopts.IgnoreFields(mirror.Checkpoint{}, "At"), cmpopts.IgnoreFields(mirror.Sync{}, "At")}

// TestACheckpointOfTheLogBefore: a topic was created anew, and its group has read nothing
// of it. What the mirror noted of the group before, no later sync may translate.
func TestACheckpointOfTheLogBefore(t *testing.T) {
	c := kafkatest.Cluster(t, kfake.SeedTopics(1, "primary.checkpoints.internal", "mm2-offset-syncs.primary.internal"))
	cl := client(t, c)
	m := New(Config{Alias: "primary", Target: func(context.Context) (*kafka.Client, error) { return cl, nil }})
	began := time.Now().Add(-time.Hour)
	note := func(r *kgo.Record, minute int) {
		t.Helper()
		r.Timestamp = began.Add(time.Duration(minute) * time.Minute)
		kafkatest.Produce(t, c, r)
	}
	sync := func(up, down int64, minute int) {
		k, v, err := OffsetSync{Partition: p0, Upstream: up, Downstream: down}.Encode()
		note(record(t, "mm2-offset-syncs.primary.internal", k, v, err), minute)
	}
	before := func() bool {
		t.Helper()
		known, err := m.Translation(t.Context())
		if err != nil || len(known.Checkpoints) != 1 {
			t.Fatalf("%+v, %v", known, err)
		}
		return known.Checkpoints[0].Before
	}
	sync(0, 0, 0)
	sync(300, 300, 2)
	k, v, err := Checkpoint{Group: "sink", Partition: p0, Upstream: 200, Downstream: 1}.Encode()
	note(record(t, "primary.checkpoints.internal", k, v, err), 3)
	if before() {
		t.Error("a checkpoint among the syncs of its log is of another")
	}
	sync(0, 310, 5)
	sync(150, 470, 6)
	if !before() {
		t.Error("a checkpoint from before the topic was created anew is of the new one")
	}
}

func TestTopics(t *testing.T) {
	c := kafkatest.Cluster(t, kfake.SeedTopics(1, "primary.checkpoints.internal", "mm2-offset-syncs.primary.internal", "connect-offsets"))
	cl := client(t, c)
	commit, abort := kgo.TryCommit, kgo.TryAbort

	cp := func(group string, p kafka.Partition, up int64) *kgo.Record {
		k, v, err := Checkpoint{Group: group, Partition: p, Upstream: up, Downstream: up + 10, Metadata: "m"}.Encode()
		return record(t, "primary.checkpoints.internal", k, v, err)
	}
	want := func(group string, p kafka.Partition, up int64) mirror.Checkpoint {
		return mirror.Checkpoint{Group: group, Partition: p, Upstream: up, Downstream: up + 10}
	}
	kafkatest.Transact(t, c, "a", &commit, cp("sink", p0, 1), cp("sink", p1, 2), cp("late", p0, 3))
	kafkatest.Transact(t, c, "a", &commit, cp("sink", p0, 4))
	kafkatest.Transact(t, c, "b", &abort, cp("sink", p0, 5))
	kafkatest.Transact(t, c, "c", nil, cp("sink", p0, 6))
	cps, err := checkpoints(t.Context(), cl, "primary.checkpoints.internal")
	if diff := cmp.Diff([]mirror.Checkpoint{want("sink", p0, 4), want("sink", p1, 2), want("late", p0, 3)}, cps, untimed); diff != "" || err != nil {
		t.Errorf("checkpoints (-want +got), error %v:\n%s", err, diff)
	}
	if cps, err := checkpoints(t.Context(), cl, "nobody.checkpoints.internal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("checkpoints without a topic: %v, %v; want fs.ErrNotExist", cps, err)
	}

	at := func(p kafka.Partition, up int64) mirror.Sync {
		return mirror.Sync{Partition: p, Upstream: up, Downstream: up + 10}
	}
	sync := func(p kafka.Partition, up int64) *kgo.Record {
		k, v, err := OffsetSync(at(p, up)).Encode()
		return record(t, "mm2-offset-syncs.primary.internal", k, v, err)
	}
	if syncs, err := offsetSyncs(t.Context(), cl, "mm2-offset-syncs.primary.internal"); len(syncs) != 0 || err != nil {
		t.Errorf("syncs of an empty topic: %v, %v", syncs, err)
	}
	kafkatest.Produce(t, c, sync(p0, 1), sync(p1, 5), sync(p0, 9))
	syncs, err := offsetSyncs(t.Context(), cl, "mm2-offset-syncs.primary.internal")
	if diff := cmp.Diff(map[kafka.Partition]mirror.Syncs{p0: {at(p0, 1), at(p0, 9)}, p1: {at(p1, 5)}}, syncs, untimed); diff != "" || err != nil {
		t.Errorf("syncs (-want +got), error %v:\n%s", err, diff)
	}
	if syncs, err := offsetSyncs(t.Context(), cl, "mm2-offset-syncs.nobody.internal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("syncs without a topic: %v, %v; want fs.ErrNotExist", syncs, err)
	}

	off := func(connector string, p kafka.Partition, at int64) connectOffset {
		return connectOffset{Connector: connector, Cluster: "primary", Partition: p, Delivered: at}
	}
	rec := func(o connectOffset) *kgo.Record {
		k, v, err := o.encode()
		return record(t, "connect-offsets", k, v, err)
	}
	others := &kgo.Record{Topic: "connect-offsets", Key: []byte(`["mm2-source",{"sourceClusterAlias":"x"}]`), Value: []byte(`{"offset":0}`)}
	kafkatest.Transact(t, c, "d", &commit, rec(off("mm2-source", p0, 5)), rec(off("mm2-source", p1, 7)), rec(off("other", p0, 100)), rec(off("mm2-source", p0, 8)),
		rec(off("mm2-source", p1, -1)), others)
	kafkatest.Transact(t, c, "d", &commit, rec(off("mm2-source", p0, 3)), rec(off("mm2-source", p0, 8)))
	kafkatest.Transact(t, c, "e", nil, rec(off("mm2-source", p0, 50)))
	offs, err := connectOffsets(t.Context(), cl, "connect-offsets", "mm2-source")
	if o := offs[p0]; o.Fell.IsZero() || time.Since(o.Fell) > time.Minute {
		t.Errorf("from 8 to 3 the mirror fell back at %v", o.Fell)
	} else {
		o.Fell = time.Time{}
		offs[p0] = o
	}
	if diff := cmp.Diff(map[kafka.Partition]connectOffset{p0: off("mm2-source", p0, 8)}, offs); diff != "" || err != nil {
		t.Errorf("connect offsets (-want +got), error %v:\n%s", err, diff)
	}

	kafkatest.Produce(t, c, &kgo.Record{Topic: "mm2-offset-syncs.primary.internal", Key: []byte("nonsense"), Value: []byte("x")})
	if syncs, err := offsetSyncs(t.Context(), cl, "mm2-offset-syncs.primary.internal"); err == nil {
		t.Errorf("nonsense was read as %v", syncs)
	}
}

func TestPositions(t *testing.T) {
	src := kafkatest.Cluster(t, kfake.SeedTopics(2, "orders"))
	dst := kafkatest.Cluster(t, kfake.SeedTopics(2, "orders"), kfake.SeedTopics(1, "connect-offsets", "more"))
	source, target := client(t, src), client(t, dst)
	t0 := time.UnixMilli(1_700_000_000_000)
	m := New(Config{Alias: "primary", Source: "mm2-source", OffsetsTopic: "connect-offsets", Target: func(context.Context) (*kafka.Client, error) { return target, nil }})

	kafkatest.Produce(t, src, kafkatest.Numbered("orders", 0, 10, t0)...)
	commit := kgo.TryCommit
	kafkatest.Transact(t, dst, "mirror", &commit, kafkatest.Numbered("orders", 0, 8, t0)...)
	delivered := func(cluster string, at int64) {
		t.Helper()
		k, v, err := connectOffset{Connector: "mm2-source", Cluster: cluster, Partition: p0, Delivered: at}.encode()
		kafkatest.Produce(t, dst, record(t, "connect-offsets", k, v, err))
	}
	delivered("primary", 7)
	at, silence, err := m.Positions(t.Context(), source, "orders")
	want := map[kafka.Partition]mirror.Position{
		p0: {Next: 8, Target: kafka.Ends{Stable: 9, End: 9}, Newest: kafka.Stamps{Newest: t0.Add(7 * time.Second)}, Source: &kafka.Ends{Stable: 10, End: 10}},
		p1: {Source: &kafka.Ends{}},
	}
	if diff := cmp.Diff(want, at); diff != "" || silence != nil || err != nil {
		t.Errorf("positions (-want +got), silence %v, error %v:\n%s", silence, err, diff)
	}
	if drained, known := at[p0].Drained(); drained || !known {
		t.Errorf("two records are missing, drained is %t, known %t", drained, known)
	}
	if drained, known := at[p1].Drained(); !drained || !known {
		t.Errorf("there never was a record, drained is %t, known %t", drained, known)
	}
	delivered("primary", 9)
	kafkatest.Transact(t, src, "open", nil, kafkatest.Numbered("orders", 1, 1, t0)...)
	at, _, err = m.Positions(t.Context(), source, "orders")
	if err != nil {
		t.Fatal(err)
	}
	if drained, known := at[p0].Drained(); !drained || !known {
		t.Errorf("all is delivered, drained is %t, known %t", drained, known)
	}
	if drained, known := at[p1].Drained(); drained || !known {
		t.Errorf("a transaction is open, drained is %t, known %t", drained, known)
	}

	delivered("elsewhere", 9)
	if _, _, err := m.Positions(t.Context(), source, "orders"); err == nil {
		t.Error("offsets of another cluster were taken")
	}
	delivered("primary", 9)
	if _, _, err := m.Positions(t.Context(), source, "orders", "more"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a topic is missing at the source: %v, want fs.ErrNotExist", err)
	}
	src.Close()
	for name, source := range map[string]mirror.Source{"dead source": source, "no source": nil} {
		at, silence, err := m.Positions(t.Context(), source, "orders")
		if err != nil || !reach.Unreachable(silence) {
			t.Errorf("%s: silence %v, error %v", name, silence, err)
		}
		if _, known := at[p0].Drained(); known || at[p0].Next != 10 || at[p0].Source != nil {
			t.Errorf("%s: position is %+v", name, at[p0])
		}
	}
	ahead := mirror.Position{Next: 5, Source: &kafka.Ends{Stable: 3, End: 5}}
	if drained, known := ahead.Drained(); drained || !known {
		t.Errorf("the mirror copied what is not committed yet: drained is %t, known %t", drained, known)
	}
}
