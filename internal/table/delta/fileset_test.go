package delta

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// listed is a list of files of the table t, as a checkpoint gives it: most of them
// by a text of all keys, and some with everything that they have.
func listed(adds []Add) fileList {
	l := fileList{prefix: len("t/"), values: []map[string]*string{nil}}
	var text strings.Builder
	for i, a := range adds {
		if i%5 == 3 {
			l.add(a)
			continue
		}
		from := text.Len()
		text.WriteString(a.at.key)
		l.files = append(l.files, file{size: a.Size, records: int32(a.Records), text: 1, from: uint32(from), length: uint16(len(a.at.key)), hash: a.at.hash()})
	}
	l.texts = []string{"another batch", text.String()}
	return l
}

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
		s, twice := newFileSet(listed(adds))
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
			if size, ok := want[a.at.key]; !ok || size != a.Size || "t/"+a.Path != a.at.key {
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
				adds = append(adds, Add{Path: fmt.Sprint(i), Size: int64(i), at: place{key: fmt.Sprintf("t/%d", i)}})
			}
			again := 1 + rand.IntN(n-1)
			same := rand.IntN(again)
			adds[again].Path, adds[again].at = adds[same].Path, adds[same].at
			for later := again + 1; later < n; later += n / 5 {
				adds[later].Path, adds[later].at = adds[0].Path, adds[0].at
			}
			if _, twice := newFileSet(listed(adds)); twice == nil || twice.Size != int64(again) {
				t.Fatalf("of %d files, number %d is the first that occurs twice; %+v was named", n, again, twice)
			}
		}
	}
}
