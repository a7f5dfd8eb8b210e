package delta

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// A set of few files and one of many, which has two rings of slots, hold what a
// map holds, whatever is taken out and put in.
func TestFileSet(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 500, 20_000} {
		file := func(i int) Add {
			return Add{Path: fmt.Sprint(i), Size: int64(i), at: place{key: fmt.Sprintf("t/%d", i)}}
		}
		var adds []Add
		want := map[string]int64{}
		for i := range n {
			adds = append(adds, file(i))
			want[adds[i].at.key] = int64(i)
		}
		s, twice := newFileSet(adds)
		if twice != nil {
			t.Fatalf("%d files: %s twice", n, twice.Path)
		}
		for range 3 * n {
			a := file(rand.IntN(2 * n))
			if rand.IntN(2) == 0 {
				s.remove(a.id())
				delete(want, a.at.key)
				continue
			}
			a.Size += 1_000_000
			s.put(a)
			want[a.at.key] = a.Size
		}
		if s.len() != len(want) {
			t.Errorf("%d files: %d in the set, %d in the map", n, s.len(), len(want))
		}
		for a := range s.all() {
			if size, ok := want[a.at.key]; !ok || size != a.Size {
				t.Fatalf("%d files: %+v", n, a)
			}
			delete(want, a.at.key)
		}
	}
}

// Of files that occur twice, the first that does so is named.
func TestFileSetNamesTheFirstTwice(t *testing.T) {
	for _, n := range []int{10, 20_000} {
		for range 20 {
			var adds []Add
			for i := range n {
				adds = append(adds, Add{at: place{key: fmt.Sprintf("t/%d", i)}})
			}
			again := 1 + rand.IntN(n-1)
			adds[again].at.key = adds[rand.IntN(again)].at.key
			for later := again + 1; later < n; later += n / 5 {
				adds[later].at.key = adds[0].at.key
			}
			if _, twice := newFileSet(adds); twice != &adds[again] {
				t.Fatalf("of %d files, number %d is the first that occurs twice; %+v was named", n, again, twice)
			}
		}
	}
}
