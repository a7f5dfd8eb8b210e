package kafka

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/kafka/place"
	"breakwater/internal/mirror"
	"breakwater/internal/poll"
	"breakwater/internal/record"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
	labkafka "breakwater/lab/kafka"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// TestKafka takes the actions of a mirrored pair through a failover.
func TestKafka(t *testing.T) {
	t.Parallel()
	m := world.NewMirrored(t)
	t.Run("topics that are renamed", func(t *testing.T) { renamed(m, t) })
	m.Lap("a group is placed in a renamed topic")
	m.Produce(m.Source, "audit", 3)
	m.Transact("paid", 2)
	for range 4 {
		m.Produce(m.Source, "orders", 15)
		m.Drained() // syncs flow with traffic alone
	}
	const sent = 60
	m.Commit(m.Source, "whole", "orders", sent)
	m.Drained()
	m.Lap("the mirror is drained")

	t.Run("as the estate says", func(t *testing.T) {
		target, _ := m.Estate.Region(world.West)
		source, _ := m.Estate.Region(world.East)
		for _, tc := range []struct {
			at       *string
			to, want string
		}{
			{new(string), "", ""},
			{&source.Kafka.Alias, "oriental", "connector " + labkafka.SourceConnector + " has source.cluster.alias east, and the estate says oriental"},
			{&target.Kafka.Alias, "occidental", "connector " + labkafka.CheckpointConnector + " has target.cluster.alias west, and the estate says occidental"},
			{&target.Kafka.ClusterID, "of-last-year", "is of cluster " + target.Kafka.ClusterID + ", and the estate says of-last-year"},
			{&target.Connect.Source, labkafka.CheckpointConnector, "and no MirrorSourceConnector"},
			{&target.Connect.OffsetsTopic, "orders", "topic orders has no offset of connector " + labkafka.SourceConnector},
			{&target.Connect.OffsetsTopic, "none-such", "there is no topic none-such"},
		} {
			was := *tc.at
			*tc.at = tc.to
			mm, err := m.Systems.Mirror(t.Context(), m.Estate, world.East, world.West)
			m.Must(err)
			odd, err := mm.(mirror.Auditor).Contradictions(t.Context())
			*tc.at = was
			if got := strings.Join(odd, "; "); err != nil || (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
				t.Errorf("with %q: %q, %v; want %q", tc.to, got, err, tc.want)
			}
		}
	})

	t.Run("witness", func(t *testing.T) {
		def := m.World.Action("kafka.witness")
		prove.Action(t, def, m.Request(def, "orders"), m.FaultSet("whole"))
	})
	m.Lap("witness")
	m.Checkpoints("whole", 1)
	m.Lap("checkpoints")

	stop := m.Records.Keeping(newRoom(m.Systems).stopMirror())
	t.Run("two looks see a mirror that runs", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var g errgroup.Group
		cl := m.Raw(m.Source)
		g.Go(func() error {
			for poll.Wait(ctx, 50*time.Millisecond) == nil {
				if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "audit", Value: []byte("x")}).FirstErr(); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		})
		obs, err := stop.Verify(t.Context(), m.Request(stop, ""), nil)
		cancel()
		m.Must(errors.Join(err, g.Wait()))
		for _, o := range obs {
			if o.Verdict != verdict.Fail {
				t.Errorf("while the mirror runs: %s", action.Finding(o))
			}
		}
	})
	m.Drained()
	t.Run("stop", func(t *testing.T) { prove.Action(t, stop, m.Request(stop, ""), m.FaultSet("whole")) })
	m.Lap("stopped and resumed")
	m.Drained()
	stopped := m.Do(stop, "")
	m.Is(stop, stopped, verdict.Pass)
	m.Lap("stopped")

	point := m.Records.Keeping(newRoom(m.Systems).kafkaPoint())
	t.Run("recovery point", func(t *testing.T) {
		prove.Action(t, point, m.Request(point, "orders"), m.FaultSet("whole"))
		m.Do(point, "audit")
		st, _, err := record.TopicPoint.Read(t.Context(), m.Records, "orders")
		m.Must(err)
		if len(st.Partitions) != world.Parts || st.Peak == nil || st.RPOSeconds != 30 {
			t.Errorf("recorded %+v", st)
		}
		for _, p := range st.Partitions {
			if p.MirroredThrough != sent || p.Source == nil || p.Source.Offset != sent || p.Source.At.Before(m.Begun) || len(p.Journal) == 0 || p.NewestAt.Before(m.Begun) {
				t.Errorf("partition %d: %+v, source %+v", p.Partition, p, p.Source)
			}
		}
	})
	t.Run("markers at the end of the source are no loss", func(t *testing.T) {
		m.Do(point, "paid")
		st, _, err := record.TopicPoint.Read(t.Context(), m.Records, "paid")
		m.Must(err)
		for _, p := range st.Partitions {
			if p.Source == nil || p.Source.Offset != 3 || p.MirroredThrough != 3 { // data, marker, data; and a marker
				t.Errorf("partition %d is mirrored through %d, source %+v; want 3 of 3", p.Partition, p.MirroredThrough, p.Source)
			}
		}
	})
	t.Run("a source that moves between plan and apply", func(t *testing.T) {
		r := m.Request(point, "paid")
		r.Records = &world.Kept{}
		c, err := point.Plan(t.Context(), r, nil)
		m.Must(err)
		m.Transact("paid", 1)
		r.Plan = &c
		o, err := m.World.Action("kafka.recovery-point").Apply(t.Context(), r, nil)
		m.Must(err)
		for _, p := range mustDecode[recovery.TopicState](t, o.Data).Partitions {
			if p.Source != nil {
				t.Errorf("partition %d: the record says that a source that went on ended at %d", p.Partition, p.Source.Offset)
			}
		}
		m.Is(point, m.Request(point, "paid"), verdict.Fail) // recorded before, and no longer true
	})
	m.Lap("recovery point")
	t.Run("promote", func(t *testing.T) { promote(m, t) })
	m.Lap("promoted")
	t.Run("the source is gone", func(t *testing.T) { sourceGone(m, t, point) })
	t.Run("another cluster answers", func(t *testing.T) {
		was := m.Estate.Regions[1].Kafka.ClusterID
		m.Estate.Regions[1].Kafka.ClusterID = "another"
		defer func() { m.Estate.Regions[1].Kafka.ClusterID = was }()
		if _, err := stop.Apply(t.Context(), stopped, nil); err == nil || !strings.Contains(err.Error(), "nothing is changed there") {
			t.Errorf("Apply = %v, want a refusal", err)
		}
	})
	t.Run("records arrive after the point", func(t *testing.T) {
		r := m.Request(point, "audit")
		m.Is(point, r, verdict.Pass)
		m.Produce(m.Target, "audit", 1)
		m.Is(point, r, verdict.Fail)
		r.Run.Mode = action.ModeDrill
		m.Is(point, r, verdict.Pass) // where nothing was stopped, going on is no fault
	})
	m.Lap("done")
}

// cutAt records a cut of the group, with a table.
func cutAt(m *world.Mirrored, at time.Time) {
	m.T.Helper()
	data, err := action.Encode(recovery.GroupPoint{Group: "orders", Cut: recovery.Cut{At: at, Tables: []recovery.TablePoint{{Name: "orders"}}}})
	m.Must(err)
	m.Records.Put("group.recovery-point", "orders", action.Outcome{Summary: "a cut", Data: data})
}

func promote(m *world.Mirrored, t *testing.T) {
	def := promoting(t, m.Systems, quick)
	// This mirror has no user of its own, so nothing is denied; a broker of its own shows that.
	def.RedWhen = slices.DeleteFunc(slices.Clone(def.RedWhen), func(r action.Red) bool {
		return r.Fault == "kafka.denial-lifted" || r.Fault == "kafka.mirror-password-changed"
	})
	cutAt(m, time.Now().Add(time.Hour))
	t.Run("read all", func(t *testing.T) {
		prove.Action(t, def, m.Request(def, "whole"), m.FaultSet("whole"))
		r := m.Do(def, "whole")
		agrees(m, t, "whole", r)
		plan, err := action.Decode[ConsumerPlan](r.Plan.Data)
		m.Must(err)
		for _, p := range plan.Placements {
			if p.Reason != place.Exact || p.ToRead != 0 {
				t.Errorf("a group that had read all comes back at %+v", p)
			}
		}
	})
	t.Run("never committed", func(t *testing.T) {
		prove.Action(t, def, m.Request(def, "new"), m.FaultSet("new"))
		r := m.Request(def, "new")
		c, err := def.Plan(t.Context(), r, nil)
		m.Must(err)
		r.Plan = &c
		// A record of somebody else's, between plan and apply.
		m.Commit(m.Target, "new", "orders", 5)
		if _, err := def.Apply(t.Context(), r, nil); !errors.Is(err, action.ErrMoved) {
			t.Errorf("Apply over another's commit = %v, want ErrMoved", err)
		}
		agrees(m, t, "new", m.Do(def, "new"))
	})
	t.Run("held back to the cut", func(t *testing.T) {
		m.Commit(m.Source, "cut", "orders", 60)
		cutAt(m, m.Begun) // before any record: everything comes again
		r := m.Do(def, "cut")
		m.Is(def, r, verdict.Pass)
		for _, p := range mustDecode[ConsumerPlan](t, r.Plan.Data).Placements {
			if p.Reason != place.ByCut || p.Offset != 0 {
				t.Errorf("placed at %+v, want the start, by the cut", p)
			}
		}
	})
	t.Run("a member's own commits", func(t *testing.T) {
		r := m.Do(def, "cut")
		cl := m.Raw(m.Target, kgo.ConsumerGroup("cut"), kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit(), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		m.Eventually("the member reads", func(ctx context.Context) error {
			f := cl.PollFetches(ctx)
			if f.NumRecords() == 0 {
				return errors.New("nothing")
			}
			return cl.CommitUncommittedOffsets(ctx)
		})
		m.Is(def, r, verdict.Pass)
		if _, err := def.Plan(t.Context(), m.Request(def, "cut"), nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "stop its consumers") {
			t.Errorf("Plan for an active group = %v, want a refusal that says what to do", err)
		}
		cl.LeaveGroup()
		cl.Close()
		m.Is(def, r, verdict.Fail) // moved on, and nobody is there who did
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

// sourceGone plans without the source.
func sourceGone(m *world.Mirrored, t *testing.T, point *action.Definition) {
	m.Must(m.Source.Kill(t.Context()))
	r := m.Request(point, "audit")
	obs := m.Is(point, r, verdict.Unknown)
	if !action.OnlySourceUnreachable(obs) {
		t.Errorf("with a dead source: %s", prove.Told(obs))
	}
	r.Run.SourceUnreachable = true
	r.Records = &world.Kept{}
	c, err := point.Plan(t.Context(), r, nil)
	m.Must(err)
	for _, p := range mustDecode[recovery.TopicState](t, c.Data).Partitions {
		if p.Source != nil || p.MirroredThrough == 0 {
			t.Errorf("a dead source is said to end somewhere: %+v", p)
		}
	}
	def := promoting(t, m.Systems, quick)
	r = m.Request(def, "whole")
	r.Run.SourceUnreachable = true
	cutAt(m, time.Now().Add(time.Hour))
	c, err = def.Plan(t.Context(), r, nil)
	m.Must(err)
	for _, p := range mustDecode[ConsumerPlan](t, c.Data).Placements {
		if p.Reason == place.Exact {
			t.Errorf("placed exactly without the source: %+v", p)
		}
	}
	back, err := labkafka.StartBroker(t.Context(), m.Source.Config)
	m.Must(err)
	m.Source = back
	m.T.Cleanup(func() { // not at the end of the subtest
		if err := back.Kill(context.WithoutCancel(m.T.Context())); err != nil {
			m.T.Error(err)
		}
	})
	m.Must(back.Ready(t.Context()))
}

// agrees asks Kafka's own command where a group stands.
func agrees(m *world.Mirrored, t *testing.T, group string, r action.Request) {
	t.Helper()
	plan, err := action.Decode[ConsumerPlan](r.Plan.Data)
	m.Must(err)
	rows, err := labkafka.DescribeGroup(t.Context(), m.Jars, m.Target.Admin(), group)
	m.Must(err)
	for p, o := range plan.offsets() {
		if row, ok := rows[p]; !ok || row.Committed != o {
			t.Errorf("kafka-consumer-groups shows %s in %v at %+v, want %d", group, p, row, o)
		}
	}
	if len(plan.Placements) != len(rows) {
		t.Errorf("%d partitions planned, kafka-consumer-groups shows %d", len(plan.Placements), len(rows))
	}
}
