package table

import (
	"context"
	"errors"
	"iter"
	"strings"
)

// Store is the bucket that holds a table, keys as in the bucket. All methods
// only read and may be called concurrently. Get and ReadAt answer
// [io/fs.ErrNotExist] for a key that is not there. They are called once per
// object of the log, and never once per data file unless rows are asked for.
type Store interface {
	// List yields every object under prefix, in key order.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]
	Get(ctx context.Context, key string) ([]byte, error)
	// ReadAt fills p from offset off, as [io.ReaderAt] does.
	ReadAt(ctx context.Context, key string, p []byte, off int64) (int, error)
}

// Mapper is a [Store] that has objects which a table names by absolute URIs, in
// other places than these URIs say. [Format.Open] asks whether its store is one.
type Mapper interface {
	// Map tells under which key of the store an object is found; bucket is
	// "s3://name", "file://" or the like. It reports false for one that it leaves
	// where the table says that it is. A key may be a URI itself.
	Map(bucket, key string) (string, bool)
}

// Past is one entry of an object's history, in a bucket that keeps versions.
type Past struct {
	Object
	Latest bool // what a reader without a version id sees
	Marker bool // a delete marker, which hides what is below it
}

// Remembering is a [Store] of which a bucket may keep versions. It only reads.
type Remembering interface {
	// ListVersions is that of [Keeper]; it yields nothing where none are kept.
	ListVersions(ctx context.Context, prefix string) iter.Seq2[Past, error]
	// Unversioned is why a write to the bucket of a key may destroy what it replaces, with
	// what to do; empty where it makes a new version, or where there is no bucket.
	Unversioned(ctx context.Context, key string) (why string, err error)
}

// Keeper is a [Store] whose bucket keeps versions. Its methods only read.
type Keeper interface {
	Store
	// ListVersions yields every version and delete marker under prefix, by key,
	// each key's newest first.
	ListVersions(ctx context.Context, prefix string) iter.Seq2[Past, error]
	// GetVersion reads one version whole, [io/fs.ErrNotExist] where it is gone.
	GetVersion(ctx context.Context, key, versionID string) ([]byte, error)
	// Look reads an object whole, together with what it is; [io/fs.ErrNotExist]
	// where there is none.
	Look(ctx context.Context, key string) ([]byte, Object, error)
	// Stat tells what an object is, [io/fs.ErrNotExist] where there is none.
	Stat(ctx context.Context, key string) (Object, error)
}

// Changer is a bucket as a promotion or a rollback changes it: nothing that it
// does destroys a version. Each call may be made again after an error that leaves
// its outcome open.
type Changer interface {
	Keeper
	// Copy writes what was an object under another key. [ErrChanged] says that the
	// version has another ETag than was, [io/fs.ErrNotExist] that it is gone.
	Copy(ctx context.Context, key string, was ObjectVersion, to string) error
	// Hide puts a delete marker over an object; without one there it may add one. With
	// an ETag it hides only the object that has it, and [ErrChanged] says that another
	// is there, where the store takes conditions on deletions; elsewhere it ignores it.
	Hide(ctx context.Context, key, etag string) error
	// PutIfAbsent writes an object where there is none. [io/fs.ErrExist] says that
	// something else is there; these very bytes are no error.
	PutIfAbsent(ctx context.Context, key string, body []byte) error
	// PutIfMatch writes over the object with that ETag. [ErrChanged] says that
	// something else, or nothing, is there; these very bytes are no error.
	PutIfMatch(ctx context.Context, key string, body []byte, etag string) error
}

// ErrChanged says that an object is no longer what the caller has seen.
var ErrChanged = errors.New("changed since it was read")

// ObjectVersion is one version of an object, as plans remember it.
type ObjectVersion struct {
	ETag      string `json:"etag"`
	VersionID string `json:"version_id,omitempty"`
	Size      int64  `json:"size"` // bytes
}

// Root says where a table lies. Digests of plans are made of its JSON, which
// therefore stays as it is.
type Root struct {
	// Bucket is the name under which absolute paths would lead to it: "lake" for
	// S3, "gs://lake" or the like for others, "file://" for files. It may be empty.
	Bucket string
	Prefix string // of the table in the bucket, without a final slash
}

// String is the table's URI.
func (r Root) String() string { return BucketURI(r.Bucket) + "/" + r.Prefix }

// Key is the key of a path relative to the table.
func (r Root) Key(rel string) string {
	if r.Prefix == "" {
		return rel
	}
	return r.Prefix + "/" + rel
}

// Path is how people name a key of the table's bucket: as it is, and a file by its path.
func (r Root) Path(key string) string {
	if r.Bucket == "file://" {
		return "/" + key
	}
	return key
}

// URL is the address of a key of the table's bucket.
func (r Root) URL(key string) string { return BucketURI(r.Bucket) + "/" + key }

// BucketURI is a bucket as a URI: S3's have their plain name.
func BucketURI(bucket string) string {
	if strings.Contains(bucket, "://") {
		return bucket
	}
	return "s3://" + bucket
}
