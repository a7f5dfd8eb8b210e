package recovery_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"breakwater/internal/recovery"
)

func TestInOrder(t *testing.T) {
	for name, tc := range map[string]struct {
		stamps []float64 // seconds; -1 for none
		want   []float64
		odd    []int64
	}{
		"in order":                     {[]float64{1, 2, 2, 3}, []float64{1, 2, 2, 3}, nil},
		"none":                         {nil, nil, nil},
		"clocks that differ":           {[]float64{10, 20, 19.5, 30}, []float64{10, 19.5, 19.5, 30}, nil},
		"one far ahead":                {[]float64{10, 5000, 20, 30, 40}, []float64{10, -1, 20, 30, 40}, []int64{1}},
		"one far behind":               {[]float64{10, 20, 0, 30, 40}, []float64{10, 20, -1, 30, 40}, []int64{2}},
		"the first is far ahead":       {[]float64{5000, 20, 30}, []float64{-1, 20, 30}, []int64{0}},
		"the newest is far behind":     {[]float64{10, 20, 30, 0}, []float64{10, 20, 30, -1}, []int64{3}},
		"the newest is a bit behind":   {[]float64{10, 20, 30, 29.5}, []float64{10, 20, 29.5, 29.5}, nil},
		"two that contradict":          {[]float64{5000, 20}, []float64{-1, 20}, []int64{0}},
		"undated ones are passed over": {[]float64{10, -1, 9.5, -1, 30}, []float64{9.5, -1, 9.5, -1, 30}, nil},
		"two ahead by a bit":           {[]float64{10, 20.8, 20.4, 20, 30, 40}, []float64{10, 20, 20, 20, 30, 40}, nil},
	} {
		vs := versionsAt(tc.stamps)
		odd := recovery.InOrder(vs, time.Second)
		var numbers []int64
		for _, v := range odd {
			numbers = append(numbers, v.Version)
		}
		if got, want := fmt.Sprint(stampsOf(vs)), fmt.Sprint(tc.want); got != want || fmt.Sprint(numbers) != fmt.Sprint(tc.odd) {
			t.Errorf("%s: %s without %v; want %s without %v", name, got, numbers, want, tc.odd)
		}
	}
}

func versionsAt(stamps []float64) []recovery.Version {
	var vs []recovery.Version
	for i, s := range stamps {
		v := recovery.Version{Version: int64(i)}
		if s >= 0 {
			v.CommittedAt = at(s)
		}
		vs = append(vs, v)
	}
	return vs
}

func stampsOf(vs []recovery.Version) []float64 {
	var out []float64
	for _, v := range vs {
		if v.CommittedAt.IsZero() {
			out = append(out, -1)
			continue
		}
		out = append(out, v.CommittedAt.Sub(noon).Seconds())
	}
	return out
}

// TestInOrderDoesNotDependOnTheStart: with clocks that differ by the skew at most, and
// single stamps that are far off, a version has the same time wherever reading began, and
// the times never contradict the order.
func TestInOrderDoesNotDependOnTheStart(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 5))
		var stamps []float64
		for i := range 40 {
			s := float64(100 + i + r.IntN(2)) // a second apart, the clocks too
			if r.IntN(20) == 0 {
				s = []float64{1, 9000}[r.IntN(2)]
			}
			stamps = append(stamps, s)
		}
		whole := versionsAt(stamps)
		odd := len(recovery.InOrder(whole, 2*time.Second))
		last := 0.0
		for i, s := range stampsOf(whole) {
			if s < 0 {
				odd--
				continue
			}
			if s < last || s != stamps[i] && (s-stamps[i] > 2 || stamps[i]-s > 2) {
				t.Fatalf("seed %d: version %d of %v is at %v, after %v", seed, i, stamps[i], s, last)
			}
			last = s
		}
		if odd != 0 {
			t.Fatalf("seed %d: %d odd ones are not told", seed, odd)
		}
		const from = 20
		part := versionsAt(stamps)[from:]
		recovery.InOrder(part, 2*time.Second)
		for i, s := range stampsOf(part) {
			if i < 3 || i >= len(part)-3 || slices.Min(stamps[from:from+3]) < 50 || slices.Max(stamps[from:from+3]) > 200 {
				continue // what has no neighbours yet, or none to go by
			}
			if was := stampsOf(whole)[from+i]; s != was && (s < 0 || was < 0 || s-was > 2 || was-s > 2) {
				t.Errorf("seed %d: version %d is at %v, and at %v read from %d on", seed, from+i, was, s, from)
			}
		}
	}
}
