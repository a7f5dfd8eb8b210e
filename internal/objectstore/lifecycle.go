package objectstore

import (
	"fmt"
	"strings"
	"time"
)

// Removed is what a lifecycle rule takes away.
type Removed string

// What lifecycle rules take away.
const (
	// RemovesObjects hides current objects under a delete marker, or removes them
	// where no versions are kept.
	RemovesObjects Removed = "current objects"
	// RemovesOldVersions removes versions that are no longer current, for good.
	RemovesOldVersions Removed = "old versions"
	// RemovesBareMarkers removes delete markers that hide nothing any more.
	RemovesBareMarkers Removed = "delete markers that hide nothing"
	// RemovesDeleted removes a deleted key with its delete marker and every version
	// below it, for good. MinIO's own.
	RemovesDeleted Removed = "deleted keys with every version"
	// RemovesEverything removes current objects with every version below them, for
	// good. MinIO's own.
	RemovesEverything Removed = "current objects with every version"
)

// Lifecycle is what a bucket does by itself.
type Lifecycle struct {
	// Any says that there are rules at all, enabled or not: to write a lifecycle would
	// replace them.
	Any      bool
	Removals []Removal // by the enabled rules
}

// Removal is one thing that a bucket's lifecycle does by itself, without anybody
// deleting anything.
type Removal struct {
	Rule   string // its id
	Prefix string // the keys it takes; empty for all
	// Narrowed says that the rule has a filter beyond the prefix, such as a tag or
	// a size: which keys it takes cannot be told from their names.
	Narrowed bool
	What     Removed
	// After is the age at which it happens: of a current object since it was
	// written, of an old version since it was replaced, of a deleted key since it
	// was deleted. Rules count whole days.
	After time.Duration
	On    time.Time // the day on which it happens, whatever the age; zero for none
	Keep  int       // how many of the newest old versions stay whatever their age
}

// Touches reports whether the rule can take anything below the prefix.
func (r Removal) Touches(prefix string) bool {
	return strings.HasPrefix(prefix, r.Prefix) || strings.HasPrefix(r.Prefix, prefix)
}

// Forgets reports whether the rule may have removed by now, for good, what was current
// at a time: it was replaced or deleted after that, and has been old since then. Stores
// wait for the end of the day (UTC) before they remove.
func (r Removal) Forgets(at, now time.Time) bool {
	switch r.What {
	case RemovesOldVersions, RemovesDeleted:
		return !at.Add(r.After).After(now)
	case RemovesEverything:
		return at.Before(now)
	}
	return false
}

// String is the rule in words.
func (r Removal) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rule %s removes %s", r.Rule, r.What)
	if r.Prefix != "" {
		fmt.Fprintf(&b, " below %s", r.Prefix)
	}
	switch {
	case !r.On.IsZero():
		fmt.Fprintf(&b, " on %s", r.On.UTC().Format(time.DateOnly))
	case r.After > 0:
		fmt.Fprintf(&b, " after %d days", int(r.After.Hours()/24))
	}
	if r.Keep > 0 {
		fmt.Fprintf(&b, ", but for the newest %d", r.Keep)
	}
	if r.Narrowed {
		b.WriteString(", where a tag or size fits")
	}
	return b.String()
}

// Days is a number of days as a duration.
func Days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }
