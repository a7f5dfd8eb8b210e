package promote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"breakwater/internal/plural"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
)

// Taking a promotion back brings back what was moved aside, each object under its
// name and only where nothing is: commits upwards, then checkpoints, then the
// hint. The copies in the quarantine stay. Objects come back with a new
// modification time, which matters only to tables whose commits carry no time.

// Back is what is left to take back of a promotion.
type Back struct {
	plan    Plan
	missing []Aside // to bring back, in order
	hintNow []byte
	hintTag string
	hint    bool // the hint must change back
}

// NewBack holds the table against the promotion's plan. It is [ErrRefused] where
// somebody wrote above the promoted version meanwhile: going back is a failback
// then.
func NewBack(ctx context.Context, s table.Site, plan Plan) (Back, error) {
	b := Back{plan: plan}
	st, err := readLog(ctx, s)
	if err != nil {
		return b, err
	}
	planned := map[string]bool{}
	for _, a := range plan.Aside {
		planned[a.Key] = true
		o, there := st.present[a.Key]
		if !there {
			b.missing = append(b.missing, a)
		} else if o.ETag != a.ETag || o.Size != a.Size {
			if same, err := equal(ctx, s, a.Key, a); err != nil || !same {
				return b, errors.Join(err, b.overtaken(s, a.Key))
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(st.present)) {
		v, ok := delta.SpeaksOf(path.Base(key))
		if ok && v > plan.Version && !planned[key] && path.Dir(key)+"/" == delta.LogDir(s.Root) {
			return b, b.overtaken(s, key)
		}
	}
	slices.SortFunc(b.missing, func(x, y Aside) int {
		switch cx, cy := ofSeveral(x.Key), ofSeveral(y.Key); {
		case cx && !cy:
			return 1
		case cy && !cx:
			return -1
		}
		return strings.Compare(x.Key, y.Key)
	})
	if plan.Hint == nil {
		return b, nil
	}
	if b.hintNow, b.hintTag, err = hint(ctx, s, plan.Hint.Key); err != nil {
		return b, err
	}
	before := plan.Hint.Was != nil && b.hintTag == plan.Hint.Was.ETag || plan.Hint.Was == nil && b.hintNow == nil
	b.hint = !before
	if b.hint && !bytes.Equal(b.hintNow, plan.Hint.Body) {
		return b, moved(s, plan.Hint.Key, "is neither what it was nor what the promotion made it")
	}
	return b, nil
}

// ofSeveral tells checkpoints and compacted commits, which speak of several
// versions, from the log entries themselves.
func ofSeveral(key string) bool {
	name := path.Base(key)
	return strings.Contains(name, ".checkpoint.") || strings.Contains(name, ".compacted.")
}

func (b Back) overtaken(s table.Site, key string) error {
	return fmt.Errorf("%w: table %s was written after its promotion to version %d (%s): what was moved aside has no place any more, and going back is a failback",
		ErrRefused, s.Name, b.plan.Version, s.Root.URL(key))
}

// Effects are what is left to do, in order.
func (b Back) Effects(s table.Site) (effects []table.Effect) {
	for _, a := range b.missing {
		effects = append(effects, table.Effect{On: s.Root.URL(a.Key), Do: "bring back", From: s.Root.URL(a.To)})
	}
	if b.hint {
		effects = append(effects, table.Effect{On: s.Root.URL(b.plan.Hint.Key), Do: "make it what it was", From: string(b.hintNow)})
	}
	return effects
}

// Apply brings back what is not there, and returns how many objects it wrote or
// hid. Worked out again and called again, it finds nothing to do.
func (b Back) Apply(ctx context.Context, s table.Site, w table.Work) (changes int64, err error) {
	for i, a := range b.missing {
		body, err := keptBody(ctx, s, a)
		if err != nil {
			return changes, err
		}
		// Written on the condition that nothing is there: a commit of somebody else
		// under that number would be lost under a copy.
		if err := replace(ctx, s, w, a.Key, "", body); err != nil {
			return changes, err
		}
		changes++
		w.Progress(int64(i+1), int64(len(b.missing)), "bringing log files back")
	}
	if !b.hint {
		return changes, nil
	}
	var body []byte
	if was := b.plan.Hint.Was; was != nil {
		if body, err = keptBody(ctx, s, *was); err != nil {
			return changes, err
		}
	}
	return changes + 1, replace(ctx, s, w, b.plan.Hint.Key, b.hintTag, body)
}

// keptBody reads an object from the quarantine, or from its own history where the
// copy is gone.
func keptBody(ctx context.Context, s table.Site, a Aside) ([]byte, error) {
	body, err := s.Store.Get(ctx, a.To)
	if errors.Is(err, fs.ErrNotExist) && a.VersionID != "" {
		body, err = s.Store.GetVersion(ctx, a.Key, a.VersionID)
	}
	if err == nil && int64(len(body)) != a.Size {
		err = moved(s, a.To, "has %s and was kept with %d", plural.Of(len(body), "byte"), a.Size)
	}
	return body, err
}
