package tabletest

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"breakwater/internal/promise"
	"breakwater/internal/table"
)

// finding holds a format to finding the right version, and all that it needs.
func finding() promise.Suite[World] {
	return promise.Suite[World]{
		{Name: "a whole head is the newest complete version", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			n, err := b.open().Newest(b.ctx(), time.Time{})
			b.must(err, "find the newest complete version")
			if got := n.Snapshot.Version(); got.Number != b.last().Number || !got.Time.Equal(at(len(b.wrote)-1)) || len(n.Above) != 0 {
				t.Errorf("newest complete %+v with %v above, want version %d of %v", got, n.Above, b.last().Number, at(len(b.wrote)-1))
			}
			if out := n.Snapshot.Outside(); len(out) != 0 {
				t.Errorf("it needs %v, and all of it lies in its folder", out)
			}
		}},
		{Name: "a version that lacks an object is not complete", Check: func(t testing.TB, w World) {
			for name, fault := range map[string]func(b *bed, key string){
				"gone":      func(b *bed, key string) { b.store.Delete(key) },
				"hidden":    func(b *bed, key string) { b.must(b.store.Hide(b.ctx(), key, ""), "hide") },
				"cut short": func(b *bed, key string) { b.must(b.store.Put(b.ctx(), key, []byte("x")), "cut short") },
			} {
				for i := 2; i < len(appended); i++ {
					b := newBed(t, w)
					fault(b, b.wrote[i].Data[0])
					n, err := b.open().Newest(b.ctx(), time.Time{})
					b.must(err, "find the newest complete version")
					if got := n.Snapshot.Version().Number; got != b.wrote[i-1].Number {
						t.Errorf("data of version %d is %s, and the newest complete version is %d, want %d", b.wrote[i].Number, name, got, b.wrote[i-1].Number)
						continue
					}
					if len(n.Above) != len(b.wrote)-i || len(n.Above[0].Lacks) != 1 || n.Above[0].Lacks[0].File.Key != b.wrote[i].Data[0] || n.Above[0].Why() == "" {
						t.Errorf("data of version %d is %s; above: %+v", b.wrote[i].Number, name, n.Above)
					}
				}
			}
		}},
		{Name: "where no version is complete there is no newest", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			for _, v := range b.wrote {
				for _, key := range append(v.Data, v.Log[:len(v.Log)-1]...) {
					b.store.Delete(key)
				}
			}
			for _, key := range b.wrote[0].Log {
				b.must(b.store.Put(b.ctx(), key, []byte("{")), "damage")
			}
			n, err := b.open().Newest(b.ctx(), time.Time{})
			if !errors.Is(err, table.ErrNoneComplete) || n.Snapshot != nil || len(n.Above) == 0 {
				t.Errorf("Newest = %+v, %v; want ErrNoneComplete with what each version lacks", n, err)
			}
		}},
		{Name: "no version later than asked for is the newest", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			n, err := b.open().Newest(b.ctx(), at(3))
			b.must(err, "find the newest complete version")
			if got := n.Snapshot.Version().Number; got != b.wrote[3].Number {
				t.Errorf("not after %v it is version %d, want %d", at(3), got, b.wrote[3].Number)
			}
		}},
		{Name: "a closure is enough to read its version", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			o := b.open()
			for i, v := range b.wrote {
				s := b.snapshot(o, v.Number)
				copied := &Store{Now: b.store.Now}
				seen := map[string]bool{}
				for f, err := range s.Closure() {
					b.must(err, "walk the closure of version %d", v.Number)
					body, err := b.store.Get(b.ctx(), f.Key)
					if err != nil || f.Bucket != "" || seen[f.Key] || int64(len(body)) != f.Size && (!f.AtLeast || int64(len(body)) <= f.Size) {
						t.Errorf("closure of version %d has %+v, where %d bytes are: %v", v.Number, f, len(body), err)
					}
					if log := w.Format.Entry(f.Key).Log(); log != (f.Why == table.LogEntry) {
						t.Errorf("closure of version %d needs %s as %q", v.Number, f.Key, f.Why)
					}
					seen[f.Key] = true
					copied.Write(f.Key, body, at(i))
				}
				c, err := w.Format.Open(b.ctx(), copied, b.root)
				if err != nil {
					t.Errorf("a copy of version %d's closure alone cannot be opened: %v", v.Number, err)
					continue
				}
				again, err := c.Snapshot(b.ctx(), v.Number)
				if err != nil {
					t.Errorf("a copy of version %d's closure alone does not give it: %v", v.Number, err)
					continue
				}
				if lacks := b.lacking(again, copied); len(lacks) > 0 {
					t.Errorf("a copy of version %d's closure alone lacks %v", v.Number, lacks)
				}
				r, ok := again.(table.RowReader)
				if !ok {
					continue
				}
				want, _ := b.sum(s)
				if got, err := r.Sum(b.ctx()); err != nil || got != want {
					t.Errorf("a copy of version %d's closure alone reads as %s, %v; want %s", v.Number, got, err, want)
				}
			}
		}},
		{Name: "a time gives the last version committed by then", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			times, err := b.open().Times(b.ctx())
			b.must(err, "date the versions")
			if len(times.Versions) != len(b.wrote) || len(times.Warnings) != 0 {
				t.Errorf("%d of %d versions have a time, with warnings %q", len(times.Versions), len(b.wrote), times.Warnings)
			}
			for i, v := range b.wrote {
				for _, when := range []time.Time{at(i), at(i).Add(59 * time.Second)} {
					got, err := times.At(when)
					if err != nil || got.Number != v.Number || !got.Time.Equal(at(i)) || got.From == table.None {
						t.Errorf("at %v it is %+v, %v; want version %d of %v", when, got, err, v.Number, at(i))
					}
				}
			}
			if got, err := times.At(at(0).Add(-time.Second)); !errors.Is(err, table.ErrTooEarly) {
				t.Errorf("before the first version it is %+v, %v; want ErrTooEarly", got, err)
			}
		}},
		{Name: "a reference gives its version", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			o := b.open()
			times, err := o.Times(b.ctx())
			b.must(err, "date the versions")
			seen := map[string]bool{}
			for _, v := range b.wrote {
				ref := b.snapshot(o, v.Number).Version().Ref
				if ref == "" {
					continue // its numbers are all the names that it has
				}
				if seen[ref] {
					t.Errorf("version %d has another one's reference %s", v.Number, ref)
				}
				seen[ref] = true
				if got, ok := times.Named(ref); !ok || got.Number != v.Number {
					t.Errorf("reference %s gives %+v, %v; want version %d", ref, got, ok, v.Number)
				}
			}
			if got, ok := times.Named("nobody's"); ok {
				t.Errorf("a reference of no version gives %+v", got)
			}
		}},
	}
}

// broken holds a format to saying what is broken rather than reading around it.
func broken() promise.Suite[World] {
	return promise.Suite[World]{
		{Name: "a version that is not there is not there", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			for _, n := range []int64{-1, b.last().Number + 1} {
				if s, err := b.open().Snapshot(b.ctx(), n); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Snapshot(%d) = %v, %v; want fs.ErrNotExist", n, s, err)
				}
				if c, err := b.open().Commit(b.ctx(), n); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Commit(%d) = %v, %v; want fs.ErrNotExist", n, c, err)
				}
			}
		}},
		{Name: "a version whose commit is gone is not read around it", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			lost := b.wrote[2]
			for _, key := range lost.Log {
				b.store.Delete(key)
			}
			o := b.open()
			e := o.Extent()
			if got := e.Gaps; len(got) != 1 || got[0] != (table.Range{First: lost.Number, Last: lost.Number}) {
				t.Errorf("the commit of version %d is gone; gaps %v", lost.Number, got)
			}
			for _, r := range e.Readable {
				if r.Has(lost.Number) {
					t.Errorf("version %d is said to be readable, and its commit is gone", lost.Number)
				}
			}
			for i, v := range b.wrote {
				s, err := o.Snapshot(b.ctx(), v.Number)
				switch {
				case err == nil && i == 2:
					t.Errorf("version %d was read without its commit", v.Number)
				case err == nil && s.Rows() >= 0 && s.Rows() != b.rows(i):
					t.Errorf("version %d has %d rows, and had %d before version %d's commit went", v.Number, s.Rows(), b.rows(i), lost.Number)
				case err != nil && !errors.Is(err, table.ErrBroken) && !errors.Is(err, fs.ErrNotExist):
					t.Errorf("Snapshot(%d) = %v, want ErrBroken or fs.ErrNotExist", v.Number, err)
				}
			}
		}},
		{Name: "a commit that was cut short is broken", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			head := b.last()
			key := head.Log[len(head.Log)-1]
			body, err := b.store.Get(b.ctx(), key)
			b.must(err, "read a commit")
			b.must(b.store.Put(b.ctx(), key, body[:len(body)/2]), "cut it short")
			o := b.open()
			if s, err := o.Snapshot(b.ctx(), head.Number); !errors.Is(err, table.ErrBroken) {
				t.Errorf("Snapshot(%d) = %v, %v; want ErrBroken", head.Number, s, err)
			}
			n, err := o.Newest(b.ctx(), time.Time{})
			b.must(err, "find the newest complete version")
			before := b.wrote[len(b.wrote)-2].Number
			if got := n.Snapshot.Version().Number; got != before || len(n.Above) != 1 || n.Above[0].Fault == "" {
				t.Errorf("newest complete is %d with %+v above, want %d and what is wrong with %d", got, n.Above, before, head.Number)
			}
			var seen []int64
			var last error
			for c, err := range o.History(b.ctx(), b.wrote[0].Number) {
				if last = err; err == nil {
					seen = append(seen, c.Version.Number)
				}
			}
			if !errors.Is(last, table.ErrBroken) || len(seen) != len(b.wrote)-1 {
				t.Errorf("history is %v and ends with %v; want all before it, then ErrBroken", seen, last)
			}
		}},
	}
}
