package tabletest

import (
	"testing"

	"breakwater/internal/promise"
	"breakwater/internal/table"
)

// inspecting holds a format that people can look into to what it tells them.
func inspecting() promise.Suite[World] {
	return promise.Suite[World]{
		{Name: "a chosen version is the one that was meant", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			i, ok := b.open().(table.Inspector)
			if !ok {
				return
			}
			third := b.wrote[3].Number
			for _, c := range []struct {
				choice table.Choice
				want   int
			}{{table.Choice{}, len(b.wrote) - 1}, {table.Choice{Version: &third}, 3}, {table.Choice{At: at(2)}, 2}} {
				p, err := i.Point(b.ctx(), c.choice)
				b.must(err, "find version %d", b.wrote[c.want].Number)
				if got := p.Snapshot.Version().Number; got != b.wrote[c.want].Number || !p.Time.Time.Equal(at(c.want)) || !p.Complete || len(p.Lacks)+len(p.Above) != 0 {
					t.Errorf("%+v gives version %d of %v, complete %v; want %d of %v", c.choice, got, p.Time.Time, p.Complete, b.wrote[c.want].Number, at(c.want))
				}
			}
			b.store.Delete(b.wrote[3].Data[0])
			p, err := i.Point(b.ctx(), table.Choice{Version: &third})
			b.must(err, "find a version that lacks an object")
			if p.Complete || len(p.Lacks) != 1 || p.Lacks[0].File.Key != b.wrote[3].Data[0] {
				t.Errorf("version %d lacks %s, and is said to be complete (%v), lacking %v", third, b.wrote[3].Data[0], p.Complete, p.Lacks)
			}
		}},
		{Name: "states tell which versions can be read in full", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			i, ok := b.open().(table.Inspector)
			if !ok {
				return
			}
			b.store.Delete(b.wrote[3].Data[0])
			n := 0
			for s, err := range i.States(b.ctx()) {
				b.must(err, "survey the versions")
				if n == len(b.wrote) || s.Version.Number != b.wrote[n].Number || s.Complete() != (n < 3) {
					t.Fatalf("state %d is of version %d, complete %v; data of version %d is gone", n, s.Version.Number, s.Complete(), b.wrote[3].Number)
				}
				n++
			}
			if n != len(b.wrote) {
				t.Errorf("%d states of %d versions", n, len(b.wrote))
			}
		}},
		{Name: "a check finds what is wrong, and nothing else", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			i, ok := b.open().(table.Inspector)
			if !ok {
				return
			}
			all := table.CheckOptions{Sample: -1}
			f, err := i.Check(b.ctx(), all)
			b.must(err, "check a sound table")
			if !f.Sound() || f.Version != b.last().Number || f.Files == 0 || f.Snapshot == nil {
				t.Errorf("of a sound table: %+v", f)
			}
			b.store.Delete(b.last().Data[0])
			f, err = i.Check(b.ctx(), all)
			b.must(err, "check a table that lacks an object")
			if f.Sound() || f.Complete || len(f.Missing) != 1 || f.Missing[0].File.Key != b.last().Data[0] {
				t.Errorf("%s is gone: %+v", b.last().Data[0], f)
			}
		}},
		{Name: "a version says what it holds", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			o := b.open()
			files, bytes := 0, int64(0)
			for n, v := range b.wrote {
				for _, key := range v.Data {
					body, err := b.store.Get(b.ctx(), key)
					b.must(err, "read a data file")
					files, bytes = files+1, bytes+int64(len(body))
				}
				s, ok := b.snapshot(o, v.Number).(table.Described)
				if !ok {
					return
				}
				d := s.Describe()
				if d.Files != files || d.Bytes != bytes || d.Deleted != 0 || d.ID == "" || d.Protocol == nil || d.Protocol.String() == "" {
					t.Errorf("version %d says %+v; it has %d files of %d bytes", v.Number, d, files, bytes)
				}
				if rows, _, err := s.CountRows(b.ctx()); err != nil || rows != b.rows(n) {
					t.Errorf("version %d counts %d rows, %v; want %d", v.Number, rows, err, b.rows(n))
				}
			}
		}},
	}
}
