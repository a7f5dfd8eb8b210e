package kafka_test

import (
	"context"
	"errors"
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
	"breakwater/internal/mirror"
	"breakwater/internal/mirror/mm2"
	"breakwater/internal/poll"
	labkafka "breakwater/lab/kafka"
	"breakwater/lab/server"
)

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
				Dir: filepath.Join(dir, name), Jars: jars, Name: name, Users: users, MirrorVia: via, Bound: true,
			})
			if err != nil {
				return err
			}
			*into = b
			t.Cleanup(func() { stop(t, b.Server) })
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
		Dir: filepath.Join(dir, "connect"), Jars: jars, Name: "standby", Broker: l.standby.Admin(), Bound: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop(t, l.connect.Server)
		if text, err := os.ReadFile(l.connect.Command.Log); t.Failed() && err == nil {
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
	for name, n := range map[string]int32{topic: partitions, suiteTopic: 2} {
		if err := l.primary.CreateTopic(t.Context(), name, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := ready(t, l.connect.Ready); err != nil {
		t.Fatal(err)
	}
	lap("connect is ready")
	if err := labkafka.PutMirror(t.Context(), l.connect.URL(), labkafka.MirrorConfig{
		Source: "primary", Target: "standby", SourceBroker: l.primary.MirrorAddress(), TargetBroker: l.standby.Admin(),
		Topics: []string{topic, suiteTopic},
	}); err != nil {
		t.Fatal(err)
	}
	dst := newClient(t, l.standby.Admin())
	eventually(t, "the mirror makes the topics", func(ctx context.Context) error {
		_, err := dst.Partitions(ctx, topic, suiteTopic)
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

func of(cps []mirror.Checkpoint, group string) []mirror.Checkpoint {
	var out []mirror.Checkpoint
	for _, c := range cps {
		if c.Group == group && c.Partition.Topic == topic {
			out = append(out, c)
		}
	}
	return out
}

func eventually(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var last error
	if poll.Until(ctx, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		err := try(ctx)
		if ctx.Err() == nil { // the deadline's own error would hide why
			last = err
		}
		return err == nil, nil
	}) != nil {
		t.Fatalf("waited in vain until %s: %v", what, last)
	}
}

func ready(t *testing.T, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	return probe(ctx)
}

func stop(t *testing.T, s *server.Server) {
	if err := s.Kill(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// mirror is the pair's mirror, as the product sees it.
func (l *pair) mirror(t *testing.T, target *kafka.Client) *mm2.Mirror {
	t.Helper()
	w, err := mm2.NewWorker(l.connect.URL(), mm2.Login{})
	if err != nil {
		t.Fatal(err)
	}
	return mm2.New(mm2.Config{
		Worker: w, Source: labkafka.SourceConnector, Checkpoint: labkafka.CheckpointConnector,
		Connectors:   []string{labkafka.SourceConnector, labkafka.CheckpointConnector, labkafka.HeartbeatConnector},
		OffsetsTopic: labkafka.OffsetsTopic, Alias: "primary", Target: func(context.Context) (*kafka.Client, error) { return target, nil },
	})
}
