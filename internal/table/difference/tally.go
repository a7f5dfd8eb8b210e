package difference

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// Hash stands for the content of a row, or of its key.
type Hash [16]byte

// Place is where a row was read.
type Place struct {
	File uint32 // by its number among the files read
	Row  uint32 // among the live rows of the file
}

func (p Place) compare(o Place) int {
	return cmp.Or(cmp.Compare(p.File, o.File), cmp.Compare(p.Row, o.Row))
}

// Row is one row that was read.
type Row struct {
	Key Hash // that of the content, where there is no key
	Of  Hash // of the content
	At  Place
}

// rowSize is how many bytes a row takes in memory and in a scratch file.
const rowSize = 40

// buckets are how many parts the rows are split into by their keys: at the end, one of
// them at a time is in memory.
const buckets = 256

// Tally cancels rows of two versions against each other. It may be given rows
// concurrently.
type Tally struct {
	Options
	Keyed bool
	// Split is the number of the first file of the later version: those before are the
	// other one's.
	Split uint32

	mu      sync.Mutex
	rows    [buckets][]Row
	held    int64 // in rows
	scratch Scratch
	written int64
	spilled [buckets][]segment
	rowsIn  int64
}

// segment is rows of one bucket in the scratch file.
type segment struct{ at, rows int64 }

// Add takes rows.
func (t *Tally) Add(rows []Row) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range rows {
		t.rows[r.Key[0]] = append(t.rows[r.Key[0]], r)
	}
	t.rowsIn += int64(len(rows))
	t.held += int64(len(rows))
	if t.Scratch == nil || t.held*rowSize < cmp.Or(t.Memory, 64<<20) {
		return nil
	}
	return t.spill()
}

// spill writes all that is held.
func (t *Tally) spill() (err error) {
	if t.scratch == nil {
		if t.scratch, err = t.Scratch(); err != nil {
			return fmt.Errorf("make a scratch file for rows that do not fit into memory: %w", err)
		}
	}
	var b []byte
	for i, rows := range t.rows {
		if len(rows) == 0 {
			continue
		}
		b = b[:0]
		for _, r := range rows {
			b = append(append(b, r.Key[:]...), r.Of[:]...)
			b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, r.At.File), r.At.Row)
		}
		if _, err := t.scratch.Write(b); err != nil {
			return fmt.Errorf("write rows that do not fit into memory to a scratch file: %w", err)
		}
		t.spilled[i] = append(t.spilled[i], segment{t.written, int64(len(rows))})
		t.written += int64(len(b))
		t.rows[i] = rows[:0]
	}
	t.held = 0
	for i := range t.rows { // what grew is given back
		t.rows[i] = nil
	}
	return nil
}

// bucket takes a bucket's rows out, in order.
func (t *Tally) bucket(i int) ([]Row, error) {
	all := t.rows[i]
	t.rows[i] = nil
	for _, s := range t.spilled[i] {
		b := make([]byte, s.rows*rowSize)
		if n, err := t.scratch.ReadAt(b, s.at); n < len(b) {
			return nil, fmt.Errorf("read rows back from a scratch file: %w", errors.Join(err, io.ErrUnexpectedEOF))
		}
		for ; len(b) > 0; b = b[rowSize:] {
			all = append(all, Row{Hash(b[:16]), Hash(b[16:32]), Place{binary.LittleEndian.Uint32(b[32:]), binary.LittleEndian.Uint32(b[36:])}})
		}
	}
	slices.SortFunc(all, func(a, b Row) int {
		return cmp.Or(bytes.Compare(a.Key[:], b.Key[:]), bytes.Compare(a.Of[:], b.Of[:]), a.At.compare(b.At))
	})
	return all, nil
}

// Pair are the places of a row that changed.
type Pair struct{ Was, Is Place }

// Result is what is left when all that both versions have is cancelled.
type Result struct {
	Rows     int64 // that were given
	Repeated int64 // see [Difference.Repeated]
	// By are the counts of each file, where its rows went or came: a row that changed
	// counts in the file that it is in now.
	By map[uint32]*Counts
	// Some of the places of each kind, the first in their order.
	Added, Removed []Place
	Changed        []Pair
}

// Close gives the scratch file up.
func (t *Tally) Close() error {
	if t.scratch == nil {
		return nil
	}
	err := t.scratch.Close()
	t.scratch = nil
	return err
}

// Finish cancels what was added. Nothing is added after it.
func (t *Tally) Finish(ctx context.Context) (Result, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := Result{Rows: t.rowsIn, By: map[uint32]*Counts{}}
	for i := range buckets {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		rows, err := t.bucket(i)
		if err != nil {
			return r, err
		}
		for from := 0; from < len(rows); {
			to := from + 1
			for to < len(rows) && rows[to].Key == rows[from].Key {
				to++
			}
			t.group(&r, rows[from:to])
			from = to
		}
	}
	return r, nil
}

// group takes in the rows of one key.
func (t *Tally) group(r *Result, rows []Row) {
	var went, came []Place
	for from := 0; from < len(rows); {
		to, split := from, from // the other version's rows of the same content come first
		for ; to < len(rows) && rows[to].Of == rows[from].Of; to++ {
			if rows[to].At.File < t.Split {
				split = to + 1
			}
		}
		same := min(split-from, to-split)
		for _, row := range rows[from+same : split] {
			went = append(went, row.At)
		}
		for _, row := range rows[split+same : to] {
			came = append(came, row.At)
		}
		from = to
	}
	changed := 0
	if t.Keyed {
		slices.SortFunc(went, Place.compare)
		slices.SortFunc(came, Place.compare)
		changed = min(len(went), len(came))
		if max(len(went), len(came)) > 1 {
			r.Repeated++
		}
	}
	for i := range changed {
		r.in(came[i]).Changed++
		r.Changed = first(r.Changed, Pair{went[i], came[i]}, t.Samples, func(a, b Pair) int { return a.Is.compare(b.Is) })
	}
	for _, at := range went[changed:] {
		r.in(at).Removed++
		r.Removed = first(r.Removed, at, t.Samples, Place.compare)
	}
	for _, at := range came[changed:] {
		r.in(at).Added++
		r.Added = first(r.Added, at, t.Samples, Place.compare)
	}
}

func (r *Result) in(at Place) *Counts {
	c, ok := r.By[at.File]
	if !ok {
		c = &Counts{}
		r.By[at.File] = c
	}
	return c
}

// first keeps the first n in order.
func first[T any](all []T, one T, n int, compare func(a, b T) int) []T {
	at, _ := slices.BinarySearchFunc(all, one, compare)
	if at >= n {
		return all
	}
	all = slices.Insert(all, at, one)
	return all[:min(len(all), n)]
}
