// Package rows reads the rows of a version of a Delta table as Arrow record
// batches.
//
// A batch has the types of the table's schema, whatever the data files hold:
// deletion vectors are applied, column mapping (by name and by id) and widened
// types are followed, partition values are decoded, and a column that is younger
// than a file is null in the file's rows. The protocol knows no other default
// for rows that are there already: column defaults are the writers' alone.
//
//	Delta type                    Arrow type
//	byte, short, integer, long    int8, int16, int32, int64
//	float, double, boolean        float32, float64, bool
//	decimal(p, s)                 decimal128(p, s)
//	string, binary, date          utf8, binary, date32
//	timestamp                     timestamp[us, UTC]
//	timestamp_ntz                 timestamp[us]
//	struct, array, map            struct, list, map
//
// Other types are refused by name ([TypeError]): rows without that column would
// hide what happened to it.
package rows

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
)

// TypeError refuses a column whose type this package cannot read.
type TypeError struct {
	Table, Column, Type string
}

// Unwrap makes it a [table.ErrColumn].
func (e *TypeError) Unwrap() error { return table.ErrColumn }

func (e *TypeError) Error() string {
	return fmt.Sprintf("delta table %s: column %s has type %s, which cannot be read here; read this table with an engine that knows the type", e.Table, e.Column, e.Type)
}

// AtOnce is how many data files are read at the same time: it bounds the memory,
// at a window and a page per column each, and two batches.
const AtOnce = 4

// batchRows is how many rows of a file become one batch, before a deletion
// vector hides some.
const batchRows = 8192

// Table is one version of a table, to be read any number of times. It is safe
// for concurrent use.
type Table struct {
	// Memory is where batches are allocated; [memory.DefaultAllocator] if nil.
	Memory memory.Allocator

	store   table.Store
	snap    *delta.Snapshot
	columns []column
	mapped  string // the column mapping's mode: name, id, or none
}

// Of reads the schema of a snapshot. What its rows need lies in store.
func Of(store table.Store, s *delta.Snapshot) (*Table, error) {
	t := &Table{store: store, snap: s, mapped: s.Metadata.Configuration["delta.columnMapping.mode"]}
	return t, t.parse()
}

// Bare is a snapshot of which no column is read: its files can be opened and their
// rows counted, whatever the types of the columns are.
func Bare(store table.Store, s *delta.Snapshot) *Table { return &Table{store: store, snap: s} }

// Schema is the table's schema. Nothing in it tells partition columns from
// others.
func (t *Table) Schema() *arrow.Schema { return arrowSchema(t.columns) }

// Column is a column of a table as its schema has it.
type Column struct {
	Name      string // as people know it
	Physical  string // in data files: the same while it is the same column
	Type      arrow.DataType
	Required  bool
	Partition bool
}

// Columns are those of the table, in the order of its schema.
func (t *Table) Columns() []Column {
	all := make([]Column, len(t.columns))
	for i, c := range t.columns {
		all[i] = Column{c.name, c.physical, c.typ, c.required, c.partition}
	}
	return all
}

func arrowSchema(cols []column) *arrow.Schema {
	fields := make([]arrow.Field, len(cols))
	for i, c := range cols {
		fields[i] = c.field()
	}
	return arrow.NewSchema(fields, nil)
}

// choose picks columns by name, in the order asked for; all of them for nil.
func (t *Table) choose(names []string) ([]column, error) {
	if names == nil {
		return t.columns, nil
	}
	cols := make([]column, len(names))
	for i, name := range names {
		n := slices.IndexFunc(t.columns, func(c column) bool { return c.name == name })
		if n < 0 {
			return nil, fmt.Errorf("delta table %s at version %d has no column %q", t.snap.Root, t.snap.Version.Number, name)
		}
		cols[i] = t.columns[n]
	}
	return cols, nil
}

// Read streams the live rows of the named columns, of all for nil, file by file
// in the order of paths, in the order in which files hold them: the same rows in
// the same order each time. Several files are read at once, ahead of what is
// asked for. Who reads must Release the reader, to its end or before, or the
// reading goes on in the background until ctx ends.
func (t *Table) Read(ctx context.Context, columns []string) (array.RecordReader, error) {
	cols, err := t.choose(columns)
	if err != nil {
		return nil, err
	}
	return t.begin(ctx, cols), nil
}

// File streams the live rows of one of the version's files. Each batch is the
// caller's to release.
func (t *Table) File(ctx context.Context, a delta.Add, columns []string) iter.Seq2[arrow.RecordBatch, error] {
	cols, err := t.choose(columns)
	if err != nil {
		return func(yield func(arrow.RecordBatch, error) bool) { yield(nil, err) }
	}
	return t.file(ctx, a, cols)
}
