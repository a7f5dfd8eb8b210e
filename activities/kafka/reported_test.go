package kafka

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/kafka/hold"
	"breakwater/internal/kafka/kafkatest"
	"breakwater/internal/mirror/mm2"
	"breakwater/internal/recovery"
	"breakwater/lab/world"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// pair are stand-ins of a source and a target in a state that users of mirrors have
// reported, with the notes that MirrorMaker would have left.
type pair struct {
	*world.World
	source, target *kfake.Cluster
	records        *world.Kept
}

// begun is when the first record of a pair was written.
var begun = time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)

// newPair makes a topic orders of so many partitions at either side.
func newPair(t *testing.T, atSource, atTarget int32) *pair {
	t.Helper()
	p := &pair{World: world.Bare(t), records: &world.Kept{}}
	p.source = kafkatest.Cluster(t, kfake.ClusterID("east-id"), kfake.SeedTopics(atSource, "orders"), kfake.SeedTopics(1, "refunds"))
	p.target = kafkatest.Cluster(t, kfake.ClusterID("west-id"), kfake.SeedTopics(atTarget, "orders"),
		kfake.SeedTopics(1, "east.checkpoints.internal", "mm2-offset-syncs.east.internal", "connect-offsets"))
	e := p.Estate
	e.Regions[0].Kafka = &estate.Kafka{Brokers: p.source.ListenAddrs(), ClusterID: "east-id", Alias: "east"}
	e.Regions[1].Kafka = &estate.Kafka{Brokers: p.target.ListenAddrs(), ClusterID: "west-id", Alias: "west"}
	e.Regions[1].Connect = &estate.Connect{URL: "http://127.0.0.1:1", Source: "mm2-source", Checkpoint: "mm2-checkpoint", Heartbeat: "mm2-heartbeat", OffsetsTopic: "connect-offsets", PolicyIdentity: true}
	e.Groups = []estate.Group{{
		Group: "orders", Tier: 1, Topics: []estate.Topic{{Topic: "orders"}},
		ConsumerGroups: []estate.ConsumerGroup{{ConsumerGroup: "app", Topics: []string{"orders"}}},
	}}
	return p
}

// delivered notes the last offset of the source that the mirror has delivered.
func (p *pair) delivered(partition int32, last int64) {
	p.T.Helper()
	kafkatest.Produce(p.T, p.target, &kgo.Record{Topic: "connect-offsets",
		Key:   fmt.Appendf(nil, `["mm2-source",{"cluster":"east","partition":%d,"topic":"orders"}]`, partition),
		Value: fmt.Appendf(nil, `{"offset":%d}`, last)})
}

// synced notes that the record of one offset is the record of the same at the target.
func (p *pair) synced(at int64) {
	p.T.Helper()
	k, v, err := mm2.OffsetSync{Partition: kafka.Partition{Topic: "orders"}, Upstream: at, Downstream: at}.Encode()
	p.Must(err)
	kafkatest.Produce(p.T, p.target, &kgo.Record{Topic: "mm2-offset-syncs.east.internal", Key: k, Value: v})
}

// start deletes the records of the source before an offset, as retention does.
func (p *pair) start(at int64) {
	p.T.Helper()
	var o kadm.Offsets
	o.AddOffset("orders", 0, at, -1)
	done, err := kadm.NewClient(kafkatest.Client(p.T, p.source)).DeleteRecords(p.T.Context(), o)
	p.Must(err)
	p.Must(done.Error())
}

// point records the topic's recovery point, and returns what is lost by it.
func (p *pair) point() (recovery.TopicState, recovery.Cut, recovery.Loss) {
	p.T.Helper()
	def := p.records.Keeping(newRoom(p.Systems).kafkaPoint())
	r := p.Request(def, "orders")
	r.Records = p.records
	out := p.Act(def, &r, nil)
	st := mustDecode[recovery.TopicState](p.T, out.Data)
	cut, err := recovery.ChooseCut(nil, []recovery.TopicState{st}, p.Estate.ClockSkew.Std())
	if err != nil {
		p.T.Logf("no cut: %v", err)
		return st, cut, recovery.Loss{}
	}
	losses, err := recovery.Losses(cut, nil, []recovery.TopicState{st}, recovery.Death{Answered: true, By: time.Now()}, p.Estate.ClockSkew.Std())
	p.Must(err)
	data, err := action.Encode(recovery.GroupPoint{Group: "orders", Cut: cut, Losses: losses})
	p.Must(err)
	p.records.Put("group.recovery-point", "orders", action.Outcome{Summary: "chosen", Data: data})
	return st, cut, losses[0]
}

// promote plans to place the consumer group.
func (p *pair) promote() (action.Change, ConsumerPlan) {
	p.T.Helper()
	def := promoting(p.T, p.Systems, hold.Times(quick))
	r := p.Request(def, "app")
	r.Records = p.records
	c, err := def.Plan(p.T.Context(), r, nil)
	p.Must(err)
	return c, mustDecode[ConsumerPlan](p.T, c.Data)
}

func accepts(c action.Change, id string) bool {
	return slices.ContainsFunc(c.Accepts, func(a action.Acceptance) bool { return a.ID == id })
}

func exactly(l recovery.Loss, n int64) bool {
	return l.Exact && l.Count.AtLeast == n && l.Count.AtMost != nil && *l.Count.AtMost == n
}

func TestAbortedTailIsNoLoss(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1, 1)
	ten := kafkatest.Numbered("orders", 0, 10, begun)
	kafkatest.Produce(t, p.source, ten...)
	kafkatest.Produce(t, p.target, kafkatest.Numbered("orders", 0, 10, begun)...)
	p.delivered(0, 9)
	abort, commit := kgo.TryAbort, kgo.TryCommit
	for range 3 {
		kafkatest.Transact(t, p.source, "late", &abort, kafkatest.Numbered("orders", 0, 40, begun)...)
	}
	if _, _, l := p.point(); !exactly(l, 0) {
		t.Errorf("the loss is %+v; want none, exactly", l)
	}
	kafkatest.Transact(t, p.source, "late", &commit, kafkatest.Numbered("orders", 0, 2, begun)...)
	if _, _, l := p.point(); !exactly(l, 2) {
		t.Errorf("behind aborted ones the loss is %+v; want two, exactly", l)
	}
}

func TestSourceTopicCreatedAnew(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1, 1)
	kafkatest.Produce(t, p.source, kafkatest.Numbered("orders", 0, 100, begun)...)
	kafkatest.Produce(t, p.target, kafkatest.Numbered("orders", 0, 300, begun)...)
	p.delivered(0, 299)
	p.synced(0)
	st, _, l := p.point()
	if l.Exact || l.Count.AtLeast != 100 || l.Count.AtMost != nil || len(l.Odd) != 1 || !st.Partitions[0].Anew {
		t.Errorf("the loss is %+v, of %+v; want at least 100, and what is odd", l, st.Partitions[0])
	}
	c, placed := p.promote()
	if placed.Placements[0].Offset != 0 || !accepts(c, "odd orders") {
		t.Errorf("the group is placed at %+v, accepting %+v; want the start, by an acceptance", placed.Placements, c.Accepts)
	}
}

func TestRetentionOutranTheMirror(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1, 1)
	kafkatest.Produce(t, p.source, kafkatest.Numbered("orders", 0, 1000, begun)...)
	kafkatest.Produce(t, p.target, kafkatest.Numbered("orders", 0, 500, begun)...)
	p.delivered(0, 499)
	p.start(900)
	_, _, l := p.point()
	if l.Exact || l.Count.AtLeast != 100 || l.Count.AtMost != nil || len(l.Odd) != 1 || !strings.Contains(l.Odd[0], "500 to 899 are at neither side") {
		t.Errorf("the loss is %+v; want at least 100, and what is at neither side", l)
	}
	if c, _ := p.promote(); !accepts(c, "odd orders") {
		t.Errorf("nobody accepts what is at neither side: %+v", c.Accepts)
	}
}

// TestTargetTopicCreatedAnew is the same at the other side.
func TestTargetTopicCreatedAnew(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1, 1)
	kafkatest.Produce(t, p.source, kafkatest.Numbered("orders", 0, 100, begun)...)
	p.delivered(0, 89)
	st, _, _ := p.point()
	if s := st.Partitions[0]; !s.Anew || s.Left == nil || s.Left.Records != 100 || !strings.Contains(s.Odd, "target's log is empty") {
		t.Errorf("of a target that is empty all is said to be mirrored through %d: %+v", s.MirroredThrough, s)
	}
}

func TestEmptySource(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1, 1)
	kafkatest.Produce(t, p.source, kafkatest.Numbered("orders", 0, 50, begun)...)
	p.start(50)
	if _, cut, l := p.point(); !exactly(l, 0) || cut.At.IsZero() || len(l.Odd) > 0 {
		t.Errorf("the loss of a log that retention emptied is %+v, the cut %v; want none", l, cut.At)
	}
}

func TestRecordsWithoutATime(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1, 1)
	for _, c := range []*kfake.Cluster{p.source, p.target} {
		for range 10 {
			kafkatest.Produce(t, c, &kgo.Record{Topic: "orders", Value: []byte("x"), Timestamp: time.UnixMilli(-1)})
		}
	}
	p.delivered(0, 9)
	p.Run.SourceUnreachable = true
	st, cut, _ := p.point()
	if s := st.Partitions[0]; !s.NewestAt.IsZero() || !strings.Contains(s.Untimed, "no time") || !cut.At.IsZero() {
		t.Errorf("a time is known: %+v, cut %v", s, cut.At)
	}
	st.Unchanged = true
	later := recovery.TopicState{Name: "z", Partitions: []recovery.PartitionState{{NewestAt: begun}}}
	if cut, err := recovery.ChooseCut(nil, []recovery.TopicState{st, later}, 0); err != nil || !cut.At.Equal(begun) || !cut.Topics[0].Assumed {
		t.Errorf("taken to be unchanged it holds the cut back: %+v, %v", cut, err)
	}
	if _, err := recovery.ChooseCut(nil, []recovery.TopicState{st}, 0); err == nil {
		t.Error("of nothing that is known a moment was chosen")
	}
}

func TestWhatTimesAreOfTheSource(t *testing.T) {
	now, skew := begun.Add(time.Hour), time.Second
	for name, tc := range map[string]struct {
		s    kafka.Stamps
		want time.Time
		why  string
	}{
		"in order":               {kafka.Stamps{Newest: begun}, begun, ""},
		"fall within the skew":   {kafka.Stamps{Newest: begun, Fell: skew}, begun, ""},
		"fall":                   {kafka.Stamps{Newest: begun, Fell: skew + 1}, time.Time{}, "fall"},
		"of arrival":             {kafka.Stamps{Newest: begun, Appended: true}, time.Time{}, "LogAppendTime"},
		"one has none":           {kafka.Stamps{Newest: begun, Undated: true}, time.Time{}, "no time"},
		"yet to come":            {kafka.Stamps{Newest: now.Add(2 * skew)}, time.Time{}, "yet to come"},
		"of a clock that is off": {kafka.Stamps{Newest: now.Add(skew)}, now.Add(skew), ""},
		"no record":              {},
	} {
		if got, why := newestOf(tc.s, now, skew); !got.Equal(tc.want) || (why == "") != (tc.why == "") || !strings.Contains(why, tc.why) {
			t.Errorf("%s: %v, %q; want %v, %q", name, got, why, tc.want, tc.why)
		}
	}
}

// TestLateTimestamps: of one hundred records twenty came after the cut, with times
// before it. The tables lack them.
func TestLateTimestamps(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1, 1)
	var all []*kgo.Record
	for i := range 100 {
		at := begun.Add(time.Duration(i) * time.Second)
		if i >= 60 && i < 80 {
			at = begun.Add(time.Duration(i-50) * time.Second)
		}
		all = append(all, &kgo.Record{Topic: "orders", Value: fmt.Append(nil, i), Timestamp: at})
	}
	kafkatest.Produce(t, p.target, all...)
	p.delivered(0, 99)
	for i, r := range all {
		all[i] = &kgo.Record{Topic: "orders", Value: r.Value, Timestamp: r.Timestamp}
	}
	kafkatest.Produce(t, p.source, all...)
	var o kadm.Offsets
	o.AddOffset("orders", 0, 100, -1)
	done, err := kadm.NewClient(kafkatest.Client(t, p.source)).CommitOffsets(t.Context(), "app", o)
	p.Must(err)
	p.Must(done.Error())
	p.point()
	data, err := action.Encode(recovery.GroupPoint{Group: "orders", Cut: recovery.Cut{
		At: begun.Add(70 * time.Second), Tables: []recovery.TablePoint{{Name: "orders"}},
	}})
	p.Must(err)
	p.records.Put("group.recovery-point", "orders", action.Outcome{Summary: "chosen", Data: data})
	if _, placed := p.promote(); placed.Placements[0].Offset != 60 {
		t.Errorf("placed at %+v, want at 60", placed.Placements[0])
	}
}

func TestPartitionAdded(t *testing.T) {
	t.Parallel()
	p := newPair(t, 2, 1)
	kafkatest.Produce(t, p.source, append(kafkatest.Numbered("orders", 0, 50, begun), kafkatest.Numbered("orders", 1, 7, begun)...)...)
	kafkatest.Produce(t, p.target, kafkatest.Numbered("orders", 0, 50, begun)...)
	p.delivered(0, 49)
	st, _, _ := p.point()
	if len(st.Partitions) != 2 || !st.Partitions[1].Lacking || st.Partitions[1].Left == nil || st.Partitions[1].Left.Records != 7 {
		t.Fatalf("of a partition that the target lacks is said: %+v", st.Partitions)
	}
	if s := sums(st); !strings.Contains(s, "partition 1 is not at the target") || !strings.Contains(s, "7 more records") {
		t.Errorf("it is said in these words: %s", s)
	}
}

func TestUndeclaredTopicOfAGroup(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1, 1)
	kafkatest.Produce(t, p.source, kafkatest.Numbered("orders", 0, 20, begun)...)
	kafkatest.Produce(t, p.target, kafkatest.Numbered("orders", 0, 20, begun)...)
	p.delivered(0, 19)
	var o kadm.Offsets
	o.AddOffset("orders", 0, 20, -1)
	o.AddOffset("refunds", 0, 5, -1)
	done, err := kadm.NewClient(kafkatest.Client(t, p.source)).CommitOffsets(t.Context(), "app", o)
	p.Must(err)
	p.Must(done.Error())
	p.point()
	if c, _ := p.promote(); !accepts(c, "other topics of app") {
		t.Errorf("nobody accepts that the group's place in refunds is not set: %+v", c.Accepts)
	}
}
