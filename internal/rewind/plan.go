package rewind

import (
	"path"
	"strings"

	"breakwater/internal/table"
)

// Do is what is done to a key.
type Do byte

// What is done to a key. None is the zero value: nothing.
const (
	None   Do = iota
	Copy      // put the content of version Then over it
	Unmark    // remove the delete markers that hide Then, for good
	Mark      // add a delete marker: there was nothing at T
	Keep      // leave it: it cannot be known what was there at T
)

// Line is one key of a plan.
type Line struct {
	Key     string // where the content goes
	Do      Do
	Now     Version  // as the plan saw it
	Then    Version  // what it is to be; zero for Mark and Keep
	Markers []string // that Unmark removes, newest first
	// Ask says that the two may be equal all the same: they have the same size,
	// and an ETag need not be the content's. What Now is a copy of decides.
	Ask bool
}

// Choice says how far a plan may go.
type Choice struct {
	// Unmark allows to remove delete markers where nothing else is newer than
	// what is to come back: far fewer requests, and the markers are gone for good.
	Unmark bool
	// Hide hides a key of which it cannot be known what it was at T, and whose
	// current version is sure to survive that. Otherwise it is left as it is.
	Hide bool
}

// Diff says what closes the difference of a key, or false where there is none.
func Diff(h History, c Choice) (Line, bool) {
	l := Line{Key: h.Key, Now: h.Now, Then: h.Then}
	switch {
	case h.Unknown != "":
		if !h.Now.There() && !h.Then.There() {
			return Line{}, false
		}
		if l.Do, l.Then = Keep, (Version{}); c.Hide && h.Now.There() && h.Now.ID != Null {
			l.Do = Mark
		}
	case h.Now.Same(h.Then):
		return Line{}, false
	case !h.Then.There():
		l.Do, l.Then = Mark, Version{}
	case c.Unmark && len(h.Markers) > 0:
		l.Do, l.Markers = Unmark, h.Markers
	default:
		l.Do = Copy
		l.Ask = h.Now.There() && h.Now.Size == h.Then.Size
	}
	return l, true
}

// Back is the line that takes a line back: to what Now was. A removed delete
// marker is added again as a new one.
func (l Line) Back() Line {
	b := Line{Key: l.Key, Now: l.Then, Then: l.Now, Do: Copy}
	if !l.Now.There() {
		b.Do, b.Then = Mark, Version{}
	}
	return b
}

// Heads is how many of a key's newest entries [Line.Buried] looks at.
const Heads = 4

// Buried gives the version that was written between the look and the change of a line:
// it lies right under what the line put over the key, and is not the one that the plan
// saw. heads are the key's newest entries, the newest first. It is false where there is
// none, and where something else than the line's own is on top.
func (l Line) Buried(heads []Entry) (Entry, bool) {
	ours := func(e Entry) bool { return e.Marker }
	switch l.Do {
	case Mark:
	case Copy:
		// A copy whose answer was lost may be there twice.
		ours = func(e Entry) bool {
			return !e.Marker && e.Size == l.Then.Size && (e.ETag == l.Then.ETag || e.ETag == heads[0].ETag)
		}
	default:
		return Entry{}, false
	}
	for i, e := range heads {
		switch {
		case i == 0 && (!ours(e) || e.ID == l.Now.ID): // not done, or written over since
			return Entry{}, false
		case i > 0 && (e.ID == l.Now.ID || e.Same(l.Now)): // what the plan saw, or as good
			return Entry{}, false
		case !ours(e):
			return e, true
		}
	}
	return Entry{}, false
}

// Totals are a plan's counts.
type Totals struct {
	Copies  int64 `json:"copies,omitempty"`
	Bytes   int64 `json:"bytes,omitempty"` // that are copied
	Unmarks int64 `json:"unmarks,omitempty"`
	Markers int64 `json:"markers,omitempty"` // that are removed
	Marks   int64 `json:"marks,omitempty"`
	Kept    int64 `json:"kept,omitempty"` // that are left, unknown as they were
	// Described are copies that need two requests or more: of objects uploaded
	// in parts.
	Described int64 `json:"described,omitempty"`
}

// Add counts a line.
func (t *Totals) Add(l Line) {
	switch l.Do {
	case Copy:
		t.Copies++
		t.Bytes += l.Then.Size
		if strings.Contains(l.Then.ETag, "-") {
			t.Described++
		}
	case Unmark:
		t.Unmarks++
		t.Markers += int64(len(l.Markers))
	case Mark:
		t.Marks++
	case Keep:
		t.Kept++
	}
}

// Requests is how many requests the changes take, without listings.
func (t Totals) Requests(perDelete int64) int64 {
	return t.Copies + t.Described + (t.Markers+perDelete-1)/perDelete + (t.Marks+perDelete-1)/perDelete
}

// Phase is the order in which lines are done so that no reader of a table sees a
// log that names data which is not there: data comes back first, then
// checkpoints, commits in ascending order and the pointers; then the log's later
// files go, the highest first, and last the data that nothing names any more.
type Phase int

// The phases.
const (
	dataBack Phase = iota
	checkpointsBack
	commitsBack
	pointers
	logGone
	dataGone
	Phases // how many there are
)

// InOrder reports whether the lines of a phase are done one after the other in
// each folder, rather than all at once.
func (p Phase) InOrder() bool { return p == commitsBack }

// HighestFirst reports whether the lines of a phase are done one after the other from
// the highest key down.
func (p Phase) HighestFirst() bool { return p == logGone }

// Entries tells what an object is to a table by its key, as table.Formats does.
type Entries func(key string) table.Entry

// PhaseOf is the phase of a line.
func PhaseOf(l Line, entries Entries) Phase {
	e := entries(l.Key)
	if !e.Log() {
		e = icebergs(l.Key)
	}
	switch {
	case e.Role == table.RolePointer:
		return pointers
	case e.Log() && l.Do == Mark:
		return logGone
	case l.Do == Mark:
		return dataGone
	case e.Role == table.RoleCommit:
		return commitsBack
	case e.Log():
		return checkpointsBack
	}
	return dataBack
}

// icebergs tells what an object is to an Iceberg table. No format of that name is
// known yet, and a bucket may hold such tables all the same.
func icebergs(key string) table.Entry {
	dir, name := path.Split(key)
	role := table.RoleData
	switch {
	case !strings.HasSuffix("/"+dir, "/metadata/"):
	case name == "version-hint.text":
		role = table.RolePointer
	case strings.HasSuffix(name, ".metadata.json"):
		role = table.RoleCommit
	default:
		role = table.RoleCheckpoint
	}
	return table.Entry{Role: role, Version: -1}
}

// PartLines is how many lines a part of a plan has at most. Who performs a plan holds
// about two parts of it.
const PartLines = 50_000
