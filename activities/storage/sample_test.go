package storage

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/madeup"
)

// A sample of very many objects is drawn by listings side by side, is the same whoever
// comes first, and another one for another run.
func TestSample(t *testing.T) {
	const latency = 100 * time.Millisecond
	keys := madeup.Shapes(400_000)["a partition with half"]
	draw := func(run string, slow time.Duration) (names []string) {
		synctest.Test(t, func(t *testing.T) {
			p := &bucketPair{c: action.Call[action.None]{Request: action.Request{
				Run: action.Run{FirstRun: run}, Progress: func(int64, int64, string) {},
			}}}
			p.target.Bucket = objectstore.Bind(&madeup.Store{Keys: keys, Latency: slow}, "copy")
			begun := time.Now()
			drawn, err := p.sample(t.Context(), scope{name: "all", prefixes: []string{"lake/orders/", "lake/none/"}})
			if err != nil {
				t.Fatal(err)
			}
			if took, one := time.Since(begun), time.Duration(keys.N/1000)*slow; took > one/3 {
				t.Errorf("it took %s, and one page after the other takes %s", took, one)
			}
			for _, o := range drawn {
				names = append(names, o.Key)
			}
		})
		return names
	}
	one := draw("run", latency)
	if len(one) != sampled || !slices.Contains(one, keys.Key(0)) || !slices.Contains(one, keys.Key(keys.N-1)) {
		t.Errorf("%d are drawn, and of one time the first and the last key are among them: %q", len(one), one)
	}
	half := 0
	for _, key := range one {
		if key > "lake/orders/date=2024-0700/" && key < "lake/orders/date=2024-0701/" {
			half++
		}
	}
	if half < sampled/4 || half > sampled*3/4 {
		t.Errorf("%d of %d are of the partition with half of all", half, len(one))
	}
	if again := draw("run", 3*latency); !slices.Equal(again, one) {
		t.Errorf("%q, and again %q", one, again)
	}
	if other := draw("another run", latency); slices.Equal(other, one) {
		t.Errorf("%q for another run, too", other)
	}
}
