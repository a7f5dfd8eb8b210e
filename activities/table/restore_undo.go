package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/plural"
	"breakwater/internal/table"
)

// backLine is one object on the way back.
type backLine struct {
	Key string               `json:"key"`
	Was *table.ObjectVersion `json:"was,omitempty"` // nil: it was not there
}

// doneLine is an object that an earlier attempt changed.
type doneLine struct {
	backLine
	Now *table.ObjectVersion `json:"now,omitempty"` // nil: it is not there
}

// backPlan is the typed plan of taking a restore back.
type backPlan struct {
	restorePlan
	Lines []backLine `json:"lines,omitempty"` // in the order of doing
	// Saw is what each of them held when this was planned, nil for nothing.
	Saw []*table.ObjectVersion `json:"saw,omitempty"`
	// Between is what somebody wrote between the restore's look and its change.
	Between []backLine `json:"between,omitempty"`
}

// wayBack is everything that a restore may have changed, with all attempts of its
// step, in an order in which no reader takes one table's log for the other's data:
// what of the log was not there goes first, then comes the data, then the log as it
// was, the lowest first. Where somebody wrote in between, it leads back to that.
func (r *restoring) wayBack(p restorePlan, between []backLine) []backLine {
	was, left := map[string]*table.ObjectVersion{}, map[string]bool{}
	for _, k := range slices.Concat(p.Replaced, p.Hidden) {
		was[k.Key] = &k.ObjectVersion
	}
	for _, k := range p.Equal {
		left[k] = true
	}
	for _, line := range p.Done { // what was there before the first attempt counts
		was[line.Key] = line.Was
	}
	for _, line := range between {
		was[line.Key] = line.Was
	}
	var gone, data, back []backLine
	add := func(key string) {
		if left[key] {
			return
		}
		left[key] = true
		line := backLine{Key: key, Was: was[key]}
		switch {
		case !strings.HasPrefix(key, r.site.LogDir()):
			data = append(data, line)
		case line.Was == nil:
			gone = append(gone, line)
		default:
			back = append(back, line)
		}
	}
	for _, o := range r.objects {
		add(o.Key)
	}
	for _, k := range slices.Backward(p.Hidden) { // they are listed from the highest down
		add(k.Key)
	}
	for _, line := range p.Done {
		add(line.Key)
	}
	slices.Reverse(gone)
	return slices.Concat(gone, data, back)
}

// isBack reports whether an object is as it was.
func (r *restoring) isBack(ctx context.Context, line backLine, have map[string]table.ObjectVersion) (bool, error) {
	now, there := have[line.Key]
	switch {
	case line.Was == nil || !there:
		return !there && line.Was == nil, nil
	case now.Size != line.Was.Size:
		return false, nil
	case now.ETag == line.Was.ETag:
		return true, nil
	}
	return r.hasBytesOf(ctx, line.Key, line.Was.VersionID) // a copy of one that was uploaded in parts
}

// hasBytesOf compares an object with one of its versions, byte for byte. What is
// gone differs.
func (r *restoring) hasBytesOf(ctx context.Context, key, version string) (bool, error) {
	is, _, err := r.site.Bucket.Get(ctx, key)
	var was []byte
	if err == nil {
		was, _, err = r.site.Bucket.GetVersion(ctx, key, version)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && bytes.Equal(is, was), err
}

func (s room) planUnrestore(ctx context.Context, c action.Call[restoreWith]) (action.Change, error) {
	if _, out := leftOutBy(c.Plan); out {
		return action.Change{Summary: c.Item.Name + " was left as it is: there is nothing to take back", Data: c.Plan.Data}, nil
	}
	p, err := action.Decode[restorePlan](c.Plan.Data)
	if err != nil {
		return action.Change{}, err
	}
	r, err := s.restoringTo(ctx, c, &p)
	if err != nil {
		return action.Change{}, err
	}
	have, err := r.present(ctx)
	if err != nil {
		return action.Change{}, err
	}
	b := backPlan{restorePlan: p}
	under, err := r.buried(ctx, p)
	if err != nil {
		return action.Change{}, err
	}
	for _, u := range under {
		line := backLine{Key: u.Line.Key}
		if v := u.Version; v.There() {
			line.Was = &table.ObjectVersion{ETag: v.ETag, VersionID: v.ID, Size: v.Size}
		}
		b.Between = append(b.Between, line)
	}
	back, gone := 0, 0
	for _, line := range r.wayBack(p, b.Between) {
		ok, err := r.isBack(ctx, line, have)
		if err != nil {
			return action.Change{}, err
		}
		if ok {
			continue
		}
		var saw *table.ObjectVersion
		if now, there := have[line.Key]; there {
			saw = &now
		}
		b.Lines, b.Saw = append(b.Lines, line), append(b.Saw, saw)
		if line.Was == nil {
			gone++
		} else {
			back++
		}
	}
	ch := action.Change{Summary: fmt.Sprintf("%s comes back to what was there before backup %s was restored", r.site.Name, p.Backup)}
	if back > 0 {
		ch.Effects = append(ch.Effects, action.EffectLine{On: r.site.Bucket.URL(p.Root), Do: fmt.Sprintf("write %s as they were", plural.Of(back, "object")), To: "the versions that the bucket kept"})
	}
	if gone > 0 {
		ch.Effects = append(ch.Effects, action.EffectLine{On: r.site.Bucket.URL(p.Root), Do: fmt.Sprintf("hide %s not there", plural.Of(gone, "object", "that was", "that were")), To: "delete markers"})
	}
	ch.Data, err = action.Encode(b)
	return ch, err
}

func (s room) applyUnrestore(ctx context.Context, c action.Call[restoreWith]) (action.Outcome, error) {
	if _, out := leftOutBy(c.Plan); out {
		return action.Outcome{Summary: c.Item.Name + " is left as it is"}, nil
	}
	b, err := action.Decode[backPlan](c.Plan.Data)
	if err != nil {
		return action.Outcome{}, err
	}
	r, err := s.restoringTo(ctx, c, &b.restorePlan)
	if err != nil {
		return action.Outcome{}, err
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s is as it was before backup %s was restored", r.site.Name, b.Backup)}
	have, err := r.present(ctx)
	if err != nil {
		return out, err
	}
	var todo []int
	for i, line := range b.Lines {
		switch ok, err := r.isBack(ctx, line, have); {
		case err != nil:
			return out, err
		case !ok && b.moved(i, have):
			return out, moved(r.site, line.Key, "came or changed after this was planned")
		case !ok:
			todo = append(todo, i)
		}
	}
	const between = 100 // objects from one look at the epoch to the next
	for n, i := range todo {
		if n%between == 0 {
			if err := c.Guard(ctx); err != nil {
				return out, err
			}
		}
		if err := r.putBack(ctx, b.Lines[i], have[b.Lines[i].Key].ETag); err != nil {
			return out, err
		}
		out.Mutations++
		c.Progress(int64(n+1), int64(len(todo)), "taking the restore of "+r.site.Name+" back")
	}
	return out, nil
}

// verifyUnrestore observes that everything below the table's place is as it was,
// from a listing.
func (s room) verifyUnrestore(ctx context.Context, c action.Call[restoreWith]) ([]action.Observation, error) {
	if _, out := leftOutBy(c.Plan); out {
		return s.unrestored(ctx, c), nil
	}
	b, err := action.Decode[backPlan](c.Plan.Data)
	if err != nil {
		return nil, err
	}
	what, want := "everything is as it was before the restore", "all objects"
	r, err := s.restoringTo(ctx, c, &b.restorePlan)
	if errors.Is(err, action.ErrRefused) {
		return nil, err
	}
	if err != nil {
		return []action.Observation{r.Unseen(c.Run, what, want, err)}, nil
	}
	have, err := r.present(ctx)
	if err != nil {
		return []action.Observation{r.site.NotSeen(c.Run, what, want, err)}, nil
	}
	var not []string
	lines := r.wayBack(b.restorePlan, b.Between)
	for _, line := range lines {
		ok, err := r.isBack(ctx, line, have)
		if err != nil {
			return []action.Observation{r.site.NotSeen(c.Run, what, want, err)}, nil
		}
		if !ok {
			not = append(not, line.Key)
		}
	}
	got := want
	if len(not) > 0 {
		got = fmt.Sprintf("%d of %d are not: %s", len(not), len(lines), strings.TrimSpace(plural.Few(not)))
	}
	return append(r.notCovered(ctx, c.Run, b), r.site.About(action.Saw(what, want, got, len(not) == 0))), nil
}
