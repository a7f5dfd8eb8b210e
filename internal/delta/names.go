package delta

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"breakwater/internal/table"
)

// The names that the protocol gives to the files of _delta_log.
var (
	commitName    = regexp.MustCompile(`^(\d{20})\.json$`)
	crcName       = regexp.MustCompile(`^(\d{20})\.crc$`)
	compactedName = regexp.MustCompile(`^(\d{20})\.(\d{20})\.compacted\.json$`)
	classicName   = regexp.MustCompile(`^(\d{20})\.checkpoint\.parquet$`)
	partName      = regexp.MustCompile(`^(\d{20})\.checkpoint\.(\d{10})\.(\d{10})\.parquet$`)
	stagedName    = regexp.MustCompile(`^(?:_staged_commits|_commits)/(\d{20})\.[^/]+\.json$`)
	uuidName      = regexp.MustCompile(`^(\d{20})\.checkpoint\.([0-9a-fA-F-]{36})\.(?:json|parquet)$`)
)

const hintName = "_last_checkpoint"

// checkpoint is one checkpoint as the listing shows it. Several may exist for a
// version, written by several writers or in several kinds.
type checkpoint struct {
	version int64
	parts   []table.Object // in order; a missing part has no key
	v2      bool           // UUID-named
}

// whole reports whether every part is listed. The sidecars of a v2 checkpoint
// are known only after reading it.
func (c checkpoint) whole() bool {
	return !slices.ContainsFunc(c.parts, func(o table.Object) bool { return o.Key == "" })
}

// entries sorts one listing of _delta_log by what its files are.
type entries struct {
	commits, crcs map[int64]table.Object
	compacted     []Compaction
	checkpoints   []checkpoint            // newest first
	sidecars      map[string]table.Object // by file name
	staged        []int64                 // versions of commits of which only a catalog or coordinator can tell whether they count
	hint          *table.Object
}

type partsKey struct {
	version int64
	total   int
}

func newEntries() *entries {
	return &entries{
		commits: map[int64]table.Object{}, crcs: map[int64]table.Object{},
		sidecars: map[string]table.Object{},
	}
}

// sort files the objects of a listing of _delta_log; name is relative to it.
func (e *entries) sort(objects map[string]table.Object) {
	multi := map[partsKey]*checkpoint{}
	for name, o := range objects {
		if name == hintName {
			e.hint = &o
		} else if m := commitName.FindStringSubmatch(name); m != nil {
			e.commits[number(m[1])] = o
		} else if m := crcName.FindStringSubmatch(name); m != nil {
			e.crcs[number(m[1])] = o
		} else if m := compactedName.FindStringSubmatch(name); m != nil {
			e.compacted = append(e.compacted, Compaction{Range{number(m[1]), number(m[2])}, o.Key, o})
		} else if m := classicName.FindStringSubmatch(name); m != nil {
			e.checkpoints = append(e.checkpoints, checkpoint{version: number(m[1]), parts: []table.Object{o}})
		} else if m := uuidName.FindStringSubmatch(name); m != nil {
			e.checkpoints = append(e.checkpoints, checkpoint{version: number(m[1]), parts: []table.Object{o}, v2: true})
		} else if m := partName.FindStringSubmatch(name); m != nil {
			e.part(multi, number(m[1]), int(number(m[2])), int(number(m[3])), o)
		} else if rest, ok := cutDir(name, "_sidecars"); ok {
			e.sidecars[rest] = o
		} else if m := stagedName.FindStringSubmatch(name); m != nil {
			e.staged = append(e.staged, number(m[1]))
		}
	}
	for _, c := range multi {
		e.checkpoints = append(e.checkpoints, *c)
	}
	slices.SortFunc(e.checkpoints, func(a, b checkpoint) int {
		return cmp.Or(cmp.Compare(b.version, a.version), cmp.Compare(len(a.parts), len(b.parts)), cmp.Compare(a.parts[0].Key, b.parts[0].Key))
	})
}

// known returns every version of which a commit or a whole checkpoint is listed,
// in order.
func (e *entries) known() []int64 {
	all := make(map[int64]bool, len(e.commits))
	for v := range e.commits {
		all[v] = true
	}
	for _, c := range e.checkpoints {
		if c.whole() {
			all[c.version] = true
		}
	}
	delete(all, -1)
	return slices.Sorted(maps.Keys(all))
}

// maxParts bounds what a file's name alone can make us allocate.
const maxParts = 100_000

func (e *entries) part(multi map[partsKey]*checkpoint, version int64, part, total int, o table.Object) {
	if part < 1 || part > total || total > maxParts {
		return // no part of any checkpoint that could be complete
	}
	k := partsKey{version, total}
	if multi[k] == nil {
		multi[k] = &checkpoint{version: version, parts: make([]table.Object, total)}
	}
	multi[k].parts[part-1] = o
}

// number reads digits that a regular expression already bounded; the twentieth
// digit can overflow, and such a version is as good as none.
func number(digits string) int64 {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func cutDir(name, dir string) (string, bool) {
	if len(name) > len(dir)+1 && name[:len(dir)] == dir && name[len(dir)] == '/' {
		return name[len(dir)+1:], true
	}
	return "", false
}
