package kafka

import (
	"slices"
)

// Syncs are the offset syncs of one partition, oldest first, with rising
// offsets in both clusters. Make them with [NewSyncs].
type Syncs []OffsetSync

// NewSyncs keeps what is usable of one partition's syncs, given in the order of
// their topic. A sync that goes back in either cluster means that the topic or
// the mirror was started anew, and everything before it is about another log.
func NewSyncs(inOrder ...OffsetSync) Syncs {
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

// Translate finds where a group that committed upstream must continue in the
// target: at the downstream offset of the newest sync at or before it, plus one
// unless that sync is exactly there (OffsetSyncStore.translateDownstream). The
// answer is never behind the first record that the group has not seen, so
// records may come again but none is missed; exact says that none comes again
// either. It is not ok before the oldest sync, where nothing is known.
func (s Syncs) Translate(upstream int64) (downstream int64, exact, ok bool) {
	i, found := slices.BinarySearchFunc(s, upstream, func(s OffsetSync, at int64) int {
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
