package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka/place"
	"breakwater/internal/mirror"
	"breakwater/internal/record"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
	"breakwater/lab/world"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// renamed takes a topic through a failover that a real mirror renames, beside a topic of
// the target's own that has the source's name; then its group is a share group.
func renamed(m *world.Mirrored, t *testing.T) {
	const topic, copied, group, sent = "bills", "east.bills", "billing", 30
	ctx := t.Context()
	m.Must(m.Source.CreateTopic(ctx, topic, world.Parts))
	m.Must(m.Target.CreateTopic(ctx, topic, world.Parts))
	was := *m.Estate
	defer func() { *m.Estate = was }()
	m.Renaming(topic)
	m.Estate.Groups = []estate.Group{{
		Group: topic, Tier: 1, Topics: []estate.Topic{{Topic: topic}},
		ConsumerGroups: []estate.ConsumerGroup{{ConsumerGroup: group, Topics: []string{topic}}},
	}}
	m.Produce(m.Target, topic, 2*sent)
	drained := func() {
		t.Helper()
		src, err := m.Systems.Kafka(ctx, m.Estate, world.East)
		m.Must(err)
		m.Eventually("the mirror that renames is drained", func(ctx context.Context) error {
			at, silence, err := m.Mirror().Positions(ctx, src, topic)
			if err != nil || silence != nil {
				return errors.Join(err, silence)
			}
			for p, pos := range at {
				if d, known := pos.Drained(); !d || !known {
					return fmt.Errorf("%v: next %d, source %+v", p, pos.Next, pos.Source)
				}
			}
			return nil
		})
	}
	drained() // it has made the topic
	m.Lap("the second mirror has made %s", copied)
	for range 2 {
		m.Produce(m.Source, topic, sent/2)
		drained()
	}
	m.Commit(m.Source, group, topic, sent)
	m.Checkpoints(group, world.Parts)
	m.Lap("checkpoints of %s", group)
	conforms, ok := m.Mirror().(mirror.Conformer)
	if !ok {
		t.Fatal("the mirror cannot be held against the estate")
	}
	m.Must(conforms.Conform(ctx))

	stop := m.Records.Keeping(newRoom(m.Systems).stopMirror())
	r := m.Do(stop, "")
	obs, err := stop.Verify(ctx, r, nil)
	m.Must(err)
	for _, o := range obs { // the other mirror goes on noting its own progress
		if o.Verdict != verdict.Pass && !strings.Contains(o.What, "notes any progress") {
			t.Error(action.Finding(o))
		}
	}
	m.Lap("stopped")
	point := m.Records.Keeping(newRoom(m.Systems).kafkaPoint())
	m.Is(point, m.Do(point, topic), verdict.Pass)
	st, _, err := record.TopicPoint.Read(ctx, m.Records, topic)
	m.Must(err)
	for _, p := range st.Partitions {
		if p.MirroredThrough != sent || p.Source == nil || p.Source.Offset != sent || p.NewestAt.Before(m.Begun) || p.Odd != "" {
			t.Errorf("partition %d: %+v, source %+v", p.Partition, p, p.Source)
		}
	}

	// What the mirror had synced is taken away, so that there is something to place.
	adm := kadm.NewClient(m.Raw(m.Target))
	_, err = adm.DeleteGroup(ctx, group)
	m.Must(err)
	data, err := action.Encode(recovery.GroupPoint{Group: topic})
	m.Must(err)
	m.Records.Put("group.recovery-point", topic, action.Outcome{Summary: "a cut without tables", Data: data})
	def := promoting(t, m.Systems, quick)
	r = m.Do(def, group)
	m.Is(def, r, verdict.Pass)
	placed, err := adm.FetchOffsets(ctx, group)
	m.Must(err)
	if topics := placed.Offsets(); len(topics) != 1 || len(topics[copied]) != world.Parts {
		t.Errorf("by another client, the group stands at %+v; want in %s alone", topics, copied)
	}
	for _, p := range mustDecode[ConsumerPlan](t, r.Plan.Data).Placements {
		if p.Partition.Topic != copied || p.Reason != place.Exact || p.ToRead != 0 {
			t.Errorf("placed at %+v, want at the end of %s", p, copied)
		}
	}
	if !strings.Contains(r.Plan.Summary, "must subscribe to "+copied) {
		t.Errorf("the plan does not say what to subscribe to: %s", r.Plan.Summary)
	}
	m.TakenBack(def, &r, nil)
	left, err := adm.FetchOffsets(ctx, group)
	m.Must(err)
	if topics := left.Offsets().Sorted(); len(topics) > 0 {
		t.Errorf("taken back, the group still has %+v", topics)
	}

	m.Lap("placed, and taken back")
	_, err = adm.DeleteGroup(ctx, group)
	m.Must(err)
	share := m.Raw(m.Target, kgo.ShareGroup(group), kgo.ConsumeTopics(copied))
	m.Eventually("the share group is there", func(ctx context.Context) error {
		all, err := adm.ListGroupsByType(ctx, []string{"share"})
		if err == nil && !slices.Contains(all.Groups(), group) {
			err = errors.New("it is not listed")
		}
		return err
	})
	for _, members := range []string{"with a member", "without one"} {
		if _, err := def.Plan(ctx, m.Request(def, group), nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "it is a share group") {
			t.Errorf("Plan for a share group %s = %v, want a refusal that says what it is", members, err)
		}
		share.Close()
	}
}
