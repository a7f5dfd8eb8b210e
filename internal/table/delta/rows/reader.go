package rows

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"breakwater/internal/table/delta"
)

// part is one batch of a file, or the error that ends it.
type part struct {
	batch arrow.RecordBatch
	err   error
}

func (p part) release() {
	if p.batch != nil {
		p.batch.Release()
	}
}

// reader reads files ahead, [AtOnce] of them at a time, and gives their batches
// in the files' order. It may be called from any thread, a foreign one too, by
// one at a time: no coroutine of the iter package could.
type reader struct {
	table  *Table
	schema *arrow.Schema
	ctx    context.Context // of this one reading
	cancel context.CancelFunc
	refs   atomic.Int64
	group  sync.WaitGroup
	files  chan chan part // in order, each with its file's batches
	parts  chan part      // of the file that is being handed on
	cur    part
}

var _ array.RecordReader = (*reader)(nil)

func (t *Table) begin(ctx context.Context, cols []column) *reader {
	r := &reader{table: t, schema: arrowSchema(cols), files: make(chan chan part, AtOnce-1)}
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.refs.Add(1)
	slots := make(chan struct{}, AtOnce)
	r.group.Go(func() {
		defer close(r.files)
		for a := range t.snap.Files() {
			select {
			case slots <- struct{}{}:
			case <-r.ctx.Done():
				return
			}
			parts := make(chan part, 1)
			r.group.Go(func() {
				defer func() { <-slots }()
				r.send(a, cols, parts)
			})
			select {
			case r.files <- parts:
			case <-r.ctx.Done():
				for p := range parts {
					p.release()
				}
				return
			}
		}
	})
	return r
}

// send reads one file into a channel, and closes it.
func (r *reader) send(a delta.Add, cols []column, parts chan<- part) {
	defer close(parts)
	for batch, err := range r.table.file(r.ctx, a, cols) {
		p := part{batch, err}
		select {
		case parts <- p:
		case <-r.ctx.Done():
			p.release()
			return
		}
	}
}

func (r *reader) Schema() *arrow.Schema { return r.schema }

// Next goes on to the next batch, and gives back the one before.
func (r *reader) Next() bool {
	if r.cur.err != nil {
		return false
	}
	r.cur.release()
	r.cur = part{}
	for {
		if r.parts == nil {
			parts, more := <-r.files
			if !more {
				if err := r.ctx.Err(); err != nil { // files may be missing
					s := r.table.snap
					r.cur.err = fmt.Errorf("read delta table %s at version %d: %w", s.Root, s.Version.Number, err)
				}
				return false
			}
			r.parts = parts
		}
		p, more := <-r.parts
		if more {
			r.cur = p
			return p.err == nil
		}
		r.parts = nil
	}
}

func (r *reader) RecordBatch() arrow.RecordBatch { return r.cur.batch }

// Record is the name that the interface had first.
func (r *reader) Record() arrow.RecordBatch { return r.cur.batch }

func (r *reader) Err() error { return r.cur.err }

func (r *reader) Retain() { r.refs.Add(1) }

// Release by the last who held it stops the reading, and waits for that.
func (r *reader) Release() {
	if r.refs.Add(-1) > 0 {
		return
	}
	r.cancel()
	r.cur.release()
	r.cur.batch = nil
	if r.parts != nil {
		for p := range r.parts {
			p.release()
		}
	}
	for parts := range r.files {
		for p := range parts {
			p.release()
		}
	}
	r.group.Wait()
}
