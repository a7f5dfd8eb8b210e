package backup

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/internal/plural"
	"breakwater/internal/table"
)

// Need is one object that a backup must hold, as a listing of the source shows it.
type Need struct {
	Key  string
	Role table.Role
	Size int64
	ETag string
	// Version is the source's, where it was asked for: to copy exactly that later.
	Version string
}

// Order sorts into the order of writing: by role, and by key within it, which for
// commits is that of their versions.
func Order(needs []Need) {
	slices.SortFunc(needs, func(a, b Need) int {
		return cmp.Or(cmp.Compare(slices.Index(table.Stages(), a.Role), slices.Index(table.Stages(), b.Role)), strings.Compare(a.Key, b.Key))
	})
}

// Plan is what a backup of one table takes.
type Plan struct {
	Copy []Need   // in the order of writing
	Keep []Object // held by the previous manifest with the same size and checksum
}

// Bytes is how much there is to copy.
func (p Plan) Bytes() (n int64) {
	for _, c := range p.Copy {
		n += c.Size
	}
	return n
}

// Split says what has to be copied: what the previous manifest does not hold of
// this key with this size and this ETag, the source store's own checksum. A full
// backup has no previous one to keep anything of.
func Split(needs []Need, previous []Object) Plan {
	held := make(map[string]Object, len(previous))
	for _, o := range previous {
		held[o.Key] = o
	}
	var p Plan
	for _, n := range needs {
		o, ok := held[n.Key]
		if ok && n.ETag != "" && o.ETag == n.ETag && o.Copy.Size == n.Size {
			o.Role = n.Role
			p.Keep = append(p.Keep, o)
		} else {
			p.Copy = append(p.Copy, n)
		}
	}
	Order(p.Copy)
	return p
}

// Policy is what the estate promises of its backups.
type Policy struct {
	Retention time.Duration // how long every backup is kept
	FullEvery time.Duration // how old a generation may become; 0: only the first backup is full
}

// Due reports whether the next backup must be a full one, by when the newest
// generation began: an unbelievable or missing beginning is one too.
func (p Policy) Due(all []Found, now time.Time) bool {
	newest, _ := Newest(all)
	if newest == nil {
		return true
	}
	if p.FullEvery == 0 {
		return false
	}
	for _, f := range all {
		if f.Seq == newest.Manifest.Generation && f.Good() {
			return now.Sub(f.Manifest.TakenAt) >= p.FullEvery
		}
	}
	return true
}

// Until is until when a backup that begins now is to be held: the retention,
// rounded up to a whole day, so that the backups of a day share a date and only
// the first of them has to lengthen the locks of what it shares.
func (p Policy) Until(now time.Time) time.Time {
	const day = 24 * time.Hour
	until := now.UTC().Add(p.Retention)
	if cut := until.Truncate(day); !cut.Equal(until) {
		return cut.Add(day)
	}
	return until
}

// Next is the manifest that follows: its number, generation and link. Numbers are
// never used twice, not even those of damaged manifests.
func Next(group string, all []Found, full bool) Manifest {
	m := Manifest{Group: group, Seq: 1}
	for _, f := range all {
		m.Seq = max(m.Seq, f.Seq+1)
	}
	newest, _ := Newest(all)
	if newest != nil {
		m.Previous, m.Generation = newest.Link(), newest.Manifest.Generation
	}
	if full || newest == nil {
		m.Generation = m.Seq
	}
	return m
}

// Lacks holds what a table's list has against the manifest: nil if it is the one that was
// written. Every version's log is complete by name: commits without a gap.
func (t Table) Lacks(objects int, bytes int64) error {
	if objects != t.Objects || bytes != t.Bytes {
		return fmt.Errorf("%w: the list of table %s has %s with %s, and the manifest says %d with %d", ErrDamaged, t.Table, plural.Of(objects, "object"), plural.Of(bytes, "byte"), t.Objects, t.Bytes)
	}
	return nil
}
