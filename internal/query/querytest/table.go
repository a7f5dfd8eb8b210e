package querytest

import (
	"context"
	"strings"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"breakwater/internal/query"
)

// Table is a table in memory that knows how it was read. Its fields are set before
// it is used.
type Table struct {
	Columns *arrow.Schema
	// Batches are the rows, each a JSON array of objects by the columns' names.
	Batches []string
	// Fail is asked before each batch, which has this number, and with -1 when a
	// reading begins. Its error ends the reading. Nil for a table that never fails.
	Fail func(ctx context.Context, batch int) error

	mu     sync.Mutex
	parsed map[int]arrow.RecordBatch
	reads  [][]string
	open   int
}

var _ query.Table = (*Table)(nil)

// Schema is the table's columns.
func (t *Table) Schema() *arrow.Schema { return t.Columns }

// Read begins a reading.
func (t *Table) Read(ctx context.Context, columns []string) (array.RecordReader, error) {
	t.mu.Lock()
	t.reads = append(t.reads, columns)
	t.mu.Unlock()
	if err := t.fail(ctx, -1); err != nil {
		return nil, err
	}
	places := make([]int, len(columns))
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		places[i] = t.Columns.FieldIndices(c)[0]
		fields[i] = t.Columns.Field(places[i])
	}
	t.mu.Lock()
	t.open++
	t.mu.Unlock()
	return &reading{table: t, ctx: ctx, schema: arrow.NewSchema(fields, nil), places: places, held: 1}, nil
}

// Reads are the columns of each reading so far.
func (t *Table) Reads() [][]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([][]string(nil), t.reads...)
}

// Open is how many readings nobody has released.
func (t *Table) Open() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open
}

// batch is a batch with all columns.
func (t *Table) batch(n int) (arrow.RecordBatch, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b, ok := t.parsed[n]; ok {
		return b, nil
	}
	b, _, err := array.RecordFromJSON(memory.DefaultAllocator, t.Columns, strings.NewReader(t.Batches[n]))
	if err != nil {
		return nil, err
	}
	if t.parsed == nil {
		t.parsed = map[int]arrow.RecordBatch{}
	}
	t.parsed[n] = b
	return b, nil
}

// fail is what Fail says, or else the end of the reading.
func (t *Table) fail(ctx context.Context, batch int) error {
	if t.Fail != nil {
		return t.Fail(ctx, batch)
	}
	return ctx.Err()
}

// reading is one reading of a table.
type reading struct {
	table  *Table
	ctx    context.Context // which Table.Read promises to end with
	schema *arrow.Schema
	places []int // of the columns, in the table
	next   int   // batch
	batch  arrow.RecordBatch
	held   int // by how many
	err    error
}

var _ array.RecordReader = (*reading)(nil)

func (r *reading) Schema() *arrow.Schema { return r.schema }

func (r *reading) Retain() {
	r.table.mu.Lock()
	defer r.table.mu.Unlock()
	r.held++
}

func (r *reading) Release() {
	r.table.mu.Lock()
	defer r.table.mu.Unlock()
	if r.held--; r.held == 0 {
		r.table.open--
	}
}

func (r *reading) Next() bool {
	t := r.table
	if r.err == nil {
		r.err = t.fail(r.ctx, r.next)
	}
	if r.err != nil || r.next == len(t.Batches) {
		return false
	}
	r.err = r.take()
	return r.err == nil
}

// take makes the next batch the current one.
func (r *reading) take() error {
	all, err := r.table.batch(r.next)
	if err != nil {
		return err
	}
	cols := make([]arrow.Array, len(r.places))
	for i, p := range r.places {
		cols[i] = all.Column(p)
	}
	r.batch = array.NewRecordBatch(r.schema, cols, all.NumRows())
	r.next++
	return nil
}

func (r *reading) RecordBatch() arrow.RecordBatch { return r.batch }

func (r *reading) Record() arrow.RecordBatch { return r.batch }

func (r *reading) Err() error { return r.err }
