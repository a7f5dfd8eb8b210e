package tap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// cluster stands before the brokers of a Kafka, each of which has an address of its own
// there: a client goes where the brokers' answers lead it.
type cluster struct {
	tap    *Tap
	tb     testing.TB
	region string

	mu      sync.Mutex
	fronts  map[string]string   // a broker's address, and that of its front
	topics  map[[16]byte]string // by their ids, which newer requests have in place of names
	closers []io.Closer
	ended   bool
}

// kafka stands before brokers, and returns its own addresses for them.
func (t *Tap) kafka(tb testing.TB, brokers []string, region string) []string {
	tb.Helper()
	c := &cluster{tap: t, tb: tb, region: region, fronts: map[string]string{}, topics: map[[16]byte]string{}}
	tb.Cleanup(c.close)
	var own []string
	for _, b := range brokers {
		front, err := c.front(b)
		if err != nil {
			tb.Fatal(err)
		}
		own = append(own, front)
	}
	return own
}

func (c *cluster) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for _, each := range c.closers {
		_ = each.Close()
	}
}

// keep has something closed in the end.
func (c *cluster) keep(what io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		_ = what.Close()
		return
	}
	c.closers = append(c.closers, what)
}

// front is the address that stands for a broker's.
func (c *cluster) front(broker string) (string, error) {
	c.mu.Lock()
	own, ok := c.fronts[broker]
	c.mu.Unlock()
	if ok {
		return own, nil
	}
	l, err := (&net.ListenConfig{}).Listen(c.tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	if own, ok = c.fronts[broker]; !ok { // nobody was faster
		own = l.Addr().String()
		c.fronts[broker] = own
	}
	c.mu.Unlock()
	c.keep(l)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // it is over
			}
			c.keep(client)
			server, err := net.Dial("tcp", broker) //nolint:noctx // it ends with the other end
			if err != nil {
				_ = client.Close()
				continue
			}
			c.keep(server)
			p := &pipe{cluster: c, asked: map[int32]kmsg.Request{}}
			go p.run(client, server, p.request)
			go p.run(server, client, p.response)
		}
	}()
	return own, nil
}

// pipe is a connection between a client and a broker.
type pipe struct {
	*cluster
	mu    sync.Mutex
	asked map[int32]kmsg.Request // what waits for its answer, by correlation
}

// run passes messages on, each as handle gives it back, until one end is gone.
func (p *pipe) run(from, to net.Conn, handle func([]byte) ([]byte, error)) {
	defer from.Close() //nolint:errcheck // gone
	defer to.Close()   //nolint:errcheck // gone
	var size [4]byte
	for {
		if _, err := io.ReadFull(from, size[:]); err != nil {
			return
		}
		message := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(from, message); err != nil {
			return
		}
		message, err := handle(message)
		if err != nil {
			p.tap.saw("ask what cannot be read of the kafka of %s: %v", p.region, err)
			return
		}
		binary.BigEndian.PutUint32(size[:], uint32(len(message))) //nolint:gosec // as it came
		if _, err := to.Write(append(size[:], message...)); err != nil {
			return
		}
	}
}

var errShort = errors.New("it is too short")

// request remembers what was asked.
func (p *pipe) request(message []byte) ([]byte, error) {
	if len(message) < 10 {
		return nil, errShort
	}
	key, version := int16(binary.BigEndian.Uint16(message)), int16(binary.BigEndian.Uint16(message[2:])) //nolint:gosec // as it is written
	id := int32(binary.BigEndian.Uint32(message[4:]))                                                    //nolint:gosec // as it is written
	req := kmsg.RequestForKey(key)
	if req == nil {
		return nil, fmt.Errorf("nobody knows a request of kind %d", key)
	}
	req.SetVersion(version)
	rest := message[8:]
	if name := int(int16(binary.BigEndian.Uint16(rest))); name >= 0 { //nolint:gosec // as it is written
		rest = rest[min(2+name, len(rest)):]
	} else {
		rest = rest[2:]
	}
	if req.IsFlexible() {
		var err error
		if rest, err = tags(rest); err != nil {
			return nil, err
		}
	}
	if !big(key) {
		if err := req.ReadFrom(rest); err != nil {
			return nil, fmt.Errorf("%s: %w", kmsg.NameForKey(key), err)
		}
	}
	if r, ok := req.(*kmsg.ProduceRequest); ok && r.Acks == 0 { // nobody answers this
		p.changed(req, nil)
		return message, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[id] = req
	return message, nil
}

// tags skips the tagged fields of a header.
func tags(b []byte) ([]byte, error) {
	n, used := binary.Uvarint(b)
	if used <= 0 {
		return nil, errShort
	}
	b = b[used:]
	for range n {
		for i := range 2 { // its number, and its size
			v, used := binary.Uvarint(b)
			if used <= 0 {
				return nil, errShort
			}
			if b = b[used:]; i == 1 {
				if v > uint64(len(b)) {
					return nil, errShort
				}
				b = b[v:]
			}
		}
	}
	return b, nil
}

// big are requests whose content does not matter here.
func big(key int16) bool { return key == kmsg.Fetch.Int16() }

// response writes down what was changed, and leads the client to the fronts.
func (p *pipe) response(message []byte) ([]byte, error) {
	if len(message) < 4 {
		return nil, errShort
	}
	id := int32(binary.BigEndian.Uint32(message)) //nolint:gosec // as it is written
	p.mu.Lock()
	req := p.asked[id]
	delete(p.asked, id)
	p.mu.Unlock()
	if req == nil {
		return nil, errors.New("an answer to nothing")
	}
	key := kmsg.Key(req.Key())
	if questions[key] && key != kmsg.Metadata && key != kmsg.FindCoordinator && key != kmsg.DescribeCluster {
		return message, nil
	}
	rest := message[4:]
	if req.IsFlexible() {
		var err error
		if rest, err = tags(rest); err != nil {
			return nil, err
		}
	}
	head := message[:len(message)-len(rest)]
	res := req.ResponseKind()
	if err := res.ReadFrom(rest); err != nil {
		return nil, fmt.Errorf("the answer to %s: %w", key.Name(), err)
	}
	if questions[key] {
		if err := p.lead(res); err != nil {
			return nil, err
		}
		return res.AppendTo(append([]byte{}, head...)), nil
	}
	p.changed(req, res)
	return message, nil
}

// lead puts the fronts' addresses in place of the brokers'.
func (p *pipe) lead(res kmsg.Response) error {
	var errs error
	to := func(host *string, port *int32) {
		if *host == "" {
			return
		}
		front, err := p.front(net.JoinHostPort(*host, strconv.Itoa(int(*port))))
		h, text, splitErr := net.SplitHostPort(front)
		n, numErr := strconv.ParseInt(text, 10, 32)
		if errs = errors.Join(errs, err, splitErr, numErr); errs == nil {
			*host, *port = h, int32(n)
		}
	}
	switch r := res.(type) {
	case *kmsg.MetadataResponse:
		for i := range r.Brokers {
			to(&r.Brokers[i].Host, &r.Brokers[i].Port)
		}
		p.cluster.mu.Lock()
		defer p.cluster.mu.Unlock()
		for _, topic := range r.Topics {
			if topic.Topic != nil {
				p.topics[topic.TopicID] = *topic.Topic
			}
		}
	case *kmsg.FindCoordinatorResponse:
		to(&r.Host, &r.Port)
		for i := range r.Coordinators {
			to(&r.Coordinators[i].Host, &r.Coordinators[i].Port)
		}
	case *kmsg.DescribeClusterResponse:
		for i := range r.Brokers {
			to(&r.Brokers[i].Host, &r.Brokers[i].Port)
		}
	}
	return errs
}

// questions change nothing.
var questions = map[kmsg.Key]bool{}

func init() {
	for _, k := range []kmsg.Key{
		kmsg.Fetch, kmsg.ListOffsets, kmsg.Metadata, kmsg.OffsetFetch, kmsg.FindCoordinator, kmsg.DescribeGroups, kmsg.ListGroups,
		kmsg.SASLHandshake, kmsg.SASLAuthenticate, kmsg.ApiVersions, kmsg.OffsetForLeaderEpoch, kmsg.DescribeACLs, kmsg.DescribeConfigs, kmsg.DescribeCluster,
		kmsg.ConsumerGroupDescribe, kmsg.DescribeTransactions, kmsg.ListTransactions, kmsg.DescribeProducers, kmsg.DescribeTopicPartitions, kmsg.ShareGroupDescribe,
	} {
		questions[k] = true
	}
}

// right is an ACL in words.
func (p *pipe) right(may kmsg.ACLPermissionType, op kmsg.ACLOperation, who string, kind kmsg.ACLResourceType, name string) string {
	what := strings.ToLower(kind.String())
	if kind == kmsg.ACLResourceTypeGroup {
		what = "consumer group"
	}
	return fmt.Sprintf("%s %s to %s at %s %s in %s", strings.ToLower(may.String()), op, who, what, name, p.region)
}

// changed writes down what a request changed that was granted.
func (p *pipe) changed(req kmsg.Request, res kmsg.Response) {
	switch r := req.(type) {
	case *kmsg.OffsetCommitRequest:
		done, ok := res.(*kmsg.OffsetCommitResponse)
		for i, topic := range r.Topics {
			if topic.Topic == "" {
				p.cluster.mu.Lock()
				topic.Topic = p.topics[topic.TopicID]
				p.cluster.mu.Unlock()
			}
			for j, part := range topic.Partitions {
				if !ok || len(done.Topics) <= i || len(done.Topics[i].Partitions) <= j || done.Topics[i].Partitions[j].ErrorCode == 0 {
					p.tap.saw("commit consumer group %s in %s, %s-%d", r.Group, p.region, topic.Topic, part.Partition)
				}
			}
		}
	case *kmsg.OffsetDeleteRequest:
		for _, topic := range r.Topics {
			for _, part := range topic.Partitions {
				p.tap.saw("forget consumer group %s in %s, %s-%d", r.Group, p.region, topic.Topic, part.Partition)
			}
		}
	case *kmsg.CreateACLsRequest:
		done, ok := res.(*kmsg.CreateACLsResponse)
		for i, acl := range r.Creations {
			if !ok || len(done.Results) <= i || done.Results[i].ErrorCode == 0 {
				p.tap.saw("%s", p.right(acl.PermissionType, acl.Operation, acl.Principal, acl.ResourceType, acl.ResourceName))
			}
		}
	case *kmsg.DeleteACLsRequest:
		done, ok := res.(*kmsg.DeleteACLsResponse)
		if !ok {
			break
		}
		for _, result := range done.Results {
			for _, acl := range result.MatchingACLs {
				p.tap.saw("no longer %s", p.right(acl.PermissionType, acl.Operation, acl.Principal, acl.ResourceType, acl.ResourceName))
			}
		}
	default:
		p.tap.saw("ask the kafka of %s: %s", p.region, kmsg.NameForKey(req.Key()))
	}
}
