package backup

import (
	"slices"
	"time"
)

// ID tells one version of an object from every other.
func (s Stored) ID() string { return s.Key + "\x00" + s.Version }

// Aged is a manifest as it was found, and until when the store itself holds it.
type Aged struct {
	Found
	Held time.Time
}

// Expire divides the manifests of a group, which must be all of them, into those
// that may go at a moment and those that stay, both by number.
//
// They go from the oldest on without leaving one out, so that the chain of those
// that stay holds; each when the lock that it promises and the one that the store
// knows have both ended; and never one of the newest keep that can be believed,
// of which there is always one. Whole generations need no rule: what an
// incremental backup shares with older ones it names itself, and [Needed] keeps.
//
// A damaged manifest stays, with all after it. What it named is not known, so no
// object may go as long as there is one.
func Expire(all []Aged, keep int, now time.Time) (going, staying []Aged) {
	all = slices.SortedFunc(slices.Values(all), func(a, b Aged) int { return int(a.Seq - b.Seq) })
	good := 0
	for _, a := range all {
		if a.Good() {
			good++
		}
	}
	for i, a := range all {
		if !a.Good() || good <= max(keep, 1) || a.Manifest.LockedUntil.After(now) || a.Held.After(now) {
			return all[:i], all[i:]
		}
		good--
	}
	return nil, nil
}
