// Package batch is the port to whoever copies a list of object versions inside an
// object store, where a bucket is too large to copy object by object.
//
// The steps are [Copier.Upload] of a manifest, [Copier.Create], [Copier.Wait] and
// [Copier.Judge]. Each can be done again: a manifest that is there with the same
// content is taken, and a token finds the batch that was created with it.
//
// # Limits
//
// A copy is named by its source's key below a prefix; it cannot be named by its
// content. Objects above [Largest] and objects without a version of their own are
// refused by name before anything is started; [Object.Fits] tells them apart.
//
// Package batchops has it of S3 Batch Operations, whose form the manifest has.
package batch

import (
	"context"
	"errors"
	"iter"

	"breakwater/internal/objectstore"
)

// ErrTooLarge is of objects above [Largest].
var ErrTooLarge = errors.New("too large for S3 Batch Operations, which copies up to 5 GB; copy them object by object")

// ErrIncomplete means that not every object of a manifest is proven copied. No wait
// cures it.
var ErrIncomplete = errors.New("not every object is proven copied")

// Copier copies in batches. It is safe for concurrent use.
type Copier interface {
	// Upload writes the manifest of the objects, which are gone through twice, to a
	// key that does not exist yet, by who may add there, and held. One that is there
	// with the same content is an earlier attempt's and is taken, with its hold; other
	// content is [fs.ErrExist].
	Upload(ctx context.Context, add objectstore.Keeper, bucket, key string, objects iter.Seq[Object], h objectstore.Hold) (Manifest, error)
	// Create starts the batch, or finds the one that an earlier attempt started with
	// the token. [fs.ErrExist] means that the token belongs to a batch that does
	// something else.
	Create(ctx context.Context, r Request) (id string, err error)
	// Wait waits until a batch has ended, however it ended, and tells progress each
	// state that it sees. One that waits for a person's confirmation, which we never
	// ask for, is [ErrIncomplete]; one that a person paused is waited for.
	Wait(ctx context.Context, id string, progress func(State)) (State, error)
	// Judge says whether a batch that has ended copied every line of its manifest:
	// nil, or [ErrIncomplete] with the first objects of which that is not proven.
	// Another error means that it could not look.
	Judge(ctx context.Context, id string, r Request) error
}

// Manifest is a manifest in its place.
type Manifest struct {
	Bucket, Key     string
	ETag, VersionID string
	Lines           int64
}

// Place is a prefix of a bucket, without a slash at its end.
type Place struct {
	Bucket, Prefix string
}

// Key is the key of a name there.
func (p Place) Key(name string) string {
	if p.Prefix == "" {
		return name
	}
	return p.Prefix + "/" + name
}

// Request is what one batch does.
type Request struct {
	// Token is the caller's, the same in each attempt: run, step and part.
	Token    string
	Manifest Manifest
	To       Place // each copy gets its source's key below it
	Report   Place // where the completion report goes
	// Hold is what the copies are held by from their first moment.
	Hold objectstore.Hold
}

// State is how far a batch is.
type State struct {
	Status string // the provider's word
	Ended  bool   // however it ended
	// Total, Succeeded and Failed count lines of the manifest. Total is 0 until the
	// manifest was read.
	Total, Succeeded, Failed int64
	Reasons                  []string // why it failed as a whole
	// Counted says that all three were said; else a zero of them says nothing.
	Counted bool
}
