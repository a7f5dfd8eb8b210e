package delta

// Draft is a version that no commit made: the files of one that was read, changed. Its
// number, protocol, metadata and streaming writers stay those of the version that it
// began as.
type Draft struct{ s *Snapshot }

// Draft begins one. The snapshot itself stays as it is.
func (s *Snapshot) Draft() *Draft { return &Draft{s.clone()} }

// Snapshot is the draft as it stands now, which must not be changed any more.
func (d *Draft) Snapshot() *Snapshot { return d.s }

// Has is [Snapshot.Has].
func (d *Draft) Has(a Add) bool { return d.s.Has(a) }

// Beside gives the live file whose data file is the same one, under another deletion
// vector or none.
func (d *Draft) Beside(a Add) (Add, bool) {
	for i := range d.s.files.hashed(a.at.hash()) {
		if d.s.files.place(i) == a.at && !d.s.files.vector(i).same(a.Vector) {
			return d.s.files.at(i), true
		}
	}
	return Add{}, false
}

// Put adds a logical file, or replaces what is known of it.
func (d *Draft) Put(a Add) { d.s.files.put(a) }

// Remove takes a logical file away, if it is there.
func (d *Draft) Remove(a Add) { d.s.files.remove(a.id()) }

// Needs notes that the draft is read from a later commit, too: [Log.ActionsOf] yields it,
// and it is of the closure.
func (d *Draft) Needs(l *Log, version int64) { d.s.log = append(d.s.log, l.commits[version]) }

// Without is the version without its files: what single ones of them are read by. It takes
// next to no memory.
func (s *Snapshot) Without() *Snapshot {
	c := *s
	c.files, _ = newFileSet(fileList{})
	c.log, c.odd = nil, nil
	return &c
}
