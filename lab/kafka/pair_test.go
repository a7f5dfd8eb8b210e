package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"breakwater/internal/kafka"
	"breakwater/internal/kafka/place"
	"breakwater/internal/mirror"
	"breakwater/internal/mirror/mirrortest"
	"breakwater/internal/mirror/mm2"
	"breakwater/internal/reach"
	labkafka "breakwater/lab/kafka"
	"breakwater/lab/server"
)

const (
	topic      = "orders"
	suiteTopic = "orders-of-the-suite"
	partitions = 3
	lost       = 50 // per partition
)

// TestPair takes a real pair with MirrorMaker 2 through a failover: produce,
// consume and commit, mirror, SIGKILL of the primary, and from the standby
// alone the positions, the plan and the placing of groups, of which Kafka's own
// command must think the same. Then the primary comes back and says whether what
// was claimed about the loss was true. Under torture the mirror first passes the suite
// of its port, while both clusters live.
func TestPair(t *testing.T) {
	began := time.Now()
	lap := func(what string, args ...any) {
		t.Helper()
		t.Logf("%5.1f s  %s", time.Since(began).Seconds(), fmt.Sprintf(what, args...))
	}
	jars, err := labkafka.Jars()
	if err != nil {
		t.Fatal(err)
	}
	l := startPair(t, jars, lap)
	lap("the mirror has made the topics")
	src := newClient(t, l.primary.Admin())
	dst := newClient(t, l.standby.Admin())
	m := l.mirror(t, dst)
	if os.Getenv("BREAKWATER_TORTURE") != "" { // most of a minute; each time, a stand-in passes it beside the mirror
		cl := l.producer(t)
		suite := mirrortest.Between(m, src, dst, suiteTopic, func(ctx context.Context, p kafka.Partition) error {
			return cl.ProduceSync(ctx, &kgo.Record{Topic: p.Topic, Partition: p.ID, Value: []byte("x")}).FirstErr()
		})
		suite.Patience, suite.Quiet = 30*time.Second, 3*time.Second
		mirrortest.Run(t, suite)
		lap("the mirror has passed its port's suite")
	}

	// Groups commit while syncs flow, as in production; a bulk copy has hardly any.
	producer := l.producer(t)
	sent := produce(t, producer, 0, 40, 10)
	lap("%d records per partition produced", sent)
	if err := src.CommitOffsets(t.Context(), "half", everywhere(int64(sent/2))); err != nil {
		t.Fatal(err)
	}
	if read := l.consume(t, "whole", sent); read != sent*partitions {
		t.Fatalf("the consumer read %d records, want %d", read, sent*partitions)
	}
	if err := src.CommitOffsets(t.Context(), "begun", everywhere(1)); err != nil {
		t.Fatal(err)
	}
	lap("groups have committed")

	eventually(t, "the mirror is drained", func(ctx context.Context) error {
		at, silence, err := m.Positions(ctx, src, topic)
		if err != nil || silence != nil {
			return errors.Join(err, silence)
		}
		for p, pos := range at {
			if drained, known := pos.Drained(); !drained || !known {
				return fmt.Errorf("%v: next %d, source %+v", p, pos.Next, pos.Source)
			}
		}
		return nil
	})
	lap("the mirror is drained")
	// A group far behind may never get one: MirrorMaker does not translate what is
	// before the oldest sync that it remembers.
	eventually(t, "there are checkpoints of the group that read all, and a heartbeat", func(ctx context.Context) error {
		known, err := m.Translation(ctx)
		if err != nil {
			return err
		}
		if n := len(of(known.Checkpoints, "whole")); n < partitions {
			return fmt.Errorf("%d checkpoints", n)
		}
		beats, err := dst.Ends(ctx, "primary.heartbeats")
		if err == nil && beats[kafka.Partition{Topic: "primary.heartbeats"}].End == 0 {
			err = errors.New("no heartbeat yet")
		}
		return err
	})
	lap("checkpoints and heartbeats have arrived over %d connections through the proxy", l.proxy.count.Load())
	if l.proxy.count.Load() == 0 {
		t.Error("nothing went through the proxy that the MIRROR listener advertises")
	}
	for name, p := range map[string]*server.Server{"primary": l.primary.Server, "standby": l.standby.Server, "connect": l.connect.Server} {
		if rss := p.RSS(); rss == 0 {
			t.Errorf("%s does not run", name)
		} else {
			t.Logf("memory of %s: %d MB", name, rss>>20)
		}
	}

	// What is written after the line is cut dies with the primary.
	l.proxy.Cut()
	acked := produce(t, producer, sent, 1, lost)
	killed := time.Now()
	if err := l.primary.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	lap("killed the primary; %d records per partition are acknowledged", acked)
	asked := time.Now()
	if _, err := src.ClusterID(t.Context()); !reach.Unreachable(err) {
		t.Errorf("the dead primary's id: %v, want unreachable", err)
	}
	if took := time.Since(asked); took > 5*time.Second {
		t.Errorf("it took %v to find the primary dead", took)
	}
	var g errgroup.Group
	for _, name := range m.Links() {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			err := m.Stop(ctx, name)
			lap("stopped %s", name)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}

	at, silence, err := m.Positions(t.Context(), src, topic)
	if err != nil || !reach.Unreachable(silence) || len(at) != partitions {
		t.Fatalf("positions with a dead source: %v, silence %v, error %v", at, silence, err)
	}
	for p, pos := range at {
		if _, known := pos.Drained(); known || pos.Source != nil {
			t.Errorf("%v: something is claimed to be known about the dead source: %+v", p, pos)
		}
		if pos.Next != int64(sent) {
			t.Errorf("%v: delivered up to %d, want %d", p, pos.Next, sent)
		}
		if pos.Newest.Newest.Before(began) || pos.Newest.Newest.After(killed) {
			t.Errorf("%v: newest mirrored record is of %v, want between %v and %v", p, pos.Newest, began, killed)
		}
		t.Logf("%v: next %d of %d, target %+v, newest %v before the kill", p, pos.Next, acked, pos.Target, killed.Sub(pos.Newest.Newest))
	}
	told(t, m, at)
	placed(t, l, m, dst, at, map[string]int64{"whole": int64(sent), "half": int64(sent / 2), "begun": 1})
	lap("groups are placed, and kafka-consumer-groups agrees")
	canary(t, l)
	lap("a canary went through")

	back, err := labkafka.StartBroker(t.Context(), l.primary.Config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, back.Server) })
	if err := ready(t, back.Ready); err != nil {
		t.Fatal(err)
	}
	lap("the primary is back")
	if back.Admin() != l.primary.Admin() || back.ClusterID() != l.primary.ClusterID() {
		t.Errorf("came back as %s at %s, was %s at %s", back.ClusterID(), back.Admin(), l.primary.ClusterID(), l.primary.Admin())
	}
	from := make(kafka.Offsets)
	for p, pos := range at {
		from[p] = pos.Next
	}
	left, err := newClient(t, back.Admin()).Remaining(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	for p, n := range left {
		if n != lost {
			t.Errorf("%v: the primary still has %d records from %d on, want %d", p, n, at[p].Next, lost)
		}
	}
	lap("records that had not come over: %v", left)
	found, err := labkafka.OpenBroker(l.primary.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := found.Stop(t.Context()); err != nil || found.Running() {
		t.Errorf("stop a broker that another command started: %v, runs %t", err, found.Running())
	}
	lap("stopped it")
}

// placed plans and commits every group and holds the result against the records
// themselves and against Kafka's own command.
func placed(t *testing.T, l *pair, m *mm2.Mirror, dst *kafka.Client, at map[kafka.Partition]mirror.Position, commits map[string]int64) {
	t.Helper()
	known, err := m.Translation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for group, commit := range commits {
		in := make(map[kafka.Partition]place.Facts)
		for p, pos := range at {
			in[p] = place.Facts{Start: pos.Target.Start, End: pos.Target.Stable, Numbers: known.Numbers[p]}
		}
		for _, cp := range of(known.Checkpoints, group) {
			pl := in[cp.Partition]
			pl.Checkpoint = &cp
			in[cp.Partition] = pl
		}
		plan, err := place.Group(in)
		if err != nil || len(plan) != partitions {
			t.Fatalf("plan %s: %v, %v", group, plan, err)
		}
		want := make(kafka.Offsets)
		near := commit
		for _, pl := range plan {
			want[pl.Partition] = pl.Offset
			t.Logf("%s in %v: %d of %d (%s: %s)", group, pl.Partition, pl.Offset, at[pl.Partition].Target.End, pl.Reason, pl.Why)
			first := firstAt(t, l.standby, pl.Partition, pl.Offset, at[pl.Partition].Target.Stable, at[pl.Partition].Next)
			if first > commit {
				t.Errorf("%s in %v: continues with record %d, had processed up to %d: records are skipped", group, pl.Partition, first, commit)
			}
			near = min(near, commit-first)
		}
		// How many records come again depends on when syncs were written, and in one
		// partition it may be all of them; hardly in every one.
		if group == "whole" && near > 200 {
			t.Errorf("%s: at least %d records come again in every partition", group, near)
		}
		for range 2 { // a second time changes nothing
			if err := dst.CommitOffsets(t.Context(), group, want); err != nil {
				t.Fatal(err)
			}
		}
		g.Go(func() error {
			rows, err := labkafka.DescribeGroup(t.Context(), l.jars, l.standby.Admin(), group)
			if err != nil {
				return err
			}
			for p, o := range want {
				if row, ok := rows[p]; !ok || row.Committed != o || row.End != at[p].Target.End {
					return fmt.Errorf("kafka-consumer-groups shows %s in %v at %+v, want %d of %d", group, p, row, o, at[p].Target.End)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := dst.GroupState(t.Context(), "nobody"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("state of an unknown group: %v, want fs.ErrNotExist", err)
	}
}

// canary sends a record through the standby with the users' own credentials.
func canary(t *testing.T, l *pair) {
	t.Helper()
	as := func(user, password string) *kafka.Client {
		cl, err := kafka.New(kafka.Config{Brokers: []string{l.standby.Client()}, User: user, Password: password})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	sent, err := as("producer", "producer-pw").SendCanary(t.Context(), topic, "run-1", "key", []byte("0"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := as("consumer", "consumer-pw").FindCanary(t.Context(), sent)
	if err != nil || found != sent {
		t.Errorf("sent %+v, found %+v, %v", sent, found, err)
	}
	if _, err := as("consumer", "consumer-pw").SendCanary(t.Context(), topic, "run-1", "other", nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a canary by who may only read: %v, want fs.ErrPermission", err)
	}
	if _, err := as("consumer", "wrong").ClusterID(t.Context()); !errors.Is(err, fs.ErrPermission) || reach.Unreachable(err) {
		t.Errorf("with a wrong password: %v, want fs.ErrPermission and not unreachable", err)
	}
}

// told holds the positions read from the topic against those that the stopped
// worker tells.
func told(t *testing.T, m *mm2.Mirror, at map[kafka.Partition]mirror.Position) {
	t.Helper()
	next, err := m.Delivered(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for p, n := range next {
		if p.Topic != topic {
			continue
		}
		seen++
		if at[p].Next != n {
			t.Errorf("%v: the worker says that %d is next, its topic says %d", p, n, at[p].Next)
		}
	}
	if seen != partitions {
		t.Errorf("the worker tells of %d partitions, want %d: %+v", seen, partitions, next)
	}
}
