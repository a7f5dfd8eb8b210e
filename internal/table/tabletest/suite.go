// Package tabletest holds a table format to the promises of the port in package
// table, and has a bucket in memory for everything that reads tables.
//
// A format passes by one line in a test of its own:
//
//	tabletest.Run(t, tabletest.World{Format: mine.Format{}, Create: create})
//
// where create writes the beginning of a table, as any writer of the format would.
// What the format can do beyond reading is held to its promises, too; what it
// cannot is left out, and must be refused by name.
//
// Package toy is the smallest format that passes.
package tabletest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"breakwater/internal/promise"
	"breakwater/internal/table"
)

// World is a format, and how tables of it come to be.
type World struct {
	Format table.Format
	// Create begins a table without rows at a root where none is. Its clock says
	// when each version is committed, and dates the store's objects too.
	Create func(t testing.TB, store *Store, root table.Root, now func() time.Time) Writer
}

// Writer appends to one table.
type Writer interface {
	// Begun is what creating the table wrote.
	Begun() Written
	// Append commits the next version, with so many rows more than the one before,
	// none like another, in data files of their own.
	Append(t testing.TB, rows int) Written
}

// Written is one version as its writer made it.
type Written struct {
	Number int64
	Log    []string // keys of the objects of the log that it wrote, its commit last
	Data   []string // keys of the data files that it wrote
}

// Run holds a format to every promise, each as a test of its own.
func Run(t *testing.T, w World) {
	t.Helper()
	Promises().Run(t, w)
}

// Promises are all that the port promises.
func Promises() promise.Suite[World] {
	return slices.Concat(reading(), finding(), broken(), inspecting(), moving(), rollingBack())
}

// appended is how many rows each version of a check's table adds.
var appended = []int{0, 10, 20, 30, 40, 50}

// bed is a table that a check is about. Version i adds appended[i] rows, and is
// committed at i minutes after noon.
type bed struct {
	testing.TB
	world World
	store *Store
	root  table.Root
	wrote []Written
	write Writer
	clock *time.Time
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func at(version int) time.Time { return noon.Add(time.Duration(version) * time.Minute) }

func newBed(t testing.TB, w World) *bed {
	t.Helper()
	clock := noon
	now := func() time.Time { return clock }
	b := &bed{TB: t, world: w, store: &Store{Now: now}, root: table.Root{Bucket: "lake", Prefix: "tables/orders"}, clock: &clock}
	b.write = w.Create(t, b.store, b.root, now)
	b.wrote = append(b.wrote, b.write.Begun())
	for _, rows := range appended[1:] {
		b.append(rows)
	}
	return b
}

func (b *bed) append(rows int) Written {
	b.Helper()
	*b.clock = at(len(b.wrote))
	v := b.write.Append(b.TB, rows)
	b.wrote = append(b.wrote, v)
	return v
}

// last is the newest version.
func (b *bed) last() Written { return b.wrote[len(b.wrote)-1] }

// rows is how many rows version i has.
func (b *bed) rows(i int) (n int64) {
	for _, rows := range appended[:min(i+1, len(appended))] {
		n += int64(rows)
	}
	return n
}

func (b *bed) ctx() context.Context { return b.Context() }

func (b *bed) open() table.Table {
	b.Helper()
	t, err := b.world.Format.Open(b.ctx(), b.store, b.root)
	b.must(err, "open a table that is there")
	return t
}

func (b *bed) snapshot(t table.Table, number int64) table.Snapshot {
	b.Helper()
	s, err := t.Snapshot(b.ctx(), number)
	b.must(err, "read version %d", number)
	return s
}

func (b *bed) must(err error, doing string, args ...any) {
	b.Helper()
	if err != nil {
		b.Fatalf(doing+": %v", append(args, err)...)
	}
}

// lacking holds a version against what its store shows.
func (b *bed) lacking(s table.Snapshot, store table.Store) []table.Lack {
	b.Helper()
	lacks, n, err := table.Lacking(b.ctx(), s.Closure(), store.List(b.ctx(), ""))
	b.must(err, "hold version %d against a listing", s.Version().Number)
	if n == 0 {
		b.Errorf("version %d needs no object at all", s.Version().Number)
	}
	return lacks
}

// sum reads the rows of a version; false where the format reads none.
func (b *bed) sum(s table.Snapshot) (table.Digest, bool) {
	b.Helper()
	r, ok := s.(table.RowReader)
	if !ok {
		return table.Digest{}, false
	}
	d, err := r.Sum(b.ctx())
	b.must(err, "read the rows of version %d", s.Version().Number)
	return d, true
}

// site is the table as something that changes it is given it.
func (b *bed) site() table.Site { return table.Site{Store: b.store, Root: b.root, Name: "orders"} }

// errStopped is what a guard says that lets nothing more through.
var errStopped = errors.New("stopped")

// work lets so many guards through.
func work(guards int) table.Work {
	return table.Work{
		Guard: func(context.Context) error {
			if guards--; guards < 0 {
				return errStopped
			}
			return nil
		},
		Progress: func(int64, int64, string) {},
	}
}

const unguarded = 1 << 30
