package table

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/plural"
)

// Range is a run of consecutive versions, both ends included.
type Range struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

// Has reports whether a version lies in the run.
func (r Range) Has(number int64) bool { return r.First <= number && number <= r.Last }

// String is for people: one version, or the first and the last.
func (r Range) String() string {
	if r.First == r.Last {
		return strconv.FormatInt(r.First, 10)
	}
	return fmt.Sprintf("%d to %d", r.First, r.Last)
}

// Words is the run with its noun: version 3, versions 3 to 5.
func (r Range) Words() string {
	if r.First == r.Last {
		return "version " + r.String()
	}
	return "versions " + r.String()
}

// Ranges groups versions, which are in order, into runs.
func Ranges(versions []int64) []Range {
	return Runs(func(int64, int64) bool { return true }, versions)
}

// Runs groups the versions that ok accepts; ok is told the last accepted one, or
// the least number that there is.
func Runs(ok func(number, last int64) bool, versions []int64) []Range {
	var out []Range
	last := int64(math.MinInt64)
	for _, v := range versions {
		if !ok(v, last) {
			continue
		}
		if n := len(out); n > 0 && v == last+1 {
			out[n-1].Last = v
		} else {
			out = append(out, Range{v, v})
		}
		last = v
	}
	return out
}

// Extent is which versions one look at a table showed, by names alone: reading
// can still show that a part of it is corrupt.
type Extent struct {
	Head int64 // the newest of which anything is there
	// Readable are the runs of versions that the log gives, in order.
	Readable []Range
	// Committed are the runs of versions of which a commit is there, in order.
	Committed []Range
	// Gaps are the runs of versions between the first and the head of which
	// nothing is there, in order.
	Gaps []Range
	// LogStore is the log store that left its traces in the log, [S3DynamoDB]; empty for
	// one that writes commits to their names at once.
	LogStore string
	// Pending are versions above the head that may have been committed and
	// acknowledged, and that the log does not have, in order: as a log store leaves
	// them that enters a commit elsewhere before it publishes it. Their time is when
	// they were written.
	Pending []Version
	// Memory is about how many bytes it takes to read the head and hold it against a
	// listing, by the sizes of the log's objects: whoever reads several tables at once
	// plans with it.
	Memory int64
}

// S3DynamoDB is the log store that enters a commit in DynamoDB before it publishes it in
// the log: what of it is not published yet is known there alone.
const S3DynamoDB = "s3-dynamodb"

// Times is when the versions of a table were committed, in their order.
type Times struct {
	Versions []Version
	// Warnings say where times contradict the order of versions, as those of log
	// objects do after a copy (trap 21): a version chosen by such a time is whatever
	// the copy made of it.
	Warnings []string
}

// Of is when a version was committed; false where nothing says so.
func (t Times) Of(n int64) (Version, bool) {
	i, ok := slices.BinarySearchFunc(t.Versions, n, func(v Version, n int64) int {
		return int(min(1, max(-1, v.Number-n)))
	})
	if !ok {
		return Version{Number: n}, false
	}
	return t.Versions[i], true
}

// At is the last version committed at or before a time. Where times run back, as
// they can where a table begins to record them, the later versions decide.
func (t Times) At(at time.Time) (Version, error) {
	for _, v := range slices.Backward(t.Versions) {
		if !v.Time.After(at) {
			return v, nil
		}
	}
	if len(t.Versions) == 0 {
		return Version{}, fmt.Errorf("%w: no commit is in the log; choose by version", ErrTooEarly)
	}
	first := t.Versions[0]
	return Version{}, fmt.Errorf("%w: %s is before version %d, of %s (%s); ask for that version, or for a later time",
		ErrTooEarly, at.UTC().Format(time.RFC3339Nano), first.Number, first.Time.Format(time.RFC3339Nano), first.From)
}

// Named is the version with a reference; false where none has it.
func (t Times) Named(ref string) (Version, bool) {
	i := slices.IndexFunc(t.Versions, func(v Version) bool { return v.Ref != "" && v.Ref == ref })
	if i < 0 {
		return Version{}, false
	}
	return t.Versions[i], true
}

// Cleanup says what a commit tells of files being deleted that no version within
// the table's retention needs.
type Cleanup string

// What a commit tells of a cleanup of files.
const (
	NoCleanup    Cleanup = ""
	CleanupBegan Cleanup = "began"
	CleanupEnded Cleanup = "ended"
)

// Commit is what one log entry says about itself.
type Commit struct {
	Version   Version
	Operation string // in the format's words
	Cleanup   Cleanup
	// Rows is how many rows it brought: the live rows of the files it adds as a
	// change of data, without files of which it only replaces what is deleted. For
	// an operation that rewrites files (Removed > 0) it counts rewritten rows too.
	// -1 where the statistics do not say.
	Rows    int64
	Removed int // logical files removed
	// Committed is the clock of whoever committed, zero where it is not recorded.
	Committed time.Time
	Info      json.RawMessage // what the writer left, whole, in the format's words
	Apps      []string        // the streaming writers that recorded a batch with it
}

// ErrNoneComplete says that no version of the table is complete here. The
// evidence beside it says what each one lacks.
var ErrNoneComplete = errors.New("no complete version")

// ErrTooEarly says that a table has no version at or before the time asked for,
// as far as its log reaches back.
var ErrTooEarly = errors.New("no version as old as that")

// Newest is the newest complete version of a table and why no later one is.
type Newest struct {
	Snapshot Snapshot // nil with ErrNoneComplete
	// Above tells of every version above it, in order, up to the head; of a gap in
	// one piece.
	Above []Above
}

// Above is what keeps a version above the newest complete one from being it.
type Above struct {
	Version Version // without a time where its commit is not there
	// Commit says whether the version's log entry is there.
	Commit bool
	// Through is the last version of a gap that begins at Version, of which the
	// listing shows nothing; otherwise Version's number.
	Through int64
	Rows    int64 // that its commit brought: see [Commit]; -1 where unknown
	// Lacks are the objects that this version itself brought and that are not
	// there as recorded.
	Lacks []Lack
	// Inherited counts the objects lacking that earlier versions brought.
	Inherited int
	// Fault says in words what is wrong with the log at this version, or that
	// the version is complete but lies past the time asked for.
	Fault string
}

// Why says in words what keeps the version from being complete.
func (a Above) Why() string {
	var parts []string
	if a.Fault != "" {
		parts = append(parts, a.Fault)
	}
	if n := len(a.Lacks); n == 1 {
		parts = append(parts, a.Lacks[0].String())
	} else if n > 1 {
		parts = append(parts, fmt.Sprintf("%s of its own lack, the first: %s", plural.Of(n, "object"), a.Lacks[0]))
	}
	if a.Inherited > 0 {
		parts = append(parts, fmt.Sprintf("it lacks %d that earlier versions brought", a.Inherited))
	}
	return strings.Join(parts, "; ")
}

// State is whether one version can be read in full.
type State struct {
	Version Version
	Lacks   int    // objects that live files need and that are not there as recorded
	Fault   string // why the log does not give the version; empty where it does
}

// Complete reports whether the version can be read in full.
func (s State) Complete() bool { return s.Lacks == 0 && s.Fault == "" }
