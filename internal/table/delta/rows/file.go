package rows

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"breakwater/internal/plural"
	"breakwater/internal/reach"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/vector"
)

// window is how much of a column is fetched at once.
const window = 1 << 20

// tail is how much of a file's end is fetched first: the footer of most files,
// and all of a small one.
const tail = 64 << 10

// open is a data file being read, with what it takes to make batches of it.
type open struct {
	*Table
	add    delta.Add
	cols   []column
	hidden *roaring64.Bitmap // nil where no row is
	rows   int64             // in the file, hidden ones included
	in     *source
	arrow  *pqarrow.FileReader
	at     []int // for each column its place in the batches read, or -1
	leaves []int // of the file, to be read
	consts []arrow.Array
}

// file yields the live rows of one file. Errors name table and file.
func (t *Table) file(ctx context.Context, a delta.Add, cols []column) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		o := &open{Table: t, add: a, cols: cols}
		defer o.close()
		fail := func(err error) {
			yield(nil, fmt.Errorf("read %s of delta table %s at version %d: %w", a.Path, t.snap.Root, t.snap.Version.Number, reach.Mark(err)))
		}
		if err := o.open(ctx); err != nil {
			fail(err)
			return
		}
		var raw array.RecordReader
		for from := int64(0); from < o.rows; {
			batch, n, err := o.next(ctx, &raw, from)
			if err != nil {
				fail(err)
				break
			}
			from += n
			if batch.NumRows() == 0 {
				batch.Release()
			} else if !yield(batch, nil) {
				break
			}
		}
		if raw != nil {
			raw.Release()
		}
	}
}

func (t *Table) memory() memory.Allocator {
	if t.Memory == nil {
		return memory.DefaultAllocator
	}
	return t.Memory
}

// open reads the footer and the deletion vector, and finds each column.
func (o *open) open(ctx context.Context) (err error) {
	bucket, key := o.add.File()
	if bucket != "" {
		return fmt.Errorf("%w: %s", vector.ErrElsewhere, bucket)
	}
	if o.hidden, err = vector.Read(ctx, o.store, o.add.Vector); err != nil {
		return err
	}
	o.in = &source{ctx: ctx, store: o.store, key: key, size: o.add.Size}
	defer o.in.explain(&err)
	props := parquet.NewReaderProperties(o.memory())
	props.BufferedStreamEnabled, props.BufferSize = true, window
	f, err := file.NewParquetReader(o.in, file.WithReadProps(props))
	if err != nil {
		return err
	}
	if o.rows = f.NumRows(); o.add.Records >= 0 && o.rows != o.add.Records {
		return fmt.Errorf("%w: %s in the file, recorded %d", delta.ErrCorrupt, plural.Of(o.rows, "row"), o.add.Records)
	}
	if o.hidden != nil && !o.hidden.IsEmpty() && o.hidden.Maximum() >= uint64(o.rows) {
		return fmt.Errorf("%w: deletion vector hides row %d of %d", delta.ErrCorrupt, o.hidden.Maximum(), o.rows)
	}
	if err := readable(f); err != nil {
		return err
	}
	if o.arrow, err = pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: batchRows}, o.memory()); err != nil {
		return err
	}
	// The schema that an engine kept beside the file's own says nothing that the
	// file does not, and may name other types.
	if o.arrow.Manifest, err = pqarrow.NewSchemaManifest(f.MetaData().Schema, nil, &o.arrow.Props); err != nil {
		return err
	}
	return o.bind()
}

// readable lets a file's INT96 columns be read as the twelve bytes that they are:
// as timestamps they would become nanoseconds, which end in 2262.
func readable(f *file.Reader) error {
	md := f.MetaData()
	var found bool
	for _, e := range md.FileMetaData.Schema {
		if e.Type != nil && parquet.Type(*e.Type) == parquet.Types.Int96 {
			width := int32(int96Size)
			*e.Type, e.TypeLength, found = 7, &width, true // FIXED_LEN_BYTE_ARRAY
		}
	}
	if !found {
		return nil
	}
	for _, g := range md.RowGroups {
		for _, c := range g.Columns {
			if c.MetaData != nil && parquet.Type(c.MetaData.Type) == parquet.Types.Int96 {
				c.MetaData.Type = 7
			}
		}
	}
	root, err := schema.FromParquet(md.FileMetaData.Schema)
	if err != nil {
		return err
	}
	group, ok := root.(*schema.GroupNode)
	if !ok {
		return fmt.Errorf("the schema's root is no group")
	}
	md.Schema = schema.NewSchema(group)
	return nil
}

// bind finds each column in the file, and makes the arrays of those that are the
// same for all its rows: partition columns, and nulls for columns that are
// younger than the file.
func (o *open) bind() error {
	fields := make([]arrow.Field, len(o.arrow.Manifest.Fields))
	ids := len(fields) == 0
	for i, f := range o.arrow.Manifest.Fields {
		fields[i] = *f.Field
		_, ok := fieldID(fields[i])
		ids = ids || ok
	}
	if o.mapped == "id" && !ids {
		return fmt.Errorf("%w: its columns have no ids, and the table's are mapped by id", errUnlike)
	}
	o.at, o.consts = make([]int, len(o.cols)), make([]arrow.Array, len(o.cols))
	most := int(min(batchRows, o.rows))
	place := map[int]int{} // of a field of the file, in the batches read
	for i := range o.cols {
		c := &o.cols[i]
		o.at[i] = -1
		if c.partition {
			value, err := o.valueIn(c, o.add.PartitionValues)
			if err == nil {
				o.consts[i], err = c.constant(o.memory(), value, most)
			}
			if err != nil {
				return fmt.Errorf("%w: %w", delta.ErrCorrupt, err)
			}
			continue
		}
		n, err := c.find(fields)
		if err != nil {
			return err
		}
		if n < 0 && c.required {
			return fmt.Errorf("%w: it has no column %s, which may not be null", errUnlike, c.name)
		}
		if n < 0 {
			o.consts[i] = array.MakeArrayOfNull(o.memory(), c.typ, most)
			continue
		}
		if _, ok := place[n]; !ok {
			place[n] = len(place)
			o.leaves = append(o.leaves, leaves(&o.arrow.Manifest.Fields[n])...)
		}
		o.at[i] = place[n]
	}
	return nil
}

// leaves are the columns of the file below a field.
func leaves(f *pqarrow.SchemaField) []int {
	if f.IsLeaf() {
		return []int{f.ColIndex}
	}
	var all []int
	for i := range f.Children {
		all = append(all, leaves(&f.Children[i])...)
	}
	return all
}

// next makes one batch of the rows of the file from the given one on, and says
// how many those were before the deletion vector hid some.
func (o *open) next(ctx context.Context, raw *array.RecordReader, from int64) (batch arrow.RecordBatch, n int64, err error) {
	defer o.in.explain(&err)
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	n = min(batchRows, o.rows-from)
	var read arrow.RecordBatch
	if len(o.leaves) > 0 {
		if *raw == nil {
			if *raw, err = o.arrow.GetRecordReader(ctx, o.leaves, nil); err != nil {
				return nil, 0, err
			}
		}
		if !(*raw).Next() {
			if err = (*raw).Err(); err == nil || errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: it ends after %s of %d", delta.ErrCorrupt, plural.Of(from, "row"), o.rows)
			}
			return nil, 0, err
		}
		read = (*raw).RecordBatch()
		n = read.NumRows()
	}
	cols := make([]arrow.Array, 0, len(o.cols))
	defer func() {
		for _, c := range cols {
			c.Release()
		}
	}()
	for i := range o.cols {
		if o.at[i] < 0 {
			cols = append(cols, array.NewSlice(o.consts[i], 0, n))
			continue
		}
		data, err := o.cols[i].conform(ctx, o.memory(), read.Column(o.at[i]).Data())
		if err != nil {
			return nil, 0, err
		}
		cols = append(cols, array.MakeFromData(data))
		data.Release()
	}
	batch = array.NewRecordBatch(arrowSchema(o.cols), cols, n)
	if o.hidden == nil {
		return batch, n, nil
	}
	defer batch.Release()
	live, err := o.live(ctx, batch, uint64(from))
	return live, n, err
}

// live drops the rows of a batch that the deletion vector hides. The first of
// them is the file's row number from.
func (o *open) live(ctx context.Context, batch arrow.RecordBatch, from uint64) (arrow.RecordBatch, error) {
	n := uint64(batch.NumRows())
	hidden := o.hidden.Rank(from + n - 1)
	if from > 0 {
		hidden -= o.hidden.Rank(from - 1)
	}
	if hidden == 0 {
		batch.Retain()
		return batch, nil
	}
	if batch.NumCols() == 0 { // nothing to filter by
		return array.NewRecordBatch(batch.Schema(), nil, int64(n-hidden)), nil
	}
	b := array.NewBooleanBuilder(o.memory())
	defer b.Release()
	b.Reserve(int(n))
	for i := range n {
		b.UnsafeAppend(!o.hidden.Contains(from + i))
	}
	mask := b.NewArray()
	defer mask.Release()
	return compute.FilterRecordBatch(compute.WithAllocator(ctx, o.memory()), batch, mask, compute.DefaultFilterOptions())
}

func (o *open) close() {
	for _, c := range o.consts {
		if c != nil {
			c.Release()
		}
	}
}

// source is a data file as the Parquet library reads it. Its end is fetched
// first, and once. It remembers what the store said, since a malformed file and
// an unreachable store are different verdicts, and the library reports both as
// its own.
type source struct {
	ctx    context.Context // of the one reading of this file
	store  table.Store
	key    string
	size   int64
	off    int64 // of Seek
	end    []byte
	failed error
}

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= s.size {
		return 0, io.EOF
	}
	start := max(0, s.size-tail)
	if off >= start && s.end == nil {
		end := make([]byte, s.size-start)
		if err := s.fetch(end, start); err != nil {
			return 0, err
		}
		s.end = end
	}
	want := p[:min(int64(len(p)), s.size-off)]
	if off >= start {
		copy(want, s.end[off-start:])
	} else if err := s.fetch(want, off); err != nil {
		return 0, err
	}
	if len(want) < len(p) {
		return len(want), io.EOF
	}
	return len(want), nil
}

// fetch fills p.
func (s *source) fetch(p []byte, off int64) error {
	n, err := s.store.ReadAt(s.ctx, s.key, p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%s ends after %s of %d: %w", s.key, plural.Of(off+int64(n), "byte"), s.size, io.ErrUnexpectedEOF)
	}
	if s.failed == nil {
		s.failed = err
	}
	return err
}

// Seek and Read are there because the library asks for them: it seeks to learn
// the size.
func (s *source) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.off
	case io.SeekEnd:
		offset += s.size
	}
	s.off = offset
	return offset, nil
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.ReadAt(p, s.off)
	s.off += int64(n)
	return n, err
}

// explain turns whatever went wrong, the library's panics on hostile bytes
// included, into the store's own error, a cancelled context, or
// [delta.ErrCorrupt].
func (s *source) explain(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%v", p)
	}
	switch {
	case *err == nil, errors.Is(*err, delta.ErrCorrupt):
	case s.failed != nil:
		*err = s.failed
	case s.ctx.Err() != nil:
		*err = s.ctx.Err()
	default:
		*err = fmt.Errorf("%w: %w", delta.ErrCorrupt, *err)
	}
}
