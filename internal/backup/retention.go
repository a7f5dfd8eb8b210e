package backup

import (
	"slices"
	"time"
)

// Kept is a manifest with everything that it names, as expiry needs it.
type Kept struct {
	Found
	Names map[string]bool // key and version of every object, lists included: see [Stored.ID]
}

// ID tells one version of an object from every other.
func (s Stored) ID() string { return s.Key + "\x00" + s.Version }

// Expiry is what may go.
type Expiry struct {
	Manifests []int64 // the oldest first; delete them in this order
	Objects   []Stored
}

// Expire says what may go at a moment: manifests whose lock has ended, from the
// oldest on without leaving one out, so that the chain of those that stay holds,
// and never one of the newest keep that can be believed. An object goes if no
// manifest that stays names it and its own lock has ended: never by its age. there
// is what the backup place holds, with the end of each lock.
//
// A damaged manifest that stands in the way is kept, with all after it: what it
// named is not known. all holds every manifest; one left out would lose its
// objects.
func Expire(all []Kept, there map[Stored]time.Time, keep int, now time.Time) Expiry {
	slices.SortFunc(all, func(a, b Kept) int { return int(a.Seq - b.Seq) })
	good := 0
	for _, k := range all {
		if k.Good() {
			good++
		}
	}
	var e Expiry
	stay := map[string]bool{}
	going := true
	blind := false // a manifest stays that does not say what it names
	for _, k := range all {
		going = going && k.Good() && good > max(keep, 1) && !k.Manifest.LockedUntil.After(now)
		if going {
			good--
			e.Manifests = append(e.Manifests, k.Seq)
			continue
		}
		blind = blind || !k.Good()
		for id := range k.Names {
			stay[id] = true
		}
	}
	if blind {
		return e
	}
	for s, until := range there {
		if !stay[s.ID()] && !until.After(now) {
			e.Objects = append(e.Objects, s)
		}
	}
	slices.SortFunc(e.Objects, func(a, b Stored) int {
		if a.ID() < b.ID() {
			return -1
		}
		return 1
	})
	return e
}
