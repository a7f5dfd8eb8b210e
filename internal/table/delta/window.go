package delta

import (
	"context"
	"errors"
	"fmt"
	"io"

	"breakwater/internal/reach"
	"breakwater/internal/table"
)

const (
	// blockSize is how much a reader fetches at once: one request instead of one
	// per Parquet page.
	blockSize = 1 << 20
	// blocks is how many it keeps: a Parquet file's columns lie one after the
	// other, and rows are read of all of them at the same time.
	blocks = 48
	// tail is the length in bytes of the end of a Parquet file in which most
	// footers lie whole.
	tail = 64 << 10
)

// ReaderAt reads one object of a store by blocks that it keeps, so that the many
// small reads of a Parquet library become few requests. It is not for concurrent
// use.
func ReaderAt(ctx context.Context, store table.Store, key string, size int64) io.ReaderAt {
	return &window{ctx: ctx, store: store, key: key, size: size, block: blockSize}
}

// TailReaderAt is [ReaderAt] for whoever wants a Parquet file's footer alone.
func TailReaderAt(ctx context.Context, store table.Store, key string, size int64) io.ReaderAt {
	return &window{ctx: ctx, store: store, key: key, size: size, block: tail}
}

// window is what was read of an object.
type window struct {
	ctx   context.Context // of the one call that reads through this window
	store table.Store
	key   string
	size  int64
	block int64
	kept  []piece
	clock int
}

// piece is one block. They are cut from the object's end, where the footer is
// read first.
type piece struct {
	at   int64
	buf  []byte
	used int
}

func (w *window) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= w.size {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && off < w.size {
		b, err := w.find(off)
		if err != nil {
			return n, err
		}
		got := copy(p[n:], b.buf[off-b.at:])
		n, off = n+got, off+int64(got)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// find gives the block that holds an offset.
func (w *window) find(off int64) (*piece, error) {
	w.clock++
	oldest := -1
	for i := range w.kept {
		b := &w.kept[i]
		if b.at <= off && off < b.at+int64(len(b.buf)) {
			b.used = w.clock
			return b, nil
		}
		if oldest < 0 || b.used < w.kept[oldest].used {
			oldest = i
		}
	}
	back := (w.size - 1 - off) / w.block // blocks behind this one
	end := w.size - back*w.block
	at := max(0, end-w.block)
	if len(w.kept) < blocks {
		w.kept = append(w.kept, piece{})
		oldest = len(w.kept) - 1
	}
	b := &w.kept[oldest]
	if int64(cap(b.buf)) < end-at {
		b.buf = make([]byte, end-at)
	}
	b.at, b.buf, b.used = at, b.buf[:end-at], w.clock
	got, err := w.store.ReadAt(w.ctx, w.key, b.buf, at)
	if int64(got) < end-at {
		b.buf = b.buf[:0]
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read %s at %d: %w", w.key, at, reach.Mark(err))
	}
	return b, nil
}
