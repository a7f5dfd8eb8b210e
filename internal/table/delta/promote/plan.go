// Package promote makes an older version of a Delta table its head where the table
// lies: what of the log is later moves aside into a quarantine, the hint to the
// last checkpoint is made to name one that stays, and all of it can be taken back.
//
// Nothing is destroyed. What moves is copied before a delete marker hides it, no
// copy is written over, and the bucket keeps versions.
//
// # Order
//
// Copies first, then the hint, then the originals: checkpoints, and after them the
// commits from the highest down. A reader in between sees a shorter table, never
// one with a hole. Back it goes the other way round.
//
// # Calling again
//
// A [Plan] is a value: planned once, approved, and applied as it is. [Apply] and
// [Back.Apply] go by what is there, so that a second call, or one after a crash,
// does what is left. Planning again finds what an earlier attempt moved into the
// same folder. [Promoted] and [Returned] look at what came of it, and share no way
// of looking with the rest: nothing but the plan, and the reader of the log.
package promote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"breakwater/internal/reach"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
)

// ErrRefused says that a rule forbids the promotion, or that it cannot be taken
// back any more: no retry can help.
var ErrRefused = table.ErrRefused

// ErrMoved says that the log is no longer what the plan saw. Nothing was written
// over: look, and plan again.
var ErrMoved = table.ErrMoved

// Plan is a promotion, and what taking it back needs. Its JSON is stored: approved
// plans of older runs have it.
type Plan struct {
	Version int64       `json:"version"` // to be the head
	Head    int64       `json:"head"`    // as seen
	Folder  string      `json:"folder"`  // the quarantine, a prefix of the bucket
	Aside   []Aside     `json:"aside,omitempty"`
	Hint    *HintChange `json:"hint,omitempty"` // nil where the hint stays as it is
}

// Aside is an object that moves from Key to To.
type Aside struct {
	Key string `json:"key"`
	To  string `json:"to"`
	table.ObjectVersion
	Done bool `json:"done,omitempty"` // moved by an earlier attempt
}

// HintChange is a change of _last_checkpoint. Was is nil where there was none, and
// Body where none is to be.
type HintChange struct {
	Key  string `json:"key"`
	Was  *Aside `json:"was,omitempty"`
	Body []byte `json:"body,omitempty"`
	Done bool   `json:"done,omitempty"` // changed by an earlier attempt
}

// Decode reads a stored plan strictly.
func Decode(raw json.RawMessage) (Plan, error) {
	var p Plan
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return p, fmt.Errorf("decode the plan of a promotion: %w", err)
	}
	return p, nil
}

// logState is a table's log as one listing of its versions showed it.
type logState struct {
	present map[string]table.ObjectVersion // what a reader sees
	hidden  map[string]table.ObjectVersion // the newest version under a delete marker
}

func readLog(ctx context.Context, s table.Site) (logState, error) {
	st := logState{map[string]table.ObjectVersion{}, map[string]table.ObjectVersion{}}
	for o, err := range s.Store.ListVersions(ctx, delta.LogDir(s.Root)) {
		if err != nil {
			return st, err
		}
		if o.Marker {
			continue
		}
		v := table.ObjectVersion{ETag: o.ETag, VersionID: o.VersionID, Size: o.Size}
		if o.Latest {
			st.present[o.Key] = v
		} else if _, ok := st.hidden[o.Key]; !ok {
			st.hidden[o.Key] = v
		}
	}
	return st, nil
}

// listed is what a prefix holds now.
func listed(ctx context.Context, s table.Site, prefix string) (map[string]table.ObjectVersion, error) {
	have := map[string]table.ObjectVersion{}
	for o, err := range s.Store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		have[o.Key] = table.ObjectVersion{ETag: o.ETag, Size: o.Size}
	}
	return have, nil
}

// slot is where an object is kept: under its own name, or under a numbered folder
// where that name holds something else already. Nothing kept is ever overwritten.
func slot(kept map[string]table.ObjectVersion, folder, name string, o table.ObjectVersion) string {
	to := folder + name
	for n := 2; ; n++ {
		if have, taken := kept[to]; !taken || have.ETag == o.ETag && have.Size == o.Size {
			return to
		}
		to = fmt.Sprintf("%s%d/%s", folder, n, name)
	}
}

// Refuse refuses a table whose commits somebody else than the log accepts.
func Refuse(snap *delta.Snapshot) error {
	if by := snap.Coordinator(); by != "" {
		return fmt.Errorf("its commits are accepted by a catalog or coordinator (%s), which would not know that some moved aside; promote it through that, or take the table out of its hands first: %w", by, ErrRefused)
	}
	return nil
}

// New plans to make a version the head. What moves is kept below folder. It reads
// the log's listing, its hint and at most one footer; that the version can be read
// and is whole is the caller's to see.
func New(ctx context.Context, s table.Site, l *delta.Log, version int64, folder string) (Plan, error) {
	fail := func(doing string, err error) (Plan, error) { return Plan{}, fmt.Errorf("%s: %w", doing, err) }
	later, err := l.LaterThan(ctx, version)
	if err != nil {
		return fail("see what lies above", err)
	}
	st, err := readLog(ctx, s)
	if err != nil {
		return fail("list the versions of its log", err)
	}
	plan := Plan{Version: version, Head: l.Head(), Folder: folder}
	kept, err := listed(ctx, s, folder)
	if err != nil {
		return fail("list what is kept aside", err)
	}
	for _, key := range later.Aside {
		o, ok := st.present[key]
		if !ok {
			return fail("object "+key+" went away meanwhile", ErrMoved)
		}
		plan.Aside = append(plan.Aside, Aside{Key: key, To: slot(kept, folder, rel(s, key), o), ObjectVersion: o})
	}
	before, err := movedBefore(ctx, s, kept, st, plan)
	if err != nil {
		return fail("see what was moved aside before", err)
	}
	plan.Aside = append(plan.Aside, before...)
	if plan.Hint, err = planHint(ctx, s, kept, st, folder, later); err != nil {
		return fail("read the hint to its last checkpoint", err)
	}
	return plan, nil
}

// rel is a key's name in the table.
func rel(s table.Site, key string) string { return strings.TrimPrefix(key, s.Root.Key("")) }

// movedBefore finds what an earlier attempt moved aside, so that taking back takes
// that back too. What somebody wrote over an object just before it was hidden lies under
// the mark, and is no copy of what was kept: it is kept, too, and comes back.
func movedBefore(ctx context.Context, s table.Site, kept map[string]table.ObjectVersion, st logState, plan Plan) ([]Aside, error) {
	byKey := map[string][]string{}
	for _, to := range slices.Sorted(maps.Keys(kept)) {
		key := delta.LogDir(s.Root) + path.Base(to)
		v, ok := delta.SpeaksOf(path.Base(to))
		_, there := st.present[key]
		if _, under := st.hidden[key]; ok && v > plan.Version && !there && under {
			byKey[key] = append(byKey[key], to)
		}
	}
	var out []Aside
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		a, err := hiddenAside(ctx, s, kept, byKey[key], Aside{Key: key, ObjectVersion: st.hidden[key]}, plan.Folder)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// hiddenAside is an object that is hidden, done where one of its copies is what lies under
// the mark.
func hiddenAside(ctx context.Context, s table.Site, kept map[string]table.ObjectVersion, copies []string, a Aside, folder string) (Aside, error) {
	for _, to := range copies {
		same := kept[to].Size == a.Size
		if same && kept[to].ETag != a.ETag { // as a copy of what was uploaded in parts has
			var err error
			if same, err = sameBytes(ctx, s.Store, to, a); err != nil {
				return a, err
			}
		}
		if same {
			a.To, a.Done = to, true
			return a, nil
		}
	}
	a.To = slot(kept, folder, rel(s, a.Key), a.ObjectVersion)
	return a, nil
}

// planHint says how the hint changes; nil where it stays.
func planHint(ctx context.Context, s table.Site, kept map[string]table.ObjectVersion, st logState, folder string, later delta.Later) (*HintChange, error) {
	name := rel(s, later.Hint)
	now, there := st.present[later.Hint]
	h := &HintChange{Key: later.Hint, Body: later.HintBody}
	switch was, changed := kept[folder+name]; {
	case later.KeepHint && (!changed || there && was.ETag == now.ETag):
		return nil, nil
	case later.KeepHint && there: // an earlier attempt made it right
		h.Was, h.Done = &Aside{Key: later.Hint, To: folder + name, ObjectVersion: was}, true
		body, err := s.Store.Get(ctx, later.Hint)
		h.Body = body
		return h, err
	case later.KeepHint: // or hid it
		a := Aside{Key: later.Hint, To: folder + name, ObjectVersion: was, Done: true}
		if under, ok := st.hidden[later.Hint]; ok {
			copies := slices.DeleteFunc(slices.Sorted(maps.Keys(kept)), func(to string) bool { return path.Base(to) != path.Base(name) })
			var err error
			if a, err = hiddenAside(ctx, s, kept, copies, Aside{Key: later.Hint, ObjectVersion: under}, folder); err != nil {
				return nil, err
			}
		}
		h.Done, a.Done = a.Done, false
		h.Was = &a
	case there:
		h.Was = &Aside{Key: later.Hint, To: slot(kept, folder, name, now), ObjectVersion: now}
	}
	return h, nil
}

// Effects are what is left to do, and Conditions what it rests on, in order.
func (p Plan) Effects(s table.Site) (effects []table.Effect, conditions []table.Condition) {
	if h := p.Hint; h != nil {
		if h.Was != nil {
			conditions = append(conditions, table.Condition{On: s.Root.URL(h.Key), ETag: h.Was.ETag})
		}
		if !h.Done {
			effects = append(effects, h.effect(s))
		}
	}
	for _, a := range p.Aside {
		conditions = append(conditions, table.Condition{On: s.Root.URL(a.Key), ETag: a.ETag})
		if !a.Done {
			effects = append(effects, table.Effect{On: s.Root.URL(a.Key), Do: "move aside", To: s.Root.URL(a.To)})
		}
	}
	return effects, conditions
}

func (h *HintChange) effect(s table.Site) table.Effect {
	e := table.Effect{On: s.Root.URL(h.Key), Do: "let it name a checkpoint that stays", From: "none", To: string(h.Body)}
	if h.Was != nil {
		e.From = "kept as " + h.Was.To
	}
	if h.Body == nil {
		e.Do, e.To = "move aside: no checkpoint stays that it could name", ""
	}
	return e
}

// moved is an error that says what is no longer as the plan saw it.
func moved(s table.Site, key, format string, args ...any) error {
	return fmt.Errorf("table %s: %s %s; plan again: %w", s.Name, s.Root.URL(key), fmt.Sprintf(format, args...), ErrMoved)
}

// absent reports whether the store's answer is that an object is not there.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) && !reach.Unreachable(err) }
