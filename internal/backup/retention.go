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

// Needed are the versions that the manifests that stay name, with their lists, by
// [Stored.ID].
type Needed map[string]Stored

// Add takes in what a manifest names in a table: the list, and what is in it.
func (n Needed) Add(t Table, objects []Object) {
	n[t.List.ID()] = t.List
	for _, o := range objects {
		n[o.Copy.ID()] = o.Copy
	}
}

// Free reports whether a version may go at a moment: nobody needs it, and it had a
// lock that has ended. Its age says nothing, and neither does a version that was
// never held: no backup wrote that.
func (n Needed) Free(s Stored, held, now time.Time) bool {
	_, needed := n[s.ID()]
	return !needed && !held.IsZero() && !held.After(now)
}
