package activities

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/kafka"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
	labkafka "breakwater/lab/kafka"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// TestKafka takes the actions of a mirrored pair through a failover.
func TestKafka(t *testing.T) {
	t.Parallel()
	m := newMirroredWorld(t)
	m.produce(m.source, "audit", 3)
	m.transact("paid", 2)
	for range 4 {
		m.produce(m.source, "orders", 15)
		m.must(pause(t.Context(), 300*time.Millisecond)) // syncs flow with traffic alone
	}
	const sent = 60
	m.commit(m.source, "whole", "orders", sent)
	m.drained()
	m.lap("the mirror is drained")

	t.Run("witness", func(t *testing.T) {
		def := m.action("kafka.witness")
		proveAction(t, def, m.request(def, "orders"), m.faultSet("whole"))
	})
	m.lap("witness")
	m.eventually("a checkpoint of the group that read all", func(ctx context.Context) error {
		k, err := m.systems.Kafka(ctx, m.estate, west)
		if err != nil {
			return err
		}
		cps, err := k.Checkpoints(ctx, "east")
		if err == nil && !slices.ContainsFunc(cps, func(c kafka.Checkpoint) bool { return c.Group == "whole" }) {
			err = errors.New("none yet")
		}
		return err
	})
	m.lap("checkpoints")

	stop := m.records.keeping(m.systems.stopMirror())
	t.Run("two looks see a mirror that runs", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var g errgroup.Group
		cl := m.raw(m.source)
		g.Go(func() error {
			for pause(ctx, 50*time.Millisecond) == nil {
				if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "audit", Value: []byte("x")}).FirstErr(); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		})
		obs, err := stop.Verify(t.Context(), m.request(stop, ""), nil)
		cancel()
		m.must(errors.Join(err, g.Wait()))
		for _, o := range obs {
			if o.Verdict != verdict.Fail {
				t.Errorf("while the mirror runs: %s", finding(o))
			}
		}
	})
	m.drained()
	t.Run("stop", func(t *testing.T) { proveAction(t, stop, m.request(stop, ""), m.faultSet("whole")) })
	m.lap("stopped and resumed")
	m.drained()
	stopped := m.do(stop, "")
	m.is(stop, stopped, verdict.Pass)
	m.lap("stopped")

	point := m.records.keeping(m.systems.kafkaPoint())
	t.Run("recovery point", func(t *testing.T) {
		proveAction(t, point, m.request(point, "orders"), m.faultSet("whole"))
		m.do(point, "audit")
		st, _, err := topicPoint(t.Context(), m.records, "orders")
		m.must(err)
		if len(st.Partitions) != parts || st.Peak == nil || st.RPOSeconds != 30 {
			t.Errorf("recorded %+v", st)
		}
		for _, p := range st.Partitions {
			if p.MirroredThrough != sent || p.Source == nil || p.Source.Offset != sent || p.Source.At.Before(m.begun) || len(p.Journal) == 0 || p.NewestAt.Before(m.begun) {
				t.Errorf("partition %d: %+v, source %+v", p.Partition, p, p.Source)
			}
		}
	})
	t.Run("markers at the end of the source are no loss", func(t *testing.T) {
		m.do(point, "paid")
		st, _, err := topicPoint(t.Context(), m.records, "paid")
		m.must(err)
		for _, p := range st.Partitions {
			if p.Source == nil || p.Source.Offset != 3 || p.MirroredThrough != 3 { // data, marker, data; and a marker
				t.Errorf("partition %d is mirrored through %d, source %+v; want 3 of 3", p.Partition, p.MirroredThrough, p.Source)
			}
		}
	})
	t.Run("a source that moves between plan and apply", func(t *testing.T) {
		r := m.request(point, "paid")
		r.Records = &kept{}
		c, err := point.Plan(t.Context(), r, nil)
		m.must(err)
		m.transact("paid", 1)
		r.Plan = &c
		o, err := m.action("kafka.recovery-point").Apply(t.Context(), r, nil)
		m.must(err)
		for _, p := range mustDecode[recovery.TopicState](t, o.Data).Partitions {
			if p.Source != nil {
				t.Errorf("partition %d: the record says that a source that went on ended at %d", p.Partition, p.Source.Offset)
			}
		}
		m.is(point, m.request(point, "paid"), verdict.Fail) // recorded before, and no longer true
	})
	m.lap("recovery point")
	t.Run("promote", func(t *testing.T) { m.promote(t) })
	m.lap("promoted")
	t.Run("canary", func(t *testing.T) { m.canary(t) })
	m.lap("canary")
	t.Run("the source is gone", func(t *testing.T) { m.sourceGone(t, point) })
	t.Run("another cluster answers", func(t *testing.T) {
		was := m.estate.Regions[1].Kafka.ClusterID
		m.estate.Regions[1].Kafka.ClusterID = "another"
		defer func() { m.estate.Regions[1].Kafka.ClusterID = was }()
		if _, err := stop.Apply(t.Context(), stopped, nil); err == nil || !strings.Contains(err.Error(), "nothing is changed there") {
			t.Errorf("Apply = %v, want a refusal", err)
		}
	})
	t.Run("records arrive after the point", func(t *testing.T) {
		r := m.request(point, "audit")
		m.is(point, r, verdict.Pass)
		m.produce(m.target, "audit", 1)
		m.is(point, r, verdict.Fail)
		r.Run.Mode = action.ModeDrill
		m.is(point, r, verdict.Pass) // where nothing was stopped, going on is no fault
	})
	m.lap("done")
}

// cutAt records a cut of the group, with a table.
func (m *mirroredWorld) cutAt(at time.Time) {
	m.t.Helper()
	data, err := action.Encode(GroupPoint{Group: "orders", Cut: recovery.Cut{At: at, Tables: []recovery.TablePoint{{Name: "orders"}}}})
	m.must(err)
	m.records.put("group.recovery-point", "orders", action.Outcome{Summary: "a cut", Data: data})
}

func (m *mirroredWorld) promote(t *testing.T) {
	def := m.action("kafka.promote")
	m.cutAt(time.Now().Add(time.Hour))
	t.Run("read all", func(t *testing.T) {
		proveAction(t, def, m.request(def, "whole"), m.faultSet("whole"))
		r := m.do(def, "whole")
		m.agrees(t, "whole", r)
		plan, err := action.Decode[ConsumerPlan](r.Plan.Data)
		m.must(err)
		for _, p := range plan.Placements {
			if p.Reason != kafka.Exact || p.ToRead != 0 {
				t.Errorf("a group that had read all comes back at %+v", p)
			}
		}
	})
	t.Run("never committed", func(t *testing.T) {
		proveAction(t, def, m.request(def, "new"), m.faultSet("new"))
		r := m.request(def, "new")
		c, err := def.Plan(t.Context(), r, nil)
		m.must(err)
		r.Plan = &c
		// A record of somebody else's, between plan and apply.
		m.commit(m.target, "new", "orders", 5)
		if _, err := def.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) {
			t.Errorf("Apply over another's commit = %v, want ErrMoved", err)
		}
		m.agrees(t, "new", m.do(def, "new"))
	})
	t.Run("held back to the cut", func(t *testing.T) {
		m.commit(m.source, "cut", "orders", 60)
		m.cutAt(m.begun) // before any record: everything comes again
		r := m.do(def, "cut")
		m.is(def, r, verdict.Pass)
		for _, p := range mustDecode[ConsumerPlan](t, r.Plan.Data).Placements {
			if p.Reason != kafka.ByCut || p.Offset != 0 {
				t.Errorf("placed at %+v, want the start, by the cut", p)
			}
		}
	})
	t.Run("a member's own commits", func(t *testing.T) {
		r := m.do(def, "cut")
		cl := m.raw(m.target, kgo.ConsumerGroup("cut"), kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit(), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		m.eventually("the member reads", func(ctx context.Context) error {
			f := cl.PollFetches(ctx)
			if f.NumRecords() == 0 {
				return errors.New("nothing")
			}
			return cl.CommitUncommittedOffsets(ctx)
		})
		m.is(def, r, verdict.Pass)
		if _, err := def.Plan(t.Context(), m.request(def, "cut"), nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "stop its consumers") {
			t.Errorf("Plan for an active group = %v, want a refusal that says what to do", err)
		}
		cl.LeaveGroup()
		cl.Close()
		m.is(def, r, verdict.Fail) // moved on, and nobody is there who did
	})
}

func mustDecode[T any](t *testing.T, raw []byte) T {
	t.Helper()
	v, err := action.Decode[T](raw)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (m *mirroredWorld) canary(t *testing.T) {
	def := m.action("pipelines.canary")
	m.estate.Groups[0].Canary.Topic = "orders"
	proveAction(t, def, m.request(def, "orders"), m.faultSet("whole"))
	k, err := m.systems.Kafka(t.Context(), m.estate, west)
	m.must(err)
	ends := func() (n int64) {
		all, err := k.Ends(t.Context(), "orders")
		m.must(err)
		for _, e := range all {
			n += e.End
		}
		return n
	}
	before := ends()
	for _, mode := range []action.Mode{action.ModePlan, action.ModeDrill} {
		r := m.request(def, "orders")
		r.Run.Mode = mode
		m.is(def, r, verdict.Unknown)
	}
	m.is(def, m.request(def, "untried"), verdict.Unknown)
	m.is(def, m.request(def, "mute"), verdict.Pass)
	if after := ends(); after != before {
		t.Errorf("%d records were sent outside a live run", after-before)
	}
}

// sourceGone plans without the source.
func (m *mirroredWorld) sourceGone(t *testing.T, point *action.Definition) {
	m.must(m.source.Kill(t.Context()))
	r := m.request(point, "audit")
	obs := m.is(point, r, verdict.Unknown)
	if !action.OnlySourceUnreachable(obs) {
		t.Errorf("with a dead source: %s", told(obs))
	}
	r.Run.SourceUnreachable = true
	r.Records = &kept{}
	c, err := point.Plan(t.Context(), r, nil)
	m.must(err)
	for _, p := range mustDecode[recovery.TopicState](t, c.Data).Partitions {
		if p.Source != nil || p.MirroredThrough == 0 {
			t.Errorf("a dead source is said to end somewhere: %+v", p)
		}
	}
	def := m.action("kafka.promote")
	r = m.request(def, "whole")
	r.Run.SourceUnreachable = true
	m.cutAt(time.Now().Add(time.Hour))
	c, err = def.Plan(t.Context(), r, nil)
	m.must(err)
	for _, p := range mustDecode[ConsumerPlan](t, c.Data).Placements {
		if p.Reason == kafka.Exact {
			t.Errorf("placed exactly without the source: %+v", p)
		}
	}
	back, err := labkafka.StartBroker(t.Context(), m.source.Config)
	m.must(err)
	m.source = back
	m.t.Cleanup(func() { // not at the end of the subtest
		if err := back.Kill(context.WithoutCancel(m.t.Context())); err != nil {
			m.t.Error(err)
		}
	})
	m.must(back.Ready(t.Context()))
}

func TestTopicEndsAreBounded(t *testing.T) {
	at := time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)
	look := func(minute int, end int64) TopicEnds {
		when := at.Add(time.Duration(minute) * time.Minute)
		return TopicEnds{First: when, Last: when, Run: strconv.Itoa(minute), Partitions: []PartitionEnds{{Data: end, Stable: end, End: end}}}
	}
	var all []TopicEnds
	for i := range 2 * witness.Kept {
		all = addEnds(all, look(i, int64(i)))
	}
	if len(all) != witness.Kept || all[len(all)-1].Run != strconv.Itoa(2*witness.Kept-1) {
		t.Errorf("%d looks are kept, the newest by run %s", len(all), all[len(all)-1].Run)
	}
	all = nil
	for i := range 100 {
		all = addEnds(all, look(i, 7))
	}
	if len(all) != 1 || !all[0].First.Equal(at) || !all[0].Last.Equal(at.Add(99*time.Minute)) {
		t.Errorf("100 looks at a topic that rests are %+v", all)
	}
	all = addEnds(all, look(50, 6)) // a slower reader, who looked earlier
	if len(all) != 2 || all[0].Partitions[0].End != 6 {
		t.Errorf("a late look is not in its place: %+v", all)
	}
}
