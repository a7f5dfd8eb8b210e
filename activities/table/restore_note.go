package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/objectstore"
	"breakwater/internal/table"
)

// A restore that is broken off and planned again finds its own objects, and could
// take them for what was there. So Apply leaves its plan as a note in the bucket
// before its first change, and Plan reads the newest one of its step.

// notesOf is the prefix of a step's notes, outside of every table. The key of each
// ends in its number.
func notesOf(c action.Call[restoreWith]) string {
	var parts []string
	for _, p := range []string{c.Run.Workflow, c.Run.FirstRun, c.Step, c.Item.Name} {
		parts = append(parts, url.PathEscape(p))
	}
	return ".breakwater/restore/" + strings.Join(parts, "/") + "/"
}

func noteKey(c action.Call[restoreWith], attempt int) string {
	return fmt.Sprintf("%s%06d", notesOf(c), attempt)
}

// noted is the number of the newest note; 0 for none.
func (r *restoring) noted(ctx context.Context, c action.Call[restoreWith]) (newest int, err error) {
	for o, err := range r.site.Bucket.List(ctx, notesOf(c)) {
		if err != nil {
			return 0, err
		}
		if n, err := strconv.Atoi(strings.TrimPrefix(o.Key, notesOf(c))); err == nil {
			newest = max(newest, n)
		}
	}
	return newest, nil
}

// doneBefore says what earlier attempts of the step changed that is still so, with
// what was there before them, and which number the next attempt has. What somebody
// else changed since is not theirs any more.
func (s room) doneBefore(ctx context.Context, c action.Call[restoreWith], r *restoring, have map[string]table.ObjectVersion) (attempt int, done []doneLine, err error) {
	n, err := r.noted(ctx, c)
	if err != nil || n == 0 {
		return 1, nil, err
	}
	key := noteKey(c, n)
	body, _, err := r.site.Bucket.Get(ctx, key)
	if err != nil {
		return 0, nil, err
	}
	p, err := action.Decode[restorePlan](body)
	var earlier restoring
	if err == nil {
		earlier, err = s.restoringTo(ctx, c, &p) // another backup may be the newest by now
	}
	if err != nil {
		return 0, nil, fmt.Errorf("what an earlier attempt of this step changed is not known, and so could not be taken back: see its note %s: %w", r.site.Bucket.URL(key), err)
	}
	wrote, before := map[string]int{}, map[string]*table.ObjectVersion{}
	for i, o := range earlier.objects {
		wrote[o.Key] = i
	}
	kept := map[string]bool{}
	for _, line := range p.Done {
		before[line.Key], kept[line.Key] = line.Now, true
	}
	for _, line := range earlier.wayBack(p, nil) {
		i, writes := wrote[line.Key]
		now, there := have[line.Key]
		theirs := !writes && !there // it was hidden
		switch was := before[line.Key]; {
		case kept[line.Key] && was == nil:
			theirs = theirs || !there
		case kept[line.Key]:
			theirs = theirs || there && *was == now // of an attempt before that one, and not come to yet
		}
		if writes && there && !theirs {
			if theirs, err = r.same(ctx, earlier.objects[i], now); err != nil {
				return 0, nil, err
			}
		}
		if !theirs {
			continue
		}
		d := doneLine{backLine: line}
		if there {
			d.Now = &now
		}
		done = append(done, d)
	}
	slices.SortFunc(done, func(a, b doneLine) int { return strings.Compare(a.Key, b.Key) })
	return n + 1, done, nil
}

// noting is a guard that leaves the plan as a note when it lets the first change
// through. A note of another plan under its number, or a later one, means that the
// world is not as planned.
func (r *restoring) noting(c action.Call[restoreWith], p restorePlan, out *action.Outcome) func(context.Context) error {
	left := false
	return func(ctx context.Context) error {
		if err := c.Guard(ctx); err != nil || left {
			return err
		}
		newest, err := r.noted(ctx, c)
		if err != nil {
			return err
		}
		if newest > p.Attempt {
			return moved(r.site, noteKey(c, newest), "was left by a later attempt")
		}
		body, err := action.Encode(p)
		if err != nil {
			return err
		}
		_, err = r.site.Bucket.PutIfAbsent(ctx, noteKey(c, p.Attempt), body)
		switch {
		case err == nil:
			out.Mutations++
		case errors.Is(err, objectstore.ErrSame): // this plan's, of a call that was broken off
		case errors.Is(err, fs.ErrExist):
			return moved(r.site, noteKey(c, p.Attempt), "was left by another attempt")
		default:
			return err
		}
		left = true
		return nil
	}
}
