package delta

import (
	"context"
	"iter"
)

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

// Change is what became of the files that a commit names.
type Change struct {
	Before, After *Snapshot // the versions without their files: what single ones are read by
	Files         []Changed
}

// Changed is a logical file before and after a commit; nil where it is not live.
type Changed struct{ Was, Is *Add }

// Changes yields what each commit after a version did, up to another one, in order. It
// carries one version forward, and so costs what the commits hold and not what the table
// does.
func (l *Log) Changes(ctx context.Context, s *Snapshot, to int64) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		r := &replayer{l: l, s: s.clone()}
		versions := func(yield func(int64) bool) {
			for v := s.Version.Number + 1; v <= to && yield(v); v++ {
			}
		}
		for f := range l.commitsOf(ctx, versions) {
			if f.err != nil {
				yield(Change{}, f.err)
				return
			}
			c := Change{Before: r.s.without()}
			var ids []fileID
			seen := map[fileID]bool{}
			for _, id := range f.removes {
				ids, seen[id] = append(ids, id), true
			}
			for _, a := range f.adds {
				if !seen[a.id()] {
					ids = append(ids, a.id())
				}
			}
			for _, id := range ids {
				c.Files = append(c.Files, Changed{Was: r.s.get(id)})
			}
			if err := r.apply(f.actions, f.info, f.version, l.commits[f.version]); err != nil {
				yield(Change{}, err)
				return
			}
			for i, id := range ids {
				c.Files[i].Is = r.s.get(id)
			}
			if c.After = r.s.without(); !yield(c, nil) {
				return
			}
		}
	}
}

func (s *Snapshot) get(id fileID) *Add {
	i, _, ok := s.files.find(id.place, id.vector)
	if !ok {
		return nil
	}
	a := s.files.at(i)
	return &a
}

// without is the version without its files.
func (s *Snapshot) without() *Snapshot {
	c := *s
	c.files, _ = newFileSet(fileList{})
	c.log, c.odd = nil, nil
	return &c
}
