package tabletest

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"breakwater/internal/promise"
	"breakwater/internal/table"
)

// quarantine is where the checks let a promotion keep what moves.
const quarantine = "tables/orders/.breakwater/quarantine/run.1/"

// moving holds a format that can promote, copy and restore to how it does.
func moving() promise.Suite[World] {
	return promise.Suite[World]{
		{Name: "a copy of what a version needs, and what goes beside it, is the version", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			o := b.open()
			for _, v := range b.wrote {
				s := b.snapshot(o, v.Number)
				if p, ok := s.(table.Portable); ok {
					b.restored(s, p)
				}
			}
		}},
		{Name: "a promotion makes its version the head, and loses nothing", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			p, ok := w.Format.(table.Promoter)
			if !ok {
				return
			}
			for i := range len(b.wrote) - 1 {
				b := newBed(t, w)
				had := b.versions()
				m := b.plan(p, b.wrote[i].Number)
				if h, err := table.HeadOf(m.Plan); err != nil || h != (table.PlanHead{Version: b.wrote[i].Number, Head: b.last().Number}) || len(m.Effects) == 0 || m.Objects == 0 {
					t.Errorf("plan %+v of %d objects with effects %v, %v", h, m.Objects, m.Effects, err)
				}
				n, err := p.Promote(b.ctx(), b.site(), m.Plan, work(unguarded))
				b.must(err, "promote to version %d", b.wrote[i].Number)
				if head := b.open().Extent().Head; head != b.wrote[i].Number || n == 0 {
					t.Errorf("promoted to %d by %d changes, and the head is %d", b.wrote[i].Number, n, head)
				}
				b.looksGood("promoted", p.Promoted(b.ctx(), b.site(), b.open(), m.Plan))
				has := b.versions()
				for id := range had {
					if !has[id] {
						t.Errorf("promoted to %d, and object version %s is lost", b.wrote[i].Number, id)
					}
				}
				if again, err := p.Promote(b.ctx(), b.site(), m.Plan, work(0)); again != 0 || err != nil {
					t.Errorf("a second call made %d changes, %v", again, err)
				}
			}
		}},
		{Name: "a promotion that was taken back never was", Check: func(t testing.TB, w World) {
			p, ok := w.Format.(table.Promoter)
			if !ok {
				return
			}
			b := newBed(t, w)
			before := b.seen()
			m := b.plan(p, b.wrote[2].Number)
			_, err := p.Promote(b.ctx(), b.site(), m.Plan, work(unguarded))
			b.must(err, "promote")
			back, err := p.PlanReturn(b.ctx(), b.site(), m.Plan)
			b.must(err, "plan to take it back")
			_, err = p.Return(b.ctx(), b.site(), back.Plan, work(unguarded))
			b.must(err, "take it back")
			if after := b.seen(); !maps.Equal(before, after) {
				t.Errorf("readers saw %v before and see %v", before, after)
			}
			b.looksGood("taken back", p.Returned(b.ctx(), b.site(), back.Plan))
		}},
		{Name: "a promotion that was broken off is finished by the next call", Check: func(t testing.TB, w World) {
			p, ok := w.Format.(table.Promoter)
			if !ok {
				return
			}
			for guards := 0; ; guards++ {
				b := newBed(t, w)
				m := b.plan(p, b.wrote[2].Number)
				_, err := p.Promote(b.ctx(), b.site(), m.Plan, work(guards))
				if err == nil {
					break
				}
				if !errors.Is(err, errStopped) {
					t.Fatalf("stopped after %d guards: %v", guards, err)
				}
				if looks := p.Promoted(b.ctx(), b.site(), b.open(), m.Plan); b.open().Extent().Head == b.wrote[2].Number && good(looks) {
					t.Errorf("stopped after %d guards, and everything looks done", guards)
				}
				m = b.plan(p, b.wrote[2].Number)
				_, err = p.Promote(b.ctx(), b.site(), m.Plan, work(unguarded))
				b.must(err, "go on after %d guards", guards)
				b.looksGood("finished", p.Promoted(b.ctx(), b.site(), b.open(), m.Plan))
			}
		}},
		{Name: "a promotion stops where the table moved since its plan", Check: func(t testing.TB, w World) {
			p, ok := w.Format.(table.Promoter)
			if !ok {
				return
			}
			b := newBed(t, w)
			m := b.plan(p, b.wrote[2].Number)
			b.append(60)
			if _, err := p.Promote(b.ctx(), b.site(), m.Plan, work(unguarded)); !errors.Is(err, table.ErrMoved) {
				t.Errorf("a version came after the plan, and Promote = %v, want ErrMoved", err)
			}
			b = newBed(t, w)
			m = b.plan(p, b.wrote[2].Number)
			_, err := p.Promote(b.ctx(), b.site(), m.Plan, work(unguarded))
			b.must(err, "promote")
			b.append(60)
			if _, err := p.PlanReturn(b.ctx(), b.site(), m.Plan); !errors.Is(err, table.ErrRefused) {
				t.Errorf("a version was committed on the promoted head, and PlanReturn = %v, want ErrRefused", err)
			}
		}},
	}
}

// restored copies a version into an empty bucket as a restore does, and holds it
// against the version.
func (b *bed) restored(s table.Snapshot, p table.Portable) {
	b.Helper()
	number := s.Version().Number
	beside, err := p.Beside(b.ctx())
	b.must(err, "say what a copy of version %d holds beside", number)
	files := beside.Files
	for f, err := range s.Closure() {
		b.must(err, "walk the closure of version %d", number)
		files = append(files, f)
	}
	to := &Store{Now: b.store.Now}
	stages := table.Stages()
	for i, role := range stages {
		for _, f := range files {
			body, err := b.store.Get(b.ctx(), f.Key)
			if err == nil && b.world.Format.Entry(f.Key).Role == role {
				b.must(to.Put(b.ctx(), f.Key, body), "restore")
			}
		}
		if i < len(stages)-2 { // before the commits
			if o, err := b.world.Format.Open(b.ctx(), to, b.root); err == nil && o.Extent().Head > number {
				b.Errorf("version %d is half restored, and readers see version %d", number, o.Extent().Head)
			}
		}
	}
	if beside.Pointer != "" {
		b.must(to.Put(b.ctx(), beside.Pointer, beside.Body), "restore the pointer")
	}
	o, err := b.world.Format.Open(b.ctx(), to, b.root)
	b.must(err, "open the copy of version %d", number)
	if head := o.Extent().Head; head != number {
		b.Errorf("the head of a copy of version %d is %d", number, head)
	}
	want, reads := b.sum(s)
	if got, _ := b.sum(b.snapshot(o, number)); reads && got != want {
		b.Errorf("a copy of version %d reads as %s, want %s", number, got, want)
	}
	if r, ok := b.world.Format.(table.Restorer); ok {
		b.looksGood("restored", r.Restored(b.ctx(), to, b.root, number))
		for _, v := range b.wrote {
			commit := v.Log[len(v.Log)-1]
			if v.Number > number && !r.Hides(b.root, commit) {
				b.Errorf("%s would stay beside a restored version %d", commit, number)
			}
			for _, key := range v.Data {
				if r.Hides(b.root, key) {
					b.Errorf("data file %s would be hidden", key)
				}
			}
		}
	}
}

func (b *bed) plan(p table.Promoter, version int64) table.Move {
	b.Helper()
	o := b.open()
	m, err := p.PlanPromotion(b.ctx(), b.site(), o, b.snapshot(o, version), quarantine)
	b.must(err, "plan a promotion to version %d", version)
	return m
}

func (b *bed) looksGood(after string, looks []table.Look) {
	b.Helper()
	for _, l := range looks {
		if !l.OK || l.Err != nil {
			b.Errorf("%s, and %s: %q, want %q (%v)", after, l.What, l.Got, l.Want, l.Err)
		}
	}
}

func good(looks []table.Look) bool {
	for _, l := range looks {
		if !l.OK || l.Err != nil {
			return false
		}
	}
	return true
}

// seen is what a reader sees outside of the quarantine, by ETag.
func (b *bed) seen() map[string]string {
	seen := map[string]string{}
	for o, err := range b.store.List(b.ctx(), "") {
		b.must(err, "list")
		if !strings.HasPrefix(o.Key, quarantine) {
			seen[o.Key] = o.ETag
		}
	}
	return seen
}

// versions is every version of every object.
func (b *bed) versions() map[string]bool {
	all := map[string]bool{}
	for o, err := range b.store.ListVersions(b.ctx(), "") {
		b.must(err, "list versions")
		if !o.Marker {
			all[o.Key+" "+o.VersionID] = true
		}
	}
	return all
}
