package listing_test

import (
	"context"
	"hash/maphash"
	"testing"
	"testing/synctest"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/listing"
	"breakwater/internal/objectstore/madeup"
)

var seed = maphash.MakeSeed()

// sum counts keys, and sums up what they are, in any order.
type sum struct {
	Keys int64
	Hash uint64
}

func look(_ context.Context, keys []listing.Key) (s sum, _ error) {
	for _, k := range keys {
		s.Keys++
		s.Hash += maphash.String(seed, k.Name())
	}
	return s, nil
}

func add(s *sum, part sum) { s.Keys, s.Hash = s.Keys+part.Keys, s.Hash+part.Hash }

func of(keys madeup.Keys) (s sum) {
	for i := range keys.N {
		add(&s, sum{1, maphash.String(seed, keys.Key(i))})
	}
	return s
}

// However the keys lie, and nobody tells how, the requests are shared out.
func TestShared(t *testing.T) {
	const n, atOnce, latency = 2_000_000, 4, 100 * time.Millisecond
	for name, keys := range madeup.Shapes(n) {
		t.Run(name, func(t *testing.T) {
			want := of(keys)
			synctest.Test(t, func(t *testing.T) {
				s := &madeup.Store{Keys: keys, Latency: latency, Load: &madeup.Load{}}
				begun := time.Now()
				got, err := listing.Walk[sum]{Buckets: []objectstore.Bucket{objectstore.Bind(s, "lake")}, Look: look, Add: add, AtOnce: atOnce}.Do(t.Context(), listing.Below[sum]("lake/"))
				if err != nil || got != want {
					t.Fatalf("%d keys of %d, or others; %v", got.Keys, want.Keys, err)
				}
				ideal := time.Duration(n/1000) * latency / atOnce
				took := time.Since(begun)
				t.Logf("%.2f of the ideal; %d pages, %d others, %d at once", took.Seconds()/ideal.Seconds(), s.Load.Pages.Load(), s.Load.Few.Load(), s.Load.AtMost.Load())
				if took > ideal*12/10 || s.Load.AtMost.Load() > atOnce {
					t.Errorf("%s, and with %d at once at best %s", took, atOnce, ideal)
				}
			})
		})
	}
}
