package table

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

	"breakwater/internal/action"
	"breakwater/internal/lake"
)

// The undo of table.promote brings back what was moved aside, each object under
// its name and only where nothing is: commits upwards, then checkpoints, then the
// hint. The copies in the quarantine stay. Objects come back with a new
// modification time, which matters only to tables whose commits carry no time.

// demotion is the undo's view of a promotion.
type demotion struct {
	lake.Table
	promotePlan
	missing []aside // to bring back, in order
	hintNow []byte
	hintTag string
	hint    bool // the hint must change back
}

// demotion holds the table against the promotion's plan. What was written above
// its version meanwhile makes going back a failback.
func (s room) demotion(ctx context.Context, c action.Call[action.None]) (demotion, error) {
	var d demotion
	var err error
	if d.promotePlan, err = action.Decode[promotePlan](c.Plan.Data); err != nil {
		return d, err
	}
	if d.Table, err = s.lake.Table(ctx, c.Estate, c.Run.Target, c.Item.Name); err != nil {
		return d, err
	}
	st, err := logOf(ctx, d.Table)
	if err != nil {
		return d, err
	}
	planned := map[string]bool{}
	for _, a := range d.Aside {
		planned[a.Key] = true
		o, there := st.present[a.Key]
		if !there {
			d.missing = append(d.missing, a)
		} else if o.ETag != a.ETag || o.Size != a.Size {
			if same, err := equal(ctx, d.Table, a.Key, a); err != nil || !same {
				return d, errors.Join(err, d.overtaken(a.Key))
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(st.present)) {
		v, ok := speaksOf(path.Base(key))
		if ok && v > d.Version && !planned[key] && path.Dir(key)+"/" == d.LogDir() {
			return d, d.overtaken(key)
		}
	}
	slices.SortFunc(d.missing, func(a, b aside) int {
		if x, y := isCheckpoint(a.Key), isCheckpoint(b.Key); x != y {
			return lake.Ranks(x)
		}
		return strings.Compare(a.Key, b.Key)
	})
	if d.Hint == nil {
		return d, nil
	}
	if d.hintNow, d.hintTag, err = hint(ctx, d.Table, d.Hint.Key); err != nil {
		return d, err
	}
	before := d.Hint.Was != nil && d.hintTag == d.Hint.Was.ETag || d.Hint.Was == nil && d.hintNow == nil
	d.hint = !before
	if d.hint && !bytes.Equal(d.hintNow, d.Hint.Body) {
		return d, moved(d.Table, d.Hint.Key, "is neither what it was nor what the promotion made it")
	}
	return d, nil
}

// isCheckpoint tells checkpoints and compacted commits, which speak of several
// versions, from the log entries themselves.
func isCheckpoint(key string) bool {
	name := path.Base(key)
	return strings.Contains(name, ".checkpoint.") || strings.Contains(name, ".compacted.")
}

func (d demotion) overtaken(key string) error {
	return fmt.Errorf("%w: table %s was written after its promotion to version %d (%s): what was moved aside has no place any more, and going back is a failback",
		action.ErrRefused, d.Name, d.Version, d.Bucket.URL(key))
}

func (s room) planDemote(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	d, err := s.demotion(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	ch := action.Change{
		Summary: fmt.Sprintf("%s goes back to head %d, as it was before the promotion to version %d", d.Name, d.Head, d.Version),
		Data:    c.Plan.Data, // all that bringing back needs was planned with the promotion
	}
	for _, a := range d.missing {
		ch.Effects = append(ch.Effects, action.EffectLine{On: d.Bucket.URL(a.Key), Do: "bring back", From: d.Bucket.URL(a.To)})
	}
	if d.hint {
		ch.Effects = append(ch.Effects, action.EffectLine{On: d.Bucket.URL(d.Hint.Key), Do: "make it what it was", From: string(d.hintNow)})
	}
	return ch, nil
}

// applyDemote brings back what is not there. Called again, it finds nothing to do.
func (s room) applyDemote(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	d, err := s.demotion(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s is back at head %d", d.Name, d.Head)}
	for i, a := range d.missing {
		body, err := d.keptBody(ctx, a)
		if err != nil {
			return out, err
		}
		// Written on the condition that nothing is there: a commit of somebody else
		// under that number would be lost under a copy.
		if err := replace(ctx, d.Table, c, a.Key, "", body); err != nil {
			return out, err
		}
		out.Mutations++
		c.Progress(int64(i+1), int64(len(d.missing)), "bringing log files back")
	}
	if !d.hint {
		return out, nil
	}
	var body []byte
	if d.Hint.Was != nil {
		if body, err = d.keptBody(ctx, *d.Hint.Was); err != nil {
			return out, err
		}
	}
	out.Mutations++
	return out, replace(ctx, d.Table, c, d.Hint.Key, d.hintTag, body)
}

// keptBody reads an object from the quarantine, or from its own history where the
// copy is gone.
func (d demotion) keptBody(ctx context.Context, a aside) ([]byte, error) {
	body, _, err := d.Bucket.Get(ctx, a.To)
	if errors.Is(err, fs.ErrNotExist) && a.VersionID != "" {
		body, _, err = d.Bucket.Client().GetVersion(ctx, d.Bucket.Name(), a.Key, a.VersionID)
	}
	if err == nil && int64(len(body)) != a.Size {
		err = moved(d.Table, a.To, "has %d bytes and was kept with %d", len(body), a.Size)
	}
	return body, err
}

// verifyDemote looks at the table as it was before the promotion: a fresh listing
// against what the plan saw then.
func (s room) verifyDemote(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	plan, err := action.Decode[promotePlan](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	t, err := s.lake.Table(ctx, c.Estate, c.Run.Target, c.Item.Name)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("the head is version %d, as before the promotion", plan.Head)
	l, err := t.Open(ctx)
	if err != nil {
		return []action.Observation{t.NotSeen(c.Run, what, "a log", err)}, nil
	}
	obs := []action.Observation{t.About(action.Saw(what, fmt.Sprint(plan.Head), fmt.Sprint(l.Head()), l.Head() == plan.Head))}
	what = "every log file that was moved aside is back as it was"
	have, err := listed(ctx, t, t.LogDir())
	if err != nil {
		return append(obs, t.NotSeen(c.Run, what, "a listing", err)), nil
	}
	back := plan.Aside
	if h := plan.Hint; h != nil && h.Was != nil {
		back = append(slices.Clone(back), *h.Was)
	}
	var bad []string
	for _, a := range back {
		o, ok := have[a.Key]
		if ok && o.Size == a.Size && o.ETag != a.ETag {
			if ok, err = equal(ctx, t, a.Key, a); err != nil {
				return append(obs, t.NotSeen(c.Run, what, "its bytes", err)), nil
			}
		}
		if !ok || o.Size != a.Size {
			bad = append(bad, a.Key)
		}
	}
	if h := plan.Hint; h != nil && h.Was == nil {
		if _, there := have[h.Key]; there {
			bad = append(bad, h.Key)
		}
	}
	return append(obs, t.About(action.Saw(what, fmt.Sprintf("%d objects", len(back)), counted(len(back), bad, "are not"), len(bad) == 0))), nil
}
