package table

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// Format reads tables of one format where they lie. It is safe for concurrent
// use, keeps nothing between calls, and every method only reads.
//
// What a format can do beyond reading is an ability, an interface of its own that
// a format, or a [Snapshot], may implement: see [Able].
type Format interface {
	// Name is the estate's word for it, such as "delta".
	Name() string
	// Log is the prefix below which everything of a table's log lies, with its final
	// slash. Nothing there means that no table is there.
	Log(root Root) string
	// Entry tells what an object is to its table by its key, which has the table's
	// folder in front or does not. A name that the format does not know is data,
	// or a checkpoint where it lies in a log.
	Entry(key string) Entry
	// Open looks at a table once: it lists the log, and reads no data. A root without
	// a table is [io/fs.ErrNotExist]: nothing there is not an empty table.
	Open(ctx context.Context, store Store, root Root) (Table, error)
}

// Table is a table as one look at its log showed it. It does not see what is
// written afterwards: open it again to look again. It is safe for concurrent use.
//
// # Errors
//
// Every method's errors tell apart what is wrong: [io/fs.ErrNotExist] for a
// version that the log does not know, [ErrBroken] where the log cannot give it,
// [ErrUnsupported] where the table asks for more than is known here. Any other
// error says nothing about the table: it was not answered.
type Table interface {
	// Extent is what the look showed. It asks for nothing.
	Extent() Extent
	// Newest finds the largest version that the log gives and whose every object is
	// present at its size, committed at or before notAfter unless that is zero. It
	// lists the table once and asks for no data file by itself. The error is
	// [ErrNoneComplete] where there is none, beside Above.
	Newest(ctx context.Context, notAfter time.Time) (Newest, error)
	// Snapshot gives a version that the log can give. It does not look whether the
	// version's data is there: see [Lacking].
	Snapshot(ctx context.Context, number int64) (Snapshot, error)
	// Times dates every version that a commit tells of, as the format's own readers
	// do: what a version is chosen by.
	Times(ctx context.Context) (Times, error)
	// History yields the commits from a version on, in order, and ends after the
	// first that cannot be read. A gap is passed over: see [Extent].
	History(ctx context.Context, from int64) iter.Seq2[Commit, error]
	// Commit reads one log entry by itself. Its time may come before that of the
	// version below it, which [Table.History] moves on.
	Commit(ctx context.Context, number int64) (Commit, error)
}

// Snapshot is a table at one version.
type Snapshot interface {
	Version() Version
	// Closure is every object that the version needs, the log's among them.
	Closure() Closure
	// Outside names, as URIs, the folders outside of the table that hold objects it
	// needs. A recovery of this table alone does not bring them back.
	Outside() []string
	// Rows is the number of live rows by the log's statistics, -1 where they do not
	// say.
	Rows() int64
	// Retention is how long the table promises to keep what it no longer needs.
	Retention() Retention
}

// Retention is how long a table keeps what the head no longer needs.
type Retention struct {
	Files Keep // data files, from when a commit removed them
	Log   Keep // log entries, from when they were committed
}

// Keep is one of a table's promises.
type Keep struct {
	Property string // of the table, which says so
	// For is how long. It counts only where Understood: the property's text can
	// have no meaning here.
	For        time.Duration
	Understood bool
	Usual      time.Duration // what holds without the property
}

// ErrBroken says that an object of the log is gone, is unreadable, or contradicts
// the format or another object. One can step around it to another version.
var ErrBroken = errors.New("broken log")

// ErrLost says that a part of the log is gone which a version cannot be read
// without. It is an [ErrBroken], too.
var ErrLost = Kind("a part of the log is gone", ErrBroken)

// ErrUnsupported says that a table asks its readers for more than is known here.
// Reading it anyway could give a plausible wrong table.
var ErrUnsupported = errors.New("not known here")

// ErrColumn says that a column's type cannot be read here. The log and every
// other column can. It is an [ErrUnsupported], too.
var ErrColumn = fmt.Errorf("a column's type is %w", ErrUnsupported)

// Kind makes a sentinel that reads as text and is another one too, so that a
// format can say precisely what its callers know in general.
func Kind(text string, of error) error { return &kind{text, of} }

type kind struct {
	text string
	of   error
}

func (k *kind) Error() string { return k.text }
func (k *kind) Unwrap() error { return k.of }

// Formats are the formats that a process knows, by [Format.Name].
type Formats map[string]Format

// Register makes a set of formats.
func Register(all ...Format) Formats {
	f := Formats{}
	for _, one := range all {
		f[one.Name()] = one
	}
	return f
}

// Of returns the format of a word of the estate.
func (f Formats) Of(word string) (Format, error) {
	one, ok := f[word]
	if !ok {
		return nil, fmt.Errorf("%w: table format %q; this process knows %s", ErrUnsupported, word, strings.Join(slices.Sorted(maps.Keys(f)), ", "))
	}
	return one, nil
}

// Entry tells what an object of any table is, where nobody says which table and
// which format it is of: the first format, by name, that knows it as a part of a
// log decides.
func (f Formats) Entry(key string) Entry {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if e := f[name].Entry(key); e.Log() {
			return e
		}
	}
	return Entry{RoleData, -1}
}
