// Package difference says what two versions of a table differ in, row by row: which rows
// came, which went, and which are others under the same key.
//
// Rows are a multiset: one that is there twice and then once has gone once. Who reads
// them gives each as a hash, and only those of files that the other version has not:
// what lies in the same file in both versions is the same. [Tally] cancels what both
// have, with memory that is bounded: what does not fit goes to a scratch file.
package difference

import (
	"context"
	"errors"
	"io"

	"breakwater/internal/query"
	"breakwater/internal/table"
)

// Differ is a [table.Snapshot] that can be held against another version of its table.
type Differ interface {
	// Since says what this version has otherwise than another one, which may be a later
	// one. It reads data files that one of them has alone, and no others. [ErrKey] is for
	// a key that cannot be one.
	Since(ctx context.Context, from table.Snapshot, o Options) (Difference, error)
}

// ErrKey says that the columns named as a key are not in both versions, or cannot be
// compared.
var ErrKey = errors.New("it is no key of both versions")

// Options say how versions are compared. The zero value compares without a key, shows no
// row and keeps all in memory.
type Options struct {
	Key     []string // columns, by the names of the later version asked
	Samples int      // how many rows of each kind are shown
	// Scratch makes a file for what does not fit into Memory bytes, 64 MiB if 0; nil keeps
	// all in memory.
	Scratch func() (Scratch, error)
	Memory  int64
}

// Scratch is a file that is written from its beginning to its end, read, and given up.
type Scratch interface {
	io.Writer
	io.ReaderAt
	io.Closer
}

// Difference is what one version has otherwise than another.
type Difference struct {
	Columns  []Column // that are not the same in both
	Compared []string // the columns by which rows are compared
	Key      []string
	Files    Files
	Rows     int64 // read of those files
	Counts
	// Partitions are those in which rows differ, in order.
	Partitions []Partition
	// Repeated counts the keys that more than one row of a version has, among the rows that
	// differ: which of them changed into which is then not known.
	Repeated int64
	Samples  Samples
}

// Same reports whether nothing differs.
func (d Difference) Same() bool { return d.Counts == Counts{} && len(d.Columns) == 0 }

// Files counts data files: those that one version has alone, which were read, and those
// of both. A file with other deletion vectors counts as another.
type Files struct {
	From int `json:"from"`
	To   int `json:"to"`
	Both int `json:"both"`
}

// Counts are rows.
type Counts struct {
	Added   int64 `json:"added"`
	Removed int64 `json:"removed"`
	Changed int64 `json:"changed"` // under the same key; 0 without one
}

// Column is what a column was and is. Either is empty where it was, or is, not there.
type Column struct {
	Name   string `json:"name"`
	Former string `json:"former,omitempty"` // its name before, where that was another
	Was    string `json:"was,omitempty"`
	Is     string `json:"is,omitempty"`
	// Compared says that its values are compared all the same.
	Compared bool `json:"compared"`
}

// Partition is the counts of one partition. A row that changed counts where it is now.
type Partition struct {
	Values []Value `json:"values"`
	Counts
}

// Value is what a partition column is in a partition.
type Value struct {
	Column string  `json:"column"`
	Value  *string `json:"value"` // as the log has it; nil for null
}

// Samples are some of the rows, the first in the order of files. Was and Is have the rows
// that changed, in one order. Each is nil where there is none.
type Samples struct {
	Added, Removed, Was, Is query.Table
}
