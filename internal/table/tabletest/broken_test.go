package tabletest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/promise"
	"breakwater/internal/table"
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
	history  func(from int64, all []table.Commit) []table.Commit // of all commits
	times    func([]table.Version)
	newest   func(ctx context.Context, notAfter time.Time) (table.Newest, error)
	snapshot func(table.Snapshot) table.Snapshot
	number   func(int64) int64
	failed   func(error) error
}

func (o over) Extent() table.Extent {
	if o.extent != nil {
		return o.extent(o.Table.Extent())
	}
	return o.Table.Extent()
}

func (o over) History(ctx context.Context, from int64) iter.Seq2[table.Commit, error] {
	if o.history == nil {
		return o.Table.History(ctx, from)
	}
	return func(yield func(table.Commit, error) bool) {
		var all []table.Commit
		for c, err := range o.Table.History(ctx, 0) {
			if err != nil {
				yield(c, err)
				return
			}
			all = append(all, c)
		}
		for _, c := range o.history(from, all) {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (o over) Times(ctx context.Context) (table.Times, error) {
	t, err := o.Table.Times(ctx)
	if o.times != nil {
		o.times(t.Versions)
	}
	return t, err
}

func (o over) Newest(ctx context.Context, notAfter time.Time) (table.Newest, error) {
	if o.newest != nil {
		return o.newest(ctx, notAfter)
	}
	return o.Table.Newest(ctx, notAfter)
}

func (o over) Snapshot(ctx context.Context, number int64) (table.Snapshot, error) {
	if o.number != nil {
		number = o.number(number)
	}
	s, err := o.Table.Snapshot(ctx, number)
	if err != nil && o.failed != nil {
		err = o.failed(err)
	}
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

// breaks is an implementation that is broken in one way.
func breaks(name, promised string, f table.Format) promise.Broken[tabletest.World] {
	return promise.Broken[tabletest.World]{Name: name, Breaks: promised, Target: func(testing.TB) tabletest.World {
		return tabletest.World{Format: f, Create: toy.Create}
	}}
}

// snaps makes a format whose snapshots are broken in one way.
func snaps(with func(rows) table.Snapshot) table.Format {
	return opens(func(o over) over {
		o.snapshot = func(s table.Snapshot) table.Snapshot { return with(asRows(s)) }
		return o
	})
}

// reached makes a format whose way to tables is broken in one way.
func reached(with func(t table.Table, err error, at opening) (table.Table, error)) table.Format {
	return format{open: with}
}

// nameless is a format that no estate can name.
type nameless struct{ toy.Format }

func (nameless) Name() string { return "Toy Format" }

// littering leaves something in the bucket that it looks at.
func littering(t table.Table, err error, at opening) (table.Table, error) {
	if store, ok := at.store.(*tabletest.Store); ok && err == nil {
		err = store.Put(at.ctx, at.root.Key(".lock"), nil)
	}
	return t, err
}

// impatient is a version that promises to keep nothing that it can say.
type impatient struct{ rows }

func (impatient) Retention() table.Retention { return table.Retention{} }

// accompanied is a version whose copies bring what is later.
type accompanied struct {
	rows
	all []table.Commit
}

func (a accompanied) Beside(context.Context) (table.Beside, error) {
	var b table.Beside
	for _, c := range a.all {
		b.Files = append(b.Files, table.File{Key: c.Version.Ref, Size: -1, Why: table.LogEntry})
	}
	return b, nil
}

func brokenToys() []promise.Broken[tabletest.World] {
	return []promise.Broken[tabletest.World]{
		breaks("a missing table is an empty one", "nothing there is no table", reached(func(t table.Table, err error, _ opening) (table.Table, error) {
			if errors.Is(err, fs.ErrNotExist) {
				return empty{}, nil
			}
			return t, err
		})),
		breaks("silence is absence", "a store that does not answer says nothing about the table", reached(func(t table.Table, err error, _ opening) (table.Table, error) {
			if err != nil {
				return nil, fmt.Errorf("open: %w", fs.ErrNotExist)
			}
			return t, nil
		})),
		breaks("the head is beyond the newest", "the head is the newest version, and no later one", opens(func(o over) over {
			o.extent = func(e table.Extent) table.Extent { e.Head++; return e }
			return o
		})),
		breaks("history runs backwards", "history is every version, in order and dated", opens(func(o over) over {
			o.history = func(_ int64, all []table.Commit) []table.Commit { slices.Reverse(all); return all }
			return o
		})),
		breaks("history begins at the beginning", "history begins where it is asked to", opens(func(o over) over {
			o.history = func(_ int64, all []table.Commit) []table.Commit { return all }
			return o
		})),
		breaks("a look wanders", "a look does not see what is written afterwards", reached(func(t table.Table, err error, at opening) (table.Table, error) {
			if err != nil {
				return nil, err
			}
			return wanderer{t, at}, nil
		})),
		breaks("a row is forgotten", "rows are those that were written", snaps(func(r rows) table.Snapshot { return miscounting{r} })),
		breaks("a digest is of nothing", "a digest is of the rows and of nothing else", snaps(func(r rows) table.Snapshot { return constant{r} })),
		breaks("data is called log", "the layout tells log from data", format{entry: func(key string, e table.Entry) table.Entry {
			if strings.HasSuffix(key, ".txt") {
				e.Role = table.RoleCheckpoint
			}
			return e
		}}),
		breaks("a look reads the data", "data files are not read to look at a table", opens(func(o over) over {
			o.newest = func(ctx context.Context, notAfter time.Time) (table.Newest, error) {
				n, err := o.Table.Newest(ctx, notAfter)
				if r, ok := n.Snapshot.(table.RowReader); ok && err == nil {
					_, err = r.Sum(ctx)
				}
				return n, err
			}
			return o
		})),
		breaks("a look leaves a lock", "reading writes nothing", reached(littering)),
		breaks("what is kept is not told", "what a table promises to keep is told", snaps(func(r rows) table.Snapshot { return impatient{r} })),
		breaks("its name is no word", "a format is found by its name", nameless{}),
		breaks("the newest is always the one before the head", "a whole head is the newest complete version", opens(func(o over) over {
			o.newest = func(ctx context.Context, notAfter time.Time) (table.Newest, error) {
				n, err := o.Table.Newest(ctx, notAfter)
				if err == nil {
					n.Snapshot, err = o.Table.Snapshot(ctx, n.Snapshot.Version().Number-1)
				}
				return n, err
			}
			return o
		})),
		breaks("an incomplete version is the newest complete one", "a version that lacks an object is not complete", opens(func(o over) over {
			o.newest = func(ctx context.Context, notAfter time.Time) (table.Newest, error) {
				n, err := o.Table.Newest(ctx, notAfter)
				if err == nil && len(n.Above) > 0 && n.Above[0].Fault == "" {
					n.Snapshot, err = o.Table.Snapshot(ctx, o.Table.Extent().Head)
					n.Above = nil
				}
				return n, err
			}
			return o
		})),
		breaks("nothing complete is no error", "where no version is complete there is no newest", opens(func(o over) over {
			o.newest = func(ctx context.Context, notAfter time.Time) (table.Newest, error) {
				n, err := o.Table.Newest(ctx, notAfter)
				if errors.Is(err, table.ErrNoneComplete) {
					err = nil
				}
				return n, err
			}
			return o
		})),
		breaks("the newest knows no limit", "no version later than asked for is the newest", opens(func(o over) over {
			o.newest = func(ctx context.Context, _ time.Time) (table.Newest, error) { return o.Table.Newest(ctx, time.Time{}) }
			return o
		})),
		breaks("a closure forgets an object", "a closure is enough to read its version", snaps(func(r rows) table.Snapshot { return forgetful{r} })),
		breaks("a time is off by one", "a time gives the last version committed by then", opens(func(o over) over {
			o.times = func(all []table.Version) {
				for i := range all {
					all[i].Time = all[i].Time.Add(time.Nanosecond)
				}
			}
			return o
		})),
		breaks("all versions have one reference", "a reference gives its version", opens(func(o over) over {
			o.times = func(all []table.Version) {
				for i := range all {
					all[i].Ref = all[0].Ref
				}
			}
			return o
		})),
		breaks("what is beyond the head is the head", "a version that is not there is not there", opens(func(o over) over {
			o.number = func(n int64) int64 { return max(0, min(n, o.Table.Extent().Head)) }
			return o
		})),
		breaks("a missing commit is read around", "a version whose commit is gone is not read around it", opens(func(o over) over {
			o.extent = func(e table.Extent) table.Extent {
				return table.Extent{Head: e.Head, Readable: []table.Range{{First: e.Readable[0].First, Last: e.Head}}}
			}
			return o
		})),
		breaks("a commit cut short is another error", "a commit that was cut short is broken", opens(func(o over) over {
			o.failed = func(err error) error {
				if errors.Is(err, table.ErrBroken) {
					return errors.New("unexpected end of JSON input")
				}
				return err
			}
			return o
		})),
		breaks("a copy brings what is later", "a copy of what a version needs, and what goes beside it, is the version", reached(func(t table.Table, err error, at opening) (table.Table, error) {
			if err != nil {
				return nil, err
			}
			return over{Table: t, snapshot: func(s table.Snapshot) table.Snapshot {
				a := accompanied{rows: asRows(s)}
				for c, err := range t.History(at.ctx, 0) {
					if err == nil {
						a.all = append(a.all, c)
					}
				}
				return a
			}}, nil
		})),
	}
}

// Every promise is broken by a format that is right but for that, and the suite
// fails it by name.
func TestBrokenFormatsFail(t *testing.T) {
	tabletest.Promises().Honest(t, slices.Concat(brokenToys(), brokenDeltas()))
}
