package kafka

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/lake"
	"breakwater/internal/mirror"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/poll"
	"breakwater/internal/reach"
	"breakwater/internal/record"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
)

func (s room) kafkaPoint() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "kafka.recovery-point", Over: estate.TopicKind, Effect: action.RecordsOnly, Drill: action.DrillReadOnly,
		Requires: []estate.Requirement{estate.NeedsMirror()}, Needs: []string{"kafka.stop-mirror"},
		Doc:   "Record how far every partition of a topic was mirrored, what the witness saw of its source, and where the source ends if it answers.",
		Rules: []action.Rule{{Says: "it stands in the outcome, in the run's ledger"}}, Show: action.Shows[recovery.TopicState, action.None](),
		Plan: s.planTopicPoint, Apply: s.applyTopicPoint, Verify: s.verifyTopicPoint,
		Permits: permit.Join(permit.AsksMirror(), permit.ReadsRecords(permit.Source, permit.Topics), permit.ReadsRecords(permit.Target, permit.Topics, permit.Mirror), permit.Reads(permit.Target, permit.Journal)),
		RedWhen: []action.Red{
			{Fault: "kafka.mirror-offset-moved", Want: verdict.Fail},
			{Fault: "kafka.target-frozen", Want: verdict.Unknown},
			{Fault: "kafka.source-frozen", Want: verdict.Unknown},
		},
	}
}

// quiet reads the end of the data of every partition of the source, where two
// looks see the same and no transaction is open; else it is nil, since whoever
// still writes has not said its last. A source that does not answer is nil too.
func quiet(ctx context.Context, source *kafka.Client, topic string) (map[kafka.Partition]kafka.DataEnd, error) {
	if source == nil {
		return nil, nil
	}
	first, err := source.DataEnds(ctx, topic)
	if err == nil {
		err = poll.Wait(ctx, apart)
	}
	var then map[kafka.Partition]kafka.Ends
	if err == nil {
		then, err = source.Ends(ctx, topic)
	}
	switch {
	case reach.Unreachable(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	for p, e := range then {
		if f, ok := first[p]; !ok || f.Stable != f.End || e.End != f.End || e.Stable != f.Stable {
			return nil, nil
		}
	}
	return first, nil
}

// topicState is what is known of a topic now. The time at which the source was
// asked is left out: it is no part of the world.
func (s room) topicState(ctx context.Context, c action.Call[action.None]) (recovery.TopicState, error) {
	t, g, ok := c.Estate.Topic(c.Item.Name)
	if !ok {
		return recovery.TopicState{}, fmt.Errorf("%w: the estate has no topic %q", action.ErrRefused, c.Item.Name)
	}
	m, err := s.mirrorOf(ctx, c)
	if err != nil {
		return recovery.TopicState{}, err
	}
	at, silence, err := m.positions(ctx, t.Topic)
	if err != nil {
		return recovery.TopicState{}, err
	}
	var source map[kafka.Partition]kafka.DataEnd
	if silence == nil {
		if source, err = quiet(ctx, m.source, t.Topic); err != nil {
			return recovery.TopicState{}, err
		}
	}
	seen, err := s.looked(ctx, c, t.Topic)
	if err != nil && !errors.Is(err, witness.ErrForged) { // of which the plan tells
		return recovery.TopicState{}, err
	}
	state := recovery.TopicState{Name: t.Topic}
	if tier, ok := c.Estate.Tier(g.Tier); ok {
		state.RPOSeconds = tier.RPO.Std().Seconds()
	}
	if t.PeakMessages > 0 {
		state.Peak = &recovery.Peak{PerSecond: t.PeakMessages, Burst: t.PeakBurst}
	}
	for _, id := range seen.partitions() { // what the witness saw and the target has not
		p := kafka.Partition{Topic: t.Topic, ID: id}
		if _, ok := at[p]; !ok {
			at[p] = mirror.Position{Missing: true}
		}
	}
	left, err := m.left(ctx, at, source)
	var anew string
	if err == nil && source != nil {
		anew, err = s.createdAnew(ctx, c, m, t.Topic)
	}
	if err != nil {
		return recovery.TopicState{}, err
	}
	for _, p := range slices.SortedFunc(maps.Keys(at), kafka.Partition.Compare) {
		pos := at[p]
		ps := recovery.PartitionState{Partition: p.ID, MirroredThrough: pos.Next, TargetEnd: pos.Target.End, Journal: seen.ends(p.ID), Lacking: pos.Missing}
		ps.NewestAt, ps.Untimed = newestOf(pos.Newest, time.Now(), c.Estate.ClockSkew.Std())
		if seen.undated(p.ID) {
			ps.NewestAt, ps.Untimed = time.Time{}, "its records carry no time at the source, and the mirror stamps them as it copies"
		}
		rest := pos.Rest()
		if rest.From != pos.Next {
			ps.From = &rest.From
		}
		other, still := seen.other(pos, ps.NewestAt, c.Estate.ClockSkew.Std())
		ps.Anew = rest.Anew || cmp.Or(anew, other) != ""
		if ps.Odd = cmp.Or(rest.Odd, anew, other); ps.Odd != "" {
			ps.Journal = nil // it may be of the other log
		}
		if source == nil && still {
			ps.From, ps.Journal = new(int64), seen.before(p.ID)
		}
		if e, ok := source[p]; ok {
			ps.Source = &recovery.End{Offset: ended(ps, e)}
		}
		if n, ok := left[p]; ok {
			ps.Left = &recovery.Counted{Records: n.Records, Whole: n.Whole}
		}
		state.Partitions = append(state.Partitions, ps)
	}
	return state, nil
}

// untimed is a state without the times at which its source was asked.
func untimed(st recovery.TopicState) recovery.TopicState {
	st.Partitions = slices.Clone(st.Partitions)
	for i, p := range st.Partitions {
		if p.Source != nil {
			st.Partitions[i].Source = &recovery.End{Offset: p.Source.Offset}
		}
	}
	return st
}

// sameState reports whether two states say the same but for the time of asking.
func sameState(a, b recovery.TopicState) (bool, error) {
	x, err := json.Marshal(untimed(a))
	if err != nil {
		return false, err
	}
	y, err := json.Marshal(untimed(b))
	return bytes.Equal(x, y), err
}

// sums says a state in a few words.
func sums(st recovery.TopicState) string {
	var through, behind int64
	told, whole := len(st.Partitions) > 0, true
	for _, p := range st.Partitions {
		through += p.MirroredThrough
		if p.Source == nil {
			told = false
			continue
		}
		if p.Left == nil {
			whole = false
			continue
		}
		behind, whole = behind+p.Left.Records, whole && p.Left.Whole
	}
	s := fmt.Sprintf("%s, mirrored through %d source offsets in all", plural.Of(len(st.Partitions), "partition"), through)
	switch {
	case !told:
		s += "; the source does not say where it ends, or has not ended"
	case whole:
		s += fmt.Sprintf("; the source has %s", plural.Of(behind, "more record"))
	default:
		s += fmt.Sprintf("; the source has at least %s", plural.Of(behind, "more record"))
	}
	for _, p := range st.Partitions {
		switch {
		case p.Odd != "":
			s += fmt.Sprintf("; partition %d: %s", p.Partition, p.Odd)
		case p.Lacking:
			s += fmt.Sprintf("; partition %d is not at the target: let the mirror refresh its topics, or add it there", p.Partition)
		}
	}
	return s
}

func (s room) planTopicPoint(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	m, err := s.Mirror(ctx, c.Estate, c.Run.Source, c.Run.Target)
	if err != nil && !errors.Is(err, mirror.ErrNone) { // topicState says more of none
		return action.Change{}, err
	}
	var ch action.Change
	if ch.Accepts, err = asDeclared(ctx, c, m); err != nil {
		return action.Change{}, err
	}
	st, err := s.topicState(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	if _, err := s.looked(ctx, c, st.Name); errors.Is(err, witness.ErrForged) {
		ch.Accepts = append(ch.Accepts, lake.AcceptForged("topic", st.Name, err))
	}
	ch.Summary = fmt.Sprintf("%s: %s", called(s.names(c), st.Name), sums(st))
	if ch.Data, err = action.Encode(st); err != nil {
		return ch, err
	}
	was, _, err := record.TopicPoint.Read(ctx, c.Records, st.Name)
	same := false
	if err == nil {
		same, err = sameState(was, st)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if !same {
		ch.Effects = []action.EffectLine{{On: "topic " + st.Name, Do: "record how far it is mirrored", To: sums(st)}}
	}
	return ch, err
}

// applyTopicPoint records what was planned, with the time at which the source
// still ended where the plan saw it. Where it has moved on since, or fallen
// silent, the record says nothing of its end: less than the plan, and never more.
func (s room) applyTopicPoint(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	st, err := action.Decode[recovery.TopicState](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	was, o, err := record.TopicPoint.Read(ctx, c.Records, st.Name)
	if err == nil {
		same, err := sameState(was, st)
		if same || err != nil {
			return action.Outcome{Summary: o.Summary, Data: o.Data}, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return action.Outcome{}, err
	}
	if st, err = s.timed(ctx, c, st); err != nil {
		return action.Outcome{}, err
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s: %s", st.Name, sums(st)), Mutations: 1}
	out.Data, err = action.Encode(st)
	return out, err
}

// endless is a state that says nothing of its source's end.
func endless(st recovery.TopicState) recovery.TopicState {
	st.Partitions = slices.Clone(st.Partitions)
	for i := range st.Partitions {
		st.Partitions[i].Source = nil
	}
	return st
}

// timed asks the source again, and puts the time before asking into the state.
func (s room) timed(ctx context.Context, c action.Call[action.None], st recovery.TopicState) (recovery.TopicState, error) {
	if !slices.ContainsFunc(st.Partitions, func(p recovery.PartitionState) bool { return p.Source != nil }) {
		return st, nil
	}
	k, err := s.Kafka(ctx, c.Estate, c.Run.Source)
	if err != nil {
		return st, err
	}
	now := time.Now().UTC()
	ends, err := k.DataEnds(ctx, st.Name)
	if reach.Unreachable(err) {
		return endless(st), nil
	}
	if err != nil {
		return st, err
	}
	for i, p := range st.Partitions {
		e, ok := ends[kafka.Partition{Topic: st.Name, ID: p.Partition}]
		if p.Source == nil || !ok || ended(p, e) != p.Source.Offset || e.Stable != e.End {
			return endless(st), nil
		}
		st.Partitions[i].Source.At = now
	}
	return st, nil
}
