package objectstore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
)

// Bucket is a [Store] bound to one bucket: what a table format reads through. Its
// methods are the store's, without the bucket. Those of a role that the store may
// lack answer [ErrLacks] then.
type Bucket struct {
	store Store
	name  string
}

// Bind binds a store to a bucket.
func Bind(s Store, name string) Bucket { return Bucket{s, name} }

// Name is the bucket's name.
func (b Bucket) Name() string { return b.name }

// Client is what the bucket is asked through.
func (b Bucket) Client() Store { return b.store }

// URL is the key's address, as s3://bucket/key.
func (b Bucket) URL(key string) string { return "s3://" + b.name + "/" + key }

// List is [Reader.List].
func (b Bucket) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return b.store.List(ctx, b.name, prefix)
}

// Get is [Reader.Get].
func (b Bucket) Get(ctx context.Context, key string) ([]byte, Object, error) {
	return b.store.Get(ctx, b.name, key)
}

// Head is [Reader.Head].
func (b Bucket) Head(ctx context.Context, key string) (Object, error) {
	return b.store.Head(ctx, b.name, key)
}

// Exists reports whether a key is there now. An error means that it could not be
// told.
func (b Bucket) Exists(ctx context.Context, key string) (bool, error) {
	_, err := b.Head(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// ReadAt reads len(p) bytes of a key's current version from off with one request,
// for readers that know where to look. Fewer bytes come with [io.EOF].
func (b Bucket) ReadAt(ctx context.Context, key string, p []byte, off int64) (int, error) {
	return b.store.ReadPart(ctx, Source{Bucket: b.name, Key: key}, p, off)
}

// ReaderAt is [OpenFile]; version is empty for the current one.
func (b Bucket) ReaderAt(ctx context.Context, key, version string) (*File, error) {
	return OpenFile(ctx, b.store, b.name, key, version)
}

// ListVersions is [Versions.ListVersions].
func (b Bucket) ListVersions(ctx context.Context, prefix string) iter.Seq2[Version, error] {
	return b.store.ListVersions(ctx, b.name, prefix)
}

// ListSpan is [Versions.ListSpan].
func (b Bucket) ListSpan(ctx context.Context, s Span) iter.Seq2[Version, error] {
	return b.store.ListSpan(ctx, b.name, s)
}

// Histories yields all versions and delete markers of one key after the other, in
// the order of the keys' bytes; of each key the newest first. An error ends it.
func (b Bucket) Histories(ctx context.Context, prefix string) iter.Seq2[[]Version, error] {
	return func(yield func([]Version, error) bool) {
		var history []Version
		for v, err := range b.ListVersions(ctx, prefix) {
			if err != nil {
				yield(nil, err)
				return
			}
			if len(history) > 0 && history[0].Key != v.Key {
				if !yield(history, nil) {
					return
				}
				history = nil
			}
			history = append(history, v)
		}
		if len(history) > 0 {
			yield(history, nil)
		}
	}
}

// GetVersion is [Versions.GetVersion].
func (b Bucket) GetVersion(ctx context.Context, key, version string) ([]byte, Object, error) {
	return b.store.GetVersion(ctx, b.name, key, version)
}

// HeadVersion is [Versions.HeadVersion].
func (b Bucket) HeadVersion(ctx context.Context, key, version string) (Object, error) {
	return b.store.HeadVersion(ctx, b.name, key, version)
}

// Unversioned is why a write to the bucket may destroy what it replaces, with what to do;
// empty where every write makes a new version.
func (b Bucket) Unversioned(ctx context.Context) (string, error) {
	v, err := b.store.Versioning(ctx, b.name)
	turnOn := "turn versioning on first (aws s3api put-bucket-versioning --bucket " + b.name + " --versioning-configuration Status=Enabled)"
	switch {
	case err != nil || v.On:
		return "", err
	case v.Suspended:
		return "versioning of bucket " + b.name + " is suspended: earlier versions are kept, and what is written or deleted now replaces the version null for good; " + turnOn, nil
	}
	return "bucket " + b.name + " keeps no versions: what is written over or deleted is gone; " + turnOn, nil
}

// Versioned reports whether every write to the bucket makes a new version.
func (b Bucket) Versioned(ctx context.Context) (bool, error) {
	v, err := b.store.Versioning(ctx, b.name)
	return v.On, err
}

// Put is [Writer.Put].
func (b Bucket) Put(ctx context.Context, key string, body []byte) (Object, error) {
	return b.store.Put(ctx, b.name, key, body)
}

// PutIfAbsent is [Writer.PutIfAbsent].
func (b Bucket) PutIfAbsent(ctx context.Context, key string, body []byte) (Object, error) {
	return b.store.PutIfAbsent(ctx, b.name, key, body)
}

// PutIfMatch is [Writer.PutIfMatch].
func (b Bucket) PutIfMatch(ctx context.Context, key string, body []byte, etag string) (Object, error) {
	return b.store.PutIfMatch(ctx, b.name, key, body, etag)
}

// PutFrom is [Writer.PutFrom].
func (b Bucket) PutFrom(ctx context.Context, key string, from io.Reader, size int64, sum string, over *string) (Object, error) {
	return b.store.PutFrom(ctx, b.name, key, from, size, sum, over)
}

// Copy is [Writer.Copy] within the bucket; from.Bucket is ignored.
func (b Bucket) Copy(ctx context.Context, from Source, key string) (Object, error) {
	from.Bucket = b.name
	return b.store.Copy(ctx, from, b.name, key)
}

// Delete is [Remover.Delete].
func (b Bucket) Delete(ctx context.Context, key string) (marker string, err error) {
	return b.store.Delete(ctx, b.name, key)
}

// DeleteVersion is [Remover.DeleteVersion].
func (b Bucket) DeleteVersion(ctx context.Context, key, version string) error {
	return b.store.DeleteVersion(ctx, b.name, key, version)
}

// DeleteMany is [Remover.DeleteMany].
func (b Bucket) DeleteMany(ctx context.Context, all []Deletion) (done int, err error) {
	return b.store.DeleteMany(ctx, b.name, all)
}

// Describe is [Describer.Describe].
func (b Bucket) Describe(ctx context.Context, key, version string) (Description, error) {
	d, err := As[Describer](b.store, "describe an object in every respect, which tells a copy from its like")
	if err != nil {
		return Description{}, err
	}
	return d.Describe(ctx, b.name, key, version)
}

// Copier makes exact copies of versions within the store: see [Duplicator].
func (b Bucket) Copier() (Copier, error) {
	d, err := As[Duplicator](b.store, "make exact copies of versions")
	if err != nil {
		return nil, err
	}
	return d.Copier(), nil
}
