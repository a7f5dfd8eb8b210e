package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"golang.org/x/sync/errgroup"

	"breakwater/internal/kafka"
	"breakwater/internal/kafka/connect"
	"breakwater/internal/reach"
	labkafka "breakwater/lab/kafka"
)

const (
	topic      = "orders"
	partitions = 3
	lost       = 50 // per partition
)

// TestPair takes a real pair with MirrorMaker 2 through a failover: produce,
// consume and commit, mirror, SIGKILL of the primary, and from the standby
// alone the positions, the plan and the placing of groups, of which Kafka's own
// command must think the same. Then the primary comes back and says whether what
// was claimed about the loss was true.
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
	lap("the mirror has made the topic")

	// Groups commit while syncs flow, as in production; a bulk copy has hardly any.
	producer := l.producer(t)
	sent := produce(t, producer, 0, 40, 10)
	lap("%d records per partition produced", sent)
	src := newClient(t, l.primary.Admin())
	dst := newClient(t, l.standby.Admin())
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

	mirror := kafka.Mirror{Source: "primary", Connector: labkafka.SourceConnector, OffsetsTopic: labkafka.OffsetsTopic, Topics: []string{topic}}
	eventually(t, "the mirror is drained", func(ctx context.Context) error {
		at, silence, err := dst.MirrorPositions(ctx, mirror, src)
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
		cps, err := dst.Checkpoints(ctx, "primary")
		if err != nil {
			return err
		}
		if n := len(of(cps, "whole")); n < partitions {
			return fmt.Errorf("%d checkpoints", n)
		}
		beats, err := dst.Heartbeats(ctx, "primary")
		if err == nil && len(beats) == 0 {
			err = errors.New("no heartbeat yet")
		}
		return err
	})
	lap("checkpoints and heartbeats have arrived over %d connections through the proxy", l.proxy.count.Load())
	if l.proxy.count.Load() == 0 {
		t.Error("nothing went through the proxy that the MIRROR listener advertises")
	}
	for name, p := range map[string]*labkafka.Process{"primary": l.primary.Process, "standby": l.standby.Process, "connect": l.connect.Process} {
		rss, err := p.RSS()
		if err != nil {
			t.Error(err)
		}
		t.Logf("memory of %s: %d MB", name, rss>>20)
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
	worker, err := connect.New(l.connect.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for _, name := range []string{labkafka.SourceConnector, labkafka.CheckpointConnector, labkafka.HeartbeatConnector} {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			s, err := worker.Stop(ctx, name)
			lap("stopped %s: %v", name, s)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}

	at, silence, err := dst.MirrorPositions(t.Context(), mirror, src)
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
		if pos.Newest.Before(began) || pos.Newest.After(killed) {
			t.Errorf("%v: newest mirrored record is of %v, want between %v and %v", p, pos.Newest, began, killed)
		}
		t.Logf("%v: next %d of %d, target %+v, newest %v before the kill", p, pos.Next, acked, pos.Target, killed.Sub(pos.Newest))
	}
	fromREST(t, worker, at)
	place(t, l, dst, at, map[string]int64{"whole": int64(sent), "half": int64(sent / 2), "begun": 1})
	lap("groups are placed, and kafka-consumer-groups agrees")

	back, err := labkafka.StartBroker(t.Context(), l.primary.Config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, back.Process) })
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
}

// place plans and commits every group and holds the result against the records
// themselves and against Kafka's own command.
func place(t *testing.T, l *pair, dst *kafka.Client, at map[kafka.Partition]kafka.MirrorPosition, commits map[string]int64) {
	t.Helper()
	cps, err := dst.Checkpoints(t.Context(), "primary")
	if err != nil {
		t.Fatal(err)
	}
	syncs, err := dst.OffsetSyncs(t.Context(), "primary")
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for group, commit := range commits {
		in := make(map[kafka.Partition]kafka.Place)
		for p, pos := range at {
			in[p] = kafka.Place{Start: pos.Target.Start, End: pos.Target.Stable, Syncs: syncs[p]}
		}
		for _, cp := range of(cps, group) {
			pl := in[cp.Partition]
			pl.Checkpoint = &cp
			in[cp.Partition] = pl
		}
		plan, err := kafka.PlanGroup(in)
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
	wrong, err := kafka.New(kafka.Config{Brokers: []string{l.standby.Client()}, User: "consumer", Password: "wrong"})
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	if _, err := wrong.ClusterID(t.Context()); !errors.Is(err, fs.ErrPermission) || reach.Unreachable(err) {
		t.Errorf("with a wrong password: %v, want fs.ErrPermission and not unreachable", err)
	}
	if _, err := dst.GroupState(t.Context(), "nobody"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("state of an unknown group: %v, want fs.ErrNotExist", err)
	}
}

// fromREST holds the positions read from the topic against those that the
// stopped worker tells.
func fromREST(t *testing.T, worker *connect.Client, at map[kafka.Partition]kafka.MirrorPosition) {
	t.Helper()
	offsets, err := worker.Offsets(t.Context(), labkafka.SourceConnector)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, o := range offsets {
		if o.Topic != topic {
			continue
		}
		seen++
		if p := (kafka.Partition{Topic: o.Topic, ID: o.Partition}); at[p].Next != o.Delivered+1 {
			t.Errorf("%v: the worker says %d was delivered, its topic says next is %d", p, o.Delivered, at[p].Next)
		}
	}
	if seen != partitions {
		t.Errorf("the worker tells of %d partitions, want %d: %+v", seen, partitions, offsets)
	}
	if err := worker.PatchOffsets(t.Context(), labkafka.SourceConnector, offsets); err != nil {
		t.Errorf("set the same offsets: %v", err)
	}
}

type pair struct {
	jars             string
	primary, standby *labkafka.Broker
	connect          *labkafka.Connect
	proxy            *proxy
}

// startPair starts everything, with the mirror's way to the primary through a proxy.
func startPair(t *testing.T, jars string, lap func(string, ...any)) *pair {
	t.Helper()
	l := &pair{jars: jars, proxy: newProxy(t)}
	dir := t.TempDir()
	users := map[string]string{"producer": "producer-pw", "consumer": "consumer-pw"}
	var g errgroup.Group
	start := func(name, via string, into **labkafka.Broker) {
		g.Go(func() error {
			b, err := labkafka.StartBroker(t.Context(), labkafka.Config{
				Dir: filepath.Join(dir, name), Jars: jars, Name: name, Users: users, MirrorVia: via,
			})
			if err != nil {
				return err
			}
			*into = b
			t.Cleanup(func() { stop(t, b.Process) })
			return ready(t, b.Ready)
		})
	}
	start("primary", l.proxy.Addr().String(), &l.primary)
	start("standby", "", &l.standby)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	l.proxy.to.Store(l.primary.MirrorListen())
	lap("both brokers are ready")
	if _, err := labkafka.StartBroker(t.Context(), l.standby.Config); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second broker on the same folder: %v, want fs.ErrExist", err)
	}
	if b, err := labkafka.OpenBroker(l.standby.Config); err != nil || b.Pid != l.standby.Pid || b.Admin() != l.standby.Admin() {
		t.Errorf("open the running broker: %+v, %v", b, err)
	}
	var err error
	l.connect, err = labkafka.StartConnect(t.Context(), labkafka.ConnectConfig{
		Dir: filepath.Join(dir, "connect"), Jars: jars, Name: "standby", Broker: l.standby.Admin(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop(t, l.connect.Process)
		if text, err := os.ReadFile(l.connect.Log); t.Failed() && err == nil {
			t.Logf("the worker's log:\n%s", text)
		}
	})
	for _, b := range []*labkafka.Broker{l.primary, l.standby} {
		if err := errors.Join(
			b.AllowProduce(t.Context(), "producer", topic),
			b.AllowConsume(t.Context(), "consumer", topic, "whole"),
		); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.primary.CreateTopic(t.Context(), topic, partitions); err != nil {
		t.Fatal(err)
	}
	if err := ready(t, l.connect.Ready); err != nil {
		t.Fatal(err)
	}
	lap("connect is ready")
	if err := labkafka.PutMirror(t.Context(), l.connect.URL(), labkafka.MirrorConfig{
		Source: "primary", Target: "standby", SourceBroker: l.primary.MirrorAddress(), TargetBroker: l.standby.Admin(),
		Topics: []string{topic},
	}); err != nil {
		t.Fatal(err)
	}
	dst := newClient(t, l.standby.Admin())
	eventually(t, "the mirror makes the topic", func(ctx context.Context) error {
		_, err := dst.Partitions(ctx, topic)
		return err
	})
	return l
}

// proxy forwards to an address, once there is one, until it is cut.
type proxy struct {
	net.Listener
	to    atomic.Value // string
	count atomic.Int64 // connections made
	cut   chan struct{}
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: ln, cut: make(chan struct{})}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			go p.forward(in)
		}
	}()
	return p
}

func (p *proxy) forward(in net.Conn) {
	defer in.Close()
	addr, _ := p.to.Load().(string)
	out, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer out.Close()
	p.count.Add(1)
	ended := make(chan struct{}, 2)
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		ended <- struct{}{}
	}
	go pipe(in, out)
	go pipe(out, in)
	select {
	case <-ended:
	case <-p.cut:
	}
}

// Cut ends every connection and makes no new ones.
func (p *proxy) Cut() {
	p.to.Store("cut")
	close(p.cut)
}

func (l *pair) producer(t *testing.T) *kgo.Client {
	t.Helper()
	return raw(t, l.primary.Client(), "producer", kgo.RecordPartitioner(kgo.ManualPartitioner()))
}

// consume reads the topic in a group as the consumer's user and commits.
func (l *pair) consume(t *testing.T, group string, perPartition int) int {
	t.Helper()
	cl := raw(t, l.primary.Client(), "consumer", kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n := 0
	for n < perPartition*partitions {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatal(err)
		}
		n += f.NumRecords()
	}
	if err := cl.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	return n
}

// produce sends batches of records, each naming its place in its partition, and
// returns how many each partition then has.
func produce(t *testing.T, cl *kgo.Client, from, batches, size int) int {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range batches {
		var rs []*kgo.Record
		for i := range size {
			for p := range int32(partitions) {
				rs = append(rs, &kgo.Record{Topic: topic, Partition: p, Value: []byte(strconv.Itoa(from + i))})
			}
		}
		if err := cl.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		from += size
		if batches > 1 {
			<-tick.C
		}
	}
	return from
}

// firstAt reads the first committed record at or after an offset: its place in
// the source. If only control markers are left before end, it is the place after the last.
func firstAt(t *testing.T, b *labkafka.Broker, p kafka.Partition, offset, end, after int64) int64 {
	t.Helper()
	if offset >= end {
		return after
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Admin()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{p.Topic: {p.ID: kgo.NewOffset().At(offset)}}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for {
		f := cl.PollRecords(ctx, 1)
		if f.NumRecords() == 0 {
			t.Fatalf("no record of %v at %d or later: %v", p, offset, f.Err())
		}
		r := f.Records()[0]
		if r.Attrs.IsControl() {
			if r.Offset+1 >= end {
				return after
			}
			continue
		}
		n, err := strconv.ParseInt(string(r.Value), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}

func raw(t *testing.T, addr, user string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addr), kgo.SASL(plain.Auth{User: user, Pass: user + "-pw"}.AsMechanism()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func newClient(t *testing.T, addr string) *kafka.Client {
	t.Helper()
	cl, err := kafka.New(kafka.Config{Brokers: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func everywhere(offset int64) kafka.Offsets {
	o := make(kafka.Offsets)
	for p := range int32(partitions) {
		o[kafka.Partition{Topic: topic, ID: p}] = offset
	}
	return o
}

func of(cps []kafka.Checkpoint, group string) []kafka.Checkpoint {
	var out []kafka.Checkpoint
	for _, c := range cps {
		if c.Group == group && c.Topic == topic {
			out = append(out, c)
		}
	}
	return out
}

func eventually(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil { // the deadline's own error would hide why
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s: %v", what, last)
		case <-tick.C:
		}
	}
}

func ready(t *testing.T, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	return probe(ctx)
}

func stop(t *testing.T, p *labkafka.Process) {
	if err := p.Kill(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}
