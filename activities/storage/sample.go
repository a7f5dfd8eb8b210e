package storage

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/listing"
)

// sampled is how many objects of a table are read in part.
const sampled = 64

// sample is some objects below a prefix: the newest, the oldest, and those that come
// first in an order that a run gives to them, which is the same whoever lists what first.
type sample struct {
	oldest, newest objectstore.Object
	chosen         []ranked
}

type ranked struct {
	objectstore.Object
	rank uint64
}

// add takes an object in.
func (s *sample) add(o ranked) {
	if s.oldest.Key == "" || cmp.Or(o.LastModified.Compare(s.oldest.LastModified), strings.Compare(o.Key, s.oldest.Key)) < 0 {
		s.oldest = o.Object
	}
	if s.newest.Key == "" || cmp.Or(o.LastModified.Compare(s.newest.LastModified), strings.Compare(o.Key, s.newest.Key)) > 0 {
		s.newest = o.Object
	}
	at, _ := slices.BinarySearchFunc(s.chosen, o, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), strings.Compare(a.Key, b.Key))
	})
	if at < sampled-2 {
		s.chosen = slices.Insert(s.chosen[:min(len(s.chosen), sampled-3)], at, o)
	}
}

// merge takes another sample in.
func (s *sample) merge(o *sample) {
	for _, c := range o.chosen {
		s.add(c)
	}
	for _, end := range []objectstore.Object{o.oldest, o.newest} {
		if end.Key != "" && !slices.ContainsFunc(o.chosen, func(c ranked) bool { return c.Key == end.Key }) {
			s.add(ranked{end, ^uint64(0)})
		}
	}
}

// sample draws objects of every table of a scope at the target, by the run's id so that
// they can be drawn again.
func (p *bucketPair) sample(ctx context.Context, sc scope) ([]objectstore.Object, error) {
	prefixes := slices.Sorted(slices.Values(sc.prefixes))
	of := func(key string) string { // none lies within another
		i, there := slices.BinarySearch(prefixes, key)
		if !there {
			i--
		}
		return prefixes[max(i, 0)]
	}
	all, err := listing.Walk[map[string]*sample]{
		Buckets: []objectstore.Bucket{p.target.Bucket},
		Look: func(_ context.Context, keys []listing.Key) (map[string]*sample, error) {
			s, rank := &sample{}, fnv.New64a()
			for _, k := range keys {
				if now := k[0][0]; !now.DeleteMarker {
					rank.Reset()
					fmt.Fprint(rank, now.Key, "/", p.c.Run.FirstRun) // what comes last is mixed in the least
					now.VersionID = ""
					s.add(ranked{now.Object, rank.Sum64()})
				}
			}
			return map[string]*sample{of(keys[0].Name()): s}, nil
		},
		Add: func(sum *map[string]*sample, part map[string]*sample) {
			for prefix, s := range part {
				if *sum == nil {
					*sum = map[string]*sample{}
				}
				if (*sum)[prefix] == nil {
					(*sum)[prefix] = &sample{}
				}
				(*sum)[prefix].merge(s)
			}
		},
		Progress: func(s listing.State[map[string]*sample]) {
			p.c.Progress(s.Keys, 0, "objects of "+sc.name+" listed to draw samples")
		},
	}.Do(ctx, listing.Below[map[string]*sample](prefixes...))
	if err != nil {
		return nil, err
	}
	var drawn []objectstore.Object
	for _, prefix := range slices.Sorted(maps.Keys(all)) {
		s := all[prefix]
		for _, c := range s.chosen {
			drawn = append(drawn, c.Object)
		}
		for _, end := range []objectstore.Object{s.oldest, s.newest} {
			if end.Key != "" && !slices.ContainsFunc(drawn, func(o objectstore.Object) bool { return o.Key == end.Key }) {
				drawn = append(drawn, end)
			}
		}
	}
	return drawn, nil
}
