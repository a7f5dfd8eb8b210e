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
	"breakwater/internal/kafka/kafkatest"
)

// TestDataEnds puts after the last record what is none.
func TestDataEnds(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(5, "orders"))
	cl := client(t, kafka.Config{Brokers: c.ListenAddrs()})
	commit, abort := kgo.TryCommit, kgo.TryAbort
	one := func(partition int32) *kgo.Record { return kafkatest.Numbered("orders", partition, 1, time.Now())[0] }
	kafkatest.Produce(t, c, append(kafkatest.Numbered("orders", 1, 3, time.Now()), kafkatest.Numbered("orders", 4, 3, time.Now())...)...)
	kafkatest.Transact(t, c, "a", &commit, one(2))
	kafkatest.Transact(t, c, "b", &abort, one(2), one(2))
	kafkatest.Transact(t, c, "c", nil, one(3))
	for range 10 { // more numbers than are looked past
		kafkatest.Transact(t, c, "d", &abort, one(4))
	}
	got, err := cl.DataEnds(t.Context(), "orders")
	at := func(id int32) kafka.Partition { return kafka.Partition{Topic: "orders", ID: id} }
	if late := got[at(4)]; late.Data < 3 || late.Data >= late.End {
		t.Errorf("behind many markers the data end at %d of %d, want no less than 3", late.Data, late.End)
	}
	delete(got, at(4))
	want := map[kafka.Partition]kafka.DataEnd{
		at(0): {},
		at(1): {Ends: kafka.Ends{Stable: 3, End: 3}, Data: 3},
		at(2): {Ends: kafka.Ends{Stable: 5, End: 5}, Data: 1}, // a record and its marker, two aborted ones and theirs
		at(3): {Ends: kafka.Ends{End: 1}, Data: 1},            // somebody is not done
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("the data end (-want +got), error %v:\n%s", err, diff)
	}
	if _, err := cl.DataEnds(t.Context(), "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of an unknown topic: %v, want fs.ErrNotExist", err)
	}
}
