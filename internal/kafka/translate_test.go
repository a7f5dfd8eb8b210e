package kafka

import (
	"cmp"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// model is a partition and its mirror: which offsets hold data, in both.
type model struct {
	up, down []int64 // offsets of the same records, rising
	end      int64   // of the target's log
	syncs    Syncs
}

// drawModel makes a mirror with gaps on both sides, as markers, aborted and
// compacted records leave them, and syncs for any of its records.
func drawModel(t *rapid.T) model {
	var m model
	up, down := rapid.Int64Range(0, 5).Draw(t, "source start"), rapid.Int64Range(0, 5).Draw(t, "target start")
	var raw []OffsetSync
	for range rapid.IntRange(1, 60).Draw(t, "records") {
		up += rapid.Int64Range(0, 3).Draw(t, "source gap")
		down += rapid.Int64Range(0, 3).Draw(t, "target gap")
		m.up, m.down = append(m.up, up), append(m.down, down)
		if rapid.IntRange(0, 3).Draw(t, "sync") == 0 {
			raw = append(raw, OffsetSync{Partition{"orders", 0}, up, down})
		}
		up++
		down++
	}
	m.end = down + rapid.Int64Range(0, 2).Draw(t, "markers at the end")
	m.syncs = NewSyncs(raw...)
	return m
}

// truth is the target offset of the first record at or after a source offset:
// whoever starts later misses it.
func (m model) truth(upstream int64) int64 {
	i, _ := slices.BinarySearchFunc(m.up, upstream, cmp.Compare[int64])
	if i == len(m.up) {
		return m.end
	}
	return m.down[i]
}

func TestTranslateNeverSkips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		last := int64(-1)
		for offset := int64(0); offset <= m.up[len(m.up)-1]+3; offset++ {
			got, exact, ok := m.syncs.Translate(offset)
			if !ok {
				if len(m.syncs) > 0 && offset >= m.syncs[0].Upstream {
					t.Fatalf("%d is not before the oldest sync %+v, but has no translation", offset, m.syncs[0])
				}
				continue
			}
			if len(m.syncs) == 0 || offset < m.syncs[0].Upstream {
				t.Fatalf("%d is before the oldest sync, but is translated to %d", offset, got)
			}
			truth := m.truth(offset)
			if got > truth {
				t.Fatalf("%d is translated to %d, the first unread record is at %d: records are skipped", offset, got, truth)
			}
			if exact && got != truth {
				t.Fatalf("%d is translated to %d and called exact, the first unread record is at %d", offset, got, truth)
			}
			if got < last {
				t.Fatalf("%d is translated to %d, a lower one to %d", offset, got, last)
			}
			last = got
		}
	})
}

func TestTranslate(t *testing.T) {
	s := NewSyncs(OffsetSync{Upstream: 10, Downstream: 15}, OffsetSync{Upstream: 20, Downstream: 27})
	for _, tc := range []struct {
		at, want  int64
		exact, ok bool
	}{
		{0, 0, false, false}, {9, 0, false, false},
		{10, 15, true, true}, {11, 16, false, true}, {19, 16, false, true},
		{20, 27, true, true}, {21, 28, false, true}, {1000, 28, false, true},
	} {
		if got, exact, ok := s.Translate(tc.at); got != tc.want || exact != tc.exact || ok != tc.ok {
			t.Errorf("Translate(%d) = %d, %t, %t; want %d, %t, %t", tc.at, got, exact, ok, tc.want, tc.exact, tc.ok)
		}
	}
	if _, _, ok := (Syncs)(nil).Translate(5); ok {
		t.Error("something was translated without syncs")
	}
}

func TestNewSyncs(t *testing.T) {
	sync := func(up, down int64) OffsetSync { return OffsetSync{Partition{"orders", 0}, up, down} }
	for name, tc := range map[string]struct{ in, want []OffsetSync }{
		"rising":                         {[]OffsetSync{sync(1, 2), sync(3, 5)}, []OffsetSync{sync(1, 2), sync(3, 5)}},
		"the same again":                 {[]OffsetSync{sync(1, 2), sync(1, 2)}, []OffsetSync{sync(1, 2)}},
		"the source topic was made anew": {[]OffsetSync{sync(1, 2), sync(9, 9), sync(0, 12)}, []OffsetSync{sync(0, 12)}},
		"copied again":                   {[]OffsetSync{sync(1, 2), sync(9, 9), sync(9, 20)}, []OffsetSync{sync(9, 20)}},
		"the target topic was made anew": {[]OffsetSync{sync(1, 2), sync(9, 9), sync(10, 0)}, []OffsetSync{sync(10, 0)}},
		"none":                           {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := gocmp.Diff(Syncs(tc.want), NewSyncs(tc.in...)); diff != "" {
				t.Errorf("other syncs are kept (-want +got):\n%s", diff)
			}
		})
	}
}
