package objectstore

import (
	"context"
	"io"
)

// The roles of stores that not all have. Ask for them with [As].

// Describer says everything about an object.
type Describer interface {
	// Describe asks everything about one version of an object, or the current one
	// when version is empty. What is not there is [fs.ErrNotExist].
	Describe(ctx context.Context, bucket, key, version string) (Description, error)
	// Decrypt reads the first byte of a key's current version, which a store gives
	// only if it can decrypt the object; otherwise it is [ErrKey]. The status is the
	// object's own, such as [ReplicationReplica].
	Decrypt(ctx context.Context, bucket, key string) (enc Encryption, status string, err error)
	// EncryptionOf asks how a key's current version is kept, without reading it, and
	// for its replication status. It takes no key of the key management, and proves
	// nothing.
	EncryptionOf(ctx context.Context, bucket, key string) (enc Encryption, status string, err error)
}

// Duplicator makes exact copies inside the store.
type Duplicator interface {
	// Copier is one for a piece of work: it may learn from the objects that it copies
	// how to copy the next.
	Copier() Copier
}

// Copier copies versions as they are: content, user metadata, content headers, tags,
// storage class and key. It is safe for concurrent use.
type Copier interface {
	// Copy does one copy. A source or a destination that is not as the request says
	// is [ErrChanged]; so is, after a lost answer, a destination that holds this very
	// copy already. A copy either has the ETag of what it is of, or says so itself: see
	// [Description.CopyOf].
	Copy(ctx context.Context, r CopyRequest) (Object, error)
}

// CopyRequest is one version to put over a key.
type CopyRequest struct {
	From   Source // Bucket, Key, VersionID and ETag, all of them
	Size   int64  // bytes
	Class  string // storage class, as listings of versions say it
	Bucket string
	Key    string
	// Over is the ETag that the key must have, empty where there must be no
	// object. A store without [Traits.ConditionalCopy] ignores it.
	Over string
}

// Keeper holds versions, so that nobody deletes them before a time.
type Keeper interface {
	// LockEnabled reports whether versions can be held in the bucket.
	LockEnabled(ctx context.Context, bucket string) (bool, error)
	// Add writes a key that does not exist yet, held from its first moment. A key
	// that exists is [fs.ErrExist]; what is there is not looked at, since whoever may
	// only add may not read. The store computes SHA-256 over what it got.
	Add(ctx context.Context, bucket, key string, body []byte, h Hold) (Object, error)
	// AddFrom is Add of size bytes that are read as they are sent, in parts. It
	// demands the SHA-256 in hex that they must have: others are [ErrChanged], and the
	// object does not come to be.
	AddFrom(ctx context.Context, bucket, key string, from io.Reader, size int64, sum string, h Hold) (Object, error)
	// Seal describes one version of a key, or the current one when version is empty,
	// with its hold and its checksum.
	Seal(ctx context.Context, bucket, key, version string) (Sealed, error)
	// Hold sets the hold of one version. A store lets it grow; to make it shorter, or
	// compliance into governance, needs the right to bypass, which this never uses.
	Hold(ctx context.Context, bucket, key, version string, h Hold) error
}

// Vault is a store whose versions can be held: what backups lie in.
type Vault interface {
	Store
	Keeper
}

// AsVault gives a store that can hold versions; [ErrLacks] for one that cannot.
func AsVault(s Store) (Vault, error) {
	const can = "hold versions by Object Lock, without which a backup can be deleted"
	if !s.Traits().ObjectLock {
		return nil, lacks(s, can)
	}
	return As[Vault](s, can)
}

// Overseer says what becomes of a bucket's objects without anybody asking for it. An
// administrator may see more than others: ask it where there is one.
type Overseer interface {
	Versioning(ctx context.Context, bucket string) (Versioning, error)
	// Lifecycle is what the enabled rules of a bucket remove. A bucket without rules
	// removes nothing, without an error.
	Lifecycle(ctx context.Context, bucket string) (Lifecycle, error)
}

// Replicator says where a bucket's objects go.
type Replicator interface {
	// Replication reads a bucket's rules. No rules, no error, when none are
	// configured.
	Replication(ctx context.Context, bucket string) ([]Route, error)
}

// WallTester tries to destroy what must not be destroyed.
type WallTester interface {
	// BucketPolicy is the bucket's policy document, byte for byte; empty when none. It
	// is read before attempts that could replace it.
	BucketPolicy(ctx context.Context, bucket string) (string, error)
	// Attempts are the ways over a wall, for this principal to try. Each is harmless
	// if it is let through: what is attacked is the one object, and what is configured
	// is taken back by [Attempt.Undo]. untried is a sentence about what was left out,
	// and why; empty for nothing.
	Attempts(w Wall) (all []Attempt, untried string)
}
