package promote

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sync/atomic"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"

	"golang.org/x/sync/errgroup"
)

// atOnce is how many objects are copied at the same time.
const atOnce = 8

// Apply does what the plan says and is not done yet, and returns how many objects
// it wrote or hid. It fails with [ErrMoved] where the log is not as planned.
func Apply(ctx context.Context, s table.Site, plan Plan, w table.Work) (changes int64, err error) {
	st, err := readLog(ctx, s)
	if err == nil {
		err = asPlanned(ctx, s, st, plan)
	}
	if err != nil {
		return 0, err
	}
	if changes, err = keepAll(ctx, s, plan, w); err != nil {
		return changes, err
	}
	changed, err := setHint(ctx, s, plan.Hint, w)
	if err != nil {
		return changes, err
	}
	if changed {
		changes++
	}
	for i, a := range plan.Aside {
		if _, there := st.present[a.Key]; !there {
			continue
		}
		if err := w.Guard(ctx); err != nil {
			return changes, err
		}
		switch hid, err := hide(ctx, s, a.Key, st.present[a.Key].ETag); {
		case errors.Is(err, table.ErrChanged):
			return changes, moved(s, a.Key, "changed while it was moved aside")
		case err != nil:
			return changes, err
		case hid:
			changes++
		}
		w.Progress(int64(i+1), int64(len(plan.Aside)), "moving later log files aside")
	}
	return changes, nil
}

// hide puts a delete marker over an object that has the ETag, and reports false where
// none is there. Not every store deletes on a condition: it looks again, then deletes.
// What comes in between stays under the marker, and the looks find it there.
func hide(ctx context.Context, s table.Site, key, etag string) (hid bool, err error) {
	switch o, err := s.Store.Stat(ctx, key); {
	case absent(err):
		return false, nil
	case err != nil:
		return false, err
	case o.ETag != etag:
		return false, table.ErrChanged
	}
	err = s.Store.Hide(ctx, key, etag)
	return err == nil, err
}

// asPlanned holds the log against the plan: every log file above the version is
// one that the plan names, as it was, or is gone.
func asPlanned(ctx context.Context, s table.Site, st logState, plan Plan) error {
	planned := map[string]Aside{}
	for _, a := range plan.Aside {
		planned[a.Key] = a
	}
	for _, key := range slices.Sorted(maps.Keys(st.present)) {
		v, ok := delta.SpeaksOf(path.Base(key))
		if !ok || v <= plan.Version || path.Dir(key)+"/" != delta.LogDir(s.Root) {
			continue
		}
		a, ok := planned[key]
		if !ok {
			return moved(s, key, "came after the plan")
		}
		if o := st.present[key]; o.ETag != a.ETag || o.Size != a.Size {
			if same, err := equal(ctx, s, key, a); err != nil || !same {
				return errors.Join(err, moved(s, key, "has ETag %s, planned with %s", o.ETag, a.ETag))
			}
		}
	}
	return nil
}

// equal compares an object that has another ETag, as a copy of one that was
// uploaded in parts has, with the version that was planned, byte for byte.
func equal(ctx context.Context, s table.Site, key string, a Aside) (bool, error) {
	got, err := s.Store.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	was, err := s.Store.GetVersion(ctx, a.Key, a.VersionID)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && bytes.Equal(got, was), err
}

// keepAll copies what moves aside into the quarantine, where it is not there yet.
func keepAll(ctx context.Context, s table.Site, plan Plan, w table.Work) (int64, error) {
	kept, err := listed(ctx, s, plan.Folder)
	if err != nil {
		return 0, err
	}
	all := slices.Clone(plan.Aside)
	if h := plan.Hint; h != nil && h.Was != nil && !h.Done {
		all = append(all, *h.Was)
	}
	all = slices.DeleteFunc(all, func(a Aside) bool { return kept[a.To].Size == a.Size && kept[a.To].ETag != "" })
	if len(all) == 0 {
		return 0, nil
	}
	if err := w.Guard(ctx); err != nil {
		return 0, err
	}
	var copies atomic.Int64
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(atOnce)
	for _, a := range all {
		work.Go(func() error {
			err := s.Store.Copy(wctx, a.Key, a.ObjectVersion, a.To)
			if errors.Is(err, table.ErrChanged) || absent(err) {
				return moved(s, a.Key, "is not the version %s that was planned", a.VersionID)
			}
			if err == nil {
				w.Progress(copies.Add(1), int64(len(all)), "copying later log files aside")
			}
			return err
		})
	}
	return copies.Load(), work.Wait()
}

// hint reads the hint as it is now; nil where there is none.
func hint(ctx context.Context, s table.Site, key string) ([]byte, string, error) {
	body, o, err := s.Store.Look(ctx, key)
	if absent(err) {
		return nil, "", nil
	}
	return body, o.ETag, err
}

// setHint makes the hint what the plan says, if it still is what the plan saw.
func setHint(ctx context.Context, s table.Site, h *HintChange, w table.Work) (changed bool, err error) {
	if h == nil {
		return false, nil
	}
	now, etag, err := hint(ctx, s, h.Key)
	switch {
	case err != nil:
		return false, err
	case (now == nil) == (h.Body == nil) && bytes.Equal(now, h.Body):
		return false, nil
	case (now == nil) != (h.Was == nil), h.Was != nil && etag != h.Was.ETag:
		return false, moved(s, h.Key, "is another one than planned")
	}
	return true, replace(ctx, s, w, h.Key, etag, h.Body)
}

// replace writes an object over the one with the ETag, or over none; a nil body
// removes it.
func replace(ctx context.Context, s table.Site, w table.Work, key, etag string, body []byte) error {
	err := w.Guard(ctx)
	switch {
	case err != nil:
	case body == nil:
		_, err = hide(ctx, s, key, etag)
	case etag == "":
		err = s.Store.PutIfAbsent(ctx, key, body)
	default:
		err = s.Store.PutIfMatch(ctx, key, body, etag)
	}
	if errors.Is(err, table.ErrChanged) || errors.Is(err, fs.ErrExist) {
		return moved(s, key, "was written by somebody else")
	}
	return err
}
