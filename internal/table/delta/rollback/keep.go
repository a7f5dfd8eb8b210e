package rollback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
)

// Aimed is what a table is to hold after a restore: the target's files, and what is kept of
// the commits after it. It begins as the target, and each later commit is taken up or
// passed over, in order.
//
// What is kept must mean the same on top of the target as it did on top of what is not
// kept: so it may remove only files that are there, and add none that are there already.
// A commit of which that is not true is refused by name, and never taken up in part.
type Aimed struct {
	*delta.Snapshot
	target *delta.Snapshot
	kept   []int64       // taken up
	later  []table.Later // all of them, where any is kept
	given  int64         // rows that commits brought which are not kept; -1 where one does not say
	// lost are the streaming writers that recorded a batch with a commit that is not kept.
	lost map[string]bool
}

// aimAt works out what a restore is to bring about.
func aimAt(ctx context.Context, l *delta.Log, then *delta.Snapshot, keep []int64) (*Aimed, error) {
	a := &Aimed{Snapshot: then, target: then, given: -1}
	keep = slices.Compact(slices.Sorted(slices.Values(keep)))
	if len(keep) == 0 {
		return a, nil
	}
	a.given, a.lost = 0, map[string]bool{}
	target, head := then.Version.Number, l.Head()
	for _, v := range keep {
		if v <= target || v > head {
			return nil, fmt.Errorf("%w: version %d cannot be kept, since it is none of those after version %d up to the head %d: name versions of those alone", ErrRefused, v, target, head)
		}
	}
	w := walk{then: then, draft: then.Draft(), meta: then.Metadata, protocol: then.Protocol, brought: map[fileID]int64{}, away: map[fileID]int64{}, rearranged: map[int64]bool{}, words: map[int64]string{}}
	next := target + 1
	for c, err := range commits(ctx, l, target+1, head) {
		if err != nil {
			return nil, err
		}
		if c.version != next {
			break
		}
		next++
		_, named := slices.BinarySearch(keep, c.version)
		is, err := w.step(c, named)
		if err != nil {
			return nil, err
		}
		a.later = append(a.later, is)
		if is.Kept {
			a.kept = append(a.kept, c.version)
			w.draft.Needs(l, c.version)
		} else {
			a.give(c)
		}
	}
	if next <= head {
		return nil, fmt.Errorf("%w: no version is kept, since the commit of version %d is gone from the log and what it did is not known: bring it back first, or roll back without keeping any", ErrRefused, next)
	}
	a.Snapshot = w.draft.Snapshot()
	return a, nil
}

// give counts what goes with a commit that is not kept.
func (a *Aimed) give(c later) {
	for _, app := range c.apps {
		a.lost[app] = true
	}
	for _, f := range c.adds {
		switch rows := f.Rows(); {
		case !f.DataChange || a.given < 0:
		case rows < 0:
			a.given = -1
		default:
			a.given += rows
		}
	}
}

// atMost is how many rows can be given up at most, of those in the files that are removed.
func (a *Aimed) atMost(removed int64) int64 {
	if a.lost == nil || a.given < 0 || removed >= 0 && removed < a.given {
		return removed
	}
	return a.given
}

// between leaves out the streaming writers of which every batch is kept.
func (a *Aimed) between(b table.Between) table.Between {
	if a.lost != nil {
		b.Skipped = slices.DeleteFunc(b.Skipped, func(s table.Skipped) bool { return !a.lost[s.App] })
	}
	return b
}

// later is one commit after the target.
type later struct {
	version       int64
	time          time.Time
	operation     string
	blind         bool // it read nothing of the table
	changes       bool // data
	adds, removes []delta.Add
	metadata      *delta.Metadata
	protocol      *delta.Protocol
	apps          []string
}

func (c later) words() string {
	return fmt.Sprintf("version %d (%s)", c.version, operationName(c.operation))
}

// commits yields commits whole.
func commits(ctx context.Context, l *delta.Log, first, last int64) func(yield func(later, error) bool) {
	return func(yield func(later, error) bool) {
		c := later{version: -1}
		for a, err := range l.Actions(ctx, first, last) {
			if err == nil && a.Version != c.version {
				if c.version >= 0 && !yield(c, nil) {
					return
				}
				c = later{version: a.Version}
			}
			if err == nil {
				err = c.take(l, a)
			}
			if err != nil {
				yield(c, err)
				return
			}
		}
		if c.version >= 0 {
			yield(c, nil)
		}
	}
}

func (c *later) take(l *delta.Log, a delta.Action) error {
	corrupt := func(err error) error {
		if err == nil || errors.Is(err, delta.ErrCorrupt) {
			return err
		}
		return fmt.Errorf("%w: %s of version %d: %w", delta.ErrCorrupt, a.Kind, a.Version, err)
	}
	switch a.Kind {
	case "add", "remove":
		f, err := l.File(a)
		if err != nil {
			return err
		}
		c.changes = c.changes || f.DataChange
		if a.Kind == "add" {
			c.adds = append(c.adds, f)
		} else {
			c.removes = append(c.removes, f)
		}
	case "metaData":
		c.metadata = &delta.Metadata{}
		return corrupt(json.Unmarshal(a.Body, c.metadata))
	case "protocol":
		c.protocol = &delta.Protocol{}
		return corrupt(json.Unmarshal(a.Body, c.protocol))
	case "txn":
		var t struct {
			App string `json:"appId"`
		}
		err := json.Unmarshal(a.Body, &t)
		c.apps = append(c.apps, t.App)
		return corrupt(err)
	case "commitInfo":
		c.said(a.Body)
	}
	return nil
}

// said reads what the writer says of the commit, which is free-form by the protocol. What
// nobody said was blind is taken to be so for an append alone.
func (c *later) said(body json.RawMessage) {
	var info struct {
		Timestamp  int64  `json:"timestamp"`
		Operation  string `json:"operation"`
		Blind      *bool  `json:"isBlindAppend"`
		Parameters struct {
			Mode   string `json:"mode"`
			Output string `json:"outputMode"`
		} `json:"operationParameters"`
	}
	if json.Unmarshal(body, &info) != nil {
		return
	}
	c.operation = info.Operation
	if info.Timestamp > 0 {
		c.time = time.UnixMilli(info.Timestamp).UTC()
	}
	if info.Blind != nil {
		c.blind = *info.Blind
	} else {
		c.blind = info.Operation == "WRITE" && info.Parameters.Mode == "Append" || info.Operation == "STREAMING UPDATE" && info.Parameters.Output == "Append"
	}
}

// walk takes commits up into a draft, or passes over them.
type walk struct {
	then     *delta.Snapshot
	draft    *delta.Draft
	meta     delta.Metadata // as the last commit left it
	protocol delta.Protocol
	schemaBy string // who made the metadata read files otherwise than the target's does
	// brought are the live files that the draft does not have, and by which version;
	// away are the draft's files that are not live, and by which version they went.
	brought, away map[fileID]int64
	rearranged    map[int64]bool // versions passed over that changed no data
	words         map[int64]string
}

// step is what becomes of a commit.
func (w *walk) step(c later, named bool) (table.Later, error) {
	w.words[c.version] = c.words()
	is := table.Later{
		Event: table.Event{Version: c.version, Time: c.time, Operation: c.operation, Removes: len(c.removes)},
		Adds:  len(c.adds), Named: named, Changes: c.changes,
	}
	if c.metadata != nil {
		is.Properties = !equalProperties(w.meta.Configuration, c.metadata.Configuration)
	}
	if named {
		if err := w.alike(c); err != nil {
			return is, err
		}
	}
	if err := w.note(c); err != nil {
		return is, err
	}
	switch {
	case named && c.changes:
		is.Kept, is.Reads = true, !c.blind || len(c.removes) > 0
		return is, w.replay(c)
	case named && w.fits(c):
		is.Kept = true
		return is, w.replay(c)
	}
	w.rearranged[c.version] = !c.changes
	w.pass(c)
	return is, nil
}

// equalProperties compares properties but for those that follow from the data.
func equalProperties(a, b map[string]string) bool {
	for _, pair := range [][2]map[string]string{{a, b}, {b, a}} {
		for name, v := range pair[0] {
			if pair[1][name] != v && name != maxColumn {
				return false
			}
		}
	}
	return true
}

// alike refuses to keep a commit that changes how the table is read, or was written when
// it was read otherwise than it will be.
func (w *walk) alike(c later) error {
	const next = "leave it out of those that are kept, and make its change again afterwards"
	if p := c.protocol; p != nil && (!covers(w.protocol, *p) || !covers(*p, w.protocol)) {
		return fmt.Errorf("%w: %s cannot be kept, since it changes the table's protocol: %s", ErrRefused, c.words(), next)
	}
	if c.metadata != nil {
		same, err := readAlike(w.meta, *c.metadata)
		if err != nil {
			return err
		}
		if !same {
			return fmt.Errorf("%w: %s cannot be kept, since it changes the table's schema or partitioning: %s", ErrRefused, c.words(), next)
		}
	}
	if w.schemaBy != "" && len(c.adds)+len(c.removes) > 0 {
		return fmt.Errorf("%w: %s cannot be kept, since it was written under the schema or partitioning that %s brought, which is not kept: leave it out, and write its rows again under the schema of version %d",
			ErrRefused, c.words(), w.schemaBy, w.then.Version.Number)
	}
	return nil
}

// note carries metadata and protocol forward.
func (w *walk) note(c later) error {
	if c.protocol != nil {
		w.protocol = *c.protocol
	}
	if c.metadata == nil {
		return nil
	}
	w.meta = *c.metadata
	same, err := readAlike(w.then.Metadata, w.meta)
	switch {
	case err != nil:
		return err
	case same:
		w.schemaBy = ""
	case w.schemaBy == "":
		w.schemaBy = c.words()
	}
	return nil
}

// fits reports whether a commit that only rearranges data rearranges nothing but what the
// draft has.
func (w *walk) fits(c later) bool {
	if len(c.adds)+len(c.removes) == 0 {
		return false
	}
	for _, r := range c.removes {
		if !w.draft.Has(r) || w.isAway(r) {
			return false
		}
	}
	for _, a := range c.adds {
		if _, theirs := w.brought[idOf(a)]; theirs || w.isAway(a) {
			return false
		}
		if !w.draft.Has(a) && (len(c.removes) == 0 || w.taken(c, a)) {
			return false
		}
	}
	return true
}

func (w *walk) isAway(a delta.Add) bool {
	_, away := w.away[idOf(a)]
	return away
}

// taken reports whether a file that a commit adds is in the draft under another deletion
// vector, which the commit does not remove.
func (w *walk) taken(c later, a delta.Add) bool {
	b, ok := w.draft.Beside(a)
	return ok && !slices.ContainsFunc(c.removes, func(r delta.Add) bool { return idOf(r) == idOf(b) })
}

// replay takes a commit up, or refuses it by name.
func (w *walk) replay(c later) error {
	for _, r := range c.removes {
		switch by, away := w.away[idOf(r)]; {
		case away:
			return w.overlap(c, "removes", r, by, "removed before")
		case !w.draft.Has(r):
			return w.overlap(c, "removes", r, w.brought[idOf(r)], "")
		}
	}
	for _, a := range c.adds {
		if by, away := w.away[idOf(a)]; away {
			return w.overlap(c, "adds again", a, by, "removed")
		}
		if by, theirs := w.brought[idOf(a)]; theirs {
			return w.overlap(c, "adds again", a, by, "")
		}
		if b, ok := w.draft.Beside(a); ok && w.taken(c, a) {
			return w.overlap(c, "adds", a, w.away[idOf(b)], "removed, or gave another deletion vector")
		}
	}
	for _, r := range c.removes {
		w.draft.Remove(r)
	}
	for _, a := range c.adds {
		w.draft.Put(a)
	}
	return nil
}

// overlap says why a commit cannot be kept. By is the version that is not kept and that it
// overlaps with, 0 where none is known; did is what that one did, empty for bringing it.
func (w *walk) overlap(c later, does string, f delta.Add, by int64, did string) error {
	what := "which is no file of what is kept"
	next := fmt.Sprintf("leave version %d out of those that are kept, and make its change again afterwards", c.version)
	switch {
	case by == 0:
	case did == "" && w.rearranged[by]:
		what = fmt.Sprintf("which %s made of rows of which nobody can tell which are to be kept", w.words[by])
	case did == "":
		what = fmt.Sprintf("which %s brought, and that is not kept", w.words[by])
		next += fmt.Sprintf(", or keep version %d, too", by)
	default:
		what = fmt.Sprintf("which %s %s, and that is not kept", w.words[by], did)
	}
	vector := ""
	if f.Vector != nil {
		vector = " with a deletion vector"
	}
	return fmt.Errorf("%w: %s cannot be kept, since it %s file %s%s, %s: %s", ErrRefused, c.words(), does, f.Path, vector, what, next)
}

// pass notes what a commit that is not kept did.
func (w *walk) pass(c later) {
	for _, r := range c.removes {
		delete(w.brought, idOf(r))
		if w.draft.Has(r) {
			w.away[idOf(r)] = c.version
		}
	}
	for _, a := range c.adds {
		delete(w.away, idOf(a))
		if !w.draft.Has(a) {
			w.brought[idOf(a)] = c.version
		}
	}
}
