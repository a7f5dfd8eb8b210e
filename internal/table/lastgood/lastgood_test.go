package lastgood_test

import (
	"context"
	"errors"
	"math/bits"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"breakwater/internal/table"
	"breakwater/internal/table/lastgood"
)

// world answers as a pattern says, and counts.
type world struct {
	good  map[int64]bool
	asked map[int64]int
	fails map[int64]error
}

func (w *world) ask(_ context.Context, v int64) (bool, error) {
	w.asked[v]++
	return w.good[v], w.fails[v]
}

// of is a world of versions 0, 1, …: + passes, - fails.
func of(pattern string) (*world, []int64) {
	w := &world{good: map[int64]bool{}, asked: map[int64]int{}, fails: map[int64]error{}}
	var all []int64
	for i, c := range pattern {
		w.good[int64(i)] = c == '+'
		all = append(all, int64(i))
	}
	return w, all
}

func at(v int64) *int64 { return &v }

func runs(all ...int64) (out []table.Range) {
	for i := 0; i < len(all); i += 2 {
		out = append(out, table.Range{First: all[i], Last: all[i+1]})
	}
	return out
}

func TestSearch(t *testing.T) {
	island := func(first, last int64, good bool) lastgood.Island {
		return lastgood.Island{Range: table.Range{First: first, Last: last}, Good: good}
	}
	for name, tc := range map[string]struct {
		pattern string
		q       lastgood.Question
		want    lastgood.Answer
		err     error
		says    string
	}{
		"the last one":                {"++++-", lastgood.Question{}, lastgood.Answer{Good: 3, Bad: 4, Asked: 4, Scanned: runs(2, 4)}, nil, ""},
		"all scanned":                 {"++------", lastgood.Question{Scan: 9}, lastgood.Answer{Good: 1, Bad: 2, Asked: 8, Scanned: runs(0, 7)}, nil, ""},
		"good again later":            {"+++---+-", lastgood.Question{Scan: 9}, lastgood.Answer{Good: 6, Bad: 7, Asked: 8, Scanned: runs(0, 7), Islands: []lastgood.Island{island(3, 5, false)}}, nil, ""},
		"bad before":                  {"+-++----", lastgood.Question{Scan: 9}, lastgood.Answer{Good: 3, Bad: 4, Asked: 8, Scanned: runs(0, 7), Islands: []lastgood.Island{island(1, 1, false)}}, nil, ""},
		"the first is bad too":        {"-+++++--", lastgood.Question{Scan: 3}, lastgood.Answer{Good: 5, Bad: 6, Asked: 5, Scanned: runs(4, 7), Islands: []lastgood.Island{island(0, 0, false)}}, nil, ""},
		"a version that is named bad": {"++--++", lastgood.Question{Bad: at(3)}, lastgood.Answer{Good: 1, Bad: 2, Asked: 4, Scanned: runs(0, 3)}, nil, ""},
		"since":                       {"-----+++----", lastgood.Question{Since: at(6)}, lastgood.Answer{Good: 7, Bad: 8, Asked: 4, Scanned: runs(11, 11, 6, 8)}, nil, ""},
		"proposed, and it is":         {"+++++++-----", lastgood.Question{Proposed: []int64{7}}, lastgood.Answer{Good: 6, Bad: 7, Asked: 3, Scanned: runs(11, 11, 6, 7)}, nil, ""},
		"one of several proposed":     {"+++++++-----", lastgood.Question{Proposed: []int64{9, 2, 7, 4}}, lastgood.Answer{Good: 6, Bad: 7, Asked: 4, Scanned: runs(11, 11, 6, 7)}, nil, ""},
		"proposed, mended, and bad again": {"+++---++-", lastgood.Question{Proposed: []int64{3}, Scan: 9},
			lastgood.Answer{Good: 2, Bad: 3, Asked: 9, Scanned: runs(0, 8), Islands: []lastgood.Island{island(6, 7, true)}}, nil, ""},

		"passes everywhere":       {"++++", lastgood.Question{}, lastgood.Answer{}, lastgood.ErrPasses, "version 3, the newest"},
		"passes where named bad":  {"++-+-", lastgood.Question{Bad: at(3)}, lastgood.Answer{}, lastgood.ErrPasses, "version 3, which is named"},
		"fails everywhere":        {"------", lastgood.Question{Scan: 9}, lastgood.Answer{}, lastgood.ErrFails, "fails at version 0, the oldest that can be read, and at version 5, and at 4 more versions between: ask what older versions pass"},
		"fails at both ends":      {"-+++--", lastgood.Question{}, lastgood.Answer{}, lastgood.ErrFails, "and at version 5: ask"},
		"fails before since":      {"++---", lastgood.Question{Since: at(2)}, lastgood.Answer{}, lastgood.ErrFails, "version 2 already"},
		"only one":                {"-", lastgood.Question{}, lastgood.Answer{}, lastgood.ErrFails, "no version before that can be read"},
		"none":                    {"", lastgood.Question{}, lastgood.Answer{}, lastgood.ErrOutside, "no version that can be read"},
		"outside":                 {"++-", lastgood.Question{Bad: at(7)}, lastgood.Answer{}, lastgood.ErrOutside, "version 7 is none of 3 versions that can be read, 0 to 2"},
		"proposed, and it is not": {"++++---", lastgood.Question{Proposed: []int64{2, 6}}, lastgood.Answer{}, lastgood.ErrNotProposed, "passes at version 3 and fails at 4, and none of the commits named, 2, 6, came between"},
	} {
		t.Run(name, func(t *testing.T) {
			w, all := of(tc.pattern)
			tc.q.Versions = all
			got, err := lastgood.Search(t.Context(), tc.q, w.ask)
			if !errors.Is(err, tc.err) || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("error %v, want %v and %q", err, tc.err, tc.says)
			}
			if err == nil {
				if d := cmp.Diff(tc.want, got); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

// TestSearchHoldsItsWord: whatever the pattern, what is said was asked, is true, and
// costs no more than it may.
func TestSearchHoldsItsWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{good: map[int64]bool{}, asked: map[int64]int{}}
		var all []int64
		v := rapid.Int64Range(0, 3).Draw(t, "first")
		for range rapid.IntRange(1, 60).Draw(t, "versions") {
			all = append(all, v)
			// Few changes, so that there are long runs, as there are.
			w.good[v] = len(all) > 1 && w.good[all[len(all)-2]] != (rapid.IntRange(0, 6).Draw(t, "turns") == 0) || len(all) == 1 && rapid.Bool().Draw(t, "begins good")
			v += 1 + max(0, rapid.Int64Range(-6, 2).Draw(t, "gap"))
		}
		q := lastgood.Question{Versions: all, Scan: rapid.IntRange(0, 70).Draw(t, "scan")}
		pick := func(name string) *int64 {
			if rapid.IntRange(0, 3).Draw(t, name+"?") > 0 {
				return nil
			}
			return at(rapid.SampledFrom(all).Draw(t, name))
		}
		q.Since, q.Bad = pick("since"), pick("bad")
		if rapid.IntRange(0, 2).Draw(t, "proposes") == 0 {
			q.Proposed = rapid.SliceOfN(rapid.Int64Range(0, v), 1, 5).Draw(t, "proposed")
		}
		got, err := lastgood.Search(t.Context(), q, w.ask)
		n := len(all)
		most := q.Scan + bits.Len(uint(n)) + 2
		if q.Proposed != nil {
			most += bits.Len(uint(len(q.Proposed))) + 1
		}
		if len(w.asked) > most {
			t.Fatalf("asked %d of %d versions, at most %d", len(w.asked), n, most)
		}
		for v, times := range w.asked {
			if times > 1 || !slices.Contains(all, v) {
				t.Fatalf("version %d was asked %d times", v, times)
			}
		}
		first, last := all[0], all[n-1]
		if q.Since != nil {
			first = *q.Since
		}
		if q.Bad != nil {
			last = *q.Bad
		}
		switch {
		case errors.Is(err, lastgood.ErrPasses):
			if !w.good[last] {
				t.Fatalf("%v, and it fails there", err)
			}
			return
		case errors.Is(err, lastgood.ErrFails):
			if w.good[last] || w.good[first] && first < last {
				t.Fatalf("%v, and it passes at %d", err, first)
			}
			for _, v := range all {
				if q.Scan >= n && q.Since == nil && v < last && w.good[v] {
					t.Fatalf("%v, and it passes at %d", err, v)
				}
			}
			return
		case errors.Is(err, lastgood.ErrNotProposed):
			if q.Proposed == nil {
				t.Fatal(err)
			}
			return
		case err != nil:
			t.Fatal(err)
		}
		i := slices.Index(all, got.Bad)
		if i < 1 || all[i-1] != got.Good || !w.good[got.Good] || w.good[got.Bad] || w.asked[got.Good] == 0 || w.asked[got.Bad] == 0 || got.Asked != len(w.asked) {
			t.Fatalf("%+v is not proven: asked %v", got, w.asked)
		}
		if q.Proposed != nil && !slices.ContainsFunc(q.Proposed, func(v int64) bool { return v > got.Good && v <= got.Bad }) {
			t.Fatalf("%+v is none of the proposed %v", got, q.Proposed)
		}
		for _, r := range got.Scanned {
			for _, v := range all {
				if r.Has(v) && w.asked[v] == 0 {
					t.Fatalf("%v is said to be scanned, and %d was not asked", r, v)
				}
			}
		}
		for _, v := range all {
			odd := w.asked[v] > 0 && v <= last && w.good[v] == (v >= got.Bad)
			said := slices.ContainsFunc(got.Islands, func(i lastgood.Island) bool { return i.Has(v) && i.Good == w.good[v] && w.asked[v] > 0 })
			if odd != said {
				t.Fatalf("version %d is odd: %t, said to be: %t, by %+v", v, odd, said, got)
			}
			if q.Scan >= n && q.Proposed == nil && v > got.Bad && v < last && w.good[v] {
				t.Fatalf("all was scanned, and %d passes after %+v", v, got)
			}
		}
	})
}

// TestTenThousand: a bisection, and the scan that was asked for.
func TestTenThousand(t *testing.T) {
	for _, bad := range []int64{1, 2, 17, 4096, 5000, 9998, 9999} {
		for _, scan := range []int{0, 20} {
			w, all := of(strings.Repeat("+", int(bad)) + strings.Repeat("-", 10_000-int(bad)))
			got, err := lastgood.Search(t.Context(), lastgood.Question{Versions: all, Scan: scan}, w.ask)
			if err != nil || got.Good != bad-1 || got.Bad != bad {
				t.Errorf("%+v, %v", got, err)
			}
			if most := 16 + scan; len(w.asked) > most { // 14 halvings, and both ends
				t.Errorf("bad since %d: asked %d versions, at most %d", bad, len(w.asked), most)
			}
		}
	}
}

// TestAskEnds: an error at either end, or between, is that error, with its version; and
// so is the end of the caller's patience.
func TestAskEnds(t *testing.T) {
	broken := errors.New("no column amount")
	for _, v := range []int64{0, 3, 7} {
		w, all := of("+++++---")
		w.fails[v] = broken
		_, err := lastgood.Search(t.Context(), lastgood.Question{Versions: all, Scan: 9}, w.ask)
		var at *lastgood.AskError
		if !errors.Is(err, broken) || !errors.As(err, &at) || at.Version != v {
			t.Errorf("%v; want that of version %d", err, v)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	w, all := of("+++++---")
	_, err := lastgood.Search(ctx, lastgood.Question{Versions: all}, func(ctx context.Context, v int64) (bool, error) {
		cancel()
		return w.ask(ctx, v)
	})
	if !errors.Is(err, context.Canceled) || len(w.asked) != 1 {
		t.Errorf("%v after %d questions", err, len(w.asked))
	}
}
