// Package place decides where a consumer group continues in the copy of its topics:
// in every partition at a position that misses no record, and brings as few again as
// is known to be enough. It is pure: what is known of a group comes in as values.
package place

import (
	"fmt"
	"maps"
	"slices"

	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
)

// Reason says on what a group's place in a partition rests, from the most exact
// to the least.
type Reason string

// The reasons, see [Group].
const (
	Exact      Reason = "exact"        // no record comes again, none is missed
	Translated Reason = "translated"   // from the group's commit, or its checkpoint's, and an older sync
	ByPoint    Reason = "checkpoint"   // from the mirror's newest checkpoint
	ByTime     Reason = "by timestamp" // from a time up to which the group's work is known to be done
	ByCut      Reason = "cut"          // held back: the tables of the cut hold no more
	Earliest   Reason = "earliest"     // nothing is known: everything that is there comes again
)

// Facts are what is known about one group in one partition of the target.
type Facts struct {
	Start, End int64 // of the target's log, at the promotion cut

	Checkpoint *mirror.Checkpoint // newest of this group and partition; nil if none
	Numbers    mirror.Numbers     // of this partition; nil if nothing is known

	// SourceCommit is the group's last committed position in the source: newer
	// than any checkpoint, so read after its consumers stopped. Nil if unknown,
	// as when the source is dead and its journal older than the checkpoint.
	SourceCommit *int64

	// SourceEnd is the source's end if everything up to there is proven to be at
	// the target ([mirror.Position.Drained]); nil if that is not proven.
	SourceEnd *int64

	// Processed is the first position at or after a time up to which the group is
	// known to have done its work ([kafka.Client.OffsetsAtOrBefore]), less any margin;
	// nil if nobody can vouch for one. It is used only without commits: a group that has
	// no checkpoint may be far behind, and a merely plausible time loses records.
	Processed *int64

	// Cut is the first position whose record the tables of the cut may lack; the
	// group starts no later. Nil if its output is not among them.
	Cut *int64
}

// Placement is where a group is to be placed, and why.
type Placement struct {
	Partition kafka.Partition `json:"partition"`
	Offset    int64           `json:"offset"`
	Reason    Reason          `json:"reason"`
	Why       string          `json:"why"`     // one clause for a person
	ToRead    int64           `json:"to_read"` // numbers from Offset to the end of the log: new records, and those that come again
}

// Group decides where a group continues in the target, for every partition
// given: all partitions of all topics that it reads, so that none is left to
// auto.offset.reset, which may skip to the end.
//
// Of what is known it takes the highest position that is certainly not past the
// first record the group has not processed: the end, if the group was at the end
// of a drained source; the translation of its own commit, or its checkpoint; a
// time for which somebody vouches; else the start. Then it goes back to the cut
// if it is past it. Always Start ≤ Offset ≤ End. The answer is sorted by
// partition.
//
// An input that contradicts itself is an error: a log that ends before it
// starts, or a checkpoint of another partition.
func Group(places map[kafka.Partition]Facts) ([]Placement, error) {
	plan := make([]Placement, 0, len(places))
	for _, p := range slices.SortedFunc(maps.Keys(places), kafka.Partition.Compare) {
		in := places[p]
		if in.Start < 0 || in.End < in.Start {
			return nil, fmt.Errorf("plan offsets in %v: the log is from %d to %d", p, in.Start, in.End)
		}
		if in.Checkpoint != nil && in.Checkpoint.Partition != p {
			return nil, fmt.Errorf("plan offsets in %v: the checkpoint is of %v", p, in.Checkpoint.Partition)
		}
		plan = append(plan, in.place(p))
	}
	return plan, nil
}

func (in Facts) place(p kafka.Partition) Placement {
	out := in.known()
	out.Partition = p
	if out.Offset < in.Start {
		out.Why += fmt.Sprintf("; %d is no longer in the log, which starts at %d", out.Offset, in.Start)
		out.Offset = in.Start
	}
	if out.Offset > in.End {
		// A checkpoint or sync of records that the target does not have.
		out.Why += fmt.Sprintf("; %d is past the end of the log, %d", out.Offset, in.End)
		out.Offset = in.End
	}
	if in.Cut != nil && *in.Cut < out.Offset {
		out.Reason, out.Why = ByCut, fmt.Sprintf("the tables hold records up to here; the group was at %d (%s: %s)", out.Offset, out.Reason, out.Why)
		out.Offset = max(*in.Cut, in.Start)
	}
	out.ToRead = in.End - out.Offset
	return out
}

// known is the best position before the log's borders and the cut are looked at.
func (in Facts) known() Placement {
	if in.SourceCommit != nil && in.SourceEnd != nil && *in.SourceCommit >= *in.SourceEnd {
		return Placement{Offset: in.End, Reason: Exact, Why: fmt.Sprintf("the group had read the drained source to its end, %d", *in.SourceEnd)}
	}
	best := Placement{Offset: -1}
	take := func(offset int64, why Reason, format string, args ...any) {
		if offset > best.Offset {
			best = Placement{Offset: offset, Reason: why, Why: fmt.Sprintf(format, args...)}
		}
	}
	if in.SourceCommit != nil {
		switch to, exact, ok := in.translate(*in.SourceCommit); {
		case ok && exact:
			take(to, Exact, "an offset sync is at the group's commit, %d", *in.SourceCommit)
		case ok:
			take(to, Translated, "the newest offset sync before the group's commit, %d", *in.SourceCommit)
		}
	}
	// A checkpoint ahead of the last commit is from before somebody moved the
	// group back to read again.
	if cp := in.Checkpoint; cp != nil && cp.Downstream >= 0 && (in.SourceCommit == nil || cp.Upstream <= *in.SourceCommit) {
		take(cp.Downstream, ByPoint, "the checkpoint of source offset %d", cp.Upstream)
		// The mirror itself may have translated by an older sync than its notes hold.
		if to, _, ok := in.translate(cp.Upstream); ok && !cp.Before {
			take(to, Translated, "the newest offset sync before the checkpoint's source offset %d", cp.Upstream)
		}
	}
	switch {
	case best.Offset >= 0:
		return best
	case in.SourceCommit == nil && in.Processed != nil:
		return Placement{Offset: *in.Processed, Reason: ByTime, Why: "no checkpoint; the group's work is done up to this time"}
	case in.SourceCommit != nil:
		return Placement{Offset: in.Start, Reason: Earliest, Why: fmt.Sprintf("the commit %d is before the oldest offset sync", *in.SourceCommit)}
	}
	return Placement{Offset: in.Start, Reason: Earliest, Why: "neither a checkpoint nor a commit is known"}
}

// translate is [mirror.Numbers.Translate], of which none is known without Numbers.
func (in Facts) translate(upstream int64) (downstream int64, exact, ok bool) {
	if in.Numbers == nil {
		return 0, false, false
	}
	return in.Numbers.Translate(upstream)
}
