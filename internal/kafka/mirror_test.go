package kafka_test

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"breakwater/internal/kafka"
	"breakwater/internal/reach"
)

// encoded is a record as MirrorMaker or Connect writes it.
type encoded interface {
	Encode() (key, value []byte, err error)
}

func records(t *testing.T, topic string, in ...encoded) []*kgo.Record {
	t.Helper()
	var out []*kgo.Record
	for _, e := range in {
		k, v, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, &kgo.Record{Topic: topic, Key: k, Value: v})
	}
	return out
}

var (
	p0 = kafka.Partition{Topic: "orders"}
	p1 = kafka.Partition{Topic: "orders", ID: 1}
)

func TestReaders(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "primary.checkpoints.internal", "mm2-offset-syncs.primary.internal", "primary.heartbeats", "connect-offsets", "empty.heartbeats"))
	cl := client(t, kafka.Config{Brokers: c.ListenAddrs()})
	commit, abort := kgo.TryCommit, kgo.TryAbort
	ms := time.UnixMilli(1_700_000_000_000).UTC()

	cp := func(group string, p kafka.Partition, up int64) kafka.Checkpoint {
		return kafka.Checkpoint{Group: group, Partition: p, Upstream: up, Downstream: up + 10}
	}
	transact(t, c, "a", &commit, records(t, "primary.checkpoints.internal", cp("sink", p0, 1), cp("sink", p1, 2), cp("late", p0, 3))...)
	transact(t, c, "a", &commit, records(t, "primary.checkpoints.internal", cp("sink", p0, 4))...)
	transact(t, c, "b", &abort, records(t, "primary.checkpoints.internal", cp("sink", p0, 5))...)
	transact(t, c, "c", nil, records(t, "primary.checkpoints.internal", cp("sink", p0, 6))...)
	cps, err := cl.Checkpoints(t.Context(), "primary")
	if diff := cmp.Diff([]kafka.Checkpoint{cp("sink", p0, 4), cp("sink", p1, 2), cp("late", p0, 3)}, cps); diff != "" || err != nil {
		t.Errorf("checkpoints (-want +got), error %v:\n%s", err, diff)
	}

	sync := func(p kafka.Partition, up int64) kafka.OffsetSync {
		return kafka.OffsetSync{Partition: p, Upstream: up, Downstream: up + 10}
	}
	produce(t, c, nil, records(t, "mm2-offset-syncs.primary.internal", sync(p0, 1), sync(p1, 5), sync(p0, 9))...)
	syncs, err := cl.OffsetSyncs(t.Context(), "primary")
	if diff := cmp.Diff(map[kafka.Partition]kafka.Syncs{p0: {sync(p0, 1), sync(p0, 9)}, p1: {sync(p1, 5)}}, syncs); diff != "" || err != nil {
		t.Errorf("syncs (-want +got), error %v:\n%s", err, diff)
	}

	beat := func(s int) kafka.Heartbeat {
		return kafka.Heartbeat{Source: "standby", Target: "primary", Time: ms.Add(time.Duration(s) * time.Second)}
	}
	produce(t, c, nil, records(t, "primary.heartbeats", beat(1), beat(3), beat(2))...)
	beats, err := cl.Heartbeats(t.Context(), "primary")
	if diff := cmp.Diff([]kafka.Heartbeat{beat(3)}, beats); diff != "" || err != nil {
		t.Errorf("heartbeats (-want +got), error %v:\n%s", err, diff)
	}
	if beats, err := cl.Heartbeats(t.Context(), "empty"); len(beats) != 0 || err != nil {
		t.Errorf("heartbeats of an empty topic: %v, %v", beats, err)
	}
	if _, err := cl.Heartbeats(t.Context(), "nobody"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("heartbeats without a topic: %v, want fs.ErrNotExist", err)
	}

	off := func(connector string, p kafka.Partition, at int64) kafka.ConnectOffset {
		return kafka.ConnectOffset{Connector: connector, Cluster: "primary", Partition: p, Delivered: at}
	}
	others := &kgo.Record{Topic: "connect-offsets", Key: []byte(`["mm2-source",{"sourceClusterAlias":"x"}]`), Value: []byte(`{"offset":0}`)}
	transact(t, c, "d", &commit, append(records(t, "connect-offsets",
		off("mm2-source", p0, 5), off("mm2-source", p1, 7), off("other", p0, 100), off("mm2-source", p0, 8), off("mm2-source", p1, -1)), others)...)
	transact(t, c, "e", nil, records(t, "connect-offsets", off("mm2-source", p0, 50))...)
	offs, err := cl.ConnectOffsets(t.Context(), "connect-offsets", "mm2-source")
	if diff := cmp.Diff(map[kafka.Partition]kafka.ConnectOffset{p0: off("mm2-source", p0, 8)}, offs); diff != "" || err != nil {
		t.Errorf("connect offsets (-want +got), error %v:\n%s", err, diff)
	}

	produce(t, c, nil, &kgo.Record{Topic: "primary.heartbeats", Key: []byte("nonsense"), Value: []byte("x")})
	if beats, err := cl.Heartbeats(t.Context(), "primary"); err == nil {
		t.Errorf("nonsense was read as %v", beats)
	}
}

func TestMirrorPositions(t *testing.T) {
	src := cluster(t, kfake.SeedTopics(2, "orders"))
	dst := cluster(t, kfake.SeedTopics(2, "orders"), kfake.SeedTopics(1, "connect-offsets", "more"))
	source := client(t, kafka.Config{Brokers: src.ListenAddrs(), Timeout: time.Second})
	target := client(t, kafka.Config{Brokers: dst.ListenAddrs()})
	t0 := time.UnixMilli(1_700_000_000_000)
	m := kafka.Mirror{Source: "primary", Connector: "mm2-source", OffsetsTopic: "connect-offsets", Topics: []string{"orders"}}

	produce(t, src, nil, numbered("orders", 0, 10, t0)...)
	commit := kgo.TryCommit
	transact(t, dst, "mirror", &commit, numbered("orders", 0, 8, t0)...)
	delivered := func(cluster string, at int64) {
		t.Helper()
		produce(t, dst, nil, records(t, "connect-offsets", kafka.ConnectOffset{Connector: "mm2-source", Cluster: cluster, Partition: p0, Delivered: at})...)
	}
	delivered("primary", 7)
	at, silence, err := target.MirrorPositions(t.Context(), m, source)
	want := map[kafka.Partition]kafka.MirrorPosition{
		p0: {Partition: p0, Delivered: true, Next: 8, Target: kafka.Ends{Stable: 9, End: 9}, Newest: t0.Add(7 * time.Second), Source: &kafka.Ends{Stable: 10, End: 10}},
		p1: {Partition: p1, Source: &kafka.Ends{}},
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
	transact(t, src, "open", nil, numbered("orders", 1, 1, t0)...)
	at, _, err = target.MirrorPositions(t.Context(), m, source)
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
	if _, _, err := target.MirrorPositions(t.Context(), m, source); err == nil {
		t.Error("offsets of another cluster were taken")
	}
	delivered("primary", 9)
	more := m
	more.Topics = []string{"orders", "more"}
	if _, _, err := target.MirrorPositions(t.Context(), more, source); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a topic is missing at the source: %v, want fs.ErrNotExist", err)
	}
	src.Close()
	for name, source := range map[string]*kafka.Client{"dead source": source, "no source": nil} {
		at, silence, err := target.MirrorPositions(t.Context(), m, source)
		if err != nil || !reach.Unreachable(silence) {
			t.Errorf("%s: silence %v, error %v", name, silence, err)
		}
		_, drained := at[p0].Drained()
		_, expired := at[p0].Expired()
		if drained || expired || at[p0].Next != 10 || at[p0].Source != nil {
			t.Errorf("%s: position is %+v", name, at[p0])
		}
	}
	ahead := kafka.MirrorPosition{Delivered: true, Next: 5, Source: &kafka.Ends{Stable: 3, End: 5}}
	if drained, known := ahead.Drained(); drained || !known {
		t.Errorf("the mirror copied what is not committed yet: drained is %t, known %t", drained, known)
	}
	if expired, known := (kafka.MirrorPosition{Next: 3, Source: &kafka.Ends{Start: 4}}).Expired(); !expired || !known {
		t.Errorf("a record was deleted undelivered: expired is %t, known %t", expired, known)
	}
}
