package backup

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Needed are versions that manifests name, with their lists: those in a stretch of keys,
// after one and up to another. It begins where it is told to, and ends so early that they
// fit into memory, whatever the manifests name in all. Whoever wants all of them reads the
// manifests once for each stretch.
//
// It may be used from several goroutines, first to add, and then to look.
type Needed struct {
	after, until string
	atMost       int

	mu  sync.Mutex
	at  map[name]int
	all []need
}

type name struct{ key, version string }

type need struct {
	name
	size int64
	// later: only manifests name it that were added as such.
	later bool
	seen  bool
	has   int64 // what was seen of it
}

// NeededAfter begins a stretch after a key, of about so many versions at most.
func NeededAfter(key string, atMost int) *Needed {
	return &Needed{after: key, atMost: atMost, at: map[name]int{}}
}

// Until is the last key of the stretch, once all was added; empty where it has no end.
func (n *Needed) Until() string { return n.until }

// Len is how many versions are in it.
func (n *Needed) Len() int { return len(n.all) }

// Add takes in a version, if it is in the stretch. later says that the manifest which
// names it is one to be told from the others.
func (n *Needed) Add(s Stored, later bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.Key <= n.after || n.until != "" && s.Key > n.until {
		return
	}
	k := name{s.Key, s.Version}
	if i, ok := n.at[k]; ok {
		n.all[i].later = n.all[i].later && later
		return
	}
	n.at[k] = len(n.all)
	n.all = append(n.all, need{name: k, size: s.Size, later: later})
	if len(n.all) > n.atMost {
		n.shorten()
	}
}

// shorten ends the stretch in the middle of what is in it, with all versions of a key on
// one side.
func (n *Needed) shorten() {
	slices.SortFunc(n.all, func(a, b need) int { return strings.Compare(a.key, b.key) })
	n.until = n.all[(len(n.all)-1)/2].key
	end := slices.IndexFunc(n.all, func(x need) bool { return x.key > n.until })
	if end < 0 { // all from the middle on are of one key
		end = len(n.all)
	}
	n.all = append(make([]need, 0, n.atMost+1), n.all[:end]...)
	n.at = make(map[name]int, n.atMost+1)
	for i, x := range n.all {
		n.at[x.name] = i
	}
}

// See notes that a version is there, with its size, and says whether it is needed, and by
// later manifests alone. It is called for each version once.
func (n *Needed) See(s Stored) (needed, later bool) {
	i, ok := n.at[name{s.Key, s.Version}]
	if !ok {
		return false, false
	}
	n.all[i].seen, n.all[i].has = true, s.Size
	return true, n.all[i].later
}

// Lacking are the versions that were not seen, or with another size, by key. has is -1 for
// one that was not seen.
func (n *Needed) Lacking(yield func(want Stored, has int64) bool) {
	slices.SortFunc(n.all, func(a, b need) int { return strings.Compare(a.key+"\x00"+a.version, b.key+"\x00"+b.version) })
	for i, x := range n.all {
		n.at[x.name] = i
	}
	for _, x := range n.all {
		if x.seen && x.has == x.size {
			continue
		}
		has := x.has
		if !x.seen {
			has = -1
		}
		if !yield(Stored{Key: x.key, Version: x.version, Size: x.size}, has) {
			return
		}
	}
}

// Free reports whether a version that nobody needs may go at a moment: it had a lock that
// has ended. Its age says nothing, and neither does a version that was never held: no
// backup wrote that.
func Free(held, now time.Time) bool { return !held.IsZero() && !held.After(now) }
