package delta

import (
	"iter"
	"slices"
	"sync"
)

// fileSet is the live files of a snapshot, by place and deletion vector. It holds
// a million of them in little more than their own size: a hash table of numbers
// beside a list, since a map of them all costs more than reading them.
type fileSet struct {
	fileList
	free  []int
	slots []uint32 // open addressing: a file's number and one, or 0, or gone
	used  int      // slots that are not 0
}

const gone = ^uint32(0)

// newFileSet takes over files that may be a checkpoint's. It reports the first
// logical file that occurs twice.
func newFileSet(files fileList) (*fileSet, *Add) {
	s := &fileSet{fileList: files, used: len(files.files)}
	s.slots = make([]uint32, slotsFor(len(files.files)))
	var twice [2]int // the file and one, in each ring
	if s.ring() == len(s.slots) {
		twice[0] = s.linkAll(0)
	} else {
		beside(func() { twice[0] = s.linkAll(0) }, func() { twice[1] = s.linkAll(s.ring()) })
	}
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
	c.fileList, c.free, c.slots = s.fileList.clone(), slices.Clone(s.free), slices.Clone(s.slots)
	return &c
}

// beside does two things at once.
func beside(f, g func()) {
	var other sync.WaitGroup
	other.Go(g)
	f()
	other.Wait()
}

// linkAll makes the files findable that belong into the ring that begins at a
// slot. It ends at one that is there already, and gives its number and one.
func (s *fileSet) linkAll(ring int) int {
	mask := s.ring() - 1
	for i := range s.files {
		h := s.files[i].hash
		at := s.first(h)
		if at&^mask != ring {
			continue
		}
		for ; s.slots[at] != 0; at = s.next(at) {
			if n := int(s.slots[at] - 1); s.files[n].hash == h && s.place(n) == s.place(i) && s.vector(n).same(s.vector(i)) {
				return i + 1
			}
		}
		s.slots[at] = uint32(i) + 1
	}
	return 0
}

// first is the slot to look into for a hash.
func (s *fileSet) first(h uint32) int { return int(h) & (len(s.slots) - 1) }

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

// find looks for a logical file's number, and the slot that holds it.
func (s *fileSet) find(p place, vector string) (i, at int, ok bool) {
	for i, at := range s.hashed(p.hash()) {
		if s.place(i) == p && s.vector(i).ID() == vector {
			return i, at, true
		}
	}
	return 0, 0, false
}

// hashed yields the numbers of the files with a hash, and their slots.
func (s *fileSet) hashed(h uint32) iter.Seq2[int, int] {
	return func(yield func(i, at int) bool) {
		for at := s.first(h); s.slots[at] != 0; at = s.next(at) {
			if n := s.slots[at]; n != gone && s.files[n-1].hash == h && !yield(int(n-1), at) {
				return
			}
		}
	}
}

// link makes a file findable.
func (s *fileSet) link(i int) {
	at := s.first(s.files[i].hash)
	for s.slots[at] != 0 {
		at = s.next(at)
	}
	s.slots[at] = uint32(i) + 1
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
			s.link(i)
		}
	}
}

// put adds a logical file, or replaces what is known of it.
func (s *fileSet) put(a Add) {
	if i, _, ok := s.find(a.at, a.Vector.ID()); ok {
		s.set(i, a)
		return
	}
	s.grow()
	i := len(s.files)
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
		s.set(i, a)
	} else {
		s.add(a)
	}
	s.link(i)
}

// remove takes a logical file away, if it is there.
func (s *fileSet) remove(id fileID) {
	if i, at, ok := s.find(id.place, id.vector); ok {
		s.slots[at] = gone
		s.clear(i)
		s.free = append(s.free, i)
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
		for j := range s.hashed(s.files[i].hash) {
			if j != i && s.place(j) == s.place(i) {
				one, two := s.at(i), s.at(j)
				return &one, &two
			}
		}
	}
	return nil, nil
}
