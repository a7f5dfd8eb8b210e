package delta

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"breakwater/internal/table"
)

// The names that the protocol gives to the files of _delta_log, and that of the log
// store which keeps its order in DynamoDB.
var (
	commitName    = regexp.MustCompile(`^(\d{20})\.json$`)
	crcName       = regexp.MustCompile(`^(\d{20})\.crc$`)
	compactedName = regexp.MustCompile(`^(\d{20})\.(\d{20})\.compacted\.json$`)
	classicName   = regexp.MustCompile(`^(\d{20})\.checkpoint\.parquet$`)
	partName      = regexp.MustCompile(`^(\d{20})\.checkpoint\.(\d{10})\.(\d{10})\.parquet$`)
	uuidName      = regexp.MustCompile(`^(\d{20})\.checkpoint\.([0-9a-fA-F-]{36})\.(?:json|parquet)$`)
	stagedName    = regexp.MustCompile(`^(?:_staged_commits|_commits)/(\d{20})\.[^/]+\.json$`)
	temporaryName = regexp.MustCompile(`^\.tmp/(\d{20})\.json[^/]*$`)
)

const (
	logName    = "_delta_log/"
	hintName   = "_last_checkpoint"
	sidecarDir = "_sidecars/"
)

// LogDir is the prefix below which a table's log lies, with its final slash.
func LogDir(root table.Root) string { return root.Key(logName) }

// HintKey is where a table's hint to its last checkpoint lies.
func HintKey(root table.Root) string { return LogDir(root) + hintName }

// CommitKey is where the commit of a version lies.
func CommitKey(root table.Root, version int64) string {
	return fmt.Sprintf("%s%020d.json", LogDir(root), version)
}

// ChecksumKey is where the checksum of a version lies.
func ChecksumKey(root table.Root, version int64) string {
	return fmt.Sprintf("%s%020d.crc", LogDir(root), version)
}

// EntryKind is what a file of _delta_log is.
type EntryKind string

// The kinds of files of a log.
const (
	EntryUnknown    EntryKind = "" // the protocol has no such name
	EntryHint       EntryKind = "hint"
	EntryCommit     EntryKind = "commit"
	EntryChecksum   EntryKind = "checksum"
	EntryCompacted  EntryKind = "compacted"
	EntryCheckpoint EntryKind = "checkpoint" // whole, or a part of one
	EntrySidecar    EntryKind = "sidecar"
	// EntryStaged is a commit that a catalog (_staged_commits) or a commit coordinator
	// (_commits) has not published, or not removed since.
	EntryStaged EntryKind = "staged commit"
	// EntryTemporary is a commit as the log store that keeps its order in DynamoDB
	// writes it first.
	EntryTemporary EntryKind = "temporary commit"
)

// Entry is what the name of a file of _delta_log tells.
type Entry struct {
	Kind EntryKind
	// Version is the one that it is of, of a compacted commit the last one; -1 where
	// it is of none, or of more than any table has.
	Version int64

	first       int64 // of a compacted commit
	v2          bool  // a UUID-named checkpoint
	numbered    bool  // a part of a checkpoint
	part, parts int   // as the name says, which may be nonsense
}

// EntryOf tells what a file is by its name, relative to _delta_log.
func EntryOf(name string) Entry {
	if name == hintName {
		return Entry{Kind: EntryHint, Version: -1}
	} else if m := commitName.FindStringSubmatch(name); m != nil {
		return Entry{Kind: EntryCommit, Version: number(m[1])}
	} else if m := crcName.FindStringSubmatch(name); m != nil {
		return Entry{Kind: EntryChecksum, Version: number(m[1])}
	} else if m := compactedName.FindStringSubmatch(name); m != nil {
		return Entry{Kind: EntryCompacted, first: number(m[1]), Version: number(m[2])}
	} else if m := classicName.FindStringSubmatch(name); m != nil {
		return Entry{Kind: EntryCheckpoint, Version: number(m[1])}
	} else if m := uuidName.FindStringSubmatch(name); m != nil {
		return Entry{Kind: EntryCheckpoint, Version: number(m[1]), v2: true}
	} else if m := partName.FindStringSubmatch(name); m != nil {
		return Entry{Kind: EntryCheckpoint, Version: number(m[1]), numbered: true, part: int(number(m[2])), parts: int(number(m[3]))}
	} else if len(name) > len(sidecarDir) && strings.HasPrefix(name, sidecarDir) {
		return Entry{Kind: EntrySidecar, Version: -1}
	} else if m := stagedName.FindStringSubmatch(name); m != nil {
		return Entry{Kind: EntryStaged, Version: number(m[1])}
	} else if m := temporaryName.FindStringSubmatch(name); m != nil {
		return Entry{Kind: EntryTemporary, Version: number(m[1])}
	}
	return Entry{Version: -1}
}

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
	temporary     map[int64]table.Object  // commits that a log store wrote before it gave them their number's name
	staged        []int64                 // versions of commits of which only a catalog or coordinator can tell whether they count
	hint          *table.Object

	versions []int64 // see known
}

type partsKey struct {
	version int64
	total   int
}

func newEntries() *entries {
	return &entries{
		commits: map[int64]table.Object{}, crcs: map[int64]table.Object{},
		sidecars: map[string]table.Object{}, temporary: map[int64]table.Object{},
	}
}

// sort files the objects of a listing of _delta_log; name is relative to it.
func (e *entries) sort(objects map[string]table.Object) {
	multi := map[partsKey]*checkpoint{}
	for name, o := range objects {
		switch n := EntryOf(name); n.Kind {
		case EntryHint:
			e.hint = &o
		case EntryCommit:
			e.commits[n.Version] = o
		case EntryChecksum:
			e.crcs[n.Version] = o
		case EntryCompacted:
			e.compacted = append(e.compacted, Compaction{table.Range{First: n.first, Last: n.Version}, o.Key, o})
		case EntryCheckpoint:
			if n.numbered {
				e.part(multi, n.Version, n.part, n.parts, o)
			} else {
				e.checkpoints = append(e.checkpoints, checkpoint{version: n.Version, parts: []table.Object{o}, v2: n.v2})
			}
		case EntrySidecar:
			e.sidecars[strings.TrimPrefix(name, sidecarDir)] = o
		case EntryTemporary:
			if was, ok := e.temporary[n.Version]; !ok || o.Modified.Before(was.Modified) { // of several one was accepted
				e.temporary[n.Version] = o
			}
		case EntryStaged:
			e.staged = append(e.staged, n.Version)
		}
	}
	for _, c := range multi {
		e.checkpoints = append(e.checkpoints, *c)
	}
	slices.SortFunc(e.checkpoints, func(a, b checkpoint) int {
		return cmp.Or(cmp.Compare(b.version, a.version), cmp.Compare(len(a.parts), len(b.parts)), cmp.Compare(a.parts[0].Key, b.parts[0].Key))
	})
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
	e.versions = slices.Sorted(maps.Keys(all))
}

// known returns every version of which a commit or a whole checkpoint is listed,
// in order. It is asked for each commit of a replay, and not to be changed.
func (e *entries) known() []int64 { return e.versions }

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

// SpeaksOf is the last version that a file of the log is about, by its name
// alone. Unlike [EntryOf] it reads names too that the protocol does not know:
// whatever begins with a later version's number must not stay above a head.
func SpeaksOf(name string) (int64, bool) {
	last, ok := int64(-1), false
	for i, part := range strings.Split(name, ".") {
		if i > 1 || len(part) != 20 { // the version, or the first and last of a compacted commit
			break
		}
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			break
		}
		last, ok = n, true
	}
	return last, ok
}

// NameInLog is the name of an object in the log that it lies in, relative to the
// log's folder; false of a key that lies in no log.
func NameInLog(key string) (string, bool) {
	i := strings.LastIndex("/"+key, "/"+logName)
	if i < 0 {
		return "", false
	}
	return key[i+len(logName):], true
}
