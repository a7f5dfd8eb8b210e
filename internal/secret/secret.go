// Package secret is the port of a secret store: where recovery reads credentials
// and writes the secrets by which clients find their region. Package vault below
// it is the one that is built in; others fit behind the same [Store]. Package
// secrettest holds every promise made here as a test.
//
// A secret has a path, a content, which is a JSON object, and versions, which
// count its writes from 1. A store without such numbers cannot stand here: plans
// and the ledger name versions by them.
package secret

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// An error of a store is one of these, or [io/fs.ErrNotExist] for a secret that is
// not there, [io/fs.ErrPermission] for a caller who may not, reach.ErrThrottled for one
// who must wait, reach.ErrMisconfigured where what answers is no such store, or not the
// part of it that was named, or reach.ErrUnreachable where no answer came. A retry alone
// cures only the last and a throttled one.
var (
	// ErrChanged means that a secret is not at the version that the caller has
	// seen. Read it again and decide.
	ErrChanged = errors.New("changed since it was read")

	// ErrSealed means that the store answers, and cannot read its own content
	// until somebody unseals it.
	ErrSealed = errors.New("sealed")

	// ErrNotServing means that the store is not initialised, has no active server, or is
	// a standby for disaster recovery, which serves no reads before it is promoted.
	ErrNotServing = errors.New("serves no secrets")

	// ErrMount means that the store answers, and that the part of it that was named is
	// none that keeps secrets with versions. It is a reach.ErrMisconfigured, too.
	ErrMount = errors.New("no place for secrets with versions")
)

// Secret is what is known of a secret's current version.
type Secret struct {
	// Data is the content: values as JSON has them, numbers as json.Number. It is
	// nil where there is none.
	Data map[string]any
	// Version is the current version, which the next write must name. 0 if there
	// has never been one.
	Version int
	Created time.Time // when this version was written
	Deleted bool      // the current version is deleted or destroyed
}

// Reader reads secrets. It changes nothing, and may be called any number of times
// and concurrently.
type Reader interface {
	// Read reads the current version. A Read that begins after a write has returned
	// sees that write, or a later one.
	//
	// A secret that is deleted is fs.ErrNotExist like one that never was; its
	// Version and Deleted, returned beside the error, still count for the next
	// write.
	Read(ctx context.Context, path string) (Secret, error)
	// Version reads an older version, or the current one by its number, as Read does.
	// What is deleted, destroyed or no longer kept is fs.ErrNotExist.
	Version(ctx context.Context, path string, version int) (Secret, error)
	// Book is what the store has written down about the secret's versions, which is
	// another source than what Read returns. It is empty, without an error, where there
	// never was one.
	Book(ctx context.Context, path string) (Book, error)
}

// State is what became of a version.
type State string

// The states of a version. A store that keeps only so many versions has no word of those
// that it dropped: they are Gone, as one that never was.
const (
	Kept      State = "kept"
	Deleted   State = "deleted"   // it is read no more, and can be undeleted
	Destroyed State = "destroyed" // its content is gone, and its number is not
	Gone      State = "gone"
)

// Book is a store's own record of the versions of a secret.
type Book struct {
	Current int // the newest version, deleted or not; 0 where there never was one
	Most    int // how many versions are kept; 0 where that is not known
	States  map[int]State
}

// State is what became of a version.
func (b Book) State(version int) State {
	if s, there := b.States[version]; there {
		return s
	}
	return Gone
}

// Writer writes secrets. It may be called concurrently, also by several processes.
type Writer interface {
	// Write writes data as the version after seen, and reads it back. seen is
	// [Secret.Version] as it was read; 0 means that the secret must never have
	// been. data is the whole content: keys that it lacks are gone from the new
	// version. Older versions stay, for [Guide.BringBack]. Numbers beyond 2^53 are
	// written as text: a store may keep no more of them.
	//
	// Where what is there afterwards is not data at version seen+1, the error is
	// [ErrChanged]: somebody else's write came first, or right after. Of any number
	// of writers that saw one version, one alone writes. The same write may be
	// called again: if what is there at version seen+1 is exactly data, an earlier
	// attempt has succeeded and this one does too, without a new version.
	Write(ctx context.Context, path string, data map[string]any, seen int) (Secret, error)
	// Delete makes a version [Deleted], and no other: whoever wrote a later one keeps it.
	// Where it was the current one, readers find nothing. It can be undeleted. Deleting
	// what is deleted, or is not there, changes nothing.
	Delete(ctx context.Context, path string, version int) error
	// MayDelete asks whether the caller may delete versions of the secret, and changes
	// nothing: fs.ErrPermission if not, nil also where the store does not tell.
	MayDelete(ctx context.Context, path string) error
}

// Guide tells people where a secret is. It asks nothing of the store, and its
// texts go into plans and reports: the same for the same secret each time, and
// never with anything of a content.
type Guide interface {
	// Address is where the store is, such as a URL.
	Address() string
	// Name is how the store's own tools call a secret, such as
	// "secret/lakehouse/payments".
	Name(path string) string
	// BringBack says how a person makes an older version of a secret, which is [Kept] or
	// [Deleted], the current one, such as by a command to paste.
	BringBack(path string, version int, is State) string
	// Remove says how a person sees to it that readers of a secret find nothing.
	Remove(path string) string
	// Fill says how a person writes a secret anew.
	Fill(path string) string
}

// Store is a secret store, with whatever selects a part of it, such as a mount,
// bound when it was opened.
//
// Every error names the secret and the store's address. None holds anything of a
// content or of the caller's own credential. A cancelled context ends each call
// with the context's error; a store that is silent ends it within a few seconds.
type Store interface {
	Reader
	Writer
	Guide
	// Health asks the store for its own account of its state. It needs no
	// permission. That it is sealed is no error here.
	Health(ctx context.Context) (Health, error)
}

// Health is a store's own account of its state. It says little about whether a
// secret can be read: see [Readable]. A store that knows no such states is
// initialised, and the rest is false.
type Health struct {
	Initialized bool
	Sealed      bool
	Recovery    bool // a secondary for disaster recovery
}

// String lists the states.
func (h Health) String() string {
	return fmt.Sprintf("initialised %t, sealed %t, secondary for disaster recovery %t", h.Initialized, h.Sealed, h.Recovery)
}

// Serves is nil if a store in this state serves secrets, or else [ErrSealed] or
// [ErrNotServing] with what to do.
func (h Health) Serves() error {
	switch {
	case !h.Initialized:
		return fmt.Errorf("%w: not initialised", ErrNotServing)
	case h.Sealed:
		return fmt.Errorf("%w; unseal it", ErrSealed)
	case h.Recovery:
		return fmt.Errorf("%w: a disaster recovery secondary; promote it first", ErrNotServing)
	}
	return nil
}

// Place is where a secret is, for people: its name and the store's address.
func Place(g Guide, path string) string { return g.Name(path) + " at " + g.Address() }

// Readable proves that a store serves secrets to its caller: it is healthy, and
// the given secret can be read.
func Readable(ctx context.Context, s Store, path string) error {
	h, err := s.Health(ctx)
	if err != nil {
		return err
	}
	if err := h.Serves(); err != nil {
		return fmt.Errorf("read %s: %w", Place(s, path), err)
	}
	_, err = s.Read(ctx, path)
	return err
}
