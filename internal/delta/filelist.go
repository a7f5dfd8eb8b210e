package delta

import "slices"

// fileList holds live files. What a checkpoint says of a file is mostly a path
// into the table, two numbers and the values of its partition: that it keeps
// without a pointer, since the garbage collector would follow those of a million
// files again and again while they are read, which takes as long as reading them.
type fileList struct {
	files  []file
	texts  []string             // keys, a batch's one after the other
	values []map[string]*string // the partition values that occur
	others []Add                // files that are not as simple as that
	prefix int                  // bytes of a key before its path, where they are in texts
}

// file is one of a list: either a number in others, or all the rest.
type file struct {
	size, records int64
	text          uint32 // which of texts
	from, to      uint32 // its key there; an empty one is of no file
	values        uint32 // which of values
	other         uint32 // number and one in others
	change        bool   // Add.DataChange
}

// place is where file i lies; no key is no file.
func (l *fileList) place(i int) place {
	f := &l.files[i]
	if f.other > 0 {
		return l.others[f.other-1].at
	}
	return place{key: l.texts[f.text][f.from:f.to]}
}

// vector is the deletion vector of file i.
func (l *fileList) vector(i int) *DeletionVector {
	if other := l.files[i].other; other > 0 {
		return l.others[other-1].Vector
	}
	return nil
}

// at is file i.
func (l *fileList) at(i int) Add {
	f := &l.files[i]
	if f.other > 0 {
		return l.others[f.other-1]
	}
	if f.from == f.to {
		return Add{}
	}
	key := l.texts[f.text][f.from:f.to]
	return Add{
		Path: key[l.prefix:], Size: f.size, Records: f.records, PartitionValues: l.values[f.values],
		DataChange: f.change, at: place{key: key},
	}
}

// add appends a file.
func (l *fileList) add(a Add) {
	l.others = append(l.others, a)
	l.files = append(l.files, file{other: uint32(len(l.others))})
}

// set puts another file where i was.
func (l *fileList) set(i int, a Add) {
	f := &l.files[i]
	if f.other == 0 {
		l.others = append(l.others, Add{})
		*f = file{other: uint32(len(l.others))}
	}
	l.others[f.other-1] = a
}

// clear leaves no file at i, and its room to the next one that is set there.
func (l *fileList) clear(i int) {
	if f := &l.files[i]; f.other > 0 {
		l.others[f.other-1] = Add{}
	} else {
		f.to = f.from
	}
}

func (l *fileList) clone() fileList {
	c := *l // texts and values are only ever appended to
	c.files, c.others = slices.Clone(l.files), slices.Clone(l.others)
	c.texts, c.values = slices.Clip(l.texts), slices.Clip(l.values)
	return c
}
