package recovery

import (
	"fmt"
	"math"
	"slices"
	"time"

	"breakwater/internal/verdict"
)

// Death says until when the source may have acknowledged a write.
type Death struct {
	// By is the latest such moment, on the worker's clock: since when people accepted
	// that the source is dead, or the proven fence. Zero when neither is known: a source
	// that does not answer may go on acknowledging.
	By time.Time `json:"by,omitzero"`
	// Answered means that the source was read after its writers were fenced. Only
	// then do the Source fields count as the end of its history.
	Answered bool `json:"answered"`
}

// CountInterval holds a number of rows or messages. A nil AtMost is unbounded.
type CountInterval struct {
	AtLeast int64  `json:"at_least"`
	AtMost  *int64 `json:"at_most"`
}

// SecondsInterval holds a duration in seconds. A nil AtMost is unbounded.
type SecondsInterval struct {
	AtLeast float64  `json:"at_least"`
	AtMost  *float64 `json:"at_most"`
}

// Loss is what one dataset loses by going back to the cut.
//
// Of a table it counts the rows written to the source after the recovery
// point; totals are compared as if rows were only appended, and where the
// evidence shows a table shrinking they bound the loss from below only. Of a
// topic it counts records not mirrored, in all partitions: exactly where they were
// read and counted; else from offsets, of which transaction markers, aborted and
// compacted records take some, so that one record of many offsets is all that is proven.
//
// Seconds are the age of the recovery point at the moment of loss: from
// RecoveryPoint to the stamp of the newest write that is lost, both on the
// dataset's own clock, and zero when no write is lost; of a topic, those of its
// worst partition, each from its own moment. A lost rewrite that adds
// no rows is lost all the same: zero rows, more than zero seconds.
type Loss struct {
	Dataset string `json:"dataset"`
	Kind    string `json:"kind"`              // "table" or "topic"
	Unit    string `json:"unit"`              // "rows" or "messages"
	Out     bool   `json:"left_out,omitzero"` // it does not come back here
	// RecoveryPoint is the cut for a table, or the moment since which it is taken to be
	// unchanged, if that is earlier. A topic's log is not cut: for it, it
	// is the moment before which every record of its worst partition is mirrored. Zero
	// where nothing is known of it, and for what does not come back here.
	RecoveryPoint time.Time       `json:"recovery_point"`
	Version       *int64          `json:"version,omitempty"` // of a table that comes back
	Count         CountInterval   `json:"lost"`
	Seconds       SecondsInterval `json:"lost_seconds"`
	// Offsets of a topic's source lie beyond what is mirrored, as far as was seen. They
	// are as many as the records that are lost, or more.
	Offsets int64 `json:"lost_offsets,omitzero"`
	// Odd says per partition, for people, what contradicts the evidence. The loss has
	// then no upper bound.
	Odd []string `json:"odd,omitempty"`
	// Exact means that the source answered and Count is the truth.
	Exact      bool    `json:"exact"`
	RPOSeconds float64 `json:"rpo_seconds,omitzero"`
	// Met is pass if the interval lies within the objective, fail if it lies
	// outside, else unknown; unknown too where no objective is declared.
	Met verdict.Verdict `json:"met"`
}

// Losses returns what each dataset loses by going back to cut, in the cut's
// order: tables, then topics; then of what is left out. It takes the same evidence that ChooseCut took;
// a dataset of the cut without evidence is an error in [ErrEvidence].
func Losses(cut Cut, tables []TableState, topics []TopicState, death Death, skew time.Duration) ([]Loss, error) {
	byName := make(map[string]*TableState, len(tables))
	for i := range tables {
		byName[tables[i].Name] = &tables[i]
	}
	topicByName := make(map[string]*TopicState, len(topics))
	for i := range topics {
		topicByName[topics[i].Name] = &topics[i]
	}
	losses := make([]Loss, 0, len(cut.Tables)+len(cut.Topics))
	for _, p := range cut.Tables {
		t := byName[p.Name]
		if t == nil {
			return nil, fmt.Errorf("state the loss: %w: the cut holds table %q, the evidence does not; pass what the cut was chosen from", ErrEvidence, p.Name)
		}
		losses = append(losses, tableLoss(cut.At, p, t, death, skew))
	}
	for _, p := range cut.Topics {
		t := topicByName[p.Name]
		if t == nil {
			return nil, fmt.Errorf("state the loss: %w: the cut holds topic %q, the evidence does not; pass what the cut was chosen from", ErrEvidence, p.Name)
		}
		l, err := topicLoss(p, t, death, skew)
		if err != nil {
			return nil, err
		}
		losses = append(losses, l)
	}
	for _, left := range LeftOutOf(tables, topics) { // nothing is known of what they lose
		l := Loss{Dataset: left.Dataset, Kind: left.Kind, Unit: "messages", Out: true}
		if left.Kind == "table" {
			l.Unit, l.RPOSeconds = "rows", byName[left.Dataset].RPOSeconds
		} else {
			l.RPOSeconds = topicByName[left.Dataset].RPOSeconds
		}
		losses = append(losses, l)
	}
	return losses, nil
}

// anchor is a count of lost rows or messages known to be right at a moment.
type anchor struct {
	at    int64
	count int64
}

// proof is what is known of one version beyond the recovery point.
type proof struct{ rows, appended, committed int64 } // committed 0: not known

func tableLoss(at time.Time, p TablePoint, t *TableState, death Death, skew time.Duration) Loss {
	version := p.Version
	if !p.AssumedSince.IsZero() {
		at = p.AssumedSince // what is assumed bounds nothing
	}
	l := Loss{Dataset: p.Name, Kind: "table", Unit: "rows", RecoveryPoint: at, Version: &version, RPOSeconds: t.RPOSeconds}
	beyond, head := beyondTable(p, t)
	least, shrunk, chained := rowsBeyond(p, beyond)
	l.Count.AtLeast = least

	// Seconds: the newest lost commit is stamped no earlier than any known one,
	// and later than every sighting of an older head.
	newest := at.UnixNano()
	for _, b := range beyond {
		newest = max(newest, b.committed)
	}
	for h := range t.observations {
		if h.Version < head {
			newest = max(newest, h.At.UnixNano()-int64(skew))
		}
	}
	l.Seconds.AtLeast = seconds(newest - at.UnixNano())

	switch s := t.Source; {
	case death.Answered && s != nil && s.Version <= p.Version && head <= p.Version:
		l.settle(0, 0)
	case death.Answered && s != nil && s.Version >= head:
		l.Seconds.AtMost = longest(at, latestWrite(death, s.At), skew, l.Seconds.AtLeast)
		if b := beyond[s.Version]; b.committed != 0 {
			exact := l.Seconds.AtLeast
			l.Seconds.AtMost = &exact
		}
		switch {
		case p.Rows >= 0 && s.Rows >= 0 && !shrunk:
			l.settleCount(max(least, s.Rows-p.Rows))
		case chained >= s.Version: // every version's own rows are known
			l.settleCount(least)
		}
	default:
		l.Seconds.AtMost = longest(at, death.By, skew, l.Seconds.AtLeast)
	}
	if l.Count.AtMost == nil {
		l.Count.AtMost = atMost(least, tableAnchors(p, t, beyond, shrunk), t.Peak, death.By, skew)
	}
	l.Met = within(l.Seconds, l.RPOSeconds)
	return l
}

// beyondTable gathers what is known of each version after the recovery point,
// and the newest version that is proven to have existed.
func beyondTable(p TablePoint, t *TableState) (map[int64]proof, int64) {
	beyond, head := map[int64]proof{}, p.Version
	add := func(version, rows, appended int64, committed time.Time) {
		head = max(head, version)
		if version <= p.Version {
			return
		}
		b, ok := beyond[version]
		if !ok {
			b = proof{Unknown, Unknown, 0}
		}
		b.rows, b.appended = max(b.rows, rows), max(b.appended, appended)
		if usable(committed) {
			b.committed = committed.UnixNano()
		}
		beyond[version] = b
	}
	for _, v := range t.Versions {
		add(v.Version, v.Rows, v.Appended, v.CommittedAt)
	}
	for _, h := range t.Heads {
		add(h.Version, h.Rows, Unknown, h.CommittedAt)
	}
	if t.Source != nil {
		add(t.Source.Version, t.Source.Rows, Unknown, t.Source.CommittedAt)
	}
	return beyond, head
}

// rowsBeyond returns how many rows are proven to have been written after the
// recovery point, whether a total was seen to shrink, and the last version up to
// which each single version's rows are known without a gap.
func rowsBeyond(p TablePoint, beyond map[int64]proof) (least int64, shrunk bool, chained int64) {
	versions := make([]int64, 0, len(beyond))
	for v := range beyond {
		versions = append(versions, v)
	}
	slices.Sort(versions)
	chained = p.Version
	lastRows := p.Rows
	// base is the best "proven so far, less the total there": a later total plus
	// base is a lower bound again.
	base := int64(math.MinInt64)
	if p.Rows >= 0 {
		base = -p.Rows
	}
	for _, v := range versions {
		b := beyond[v]
		if b.appended > 0 {
			least += b.appended
		}
		if b.appended >= 0 && chained == v-1 {
			chained = v
		}
		if b.rows < 0 {
			continue
		}
		shrunk = shrunk || b.rows < lastRows
		lastRows = b.rows
		if base != math.MinInt64 {
			least = max(least, b.rows+base)
		}
		base = max(base, least-b.rows)
	}
	return least, shrunk, chained
}

// tableAnchors are the moments at which the number of lost rows is exactly known.
func tableAnchors(p TablePoint, t *TableState, beyond map[int64]proof, shrunk bool) []anchor {
	anchors := []anchor{{p.CommittedAt.UnixNano(), 0}}
	for h := range t.observations {
		switch {
		case h.Version <= p.Version:
			anchors = append(anchors, anchor{h.At.UnixNano(), 0})
		case !shrunk && p.Rows >= 0 && h.Rows >= 0:
			anchors = append(anchors, anchor{h.At.UnixNano(), h.Rows - p.Rows})
		}
	}
	sum := int64(0) // of consecutive versions, each with its own rows known
	for v := p.Version + 1; ; v++ {
		b, ok := beyond[v]
		if !ok || b.appended < 0 {
			break
		}
		sum += b.appended
		if b.committed != 0 {
			anchors = append(anchors, anchor{b.committed, sum})
		}
	}
	if !shrunk && p.Rows >= 0 {
		for _, b := range beyond {
			if b.rows >= 0 && b.committed != 0 {
				anchors = append(anchors, anchor{b.committed, b.rows - p.Rows})
			}
		}
	}
	return anchors
}

func topicLoss(p TopicPoint, t *TopicState, death Death, skew time.Duration) (Loss, error) {
	l := Loss{Dataset: t.Name, Kind: "topic", Unit: "messages", RPOSeconds: t.RPOSeconds, Exact: true}
	zero := 0.0
	l.Seconds.AtMost = &zero
	states := make(map[int32]*PartitionState, len(t.Partitions))
	for i := range t.Partitions {
		states[t.Partitions[i].Partition] = &t.Partitions[i]
	}
	// Since all partitions share one declared peak, the topic is bounded from the
	// oldest of their last known moments.
	start := anchor{at: math.MaxInt64}
	odd, counted := false, new(int64) // counted: offsets up to the source's end; nil where it is not known
	for _, point := range p.Partitions {
		s := states[point.Partition]
		if s == nil {
			return Loss{}, fmt.Errorf("state the loss: %w: the cut holds %s/%d, the evidence does not; pass what the cut was chosen from", ErrEvidence, t.Name, point.Partition)
		}
		from := point.KnownThrough.Add(-skew)
		if point.KnownThrough.IsZero() {
			from = time.Time{}
		}
		if l.RecoveryPoint.IsZero() || from.Before(l.RecoveryPoint) {
			l.RecoveryPoint = from
		}
		lost := partitionLoss(from, s, death, skew)
		l.Count.AtLeast += lost.atLeast
		l.Offsets += lost.offsets
		l.Exact = l.Exact && lost.exact
		l.Seconds.AtLeast = max(l.Seconds.AtLeast, lost.seconds.AtLeast)
		if most := lost.seconds.AtMost; most == nil || l.Seconds.AtMost == nil {
			l.Seconds.AtMost = nil
		} else if *most > *l.Seconds.AtMost {
			l.Seconds.AtMost = most
		}
		if counted != nil {
			*counted += lost.offsets
		}
		if !lost.answered {
			counted = nil
		}
		start = anchor{min(start.at, lost.known.at), start.count + lost.known.count}
		if s.Odd != "" {
			l.Odd = append(l.Odd, fmt.Sprintf("%s/%d: %s", t.Name, s.Partition, s.Odd))
		} else if s.Lacking {
			l.Odd = append(l.Odd, fmt.Sprintf("%s/%d: the target has no such partition", t.Name, s.Partition))
		}
		odd = odd || s.Odd != ""
	}
	switch l.Exact = l.Exact && len(p.Partitions) > 0; {
	case odd:
		l.Exact, l.Seconds.AtMost = false, nil
	case l.Exact:
		l.settleCount(l.Count.AtLeast)
	case counted != nil:
		l.Count.AtMost = counted
	default:
		l.Count.AtMost = atMost(l.Count.AtLeast, []anchor{start}, t.Peak, death.By, skew)
	}
	l.Met = within(l.Seconds, l.RPOSeconds)
	return l, nil
}

// partitionLost is what a partition lost after a moment.
type partitionLost struct {
	atLeast int64  // records
	offsets int64  // offsets seen beyond what is mirrored
	known   anchor // the last moment at which no more than its count was lost
	seconds SecondsInterval
	// answered means that the source said where it ends; exact, that atLeast is the truth.
	answered, exact bool
}

// partitionLoss returns what a partition lost after from. An end that lies beyond what
// is mirrored proves that one record is lost, the one before it, and no more.
func partitionLoss(from time.Time, p *PartitionState, death Death, skew time.Duration) partitionLost {
	l := partitionLost{known: anchor{from.Add(skew).UnixNano(), 0}, answered: death.Answered && p.Source != nil}
	if from.IsZero() {
		l.known.at = math.MinInt64
	}
	var proven int64 // offsets beyond what is mirrored, of which the last is a record
	for e := range p.observations {
		lost := max(0, e.Offset-p.from())
		l.offsets = max(l.offsets, lost)
		if !e.Open {
			proven = max(proven, lost)
		}
		if at := e.At.UnixNano(); at >= l.known.at {
			l.known = anchor{at, max(lost, l.known.count)}
		}
	}
	l.atLeast = min(proven, 1)
	newest := from.UnixNano()
	for e := range p.observations {
		if proven > 0 && e.Offset < p.from()+proven {
			newest = max(newest, e.At.UnixNano()-int64(skew))
		}
	}
	if !from.IsZero() {
		l.seconds.AtLeast = seconds(newest - from.UnixNano())
	}
	ended := l.answered && max(0, p.Source.Offset-p.from()) == l.offsets
	if p.Left != nil && l.answered {
		l.atLeast = p.Left.Records
	}
	l.exact = ended && (l.offsets == 0 || p.Left != nil && p.Left.Whole)
	switch {
	case l.exact && l.atLeast == 0:
		l.seconds = SecondsInterval{AtMost: new(float64)}
	case from.IsZero():
	case ended:
		l.seconds.AtMost = longest(from, latestWrite(death, p.Source.At), skew, l.seconds.AtLeast)
	default:
		l.seconds.AtMost = longest(from, death.By, skew, l.seconds.AtLeast)
	}
	return l
}

// settle makes the loss exact.
func (l *Loss) settle(count int64, secs float64) {
	l.settleCount(count)
	l.Seconds = SecondsInterval{AtLeast: secs, AtMost: &secs}
}

func (l *Loss) settleCount(count int64) {
	l.Count, l.Exact = CountInterval{AtLeast: count, AtMost: &count}, true
}

// latestWrite is the earlier of two moments after which nothing was written.
func latestWrite(death Death, answered time.Time) time.Time {
	if !usable(death.By) || usable(answered) && answered.Before(death.By) {
		return answered
	}
	return death.By
}

// longest bounds the seconds from a recovery point to the last write before the
// end. It is never zero: only a source that answers proves that nothing is lost.
// It is nil where the end is not known, or where what is proven contradicts it.
func longest(from, end time.Time, skew time.Duration, atLeast float64) *float64 {
	if !usable(end) {
		return nil
	}
	s := seconds(max(1, end.Add(skew).Sub(from).Nanoseconds()))
	if end.Add(skew).Before(from) || s < atLeast {
		return nil // the clocks break the declared skew
	}
	return &s
}

// atMost bounds a count by the tightest anchor and the declared peak. It is nil
// where no peak is declared, and where more is proven than the peak allows, since
// a declaration that does not hold bounds nothing. It is never zero, as with
// longest.
func atMost(least int64, anchors []anchor, peak *Peak, end time.Time, skew time.Duration) *int64 {
	if !peak.declared() || !usable(end) {
		return nil
	}
	best := math.Inf(1)
	for _, a := range anchors {
		left := end.Add(skew).Sub(moment(a.at))
		if left < 0 {
			continue // a sighting after the end: the clocks break the declared skew
		}
		best = min(best, float64(a.count)+math.Ceil(peak.PerSecond*left.Seconds())+float64(peak.Burst))
	}
	if best > math.MaxInt64/2 || best < float64(least) {
		return nil
	}
	most := max(int64(best), 1)
	return &most
}

// within judges an interval against a limit: pass only if all of it is inside,
// fail only if all of it is outside.
func within(s SecondsInterval, limit float64) verdict.Verdict {
	switch {
	case limit <= 0:
		return verdict.Unknown
	case s.AtLeast > limit:
		return verdict.Fail
	case s.AtMost != nil && *s.AtMost <= limit:
		return verdict.Pass
	}
	return verdict.Unknown
}
