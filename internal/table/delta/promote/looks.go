package promote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"breakwater/internal/plural"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
)

// The looks of this file go by what any reader can see, and share nothing with
// what applies but the plan and package delta.

// Promoted looks at what a promotion left, beside what every reader sees of its
// head: that no name speaks of a later version, that the hint is right, and that
// what moved is kept.
func Promoted(ctx context.Context, store table.Keeper, root table.Root, l *delta.Log, plan Plan) []table.Look {
	looks := []table.Look{nothingAbove(ctx, store, root, plan.Version), HintHolds(ctx, store, root, l, plan.Version)}
	aside := plan.Aside
	if h := plan.Hint; h != nil && h.Was != nil && h.Body == nil {
		aside = append(slices.Clone(aside), *h.Was)
	}
	if len(aside) == 0 {
		return looks
	}
	kept := keptAsItWas(ctx, store, plan.Folder, aside)
	if looks = append(looks, kept); kept.Err != nil {
		return looks
	}
	return append(looks, nothingOver(ctx, store, root, aside))
}

// nothingAbove looks for names in the log's folder that speak of a version above
// one. What must not be there is told from names alone.
func nothingAbove(ctx context.Context, store table.Store, root table.Root, v int64) table.Look {
	look := table.Look{What: fmt.Sprintf("no log file above version %d is listed", v), Want: "none"}
	var found []string
	for o, err := range store.List(ctx, delta.LogDir(root)) {
		if err != nil {
			look.Err = err
			return look
		}
		if n, ok := delta.SpeaksOf(strings.TrimPrefix(o.Key, delta.LogDir(root))); ok && n > v {
			found = append(found, o.Key)
		}
	}
	look.Got, look.OK = look.Want, len(found) == 0
	if len(found) > 0 {
		look.Got = fmt.Sprintf("%d, the first: %s", len(found), found[0])
	}
	return look
}

// HintHolds looks whether the hint to the last checkpoint names nothing above a
// version and nothing that is not there.
func HintHolds(ctx context.Context, store table.Store, root table.Root, l *delta.Log, v int64) table.Look {
	look := table.Look{What: "the hint to the last checkpoint", Want: fmt.Sprintf("none, or a checkpoint at most at version %d", v)}
	body, err := store.Get(ctx, delta.HintKey(root))
	if absent(err) {
		look.Got, look.OK = "none", true
		return look
	}
	var h delta.Hint
	if err == nil {
		h, err = delta.ParseHint(body)
	}
	if err == nil && h.Version <= v {
		_, err = l.Snapshot(ctx, h.Version)
	}
	look.Got, look.OK, look.Err = fmt.Sprintf("version %d", h.Version), h.Version <= v, err
	return look
}

// keptAsItWas looks whether each object that moved aside is kept as it was.
func keptAsItWas(ctx context.Context, store table.Keeper, folder string, aside []Aside) table.Look {
	look := table.Look{What: "what was moved aside is kept as it was", Want: plural.Of(len(aside), "object")}
	have := map[string]table.Object{}
	for o, err := range store.List(ctx, folder) {
		if err != nil {
			look.Err = err
			return look
		}
		have[o.Key] = o
	}
	var bad []string
	for _, a := range aside {
		o, ok := have[a.To]
		same := ok && o.Size == a.Size
		if same && o.ETag != a.ETag {
			if same, look.Err = sameBytes(ctx, store, a.To, a); look.Err != nil {
				return look
			}
		}
		if !same {
			bad = append(bad, a.To)
		}
	}
	look.Got, look.OK = counted(len(aside), bad, "lack or differ"), len(bad) == 0
	return look
}

// nothingOver looks whether a later version lies under the marks that hide what
// moved aside: a write that came too late.
func nothingOver(ctx context.Context, store table.Keeper, root table.Root, aside []Aside) table.Look {
	look := table.Look{What: "nothing was written over what was moved aside", Want: plural.Of(len(aside), "object")}
	newest := map[string]table.Past{}
	for o, err := range store.ListVersions(ctx, delta.LogDir(root)) {
		if err != nil {
			look.Err = err
			return look
		}
		if _, ok := newest[o.Key]; !ok && !o.Marker {
			newest[o.Key] = o
		}
	}
	var bad []string
	for _, a := range aside {
		n, ok := newest[a.Key]
		if n.Latest && a.Key == delta.HintKey(root) { // a later hint has a look of its own
			continue
		}
		if ok && (n.ETag != a.ETag || n.Size != a.Size) {
			bad = append(bad, a.Key)
		}
	}
	look.Got, look.OK = counted(len(aside), bad, "have a later version"), len(bad) == 0
	return look
}

// Returned looks at the log as it was before the promotion: a fresh listing
// against what the plan saw then.
func Returned(ctx context.Context, store table.Keeper, root table.Root, plan Plan) table.Look {
	look := table.Look{What: "every log file that was moved aside is back as it was", Want: "a listing"}
	have := map[string]table.Object{}
	for o, err := range store.List(ctx, delta.LogDir(root)) {
		if err != nil {
			look.Err = err
			return look
		}
		have[o.Key] = o
	}
	back := plan.Aside
	if h := plan.Hint; h != nil && h.Was != nil {
		back = append(slices.Clone(back), *h.Was)
	}
	var bad []string
	for _, a := range back {
		o, ok := have[a.Key]
		if ok && o.Size == a.Size && o.ETag != a.ETag {
			if ok, look.Err = sameBytes(ctx, store, a.Key, a); look.Err != nil {
				look.Want = "its bytes"
				return look
			}
		}
		if !ok || o.Size != a.Size {
			bad = append(bad, a.Key)
		}
	}
	if h := plan.Hint; h != nil && h.Was == nil {
		_, there := have[h.Key]
		over, err := overHint(ctx, store, *h)
		if look.Err = err; err != nil {
			return look
		}
		if there || over {
			bad = append(bad, h.Key)
		}
	}
	look.Want = plural.Of(len(back), "object")
	look.Got, look.OK = counted(len(back), bad, "are not"), len(bad) == 0
	return look
}

// overHint reports whether a hint was written over the one that the promotion wrote, where
// there had been none: somebody's, hidden with it.
func overHint(ctx context.Context, store table.Keeper, h HintChange) (bool, error) {
	over := false
	for o, err := range store.ListVersions(ctx, h.Key) {
		if err != nil {
			return false, err
		}
		if o.Marker || o.Key != h.Key {
			continue
		}
		if o.Size == int64(len(h.Body)) {
			body, err := store.GetVersion(ctx, h.Key, o.VersionID)
			if err != nil || bytes.Equal(body, h.Body) {
				return over, err
			}
		}
		over = true
	}
	return false, nil // it wrote none
}

// sameBytes compares what lies under a key with the version that was planned: an
// ETag need not be the content's. What is gone differs.
func sameBytes(ctx context.Context, store table.Keeper, key string, a Aside) (bool, error) {
	is, err := store.Get(ctx, key)
	var was []byte
	if err == nil {
		was, err = store.GetVersion(ctx, a.Key, a.VersionID)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && bytes.Equal(is, was), err
}

func counted(n int, bad []string, words string) string {
	if len(bad) == 0 {
		return plural.Of(n, "object")
	}
	return fmt.Sprintf("%d of %d %s, the first: %s", len(bad), n, words, bad[0])
}
