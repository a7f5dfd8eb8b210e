// Package scan reads the live rows of a Delta snapshot and boils them down to a
// count and a digest.
//
// The digest does not depend on the order of rows, on the layout of files or on
// the width of types, so the same rows give the same digest after a copy, a
// compaction or a restore, and one changed, lost, doubled or resurrected row
// gives another. It is the sum modulo 2^256 of the SHA-256 of each row's
// canonical encoding: every column by name with its typed value. It is not
// meant to withstand somebody who constructs rows.
//
// Deletion vectors are applied and column mapping and widened types are
// followed. Nested and other types are refused by name ([TypeError]).
package scan

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"sync"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/sync/errgroup"

	"breakwater/internal/delta"
	"breakwater/internal/delta/columns"
	"breakwater/internal/delta/vector"
	"breakwater/internal/reach"
)

// ErrElsewhere says that an object lies in a bucket that the store does not
// serve.
var ErrElsewhere = vector.ErrElsewhere

// Digest is what a table's rows come down to.
type Digest struct {
	Rows int64
	Sum  [32]byte // big-endian
}

// String is the row count and the sum in hexadecimal, for people and journals.
func (d Digest) String() string { return fmt.Sprintf("%d:%s", d.Rows, hex.EncodeToString(d.Sum[:])) }

// plus is the digest of both.
func (d Digest) plus(o Digest) Digest {
	d.Rows += o.Rows
	d.add(o.Sum)
	return d
}

// add adds a number modulo 2^256.
func (d *Digest) add(n [32]byte) {
	var carry uint64
	for i := 24; i >= 0; i -= 8 {
		var sum uint64
		sum, carry = bits.Add64(binary.BigEndian.Uint64(d.Sum[i:]), binary.BigEndian.Uint64(n[i:]), carry)
		binary.BigEndian.PutUint64(d.Sum[i:], sum)
	}
}

// filesAtOnce is how many data files are read at the same time: it bounds the
// memory, at a window and a page per column each.
const filesAtOnce = 4

// Sum reads all live rows of a snapshot, several files at once. Any error means
// that nothing is known of the rows.
func Sum(ctx context.Context, store delta.Store, s *delta.Snapshot) (Digest, error) {
	cols, err := fields(s)
	if err != nil {
		return Digest{}, err
	}
	var mu sync.Mutex
	var all Digest
	group, each := errgroup.WithContext(ctx)
	group.SetLimit(filesAtOnce)
	for a := range s.Files() {
		if each.Err() != nil {
			break
		}
		group.Go(func() error {
			var d Digest
			var enc []byte
			for row, err := range fileRows(each, store, s, cols, a) {
				if err != nil {
					return err
				}
				enc = row.append(enc[:0])
				d.Rows++
				d.add(sha256.Sum256(enc))
			}
			mu.Lock()
			defer mu.Unlock()
			all = all.plus(d)
			return nil
		})
	}
	if err := errors.Join(group.Wait(), ctx.Err()); err != nil {
		return Digest{}, err
	}
	return all, nil
}

// Rows yields the live rows of a snapshot, file by file in the order of paths.
// A row is valid until the next one.
func Rows(ctx context.Context, store delta.Store, s *delta.Snapshot) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		cols, err := fields(s)
		if err != nil {
			yield(Row{}, err)
			return
		}
		for a := range s.Files() {
			for row, err := range fileRows(ctx, store, s, cols, a) {
				if !yield(row, err) || err != nil {
					return
				}
			}
		}
	}
}

// fileRows yields the live rows of one file.
func fileRows(ctx context.Context, store delta.Store, s *delta.Snapshot, cols []field, a delta.Add) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		fail := func(err error) {
			if errors.Is(err, columns.ErrMalformed) {
				err = fmt.Errorf("%w: %w", delta.ErrCorrupt, err)
			}
			yield(Row{}, fmt.Errorf("scan %s of delta table %s at version %d: %w", a.Path, s.Root, s.Version.Number, reach.Mark(err)))
		}
		bucket, key := a.File()
		if bucket != "" {
			fail(fmt.Errorf("%w: %s", ErrElsewhere, bucket))
			return
		}
		hidden, err := vector.Read(ctx, store, a.Vector)
		if err != nil {
			fail(err)
			return
		}
		f, err := columns.Open(delta.ReaderAt(ctx, store, key, a.Size), a.Size)
		if err != nil {
			fail(err)
			return
		}
		if a.Records >= 0 && f.NumRows() != a.Records {
			fail(fmt.Errorf("%w: %d rows in the file, recorded %d", delta.ErrCorrupt, f.NumRows(), a.Records))
			return
		}
		if hidden != nil && !hidden.IsEmpty() && hidden.Maximum() >= uint64(f.NumRows()) {
			fail(fmt.Errorf("%w: deletion vector hides row %d of %d", delta.ErrCorrupt, hidden.Maximum(), f.NumRows()))
			return
		}
		row := Row{cols, make([]Value, len(cols))}
		leaves, types, err := bind(f, cols, a, row.values)
		if err != nil {
			fail(err)
			return
		}
		var n uint64
		for raw, err := range f.Rows(leaves) {
			if err == nil && n%1024 == 0 {
				err = ctx.Err()
			}
			if err == nil && (hidden == nil || !hidden.Contains(n)) {
				if err = convert(row.values, raw, cols, types, leaves); err == nil && !yield(row, nil) {
					return
				}
			}
			if err != nil {
				fail(err)
				return
			}
			n++
		}
	}
}

// bind finds each column in the file, and fills in the values that are the same
// for all its rows: partition columns, and nulls for columns that are younger
// than the file.
func bind(f *columns.File, cols []field, a delta.Add, values []Value) (leaves []int, types []parquet.Type, err error) {
	names := f.Leaves()
	ids := map[int]int{}
	for _, c := range f.Root().Columns() {
		if c.Leaf() {
			ids[c.ID()] = c.Index()
		}
	}
	leaves, types = make([]int, len(cols)), make([]parquet.Type, len(cols))
	for i, col := range cols {
		leaves[i] = -1
		if col.partition {
			if values[i], err = col.parse(a.PartitionValues[col.physical]); err != nil {
				return nil, nil, err
			}
			continue
		}
		leaf, ok := names[col.physical]
		if col.id != 0 {
			leaf, ok = ids[col.id]
		}
		if !ok {
			continue
		}
		column, ok := f.Schema().Lookup(f.Schema().Columns()[leaf]...)
		if !ok {
			return nil, nil, fmt.Errorf("%w: column %s cannot be looked up", delta.ErrCorrupt, col.name)
		}
		leaves[i], types[i] = leaf, column.Node.Type()
	}
	return leaves, types, nil
}

func convert(values []Value, raw [][]parquet.Value, cols []field, types []parquet.Type, leaves []int) error {
	for i, col := range cols {
		if leaves[i] < 0 {
			continue
		}
		if len(raw[i]) != 1 {
			return fmt.Errorf("%w: column %s has %d values in a row", delta.ErrCorrupt, col.name, len(raw[i]))
		}
		var err error
		if values[i], err = col.value(raw[i][0], types[i]); err != nil {
			return err
		}
	}
	return nil
}
