package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"breakwater/internal/poll"
	"breakwater/internal/reach"
	"breakwater/lab/oracle"
)

func dial(broker string, who Login, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(broker),
		kgo.ClientID("lab-traffic"),
		kgo.SASL(plain.Auth{User: who.User, Pass: who.Password}.AsMechanism()),
		kgo.DialTimeout(time.Second),
		kgo.RequestTimeoutOverhead(2 * time.Second),
		kgo.RetryTimeout(2 * time.Second),
		// A topic may be created anew, or get a partition more.
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.MetadataMaxAge(2 * time.Second),
	}, opts...)...)
}

// classify gives a broker's refusal its usual sentinel, and marks no answer.
func classify(err error) error {
	if err == nil {
		return nil
	}
	for _, no := range []error{kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed} {
		if errors.Is(err, no) {
			return fmt.Errorf("%w: %w", err, fs.ErrPermission)
		}
	}
	var protocol *kerr.Error
	if errors.As(err, &protocol) {
		return err
	}
	// Whatever did not come from a broker means that none answered.
	return fmt.Errorf("%w: %w", err, reach.ErrUnreachable)
}

// producer sends the messages of one topic with acks=all.
type producer struct {
	region  string
	topic   Topic
	client  *kgo.Client
	journal *oracle.Journal
	pace    pace
	nextID  int64
	pending sync.WaitGroup // messages whose fate is not known yet

	gate  sync.RWMutex // held while messages are under way
	log   int          // how often the topic was created anew
	quiet atomic.Bool  // the last partition gets none
}

func openProducer(r Region, t Topic, j *oracle.Journal) (*producer, error) {
	p := &producer{
		region: r.Name, topic: t, journal: j,
		pace: pace{rate: t.PeakMessages * ShareOfTraffic}, nextID: time.Now().UnixNano(),
	}
	return p, p.open(r)
}

// open connects to the region's broker.
func (p *producer) open(r Region) error {
	c, err := dial(r.Kafka.Broker, r.Kafka.Producer,
		kgo.DefaultProduceTopic(p.topic.Name), kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(p.partitioner)), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordDeliveryTimeout(3*time.Second),
		// Messages under way to a broker that died are given up, their fate unknown.
		kgo.AllowIdempotentProduceCancellation(), kgo.UnknownTopicRetries(-1))
	if err != nil {
		return fmt.Errorf("produce to topic %s: %w", p.topic.Name, err)
	}
	p.client = c
	return nil
}

// partitioner spreads keys.
func (p *producer) partitioner(string) func(*kgo.Record, int) int {
	return func(r *kgo.Record, n int) int {
		if p.quiet.Load() {
			n--
		}
		return int(crc32.ChecksumIEEE(r.Key) % uint32(n)) //nolint:gosec // few partitions
	}
}

// close gives up what is under way and returns when nothing is.
func (p *producer) close() {
	p.client.Close()
	p.pending.Wait()
}

// batch counts what became of messages that were sent together.
type batch struct {
	mu    sync.Mutex
	left  int
	acked int
	err   error // the first
	done  chan struct{}
}

func (b *batch) add(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.acked++
	} else if b.err == nil {
		b.err = err
	}
	if b.left--; b.left == 0 {
		close(b.done)
	}
}

// send sends n messages and waits until all are acknowledged and the oracle has
// them, at most so long: the client itself waits longer for a broker that died.
func (p *producer) send(ctx context.Context, n int, most time.Duration) (acked int, err error) {
	if err := p.pace.wait(ctx, n); err != nil {
		return 0, err
	}
	p.gate.RLock()
	defer p.gate.RUnlock()
	b := &batch{left: n, done: make(chan struct{})}
	for range n {
		key := strconv.FormatInt(p.nextID, 10)
		at := key
		if p.topic.Odd.Compacted {
			at = CompactedKey(key)
		}
		p.nextID++
		value, err := json.Marshal(map[string]string{"id": key, "payload": payload(200)})
		if err != nil {
			return 0, err
		}
		now := time.Now().Truncate(time.Millisecond)
		m := oracle.Message{Region: p.region, Topic: p.topic.Name, Key: key, Sum: oracle.Sum(value), Time: now, Log: p.log}
		if err := p.journal.Sent(m); err != nil {
			return 0, err
		}
		p.pending.Add(1)
		p.client.Produce(ctx, &kgo.Record{Key: []byte(at), Value: value, Timestamp: now}, func(r *kgo.Record, err error) {
			go func() { // callbacks come one after the other, and a sync is shared by all who wait
				defer p.pending.Done()
				if err == nil {
					m.Partition, m.Offset = r.Partition, r.Offset
					err = p.journal.Delivered(m)
				}
				b.add(err)
			}()
		})
	}
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-b.done:
	case <-ctx.Done():
	case <-late.C:
		err = fmt.Errorf("produce to topic %s: no answer in %s: %w", p.topic.Name, most, reach.ErrUnreachable)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil && b.err != nil {
		err = fmt.Errorf("produce to topic %s: %w", p.topic.Name, classify(b.err))
	}
	return b.acked, errors.Join(err, ctx.Err())
}

func (p *producer) run(ctx context.Context, o Options, c *counts) error {
	const together = 5
	alive := pulse{patience: o.Patience}
	for {
		began := time.Now()
		if poll.Wait(ctx, time.Duration(together/o.Messages*float64(time.Second))) != nil {
			return nil
		}
		acked, err := p.send(ctx, together, o.Patience)
		c.messages.Add(int64(acked))
		switch {
		case err == nil:
			alive.answered()
		case ctx.Err() != nil:
			return nil
		case kindOf(err) == unreachable:
			if alive.silentSince(began) {
				c.died("topic " + p.topic.Name)
				return nil
			}
		case kindOf(err) == denied:
			alive.answered()
			c.refused.Add(1)
		default:
			c.failed(err)
		}
	}
}

func (p *producer) seed(ctx context.Context, messages int, c *counts) error {
	for messages > 0 {
		n, err := p.send(ctx, min(messages, 50), 20*time.Second)
		c.messages.Add(int64(n))
		if err != nil {
			return err
		}
		messages -= n
	}
	return nil
}

// consumer processes the messages of one topic and commits what it processed.
type consumer struct {
	region  string
	topic   Topic
	client  *kgo.Client
	journal *oracle.Journal

	gate sync.RWMutex // held from the reading of messages to the commit
	log  int          // how often the topic was created anew
}

func openConsumer(r Region, t Topic, j *oracle.Journal) (*consumer, error) {
	q := &consumer{region: r.Name, topic: t, journal: j}
	return q, q.open(r)
}

// open connects to the region's broker.
func (q *consumer) open(r Region) error {
	t := q.topic
	c, err := dial(r.Kafka.Broker, r.Kafka.Consumer,
		kgo.ConsumerGroup(t.ConsumerGroup), kgo.ConsumeTopics(t.Name), kgo.DisableAutoCommit(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(250*time.Millisecond), kgo.SessionTimeout(6*time.Second),
		// A static member: the next consumer takes its place at once, although this
		// one did not leave before its region died.
		kgo.InstanceID("lab-"+t.ConsumerGroup))
	if err != nil {
		return fmt.Errorf("consume topic %s: %w", t.Name, err)
	}
	q.client = c
	return nil
}

func (q *consumer) close() { q.client.CloseAllowingRebalance() }

func (q *consumer) run(ctx context.Context, o Options, c *counts) error {
	alive := pulse{patience: o.Patience}
	for {
		fetches, err := q.once(ctx, c)
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case err == nil:
			alive.answered()
			for _, e := range fetches.Errors() {
				if errors.Is(e.Err, context.DeadlineExceeded) || e.Err == nil {
					continue
				}
				if err := classify(e.Err); kindOf(err) == denied {
					c.refused.Add(1)
				}
			}
		case ctx.Err() != nil:
			return nil
		case kindOf(classify(err)) == unreachable:
			if alive.silent() {
				c.died("consumer group " + q.topic.ConsumerGroup)
				return nil
			}
		case kindOf(classify(err)) == denied:
			c.refused.Add(1)
		default:
			c.failed(fmt.Errorf("consumer group %s: %w", q.topic.ConsumerGroup, err))
		}
		// A pause makes commits of many messages instead of one each.
		if poll.Wait(ctx, 200*time.Millisecond) != nil {
			return nil
		}
	}
}

// once reads and commits; without a message it asks whether the broker answers.
func (q *consumer) once(ctx context.Context, c *counts) (kgo.Fetches, error) {
	q.gate.RLock()
	defer q.gate.RUnlock()
	asked, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	fetches := q.client.PollFetches(asked)
	cancel()
	if n := fetches.NumRecords(); n > 0 && ctx.Err() == nil {
		return fetches, q.commit(ctx, c, n)
	}
	ping, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return fetches, q.client.Ping(ping)
}

// commit commits what was polled, which counts as processed, and journals it.
func (q *consumer) commit(ctx context.Context, c *counts, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	offsets := q.client.UncommittedOffsets()
	if err := q.client.CommitUncommittedOffsets(ctx); err != nil {
		return err
	}
	c.consumed.Add(int64(n))
	for topic, partitions := range offsets {
		for id, at := range partitions {
			if err := q.journal.Committed(oracle.Consumed{
				Region: q.region, Group: q.topic.ConsumerGroup, Topic: topic, Partition: id, Offset: at.Offset, Time: time.Now(), Log: q.log,
			}); err != nil {
				return err
			}
		}
	}
	return nil
}
