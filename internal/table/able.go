package table

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrRefused says that a rule of the format, or the state of the table, forbids
// what was asked: no retry can help.
var ErrRefused = errors.New("refused")

// ErrMoved says that the table is no longer what the plan saw. Nothing was
// written over: look again, and plan again.
var ErrMoved = errors.New("the world moved since the plan was approved")

// ErrUnable says that a format has not the ability that was asked for. It is an
// [ErrRefused], too.
var ErrUnable = Kind("the format has no such ability", ErrRefused)

// Able asks a [Format] or a [Snapshot] for an ability, which is an interface. The
// error is [ErrUnable] and names the format; done ends "tables of it cannot be".
func Able[T any](format string, of any, done string) (T, error) {
	able, ok := of.(T)
	if !ok {
		return able, fmt.Errorf("%w: tables of format %s cannot be %s here", ErrUnable, format, done)
	}
	return able, nil
}

// Site is a table in a bucket that may be changed.
type Site struct {
	Store Changer
	Root  Root
	Name  string // of the table, as people know it, for errors
}

// Work is how a call that changes something is watched over.
type Work struct {
	// Guard is asked before a change, or before a group of changes that follow each
	// other at once. Its error ends the call and is returned as it is.
	Guard func(context.Context) error
	// Progress is told how many of a known number of things are done.
	Progress func(done, total int64, doing string)
}

// Look is one thing that was looked at after a change: what, what was wanted, what
// was found, and whether that is it. Err says that it could not be looked at, or
// that reading it showed it broken; Got and OK then say nothing.
type Look struct {
	What, Want, Got string
	OK              bool
	Err             error
}

// Effect is one change that a plan would make, for people.
type Effect struct {
	On string // the address of an object
	Do string
	// From and To say what is there and what is to be, where that is not said
	// already.
	From, To string
}

// Condition is an object that a plan rests on, by its address and ETag.
type Condition struct{ On, ETag string }

// Digest is what a table's rows come down to, in whatever order and layout they
// lie: the same rows have the same digest, and one changed, lost, doubled or
// resurrected row gives another.
type Digest struct {
	Rows int64
	Sum  [32]byte // big-endian
}

// Hash is the sum in hexadecimal, as journals keep it.
func (d Digest) Hash() string { return hex.EncodeToString(d.Sum[:]) }

// String is the row count and the sum in hexadecimal, for people.
func (d Digest) String() string { return fmt.Sprintf("%d:%s", d.Rows, d.Hash()) }

// RowReader is a [Snapshot] whose rows can be read. [ErrColumn] says that a
// column cannot, which leaves nothing known of the rows.
type RowReader interface {
	// Sum reads all live rows. It may be called again, and gives the same.
	Sum(ctx context.Context) (Digest, error)
}

// Coordinated is a [Snapshot] that may belong to a table whose commits somebody else
// decides than the log: a catalog, or a commit coordinator.
type Coordinated interface {
	// Coordinator names the feature or property that says so; empty where the log
	// decides.
	Coordinator() string
}

// Screened is a [Table] that tells of its head, without the files that it has, whether its
// log can be gone by: who decides which commits count as [Coordinated] does, or by
// [ErrUnsupported] what it asks for that is not known here. A part of the log that is not
// there, or is broken, is passed over.
type Screened interface {
	Screen(ctx context.Context) (coordinator string, err error)
}

// Portable is a [Snapshot] of which a copy can stand for itself. It only reads.
type Portable interface {
	// Beside tells what a copy holds beside the closure.
	Beside(ctx context.Context) (Beside, error)
}

// Beside is what a copy of a version holds beside what the version needs.
type Beside struct {
	// Files are of use to readers, and none of them is needed: a copy holds those
	// that are there. Their size is -1.
	Files []File
	// Pointer is the object that the copy's pointer into the log is, written last,
	// and Body what it must say. The key is empty where the copy needs none, or the
	// one that is there is right and among Files.
	Pointer string
	Body    []byte
}

// Restorer is a [Format] whose tables can come back from a copy that was made of
// [Snapshot.Closure] and [Beside], in the order of [Stages].
type Restorer interface {
	// Hides reports whether an object would make readers see more than the restored
	// version, so that it must go before the log is written, by its key.
	Hides(root Root, key string) bool
	// Restored looks at what a listing alone does not show of a restored version.
	Restored(ctx context.Context, store Store, root Root, version int64) []Look
}

// Promoter is a [Format] that can make an older version the head of a table where
// it lies: what is later moves aside, and nothing is destroyed.
//
// A plan is the format's own JSON, with what [PlanHead] reads in it. Planning only
// reads. Promote and Return go by what is there, so that a second call, or one
// after a crash, does what is left. Their errors are [ErrMoved] where the table is
// not as planned, [ErrRefused] where it cannot be done any more, and the guard's.
// Promoted and Returned share no way of looking with what they look at.
type Promoter interface {
	// PlanPromotion plans to make a version the head. What moves is kept below
	// folder, in which an earlier attempt of the same step may have put some: that
	// it finds again, so that taking back takes that back too. Whether the version's
	// objects are there is the caller's to see.
	PlanPromotion(ctx context.Context, s Site, t Table, to Snapshot, folder string) (Move, error)
	Promote(ctx context.Context, s Site, plan json.RawMessage, w Work) (changes int64, err error)
	// Promoted looks at what the version being the head and complete does not show.
	Promoted(ctx context.Context, s Site, t Table, plan json.RawMessage) []Look
	// PlanReturn plans to take a promotion back. The plan is the promotion's own.
	PlanReturn(ctx context.Context, s Site, plan json.RawMessage) (Move, error)
	Return(ctx context.Context, s Site, plan json.RawMessage, w Work) (changes int64, err error)
	Returned(ctx context.Context, s Site, plan json.RawMessage) []Look
}

// Move is a planned promotion, or the plan to take one back.
type Move struct {
	Plan       json.RawMessage
	Effects    []Effect // what is left to do, in order
	Conditions []Condition
	Objects    int // that move, and that no earlier attempt moved
}

// PlanHead is what a plan of every [Promoter] has.
type PlanHead struct {
	Version int64 `json:"version"` // to be the head
	Head    int64 `json:"head"`    // as it was seen
}

// HeadOf reads what every promotion's plan has.
func HeadOf(plan json.RawMessage) (PlanHead, error) {
	var h PlanHead
	if err := json.Unmarshal(plan, &h); err != nil {
		return h, fmt.Errorf("read the plan of a promotion: %w", err)
	}
	return h, nil
}
