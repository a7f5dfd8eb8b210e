package compare_test

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/compare"
	"breakwater/internal/objectstore/listing"
	"breakwater/internal/objectstore/madeup"
)

// simulated compares made-up keys with their copy, of which it lacks one, and holds the
// time that passes for the stores against what the pages alone would take, were there
// nothing to find out.
func simulated(t *testing.T, keys madeup.Keys, atOnce int) {
	const latency = 150 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		missing := keys.N / 3
		load := &madeup.Load{}
		source := &madeup.Store{Keys: keys, Latency: latency, Load: load}
		target := &madeup.Store{Latency: latency, Load: load, Keys: madeup.Keys{N: keys.N - 1, Key: func(i int64) string {
			if i >= missing {
				i++
			}
			return keys.Key(i)
		}}}
		var most, last atomic.Int64
		begun := time.Now()
		d, err := compare.Comparison{
			Source: objectstore.Bind(source, "lake"), Target: objectstore.Bind(target, "copy"), Now: time.Now(), AtOnce: atOnce,
			Progress: func(s compare.State) {
				last.Store(s.Keys)
				if s.Keys%1_000_000 < 1000 {
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					most.Store(max(most.Load(), int64(m.HeapAlloc)))
				}
			},
		}.Below(t.Context(), "lake/")
		took := time.Since(begun)
		if err != nil || d.Objects != keys.N || d.Of(compare.Passed).Count != 1 || len(d.Fates) != 1 || d.Extra.Count > 0 || last.Load() != keys.N {
			t.Fatalf("%d of %d objects, %+v, %v", d.Objects, keys.N, d.Fates, err)
		}
		ideal := time.Duration(2*keys.N/1000) * latency / time.Duration(atOnce)
		t.Logf("%d keys a side, %d requests at once of %s: %s, %.3f of the ideal; %d pages, %d other requests; at most %d MB of memory", keys.N, atOnce, latency,
			took.Round(time.Second), took.Seconds()/ideal.Seconds(), load.Pages.Load(), load.Few.Load(), most.Load()>>20)
		if took > ideal*12/10 {
			t.Errorf("%s, and with %d at once at best %s", took, atOnce, ideal)
		}
		if n := load.AtMost.Load(); n > int64(atOnce) {
			t.Errorf("%d requests at once", n)
		}
	})
}

// A comparison takes as long as its pages, shared out among the requests that may be
// under way, however the keys lie. The whole of it, 100,000,000 objects, is in
// make bench.
func TestSpeedOfComparison(t *testing.T) {
	n, atOnce := int64(2_000_000), 8
	if os.Getenv("BREAKWATER_BENCH") != "" {
		n, atOnce = 100_000_000, listing.AtOnce
	}
	for name, keys := range madeup.Shapes(n) {
		t.Run(name, func(t *testing.T) { simulated(t, keys, atOnce) })
	}
}
