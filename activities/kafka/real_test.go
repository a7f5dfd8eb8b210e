package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/kafka/hold"
	"breakwater/internal/reach"
	"breakwater/internal/recovery"
	labkafka "breakwater/lab/kafka"
	"breakwater/lab/world"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// real is a pair of servers in the states that users of mirrors have reported, a topic
// for each.
type real struct {
	*world.Mirrored
	source *kgo.Client
	adm    *kadm.Client // of the source
}

// TestReportedOnServers brings about on real brokers, with a real mirror, what the tests
// of this room's reported cases bring about on stand-ins.
func TestReportedOnServers(t *testing.T) {
	t.Parallel()
	topics := []string{"aborted", "long", "late", "undated", "stamped", "anew", "outran", "emptied", "wider", "refunds"}
	m := &real{Mirrored: world.NewMirrored(t, topics...)}
	m.source = m.Raw(m.Source)
	m.adm = kadm.NewClient(m.source)
	m.Estate.Groups = nil
	for _, topic := range topics {
		m.Estate.Groups = append(m.Estate.Groups, estate.Group{
			Group: topic, Tier: 1, Topics: []estate.Topic{{Topic: topic}},
			ConsumerGroups: []estate.ConsumerGroup{{ConsumerGroup: "app-" + topic, Topics: []string{topic}}},
		})
	}
	m.stampAtTarget("stamped")
	for topic, n := range map[string]int{"aborted": 10, "long": 10, "stamped": 10, "anew": 300, "outran": 500, "wider": 50, "refunds": 20} {
		m.send(topic, 0, n)
	}
	m.sendAt("undated", func(int) time.Time { return time.UnixMilli(-1) }, 10)
	// Not so old that retention takes them: brokers look after half a minute.
	late := m.Begun.Add(-time.Hour)
	m.sendAt("late", func(i int) time.Time {
		if i >= 60 && i < 80 {
			i -= 50
		}
		return late.Add(time.Duration(i) * time.Second)
	}, 100)
	m.commit("app-late", map[string]int64{"late": 100})
	m.commit("app-refunds", map[string]int64{"refunds": 20, "late": 5})
	// Another connector keeps its place in the same topic, under a key of its own kind.
	m.Must(m.Raw(m.Target).ProduceSync(t.Context(), &kgo.Record{
		Topic: labkafka.OffsetsTopic, Key: []byte(`["files",{"filename":"/var/log/a","partition":"x"}]`), Value: []byte(`{"position":7}`),
	}).FirstErr())
	m.mirrored(map[string]int64{"aborted": 10, "long": 10, "late": 100, "undated": 10, "stamped": 10, "anew": 300, "outran": 500, "wider": 50, "refunds": 20})
	m.Lap("the mirror is drained")
	witness := m.World.Action("kafka.witness")
	m.Do(witness, "undated")
	m.stop()
	m.Lap("stopped")

	t.Run("an aborted tail is no loss", func(t *testing.T) {
		for range 3 {
			m.transact("aborted", kgo.TryAbort, 40, 10)
		}
		if _, _, l := m.point(t, "aborted"); !exactly(l, 0) {
			t.Errorf("the loss is %+v; want none, exactly", l)
		}
		m.transact("aborted", kgo.TryCommit, 2, 10)
		if _, _, l := m.point(t, "aborted"); !exactly(l, 2) {
			t.Errorf("behind aborted ones the loss is %+v; want two, exactly", l)
		}
	})
	t.Run("everybody who reads a topic is found", func(t *testing.T) { m.everybody(t) })
	t.Run("nor is a long one", func(t *testing.T) {
		m.transact("long", kgo.TryAbort, 200, 100<<10)
		if _, _, l := m.point(t, "long"); !exactly(l, 0) {
			t.Errorf("the loss is %+v; want none, exactly", l)
		}
	})
	t.Run("the source topic is created anew", func(t *testing.T) {
		m.Must(m.anew(t.Context(), "anew"))
		m.send("anew", 0, 100)
		st, _, l := m.point(t, "anew")
		if l.Exact || l.Count.AtLeast != 100 || l.Count.AtMost != nil || len(l.Odd) == 0 || !st.Partitions[0].Anew {
			t.Errorf("the loss is %+v, of %+v; want at least 100, and what is odd", l, st.Partitions[0])
		}
		if c, placed := m.promote(t, "app-anew"); placed.Placements[0].Offset != 0 || !accepts(c, "odd anew") {
			t.Errorf("the group is placed at %+v, accepting %+v; want the start, by an acceptance", placed.Placements, c.Accepts)
		}
	})
	t.Run("retention outran the mirror", func(t *testing.T) {
		m.send("outran", 0, 500)
		m.start("outran", 900)
		_, _, l := m.point(t, "outran")
		if l.Exact || l.Count.AtLeast != 100 || l.Count.AtMost != nil || len(l.Odd) != 1 || !strings.Contains(l.Odd[0], "500 to 899 are at neither side") {
			t.Errorf("the loss is %+v; want at least 100, and what is at neither side", l)
		}
		if c, _ := m.promote(t, "app-outran"); !accepts(c, "odd outran") {
			t.Errorf("nobody accepts what is at neither side: %+v", c.Accepts)
		}
	})
	t.Run("retention emptied the source", func(t *testing.T) {
		m.send("emptied", 0, 50)
		m.start("emptied", 50)
		m.commit("app-emptied", map[string]int64{"emptied": 50})
		if _, cut, l := m.point(t, "emptied"); !exactly(l, 0) || cut.At.IsZero() || len(l.Odd) > 0 {
			t.Errorf("the loss of a log that retention emptied is %+v, the cut %v; want none", l, cut.At)
		}
		if _, placed := m.promote(t, "app-emptied"); placed.Placements[0].Offset != 0 {
			t.Errorf("placed at %+v, want at 0", placed.Placements[0])
		}
	})
	t.Run("a partition is added", func(t *testing.T) {
		done, err := m.adm.CreatePartitions(t.Context(), 1, "wider")
		m.Must(errors.Join(err, done.Error()))
		m.Eventually("the partition is there", func(context.Context) error {
			return m.source.ProduceSync(t.Context(), &kgo.Record{Topic: "wider", Partition: world.Parts, Value: []byte("x")}).FirstErr()
		})
		m.send("wider", world.Parts, 6)
		st, _, _ := m.point(t, "wider")
		if p := st.Partitions[len(st.Partitions)-1]; p.Partition != world.Parts || !p.Lacking || p.Left == nil || p.Left.Records != 7 {
			t.Errorf("of a partition that the target lacks is said: %+v", p)
		}
		if s := sums(st); !strings.Contains(s, "partition 2 is not at the target") || !strings.Contains(s, "7 more records") {
			t.Errorf("it is said in these words: %s", s)
		}
	})
	t.Run("records come late", func(t *testing.T) {
		m.point(t, "late")
		m.cut("late", late.Add(70*time.Second))
		if _, placed := m.promote(t, "app-late"); placed.Placements[0].Offset > m.offsetOf(t, "late", 60) {
			t.Errorf("placed at %+v, want at the record 60 or before", placed.Placements[0])
		}
	})
	t.Run("a group reads an undeclared topic", func(t *testing.T) {
		m.point(t, "refunds")
		if c, _ := m.promote(t, "app-refunds"); !accepts(c, "other topics of app-refunds") {
			t.Errorf("nobody accepts that the group's place in late is not set: %+v", c.Accepts)
		}
	})
	t.Run("somebody else's door", func(t *testing.T) { m.doors(t) })
	m.Lap("with a source that answers")

	m.Must(m.Source.Kill(t.Context()))
	m.Run.SourceUnreachable = true
	t.Run("records without a time", func(t *testing.T) {
		st, _, _ := m.point(t, "undated")
		if s := st.Partitions[0]; !s.NewestAt.IsZero() || !strings.Contains(s.Untimed, "no time at the source") {
			t.Errorf("of records that had no time at the source a time is known: %+v", s)
		}
	})
	t.Run("records that the target stamped", func(t *testing.T) {
		st, _, _ := m.point(t, "stamped")
		if s := st.Partitions[0]; !s.NewestAt.IsZero() || !strings.Contains(s.Untimed, "LogAppendTime") {
			t.Errorf("the time of copying is taken for that of the source: %+v", s)
		}
	})
	m.Lap("done")
}

// send sends records to a partition of the source, an hour old.
// everybody asks a real broker who reads a topic: groups of each kind, of whom nobody told,
// and who may not see all of them is told so.
func (m *real) everybody(t *testing.T) {
	t.Helper()
	m.commit("nobody-knows", map[string]int64{"refunds": 7})
	for _, opts := range [][]kgo.Opt{
		{kgo.ConsumerGroup("commits-nothing"), kgo.DisableAutoCommit()},
		{kgo.ShareGroup("shares")},
	} {
		m.Raw(m.Source, append(opts, kgo.ConsumeTopics("refunds"))...)
	}
	k, err := m.Systems.Kafka(t.Context(), m.Estate, world.East)
	m.Must(err)
	m.Eventually("who reads it", func(ctx context.Context) error {
		var names []string
		all, err := k.Readers(ctx, "refunds")
		for _, r := range all {
			names = append(names, r.Group)
			if at := (kafka.Partition{Topic: "refunds"}); r.Group == "nobody-knows" && r.Committed[at] != 7 {
				t.Errorf("nobody-knows has committed %v", r.Committed)
			}
		}
		if diff := cmp.Diff([]string{"app-refunds", "commits-nothing", "nobody-knows", "shares"}, names); diff != "" && err == nil {
			err = errors.New(diff)
		}
		return err
	})
	blind, err := kafka.New(kafka.Config{Brokers: []string{m.Source.Client()}, User: world.MirrorUser, Password: world.MirrorUser})
	m.Must(err)
	defer blind.Close()
	if all, err := blind.Readers(t.Context(), "refunds"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("who may see nothing is told of %+v, %v; want a refusal", all, err)
	}
}

func (m *real) send(topic string, partition int32, n int) {
	m.T.Helper()
	all := make([]*kgo.Record, n)
	for i := range all {
		all[i] = &kgo.Record{Topic: topic, Partition: partition, Value: fmt.Append(nil, i), Timestamp: m.Begun.Add(-time.Hour)}
	}
	m.Must(m.source.ProduceSync(m.T.Context(), all...).FirstErr())
}

// sendAt sends records of some times to partition 0 of the source.
func (m *real) sendAt(topic string, at func(int) time.Time, n int) {
	m.T.Helper()
	all := make([]*kgo.Record, n)
	for i := range all {
		all[i] = &kgo.Record{Topic: topic, Value: fmt.Append(nil, i), Timestamp: at(i)}
	}
	m.Must(m.source.ProduceSync(m.T.Context(), all...).FirstErr())
}

// transact sends records of a size in one transaction, each a batch of its own.
func (m *real) transact(topic string, end kgo.TransactionEndTry, n, size int) {
	m.T.Helper()
	cl := m.Raw(m.Source, kgo.TransactionalID("late"))
	m.Must(cl.BeginTransaction())
	for range n {
		cl.Produce(m.T.Context(), &kgo.Record{Topic: topic, Value: make([]byte, size)}, nil)
	}
	m.Must(cl.Flush(m.T.Context()))
	m.Must(cl.EndTransaction(m.T.Context(), end))
	cl.Close()
}

// commit commits where a group is in partition 0 of topics of the source.
func (m *real) commit(group string, at map[string]int64) {
	m.T.Helper()
	var all kadm.Offsets
	for topic, o := range at {
		all.AddOffset(topic, 0, o, -1)
	}
	done, err := m.adm.CommitOffsets(m.T.Context(), group, all)
	m.Must(errors.Join(err, done.Error()))
}

// start deletes the records of the source before an offset, as retention does.
func (m *real) start(topic string, at int64) {
	m.T.Helper()
	var o kadm.Offsets
	o.AddOffset(topic, 0, at, -1)
	done, err := m.adm.DeleteRecords(m.T.Context(), o)
	m.Must(errors.Join(err, done.Error()))
}

// anew deletes a topic of the source and creates it again.
func (m *real) anew(ctx context.Context, topic string) error {
	if _, err := m.adm.DeleteTopic(ctx, topic); err != nil {
		return err
	}
	m.Eventually("the topic is created anew", func(ctx context.Context) error {
		_, err := m.adm.CreateTopic(ctx, world.Parts, 1, nil, topic)
		return err
	})
	m.source.Close() // which knows the topic that was there before
	m.source = m.Raw(m.Source)
	m.adm = kadm.NewClient(m.source)
	return nil
}

// stampAtTarget lets the target's broker stamp what arrives.
func (m *real) stampAtTarget(topic string) {
	m.T.Helper()
	value := "LogAppendTime"
	done, err := kadm.NewClient(m.Raw(m.Target)).AlterTopicConfigs(m.T.Context(), []kadm.AlterConfig{{Name: "message.timestamp.type", Value: &value}}, topic)
	for _, d := range done {
		err = errors.Join(err, d.Err)
	}
	m.Must(err)
}

// mirrored waits until so many records of partition 0 are at the target.
func (m *real) mirrored(want map[string]int64) {
	m.T.Helper()
	into, topics := m.Mirror(), []string{}
	for topic := range want {
		topics = append(topics, topic)
	}
	m.Eventually("all is mirrored", func(ctx context.Context) error {
		at, _, err := into.Positions(ctx, nil, topics...)
		for topic, n := range want {
			if next := at[kafka.Partition{Topic: topic}].Next; err == nil && next != n {
				err = fmt.Errorf("%s is mirrored through %d of %d", topic, next, n)
			}
		}
		return err
	})
}

// stop stops the mirror.
func (m *real) stop() {
	m.T.Helper()
	into := m.Mirror()
	ctx, cancel := context.WithTimeout(m.T.Context(), time.Minute)
	defer cancel()
	for _, link := range into.Links() {
		m.Must(into.Stop(ctx, link))
	}
}

// point records the recovery point of a topic, and that of its group without tables, and
// returns what is lost by it.
func (m *real) point(t *testing.T, topic string) (recovery.TopicState, recovery.Cut, recovery.Loss) {
	t.Helper()
	def := m.Records.Keeping(newRoom(m.Systems).kafkaPoint())
	st := mustDecode[recovery.TopicState](t, m.Act(def, new(m.Request(def, topic)), nil).Data)
	cut, err := recovery.ChooseCut(nil, []recovery.TopicState{st}, m.Estate.ClockSkew.Std())
	if err != nil {
		t.Logf("no cut: %v", err)
		return st, cut, recovery.Loss{}
	}
	losses, err := recovery.Losses(cut, nil, []recovery.TopicState{st}, recovery.Death{Answered: true, By: time.Now()}, m.Estate.ClockSkew.Std())
	m.Must(err)
	m.chosen(topic, recovery.GroupPoint{Group: topic, Cut: cut, Losses: losses})
	return st, cut, losses[0]
}

// cut records a cut of a group with a table.
func (m *real) cut(group string, at time.Time) {
	m.T.Helper()
	m.chosen(group, recovery.GroupPoint{Group: group, Cut: recovery.Cut{At: at, Tables: []recovery.TablePoint{{Name: "t"}}}})
}

func (m *real) chosen(group string, p recovery.GroupPoint) {
	m.T.Helper()
	data, err := action.Encode(p)
	m.Must(err)
	m.Records.Put("group.recovery-point", group, action.Outcome{Summary: "chosen", Data: data})
}

// promote plans to place a consumer group.
func (m *real) promote(t *testing.T, group string) (action.Change, ConsumerPlan) {
	t.Helper()
	def := promoting(t, m.Systems, hold.Times(quick))
	c, err := def.Plan(t.Context(), m.Request(def, group), nil)
	m.Must(err)
	return c, mustDecode[ConsumerPlan](t, c.Data)
}

// offsetOf is where the target has a record of partition 0.
func (m *real) offsetOf(t *testing.T, topic string, record int) int64 {
	t.Helper()
	at := int64(-1)
	k, err := m.Systems.Kafka(t.Context(), m.Estate, world.West)
	m.Must(err)
	m.Must(k.EachRecord(t.Context(), topic, func(r kafka.Record) error {
		if string(r.Value) == fmt.Sprint(record) {
			at = r.Offset
		}
		return nil
	}))
	if at < 0 {
		t.Fatalf("the target has no record %d of %s", record, topic)
	}
	return at
}

// doors comes in by listeners that want another kind of connection. Somebody is there.
func (m *real) doors(t *testing.T) {
	t.Helper()
	for name, tc := range map[string]struct {
		cfg  kafka.Config
		says string
	}{
		"TLS, and none":               {kafka.Config{Brokers: []string{m.Source.TLS()}}, "speaks TLS"},
		"TLS, and a password without": {kafka.Config{Brokers: []string{m.Source.TLS()}, User: "u", Password: "p"}, "speaks TLS"},
		"SCRAM, and PLAIN":            {kafka.Config{Brokers: []string{m.Source.Scram()}, User: "u", Password: "p"}, "SASL"},
		"SCRAM, and nothing":          {kafka.Config{Brokers: []string{m.Source.Scram()}}, "wants authentication"},
		"nobody is asked, and PLAIN":  {kafka.Config{Brokers: []string{m.Source.Admin()}, User: "u", Password: "p"}, "SASL"},
	} {
		tc.cfg.Timeout = 5 * time.Second
		k, err := kafka.New(tc.cfg)
		m.Must(err)
		_, err = k.ClusterID(t.Context())
		k.Close()
		if reach.Unreachable(err) || !errors.Is(err, reach.ErrUnseen) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: error is %v; want one that says %q, and not unreachable", name, err, tc.says)
		}
	}
}
