package backup

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Found is a manifest as it was found in the backup place.
type Found struct {
	Seq      int64  // by its key
	SHA256   string // of its bytes
	Manifest Manifest
	Damage   error // why it cannot be believed; nil for a good one
	// Stranger is the fingerprint of a key that does not count, whose signature it has; its
	// Manifest is then what that key signed, also where it cannot be believed.
	Stranger string
}

// Good reports whether the manifest can be believed.
func (f Found) Good() bool { return f.Damage == nil }

// Link is how the next manifest names this one.
func (f Found) Link() *Link {
	return &Link{Seq: f.Seq, SHA256: f.SHA256, LockedUntil: f.Manifest.LockedUntil}
}

// Newest is the newest manifest that can be believed, and the newer ones that it
// stepped over. nil: there is none.
func Newest(all []Found) (newest *Found, over []Found) {
	all = sorted(all)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Good() {
			return &all[i], all[i+1:]
		}
	}
	return nil, all
}

// At is the newest believable manifest whose cut is not after the moment, and the
// damaged ones between it and the moment that it stepped over.
func At(all []Found, moment time.Time) (newest *Found, over []Found) {
	all = sorted(all)
	end := len(all)
	for end > 0 && all[end-1].Good() && all[end-1].Manifest.Cut.After(moment) {
		end--
	}
	// A damaged one above is only stepped over if no later cut is known below it.
	for i := end - 1; i >= 0; i-- {
		if all[i].Good() && all[i].Manifest.Cut.After(moment) {
			end = i
		}
	}
	return Newest(all[:end])
}

// Break is a place where a chain does not hold.
type Break struct {
	Seq int64 // the manifest that is missing, damaged, or not the one that is named
	Why string
}

// String is one line for people.
func (b Break) String() string { return fmt.Sprintf("manifest %d %s", b.Seq, b.Why) }

// Check follows the chain down from its newest believable manifest and returns
// where it does not hold, the newest first; beside it every manifest that is
// damaged. Where a manifest's lock has ended it may be gone, with all before it.
func Check(all []Found, now time.Time) []Break {
	bySeq := map[int64]Found{}
	var breaks []Break
	for _, f := range all {
		bySeq[f.Seq] = f
		if !f.Good() {
			breaks = append(breaks, Break{f.Seq, "cannot be believed: " + f.Damage.Error()})
		}
	}
	at, _ := Newest(all)
	for at != nil && at.Manifest.Previous != nil {
		want := at.Manifest.Previous
		prev, there := bySeq[want.Seq]
		switch {
		case !there && want.LockedUntil.After(now):
			breaks = append(breaks, Break{want.Seq, fmt.Sprintf("is gone, and %d names it; it was held until %s", at.Seq, want.LockedUntil.Format(time.RFC3339))})
			at = below(all, want.Seq)
		case !there:
			if rest := below(all, want.Seq); rest != nil {
				breaks = append(breaks, Break{want.Seq, fmt.Sprintf("is gone, and %d before it is still there", rest.Seq)})
			}
			at = nil
		case prev.SHA256 != want.SHA256:
			if prev.Good() {
				breaks = append(breaks, Break{want.Seq, fmt.Sprintf("has other bytes than those that %d names", at.Seq)})
			}
			at = below(all, want.Seq)
		case !prev.Good():
			at = below(all, want.Seq)
		default:
			at = &prev
		}
	}
	slices.SortFunc(breaks, func(a, b Break) int { return cmp.Compare(b.Seq, a.Seq) })
	return breaks
}

// below is the newest believable manifest with a smaller number.
func below(all []Found, seq int64) *Found {
	rest := slices.DeleteFunc(slices.Clone(all), func(f Found) bool { return f.Seq >= seq })
	f, _ := Newest(rest)
	return f
}

func sorted(all []Found) []Found {
	return slices.SortedFunc(slices.Values(all), func(a, b Found) int { return cmp.Compare(a.Seq, b.Seq) })
}

// Exposure is what would be lost with both regions now.
type Exposure struct {
	Backup string        // the newest that was restored and compared; empty: none was
	Cut    time.Time     // of it
	Age    time.Duration // since it was verified
	Lost   time.Duration // since its cut: what a disaster now would take, were anything written since
	// Unverified are the newer backups that were never restored.
	Unverified int
}

// Exposed is the exposure at a moment. A backup that was never restored counts for
// nothing.
func Exposed(all []Found, verified map[int64]Verified, now time.Time) Exposure {
	var e Exposure
	for _, f := range slices.Backward(sorted(all)) {
		if !f.Good() {
			continue
		}
		v, ok := verified[f.Seq]
		if !ok || v.Manifest != f.SHA256 {
			e.Unverified++
			continue
		}
		e.Backup, e.Cut, e.Age, e.Lost = f.Manifest.Name(), f.Manifest.Cut, now.Sub(v.At), now.Sub(f.Manifest.Cut)
		return e
	}
	return e
}
