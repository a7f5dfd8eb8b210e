package depot

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"breakwater/internal/backup"
	"breakwater/internal/objectstore"
	"breakwater/internal/table"
)

// Tables shows the objects of a table of a backup under the keys that they had, so
// that whoever reads tables can read it where it is: a version of a table, and
// nothing beside it.
type Tables struct {
	place   Depot
	objects []backup.Object // by key
	taken   time.Time
}

// Table opens a table of a backup for reading.
func (p Depot) Table(ctx context.Context, m backup.Manifest, t backup.Table) (*Tables, error) {
	objects, err := p.List(ctx, t)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(objects, func(a, b backup.Object) int { return strings.Compare(a.Key, b.Key) })
	return &Tables{place: p, objects: objects, taken: m.TakenAt}, nil
}

// Objects are the table's objects by key.
func (t *Tables) Objects() []backup.Object { return t.objects }

// List yields what the backup holds under a prefix.
func (t *Tables) List(_ context.Context, prefix string) iter.Seq2[table.Object, error] {
	return func(yield func(table.Object, error) bool) {
		for _, o := range t.objects {
			if strings.HasPrefix(o.Key, prefix) && !yield(table.Object{Key: o.Key, Size: o.Copy.Size, ETag: o.ETag, Modified: t.taken}, nil) {
				return
			}
		}
	}
}

func (t *Tables) find(key string) (backup.Object, error) {
	i, ok := slices.BinarySearchFunc(t.objects, key, func(o backup.Object, key string) int { return strings.Compare(o.Key, key) })
	if !ok {
		return backup.Object{}, fmt.Errorf("the backup holds no %s: %w", key, fs.ErrNotExist)
	}
	return t.objects[i], nil
}

// Get reads an object whole, and holds it against its checksum.
func (t *Tables) Get(ctx context.Context, key string) ([]byte, error) {
	o, err := t.find(key)
	if err != nil {
		return nil, err
	}
	return t.place.Get(ctx, o.Copy)
}

// ReadAt reads a part of an object, by the version that the manifest names.
func (t *Tables) ReadAt(ctx context.Context, key string, p []byte, off int64) (int, error) {
	o, err := t.find(key)
	if err != nil {
		return 0, err
	}
	r, err := objectstore.OpenFile(ctx, t.place.Reader, t.place.Bucket, t.place.Prefix+o.Copy.Key, o.Copy.Version)
	if err != nil {
		return 0, err
	}
	return r.ReadAt(p, off)
}
