package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/recovery"
	"breakwater/internal/table/delta"

	"golang.org/x/sync/errgroup"
)

// promotePlan is the typed plan of table.promote, and what taking it back needs.
type promotePlan struct {
	Version int64      `json:"version"` // to be the head
	Head    int64      `json:"head"`    // as seen
	Folder  string     `json:"folder"`  // this run's quarantine, a prefix
	Aside   []aside    `json:"aside,omitempty"`
	Hint    *hintPoint `json:"hint,omitempty"` // nil where the hint stays as it is
}

// objectState is one version of an object.
type objectState struct {
	ETag      string `json:"etag"`
	VersionID string `json:"version_id,omitempty"`
	Size      int64  `json:"size"` // bytes
}

// aside is an object that moves from Key to To.
type aside struct {
	Key string `json:"key"`
	To  string `json:"to"`
	objectState
	Done bool `json:"done,omitempty"` // moved by an earlier attempt of this run
}

// hintPoint is a change of _last_checkpoint. Was is nil where there was none, and
// Body where none is to be.
type hintPoint struct {
	Key  string `json:"key"`
	Was  *aside `json:"was,omitempty"`
	Body []byte `json:"body,omitempty"`
	Done bool   `json:"done,omitempty"` // changed by an earlier attempt of this run
}

// logState is a table's log directory as one listing of its versions showed it.
type logState struct {
	present map[string]objectState // what a reader sees
	hidden  map[string]objectState // the newest version under a delete marker
}

func logOf(ctx context.Context, t lake.Table) (logState, error) {
	st := logState{map[string]objectState{}, map[string]objectState{}}
	for o, err := range t.Bucket.ListVersions(ctx, t.LogDir()) {
		if err != nil {
			return st, err
		}
		if o.DeleteMarker {
			continue
		}
		v := objectState{ETag: o.ETag, VersionID: o.VersionID, Size: o.Size}
		if o.Latest {
			st.present[o.Key] = v
		} else if _, ok := st.hidden[o.Key]; !ok {
			st.hidden[o.Key] = v
		}
	}
	return st, nil
}

// quarantine is the prefix under which a run keeps what it moves aside. Names
// with a leading dot are no part of a table to any engine.
func quarantine(t lake.Table, run action.Run) string {
	return t.Root.Prefix + "/.breakwater/quarantine/" + url.PathEscape(run.Workflow) + "." + url.PathEscape(run.FirstRun) + "/"
}

// slot is where an object is kept: under its own name, or under a numbered folder
// where that name holds something else already. Nothing kept is ever overwritten.
func slot(kept map[string]objectState, folder, name string, o objectState) string {
	to := folder + name
	for n := 2; ; n++ {
		if have, taken := kept[to]; !taken || have.ETag == o.ETag && have.Size == o.Size {
			return to
		}
		to = fmt.Sprintf("%s%d/%s", folder, n, name)
	}
}

// listed is what a prefix holds now.
func listed(ctx context.Context, t lake.Table, prefix string) (map[string]objectState, error) {
	have := map[string]objectState{}
	for o, err := range t.Bucket.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		have[o.Key] = objectState{ETag: o.ETag, Size: o.Size}
	}
	return have, nil
}

func (s room) planPromote(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	p, err := s.lake.PointOf(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	t := p.Site
	fail := func(doing string, err error) (action.Change, error) {
		return action.Change{}, fmt.Errorf("plan to promote table %s to version %d: %s: %w", t.Name, p.Version, doing, err)
	}
	if versioned, err := t.Bucket.Versioned(ctx); err != nil {
		return fail("ask whether its bucket keeps versions", err)
	} else if !versioned {
		return fail("bucket "+t.Bucket.Name()+" keeps no versions, so that what moves aside could be lost; turn versioning on", action.ErrRefused)
	}
	l, err := t.Open(ctx)
	if err != nil {
		return fail("open it", err)
	}
	snap, err := l.Snapshot(ctx, p.Version)
	if err != nil {
		return fail("read that version", err)
	}
	if by := snap.Coordinator(); by != "" {
		return fail(fmt.Sprintf("its commits are accepted by a catalog or coordinator (%s), which would not know that some moved aside; promote it through that, or take the table out of its hands first", by), action.ErrRefused)
	}
	if err := t.RefuseElsewhere(c.Estate, snap); err != nil {
		return fail("see where its files lie", err)
	}
	switch lacks, n, err := t.Lacking(ctx, snap); {
	case err != nil:
		return fail("list its objects", err)
	case len(lacks) > 0:
		return fail(fmt.Sprintf("%d of its %d objects lack now, the first: %v; choose the recovery point again", len(lacks), n, lacks[0]), action.ErrMoved)
	}
	cut, err := l.LaterThan(ctx, p.Version)
	if err != nil {
		return fail("see what lies above", err)
	}
	st, err := logOf(ctx, t)
	if err != nil {
		return fail("list the versions of its log", err)
	}
	plan := promotePlan{Version: p.Version, Head: l.Head(), Folder: quarantine(t, c.Run)}
	kept, err := listed(ctx, t, plan.Folder)
	if err != nil {
		return fail("list what is kept aside", err)
	}
	for _, key := range cut.Aside {
		o, ok := st.present[key]
		if !ok {
			return fail("object "+key+" went away meanwhile", action.ErrMoved)
		}
		plan.Aside = append(plan.Aside, aside{Key: key, To: slot(kept, plan.Folder, strings.TrimPrefix(key, t.Root.Prefix+"/"), o), objectState: o})
	}
	plan.Aside = append(plan.Aside, movedBefore(t, kept, st, plan)...)
	if plan.Hint, err = planHint(ctx, t, kept, st, plan.Folder, cut); err != nil {
		return fail("read the hint to its last checkpoint", err)
	}

	ch := action.Change{Accepts: t.AcceptOutside(c.Estate, snap), Loss: lake.ActionLoss(p.Loss), Estimate: time.Second + time.Duration(len(cut.Aside))*50*time.Millisecond}
	ch.Summary = fmt.Sprintf("%s comes back to version %d of %s and loses %s", t.Name, p.Version, p.CommittedAt.Format(time.RFC3339), recovery.LossWords(p.Loss))
	if h := plan.Hint; h != nil {
		if h.Was != nil {
			ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: t.Bucket.URL(h.Key), Version: h.Was.ETag})
		}
		if !h.Done {
			ch.Effects = append(ch.Effects, h.effect(t))
		}
	}
	for _, a := range plan.Aside {
		ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: t.Bucket.URL(a.Key), Version: a.ETag})
		if !a.Done {
			ch.Effects = append(ch.Effects, action.EffectLine{On: t.Bucket.URL(a.Key), Do: "move aside", To: t.Bucket.URL(a.To)})
		}
	}
	ch.Preconditions = append(ch.Preconditions, action.Precondition{Resource: "recovery point of table " + t.Name, Version: fmt.Sprint(p.Version)})
	if ch.Data, err = action.Encode(plan); err != nil {
		return ch, err
	}
	ch.Undo = ch.Data
	return ch, nil
}

// movedBefore finds what an earlier attempt of this run moved aside, so that
// taking back takes that back too.
func movedBefore(t lake.Table, kept map[string]objectState, st logState, plan promotePlan) []aside {
	byKey := map[string]aside{}
	for _, to := range slices.Sorted(maps.Keys(kept)) {
		o, name := kept[to], strings.TrimPrefix(to, plan.Folder)
		key := t.LogDir() + path.Base(name)
		was, under := st.hidden[key]
		v, ok := speaksOf(path.Base(key))
		_, there := st.present[key]
		_, twice := byKey[key]
		if !ok || v <= plan.Version || there || !under || was.Size != o.Size || twice && was.ETag != o.ETag {
			continue
		}
		byKey[key] = aside{Key: key, To: to, objectState: was, Done: true}
	}
	var out []aside
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		out = append(out, byKey[key])
	}
	return out
}

// planHint says how the hint changes; nil where it stays.
func planHint(ctx context.Context, t lake.Table, kept map[string]objectState, st logState, folder string, cut delta.Later) (*hintPoint, error) {
	name := strings.TrimPrefix(cut.Hint, t.Root.Prefix+"/")
	now, there := st.present[cut.Hint]
	h := &hintPoint{Key: cut.Hint, Body: cut.HintBody}
	switch was, changed := kept[folder+name]; {
	case cut.KeepHint && (!changed || there && was.ETag == now.ETag):
		return nil, nil
	case cut.KeepHint: // an earlier attempt of this run made it right
		h.Was, h.Done = &aside{Key: cut.Hint, To: folder + name, objectState: was}, true
		if there {
			body, _, err := t.Bucket.Get(ctx, cut.Hint)
			h.Body = body
			return h, err
		}
	case there:
		h.Was = &aside{Key: cut.Hint, To: slot(kept, folder, name, now), objectState: now}
	}
	return h, nil
}

func (h *hintPoint) effect(t lake.Table) action.EffectLine {
	e := action.EffectLine{On: t.Bucket.URL(h.Key), Do: "let it name a checkpoint that stays", From: "none", To: string(h.Body)}
	if h.Was != nil {
		e.From = "kept as " + h.Was.To
	}
	if h.Body == nil {
		e.Do, e.To = "move aside: no checkpoint stays that it could name", ""
	}
	return e
}

// moved is an error that says what is no longer as the plan saw it.
func moved(t lake.Table, key, format string, args ...any) error {
	return fmt.Errorf("table %s: %s %s; plan again: %w", t.Name, t.Bucket.URL(key), fmt.Sprintf(format, args...), action.ErrMoved)
}

// asPlanned holds the log against the plan: every log file above the version is
// one that the plan names, as it was, or is gone.
func asPlanned(ctx context.Context, t lake.Table, st logState, plan promotePlan) error {
	planned := map[string]aside{}
	for _, a := range plan.Aside {
		planned[a.Key] = a
	}
	for _, key := range slices.Sorted(maps.Keys(st.present)) {
		v, ok := speaksOf(path.Base(key))
		if !ok || v <= plan.Version || path.Dir(key)+"/" != t.LogDir() {
			continue
		}
		a, ok := planned[key]
		if !ok {
			return moved(t, key, "came after the plan")
		}
		if o := st.present[key]; o.ETag != a.ETag || o.Size != a.Size {
			if same, err := equal(ctx, t, key, a); err != nil || !same {
				return errors.Join(err, moved(t, key, "has ETag %s, planned with %s", o.ETag, a.ETag))
			}
		}
	}
	return nil
}

// equal compares an object that has another ETag, as a copy of one that was
// uploaded in parts has, with the version that was planned, byte for byte.
func equal(ctx context.Context, t lake.Table, key string, a aside) (bool, error) {
	got, _, err := t.Bucket.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	was, _, err := t.Bucket.Client().GetVersion(ctx, t.Bucket.Name(), a.Key, a.VersionID)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && bytes.Equal(got, was), err
}

// applyPromote moves aside what the plan names: copies first, then the hint, then
// the originals by delete markers in the order in which no reader sees a hole. It
// goes by what is there, so that a second call, or one after a crash, does what
// is left.
func (s room) applyPromote(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	plan, err := action.Decode[promotePlan](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	t, err := s.lake.Table(ctx, c.Estate, c.Run.Target, c.Item.Name)
	if err != nil {
		return action.Outcome{}, err
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s is at version %d", t.Name, plan.Version)}
	st, err := logOf(ctx, t)
	if err == nil {
		err = asPlanned(ctx, t, st, plan)
	}
	if err != nil {
		return out, err
	}
	copies, err := keepAll(ctx, t, c, plan)
	out.Mutations = copies
	if err != nil {
		return out, err
	}
	changed, err := setHint(ctx, t, c, plan.Hint)
	if err != nil {
		return out, err
	}
	if changed {
		out.Mutations++
	}
	for i, a := range plan.Aside {
		if _, there := st.present[a.Key]; !there {
			continue
		}
		// No store offers a delete on a condition: look again, then delete. What
		// comes in between stays under the marker, and Verify finds it there.
		switch o, err := t.Bucket.Head(ctx, a.Key); {
		case errors.Is(err, fs.ErrNotExist) && lake.Answered(err):
			continue
		case err != nil:
			return out, err
		case o.ETag != st.present[a.Key].ETag:
			return out, moved(t, a.Key, "changed while it was moved aside")
		}
		if err := c.Guard(ctx); err != nil {
			return out, err
		}
		if _, err := t.Bucket.Delete(ctx, a.Key); err != nil {
			return out, err
		}
		out.Mutations++
		c.Progress(int64(i+1), int64(len(plan.Aside)), "moving later log files aside")
	}
	return out, nil
}

// keepAll copies what moves aside into the quarantine, where it is not there yet.
func keepAll(ctx context.Context, t lake.Table, c action.Call[action.None], plan promotePlan) (int64, error) {
	kept, err := listed(ctx, t, plan.Folder)
	if err != nil {
		return 0, err
	}
	all := slices.Clone(plan.Aside)
	if h := plan.Hint; h != nil && h.Was != nil && !h.Done {
		all = append(all, *h.Was)
	}
	all = slices.DeleteFunc(all, func(a aside) bool { return kept[a.To].Size == a.Size && kept[a.To].ETag != "" })
	if len(all) == 0 {
		return 0, nil
	}
	if err := c.Guard(ctx); err != nil {
		return 0, err
	}
	var copies atomic.Int64
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(action.AtOnce)
	for _, a := range all {
		work.Go(func() error {
			_, err := t.Bucket.Copy(wctx, objectstore.Source{Key: a.Key, VersionID: a.VersionID, ETag: a.ETag}, a.To)
			if errors.Is(err, objectstore.ErrChanged) || errors.Is(err, fs.ErrNotExist) && lake.Answered(err) {
				return moved(t, a.Key, "is not the version %s that was planned", a.VersionID)
			}
			if err == nil {
				c.Progress(copies.Add(1), int64(len(all)), "copying later log files aside")
			}
			return err
		})
	}
	return copies.Load(), work.Wait()
}

// hint reads the hint as it is now; nil where there is none.
func hint(ctx context.Context, t lake.Table, key string) ([]byte, string, error) {
	body, o, err := t.Bucket.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) && lake.Answered(err) {
		return nil, "", nil
	}
	return body, o.ETag, err
}

// setHint makes the hint what the plan says, if it still is what the plan saw.
func setHint(ctx context.Context, t lake.Table, c action.Call[action.None], h *hintPoint) (changed bool, err error) {
	if h == nil {
		return false, nil
	}
	now, etag, err := hint(ctx, t, h.Key)
	switch {
	case err != nil:
		return false, err
	case (now == nil) == (h.Body == nil) && bytes.Equal(now, h.Body):
		return false, nil
	case (now == nil) != (h.Was == nil), h.Was != nil && etag != h.Was.ETag:
		return false, moved(t, h.Key, "is another one than planned")
	}
	return true, replace(ctx, t, c, h.Key, etag, h.Body)
}

// replace writes an object over the one with the ETag, or over none; a nil body
// removes it.
func replace(ctx context.Context, t lake.Table, c action.Call[action.None], key, etag string, body []byte) error {
	err := c.Guard(ctx)
	switch {
	case err != nil:
	case body == nil:
		_, err = t.Bucket.Delete(ctx, key)
	case etag == "":
		_, err = t.Bucket.PutIfAbsent(ctx, key, body)
	default:
		_, err = t.Bucket.PutIfMatch(ctx, key, body, etag)
	}
	switch {
	case errors.Is(err, objectstore.ErrSame):
		return nil
	case errors.Is(err, objectstore.ErrChanged), errors.Is(err, fs.ErrExist):
		return moved(t, key, "was written by somebody else")
	}
	return err
}
