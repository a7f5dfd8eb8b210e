package mirror

import (
	"context"
	"slices"
	"time"

	"breakwater/internal/kafka"
)

// Translator is the ability of a mirror to say where a consumer group of the
// source continues in the target.
type Translator interface {
	// Translation reads what the mirror knows at the moment, from the target alone:
	// the source may be dead.
	Translation(ctx context.Context) (Translation, error)
}

// Translation is what a mirror knows of consumer groups, and of which record of
// the source is which record of the target.
type Translation struct {
	// Checkpoints are the newest of every group and partition, in any order. A group
	// without one in a partition is new there, or too far behind to be translated.
	Checkpoints []Checkpoint

	// Numbers relates the offsets of both clusters, by partition of the target. It is nil
	// where the target cannot tell; a partition that is missing has no known relation.
	Numbers map[kafka.Partition]Numbers
}

// Checkpoint is a consumer group's place in one partition, in both clusters.
type Checkpoint struct {
	Group      string
	Partition  kafka.Partition // of the target
	Upstream   int64           // the group's committed offset in the source
	Downstream int64           // an offset in the target that is at or before the same record; negative if there is none
	At         time.Time       // when the mirror noted it; zero if it does not say

	// Before means that it is older than all Numbers of its partition, which may be of a
	// topic that was created anew since: they say nothing of Upstream.
	Before bool
}

// Numbers relates the offsets of one partition of the source to those of its copy.
type Numbers interface {
	// Translate finds where a group that committed upstream must continue in the
	// target. The answer is never behind the first record that the group has not
	// seen, so records may come again but none is missed; exact says that none comes
	// again either. It is not ok where nothing is known.
	Translate(upstream int64) (downstream int64, exact, ok bool)

	// Reach is a position that no translation exceeds, however far a group has come;
	// negative if nothing can be translated.
	Reach() int64
}

// Sync says that the record at Upstream in the source is the record at Downstream
// in the target.
type Sync struct {
	Partition  kafka.Partition
	Upstream   int64
	Downstream int64
	At         time.Time // when the mirror noted it; zero if it does not say
}

// Syncs are the [Numbers] of a mirror that notes now and then which record became
// which: of one partition, oldest first, with rising offsets in both clusters. Make
// them with [NewSyncs].
type Syncs []Sync

var _ Numbers = Syncs(nil)

// NewSyncs keeps what is usable of one partition's syncs, given in the order of
// their topic. A sync that goes back in either cluster means that the topic or
// the mirror was started anew, and everything before it is about another log.
func NewSyncs(inOrder ...Sync) Syncs {
	var s Syncs
	for _, next := range inOrder {
		if n := len(s); n > 0 {
			last := s[n-1]
			switch {
			case next.Upstream == last.Upstream && next.Downstream == last.Downstream:
				continue
			case next.Upstream <= last.Upstream || next.Downstream <= last.Downstream:
				s = nil
			}
		}
		s = append(s, next)
	}
	return s
}

// Translate answers with the downstream offset of the newest sync at or before
// upstream, plus one unless that sync is exactly there, as MirrorMaker does
// (OffsetSyncStore.translateDownstream). It is not ok before the oldest sync.
func (s Syncs) Translate(upstream int64) (downstream int64, exact, ok bool) {
	i, found := slices.BinarySearchFunc(s, upstream, func(s Sync, at int64) int {
		switch {
		case s.Upstream < at:
			return -1
		case s.Upstream > at:
			return 1
		}
		return 0
	})
	switch {
	case found:
		return s[i].Downstream, true, true
	case i == 0:
		return 0, false, false
	}
	return s[i-1].Downstream + 1, false, true
}

// Reach is the place after the newest sync.
func (s Syncs) Reach() int64 {
	if len(s) == 0 {
		return -1
	}
	return s[len(s)-1].Downstream + 1
}
