// Package kafkatest runs fake Kafka clusters, and writes to them, for the tests of
// everything that reads topics.
package kafkatest

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Cluster runs a fake cluster of one broker until the test ends. Consumers that join
// a group in it do not wait for others.
func Cluster(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"})}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Client is a client of a cluster that writes each record to the partition it names.
func Client(t testing.TB, c *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// Produce writes records.
func Produce(t testing.TB, c *kfake.Cluster, rs ...*kgo.Record) {
	t.Helper()
	if err := Client(t, c).ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// Transact writes records in a transaction, which is left open if end is nil.
func Transact(t testing.TB, c *kfake.Cluster, id string, end *kgo.TransactionEndTry, rs ...*kgo.Record) {
	t.Helper()
	cl := Client(t, c, kgo.TransactionalID(id))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if end == nil {
		return
	}
	if err := cl.EndTransaction(t.Context(), *end); err != nil {
		t.Fatal(err)
	}
}

// Numbered makes n records of a partition, a second apart from t0 on. The value of
// each is its number in decimal, from 0.
func Numbered(topic string, partition int32, n int, t0 time.Time) []*kgo.Record {
	var rs []*kgo.Record
	for i := range n {
		rs = append(rs, &kgo.Record{Topic: topic, Partition: partition, Value: fmt.Append(nil, i), Timestamp: t0.Add(time.Duration(i) * time.Second)})
	}
	return rs
}
