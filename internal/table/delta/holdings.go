package delta

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"breakwater/internal/reach"
	"breakwater/internal/table"
)

// holdings are the sizes of what is there. Of a key it keeps 128 bits of hash and
// not the text: a listing of millions of keys then costs 40 bytes each, and the
// odds that one absent key of a million passes for another are one in 10^26.
type holdings struct {
	l     *Log
	seeds [2]maphash.Seed
	sizes map[[2]uint64]int64
	ask   map[[2]uint64]table.Object // those of which the listing does not tell whether they lie in an archive
	dirs  map[string]bool            // folders outside of the table that were listed

	listed chan struct{} // closed when sizes has the table's prefix, or failed why not
	failed error
	cancel context.CancelFunc
}

// listAhead begins to list the table's prefix. The listing has ended once stop
// returns.
func (l *Log) listAhead(ctx context.Context) *holdings {
	h := &holdings{
		l: l, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		sizes: map[[2]uint64]int64{}, ask: map[[2]uint64]table.Object{}, dirs: map[string]bool{}, listed: make(chan struct{}),
	}
	ctx, h.cancel = context.WithCancel(ctx)
	go func() {
		defer close(h.listed)
		h.failed = h.add(l.store.List(ctx, l.root.Key("")))
	}()
	return h
}

// listData lists the table's prefix.
func (l *Log) listData(ctx context.Context) (*holdings, error) {
	h := l.listAhead(ctx)
	err := h.wait()
	h.stop()
	return h, err
}

// wait waits for the listing of the table's prefix.
func (h *holdings) wait() error {
	<-h.listed
	return h.failed
}

// stop ends the listing, if it has not ended.
func (h *holdings) stop() {
	h.cancel()
	<-h.listed
}

func (h *holdings) hash(key string) [2]uint64 {
	return [2]uint64{maphash.String(h.seeds[0], key), maphash.String(h.seeds[1], key)}
}

func (h *holdings) add(objects iter.Seq2[table.Object, error]) error {
	for o, err := range objects {
		if err != nil {
			return fmt.Errorf("list the data of delta table %s: %w", h.l.root, reach.Mark(err))
		}
		at := h.hash(o.Key)
		if h.sizes[at] = o.Found(); o.Ask != nil {
			h.ask[at] = o
		}
	}
	return nil
}

// settle asks of what live files need whether it lies in an archive, where the listing
// does not tell; of each object once. Whatever is judged after it costs no request more.
func (h *holdings) settle(ctx context.Context, files iter.Seq[*Add]) error {
	if err := h.wait(); err != nil || len(h.ask) == 0 {
		return err
	}
	var needed []table.Object
	for a := range files {
		for _, f := range a.needs() {
			if o, ok := h.ask[h.hash(f.Key)]; ok && f.Bucket == "" {
				needed = append(needed, o)
				delete(h.ask, h.hash(f.Key))
			}
		}
	}
	return table.Ask(ctx, slices.Values(needed), func(key string, size int64) { h.sizes[h.hash(key)] = size })
}

// lacks judges the objects behind one live file. For one outside of the table it
// lists the folder of that file, once.
func (h *holdings) lacks(ctx context.Context, a *Add) ([]table.Lack, error) {
	if err := h.wait(); err != nil {
		return nil, err
	}
	if a.local(h.l.root.Root) {
		at := h.hash(a.at.key)
		_, ask := h.ask[at]
		if size, ok := h.sizes[at]; ok && size == a.Size && !ask {
			return nil, nil
		}
	}
	var out []table.Lack
	for _, f := range a.needs() {
		if f.Bucket == "" && !within(h.l.root.Prefix, f.Key) {
			dir := f.Key[:strings.LastIndexByte(f.Key, '/')+1]
			if !h.dirs[dir] {
				if err := h.add(h.l.store.List(ctx, dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return nil, err
				}
				h.dirs[dir] = true
			}
		}
		if err := h.settle(ctx, func(yield func(*Add) bool) { yield(a) }); err != nil {
			return nil, err
		}
		size, ok := h.sizes[h.hash(f.Key)]
		if !ok {
			size = -1
		}
		if l, bad := table.Judge(f, size); bad {
			if f.Bucket == "" && !strings.Contains(f.Key, "://") {
				l.File.Name = h.l.root.Path(f.Key)
			}
			out = append(out, l)
		}
	}
	return out, nil
}
