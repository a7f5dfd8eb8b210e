// Package scan boils the live rows of a Delta snapshot down to a count and a
// digest.
//
// The digest does not depend on the order of rows, on the layout of files or on
// the width of types, so the same rows give the same digest after a copy, a
// compaction or a restore, and one changed, lost, doubled or resurrected row
// gives another. It is the sum modulo 2^256 of the SHA-256 of each row's
// canonical encoding: every column by name with its typed value. It is not
// meant to withstand somebody who constructs rows.
//
// Package rows reads the rows: what it refuses is refused here, and never left
// out.
package scan

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"breakwater/internal/plural"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/rows"
)

// digest grows by rows.
type digest table.Digest

// plus takes in another one.
func (d *digest) plus(o digest) {
	d.Rows += o.Rows
	d.add(o.Sum)
}

// add adds a number modulo 2^256.
func (d *digest) add(n [32]byte) {
	var carry uint64
	for i := 24; i >= 0; i -= 8 {
		var sum uint64
		sum, carry = bits.Add64(binary.BigEndian.Uint64(d.Sum[i:]), binary.BigEndian.Uint64(n[i:]), carry)
		binary.BigEndian.PutUint64(d.Sum[i:], sum)
	}
}

// Plus is what the rows of both come to together.
func Plus(a, b table.Digest) table.Digest {
	d := digest(a)
	d.plus(digest(b))
	return table.Digest(d)
}

// Sum reads all live rows of a snapshot, several files at once. Any error means
// that nothing is known of the rows.
func Sum(ctx context.Context, store table.Store, s *delta.Snapshot) (table.Digest, error) {
	d, _, err := SumWith(ctx, store, s, none{})
	return d, err
}

// none knows no file.
type none struct{}

func (none) Known(table.FileID) (d table.Digest, known bool)               { return d, false }
func (none) Learn(context.Context, table.FileID, table.Digest) (err error) { return nil }

// SumWith is [Sum], and reads only the files of which no digest is known. Digests are
// of one [Reading].
func SumWith(ctx context.Context, store table.Store, s *delta.Snapshot, files table.Digests) (d table.Digest, read int, err error) {
	t, err := rows.Of(store, s)
	if err != nil {
		return table.Digest{}, 0, err
	}
	var all digest
	for a := range s.Each() {
		if known, ok := files.Known(idOf(a)); ok {
			all.plus(digest(known))
		} else {
			read++
		}
	}
	now := 0
	todo := func(yield func(delta.Add) bool) {
		for a := range unknown(s, files, read) {
			if now++; now > read || !yield(a) {
				return
			}
		}
	}
	fresh, err := ofFiles(ctx, t, todo, columnsOf(t), func(ctx context.Context, a delta.Add, d digest) error {
		return files.Learn(ctx, idOf(a), table.Digest(d))
	})
	if err != nil {
		return table.Digest{}, read, err
	}
	if now != read { // which leaves a file out or counts one twice
		return table.Digest{}, read, fmt.Errorf("read delta table %s at version %d: of %s no digest was known, and then of others; read it again", s.Root, s.Version.Number, plural.Of(read, "file"))
	}
	all.plus(digest(fresh))
	return table.Digest(all), read, nil
}

// columnsOf are a table's columns by name, so that a column's place has no say.
func columnsOf(t *rows.Table) []string {
	columns := []string{}
	for _, f := range t.Schema().Fields() {
		columns = append(columns, f.Name)
	}
	slices.Sort(columns)
	return columns
}

// unlearnt keeps no file's digest.
func unlearnt(context.Context, delta.Add, digest) error { return nil }

// unknown yields the files that are to be read, if there are any, in the order of their
// paths.
func unknown(s *delta.Snapshot, files table.Digests, n int) iter.Seq[delta.Add] {
	return func(yield func(delta.Add) bool) {
		if n == 0 {
			return
		}
		for a := range s.Files() {
			if _, known := files.Known(idOf(a)); !known && !yield(a) {
				return
			}
		}
	}
}

// Files is [Sum] of some of a snapshot's files.
func Files(ctx context.Context, store table.Store, s *delta.Snapshot, files iter.Seq[delta.Add]) (table.Digest, error) {
	t, err := rows.Of(store, s)
	if err != nil {
		return table.Digest{}, err
	}
	return ofFiles(ctx, t, files, columnsOf(t), unlearnt)
}

// Count opens some of a snapshot's files and counts their live rows. It reads no
// column, and so counts where one is of a type that cannot be read.
func Count(ctx context.Context, store table.Store, s *delta.Snapshot, files iter.Seq[delta.Add]) (int64, error) {
	d, err := ofFiles(ctx, rows.Bare(store, s), files, []string{}, unlearnt)
	return d.Rows, err
}

// ofFiles reads several files at once, and tells what each came to.
func ofFiles(ctx context.Context, t *rows.Table, files iter.Seq[delta.Add], columns []string, learn func(context.Context, delta.Add, digest) error) (table.Digest, error) {
	var mu sync.Mutex
	var all digest
	group, each := errgroup.WithContext(ctx)
	group.SetLimit(rows.AtOnce)
	for a := range files {
		if each.Err() != nil {
			break
		}
		group.Go(func() error {
			d, err := ofFile(each, t, a, columns)
			if err == nil {
				err = learn(each, a, d)
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			all.plus(d)
			return nil
		})
	}
	if err := errors.Join(group.Wait(), ctx.Err()); err != nil {
		return table.Digest{}, err
	}
	return table.Digest(all), nil
}

// ofFile reads one file.
func ofFile(ctx context.Context, t *rows.Table, a delta.Add, columns []string) (digest, error) {
	var d digest
	var enc []byte
	for batch, err := range t.File(ctx, a, columns) {
		if err == nil {
			enc, err = d.take(batch, enc)
			batch.Release()
		}
		if err != nil {
			return digest{}, err
		}
	}
	return d, nil
}

// take adds the rows of a batch. The buffer is given back to be used again.
func (d *digest) take(batch arrow.RecordBatch, enc []byte) ([]byte, error) {
	names := make([]string, batch.NumCols())
	for i := range names {
		names[i] = batch.ColumnName(i)
	}
	row, err := Encoding(batch.Columns(), names)
	if err != nil {
		return enc, err
	}
	for n := range int(batch.NumRows()) {
		enc = row(enc[:0], n)
		d.Rows++
		d.add(sha256.Sum256(enc))
	}
	return enc, nil
}

// Encoding gives what appends the canonical encoding of a row: every column, each as the
// length of its name, the name, and the value.
func Encoding(columns []arrow.Array, names []string) (func(b []byte, row int) []byte, error) {
	cols := make([]encoder, len(columns))
	heads := make([][]byte, len(columns))
	for i, c := range columns {
		heads[i] = append(binary.AppendUvarint(nil, uint64(len(names[i]))), names[i]...)
		var err error
		if cols[i], err = values(c); err != nil {
			return nil, fmt.Errorf("column %s: %w", names[i], err)
		}
	}
	return func(b []byte, row int) []byte {
		for i, value := range cols {
			b = value(append(b, heads[i]...), row)
		}
		return b
	}, nil
}
