package lake

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"breakwater/internal/objectstore"
	"breakwater/internal/rewind"
	"breakwater/internal/table"
	"breakwater/internal/table/location"
)

// asIf is a bucket in which some objects are as if an earlier version of them had come
// back already, for plans of what is to follow. Whatever else lies there is as it is,
// and what changes it changes the bucket itself.
type asIf struct {
	location.Bucket
	over map[string]objectstore.Object // by key, with their version ids

	mu      sync.Mutex
	readers map[string]*objectstore.File
}

var _ table.Changer = (*asIf)(nil)

// AsIf is the table's bucket as if the lines of a plan were done.
func (t Table) AsIf(lines []rewind.Line) table.Changer {
	over := make(map[string]objectstore.Object, len(lines))
	for _, l := range lines {
		over[l.Key] = objectstore.Object{Key: l.Key, ETag: l.Then.ETag, VersionID: l.Then.ID, Size: l.Then.Size}
	}
	return &asIf{Bucket: location.Bucket{Of: t.Bucket}, over: over, readers: map[string]*objectstore.File{}}
}

// Revived is the table's bucket as if nothing of the table's log had been deleted: a
// deleted log object reads as its newest version.
func (t Table) Revived(ctx context.Context) (table.Store, error) {
	newest := map[string]objectstore.Object{}
	for v, err := range t.Bucket.ListVersions(ctx, t.LogDir()) {
		if err != nil {
			return nil, err
		}
		if _, ok := newest[v.Key]; !ok && !v.DeleteMarker {
			newest[v.Key] = v.Object
		}
	}
	return &asIf{Bucket: location.Bucket{Of: t.Bucket}, over: newest, readers: map[string]*objectstore.File{}}, nil
}

// List yields what is there, and what would be, in the order of the keys.
func (a *asIf) List(ctx context.Context, prefix string) iter.Seq2[table.Object, error] {
	return func(yield func(table.Object, error) bool) {
		var keys []string
		for key := range maps.Keys(a.over) {
			if strings.HasPrefix(key, prefix) {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		more := func(until func(key string) bool) bool {
			for len(keys) > 0 && until(keys[0]) {
				o := a.over[keys[0]]
				keys = keys[1:]
				if !yield(table.Object{Key: o.Key, Size: o.Size, Modified: o.LastModified, ETag: o.ETag, VersionID: o.VersionID}, nil) {
					return false
				}
			}
			return true
		}
		for o, err := range a.Bucket.List(ctx, prefix) {
			if err != nil {
				yield(table.Object{}, err)
				return
			}
			if !more(func(key string) bool { return cmp.Less(key, o.Key) }) {
				return
			}
			if _, other := a.over[o.Key]; !other && !yield(o, nil) {
				return
			}
		}
		more(func(string) bool { return true })
	}
}

// Get reads an object whole.
func (a *asIf) Get(ctx context.Context, key string) ([]byte, error) {
	if o, ok := a.over[key]; ok {
		return a.GetVersion(ctx, key, o.VersionID)
	}
	return a.Bucket.Get(ctx, key)
}

// ReadAt reads a part of an object.
func (a *asIf) ReadAt(ctx context.Context, key string, p []byte, off int64) (int, error) {
	o, ok := a.over[key]
	if !ok {
		return a.Bucket.ReadAt(ctx, key, p, off)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.readers[key] == nil {
		reader, err := a.Of.ReaderAt(ctx, key, o.VersionID)
		if err != nil {
			return 0, err
		}
		a.readers[key] = reader
	}
	return a.readers[key].ReadAt(p, off)
}
