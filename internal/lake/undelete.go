package lake

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
	"breakwater/internal/rewind"
	"breakwater/internal/rewind/perform"
	"breakwater/internal/table"
)

// Undeletion is what brings back the objects that a version of a table needs and that
// somebody deleted, or wrote over.
type Undeletion struct {
	Version   int64
	Objects   int      // that the version needs
	Prefixes  []string // that hold them
	Lines     []rewind.Line
	Lost      []string // keys of which no version as recorded is left
	Elsewhere []string // what of it lies in other buckets, which is not looked at
	Entries   int64    // versions and delete markers that were listed
}

// past is what versions an object has, as far as an undeletion asks.
type past struct {
	file    table.File
	now     rewind.Version
	fit     rewind.Version // the newest version with the recorded size
	markers []string       // above fit, newest first
	hidden  bool           // something else than markers is above it, or too many
}

const markersAtMost = 64

// see takes the next older entry of the object.
func (p *past) see(e rewind.Entry) {
	if p.now.ID == "" || e.Latest {
		p.now = e.Version
	}
	_, lacks := table.Judge(p.file, e.Size)
	switch {
	case p.fit.ID != "":
	case !e.Marker && !lacks:
		p.fit = e.Version
	case e.Marker && len(p.markers) < markersAtMost:
		p.markers = append(p.markers, e.ID)
	default:
		p.hidden = true
	}
}

// line brings the object back; false where it is there, or where nothing can.
func (p *past) line(key string, byCopy bool) (rewind.Line, bool) {
	l := rewind.Line{Key: key, Now: p.now, Then: p.fit}
	switch {
	case p.fit.ID == "" || p.now.ID == p.fit.ID:
		return l, false
	case p.now.Marker && !p.hidden && !byCopy:
		l.Do, l.Markers = rewind.Unmark, p.markers
	default:
		l.Do = rewind.Copy
	}
	return l, true
}

// Undelete holds the closure of a version against the versions of its objects. Delete
// markers are removed; byCopy puts versions over them instead, which needs no right to
// delete any.
func (t Table) Undelete(ctx context.Context, snap table.Snapshot, byCopy bool) (Undeletion, error) {
	u := Undeletion{Version: snap.Version().Number, Prefixes: prefixes(t, snap)}
	all := map[string]*past{}
	for f, err := range snap.Closure() {
		if err != nil {
			return u, err
		}
		if u.Objects++; f.Bucket != "" {
			u.Elsewhere = append(u.Elsewhere, f.URI())
			continue
		}
		all[f.Key] = &past{file: f}
	}
	for e, err := range perform.Entries(ctx, t.Bucket, u.Prefixes...) {
		if err != nil {
			return u, err
		}
		u.Entries++
		if p, ok := all[e.Key]; ok {
			p.see(e)
		}
	}
	needs := make([]rewind.Line, 0, len(all)) // as if all were copied: nobody reads what lies in an archive, deleted or not
	for key, p := range all {
		needs = append(needs, rewind.Line{Key: key, Do: rewind.Copy, Then: p.fit})
		l, ok := p.line(key, byCopy)
		switch {
		case p.fit.ID == "":
			u.Lost = append(u.Lost, key)
		case ok:
			u.Lines = append(u.Lines, l)
		}
	}
	slices.Sort(u.Lost)
	byKey := func(a, b rewind.Line) int { return cmp.Compare(a.Key, b.Key) }
	slices.SortFunc(u.Lines, byKey)
	slices.SortFunc(needs, byKey)
	archived, err := perform.Archived(ctx, t.Bucket, needs, func(key string) string { return key })
	if err == nil && len(archived) > 0 {
		err = fmt.Errorf("%w: %s", action.ErrRefused, t.Bucket.Restoring(archived))
	}
	if err != nil {
		return u, err
	}
	return u, nil
}

// RefuseLost names what nothing can bring back, at most as many as shown.
func (u Undeletion) RefuseLost(shown int) error {
	n := len(u.Lost)
	if n == 0 {
		return nil
	}
	names := strings.Join(u.Lost[:min(n, shown)], ", ")
	if n > shown {
		names += fmt.Sprintf(", and %d more", n-shown)
	}
	return fmt.Errorf("no version with the recorded size is left of %d of the %s of version %d: %s; choose another version, or restore from a backup: %w",
		n, plural.Of(u.Objects, "object"), u.Version, names, action.ErrRefused)
}

// prefixes hold every object of a version: the table's own and, for shallow
// clones, those of other tables in the bucket; sorted, none within another.
func prefixes(t Table, snap table.Snapshot) []string {
	all := []string{t.Root.Prefix + "/"}
	for _, uri := range snap.Outside() {
		if dir, ok := strings.CutPrefix(uri, "s3://"+t.Root.Bucket+"/"); ok {
			all = append(all, dir+"/")
		}
	}
	slices.Sort(all)
	out := all[:1]
	for _, p := range all[1:] {
		if !strings.HasPrefix(p, out[len(out)-1]) {
			out = append(out, p)
		}
	}
	return out
}

// LineEffect is a line of a plan for people.
func LineEffect(to objectstore.Bucket, l rewind.Line) action.EffectLine {
	e := action.EffectLine{On: to.URL(l.Key), From: perform.OrNone(l.Now), To: perform.OrNone(l.Then)}
	switch l.Do {
	case rewind.Copy:
		e.Do = "put an earlier version over it"
	case rewind.Unmark:
		e.Do = fmt.Sprintf("remove %s", plural.Of(len(l.Markers), "delete marker"))
	case rewind.Mark:
		e.Do, e.To = "add a delete marker", "nothing"
	}
	return e
}
