package difference_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"breakwater/internal/table/difference"
)

// scratch is a file in memory, that counts.
type scratch struct {
	bytes.Buffer
	closed bool
	fails  error
}

func (s *scratch) Write(p []byte) (int, error) {
	if s.fails != nil {
		return 0, s.fails
	}
	return s.Buffer.Write(p)
}

func (s *scratch) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(s.Bytes()).ReadAt(p, off)
}

func (s *scratch) Close() error { s.closed = true; return nil }

// row is a row of these tests: a key and a value.
type row struct{ key, value int }

func hash(parts ...any) (h difference.Hash) {
	copy(h[:], fmt.Sprintf("%-16s", fmt.Sprint(parts...)))
	slices.Reverse(h[:15]) // so that buckets differ
	h[0] = byte(len(fmt.Sprint(parts...))*7 + int(fmt.Sprint(parts...)[0]))
	return h
}

// given turns files of rows into what a reader gives.
func given(files [][]row, keyed bool) (all [][]difference.Row) {
	for f, rows := range files {
		var of []difference.Row
		for n, r := range rows {
			at := difference.Row{Of: hash(r.key, "=", r.value), At: difference.Place{File: uint32(f), Row: uint32(n)}}
			if at.Key = at.Of; keyed {
				at.Key = hash(r.key)
			}
			of = append(of, at)
		}
		all = append(all, of)
	}
	return all
}

// TestTally: whatever lies in which file, and whatever fits into memory, what is left is
// what two multisets differ in, and the samples are rows of them.
func TestTally(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) row {
			return row{rapid.IntRange(0, 4).Draw(t, "key"), rapid.IntRange(0, 2).Draw(t, "value")}
		}), 0, 12)
		was, is := rapid.SliceOfN(rows, 0, 3).Draw(t, "was"), rapid.SliceOfN(rows, 0, 3).Draw(t, "is")
		keyed, samples := rapid.Bool().Draw(t, "keyed"), rapid.IntRange(0, 4).Draw(t, "samples")
		file := &scratch{}
		tally := difference.Tally{Keyed: keyed, Split: uint32(len(was)), Options: difference.Options{Samples: samples}}
		if rapid.Bool().Draw(t, "spills") {
			tally.Memory, tally.Scratch = 200, func() (difference.Scratch, error) { return file, nil }
		}
		files := append(slices.Clone(was), is...)
		total := 0
		for _, part := range given(files, keyed) {
			total += len(part)
			for len(part) > 0 {
				n := rapid.IntRange(1, len(part)).Draw(t, "batch")
				if err := tally.Add(part[:n]); err != nil {
					t.Fatal(err)
				}
				part = part[n:]
			}
		}
		if total >= 5 && tally.Scratch != nil && file.Len() == 0 || file.Len()%40 != 0 {
			t.Fatalf("of %d rows %d bytes went to the scratch file", total, file.Len())
		}
		got, err := tally.Finish(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// By brute force: cancel what both have, then pair by key.
		balance := map[row]int{}
		for i, part := range files {
			for _, r := range part {
				if i < len(was) {
					balance[r]--
				} else {
					balance[r]++
				}
			}
		}
		went, came := map[int]int{}, map[int]int{}
		var want difference.Counts
		for r, n := range balance {
			if n < 0 {
				went[r.key] -= n
				want.Removed += int64(-n)
			} else {
				came[r.key] += n
				want.Added += int64(n)
			}
		}
		repeated := int64(0)
		if keyed {
			for key := range 5 {
				n := int64(min(went[key], came[key]))
				want.Changed, want.Added, want.Removed = want.Changed+n, want.Added-n, want.Removed-n
				if max(went[key], came[key]) > 1 {
					repeated++
				}
			}
		}
		var sum difference.Counts
		for _, c := range got.By {
			sum.Added, sum.Removed, sum.Changed = sum.Added+c.Added, sum.Removed+c.Removed, sum.Changed+c.Changed
		}
		if d := cmp.Diff(want, sum); d != "" || got.Repeated != repeated || got.Rows != int64(total) {
			t.Fatalf("%s; repeated %d, want %d; rows %d, want %d", d, got.Repeated, repeated, got.Rows, total)
		}
		for kind, all := range map[string]struct {
			places []difference.Place
			of     int64
			sign   int
		}{"added": {got.Added, want.Added, 1}, "removed": {got.Removed, want.Removed, -1}} {
			if len(all.places) != int(min(all.of, int64(samples))) {
				t.Fatalf("%d samples %s of %d, at most %d", len(all.places), kind, all.of, samples)
			}
			for _, p := range all.places {
				if r := files[p.File][p.Row]; balance[r]*all.sign <= 0 {
					t.Fatalf("%v is said to be %s", r, kind)
				}
			}
		}
		for _, p := range got.Changed {
			a, b := files[p.Was.File][p.Was.Row], files[p.Is.File][p.Is.Row]
			if a.key != b.key || a.value == b.value || balance[a] >= 0 || balance[b] <= 0 {
				t.Fatalf("%v is said to have changed into %v", a, b)
			}
		}
		if err := tally.Close(); err != nil || file.Len() > 0 && !file.closed {
			t.Fatalf("%v, closed %t", err, file.closed)
		}
	})
}

// TestScratchFails: a full disk is an error that says what was done, and no difference.
func TestScratchFails(t *testing.T) {
	full := errors.New("no space left")
	for _, open := range []func() (difference.Scratch, error){
		func() (difference.Scratch, error) { return nil, full },
		func() (difference.Scratch, error) { return &scratch{fails: full}, nil },
	} {
		tally := difference.Tally{Options: difference.Options{Memory: 1, Scratch: open}}
		err := tally.Add(given([][]row{{{1, 1}}}, false)[0])
		if !errors.Is(err, full) || !strings.Contains(err.Error(), "scratch file") {
			t.Error(err)
		}
	}
}
