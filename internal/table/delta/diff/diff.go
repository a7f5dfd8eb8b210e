// Package diff says what two versions of a Delta table differ in, row by row.
//
// It reads the files of which one version alone has the identity, path and deletion
// vector, each with the schema of its own version. Columns are the same by their
// physical names, so that one that was renamed is compared, and one that was dropped and
// made again under its name is not.
package diff

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/rows"
	"breakwater/internal/table/delta/scan"
	"breakwater/internal/table/difference"
)

// side is one of the two versions, and what it has alone.
type side struct {
	snap  *delta.Snapshot
	rows  *rows.Table
	files []delta.Add
	// columns are those that are compared, by the names that they have in this version.
	columns []string
}

// compared is both versions side by side.
type compared struct {
	from, to side
	names    []string // of the columns that are compared, sorted: those of to
	key      []int    // places of the key among them
}

// Between compares two versions of one table, whose data lies in store.
func Between(ctx context.Context, store table.Store, from, to *delta.Snapshot, o difference.Options) (difference.Difference, error) {
	fail := func(err error) (difference.Difference, error) {
		return difference.Difference{}, fmt.Errorf("compare versions %d and %d of delta table %s: %w", from.Version.Number, to.Version.Number, to.Root, err)
	}
	c := compared{from: side{snap: from}, to: side{snap: to}}
	var err error
	for _, s := range []*side{&c.from, &c.to} {
		if s.rows, err = rows.Of(store, s.snap); err != nil {
			return fail(err)
		}
	}
	d := difference.Difference{Key: o.Key}
	d.Columns = c.columns()
	d.Compared = c.names
	if err := c.keyed(o.Key, d.Columns); err != nil {
		return fail(err)
	}
	c.from.files, c.to.files = alone(from, to), alone(to, from)
	d.Files = difference.Files{From: len(c.from.files), To: len(c.to.files), Both: to.Len() - len(c.to.files)}
	tally := &difference.Tally{Options: o, Keyed: len(o.Key) > 0, Split: uint32(len(c.from.files))}
	var r difference.Result
	err = c.read(ctx, tally)
	if err == nil {
		r, err = tally.Finish(ctx)
	}
	if err = errors.Join(err, tally.Close()); err != nil {
		return fail(err)
	}
	d.Rows, d.Repeated = r.Rows, r.Repeated
	d.Counts, d.Partitions = c.counts(r)
	if d.Samples, err = c.samples(ctx, r); err != nil {
		return fail(err)
	}
	return d, nil
}

// alone are the logical files that one version has and the other has not, in the order of
// their paths.
func alone(s, other *delta.Snapshot) (all []delta.Add) {
	for a := range s.Each() {
		if !other.Has(a) {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b delta.Add) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Vector.ID(), b.Vector.ID()))
	})
	return all
}

// file is a file of either version, by its number.
func (c *compared) file(n uint32) (side, delta.Add) {
	if int(n) < len(c.from.files) {
		return c.from, c.from.files[n]
	}
	return c.to, c.to.files[int(n)-len(c.from.files)]
}

// read gives the rows of all files that are read to the tally, several files at once.
func (c *compared) read(ctx context.Context, tally *difference.Tally) error {
	group, each := errgroup.WithContext(ctx)
	group.SetLimit(rows.AtOnce)
	for n := range uint32(len(c.from.files) + len(c.to.files)) {
		if each.Err() != nil {
			break
		}
		group.Go(func() error { return c.readFile(each, tally, n) })
	}
	return errors.Join(group.Wait(), ctx.Err())
}

func (c *compared) readFile(ctx context.Context, tally *difference.Tally, n uint32) error {
	s, a := c.file(n)
	at := difference.Place{File: n}
	var enc []byte
	for batch, err := range s.rows.File(ctx, a, s.columns) {
		if err != nil {
			return err
		}
		var all []difference.Row
		all, enc, err = c.hashes(batch, at, enc)
		at.Row += uint32(batch.NumRows())
		batch.Release()
		if err == nil {
			err = tally.Add(all)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hashes are the rows of a batch. The buffer is given back to be used again.
func (c *compared) hashes(batch arrow.RecordBatch, at difference.Place, enc []byte) ([]difference.Row, []byte, error) {
	whole, err := scan.Encoding(batch.Columns(), c.names)
	if err != nil {
		return nil, enc, err
	}
	var keys []arrow.Array
	var names []string
	for _, i := range c.key {
		keys, names = append(keys, batch.Column(i)), append(names, c.names[i])
	}
	key, err := scan.Encoding(keys, names)
	if err != nil {
		return nil, enc, err
	}
	all := make([]difference.Row, batch.NumRows())
	for n := range all {
		enc = whole(enc[:0], n)
		all[n] = difference.Row{Of: short(enc), At: difference.Place{File: at.File, Row: at.Row + uint32(n)}}
		all[n].Key = all[n].Of
		if len(c.key) > 0 {
			enc = key(enc[:0], n)
			all[n].Key = short(enc)
		}
	}
	return all, enc, nil
}

// short is enough of a hash: that two of a billion rows have the same one by chance is as
// likely as one in 10^20.
func short(b []byte) difference.Hash {
	sum := sha256.Sum256(b)
	return difference.Hash(sum[:len(difference.Hash{})])
}

// counts are those of all files together, and by partition.
func (c *compared) counts(r difference.Result) (all difference.Counts, by []difference.Partition) {
	at := map[string]int{}
	for n, counts := range r.By {
		all = plus(all, *counts)
		s, a := c.file(n)
		values := s.values(a)
		if len(values) == 0 {
			continue
		}
		label := labelOf(values)
		if _, ok := at[label]; !ok {
			at[label] = len(by)
			by = append(by, difference.Partition{Values: values})
		}
		by[at[label]].Counts = plus(by[at[label]].Counts, *counts)
	}
	slices.SortFunc(by, func(a, b difference.Partition) int { return strings.Compare(labelOf(a.Values), labelOf(b.Values)) })
	return all, by
}

func plus(a, b difference.Counts) difference.Counts {
	return difference.Counts{Added: a.Added + b.Added, Removed: a.Removed + b.Removed, Changed: a.Changed + b.Changed}
}

// values are a file's, in the order of the version's partition columns.
func (s side) values(a delta.Add) (all []difference.Value) {
	columns := s.rows.Columns()
	for _, name := range s.snap.Metadata.PartitionColumns {
		physical := name
		if i := slices.IndexFunc(columns, func(c rows.Column) bool { return c.Name == name }); i >= 0 {
			physical = columns[i].Physical
		}
		v := difference.Value{Column: name}
		for key, value := range a.PartitionValues {
			if strings.EqualFold(key, physical) && value != nil && *value != "" { // an empty text is null, too
				v.Value = value
			}
		}
		all = append(all, v)
	}
	return all
}

// labelOf tells partitions apart, and puts them in order: null comes first.
func labelOf(values []difference.Value) string {
	var b strings.Builder
	for _, v := range values {
		b.WriteString(v.Column + "\x00")
		if v.Value != nil {
			b.WriteString("\x01" + *v.Value)
		}
		b.WriteString("\x00")
	}
	return b.String()
}
