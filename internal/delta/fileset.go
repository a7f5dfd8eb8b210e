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
	adds   []Add    // free ones are zero
	hashes []uint64 // of each add's place
	free   []uint32
	slots  []uint32 // open addressing: an add's number and one, or 0, or gone
	used   int      // slots that are not 0
	seed   maphash.Seed
}

const gone = ^uint32(0)

// newFileSet takes over adds that may be a checkpoint's. It reports the first
// logical file that occurs twice.
func newFileSet(adds []Add) (*fileSet, *Add) {
	s := &fileSet{adds: adds, seed: maphash.MakeSeed(), hashes: make([]uint64, len(adds))}
	s.slots = make([]uint32, slotsFor(len(adds)))
	s.used = len(adds)
	var twice [2]int // the add and one, in each ring
	beside(func() { s.hashAll(0, len(adds)/2) }, func() { s.hashAll(len(adds)/2, len(adds)) })
	beside(func() { twice[0] = s.linkAll(0) }, func() { twice[1] = s.linkAll(s.ring()) })
	switch first, second := twice[0], twice[1]; {
	case first > 0 && (second == 0 || first < second):
		return nil, &adds[first-1]
	case second > 0:
		return nil, &adds[second-1]
	}
	return s, nil
}

func (s *fileSet) clone() *fileSet {
	c := *s
	c.adds, c.hashes, c.free, c.slots = slices.Clone(s.adds), slices.Clone(s.hashes), slices.Clone(s.free), slices.Clone(s.slots)
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
		s.hashes[i] = s.hash(&s.adds[i].at)
	}
}

// linkAll makes the adds findable that belong into the ring that begins at a slot.
// It ends at one that is there already, and gives its number and one.
func (s *fileSet) linkAll(ring int) int {
	mask := s.ring() - 1
	for i, h := range s.hashes {
		slot := s.first(h)
		if slot&^mask != ring {
			continue
		}
		for ; s.slots[slot] != 0; slot = s.next(slot) {
			a, b := &s.adds[s.slots[slot]-1], &s.adds[i]
			if s.hashes[s.slots[slot]-1] == h && a.at == b.at && a.Vector.same(b.Vector) {
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

func (s *fileSet) hash(p *place) uint64 {
	h := maphash.String(s.seed, p.key)
	if p.bucket != "" {
		h ^= 31 * maphash.String(s.seed, p.bucket)
	}
	return h
}

// find looks for a logical file's slot.
func (s *fileSet) find(h uint64, p *place, v *DeletionVector) (slot int, ok bool) {
	for slot := range s.at(h) {
		if a := &s.adds[s.slots[slot]-1]; a.at == *p && a.Vector.same(v) {
			return slot, true
		}
	}
	return 0, false
}

// at yields the slots of the adds with a hash.
func (s *fileSet) at(h uint64) iter.Seq[int] {
	return func(yield func(int) bool) {
		for slot := s.first(h); s.slots[slot] != 0; slot = s.next(slot) {
			if n := s.slots[slot]; n != gone && s.hashes[n-1] == h && !yield(slot) {
				return
			}
		}
	}
}

// link makes an add findable.
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
	for i := range s.adds {
		if s.adds[i].at.key != "" {
			s.link(uint32(i))
		}
	}
}

// put adds a logical file, or replaces what is known of it.
func (s *fileSet) put(a Add) {
	h := s.hash(&a.at)
	if slot, ok := s.find(h, &a.at, a.Vector); ok {
		s.adds[s.slots[slot]-1] = a
		return
	}
	s.grow()
	i := uint32(len(s.adds))
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
		s.adds[i], s.hashes[i] = a, h
	} else {
		s.adds, s.hashes = append(s.adds, a), append(s.hashes, h)
	}
	s.link(i)
}

// remove takes a logical file away, if it is there.
func (s *fileSet) remove(id fileID) {
	for slot := range s.at(s.hash(&id.place)) {
		i := s.slots[slot] - 1
		if a := &s.adds[i]; a.at == id.place && a.Vector.ID() == id.vector {
			s.slots[slot] = gone
			s.adds[i] = Add{}
			s.free = append(s.free, i)
			return
		}
	}
}

// len is how many logical files there are.
func (s *fileSet) len() int { return len(s.adds) - len(s.free) }

// all yields them in no order.
func (s *fileSet) all() iter.Seq[*Add] {
	return func(yield func(*Add) bool) {
		for i := range s.adds {
			if a := &s.adds[i]; a.at.key != "" && !yield(a) {
				return
			}
		}
	}
}

// double finds a file that is live under two deletion vectors, or under one and
// none.
func (s *fileSet) double() (a, b *Add) {
	for i := range s.adds {
		if s.adds[i].Vector == nil {
			continue
		}
		for slot := range s.at(s.hashes[i]) {
			if j := int(s.slots[slot] - 1); j != i && s.adds[j].at == s.adds[i].at {
				return &s.adds[i], &s.adds[j]
			}
		}
	}
	return nil, nil
}
