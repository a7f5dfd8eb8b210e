// Package objectstore is the port to object stores: what recovery asks of one, in
// words that fit S3 and everything like it. It knows no client library.
//
// # Roles
//
// A [Store] reads, lists, writes and removes objects, which every object store can.
// What only some can is a role of its own, asked for with [As]: [Describer],
// [Duplicator], [Keeper], [Overseer], [Replicator], [WallTester]. Who administers a
// store is opened with other credentials and has roles too: [Fencer], [Granter],
// [Counter], and some of the former. [Traits] say what of the contract a store
// cannot keep. A caller asks for an ability, and never for a provider's name; what is
// missing is [ErrLacks], which says what it is.
//
// A [Bucket] is a store bound to a bucket's name.
//
// # Errors
//
// What a store refuses is one of a few sentinels, so that callers decide without
// looking at a driver's errors:
//
//   - [fs.ErrNotExist]: the object or version is not there, and its bucket is;
//   - [ErrNoBucket]: the bucket is not there, from which nothing follows about
//     objects: its name may be mistyped;
//   - [fs.ErrPermission]: the principal may not, or is not who it says; with
//     [ErrDenied] or [ErrNobody] beside it where the store says which;
//   - [fs.ErrExist]: a put-if-absent found the key taken;
//   - [ErrChanged]: something is no longer what the caller has seen;
//   - [ErrSame]: beside one of the last two, when what is there holds the very
//     bytes that were to be written;
//   - [ErrKey]: the store cannot decrypt what it holds;
//   - [ErrArchived]: the object is there, and nobody can read it before it is restored
//     from the archive;
//   - [ErrLacks]: the store cannot do this at all;
//   - [reach.ErrUnseen]: the store, or who stands before it, answered without having
//     looked: a token has expired, say, or the bucket is in another region;
//   - [reach.ErrUnreachable]: no answer came, nothing is known.
//
// Only the last two may be cured by asking again, and some of what is none of them, such
// as an answer 500.
//
// # Implementations
//
// Package s3 speaks S3, and below it are minio and batchops; package memory holds
// everything in memory, for tests. A new one passes package storetest by one line.
package objectstore

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"breakwater/internal/reach"
)

// Answered reports whether an error says something about what was asked for, rather
// than about our way to it: silence, a denial, a bucket that may be mistyped and a call
// that was ended say nothing. No error is an answer.
func Answered(err error) bool {
	for _, no := range []error{reach.ErrUnseen, fs.ErrPermission, ErrNoBucket, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, no) {
			return false
		}
	}
	return !reach.Unreachable(err)
}

var (
	// ErrChanged means that a conditional request was refused: what is there is
	// not what the caller has seen. No retry cures it; read again and decide.
	ErrChanged = errors.New("changed since it was read")

	// ErrSame stands beside [fs.ErrExist] or [ErrChanged] in the chain when the
	// object now holds exactly the bytes that were to be written: an earlier
	// attempt of this very write, whose answer was lost, or somebody's equal one.
	ErrSame = errors.New("it holds these very bytes")

	// ErrKey means that the store cannot decrypt what it holds. A store may say so of
	// a listing too, if it decrypts what it lists.
	ErrKey = errors.New("it cannot be decrypted with the keys there")

	// ErrArchived means that the object lies in an archive, and has not been restored
	// from it.
	ErrArchived = errors.New("it is archived")

	// ErrNoBucket means that the bucket itself is missing.
	ErrNoBucket = errors.New("no such bucket")

	// ErrDenied stands beside [fs.ErrPermission] where the store knows the principal
	// and says that it lacks the right.
	ErrDenied = errors.New("access denied")

	// ErrNobody stands beside [fs.ErrPermission] where the store knows no principal of
	// that name. It is a denial only for credentials that are known to work elsewhere.
	ErrNobody = errors.New("no such principal")
)

// Object is what a store says about one version of a key.
type Object struct {
	Key          string
	Size         int64  // bytes
	ETag         string // without quotes; opaque, equal for equal content of one upload
	VersionID    string // empty or "null" in a bucket without versioning; listings of current objects leave it empty
	LastModified time.Time
	// ReplicationStatus is one of the constants, such as [ReplicationReplica], and
	// empty where no rule applies or where the store does not say, as in listings.
	ReplicationStatus string
	StorageClass      string // as listings say it; empty elsewhere
	// Archived: it must be restored from an archive before anybody reads it. Head and
	// HeadVersion tell; of a listed object see [MayArchive].
	Archived bool
}

// ArchiveClass reports whether objects of a storage class lie in an archive. A single
// one may have been restored from it for a while, which [Object.Archived] tells.
func ArchiveClass(class string) bool { return class == "GLACIER" || class == "DEEP_ARCHIVE" }

// MayArchive reports whether objects of a storage class can lie in an archive, which
// [Object.Archived] tells of each and no listing does: those of [ArchiveClass], and those
// that S3 Intelligent-Tiering moves to its archive tiers by itself.
func MayArchive(class string) bool { return ArchiveClass(class) || class == "INTELLIGENT_TIERING" }

// Version is one entry of a key's history.
type Version struct {
	Object
	Latest       bool
	DeleteMarker bool // the key was deleted here; nothing can be read
}

// Span is a part of a listing, from somewhere on. It has no end: no store takes one,
// and who reads sees when it is passed.
type Span struct {
	// Prefix is what the keys start with.
	Prefix string
	// After is a key, or any other text, that all of them come after in the order of
	// their bytes; empty for all.
	After string
	// Page is how many versions the store is asked for at a time, for who wants few;
	// zero is as many as it gives.
	Page int
}

// Source is an object to read or copy. VersionID and ETag are conditions: the
// version to take (the current one when empty), and the ETag it must have (any when
// empty).
type Source struct {
	Bucket, Key, VersionID, ETag string
}

// DeletionsAtMost is how many keys one request of [Remover.DeleteMany] names: what
// a caller plans with.
const DeletionsAtMost = 1000

// Deletion is a key to delete, or one version to remove.
type Deletion struct {
	Key string
	// VersionID is the version or delete marker to remove for good. Without one the
	// key is deleted, as [Remover.Delete] does it.
	VersionID string
	// ETag is what the current version must have, for a deletion without a version;
	// any when empty. A store without [Traits.ConditionalDelete] ignores it.
	ETag string
}
