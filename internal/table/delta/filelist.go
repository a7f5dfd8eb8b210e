package delta

import (
	"hash/maphash"
	"math"
	"slices"
)

// fileList holds live files. What a checkpoint says of a file is mostly a path
// into the table, two numbers and the values of its partition: that it keeps in
// few bytes and without a pointer, since the garbage collector would follow those
// of a million files again and again while they are read, which takes as long as
// reading them.
type fileList struct {
	files  []file
	texts  []string             // keys, a batch's one after the other
	values []map[string]*string // the partition values that occur
	others []Add                // files that are not as simple as that
	prefix int                  // bytes of a key before its path, where they are in texts
}

// file is one of a list.
type file struct {
	size    int64
	records int32
	hash    uint32 // of the place
	text    uint32 // which of texts; inOthers
	from    uint32 // where its key begins there; its number in others
	values  uint32 // which of values
	length  uint16 // of its key; 0 of no file
	change  bool   // Add.DataChange
}

const inOthers = math.MaxUint32

// simple reports whether a list can hold a file in its short form, but for its
// path and vector.
func simple(size, records int64, key int) bool {
	return size >= 0 && records <= math.MaxInt32 && key <= math.MaxUint16
}

// place is where file i lies; no key is no file.
func (l *fileList) place(i int) place {
	f := &l.files[i]
	if f.text == inOthers {
		return l.others[f.from].at
	}
	return place{key: l.key(f)}
}

func (l *fileList) key(f *file) string { return l.texts[f.text][f.from : f.from+uint32(f.length)] }

// vector is the deletion vector of file i.
func (l *fileList) vector(i int) *DeletionVector {
	if f := &l.files[i]; f.text == inOthers {
		return l.others[f.from].Vector
	}
	return nil
}

// at is file i.
func (l *fileList) at(i int) Add {
	f := &l.files[i]
	switch {
	case f.text == inOthers:
		return l.others[f.from]
	case f.length == 0:
		return Add{}
	}
	key := l.key(f)
	return Add{
		Path: key[l.prefix:], Size: f.size, Records: int64(f.records), PartitionValues: l.values[f.values],
		DataChange: f.change, at: place{key: key},
	}
}

// add appends a file.
func (l *fileList) add(a Add) {
	l.others = append(l.others, a)
	l.files = append(l.files, file{text: inOthers, from: uint32(len(l.others) - 1), hash: a.at.hash()})
}

// set puts another file where i was.
func (l *fileList) set(i int, a Add) {
	f := &l.files[i]
	if f.text != inOthers {
		l.others = append(l.others, Add{})
		*f = file{text: inOthers, from: uint32(len(l.others) - 1)}
	}
	l.others[f.from], f.hash = a, a.at.hash()
}

// clear leaves no file at i, and its room to the next one that is set there.
func (l *fileList) clear(i int) {
	if f := &l.files[i]; f.text == inOthers {
		l.others[f.from] = Add{}
	} else {
		f.length = 0
	}
}

func (l *fileList) clone() fileList {
	c := *l // texts and values are only ever appended to
	c.files, c.others = slices.Clone(l.files), slices.Clone(l.others)
	c.texts, c.values = slices.Clip(l.texts), slices.Clip(l.values)
	return c
}

var seed = maphash.MakeSeed()

// hash is what files are found by.
func (p place) hash() uint32 {
	h := maphash.String(seed, p.key)
	if p.bucket != "" {
		h ^= 31 * maphash.String(seed, p.bucket)
	}
	return uint32(h)
}
