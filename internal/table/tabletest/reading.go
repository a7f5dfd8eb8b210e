package tabletest

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/promise"
	"breakwater/internal/table"
)

// reading holds a format to what every caller builds on.
func reading() promise.Suite[World] {
	return promise.Suite[World]{
		{Name: "nothing there is no table", Check: func(t testing.TB, w World) {
			s := &Store{}
			if err := s.Put(t.Context(), "tables/orders/somebody.else's", []byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Format.Open(t.Context(), s, table.Root{Bucket: "lake", Prefix: "tables/orders"}); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("opening a folder without a table = %v, want fs.ErrNotExist: an empty table would pass for one that lost everything", err)
			}
		}},
		{Name: "a store that does not answer says nothing about the table", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			silent := errors.New("no answer")
			b.store.Fail = func(string, string) error { return silent }
			_, err := w.Format.Open(b.ctx(), b.store, b.root)
			if !errors.Is(err, silent) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, table.ErrBroken) {
				t.Errorf("Open = %v, want the store's own error and no conclusion", err)
			}
			b.store.Fail = nil
			o := b.open()
			b.store.Fail = func(string, string) error { return silent }
			if _, err := o.Newest(b.ctx(), time.Time{}); !errors.Is(err, silent) || errors.Is(err, table.ErrNoneComplete) {
				t.Errorf("Newest = %v, want the store's own error and no conclusion", err)
			}
		}},
		{Name: "the head is the newest version, and no later one", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			if e := b.open().Extent(); e.Head != b.last().Number || len(e.Gaps) != 0 || !readable(e, b.wrote) {
				t.Errorf("extent %+v, want head %d, every version readable and no gap", e, b.last().Number)
			}
		}},
		{Name: "history is every version, in order and dated", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			i := 0
			for c, err := range b.open().History(b.ctx(), b.wrote[0].Number) {
				b.must(err, "read the history")
				if i == len(b.wrote) {
					t.Fatalf("history goes on after version %d with %d", b.last().Number, c.Version.Number)
				}
				if c.Version.Number != b.wrote[i].Number || !c.Version.Time.Equal(at(i)) || c.Version.From == table.None {
					t.Fatalf("history has %+v where version %d of %v belongs", c.Version, b.wrote[i].Number, at(i))
				}
				if c.Rows >= 0 && c.Rows != int64(appended[i]) {
					t.Errorf("version %d brought %d rows, its commit says %d", c.Version.Number, appended[i], c.Rows)
				}
				i++
			}
			if i != len(b.wrote) {
				t.Errorf("history has %d of %d versions", i, len(b.wrote))
			}
		}},
		{Name: "history begins where it is asked to", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			var got []int64
			for c, err := range b.open().History(b.ctx(), b.wrote[3].Number) {
				b.must(err, "read the history")
				got = append(got, c.Version.Number)
			}
			if !slices.Equal(got, numbers(b.wrote[3:])) {
				t.Errorf("history from version %d on is %v", b.wrote[3].Number, got)
			}
			c, err := b.open().Commit(b.ctx(), b.wrote[3].Number)
			if err != nil || c.Version.Number != b.wrote[3].Number || c.Rows >= 0 && c.Rows != int64(appended[3]) {
				t.Errorf("Commit(%d) = %+v, %v", b.wrote[3].Number, c, err)
			}
		}},
		{Name: "a look does not see what is written afterwards", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			o := b.open()
			before := b.last()
			after := b.append(60)
			if e := o.Extent(); e.Head != before.Number {
				t.Errorf("the head moved from %d to %d under who had looked", before.Number, e.Head)
			}
			if e := b.open().Extent(); e.Head != after.Number {
				t.Errorf("opened again, the head is %d, want %d", e.Head, after.Number)
			}
		}},
		{Name: "rows are those that were written", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			o := b.open()
			for i, v := range b.wrote {
				if n := b.snapshot(o, v.Number).Rows(); n >= 0 && n != b.rows(i) {
					t.Errorf("version %d has %d rows by its log, %d were written", v.Number, n, b.rows(i))
				}
			}
		}},
		{Name: "a digest is of the rows and of nothing else", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			o := b.open()
			seen := map[table.Digest]int64{}
			for i, v := range b.wrote {
				s := b.snapshot(o, v.Number)
				d, ok := b.sum(s)
				if !ok {
					return
				}
				if d.Rows != b.rows(i) {
					t.Errorf("version %d: %d rows were read, %d written", v.Number, d.Rows, b.rows(i))
				}
				if other, twice := seen[d]; twice {
					t.Errorf("versions %d and %d have other rows and the same digest", other, v.Number)
				}
				seen[d] = v.Number
				if again, _ := b.sum(s); again != d {
					t.Errorf("version %d: the same rows give %s and %s", v.Number, d, again)
				}
			}
			// Of bytes changed one at a time, some must be rows'.
			key, head := b.last().Data[0], b.snapshot(o, b.last().Number)
			whole, _ := b.sum(head)
			body, err := b.store.Get(b.ctx(), key)
			b.must(err, "read a data file")
			for i := 0; i < len(body); i += 1 + len(body)/64 {
				b.store.Damage(key, func(body []byte) { body[i] ^= 1 })
				d, err := readRows(b, head)
				if err != nil || d.Rows == whole.Rows && d.Sum != whole.Sum {
					return
				}
				b.store.Damage(key, func(body []byte) { body[i] ^= 1 })
			}
			t.Error("whatever is changed in a data file, the digest stays")
		}},
		{Name: "the layout tells log from data", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			log := w.Format.Log(b.root)
			if !strings.HasPrefix(log, b.root.Prefix+"/") || !strings.HasSuffix(log, "/") {
				t.Errorf("the log lies below %q, want a folder in the table's", log)
			}
			for _, v := range b.wrote {
				for _, key := range v.Data {
					if e := w.Format.Entry(key); e.Log() || strings.HasPrefix(key, log) {
						t.Errorf("data file %s is a %s", key, e.Role)
					}
				}
				for _, key := range v.Log {
					if e := w.Format.Entry(key); !e.Log() || !strings.HasPrefix(key, log) {
						t.Errorf("%s of the log, which lies below %s, is %+v", key, log, e)
					}
				}
				commit := v.Log[len(v.Log)-1]
				if e := w.Format.Entry(commit); e.Role != table.RoleCommit || e.Version != v.Number {
					t.Errorf("%s is %+v, want the commit of version %d", commit, e, v.Number)
				}
				bare := strings.TrimPrefix(commit, b.root.Prefix+"/")
				if e := w.Format.Entry(bare); e.Role != table.RoleCommit || e.Version != v.Number {
					t.Errorf("without the table's folder, %s is %+v", bare, e)
				}
			}
		}},
		{Name: "data files are not read to look at a table", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			o := b.open()
			n, err := o.Newest(b.ctx(), time.Time{})
			b.must(err, "find the newest complete version")
			b.lacking(n.Snapshot, b.store)
			data := b.store.Reads(func(key string) bool { return !w.Format.Entry(key).Log() })
			if data != 0 {
				t.Errorf("%d reads of data files: one listing must do", data)
			}
		}},
		{Name: "reading writes nothing", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			before := b.store.Writes()
			o := b.open()
			for _, v := range b.wrote {
				b.sum(b.snapshot(o, v.Number))
			}
			_, err := o.Newest(b.ctx(), time.Time{})
			b.must(err, "find the newest complete version")
			if n := b.store.Writes() - before; n != 0 {
				t.Errorf("%d writes", n)
			}
		}},
		{Name: "what a table promises to keep is told", Check: func(t testing.TB, w World) {
			b := newBed(t, w)
			r := b.snapshot(b.open(), b.last().Number).Retention()
			for _, k := range []table.Keep{r.Files, r.Log} {
				if !k.Understood || k.For != k.Usual || k.For < 0 {
					t.Errorf("of a table without properties: %+v, want what is usual", k)
				}
			}
		}},
		{Name: "a format is found by its name", Check: func(t testing.TB, w World) {
			name := w.Format.Name()
			if name == "" || name != strings.ToLower(name) || strings.ContainsAny(name, " /.") {
				t.Errorf("its name is %q, want a word that an estate can have", name)
			}
			if got, err := table.Register(w.Format).Of(name); err != nil || got.Name() != name {
				t.Errorf("registered as %q it is %v, %v", name, got, err)
			}
		}},
	}
}

// readRows reads the rows of a version, which may fail.
func readRows(b *bed, s table.Snapshot) (table.Digest, error) {
	r, ok := s.(table.RowReader)
	if !ok {
		return table.Digest{}, table.ErrUnable
	}
	return r.Sum(b.ctx())
}

func numbers(versions []Written) (all []int64) {
	for _, v := range versions {
		all = append(all, v.Number)
	}
	return all
}

// readable reports whether the extent has each version as committed and readable,
// and no other.
func readable(e table.Extent, versions []Written) bool {
	all := table.Ranges(numbers(versions))
	return slices.Equal(e.Readable, all) && slices.Equal(e.Committed, all)
}
