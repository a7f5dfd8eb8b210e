package tabletest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/delta/port"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/tabletest"
	"breakwater/internal/table/toy"
)

// The wrappers of this file break one promise each, of a format that keeps all.

// format breaks a toy where it is told to.
type format struct {
	toy.Format
	open  func(table.Table, error, opening) (table.Table, error)
	entry func(key string, e table.Entry) table.Entry
}

// opening is how a table was opened.
type opening struct {
	ctx   context.Context
	store table.Store
	root  table.Root
}

func (f format) Open(ctx context.Context, store table.Store, root table.Root) (table.Table, error) {
	t, err := f.Format.Open(ctx, store, root)
	if f.open == nil {
		return t, err
	}
	return f.open(t, err, opening{ctx, store, root})
}

func (f format) Entry(key string) table.Entry {
	e := f.Format.Entry(key)
	if f.entry == nil {
		return e
	}
	return f.entry(key, e)
}

// over breaks a table by one of its methods.
type over struct {
	table.Table
	extent   func(table.Extent) table.Extent
	history  func(iter.Seq2[table.Commit, error]) iter.Seq2[table.Commit, error]
	find     func(table.Want) table.Want
	newest   func(ctx context.Context, notAfter time.Time) (table.Newest, error)
	snapshot func(table.Snapshot) table.Snapshot
}

func (o over) Extent() table.Extent {
	if o.extent != nil {
		return o.extent(o.Table.Extent())
	}
	return o.Table.Extent()
}

func (o over) History(ctx context.Context, from int64) iter.Seq2[table.Commit, error] {
	if o.history != nil {
		return o.history(o.Table.History(ctx, from))
	}
	return o.Table.History(ctx, from)
}

func (o over) Find(ctx context.Context, w table.Want) (table.Version, []string, error) {
	if o.find != nil {
		w = o.find(w)
	}
	return o.Table.Find(ctx, w)
}

func (o over) Newest(ctx context.Context, notAfter time.Time) (table.Newest, error) {
	if o.newest != nil {
		return o.newest(ctx, notAfter)
	}
	return o.Table.Newest(ctx, notAfter)
}

func (o over) Snapshot(ctx context.Context, number int64) (table.Snapshot, error) {
	s, err := o.Table.Snapshot(ctx, number)
	if err == nil && o.snapshot != nil {
		s = o.snapshot(s)
	}
	return s, err
}

// opens makes a format whose tables are broken in one way.
func opens(with func(over) over) table.Format {
	return format{open: func(t table.Table, err error, _ opening) (table.Table, error) {
		if err != nil {
			return nil, err
		}
		return with(over{Table: t}), nil
	}}
}

// rows is a snapshot of a toy, whose rows can be read.
type rows interface {
	table.Snapshot
	table.RowReader
	table.Portable
}

// asRows gives a broken snapshot back its abilities.
func asRows(s table.Snapshot) rows {
	r, ok := s.(rows)
	if !ok {
		return nil
	}
	return r
}

type forgetful struct{ rows }

func (s forgetful) Closure() table.Closure {
	var all []table.File
	for f := range s.rows.Closure() {
		all = append(all, f)
	}
	return func(yield func(table.File, error) bool) {
		for _, f := range all[:max(1, len(all)-1)] {
			if !yield(f, nil) {
				return
			}
		}
	}
}

type miscounting struct{ rows }

func (s miscounting) Rows() int64 { return max(0, s.rows.Rows()-1) }

type constant struct{ rows }

func (s constant) Sum(ctx context.Context) (table.Digest, error) {
	d, err := s.rows.Sum(ctx)
	return table.Digest{Rows: d.Rows}, err
}

// empty is a table where there is none.
type empty struct{ table.Table }

func (empty) Extent() table.Extent { return table.Extent{Head: 0} }

// wanderer sees what is written after it looked.
type wanderer struct {
	table.Table
	at opening
}

func (w wanderer) Extent() table.Extent {
	t, err := toy.Format{}.Open(w.at.ctx, w.at.store, w.at.root)
	if err != nil {
		return table.Extent{}
	}
	return t.Extent()
}

// deltas is Delta Lake, to break what a toy cannot do.
type deltas struct{ port.Format }

// destroyer promotes by writing over what is later.
type destroyer struct{ deltas }

func (d destroyer) Promote(ctx context.Context, s table.Site, plan json.RawMessage, w table.Work) (int64, error) {
	n, err := d.Format.Promote(ctx, s, plan, w)
	store, ok := s.Store.(*tabletest.Store)
	for o, lost := range store.ListVersions(ctx, d.Log(s.Root)) {
		if ok && lost == nil && o.Marker {
			store.Delete(o.Key)
		}
	}
	return n, err
}

// optimist finds that every promotion went well.
type optimist struct{ deltas }

func (o optimist) Promote(ctx context.Context, s table.Site, plan json.RawMessage, w table.Work) (int64, error) {
	return 0, w.Guard(ctx)
}

// forgetter does not know its own rollback again.
type forgetter struct{ deltas }

func (f forgetter) FindRollback(context.Context, table.Site, int64, string) (table.Mark, error) {
	return table.Mark{}, fs.ErrNotExist
}

func (f forgetter) PlanRollback(ctx context.Context, s table.Site, t table.Table, target int64) (table.Rollback, error) {
	p, err := f.Format.PlanRollback(ctx, s, t, target)
	if err != nil {
		return nil, err
	}
	return twice{p, f, s, target}, nil
}

type twice struct {
	table.Rollback
	f      forgetter
	site   table.Site
	target int64
}

func (w twice) Commit(ctx context.Context, st table.Stamp) (int64, bool, error) {
	t, err := w.f.Open(ctx, w.site.Store, w.site.Root)
	if err != nil {
		return 0, false, err
	}
	p, err := w.f.Format.PlanRollback(ctx, w.site, t, w.target)
	if err != nil {
		return 0, false, err
	}
	return p.Commit(ctx, st)
}

func createDelta(t testing.TB, store *tabletest.Store, root table.Root, now func() time.Time) tabletest.Writer {
	t.Helper()
	w, err := write.Create(t.Context(), store, root, []write.Column{{Name: "id", Type: write.Int64}}, write.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return &deltaWriter{w, store, root, 0}
}

type deltaWriter struct {
	table *write.Table
	store *tabletest.Store
	root  table.Root
	rows  int64
}

func (w *deltaWriter) Begun() tabletest.Written { return w.written(0, nil) }

func (w *deltaWriter) Append(t testing.TB, n int) tabletest.Written {
	t.Helper()
	before := w.store.Keys("")
	var all []write.Row
	for range n {
		w.rows++
		all = append(all, write.Row{w.rows})
	}
	v, err := w.table.Append(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	return w.written(v, before)
}

func (w *deltaWriter) written(v int64, before []string) tabletest.Written {
	commit := fmt.Sprintf("%s%020d.json", port.Format{}.Log(w.root), v)
	out := tabletest.Written{Number: v, Log: []string{commit}}
	for _, key := range w.store.Keys("") {
		if v > 0 && key != commit && !slices.Contains(before, key) {
			out.Data = append(out.Data, key)
		}
	}
	return out
}

// Every broken format fails by the promise that it breaks.
func TestBrokenFormatsFail(t *testing.T) {
	for name, tc := range map[string]struct {
		format table.Format
		breaks string
	}{
		"a head beyond the newest": {opens(func(o over) over {
			o.extent = func(e table.Extent) table.Extent { e.Head++; return e }
			return o
		}), "the head is the newest version, and no later one"},
		"a missing table that is an empty one": {format{open: func(t table.Table, err error, _ opening) (table.Table, error) {
			if errors.Is(err, fs.ErrNotExist) {
				return empty{}, nil
			}
			return t, err
		}}, "nothing there is no table"},
		"silence that is absence": {format{open: func(t table.Table, err error, _ opening) (table.Table, error) {
			if err != nil {
				return nil, fmt.Errorf("open: %w", fs.ErrNotExist)
			}
			return t, nil
		}}, "a store that does not answer says nothing about the table"},
		"a history out of order": {opens(func(o over) over {
			o.history = func(all iter.Seq2[table.Commit, error]) iter.Seq2[table.Commit, error] {
				return func(yield func(table.Commit, error) bool) {
					var commits []table.Commit
					for c, err := range all {
						if err != nil {
							yield(c, err)
							return
						}
						commits = append(commits, c)
					}
					for _, c := range slices.Backward(commits) {
						if !yield(c, nil) {
							return
						}
					}
				}
			}
			return o
		}), "history is every version, in order and dated"},
		"a time off by one": {opens(func(o over) over {
			o.find = func(w table.Want) table.Want {
				if !w.At.IsZero() {
					w.At = w.At.Add(-time.Nanosecond)
				}
				return w
			}
			return o
		}), "a time gives the last version committed by then"},
		"a reference that is not looked at": {opens(func(o over) over {
			o.find = func(w table.Want) table.Want {
				if w.Ref != "" {
					w.At = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
				}
				return w
			}
			return o
		}), "a reference gives its version"},
		"an incomplete version that is the newest complete one": {opens(func(o over) over {
			o.newest = func(ctx context.Context, notAfter time.Time) (table.Newest, error) {
				n, err := o.Table.Newest(ctx, notAfter)
				if err == nil && len(n.Above) > 0 && n.Above[0].Fault == "" {
					n.Snapshot, err = o.Table.Snapshot(ctx, o.Table.Extent().Head)
					n.Above = nil
				}
				return n, err
			}
			return o
		}), "a version that lacks an object is not complete"},
		"a closure that forgets an object": {opens(func(o over) over {
			o.snapshot = func(s table.Snapshot) table.Snapshot { return forgetful{asRows(s)} }
			return o
		}), "a closure is enough to read its version"},
		"wrong rows": {opens(func(o over) over {
			o.snapshot = func(s table.Snapshot) table.Snapshot { return miscounting{asRows(s)} }
			return o
		}), "rows are those that were written"},
		"a digest of nothing": {opens(func(o over) over {
			o.snapshot = func(s table.Snapshot) table.Snapshot { return constant{asRows(s)} }
			return o
		}), "a digest is of the rows and of nothing else"},
		"data that is called log": {format{entry: func(key string, e table.Entry) table.Entry {
			if strings.HasSuffix(key, ".txt") {
				e.Role = table.RoleCheckpoint
			}
			return e
		}}, "the layout tells log from data"},
		"a look that wanders": {format{open: func(t table.Table, err error, at opening) (table.Table, error) {
			if err != nil {
				return nil, err
			}
			return wanderer{t, at}, nil
		}}, "a look does not see what is written afterwards"},
		"a look that reads the data": {opens(func(o over) over {
			o.newest = func(ctx context.Context, notAfter time.Time) (table.Newest, error) {
				n, err := o.Table.Newest(ctx, notAfter)
				if r, ok := n.Snapshot.(table.RowReader); ok && err == nil {
					_, err = r.Sum(ctx)
				}
				return n, err
			}
			return o
		}), "data files are not read to look at a table"},
		"a promotion that destroys":       {destroyer{}, "a promotion makes its version the head, and loses nothing"},
		"a promotion that does nothing":   {optimist{}, "a promotion makes its version the head, and loses nothing"},
		"a rollback that forgets its own": {forgetter{}, "a rollback that is called again commits once"},
	} {
		t.Run(name, func(t *testing.T) {
			w := tabletest.World{Format: tc.format, Create: toy.Create}
			if tc.format.Name() == "delta" {
				w.Create = createDelta
			}
			known := false
			for _, c := range tabletest.Checks() {
				if c.Promise != tc.breaks {
					continue
				}
				known = true
				if said := hold(t, c, w); said == "" {
					t.Errorf("the suite lets it pass: %s", c.Promise)
				} else {
					t.Log(said)
				}
			}
			if !known {
				t.Errorf("the suite has no promise %q", tc.breaks)
			}
		})
	}
}

// hold returns what a check says of a format, empty if it passes.
func hold(t *testing.T, c tabletest.Check, w tabletest.World) string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() { // a goroutine of its own, since Fatal ends one
		defer close(done)
		c.Hold(r, w)
	}()
	<-done
	return strings.Join(r.said, "\n")
}

// recorder notes what a test would have said.
type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Errorf(text string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(text, args...))
}
func (r *recorder) Error(args ...any) { r.said = append(r.said, fmt.Sprint(args...)) }
func (r *recorder) Failed() bool      { return len(r.said) > 0 }

func (r *recorder) Fatalf(text string, args ...any) {
	r.Errorf(text, args...)
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}
