package columns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"breakwater/internal/plural"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/sync/errgroup"
)

// batchRows is how many rows are decoded at once: enough to make the work per
// column a loop, few enough for the values to stay in the processor's cache.
const batchRows = 2048

// Batch is some consecutive rows of the wanted columns. It is valid until the
// next one.
type Batch struct {
	Rows int
	// Ahead is what the caller's function made of the batch.
	Ahead   any
	columns []batchColumn
}

// batchColumn holds one column of a batch.
type batchColumn struct {
	null   bool // every row is null, and there are no values
	values []parquet.Value
	starts []int          // of each row's values, and of the end, in a repeated column; nil in a flat one
	done   []parquet.Page // that no later batch has values of
}

// release gives the buffers of pages back to the library. Without that it makes new
// ones for each page, and the collector runs twice as often.
func (b *Batch) release() {
	for i := range b.columns {
		c := &b.columns[i]
		for _, p := range c.done {
			parquet.Release(p)
		}
		clear(c.done)
		c.done = c.done[:0]
	}
}

// Value is a flat column's value in a row; false where it is null or where the
// file has no such column.
func (b *Batch) Value(column, row int) (parquet.Value, bool) {
	c := &b.columns[column]
	if c.null || c.starts != nil {
		return parquet.Value{}, false
	}
	v := c.values[row]
	return v, !v.IsNull()
}

// Flat are a flat column's values, one for each row; nil where all of them are
// null or the file has no such column.
func (b *Batch) Flat(column int) []parquet.Value {
	c := &b.columns[column]
	if c.null || c.starts != nil {
		return nil
	}
	return c.values
}

// Null reports whether a column has no value in any row of the batch.
func (b *Batch) Null(column int) bool { return b.columns[column].null }

// Values are the values of a repeated column in a row.
func (b *Batch) Values(column, row int) []parquet.Value {
	c := &b.columns[column]
	switch {
	case c.null:
		return nil
	case c.starts == nil:
		return c.values[row : row+1]
	}
	return c.values[c.starts[row]:c.starts[row+1]]
}

// inFlight is how many batches are decoded ahead of the caller.
const inFlight = 8

// Batches yields all rows, some at a time, with the values of the given leaf
// columns; -1 stands for a column that the file lacks. It does what [File.Rows]
// does several times faster, for callers that look at few of the columns in each
// row: pages of nulls, which fill most columns of a union of kinds of rows, are
// not decoded, and others are by two goroutines, each with a share of the
// columns, while the caller works on the batch before.
//
// ahead is called for each batch in order and beside the caller, and what it
// returns is in the batch: a part of the caller's work that needs nothing else.
func (f *File) Batches(ctx context.Context, leaves []int, ahead func(*Batch) any) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		work, wctx := errgroup.WithContext(ctx)
		var stage [4]chan *Batch // each holds all batches, so that no hand-over waits
		for i := range stage {
			stage[i] = make(chan *Batch, inFlight)
		}
		empty, half, whole, full := stage[0], stage[1], stage[2], stage[3]
		for range inFlight {
			empty <- &Batch{columns: make([]batchColumn, len(leaves))}
		}
		first, second := f.shares(leaves)
		work.Go(func() error {
			defer close(half)
			return f.decode(wctx, leaves, first, empty, half)
		})
		work.Go(func() error {
			defer close(whole)
			return f.decode(wctx, leaves, second, half, whole)
		})
		work.Go(func() error {
			defer close(full)
			for b := range whole {
				b.Ahead = ahead(b)
				full <- b
			}
			return nil
		})
		defer func() { // the file must not be read any more once the caller has gone on
			cancel()
			work.Wait() //nolint:errcheck // the caller has its error, or wants no more
		}()
		for b := range full {
			if !yield(b, nil) {
				return
			}
			b.release()
			empty <- b
		}
		if err := work.Wait(); err != nil {
			yield(nil, err)
		}
	}
}

// shares divides the wanted columns in two that take about as long to decode: a
// value costs what two compressed bytes do.
func (f *File) shares(leaves []int) (first, second []int) {
	size := make([]int64, len(leaves))
	for _, group := range f.Metadata().RowGroups {
		for i, leaf := range leaves {
			if leaf >= 0 && leaf < len(group.Columns) {
				size[i] += group.Columns[leaf].MetaData.TotalCompressedSize + 2*group.Columns[leaf].MetaData.NumValues
			}
		}
	}
	bySize := make([]int, len(leaves))
	for i := range bySize {
		bySize[i] = i
	}
	slices.SortFunc(bySize, func(a, b int) int { return cmp.Compare(size[b], size[a]) })
	var less int64 // of the second than of the first
	for _, i := range bySize {
		if less <= 0 {
			first, less = append(first, i), less+size[i]
		} else {
			second, less = append(second, i), less-size[i]
		}
	}
	return first, second
}

// decode fills some columns of the batches that come in, in order.
func (f *File) decode(ctx context.Context, leaves, share []int, in <-chan *Batch, out chan<- *Batch) (err error) {
	defer f.reads.explain(&err)
	// Rows of a union of kinds differ, each by a byte at least. A file that claims
	// more would keep us busy with rows that it does not hold.
	if f.NumRows() < 0 || f.NumRows() > max(batchRows, f.Size()) {
		return fmt.Errorf("%w: %s to hold %s", ErrMalformed, plural.Of(f.Size(), "byte", "claims", "claim"), plural.Of(f.NumRows(), "row"))
	}
	rows := f.NumRows()
	for _, group := range f.RowGroups() {
		chunks := group.ColumnChunks()
		readers := make([]*chunkReader, len(leaves))
		for _, i := range share {
			if leaf := leaves[i]; leaf >= 0 {
				readers[i] = &chunkReader{pages: chunks[leaf].Pages(), repeated: f.Repeated(leaf)}
			}
		}
		if rows -= group.NumRows(); rows < 0 {
			return fmt.Errorf("%w: a row group claims to hold %s more than the file", ErrMalformed, plural.Of(-rows, "row"))
		}
		for left := group.NumRows(); left > 0 && err == nil; {
			var b *Batch
			select {
			case b = <-in:
			case <-ctx.Done():
			}
			if b == nil { // the other half of the columns cannot be had: its error counts
				return errors.Join(ctx.Err(), f.closeAll(readers))
			}
			b.Rows = int(min(left, batchRows))
			left -= int64(b.Rows)
			if err = f.read(b, share, readers); err == nil {
				out <- b
			}
		}
		if err := errors.Join(err, f.closeAll(readers)); err != nil {
			return err
		}
	}
	return nil
}

// Kind is the physical type of a leaf column, -1 where its schema is none that
// the library can tell it from.
func (f *File) Kind(leaf int) (kind parquet.Kind) {
	defer func() {
		if recover() != nil { // a list or map without elements has no kind
			kind = -1
		}
	}()
	c, ok := f.Schema().Lookup(f.Schema().Columns()[leaf]...)
	if !ok {
		return -1
	}
	return c.Node.Type().Kind()
}

// Repeated reports whether a leaf may have several values in a row.
func (f *File) Repeated(leaf int) bool {
	c := f.Root()
	for _, name := range f.Schema().Columns()[leaf] {
		if c = c.Column(name); c == nil {
			return true
		}
		if c.Repeated() {
			return true
		}
	}
	return false
}

func (f *File) read(b *Batch, share []int, readers []*chunkReader) (err error) {
	defer f.reads.explain(&err)
	for _, i := range share {
		r, c := readers[i], &b.columns[i]
		if r == nil {
			c.null = true
			continue
		}
		if err := r.read(c, b.Rows); err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	return nil
}

func (f *File) closeAll(readers []*chunkReader) (err error) {
	defer f.reads.explain(&err)
	for _, r := range readers {
		if r != nil {
			err = errors.Join(err, r.pages.Close())
		}
	}
	return err
}

// chunkReader reads one column of one row group, a batch of rows at a time.
type chunkReader struct {
	pages    parquet.Pages
	repeated bool
	page     parquet.Page        // the current one
	values   parquet.ValueReader // of the current page
	last     []parquet.Page      // that ended in the batch before, and that ahead may have values of
	nulls    int                 // rows left in the current page, which holds nulls only
	ahead    []parquet.Value     // the first values of the next row, where it is repeated
}

// read fills the column with the next rows.
func (r *chunkReader) read(c *batchColumn, rows int) error {
	c.values, c.starts, c.null = c.values[:0], c.starts[:0], false
	c.done, r.last = append(c.done, r.last...), r.last[:0]
	if len(r.ahead) == 0 {
		if err := r.next(); err != nil {
			return unexpected(err)
		}
		if r.nulls >= rows {
			r.nulls -= rows
			c.null = true
			return nil
		}
	}
	if r.repeated {
		return r.readRepeated(c, rows)
	}
	c.starts = nil
	for len(c.values) < rows {
		if err := r.next(); err != nil {
			return unexpected(err)
		}
		if err := r.some(c, rows-len(c.values)); err != nil {
			return err
		}
	}
	return nil
}

// readRepeated reads until it has seen the row after the last one begin.
func (r *chunkReader) readRepeated(c *batchColumn, rows int) error {
	c.values = append(c.values, r.ahead...)
	r.ahead = r.ahead[:0]
	for seen := 0; ; {
		starts := c.starts // in a variable of its own, as the loop is long
		for ; seen < len(c.values); seen++ {
			if c.values[seen].RepetitionLevel() != 0 {
				continue
			}
			starts = append(starts, seen)
			if len(starts) > rows {
				c.starts, r.ahead = starts, append(r.ahead, c.values[seen:]...)
				return nil
			}
		}
		c.starts = starts
		err := r.next()
		if errors.Is(err, io.EOF) && len(c.starts) == rows {
			c.starts = append(c.starts, len(c.values))
			return nil
		}
		if err != nil {
			return unexpected(err)
		}
		if err := r.some(c, batchRows); err != nil {
			return err
		}
	}
}

// some appends up to n values of the current page.
func (r *chunkReader) some(c *batchColumn, n int) error {
	if r.nulls > 0 {
		n = min(n, r.nulls)
		r.nulls -= n
		for range n {
			c.values = append(c.values, parquet.Value{})
		}
		return nil
	}
	at := len(c.values)
	if cap(c.values) < at+n {
		c.values = append(make([]parquet.Value, 0, 2*(at+n)), c.values...)
	}
	got, err := r.values.ReadValues(c.values[at : at+n])
	c.values = c.values[:at+got]
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err != nil || got == 0 {
		if r.repeated {
			r.last = append(r.last, r.page)
		} else {
			c.done = append(c.done, r.page)
		}
		r.page, r.values = nil, nil
	}
	return nil
}

// next moves on to the next page with values, if the current one is used up.
func (r *chunkReader) next() error {
	for r.nulls == 0 && r.values == nil {
		p, err := r.pages.ReadPage()
		if err != nil {
			return err
		}
		switch n := p.NumValues(); {
		case n == 0:
		case p.NumNulls() == n && p.NumRows() == n:
			r.nulls = int(n)
		default:
			r.page, r.values = p, p.Values()
		}
	}
	return nil
}

// unexpected is an end of the pages before the end of the rows.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
