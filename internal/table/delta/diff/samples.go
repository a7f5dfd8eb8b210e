package diff

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"breakwater/internal/query"
	"breakwater/internal/table/difference"
)

// samples reads the rows of some places once more: nothing of a row was kept but its hash.
func (c *compared) samples(ctx context.Context, r difference.Result) (s difference.Samples, err error) {
	var was, is []difference.Place
	for _, p := range r.Changed {
		was, is = append(was, p.Was), append(is, p.Is)
	}
	for _, part := range []struct {
		places []difference.Place
		to     *query.Table
	}{{r.Added, &s.Added}, {r.Removed, &s.Removed}, {was, &s.Was}, {is, &s.Is}} {
		if len(part.places) == 0 {
			continue
		}
		if *part.to, err = c.some(ctx, part.places); err != nil {
			return s, err
		}
	}
	return s, nil
}

// few are rows that were read, in an order of their own.
type few struct {
	schema *arrow.Schema
	rows   []arrow.RecordBatch // of one row each
}

// some reads the rows at places, all of one version, with every column.
func (c *compared) some(ctx context.Context, places []difference.Place) (few, error) {
	s, _ := c.file(places[0].File)
	f := few{s.rows.Schema(), make([]arrow.RecordBatch, len(places))}
	wanted := map[uint32]map[uint32]int{} // by file and row, the place in order
	for i, p := range places {
		if wanted[p.File] == nil {
			wanted[p.File] = map[uint32]int{}
		}
		wanted[p.File][p.Row] = i
	}
	for file, rows := range wanted {
		if err := c.pick(ctx, file, rows, f.rows); err != nil {
			return few{}, err
		}
	}
	if i := slices.Index(f.rows, nil); i >= 0 {
		_, a := c.file(places[i].File)
		return few{}, fmt.Errorf("row %d of %s, which was read before, is not there any more; compare again", places[i].Row, a.Path)
	}
	return f, nil
}

// pick reads a file up to the last of its rows that are wanted.
func (c *compared) pick(ctx context.Context, file uint32, wanted map[uint32]int, into []arrow.RecordBatch) error {
	s, a := c.file(file)
	from, left := uint32(0), len(wanted)
	for batch, err := range s.rows.File(ctx, a, nil) {
		if err != nil {
			return err
		}
		for n := range uint32(batch.NumRows()) {
			if i, ok := wanted[from+n]; ok {
				into[i] = batch.NewSlice(int64(n), int64(n)+1)
				left--
			}
		}
		from += uint32(batch.NumRows())
		batch.Release()
		if left == 0 {
			break
		}
	}
	return nil
}

// Schema is the version's.
func (f few) Schema() *arrow.Schema { return f.schema }

// Read gives the rows of the named columns.
func (f few) Read(_ context.Context, columns []string) (array.RecordReader, error) {
	var at []int
	var fields []arrow.Field
	for _, name := range columns {
		i := slices.IndexFunc(f.schema.Fields(), func(field arrow.Field) bool { return field.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no column %q", name)
		}
		at, fields = append(at, i), append(fields, f.schema.Field(i))
	}
	schema := arrow.NewSchema(fields, nil)
	batches := make([]arrow.RecordBatch, len(f.rows))
	for n, row := range f.rows {
		cols := make([]arrow.Array, len(at))
		for i, c := range at {
			cols[i] = row.Column(c)
		}
		batches[n] = array.NewRecordBatch(schema, cols, row.NumRows())
	}
	return array.NewRecordReader(schema, batches)
}
