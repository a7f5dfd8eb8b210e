// Package columns streams chosen leaf columns of a Parquet file row by row.
//
// Both readers of Parquet in this tree need the same little: a few columns of a
// file whose schema another engine chose, whatever else it holds, without
// decoding the rest and without holding more than a page per column.
package columns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"

	"breakwater/internal/plural"

	"github.com/parquet-go/parquet-go"
)

// ErrMalformed is in the chain of every error that says that the bytes are not
// the Parquet file they should be, as opposed to could not be read.
var ErrMalformed = errors.New("malformed parquet")

// File is an open Parquet file.
type File struct {
	*parquet.File
	reads *reads
}

// reads remembers what the reader below the Parquet library said, since a
// malformed file and an unreachable store are different verdicts and the
// library reports both as its own.
type reads struct {
	mu sync.Mutex // columns are read beside each other, and few readers below are made for that
	io.ReaderAt
	failed error
}

func (r *reads) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 { // which the file's own bytes asked for
		return 0, fmt.Errorf("%w: it leads to byte %d of itself", ErrMalformed, off)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := r.ReaderAt.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) && r.failed == nil {
		r.failed = err
	}
	return n, err
}

// Open reads the footer of a file of the given size in bytes.
func Open(r io.ReaderAt, size int64) (file *File, err error) {
	below := &reads{ReaderAt: r}
	defer below.explain(&err)
	if err := checkFooter(below, size); err != nil {
		return nil, err
	}
	f, err := parquet.OpenFile(below, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(64<<10))
	if err != nil {
		return nil, err
	}
	return &File{f, below}, nil
}

// checkFooter refuses a footer that says to be longer than the file: the library
// would make room for up to 4 GiB of it first.
func checkFooter(r io.ReaderAt, size int64) error {
	var end [8]byte // its length and the magic number
	if size < int64(len(end)) {
		return fmt.Errorf("%w: %s too few", ErrMalformed, plural.Of(size, "byte", "is", "are"))
	}
	if n, err := r.ReadAt(end[:], size-int64(len(end))); n < len(end) {
		return fmt.Errorf("read its footer: %w", unexpected(err))
	}
	if n := int64(binary.LittleEndian.Uint32(end[:])); n > size-int64(len(end)) {
		return fmt.Errorf("%w: %s to end in a footer of %d", ErrMalformed, plural.Of(size, "byte", "claims", "claim"), n)
	}
	return nil
}

// explain turns whatever went wrong, the library's panics on hostile bytes
// included, into either the store's own error or ErrMalformed.
func (r *reads) explain(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%v", p)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case *err == nil:
	case r.failed != nil:
		*err = r.failed
	case !errors.Is(*err, ErrMalformed):
		*err = fmt.Errorf("%w: %w", ErrMalformed, *err)
	}
}

// Leaves maps the dotted path of every leaf column to its index.
func (f *File) Leaves() map[string]int {
	leaves := map[string]int{}
	for i, path := range f.Schema().Columns() {
		leaves[strings.Join(path, ".")] = i
	}
	return leaves
}

// Rows yields, for every row, the values of each of the given leaf columns: one
// value for a flat column, one per element for a repeated one. The slices are
// valid until the next row. A column of -1 yields no values.
func (f *File) Rows(leaves []int) iter.Seq2[[][]parquet.Value, error] {
	return func(yield func([][]parquet.Value, error) bool) {
		row := make([][]parquet.Value, len(leaves))
		for _, group := range f.RowGroups() {
			chunks := group.ColumnChunks()
			cursors := make([]*cursor, len(leaves))
			for i, leaf := range leaves {
				if leaf >= 0 {
					cursors[i] = &cursor{pages: chunks[leaf].Pages()}
				}
			}
			for range group.NumRows() {
				err := f.fill(row, cursors)
				if !yield(row, err) || err != nil {
					f.close(cursors) //nolint:errcheck // only read; the caller has its row, or the error before this one
					return
				}
			}
			if err := f.close(cursors); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

func (f *File) fill(row [][]parquet.Value, cursors []*cursor) (err error) {
	defer f.reads.explain(&err)
	for i, c := range cursors {
		if c == nil {
			continue
		}
		if row[i], err = c.next(row[i][:0]); err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	return nil
}

func (f *File) close(cursors []*cursor) (err error) {
	defer f.reads.explain(&err)
	for _, c := range cursors {
		if c != nil {
			err = errors.Join(err, c.pages.Close())
		}
	}
	return err
}

// cursor walks one column chunk, one row at a time.
type cursor struct {
	pages  parquet.Pages
	values parquet.ValueReader
	buf    [256]parquet.Value
	i, n   int
	ended  bool
}

// next appends the next row's values to row.
func (c *cursor) next(row []parquet.Value) ([]parquet.Value, error) {
	for first := true; ; first = false {
		if c.i == c.n {
			if err := c.load(); errors.Is(err, io.EOF) && !first {
				return row, nil
			} else if errors.Is(err, io.EOF) {
				return row, io.ErrUnexpectedEOF
			} else if err != nil {
				return row, err
			}
		}
		v := c.buf[c.i]
		if !first && v.RepetitionLevel() == 0 {
			return row, nil
		}
		row = append(row, v)
		c.i++
	}
}

// load fills the buffer from the current page or the next one that has values.
func (c *cursor) load() error {
	for !c.ended {
		if c.values == nil {
			page, err := c.pages.ReadPage()
			if errors.Is(err, io.EOF) {
				c.ended = true
				break
			}
			if err != nil {
				return err
			}
			c.values = page.Values()
		}
		n, err := c.values.ReadValues(c.buf[:])
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if errors.Is(err, io.EOF) || n == 0 {
			c.values = nil
		}
		if n > 0 {
			c.i, c.n = 0, n
			return nil
		}
	}
	return io.EOF
}
