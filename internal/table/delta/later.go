package delta

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"breakwater/internal/strictjson"
)

// Later is what of a log speaks of versions after one, and must go so that the one
// is the head: objects to move aside, and the hint that replaces _last_checkpoint.
// Nothing of it is deleted.
//
// Do it in this order: write or move the hint, move aside the checkpoints and
// then the commits, the highest first. A reader in between sees a shorter table,
// never one with a hole.
type Later struct {
	Version int64
	// Aside are the keys of the commits, checksums, checkpoints and compacted
	// commits above Version, in the order in which to move them.
	Aside []string
	// Hint is the key of _last_checkpoint.
	Hint string
	// KeepHint says that the hint that is there, or its absence, is right.
	KeepHint bool
	// HintBody is what to write there. It is nil with KeepHint, and where the hint
	// is to be moved aside because no checkpoint remains that it could name.
	HintBody []byte
}

// Hint is the content of _last_checkpoint. It is a hint only: it may be stale
// after replication, and readers that list do not need it.
type Hint struct {
	Version int64 `json:"version"`
	Size    int64 `json:"size"` // actions in the checkpoint
	Parts   int   `json:"parts,omitempty"`
}

// ParseHint reads _last_checkpoint.
func ParseHint(body []byte) (Hint, error) {
	var h Hint
	if err := strictjson.Unmarshal(body, &h); err != nil {
		return h, fmt.Errorf("%w: %s: %w", ErrCorrupt, hintName, err)
	}
	if h.Version < 0 || h.Parts < 0 || h.Size < 0 {
		return h, fmt.Errorf("%w: %s: negative version, size or parts", ErrCorrupt, hintName)
	}
	return h, nil
}

// HintState is what [Log.Hinted] found.
type HintState int

// The states of _last_checkpoint.
const (
	HintAbsent HintState = iota
	HintGood             // it names a checkpoint that is there whole
	HintWrong            // it names one that is not
)

// Hinted reads _last_checkpoint and holds it against the listing. Content that
// is no hint is [ErrCorrupt].
func (l *Log) Hinted(ctx context.Context) (Hint, HintState, error) {
	if l.hint == nil {
		return Hint{}, HintAbsent, nil
	}
	body, err := l.get(ctx, *l.hint)
	if err != nil {
		return Hint{}, HintAbsent, err
	}
	h, err := ParseHint(body)
	if err != nil || h.Version > l.Head() || !l.checkpointed(h) {
		return h, HintWrong, err
	}
	return h, HintGood, nil
}

// LaterThan works out what must move aside so that v becomes the head. It reads
// the hint and the checkpoint that the hint names or should name, which must open, and
// nothing else; it does not check that v can be read: open the log again
// afterwards and see. Sidecars stay: nothing names them any more.
func (l *Log) LaterThan(ctx context.Context, v int64) (Later, error) {
	_, commit := l.commits[v]
	if !commit && !slices.ContainsFunc(l.checkpoints, func(c checkpoint) bool { return c.version == v }) {
		return Later{}, fmt.Errorf("delta table %s has neither commit nor checkpoint %d: %w", l.root, v, fs.ErrNotExist)
	}
	later := Later{Version: v, Hint: HintKey(l.root.Root), Aside: l.above(v)}
	if l.hint != nil {
		body, err := l.get(ctx, *l.hint)
		if err != nil {
			return Later{}, err
		}
		if h, err := ParseHint(body); err == nil && h.Version <= v {
			good, err := l.follows(ctx, h)
			if err != nil {
				return Later{}, err
			}
			if good {
				later.KeepHint = true
				return later, nil
			}
		}
	}
	for _, c := range l.checkpoints {
		// A hint can name a UUID-named checkpoint only with a copy of its content.
		// Without a hint, readers list and find it.
		if c.version > v || c.version < 0 || !c.whole() {
			continue
		}
		if c.v2 {
			break
		}
		actions, opens, err := l.opens(ctx, c)
		if err != nil {
			return Later{}, err
		}
		if !opens {
			continue // readers fail there
		}
		h := Hint{Version: c.version, Size: actions}
		if len(c.parts) > 1 {
			h.Parts = len(c.parts)
		}
		later.HintBody, err = json.Marshal(h)
		return later, err
	}
	later.KeepHint = l.hint == nil
	return later, nil
}

// named reports whether a checkpoint is the one, or one of those, that a hint names.
func (c checkpoint) named(h Hint) bool {
	return c.version == h.Version && c.whole() && (c.v2 || len(c.parts) == max(h.Parts, 1))
}

// checkpointed reports whether the listing has the whole checkpoint that a hint
// names.
func (l *Log) checkpointed(h Hint) bool {
	return slices.ContainsFunc(l.checkpoints, func(c checkpoint) bool { return c.named(h) })
}

// follows reports whether readers that believe a hint find a checkpoint that opens.
func (l *Log) follows(ctx context.Context, h Hint) (bool, error) {
	found := false
	for _, c := range l.checkpoints {
		if !c.named(h) {
			continue
		}
		if _, opens, err := l.opens(ctx, c); err != nil || !opens {
			return false, err
		}
		found = true
	}
	return found, nil
}

// opens reads a checkpoint as its readers do, with its sidecars, and counts the actions
// of its parts.
func (l *Log) opens(ctx context.Context, c checkpoint) (actions int64, opens bool, err error) {
	r, err := l.start(ctx, c)
	if err != nil && broken(err) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return r.actions, true, nil
}

// Unopenable reads the checkpoints that other engines start from: those of the newest
// version that has whole ones, and those that the hint names. It gives why they cannot
// be read; Spark and delta-rs do not look for another one then.
func (l *Log) Unopenable(ctx context.Context) ([]error, error) {
	h, state, err := l.Hinted(ctx)
	if err != nil && !broken(err) {
		return nil, err
	}
	var bad []error
	newest := int64(-1)
	for _, c := range l.checkpoints {
		if c.version < 0 || c.version > l.Head() || !c.whole() {
			continue
		}
		if newest < 0 {
			newest = c.version
		}
		if c.version != newest && (err != nil || state != HintGood || !c.named(h)) {
			continue
		}
		switch _, err := l.start(ctx, c); {
		case err == nil:
		case broken(err):
			bad = append(bad, fmt.Errorf("checkpoint %s of version %d cannot be read, and engines that start from it fail: %w", InLog(c.parts[0].Key), c.version, err))
		default:
			return bad, err
		}
	}
	return bad, nil
}

// above orders what lies above v as [Later] asks.
func (l *Log) above(v int64) []string {
	type entry struct {
		version int64
		key     string
	}
	var checkpoints, commits []entry
	for _, c := range l.checkpoints {
		for _, o := range c.parts {
			if c.version > v && o.Key != "" {
				checkpoints = append(checkpoints, entry{c.version, o.Key})
			}
		}
	}
	for _, c := range l.compacted {
		if c.Last > v {
			checkpoints = append(checkpoints, entry{c.Last, c.Key})
		}
	}
	for n, o := range l.crcs {
		if n > v {
			commits = append(commits, entry{n, o.Key})
		}
	}
	for n, o := range l.commits {
		if n > v {
			commits = append(commits, entry{n, o.Key})
		}
	}
	var keys []string
	for _, entries := range [][]entry{checkpoints, commits} {
		slices.SortFunc(entries, func(a, b entry) int {
			return cmp.Or(cmp.Compare(b.version, a.version), strings.Compare(b.key, a.key))
		})
		for _, e := range entries {
			keys = append(keys, e.key)
		}
	}
	return keys
}
