package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Store is what every object store can do, as one principal. It is safe for
// concurrent use. Every method may be called as often as one likes; an error is one
// of the package's.
type Store interface {
	Reader
	Versions
	Writer
	Remover

	// Traits says what of the contract this store keeps. It asks nothing.
	Traits() Traits
	// Endpoint is where the store is asked, for people; a URL without a slash at its
	// end.
	Endpoint() string
}

// Traits are what tells stores apart. The zero value promises nothing.
type Traits struct {
	// Versions: a bucket may keep every version of a key. Without it there is one
	// version of each key, and what is written over is gone.
	Versions bool
	// DeleteMarkers: in a bucket that keeps versions, a deletion is a version of its
	// own, and to remove that brings the object back. Without it a deleted key has
	// just no current version.
	DeleteMarkers bool
	// ConditionalCopy: [CopyRequest.Over] is a condition. Without it a copy may
	// replace what somebody wrote a moment before.
	ConditionalCopy bool
	// ConditionalDelete: [Deletion.ETag] is a condition. Without it a deletion may hide
	// what somebody wrote a moment before.
	ConditionalDelete bool
	// ObjectLock: a version can be held, so that nobody deletes it. The store is a
	// [Keeper].
	ObjectLock bool
}

// Reader reads what is current.
type Reader interface {
	// Get reads the current version of a key, all of it into memory. A body that ends
	// too soon is an error, never a shorter object.
	Get(ctx context.Context, bucket, key string) ([]byte, Object, error)
	// Head describes the current version of a key.
	Head(ctx context.Context, bucket, key string) (Object, error)
	// List yields the current objects whose key starts with prefix, each once, in the
	// order of their keys' bytes, a page at a time. An error ends it: what was yielded
	// before it is then a part, not the whole.
	List(ctx context.Context, bucket, prefix string) iter.Seq2[Object, error]
	// ReadPart reads len(p) bytes from off with one request. It follows the contract
	// of [io.ReaderAt]: fewer bytes come with an error, [io.EOF] at the end. If the
	// object has not the ETag of from, the error is [ErrChanged].
	ReadPart(ctx context.Context, from Source, p []byte, off int64) (int, error)
}

// Versions reads the history of keys. In a bucket that keeps no versions, every key
// has the one that is current.
type Versions interface {
	// GetVersion reads one version of a key, or the current one when version is
	// empty. A version that is a delete marker is [fs.ErrNotExist].
	GetVersion(ctx context.Context, bucket, key, version string) ([]byte, Object, error)
	// HeadVersion describes one version of a key, or the current one when version is
	// empty.
	HeadVersion(ctx context.Context, bucket, key, version string) (Object, error)
	// VersionReader streams one version of a key from its first byte, or the current
	// one when version is empty; the caller closes it.
	VersionReader(ctx context.Context, bucket, key, version string) (io.ReadCloser, Object, error)
	// ListVersions yields every version and delete marker of the keys that start with
	// prefix: by the bytes of the key, and of each key the newest first. An error ends
	// it.
	ListVersions(ctx context.Context, bucket, prefix string) iter.Seq2[Version, error]
	// ListSpan is ListVersions of a part of the keys: who knows where to begin need not
	// go through what lies before. A key comes with all of its versions or not at all.
	ListSpan(ctx context.Context, bucket string, s Span) iter.Seq2[Version, error]
	// Versioning reports whether every write to the bucket makes a new version.
	Versioning(ctx context.Context, bucket string) (Versioning, error)
}

// Versioning is whether a bucket keeps versions.
type Versioning struct {
	On bool // suspended versioning is not on
	// Suspended: versions were kept once, and those stay. What is written or deleted now
	// replaces the version null for good.
	Suspended bool
	// Except are prefixes below which none are kept although it is on, in which a
	// star stands for anything. Such keys are not replicated either. Perhaps only an
	// administrator is told.
	Except []string
}

// Writer writes objects. After a lost answer a write may have been done: the
// conditional ones tell, with [ErrSame].
type Writer interface {
	// Put writes a key whatever is there. After a lost answer it may have written two
	// equal versions.
	Put(ctx context.Context, bucket, key string, body []byte) (Object, error)
	// PutIfAbsent writes a key that does not exist yet. When it does, the error is
	// [fs.ErrExist], with [ErrSame] beside it if the object holds these very bytes;
	// the returned object is then the one that is there. A caller for whom "already
	// there" is done accepts ErrSame; only bytes that carry the caller's token prove
	// that it was the caller who wrote them.
	PutIfAbsent(ctx context.Context, bucket, key string, body []byte) (Object, error)
	// PutIfMatch replaces a key that still has the given ETag. Otherwise the error is
	// [ErrChanged], with [ErrSame] beside it if the object holds these very bytes, or
	// with [fs.ErrNotExist] if the key is gone; the returned object is the one that is
	// there.
	PutIfMatch(ctx context.Context, bucket, key string, body []byte, etag string) (Object, error)
	// PutFrom is Put of size bytes that are read as they are sent, in parts, and must
	// have the SHA-256 in hex: others are [ErrChanged], and the object does not come
	// to be. Over is the ETag that the key must have, empty where there must be no
	// object, and nil for whatever is there: what is there instead is [fs.ErrExist], and
	// a key that is gone [fs.ErrNotExist].
	PutFrom(ctx context.Context, bucket, key string, from io.Reader, size int64, sum string, over *string) (Object, error)
	// Copy copies an object inside the store, with its metadata, to a new version of
	// bucket/key. A source that no longer has its ETag is [ErrChanged]. A store may
	// refuse what is larger than 5 GiB. The copy has its own modification time.
	Copy(ctx context.Context, from Source, bucket, key string) (Object, error)
}

// Remover deletes.
type Remover interface {
	// Delete deletes a key: in a bucket that keeps versions, no version is lost, and
	// where the store has delete markers it adds one, whose version it returns. A
	// missing key is no error. After a lost answer there may be two markers.
	Delete(ctx context.Context, bucket, key string) (marker string, err error)
	// DeleteVersion removes one version, or one delete marker, for good. One that is
	// not there is no error; without a version it is refused.
	DeleteVersion(ctx context.Context, bucket, key, version string) error
	// DeleteMany does many deletions in few requests and returns how many were done. A
	// key or version that is not there counts as done. Where the store refuses some of
	// them, the others are done, and the error names the first and tells how many; it is
	// [ErrChanged] if the first had not its ETag.
	DeleteMany(ctx context.Context, bucket string, all []Deletion) (done int, err error)
}

// ErrLacks means that a store, or its administration, has not the ability that was
// asked for. No retry cures it: another provider, or a person, does.
var ErrLacks = errors.New("it has not this ability")

// As gives a store, or an administrator, in a role. can says what the role is for,
// as in "hold versions by Object Lock"; it completes the error, [ErrLacks], of who
// cannot.
func As[Role any](of any, can string) (Role, error) {
	if r, ok := of.(Role); ok {
		return r, nil
	}
	var none Role
	return none, lacks(of, can)
}

func lacks(of any, can string) error {
	where := ""
	if e, ok := of.(interface{ Endpoint() string }); ok {
		where = " at " + e.Endpoint()
	}
	return fmt.Errorf("the object store%s cannot %s: %w", where, can, ErrLacks)
}
