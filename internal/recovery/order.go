package recovery

import (
	"sort"
	"time"
)

// InOrder settles the times of a table's versions, which are sorted by number, where
// they contradict that order. Most of them do not: those of the longest run that is in
// order stay. One that is out of it by at most the skew was committed by a clock that
// differs, and takes the time of its neighbour. One that is out of it by more loses its
// time, so that no cut lands on it, and is given back as it was. Nothing depends on more
// than the versions that are given.
func InOrder(vs []Version, skew time.Duration) (odd []Version) {
	keep := longestInOrder(vs)
	nexts := make([]time.Time, len(vs)) // of the next that stays; zero for none
	for i := len(vs) - 1; i > 0; i-- {
		if nexts[i-1] = nexts[i]; keep[i] {
			nexts[i-1] = vs[i].CommittedAt
		}
	}
	last := time.Time{}
	for i := range vs {
		v := &vs[i]
		if !usable(v.CommittedAt) {
			continue
		}
		if keep[i] {
			last = v.CommittedAt
			continue
		}
		at, next := v.CommittedAt, nexts[i]
		switch ahead, behind := at.Sub(next), last.Sub(at); {
		case !next.IsZero() && ahead > 0 && ahead <= skew:
			at = next
		case !last.IsZero() && behind > 0 && behind <= skew:
			at = last
		case !next.IsZero() && ahead > 0, !last.IsZero() && behind > 0:
			odd = append(odd, *v)
			v.CommittedAt = time.Time{}
			continue
		}
		v.CommittedAt, last = at, at
	}
	return odd
}

// longestInOrder marks the versions of the longest run of times that do not fall, of
// several the one that ends first.
func longestInOrder(vs []Version) []bool {
	keep := make([]bool, len(vs))
	var ends []int // by length less one: the version with the earliest time that ends such a run
	before := make([]int, len(vs))
	for i, v := range vs {
		if !usable(v.CommittedAt) {
			continue
		}
		n := sort.Search(len(ends), func(n int) bool { return vs[ends[n]].CommittedAt.After(v.CommittedAt) })
		before[i] = -1
		if n > 0 {
			before[i] = ends[n-1]
		}
		if n == len(ends) {
			ends = append(ends, i)
		} else {
			ends[n] = i
		}
	}
	if len(ends) > 0 {
		for i := ends[len(ends)-1]; i >= 0; i = before[i] {
			keep[i] = true
		}
	}
	return keep
}
