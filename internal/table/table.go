// Package table is the port of table formats, and the words for a table seen from
// recovery: a [Version], the [File]s that it needs, and what of them is lacking in
// a listing of what exists.
//
// # The port
//
// A [Format] opens a [Table] where it lies, and a table gives a [Snapshot] of each
// version. What a format can do beyond reading is an ability, asked for by
// [Able]: [RowReader], [Portable], [Restorer], [Promoter], [Rollbacker],
// [RollbackChecker], [Attributer]. Who lacks one is refused by name; nobody compares formats.
//
// Nothing here knows a format. Each stands in a folder below, behind the port and
// held to it by package tabletest, so that a cut over tables of several needs one
// vocabulary only.
//
// # Completeness
//
// A version is complete where every object of its closure exists with the size
// that the log recorded. The question is put to a listing and never object by
// object: one LIST page answers for 1,000 objects, a HEAD for one.
package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"breakwater/internal/plural"

	"golang.org/x/sync/errgroup"
)

// TimeSource says where a version's time comes from, which decides how far it
// can be trusted.
type TimeSource string

// The sources of a version's time, the most trustworthy first. None is the zero
// value: no time is known.
const (
	None TimeSource = ""
	// InCommit is recorded inside the commit and monotonic by protocol.
	InCommit TimeSource = "in-commit"
	// CommitInfo is the committing client's clock, recorded inside the commit.
	CommitInfo TimeSource = "commit info"
	// ObjectTime is the modification time of the log object, which a copy to
	// another bucket replaces by the time of the copy.
	ObjectTime TimeSource = "object time"
)

// Version is one version (Delta) or snapshot (Iceberg) of a table.
type Version struct {
	// Number orders the versions of a table: a later one has a larger number. Two
	// that follow each other directly have numbers that do, so that a gap in the
	// numbers is a gap in what is known.
	Number int64      `json:"number"`
	Time   time.Time  `json:"time,omitzero"` // UTC; the zero time where From is None
	From   TimeSource `json:"from,omitempty"`
	// Ref is what the format itself names the version by, where that is not the
	// number: the location of Iceberg's metadata, say. It is of this version alone,
	// and stays. Empty for Delta.
	Ref string `json:"ref,omitempty"`
}

// Why says what a version needs an object for.
type Why string

// What a version needs an object for.
const (
	Data           Why = "data"
	DeletionVector Why = "deletion vector"
	LogEntry       Why = "log"
)

// File is one object that a version needs.
type File struct {
	// Bucket is empty for the table's own bucket. Otherwise it names another
	// one as the log does: "primary-lake" for s3, "gs://name" for others.
	Bucket string `json:"bucket,omitempty"`
	Key    string `json:"key"`  // in that bucket, decoded
	Size   int64  `json:"size"` // bytes
	// AtLeast says that Size is a lower bound, since the log does not record
	// the whole size (a file of several deletion vectors).
	AtLeast bool  `json:"at_least,omitempty"`
	Rows    int64 `json:"rows"` // live rows, or -1 where unknown or without meaning
	Why     Why   `json:"why"`
	// Name is how people name it, where that is not the key: the path of a file.
	Name string `json:"-"`
}

// URI names the file for people.
func (f File) URI() string {
	switch {
	case f.Name != "":
		return f.Name
	case f.Bucket == "":
		return f.Key
	}
	return f.Bucket + "/" + f.Key
}

// Closure is every object that a version needs, each once. It ends after the
// first error.
type Closure = iter.Seq2[File, error]

// Object is one object of a listing.
type Object struct {
	Key       string // in its bucket
	Size      int64  // bytes
	Modified  time.Time
	ETag      string
	VersionID string
	// Archived: it is there, and nobody can read it before it is restored from an
	// archive.
	Archived bool
	// Ask tells Archived of a listed object whose listing does not, with one request;
	// nil where the listing does. [io/fs.ErrNotExist] says that it is gone since.
	Ask func(context.Context) (archived bool, err error)
}

// InArchive is what [Judge] takes for the size of an object in an archive.
const InArchive int64 = -2

// Found is the object's size as [Judge] takes it.
func (o Object) Found() int64 {
	if o.Archived {
		return InArchive
	}
	return o.Size
}

// Fault says how an object falls short.
type Fault string

// How an object falls short.
const (
	Absent    Fault = "absent"
	Resized   Fault = "has another size"
	Elsewhere Fault = "lies in another bucket"
	Archived  Fault = "lies in an archive"
)

// Lack is one object that a version needs and that is not there as recorded.
type Lack struct {
	File  File  `json:"file"`
	Fault Fault `json:"fault"`
	Found int64 `json:"found"` // its size in bytes, -1 where absent or not looked for
	// Kept is the newest earlier version of the object that has the recorded size, where
	// somebody looked for it and it is there.
	Kept string `json:"kept_version,omitempty"`
}

// Compare orders by where the objects lie.
func (l Lack) Compare(o Lack) int { return strings.Compare(l.File.URI(), o.File.URI()) }

// String is one line for people: what, how, and how big it should have been.
func (l Lack) String() string {
	kept := ""
	if l.Kept != "" {
		kept = "; its version " + l.Kept + " is kept, and can be brought back (storage.undelete)"
	}
	switch l.Fault {
	case Resized:
		return fmt.Sprintf("%s %s has %s, recorded %d", l.File.Why, l.File.URI(), plural.Of(l.Found, "byte"), l.File.Size) + kept
	case Archived:
		return fmt.Sprintf("%s %s lies in an archive: restore it from there first", l.File.Why, l.File.URI())
	case Elsewhere:
		return fmt.Sprintf("%s %s lies in another bucket", l.File.Why, l.File.URI())
	}
	return fmt.Sprintf("%s %s is absent, recorded %s", l.File.Why, l.File.URI(), plural.Of(l.File.Size, "byte")) + kept
}

// Judge compares a file with what a listing shows under its key; found is -1
// where it shows nothing, and [InArchive] where nobody can read it. It reports false
// where nothing is lacking.
func Judge(f File, found int64) (Lack, bool) {
	switch {
	case f.Bucket != "":
		return Lack{File: f, Fault: Elsewhere, Found: -1}, true
	case found == InArchive:
		return Lack{File: f, Fault: Archived, Found: -1}, true
	case found < 0:
		return Lack{File: f, Fault: Absent, Found: -1}, true
	case found < f.Size, found > f.Size && !f.AtLeast:
		return Lack{File: f, Fault: Resized, Found: found}, true
	}
	return Lack{}, false
}

// askedAtOnce is how many objects are asked side by side whether they lie in an archive.
const askedAtOnce = 32

// Ask asks of listed objects, side by side, what their listing did not tell, and calls
// found with the size of each as [Judge] takes it, one call at a time.
func Ask(ctx context.Context, listed iter.Seq[Object], found func(key string, size int64)) error {
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(askedAtOnce)
	var mu sync.Mutex
	for o := range listed {
		if wctx.Err() != nil {
			break
		}
		work.Go(func() (err error) {
			size := o.Size
			if o.Ask != nil {
				o.Archived, err = o.Ask(wctx)
				size = o.Found()
			}
			if errors.Is(err, fs.ErrNotExist) {
				size, err = -1, nil
			}
			if err != nil {
				return fmt.Errorf("ask whether %s lies in an archive: %w", o.Key, err)
			}
			mu.Lock()
			defer mu.Unlock()
			found(o.Key, size)
			return nil
		})
	}
	return errors.Join(work.Wait(), ctx.Err())
}

// Lacking returns what of the closure the listing does not show at its size, or shows
// and nobody can read. counted is how many objects the closure has: with zero objects
// counted nothing was proven.
//
// The closure is held in memory and the listing is streamed, so a prefix full
// of old files costs nothing. A listing that ends with an error concludes
// nothing, and neither does a closure that does.
func Lacking(ctx context.Context, closure Closure, listing iter.Seq2[Object, error]) (lacks []Lack, counted int, err error) {
	type want struct {
		File
		found int64
	}
	var wants []want
	at := map[string]int{}
	for f, err := range closure {
		if err != nil {
			return nil, 0, fmt.Errorf("walk the closure: %w", err)
		}
		if f.Bucket == "" {
			at[f.Key] = len(wants)
		}
		wants = append(wants, want{f, -1})
	}
	var asked []Object
	for o, err := range listing {
		if err != nil {
			return nil, 0, fmt.Errorf("list what exists: %w", err)
		}
		if i, ok := at[o.Key]; ok {
			if wants[i].found = o.Found(); o.Ask != nil {
				asked = append(asked, o)
			}
		}
	}
	if err := Ask(ctx, slices.Values(asked), func(key string, size int64) { wants[at[key]].found = size }); err != nil {
		return nil, 0, err
	}
	for _, w := range wants {
		if l, lacks1 := Judge(w.File, w.found); lacks1 {
			lacks = append(lacks, l)
		}
	}
	return lacks, len(wants), nil
}
