// Package kafka reads one Apache Kafka cluster as a failover needs it: where each
// partition begins and ends, where its data end, what a topic holds, and where a
// consumer group stands. It changes four things alone: it commits and deletes the
// offsets of a consumer group, denies one user to commit for it, and sends a canary record.
//
// What is known of two clusters, of which one is a copy of the other, is in
// package mirror; where a group continues in the copy is decided in package place,
// and package hold keeps it there.
//
// # Errors
//
// No call waits for a silent broker longer than [Config].Timeout. An error that
// means that no answer came carries reach.ErrUnreachable; an unknown topic or
// group is fs.ErrNotExist, a refusal fs.ErrPermission. A nil error of the
// protocol's envelope proves nothing: every item's own error is looked at, and
// the first bad one is returned.
//
// # Offsets
//
// An offset here is always the position of the *next* record, as committed by
// consumers. Numbers are not counts: control markers, aborted and compacted
// records take numbers and are no data, so the end offsets of a topic and of its
// mirror are never comparable.
package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"breakwater/internal/reach"
)

// defaultTimeout is how long a call waits for a broker that does not answer.
const defaultTimeout = 3 * time.Second

// Config says how to reach a cluster. It is compared with nothing: that the
// right cluster answers is for the caller to check with [Client.ClusterID].
type Config struct {
	Brokers  []string // host:port, at least one
	ClientID string   // shown in brokers' logs and quotas; "breakwater" if empty

	User, Password string      // SASL; no authentication if User is empty
	Mechanism      string      // PLAIN (if empty), SCRAM-SHA-256 or SCRAM-SHA-512
	TLS            *tls.Config // no encryption if nil

	Timeout time.Duration // for one call without an answer; 3 s if 0
}

// Client reads one cluster. It connects when first used, and keeps the addresses
// that it learnt: after a failover a new client is needed.
type Client struct {
	opts    []kgo.Opt
	cl      *kgo.Client
	adm     *kadm.Client
	brokers string
	timeout time.Duration

	seeds     []string
	tls       bool
	mechanism string // of SASL; empty for none
}

// again is the pause before a broker is asked again.
const again = 100 * time.Millisecond

// New makes a client without connecting.
func New(c Config) (*Client, error) {
	name := strings.Join(c.Brokers, ",")
	if len(c.Brokers) == 0 {
		return nil, errors.New("kafka client: no brokers named: give at least one host:port")
	}
	if c.ClientID == "" {
		c.ClientID = "breakwater"
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(c.ClientID),
		kgo.DialTimeout(c.Timeout),
		// kgo retries for half a minute by default; within it nobody learns that
		// the region is gone.
		kgo.RetryTimeout(c.Timeout),
		kgo.RequestTimeoutOverhead(c.Timeout),
		kgo.RetryBackoffFn(func(int) time.Duration { return again }),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}
	if c.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(c.TLS.Clone()))
	}
	if c.User != "" {
		c.Mechanism = cmp.Or(c.Mechanism, "PLAIN")
		switch c.Mechanism {
		case "PLAIN":
			opts = append(opts, kgo.SASL(plain.Auth{User: c.User, Pass: c.Password}.AsMechanism()))
		case "SCRAM-SHA-256":
			opts = append(opts, kgo.SASL(scram.Auth{User: c.User, Pass: c.Password}.AsSha256Mechanism()))
		case "SCRAM-SHA-512":
			opts = append(opts, kgo.SASL(scram.Auth{User: c.User, Pass: c.Password}.AsSha512Mechanism()))
		default:
			return nil, fmt.Errorf("kafka client for %s: mechanism %q: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", name, c.Mechanism)
		}
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("kafka client for %s: %w", name, err)
	}
	known := &Client{opts: opts, cl: cl, adm: kadm.NewClient(cl), brokers: name, timeout: c.Timeout, seeds: c.Brokers, tls: c.TLS != nil}
	if c.User != "" {
		known.mechanism = c.Mechanism
	}
	return known, nil
}

// Close ends the connections.
func (c *Client) Close() { c.cl.Close() }

// ClusterID asks for the cluster's id. It is the cheapest proof that a broker
// answers, and must match before anything is changed.
func (c *Client) ClusterID(ctx context.Context) (string, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	// Without this kadm answers from its cache, also for a cluster that is gone.
	m, err := c.adm.BrokerMetadata(kadm.WithAuthorizedOps(ctx))
	if err != nil {
		return "", c.explain(ctx, "ask for the cluster id", err)
	}
	return m.Cluster, nil
}

// Partitions counts the partitions of each topic. A topic that does not exist is
// fs.ErrNotExist.
func (c *Client) Partitions(ctx context.Context, topics ...string) (map[string]int, error) {
	if len(topics) == 0 {
		return nil, nil // kadm would list every topic
	}
	ctx, cancel := c.bound(ctx)
	defer cancel()
	found, err := c.adm.ListTopicsWithInternal(kadm.WithAuthorizedOps(ctx), topics...) // not from the cache
	if err != nil {
		return nil, c.explain(ctx, "list topics", err)
	}
	counts := make(map[string]int, len(topics))
	for _, name := range topics {
		d, ok := found[name]
		switch {
		case !ok:
			return nil, c.explain(ctx, "list topic "+name, kerr.UnknownTopicOrPartition)
		case d.Err != nil:
			return nil, c.explain(ctx, "list topic "+name, d.Err)
		}
		for _, p := range d.Partitions {
			if p.Err != nil {
				return nil, c.explain(ctx, fmt.Sprintf("list partition %d of topic %s", p.Partition, name), p.Err)
			}
		}
		counts[name] = len(d.Partitions)
	}
	return counts, nil
}

// TopicID is the id of a topic (KIP-516): one that was created anew has another. It is
// empty where the brokers are too old to give any. A topic that does not exist is
// fs.ErrNotExist.
func (c *Client) TopicID(ctx context.Context, topic string) (string, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	found, err := c.adm.ListTopicsWithInternal(kadm.WithAuthorizedOps(ctx), topic) // not from the cache
	if err == nil {
		err = found[topic].Err
		if _, ok := found[topic]; !ok {
			err = kerr.UnknownTopicOrPartition
		}
	}
	if err != nil || found[topic].ID == (kadm.TopicID{}) {
		return "", c.explain(ctx, "ask for the id of topic "+topic, err)
	}
	return found[topic].ID.String(), nil
}

// errSilent is the cause of a deadline set here: it says whose patience ended.
var errSilent = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)

// bound limits one call.
func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, c.timeout, errSilent)
}

// explain gives an error the house's sentinels and names what was being done.
func (c *Client) explain(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if why := c.closed(ctx, err); why != nil {
		return fmt.Errorf("kafka %s: %s: %w (%s)", c.brokers, doing, why, err.Error())
	}
	return fmt.Errorf("kafka %s: %s: %w", c.brokers, doing, classify(err))
}

// classify adds the sentinel of err's class to its chain.
func classify(err error) error {
	// Several brokers were asked: any broker's refusal says more than another's silence.
	if many := (*kadm.ShardErrors)(nil); errors.As(err, &many) {
		for _, one := range many.Errs {
			if one.Err != nil {
				err = fmt.Errorf("broker %d: %w", one.Broker.NodeID, one.Err)
				break
			}
		}
	}
	is := func(targets ...error) bool {
		return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
	}
	if why := unfit(err); why != nil {
		return why
	}
	switch {
	case is(kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.GroupIDNotFound):
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case is(kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.TransactionalIDAuthorizationFailed, kerr.SaslAuthenticationFailed):
		return fmt.Errorf("%w: %w", fs.ErrPermission, err)
	case is(kerr.UnknownMemberID, kerr.NonEmptyGroup, kerr.GroupSubscribedToTopic, kerr.IllegalGeneration, kerr.RebalanceInProgress):
		return fmt.Errorf("%w: %w", ErrGroupActive, err)
	case is(io.EOF, io.ErrUnexpectedEOF, kerr.LeaderNotAvailable, kerr.NotLeaderForPartition, kerr.BrokerNotAvailable,
		kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.RequestTimedOut, kerr.NetworkException,
		kgo.ErrRecordTimeout, kgo.ErrRecordRetries):
		// Somebody answered, but not whoever holds the data.
		return fmt.Errorf("%w: %w", reach.ErrUnreachable, err)
	}
	return reach.Mark(err)
}

// Partition names a partition. As text, also as a key in JSON, it is
// topic-number, as Kafka names its folders.
type Partition struct {
	Topic string
	ID    int32
}

var (
	_ encoding.TextMarshaler   = Partition{}
	_ encoding.TextUnmarshaler = (*Partition)(nil)
)

func (p Partition) String() string { return p.Topic + "-" + strconv.Itoa(int(p.ID)) }

// MarshalText writes topic-number.
func (p Partition) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads topic-number; the last dash is the one that counts.
func (p *Partition) UnmarshalText(text []byte) error {
	s := string(text)
	i := strings.LastIndexByte(s, '-')
	if i <= 0 {
		return fmt.Errorf("partition %q: want topic-number", s)
	}
	id, err := strconv.ParseInt(s[i+1:], 10, 32)
	if err != nil || id < 0 || s[i+1] == '+' {
		return fmt.Errorf("partition %q: want topic-number", s)
	}
	p.Topic, p.ID = s[:i], int32(id)
	return nil
}

// Compare orders by topic, then number.
func (p Partition) Compare(q Partition) int {
	if c := strings.Compare(p.Topic, q.Topic); c != 0 {
		return c
	}
	return int(p.ID) - int(q.ID)
}

// Offsets are positions by partition: the next record to read.
type Offsets map[Partition]int64
