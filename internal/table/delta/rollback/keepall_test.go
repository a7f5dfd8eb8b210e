package rollback_test

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/rollback"
	"breakwater/internal/table/delta/scan"

	"github.com/google/go-cmp/cmp"
)

// TestKeepsInEveryTable: of what engines wrote, each single commit can be kept, or is
// refused by name. What is kept comes to the digest of the target and that of the version,
// less that of the version before it; and what only grows does not fall.
func TestKeepsInEveryTable(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	kept, refused := map[string]int{}, map[string]int{}
	for _, truth := range deltatest.All(t) {
		if truth.Name == "clone_shallow" { // needs its source beside it
			continue
		}
		var readable []int64
		for _, v := range truth.Versions {
			if v.Readable {
				readable = append(readable, v.Version)
			}
		}
		for range 6 {
			target, head := readable[r.IntN(len(readable))], readable[r.IntN(len(readable))]
			if target >= head {
				continue
			}
			keep := target + 1 + r.Int64N(head-target)
			told := fmt.Sprintf("%s from %d to %d, keeping %d", truth.Name, head, target, keep)
			s := load(t, truth.Name)
			headAt(s, truth.Name, head)
			l := open(t, s, truth.Name)
			p, err := rollback.New(t.Context(), s, l, target, keep)
			if err != nil {
				if !errors.Is(err, table.ErrRefused) {
					t.Errorf("%s: %v", told, err)
				}
				refused[truth.Name]++
				continue
			}
			at := func(l *delta.Log, v int64) *delta.Snapshot {
				snap, err := l.Snapshot(t.Context(), v)
				if err != nil {
					t.Fatalf("%s: %v", told, err)
				}
				return snap
			}
			sum := func(l *delta.Log, v int64) table.Digest {
				d, err := scan.Sum(t.Context(), s, at(l, v))
				if err != nil {
					t.Fatalf("%s: version %d: %v", told, v, err)
				}
				return d
			}
			want := sum(l, target)
			if len(p.Replays) > 0 {
				if !slices.Contains(readable, keep-1) || !slices.Contains(readable, keep) {
					continue
				}
				want = scan.Plus(want, less(sum(l, keep), sum(l, keep-1)))
				kept[truth.Name]++
			}
			was := at(l, head)
			v := head
			if !p.Empty() {
				v = commit(t, s, p, "a")
			}
			now := open(t, s, truth.Name)
			if got := sum(now, v); got != want {
				t.Errorf("%s: it reads as %v, want %v", told, got, want)
			}
			for _, look := range []table.Look{
				rollback.SameFiles(t.Context(), now, at(now, target), p.Replays, at(now, v)),
				rollback.SameRows(t.Context(), s, now, head, at(now, target), p.Replays, at(now, v), nil),
				rollback.MarksHold(t.Context(), now, head, at(now, target), at(now, v)),
			} {
				if !look.OK || look.Err != nil {
					t.Errorf("%s: %+v", told, look)
				}
			}
			if d := cmp.Diff(was.Txns, at(now, v).Txns); d != "" {
				t.Errorf("%s: transaction identifiers changed: %s", told, d)
			}
		}
	}
	t.Logf("kept in %v, refused in %v", kept, refused)
	if len(kept) < 8 || len(refused) < 4 {
		t.Errorf("kept in %d tables, refused in %d", len(kept), len(refused))
	}
}

// less takes one digest from another, modulo 2^256.
func less(a, b table.Digest) table.Digest {
	x, y := new(big.Int).SetBytes(a.Sum[:]), new(big.Int).SetBytes(b.Sum[:])
	x.Sub(x, y).Mod(x, new(big.Int).Lsh(big.NewInt(1), 256))
	d := table.Digest{Rows: a.Rows - b.Rows}
	x.FillBytes(d.Sum[:])
	return d
}
