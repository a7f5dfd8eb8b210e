package delta

import (
	"hash/maphash"
	"iter"
	"slices"
	"sync"
)

// fileSet is the live files of a snapshot, by place and deletion vector. It holds
// a million of them in little more than their own size: a hash table of numbers
// beside a list, since a map of them all costs more than reading them.
type fileSet struct {
	fileList
	hashes []uint64 // of each file's place
	free   []uint32
	slots  []uint32 // open addressing: a file's number and one, or 0, or gone
	used   int      // slots that are not 0
	seed   maphash.Seed
}

const gone = ^uint32(0)

// newFileSet takes over files that may be a checkpoint's. It reports the first
// logical file that occurs twice.
func newFileSet(files fileList) (*fileSet, *Add) {
	n := len(files.files)
	s := &fileSet{fileList: files, seed: maphash.MakeSeed(), hashes: make([]uint64, n)}
	s.slots = make([]uint32, slotsFor(n))
	s.used = n
	var twice [2]int // the file and one, in each ring
	beside(func() { s.hashAll(0, n/2) }, func() { s.hashAll(n/2, n) })
	beside(func() { twice[0] = s.linkAll(0) }, func() { twice[1] = s.linkAll(s.ring()) })
	first := twice[0]
	if second := twice[1]; first == 0 || second > 0 && second < first {
		first = second
	}
	if first > 0 {
		a := s.at(first - 1)
		return nil, &a
	}
	return s, nil
}

func (s *fileSet) clone() *fileSet {
	c := *s
	c.fileList = s.fileList.clone()
	c.hashes, c.free, c.slots = slices.Clone(s.hashes), slices.Clone(s.free), slices.Clone(s.slots)
	return &c
}

// beside does two things at once.
func beside(f, g func()) {
	var other sync.WaitGroup
	other.Go(g)
	f()
	other.Wait()
}

func (s *fileSet) hashAll(from, to int) {
	for i := from; i < to; i++ {
		s.hashes[i] = s.hash(s.place(i))
	}
}

// linkAll makes the files findable that belong into the ring that begins at a
// slot. It ends at one that is there already, and gives its number and one.
func (s *fileSet) linkAll(ring int) int {
	mask := s.ring() - 1
	for i, h := range s.hashes {
		slot := s.first(h)
		if slot&^mask != ring {
			continue
		}
		for ; s.slots[slot] != 0; slot = s.next(slot) {
			if n := int(s.slots[slot] - 1); s.hashes[n] == h && s.place(n) == s.place(i) && s.vector(n).same(s.vector(i)) {
				return i + 1
			}
		}
		s.slots[slot] = uint32(i) + 1
	}
	return 0
}

// first is the slot to look into for a hash.
func (s *fileSet) first(h uint64) int { return int(h & uint64(len(s.slots)-1)) }

// next is the slot to look into after one. Many slots are two rings, so that two
// goroutines can fill them; of few slots, one half could be full.
func (s *fileSet) next(slot int) int {
	ring := s.ring()
	return slot&^(ring-1) | (slot+1)&(ring-1)
}

func (s *fileSet) ring() int {
	if len(s.slots) < 4096 {
		return len(s.slots)
	}
	return len(s.slots) / 2
}

// slotsFor is a power of two that leaves half of the slots free.
func slotsFor(n int) int {
	size := 16
	for size < 2*n {
		size *= 2
	}
	return size
}

func (s *fileSet) hash(p place) uint64 {
	h := maphash.String(s.seed, p.key)
	if p.bucket != "" {
		h ^= 31 * maphash.String(s.seed, p.bucket)
	}
	return h
}

// find looks for a logical file's slot.
func (s *fileSet) find(h uint64, p place, v *DeletionVector) (slot int, ok bool) {
	for slot := range s.hashed(h) {
		if i := int(s.slots[slot] - 1); s.place(i) == p && s.vector(i).same(v) {
			return slot, true
		}
	}
	return 0, false
}

// hashed yields the slots of the files with a hash.
func (s *fileSet) hashed(h uint64) iter.Seq[int] {
	return func(yield func(int) bool) {
		for slot := s.first(h); s.slots[slot] != 0; slot = s.next(slot) {
			if n := s.slots[slot]; n != gone && s.hashes[n-1] == h && !yield(slot) {
				return
			}
		}
	}
}

// link makes a file findable.
func (s *fileSet) link(i uint32) {
	slot := s.first(s.hashes[i])
	for s.slots[slot] != 0 {
		slot = s.next(slot)
	}
	s.slots[slot] = i + 1
	s.used++
}

// grow makes room for one more.
func (s *fileSet) grow() {
	if 4*(s.used+1) < 3*len(s.slots) {
		return
	}
	s.slots, s.used = make([]uint32, slotsFor(2*s.len()+1)), 0
	for i := range s.files {
		if s.place(i).key != "" {
			s.link(uint32(i))
		}
	}
}

// put adds a logical file, or replaces what is known of it.
func (s *fileSet) put(a Add) {
	h := s.hash(a.at)
	if slot, ok := s.find(h, a.at, a.Vector); ok {
		s.set(int(s.slots[slot]-1), a)
		return
	}
	s.grow()
	i := uint32(len(s.files))
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
		s.set(int(i), a)
		s.hashes[i] = h
	} else {
		s.add(a)
		s.hashes = append(s.hashes, h)
	}
	s.link(i)
}

// remove takes a logical file away, if it is there.
func (s *fileSet) remove(id fileID) {
	for slot := range s.hashed(s.hash(id.place)) {
		i := s.slots[slot] - 1
		if s.place(int(i)) == id.place && s.vector(int(i)).ID() == id.vector {
			s.slots[slot] = gone
			s.clear(int(i))
			s.free = append(s.free, i)
			return
		}
	}
}

// len is how many logical files there are.
func (s *fileSet) len() int { return len(s.files) - len(s.free) }

// all yields them in no order, each until the next one.
func (s *fileSet) all() iter.Seq[*Add] {
	return func(yield func(*Add) bool) {
		var a Add
		for i := range s.files {
			if a = s.at(i); a.at.key != "" && !yield(&a) {
				return
			}
		}
	}
}

// numbers are the files' numbers for [fileList.at], in no order.
func (s *fileSet) numbers() []int {
	out := make([]int, 0, s.len())
	for i := range s.files {
		if s.place(i).key != "" {
			out = append(out, i)
		}
	}
	return out
}

// double finds a file that is live under two deletion vectors, or under one and
// none.
func (s *fileSet) double() (a, b *Add) {
	for i := range s.files {
		if s.vector(i) == nil {
			continue
		}
		for slot := range s.hashed(s.hashes[i]) {
			if j := int(s.slots[slot] - 1); j != i && s.place(j) == s.place(i) {
				one, two := s.at(i), s.at(j)
				return &one, &two
			}
		}
	}
	return nil, nil
}
