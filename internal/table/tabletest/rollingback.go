package tabletest

import (
	"errors"
	"io/fs"
	"slices"
	"testing"

	"breakwater/internal/promise"
	"breakwater/internal/table"
)

// rollingBack holds a format that can roll back to how it does.
func rollingBack() promise.Suite[World] {
	stamp := table.Stamp{Token: "a", Run: "run", Now: at(99)}
	return promise.Suite[World]{
		{Name: "a rollback brings the rows back by a new version", Check: func(t testing.TB, w World) {
			r, ok := w.Format.(table.Rollbacker)
			if !ok {
				return
			}
			b := newBed(t, w)
			head, target := b.last().Number, b.wrote[2].Number
			p, err := r.PlanRollback(b.ctx(), b.site(), b.open(), table.Destination{Version: target})
			b.must(err, "plan a rollback")
			if f := p.Facts(); f.Empty || f.Head.Number != head || f.Target.Number != target || f.Digest == "" || f.Key == "" || len(f.Removed) == 0 {
				t.Errorf("facts %+v", f)
			}
			v, wrote, err := p.Commit(b.ctx(), stamp)
			b.must(err, "commit")
			o := b.open()
			if v != head+1 || !wrote || o.Extent().Head != v {
				t.Errorf("committed version %d (wrote %v), the head is %d; want %d", v, wrote, o.Extent().Head, head+1)
			}
			want, _ := b.sum(b.snapshot(o, target))
			if got, _ := b.sum(b.snapshot(o, v)); got != want {
				t.Errorf("version %d reads as %s, version %d as %s", v, got, target, want)
			}
			m := table.Mark{Token: "a", Run: "run", Plan: p.Facts().Digest, Target: target, Bad: head}
			c, err := o.Commit(b.ctx(), v)
			b.must(err, "read the commit")
			if got, ok := r.MarkOf(c); !ok || !got.Equal(m) {
				t.Errorf("its mark is %+v, %v; want %+v", got, ok, m)
			}
			if check, ok := w.Format.(table.RollbackChecker); ok {
				was, is := b.snapshot(o, target), b.snapshot(o, v)
				b.looksGood("rolled back", []table.Look{
					check.Committed(b.ctx(), o, v, m), check.Undisturbed(b.ctx(), o, v), check.SameFiles(b.ctx(), o, was, nil, is),
					check.SameRows(b.ctx(), o, head, was, nil, is, nil), check.MarksHold(b.ctx(), o, head, was, is),
				})
				other := m
				other.Token = "b"
				if l := check.Committed(b.ctx(), o, v, other); l.OK || l.Err != nil {
					t.Errorf("of another token: %+v", l)
				}
				if l := check.SameFiles(b.ctx(), o, b.snapshot(o, head), nil, is); l.OK || l.Err != nil {
					t.Errorf("the replaced head has other files: %+v", l)
				}
				if l := check.SameRows(b.ctx(), o, head, b.snapshot(o, head), nil, is, nil); l.OK || l.Err != nil {
					t.Errorf("the replaced head has other rows: %+v", l)
				}
				b.append(60)
				if l := check.Undisturbed(b.ctx(), b.open(), v); l.OK || l.Err != nil {
					t.Errorf("rows were appended since: %+v", l)
				}
			}
		}},
		{Name: "a rollback keeps the versions that it is told to", Check: func(t testing.TB, w World) {
			r, ok := w.Format.(table.Rollbacker)
			if !ok {
				return
			}
			b := newBed(t, w)
			head, target := b.last().Number, b.wrote[2].Number
			p, err := r.PlanRollback(b.ctx(), b.site(), b.open(), table.Destination{Version: target, Keep: []int64{head}})
			b.must(err, "plan a rollback that keeps version %d", head)
			v, _, err := p.Commit(b.ctx(), stamp)
			b.must(err, "commit")
			o := b.open()
			was, is := b.snapshot(o, target), b.snapshot(o, v)
			if want := was.Rows() + b.snapshot(o, head).Rows() - b.snapshot(o, head-1).Rows(); is.Rows() != want {
				t.Errorf("version %d has %d rows, want %d: those of version %d and what version %d brought", v, is.Rows(), want, target, head)
			}
			kept := []int64{head}
			if f := p.Facts(); !slices.Equal(f.Replays, kept) {
				t.Errorf("it says that it keeps %v, want %v", f.Replays, kept)
			}
			if check, ok := w.Format.(table.RollbackChecker); ok {
				m := table.Mark{Token: "a", Run: "run", Plan: p.Facts().Digest, Target: target, Bad: head, Kept: kept}
				b.looksGood("rolled back", []table.Look{
					check.Committed(b.ctx(), o, v, m), check.SameFiles(b.ctx(), o, was, kept, is), check.SameRows(b.ctx(), o, head, was, kept, is, nil),
				})
				m.Kept = nil
				for what, l := range map[string]table.Look{
					"its mark": check.Committed(b.ctx(), o, v, m), "its files": check.SameFiles(b.ctx(), o, was, nil, is), "its rows": check.SameRows(b.ctx(), o, head, was, nil, is, nil),
				} {
					if l.OK || l.Err != nil {
						t.Errorf("version %d is kept, and %s pass as if nothing were: %+v", head, what, l)
					}
				}
			}
			aim, err := r.Aim(b.ctx(), b.open(), table.Destination{Version: target, Keep: kept})
			b.must(err, "work out what it holds")
			if aim.Version().Number != target || aim.Rows() != is.Rows() || len(b.lacking(aim, b.store)) > 0 {
				t.Errorf("it was to hold %d rows by number %d", aim.Rows(), aim.Version().Number)
			}
			for _, v := range []int64{target, v + 1} {
				if _, err := r.PlanRollback(b.ctx(), b.site(), b.open(), table.Destination{Version: target, Keep: []int64{v}}); !errors.Is(err, table.ErrRefused) {
					t.Errorf("keep version %d, which is none after %d: %v, want ErrRefused", v, target, err)
				}
			}
		}},
		{Name: "a rollback that is called again commits once", Check: func(t testing.TB, w World) {
			r, ok := w.Format.(table.Rollbacker)
			if !ok {
				return
			}
			b := newBed(t, w)
			head := b.last().Number
			if _, err := r.FindRollback(b.ctx(), b.site(), head, "a"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("nobody committed, and FindRollback = %v, want fs.ErrNotExist", err)
			}
			p, err := r.PlanRollback(b.ctx(), b.site(), b.open(), table.Destination{Version: b.wrote[2].Number})
			b.must(err, "plan a rollback")
			v, _, err := p.Commit(b.ctx(), stamp)
			b.must(err, "commit")
			if again, wrote, err := p.Commit(b.ctx(), stamp); again != v || wrote || err != nil {
				t.Errorf("called again: version %d (wrote %v), %v; want %d and nothing written", again, wrote, err, v)
			}
			if m, err := r.FindRollback(b.ctx(), b.site(), head, "a"); err != nil || m.Token != "a" {
				t.Errorf("FindRollback = %+v, %v", m, err)
			}
			if _, err := r.FindRollback(b.ctx(), b.site(), head, "b"); !errors.Is(err, table.ErrMoved) {
				t.Errorf("FindRollback of another token = %v, want ErrMoved", err)
			}
			p, err = r.PlanRollback(b.ctx(), b.site(), b.open(), table.Destination{Version: b.wrote[2].Number})
			if err != nil || !p.Facts().Empty {
				t.Errorf("planned again, it is not empty (%v)", err)
			}
		}},
		{Name: "a rollback stops where the head moved since its plan", Check: func(t testing.TB, w World) {
			r, ok := w.Format.(table.Rollbacker)
			if !ok {
				return
			}
			b := newBed(t, w)
			p, err := r.PlanRollback(b.ctx(), b.site(), b.open(), table.Destination{Version: b.wrote[2].Number})
			b.must(err, "plan a rollback")
			after := b.append(60)
			if v, _, err := p.Commit(b.ctx(), stamp); !errors.Is(err, table.ErrMoved) {
				t.Errorf("version %d came after the plan, and Commit = %d, %v; want ErrMoved", after.Number, v, err)
			}
		}},
		{Name: "a rollback to a version that lacks an object is refused", Check: func(t testing.TB, w World) {
			r, ok := w.Format.(table.Rollbacker)
			if !ok {
				return
			}
			b := newBed(t, w)
			b.store.Delete(b.wrote[2].Data[0])
			if _, err := r.PlanRollback(b.ctx(), b.site(), b.open(), table.Destination{Version: b.wrote[2].Number}); !errors.Is(err, table.ErrRefused) {
				t.Errorf("PlanRollback = %v, want ErrRefused", err)
			}
		}},
	}
}
