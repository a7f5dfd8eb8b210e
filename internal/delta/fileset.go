package delta

import (
	"hash/maphash"
	"iter"
)

// fileSet is the live files of a snapshot, by place and deletion vector. It holds
// a million of them in little more than their own size.
type fileSet struct {
	adds []Add // free ones are zero
	free []int32
	// last is the entry of a place's hash; older says of an entry which other one
	// has the same hash. There is one only where a file is live under two deletion
	// vectors, as it may be for a moment within a commit, or where hashes collide.
	last  map[uint64]int32
	older map[int32]int32
	seed  maphash.Seed
}

// newFileSet takes over adds that may be a checkpoint's. It reports the first
// logical file that occurs twice.
func newFileSet(adds []Add) (*fileSet, *Add) {
	s := &fileSet{last: make(map[uint64]int32, len(adds)), older: map[int32]int32{}, seed: maphash.MakeSeed()}
	s.adds = adds
	for i := range adds {
		a := &adds[i]
		h := s.hash(a.at)
		if _, ok := s.find(h, a.at, a.Vector.ID()); ok {
			return nil, a
		}
		s.link(h, int32(i))
	}
	return s, nil
}

func (s *fileSet) hash(p place) uint64 {
	h := maphash.String(s.seed, p.key)
	if p.bucket != "" {
		h ^= 31 * maphash.String(s.seed, p.bucket)
	}
	return h
}

// find looks for a logical file.
func (s *fileSet) find(h uint64, p place, vector string) (int32, bool) {
	i, ok := s.last[h]
	for ; ok; i, ok = s.older[i] {
		if a := &s.adds[i]; a.at == p && a.Vector.ID() == vector {
			return i, true
		}
	}
	return 0, false
}

func (s *fileSet) link(h uint64, i int32) {
	if was, ok := s.last[h]; ok {
		s.older[i] = was
	}
	s.last[h] = i
}

// put adds a logical file, or replaces what is known of it.
func (s *fileSet) put(a Add) {
	h := s.hash(a.at)
	if i, ok := s.find(h, a.at, a.Vector.ID()); ok {
		s.adds[i] = a
		return
	}
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		s.adds[i] = a
		s.link(h, i)
		return
	}
	s.adds = append(s.adds, a)
	s.link(h, int32(len(s.adds)-1))
}

// remove takes a logical file away, if it is there.
func (s *fileSet) remove(id fileID) {
	h := s.hash(id.place)
	i, ok := s.find(h, id.place, id.vector)
	if !ok {
		return
	}
	before, more := s.older[i]
	delete(s.older, i)
	if s.last[h] == i {
		if delete(s.last, h); more {
			s.last[h] = before
		}
	} else {
		for j := s.last[h]; ; j = s.older[j] {
			if s.older[j] == i {
				if delete(s.older, j); more {
					s.older[j] = before
				}
				break
			}
		}
	}
	s.adds[i] = Add{}
	s.free = append(s.free, i)
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

// double finds a file that is live under two deletion vectors.
func (s *fileSet) double() (a, b *Add) {
	for i := range s.older {
		for j, ok := s.older[i]; ok; j, ok = s.older[j] {
			if s.adds[i].at == s.adds[j].at {
				return &s.adds[i], &s.adds[j]
			}
		}
	}
	return nil, nil
}
