package recovery

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"breakwater/internal/plural"
)

// Cut is the one moment to which a group comes back, and what it means for each
// of its datasets. Tables and topics are sorted by name.
type Cut struct {
	// At is the moment: each table is at its version then, and every record
	// stamped before it is mirrored.
	At          time.Time    `json:"at"`
	SkewSeconds float64      `json:"skew_seconds"` // already taken off At
	Binding     Binding      `json:"binding"`
	Tables      []TablePoint `json:"tables,omitempty"`
	Topics      []TopicPoint `json:"topics,omitempty"`
}

// Binding is the dataset that keeps the cut from being later.
type Binding struct {
	Dataset string `json:"dataset"` // a table, or "topic/partition"
	Reason  string `json:"reason"`  // one sentence
}

// TablePoint is the recovery point of a table.
type TablePoint struct {
	Name        string    `json:"name"`
	Version     int64     `json:"version"`
	CommittedAt time.Time `json:"committed_at"`
	Rows        int64     `json:"rows"` // or Unknown
	// KnownThrough is the moment up to which nothing newer than NewestComplete
	// existed, before the skew is taken off.
	KnownThrough time.Time `json:"known_through"`
	// AssumedSince is set where the cut is later than what is known of the table, since
	// people take it that nothing was written: from then on, the skew taken off.
	AssumedSince   time.Time `json:"assumed_since,omitzero"`
	NewestComplete int64     `json:"newest_complete"`
	GivesUp        GivesUp   `json:"gives_up"`
}

// GivesUp is what a table on its own could have kept: the distance from the cut
// to its newest complete version.
type GivesUp struct {
	Versions int64   `json:"versions"`
	Rows     int64   `json:"rows"`    // may be negative where rows were deleted; see RowsKnown
	Seconds  float64 `json:"seconds"` // from the cut to that version's commit
	// RowsKnown is false where one of the two counts is missing.
	RowsKnown bool `json:"rows_known"`
}

// TopicPoint is how far a topic is known to be mirrored. The standby's log is
// not truncated at the cut.
type TopicPoint struct {
	Name       string           `json:"name"`
	Partitions []PartitionPoint `json:"partitions"`
	// Assumed is set where the cut is later than what is known of a partition, since
	// people take the topic to be unchanged.
	Assumed bool `json:"assumed,omitzero"`
}

// PartitionPoint is how far one partition is known to be mirrored, before the
// skew is taken off.
type PartitionPoint struct {
	Partition       int32     `json:"partition"`
	MirroredThrough int64     `json:"mirrored_through"`
	KnownThrough    time.Time `json:"known_through,omitzero"` // zero: nothing is known, and people took it to be unchanged
}

// why says on what a bound rests.
type why uint8

const (
	whyCommit     why = iota // the newest complete version's own commit time
	whySeen                  // an observation of the source
	whyNext                  // the next version's log entry, which is at the target
	whyRecord                // the newest mirrored record
	whyIncomplete            // the window of a version that is not complete
	whyGap                   // a version between two known ones is missing
	whyBeyond                // the source was seen beyond what the target holds
	whyBefore                // earlier than the oldest known version
)

// bound is a moment up to which a dataset is known, and on what that rests.
type bound struct {
	at      int64 // nanoseconds
	why     why
	version int64 // the version it speaks of, for tables
}

func (b *bound) raise(to bound) {
	if to.at > b.at {
		*b = to
	}
}

// owner is a table (partition < 0) or a partition of a topic, by index.
type owner struct{ set, partition int }

// ban is a closed range of moments that one dataset forbids.
type ban struct {
	from, to int64
	owner    owner
	bound    bound
	waivable bool // where people take the dataset to be unchanged
}

// chooser collects what every dataset forbids.
type chooser struct {
	tables []TableState
	topics []TopicState
	dated  [][]Version // per table: the versions with a commit time, ascending
	skew   int64       // between any two clocks
	apart  int64       // between the cut and a table's own stamps: the skew, or zero for a table that is alone
	bans   []ban
	// waived are the bans of datasets that people take to be unchanged.
	waived []ban
	newest int64 // commit of all that are complete
}

// ChooseCut returns the latest moment, less the skew, at which every table's
// version is complete at the target and every partition is mirrored. For a table that
// is alone the skew is taken off sightings only: its own stamps are on the cut's clock.
//
// A table is known through the latest of: its newest complete version's commit
// time; the last observation of the source at or below that version; and the
// instant before the next version's commit, when that log entry is at the
// target. A partition is known through its newest mirrored timestamp or the
// last observed source end that is mirrored, whichever is later.
//
// What is left out does not count. The error is [ErrEmptyGroup], a [*NoCutError], a [*NotMonotoneError] or
// another in [ErrEvidence]. The arguments are not changed.
func ChooseCut(tables []TableState, topics []TopicState, skew time.Duration) (Cut, error) {
	if skew < 0 {
		return Cut{}, fmt.Errorf("choose the cut: %w: the clock skew is %s; declare zero or more", ErrEvidence, skew)
	}
	tables = slices.DeleteFunc(slices.Clone(tables), func(t TableState) bool { return t.LeftOut != "" })
	topics = slices.DeleteFunc(slices.Clone(topics), func(t TopicState) bool { return t.LeftOut != "" })
	if err := distinct(tables, topics); err != nil {
		return Cut{}, err
	}
	c := &chooser{tables: tables, topics: topics, skew: int64(skew), apart: int64(skew), newest: math.MinInt64}
	if len(tables) == 1 && len(topics) == 0 {
		c.apart = 0
	}
	cut := Cut{SkewSeconds: skew.Seconds(), Tables: make([]TablePoint, len(tables)), Topics: make([]TopicPoint, len(topics))}
	newest := make([]int, len(tables)) // index into dated
	for i := range tables {
		known, n, err := c.table(i)
		if err != nil {
			return Cut{}, err
		}
		newest[i] = n
		cut.Tables[i].KnownThrough = moment(known)
	}
	for i, t := range topics {
		cut.Topics[i].Name = t.Name
		for j, p := range t.Partitions {
			known, err := c.partition(i, j)
			if err != nil {
				return Cut{}, err
			}
			point := PartitionPoint{Partition: p.Partition, MirroredThrough: p.MirroredThrough}
			if known > math.MinInt64 {
				point.KnownThrough = moment(known)
			}
			cut.Topics[i].Partitions = append(cut.Topics[i].Partitions, point)
		}
		slices.SortFunc(cut.Topics[i].Partitions, func(a, b PartitionPoint) int { return cmp.Compare(a.Partition, b.Partition) })
	}
	at, by, err := c.latest()
	if err != nil {
		return Cut{}, err
	}
	cut.At = moment(at)
	cut.Binding = Binding{Dataset: c.name(by.owner), Reason: c.reason(by)}
	for i := range tables {
		cut.Tables[i].place(tables[i].Name, c.dated[i], newest[i], at)
	}
	for _, w := range c.waived {
		switch {
		case w.from > at:
		case w.owner.partition < 0:
			cut.Tables[w.owner.set].AssumedSince = moment(w.from - 1)
		default:
			cut.Topics[w.owner.set].Assumed = true
		}
	}
	slices.SortFunc(cut.Tables, func(a, b TablePoint) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(cut.Topics, func(a, b TopicPoint) int { return cmp.Compare(a.Name, b.Name) })
	return cut, nil
}

// distinct refuses an empty group and a name that occurs twice.
func distinct(tables []TableState, topics []TopicState) error {
	partitions := 0
	names := make(map[string]bool, len(tables))
	for _, t := range tables {
		if names[t.Name] {
			return fmt.Errorf("choose the cut: %w: table %q is listed twice; give each dataset one state", ErrEvidence, t.Name)
		}
		names[t.Name] = true
	}
	clear(names)
	for _, t := range topics {
		if names[t.Name] {
			return fmt.Errorf("choose the cut: %w: topic %q is listed twice; give each dataset one state", ErrEvidence, t.Name)
		}
		names[t.Name] = true
		if len(t.Partitions) == 0 {
			return &NoCutError{t.Name, "no partition of it was looked at", "read the topic's partitions at the target", "", []string{t.Name}}
		}
		seen := make(map[int32]bool, len(t.Partitions))
		for _, p := range t.Partitions {
			if seen[p.Partition] {
				return fmt.Errorf("choose the cut: %w: %s/%d is listed twice; give each partition one state", ErrEvidence, t.Name, p.Partition)
			}
			seen[p.Partition] = true
			partitions++
		}
	}
	if len(tables)+partitions == 0 {
		return fmt.Errorf("choose the cut: %w: no table and no partition was given; add datasets to the group", ErrEmptyGroup)
	}
	return nil
}

// datedVersions returns the versions that carry a commit time, ascending, and
// refuses duplicates and times that run backwards.
func datedVersions(t *TableState) ([]Version, error) {
	vs := make([]Version, 0, len(t.Versions))
	for _, v := range t.Versions {
		if usable(v.CommittedAt) {
			vs = append(vs, v)
		}
	}
	slices.SortStableFunc(vs, func(a, b Version) int { return cmp.Compare(a.Version, b.Version) })
	for i := 1; i < len(vs); i++ {
		switch before, v := vs[i-1], vs[i]; {
		case before.Version == v.Version:
			return nil, fmt.Errorf("choose the cut: %w: version %d of %s is listed twice; give each version once", ErrEvidence, v.Version, t.Name)
		case v.CommittedAt.Before(before.CommittedAt):
			return nil, &NotMonotoneError{Table: t.Name, Earlier: before, Later: v}
		}
	}
	return vs, nil
}

// table adds what table i forbids, and returns up to when it is known and the
// index of its newest complete version.
func (c *chooser) table(i int) (known int64, newest int, err error) {
	t, me := &c.tables[i], owner{i, -1}
	vs, err := datedVersions(t)
	if err != nil {
		return 0, 0, err
	}
	c.dated = append(c.dated, vs)
	newest = -1
	for n, v := range vs {
		if v.Complete {
			newest = n
		}
	}
	if newest < 0 {
		return 0, 0, &NoCutError{t.Name, fmt.Sprintf("none of its %s with a commit time is complete at the target", plural.Of(len(vs), "version")),
			"wait for its replication, or restore it from a backup", "", []string{t.Name}}
	}
	head := vs[newest]
	c.newest = max(c.newest, head.CommittedAt.UnixNano())

	through := bound{head.CommittedAt.UnixNano(), whyCommit, head.Version}
	beyond := bound{at: math.MaxInt64}
	for h := range t.observations {
		if h.Version <= head.Version {
			through.raise(bound{h.At.UnixNano() - c.skew + c.apart, whySeen, head.Version})
		} else if at := h.At.UnixNano(); at < beyond.at {
			beyond = bound{at, whyBeyond, h.Version}
		}
	}
	if newest+1 < len(vs) {
		next := vs[newest+1]
		at := next.CommittedAt.UnixNano()
		if next.Version == head.Version+1 {
			through.raise(bound{at - 1, whyNext, next.Version})
		}
		c.ban(at, math.MaxInt64, me, bound{at, whyIncomplete, next.Version})
	}
	later := slices.ContainsFunc(t.Versions, func(v Version) bool { return v.Version > head.Version })
	if known := (ban{through.at - c.apart + 1, math.MaxInt64, me, through, !later && beyond.at == math.MaxInt64}); t.Unchanged && known.waivable {
		c.waived = append(c.waived, known)
	} else {
		c.bans = append(c.bans, known)
	}
	if beyond.at < math.MaxInt64 {
		// Within the declared skew this forbids nothing that is not forbidden
		// already; it holds the cut back when the clocks break that declaration.
		c.ban(beyond.at+c.skew-c.apart, math.MaxInt64, me, beyond)
	}
	for n := range newest {
		v, next := vs[n], vs[n+1]
		from, to := v.CommittedAt.UnixNano(), next.CommittedAt.UnixNano()-1
		switch {
		case !v.Complete:
			c.ban(from, to, me, bound{from, whyIncomplete, v.Version})
		case next.Version != v.Version+1:
			settled := from
			for h := range t.observations {
				if h.Version <= v.Version {
					settled = max(settled, h.At.UnixNano()-c.skew)
				}
			}
			c.ban(settled+1, to, me, bound{from, whyGap, v.Version})
		}
	}
	first := vs[0].CommittedAt.UnixNano()
	c.ban(math.MinInt64, first-1, me, bound{first, whyBefore, vs[0].Version})
	return through.at, newest, nil
}

// partition adds what partition j of topic i forbids, and returns up to when it
// is known.
func (c *chooser) partition(i, j int) (int64, error) {
	p, me := &c.topics[i].Partitions[j], owner{i, j}
	through := bound{at: math.MinInt64}
	if usable(p.NewestAt) {
		through = bound{at: p.NewestAt.UnixNano(), why: whyRecord}
	}
	beyond := int64(math.MaxInt64)
	for e := range p.observations {
		if at := e.At.UnixNano(); e.Offset <= p.from() {
			through.raise(bound{at: at, why: whySeen})
		} else {
			beyond = min(beyond, at)
		}
	}
	switch {
	case through.at > math.MinInt64:
	case c.topics[i].Unchanged && beyond == math.MaxInt64:
		c.waived = append(c.waived, ban{math.MinInt64, math.MaxInt64, me, through, true})
		return through.at, nil
	default:
		none := &NoCutError{c.name(me), "it holds no mirrored record and no source end was ever journalled",
			"let the witness journal its end while the source answers", "", []string{c.dataset(me)}}
		if p.Untimed != "" {
			none.Reason = p.Untimed + ", and no source end that is mirrored was ever journalled"
		}
		if beyond == math.MaxInt64 {
			none.Unchanged = c.dataset(me)
		}
		return 0, none
	}
	if known := (ban{through.at - c.skew + 1, math.MaxInt64, me, through, beyond == math.MaxInt64}); c.topics[i].Unchanged && known.waivable {
		c.waived = append(c.waived, known)
	} else {
		c.bans = append(c.bans, known)
	}
	if beyond < math.MaxInt64 {
		c.ban(beyond+1, math.MaxInt64, me, bound{at: beyond, why: whyBeyond}) // clocks beyond the declared skew
	}
	return through.at, nil
}

func (c *chooser) ban(from, to int64, by owner, b bound) {
	if from <= to {
		c.bans = append(c.bans, ban{from, to, by, b, false})
	}
}

// latest returns the latest moment that no ban holds, and the ban that keeps it
// from being later. By falling upper end, each ban either holds the candidate,
// which then moves before it, or ends before it, and so do all that follow.
func (c *chooser) latest() (int64, ban, error) {
	if !slices.ContainsFunc(c.bans, func(b ban) bool { return b.to == math.MaxInt64 }) && len(c.waived) > 0 {
		// All of them are taken to be unchanged: the one that is known longest says when, or
		// the newest commit, if what is known ends before it by the skew.
		last := slices.MaxFunc(c.waived, func(a, b ban) int { return cmp.Compare(a.from, b.from) })
		if last.from == math.MinInt64 {
			return 0, ban{}, &NoCutError{c.name(last.owner), "nothing is known of it or of anything else in its group, which people take to be unchanged",
				"let the witness journal its end while the source answers", "", []string{c.dataset(last.owner)}}
		}
		last.from, last.waivable = max(last.from-1, c.newest)+1, false
		c.bans = append(c.bans, last)
	}
	slices.SortFunc(c.bans, func(a, b ban) int {
		return cmp.Or(cmp.Compare(b.to, a.to), cmp.Compare(a.from, b.from),
			cmp.Compare(a.owner.set, b.owner.set), cmp.Compare(a.owner.partition, b.owner.partition))
	})
	at, by := int64(math.MaxInt64), ban{}
	for _, b := range c.bans {
		if b.to < at {
			break
		}
		if b.from > at {
			continue
		}
		if b.bound.why == whyBefore {
			unchanged := ""
			if by.waivable {
				unchanged = c.dataset(by.owner)
			}
			return 0, ban{}, &NoCutError{c.name(b.owner),
				fmt.Sprintf("it is known only since version %d of %s, and the group can come back to no moment after %s because of %s: %s",
					b.bound.version, stamp(moment(b.bound.at)), stamp(moment(at)), c.name(by.owner), strings.TrimSuffix(c.reason(by), ".")),
				"restore its older versions, wait for the other's replication, or put the two in separate groups", unchanged,
				slices.Compact([]string{c.dataset(b.owner), c.dataset(by.owner)})}
		}
		at, by = b.from-1, b
	}
	return at, by, nil
}

func (c *chooser) name(o owner) string {
	if o.partition < 0 {
		return c.tables[o.set].Name
	}
	return fmt.Sprintf("%s/%d", c.topics[o.set].Name, c.topics[o.set].Partitions[o.partition].Partition)
}

// dataset is the table or the topic that an owner is of. A name that both a table and a
// topic of the group have says which of them is meant.
func (c *chooser) dataset(o owner) string {
	kind, name := "topic", ""
	if o.partition < 0 {
		kind, name = "table", c.tables[o.set].Name
	} else {
		name = c.topics[o.set].Name
	}
	if slices.ContainsFunc(c.tables, func(t TableState) bool { return t.Name == name }) &&
		slices.ContainsFunc(c.topics, func(t TopicState) bool { return t.Name == name }) {
		return kind + ":" + name
	}
	return name
}

// reason says in a sentence why b forbids what it forbids.
func (c *chooser) reason(b ban) string {
	at, table := stamp(moment(b.bound.at)), b.owner.partition < 0
	switch b.bound.why {
	case whyCommit:
		return fmt.Sprintf("Version %d, committed at %s, is its newest complete one, and nothing shows how long it stayed the head.", b.bound.version, at)
	case whySeen:
		if table {
			return fmt.Sprintf("The source was last seen at or below its newest complete version %d at %s.", b.bound.version, at)
		}
		return fmt.Sprintf("The source's end was last seen mirrored at %s.", at)
	case whyNext:
		return fmt.Sprintf("Version %d, committed right after %s, has its log entry at the target but is not complete.", b.bound.version, at)
	case whyRecord:
		return fmt.Sprintf("Its newest mirrored record is of %s.", at)
	case whyIncomplete:
		return fmt.Sprintf("Version %d, committed at %s, is not complete at the target.", b.bound.version, at)
	case whyGap:
		return fmt.Sprintf("What followed version %d of %s is missing at the target.", b.bound.version, at)
	case whyBeyond:
		return fmt.Sprintf("The source was seen beyond what the target holds at %s, so its clocks differ by more than the declared skew.", at)
	default:
		return fmt.Sprintf("It is known only since version %d of %s.", b.bound.version, at)
	}
}

// place fills in the version that holds at the moment of the cut.
func (p *TablePoint) place(name string, vs []Version, newest int, at int64) {
	n := newest
	for n > 0 && vs[n].CommittedAt.UnixNano() > at {
		n--
	}
	v, best := vs[n], vs[newest]
	p.Name, p.Version, p.CommittedAt, p.Rows, p.NewestComplete = name, v.Version, v.CommittedAt, v.Rows, best.Version
	p.GivesUp = GivesUp{Versions: best.Version - v.Version, Rows: Unknown}
	if v.Rows >= 0 && best.Rows >= 0 {
		p.GivesUp.Rows, p.GivesUp.RowsKnown = best.Rows-v.Rows, true
	}
	if n != newest {
		p.GivesUp.Seconds = seconds(best.CommittedAt.UnixNano() - at)
	}
}

func seconds(ns int64) float64 { return time.Duration(ns).Seconds() }
