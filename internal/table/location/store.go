package location

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

	"breakwater/internal/objectstore"
	"breakwater/internal/table"
)

// Bucket is a bucket of an object store as table formats read and change it. The
// object store's own methods are those of the field.
type Bucket struct{ Of objectstore.Bucket }

var (
	_ table.Changer     = Bucket{}
	_ table.Remembering = Bucket{}
)

func object(o objectstore.Object) table.Object {
	return table.Object{Key: o.Key, Size: o.Size, Modified: o.LastModified, ETag: o.ETag, VersionID: o.VersionID, Archived: o.Archived}
}

// List yields what is there now: a key under a delete marker is not.
func (b Bucket) List(ctx context.Context, prefix string) iter.Seq2[table.Object, error] {
	return func(yield func(table.Object, error) bool) {
		for o, err := range b.Of.List(ctx, prefix) {
			found := object(o)
			if objectstore.MayArchive(o.StorageClass) {
				found.Ask = func(ctx context.Context) (bool, error) {
					now, err := b.Of.Head(ctx, o.Key)
					return now.Archived, err
				}
			}
			if !yield(found, err) {
				return
			}
		}
	}
}

// ListVersions yields every version and delete marker.
func (b Bucket) ListVersions(ctx context.Context, prefix string) iter.Seq2[table.Past, error] {
	return func(yield func(table.Past, error) bool) {
		for v, err := range b.Of.ListVersions(ctx, prefix) {
			if !yield(table.Past{Object: object(v.Object), Latest: v.Latest, Marker: v.DeleteMarker}, err) {
				return
			}
		}
	}
}

// Unversioned is that of [table.Remembering].
func (b Bucket) Unversioned(ctx context.Context, _ string) (string, error) {
	return b.Of.Unversioned(ctx)
}

// Get reads an object whole.
func (b Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	body, _, err := b.Of.Get(ctx, key)
	return body, err
}

// ReadAt reads a part of an object with one request.
func (b Bucket) ReadAt(ctx context.Context, key string, p []byte, off int64) (int, error) {
	return b.Of.ReadAt(ctx, key, p, off)
}

// Look reads an object whole, together with what it is.
func (b Bucket) Look(ctx context.Context, key string) ([]byte, table.Object, error) {
	body, o, err := b.Of.Get(ctx, key)
	return body, object(o), err
}

// Stat tells what an object is.
func (b Bucket) Stat(ctx context.Context, key string) (table.Object, error) {
	o, err := b.Of.Head(ctx, key)
	return object(o), err
}

// GetVersion reads one version whole.
func (b Bucket) GetVersion(ctx context.Context, key, versionID string) ([]byte, error) {
	body, _, err := b.Of.GetVersion(ctx, key, versionID)
	return body, err
}

// Copy copies a version within the bucket.
func (b Bucket) Copy(ctx context.Context, key string, was table.ObjectVersion, to string) error {
	_, err := b.Of.Copy(ctx, objectstore.Source{Key: key, VersionID: was.VersionID, ETag: was.ETag}, to)
	return written(err)
}

// Hide puts a delete marker over an object.
func (b Bucket) Hide(ctx context.Context, key, etag string) error {
	if etag != "" && b.Of.Client().Traits().ConditionalDelete {
		_, err := b.Of.DeleteMany(ctx, []objectstore.Deletion{{Key: key, ETag: etag}})
		return written(err)
	}
	_, err := b.Of.Delete(ctx, key)
	return err
}

// PutIfAbsent writes an object where there is none.
func (b Bucket) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	_, err := b.Of.PutIfAbsent(ctx, key, body)
	return written(err)
}

// PutIfMatch writes over the object with that ETag.
func (b Bucket) PutIfMatch(ctx context.Context, key string, body []byte, etag string) error {
	_, err := b.Of.PutIfMatch(ctx, key, body, etag)
	return written(err)
}

// written says of a conditional write what formats know: these very bytes are as
// good as written, and what changed is [table.ErrChanged].
func written(err error) error {
	switch {
	case errors.Is(err, objectstore.ErrSame):
		return nil
	case errors.Is(err, objectstore.ErrChanged):
		return &changed{err}
	}
	return err
}

// changed is an object store's word for [table.ErrChanged], and its own.
type changed struct{ error }

func (c *changed) Unwrap() []error { return []error{c.error, table.ErrChanged} }

// filesystem is the "bucket" of files: keys are absolute paths without the first
// slash.
const filesystem = "file://"

// files is the file system as package delta reads it.
type files struct{}

// List yields the files under a prefix in the order of their keys' bytes, as an
// object store does. A folder that is not there is empty.
func (files) List(ctx context.Context, prefix string) iter.Seq2[table.Object, error] {
	return func(yield func(table.Object, error) bool) {
		dir := prefix[:strings.LastIndexByte(prefix, '/')+1]
		_, err := walk(ctx, dir, prefix, yield)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			yield(table.Object{}, err)
		}
	}
}

// walk yields the files below dir, which ends with a slash or is empty, whose
// keys begin with prefix. It reports false where the caller wants no more.
func walk(ctx context.Context, dir, prefix string, yield func(table.Object, error) bool) (more bool, err error) {
	if err := ctx.Err(); err != nil {
		return true, err
	}
	entries, err := os.ReadDir("/" + dir)
	if err != nil {
		return true, fmt.Errorf("list %s: %w", "/"+dir, err)
	}
	type child struct {
		key  string // of a folder with its slash, which is what sorts it
		info fs.FileInfo
	}
	var children []child
	for _, e := range entries {
		key := dir + e.Name()
		if !strings.HasPrefix(key+"/", prefix) && !strings.HasPrefix(key, prefix) {
			continue
		}
		info, err := os.Stat("/" + key) // what a link leads to
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since, or a link that leads nowhere
		}
		if err != nil {
			return true, fmt.Errorf("list %s: %w", "/"+dir, err)
		}
		switch {
		case info.IsDir() && e.Type()&fs.ModeSymlink == 0: // a link to a folder may lead round
			children = append(children, child{key + "/", info})
		case info.Mode().IsRegular():
			children = append(children, child{key, info})
		}
	}
	slices.SortFunc(children, func(a, b child) int { return strings.Compare(a.key, b.key) })
	for _, c := range children {
		if c.info.IsDir() {
			if more, err := walk(ctx, c.key, prefix, yield); !more || err != nil {
				return more, err
			}
		} else if !yield(table.Object{Key: c.key, Size: c.info.Size(), Modified: c.info.ModTime()}, nil) {
			return false, nil
		}
	}
	return true, nil
}

// Get reads a file whole.
func (files) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return os.ReadFile("/" + key)
}

// ReadAt reads a part of a file.
func (files) ReadAt(ctx context.Context, key string, p []byte, off int64) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	f, err := os.Open("/" + key)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err = f.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, err
}
