package compare

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/internal/plural"
)

// Fate is what became of something that the source holds and the target does not
// hold in the same way.
type Fate string

// The fates. Their texts are for people.
const (
	Waits     Fate = "waits"               // replication has it before it
	Failed    Fate = "failed"              // replication has tried, and reports so
	Passed    Fate = "never replicated"    // no rule took it: it is older than the rule, or outside of it
	Delivered Fate = "delivered and gone"  // replication brought it, and it was removed at the target
	Replica   Fate = "a replica itself"    // no rule takes a replica further
	Forked    Fate = "written at both"     // the target has content of its own under the key
	Hidden    Fate = "hidden"              // a delete marker of the target's own lies over it
	Unmarked  Fate = "not deleted"         // deleted at the source, and to be deleted at the target
	Marked    Fate = "deleted"             // deleted at both, and to be kept at the target
	Forgotten Fate = "old version missing" // overwritten or deleted at the source within the retention
	Unlooked  Fate = "not looked at"       // one of very many that are not at the target
)

// examples is how many keys a tally names.
const examples = 3

// Tally counts objects of one fate.
type Tally struct {
	Count    int64     `json:"count"`
	Bytes    int64     `json:"bytes"`
	Oldest   time.Time `json:"oldest,omitzero"`    // when the oldest of them was written, or deleted, at the source
	Examples []string  `json:"examples,omitempty"` // keys, a few
}

// String is for people.
func (t Tally) String() string {
	s := fmt.Sprintf("%d (%s)", t.Count, plural.Of(t.Bytes, "byte"))
	if len(t.Examples) > 0 {
		s += ", such as " + strings.Join(t.Examples, ", ")
	}
	return s
}

// Add counts what another tally has counted.
func (t *Tally) Add(o Tally) {
	t.Count += o.Count
	t.Bytes += o.Bytes
	if !o.Oldest.IsZero() && (t.Oldest.IsZero() || o.Oldest.Before(t.Oldest)) {
		t.Oldest = o.Oldest
	}
	if len(o.Examples) > 0 { // the first ones, whoever found them first
		t.Examples = slices.Sorted(slices.Values(append(slices.Clone(t.Examples), o.Examples...)))
		t.Examples = t.Examples[:min(len(t.Examples), examples)]
	}
}

// Drift is how two buckets differ below some prefixes. The zero value is no
// difference of nothing.
type Drift struct {
	Objects int64           `json:"objects"` // current at the source
	Bytes   int64           `json:"bytes"`
	Extra   Tally           `json:"extra"` // only at the target
	Fates   map[Fate]*Tally `json:"fates,omitempty"`
}

func (d *Drift) count(f Fate, t Tally) {
	if d.Fates == nil {
		d.Fates = map[Fate]*Tally{}
	}
	if d.Fates[f] == nil {
		d.Fates[f] = &Tally{}
	}
	d.Fates[f].Add(t)
}

// Merge adds what was found below another prefix.
func (d *Drift) Merge(o *Drift) {
	d.Objects += o.Objects
	d.Bytes += o.Bytes
	d.Extra.Add(o.Extra)
	for f, t := range o.Fates {
		d.count(f, *t)
	}
}

// Of sums up fates.
func (d *Drift) Of(fates ...Fate) Tally {
	var sum Tally
	for _, f := range fates {
		if t := d.Fates[f]; t != nil {
			sum.Add(*t)
		}
	}
	return sum
}

// Told lists those of the fates that occur, for people; "none" where none does.
func (d *Drift) Told(fates ...Fate) string {
	var parts []string
	for _, f := range fates {
		if t := d.Fates[f]; t != nil {
			parts = append(parts, fmt.Sprintf("%s: %s", f, t))
		}
	}
	return cmp.Or(strings.Join(parts, "; "), "none")
}
