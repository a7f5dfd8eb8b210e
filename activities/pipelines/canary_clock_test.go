package pipelines

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/kafka/kafkatest"
	"breakwater/internal/mirror"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// brokered is a room over one broker.
type brokered struct {
	systems
	client *kafka.Client
}

func (b brokered) KafkaToChange(context.Context, *estate.Estate, string) (*kafka.Client, error) {
	return b.client, nil
}

func (b brokered) Names(*estate.Estate, string, string) mirror.Names { return mirror.Names{} }

// stamped gives every batch that comes to a cluster the time of a broker whose clock
// differs from ours, as a topic on LogAppendTime does.
func stamped(c *kfake.Cluster, differs time.Duration) {
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		produce, ok := r.(*kmsg.ProduceRequest)
		if !ok {
			return nil, nil, false
		}
		at := uint64(time.Now().Add(differs).UnixMilli())
		for _, topic := range produce.Topics {
			for _, p := range topic.Partitions {
				binary.BigEndian.PutUint64(p.Records[27:], at) // the batch's first stamp
				binary.BigEndian.PutUint64(p.Records[35:], at) // and its newest
				binary.BigEndian.PutUint32(p.Records[17:], crc32.Checksum(p.Records[21:], crc32.MakeTable(crc32.Castagnoli)))
			}
		}
		return nil, nil, false
	})
}

// TestCanaryAsksNoClock: whose clock stamps a record says nothing of whether it comes
// through, and neither do the stamps of those before it.
func TestCanaryAsksNoClock(t *testing.T) {
	for name, tc := range map[string]struct {
		broker time.Duration // from our clock to the broker's
		before time.Time     // stamps of the records that are there
	}{
		"a broker that is an hour behind":    {broker: -time.Hour},
		"a broker that is an hour ahead":     {broker: time.Hour},
		"records of a clock that ran ahead":  {before: time.Now().Add(24 * time.Hour)},
		"records without a stamp":            {before: time.UnixMilli(-1)},
		"a broker behind, and records ahead": {broker: -time.Hour, before: time.Now().Add(time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := world.Bare(t)
			c := kafkatest.Cluster(t, kfake.SeedTopics(3, "orders"))
			var rs []*kgo.Record
			for p := range int32(3) {
				rs = append(rs, kafkatest.Numbered("orders", p, 5, tc.before)...)
			}
			kafkatest.Produce(t, c, rs...)
			if tc.broker != 0 {
				stamped(c, tc.broker)
			}
			k, err := kafka.New(kafka.Config{Brokers: c.ListenAddrs()})
			w.Must(err)
			t.Cleanup(k.Close)
			w.Estate.Groups = []estate.Group{{Group: "orders", Topics: []estate.Topic{{Topic: "orders"}}, Canary: &estate.Canary{Topic: "orders"}}}
			cat := action.NewCatalogue()
			action.Add(cat, room{systems: brokered{client: k}}.canary())
			def, _ := cat.Get("pipelines.canary")
			r := w.Request(def, "orders")
			r.Guard = func(context.Context) error { return nil }
			if obs, err := def.Verify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Pass {
				t.Errorf("%v\n%s", err, prove.Told(obs))
			}
		})
	}
}
