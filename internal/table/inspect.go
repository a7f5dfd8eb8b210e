package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"time"
)

// Inspector is a [Table] that people can look into: what the commands of
// `breakwater table` ask. It only reads.
type Inspector interface {
	// Point finds the version that is chosen and holds it against one listing. One
	// that can be read but is not complete is no error: see [Point]. The errors are
	// those of [Table.Snapshot] and [Table.Newest], or [ErrTooEarly].
	Point(ctx context.Context, c Choice) (Point, error)
	// States yields, in order, what time travel finds at each version. It lists the
	// table once and reads each commit once.
	States(ctx context.Context) iter.Seq2[State, error]
	// Check looks for whatever is wrong with the table. Its error says that something
	// could not be looked at; what is wrong is in the findings.
	Check(ctx context.Context, o CheckOptions) (Findings, error)
}

// Described is a [Snapshot] that says of itself what people ask.
type Described interface {
	Describe() Description
	// CountRows counts the live rows: by the log's statistics, and by the footers of
	// the files that have none, of which it tells how many it read.
	CountRows(ctx context.Context) (rows int64, footers int, err error)
}

// Choice says which version of a table is meant. The zero value asks for the
// newest complete one.
type Choice struct {
	Version *int64
	At      time.Time // the last version committed at or before it, in table time
}

// Point is a version of a table that can be gone back to.
type Point struct {
	Snapshot Snapshot
	Time     Version // as [Times] has it
	// Complete says that every object that the version needs is there at its size.
	// Lacks are those that are not.
	Complete bool
	Lacks    []Lack
	Objects  int // data files and deletion vectors that were looked for
	// Above is what the versions above lack, for the newest complete one.
	Above   []Above
	Outside []string
	// Warnings say why the choice may be another than the one meant.
	Warnings []string
}

// Description is what a version consists of.
type Description struct {
	ID, Name  string
	Files     int // live data files
	Bytes     int64
	Deletes   int   // files that say which rows are deleted
	Deleted   int64 // rows that they hide
	Partition []string
	Protocol  Protocol
	Features  []string
	// Properties are the table's, and Txns the last version of each streaming writer.
	Properties map[string]string
	Txns       map[string]int64
}

// Protocol is what a table asks of its readers and writers: JSON for programs, a
// few words for people.
type Protocol interface{ String() string }

// CheckOptions say how thorough a check is. The zero value reads no data file.
type CheckOptions struct {
	Choice Choice // the zero value is the head of the log
	// Sample is of how many data files the footer is read, chosen by Seed; all
	// where it is negative. What says which rows are deleted is read, all of it.
	Sample int
	Seed   uint64
	// Against is another copy of the table, or nil.
	Against Table
	Now     time.Time // for what the table's retention promises; zero skips that
}

// ProblemKind tells problems apart, in a few words.
type ProblemKind string

// Problem is one thing that is wrong.
type Problem struct {
	Kind ProblemKind `json:"kind"`
	Text string      `json:"text"`
}

// Findings are what a check found. Nothing was looked at that they do not count.
type Findings struct {
	Snapshot Snapshot `json:"-"` // nil where the log gives none
	Version  int64    `json:"version"`
	Head     int64    `json:"head"`
	// Complete says that the log gives the version asked for and that every object
	// of it is there at its size.
	Complete bool      `json:"complete"`
	Missing  []Lack    `json:"missing"`
	Resized  []Lack    `json:"resized"`
	Problems []Problem `json:"problems"`
	Warnings []string  `json:"warnings"`
	// Unversioned is why a write where something lacks may destroy what is left of it, with
	// what to do first; empty where nothing lacks, or every write makes a new version.
	Unversioned string `json:"unversioned,omitempty"`

	Objects int     `json:"objects_checked"` // held against the listing
	Files   int     `json:"files"`           // live data files
	Footers int     `json:"footers_read"`
	Sampled bool    `json:"sampled"` // whether that is a part of the files
	Seed    uint64  `json:"seed,omitempty"`
	Vectors int     `json:"deletion_vectors_read"`
	Travel  *Travel `json:"time_travel,omitempty"`
	Fork    *Fork   `json:"fork,omitempty"`

	// Time is when the version was committed, as [Times] has it.
	Time Version `json:"-"`
}

// Sound reports whether nothing is wrong.
func (f Findings) Sound() bool { return f.Complete && len(f.Problems) == 0 }

// Hidden reports whether all that is wrong is that objects are hidden whose versions are
// kept, in a bucket whose versioning is not on: what is lost is not known before it is on
// and they are brought back.
func (f Findings) Hidden() bool {
	all := slices.Concat(f.Missing, f.Resized)
	return f.Unversioned != "" && len(all) > 0 && len(f.Problems) == 0 && !slices.ContainsFunc(all, func(l Lack) bool { return l.Kept == "" })
}

// Travel is which versions can be read in full.
type Travel struct {
	Readable []Range `json:"readable"`
	// Promised is the oldest version that the table's retention promises, and
	// Lost are those from there on that cannot be read.
	Promised int64   `json:"promised"`
	Lost     []Range `json:"lost"`
	Keeps    string  `json:"keeps"` // the shorter retention of log and files
}

// Fork is where two copies of one log part.
type Fork struct {
	// Common is the last version that both have with the same bytes, -1 where
	// they differ from their first common version on.
	Common int64 `json:"common"`
	// Compared is how many commits are in both.
	Compared int `json:"compared"`
	// Here and There are the versions that only this copy and only the other
	// have: another commit under the same number, or one that the other lacks.
	Here  []int64 `json:"here"`
	There []int64 `json:"there"`
}

// Diverged reports whether both have commits that the other has not: merging the
// copies, or writing one over the other, loses some (trap 28).
func (f Fork) Diverged() bool { return len(f.Here) > 0 && len(f.There) > 0 }

// Open looks at a table of which nobody says what format it has: it is of the
// first one, by name, that finds one there. Where none does, the error is that of
// the first, and [fs.ErrNotExist].
func (f Formats) Open(ctx context.Context, store Store, root Root) (Format, Table, error) {
	var none error
	for _, name := range slices.Sorted(maps.Keys(f)) {
		t, err := f[name].Open(ctx, store, root)
		switch {
		case err == nil:
			return f[name], t, nil
		case !errors.Is(err, fs.ErrNotExist):
			return f[name], nil, err
		case none == nil:
			none = err
		}
	}
	if none == nil {
		none = fmt.Errorf("open %s: this process knows no table format: %w", root, ErrUnsupported)
	}
	return nil, nil, none
}
