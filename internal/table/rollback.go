package table

import (
	"context"
	"slices"
	"time"
)

// ErrHeadMoved says that the head is no longer the one that a rollback was planned
// against. Nothing was written. It is an [ErrMoved], too.
var ErrHeadMoved = Kind("the table has another head than planned", ErrMoved)

// ErrMissing says that objects which a version needs are not there as the log records
// them. It is an [ErrRefused], too.
var ErrMissing = Kind("objects that it needs are not there", ErrRefused)

// Rollbacker is a [Format] that can bring back what a table held at an older
// version by a new commit: no version is used twice, and the head that is
// replaced stays readable.
type Rollbacker interface {
	// PlanRollback works out the commit from the table as it was opened. It only
	// reads. [ErrRefused] says why there cannot be one.
	PlanRollback(ctx context.Context, s Site, t Table, to Destination) (Rollback, error)
	// Aim gives what the table holds afterwards, as a version that no commit made: its
	// number is the destination's. It only reads the log.
	Aim(ctx context.Context, t Table, to Destination) (Snapshot, error)
	// FindRollback looks right above a head for the commit that an earlier attempt
	// with the same token made. It answers [io/fs.ErrNotExist] where nobody committed
	// there, and [ErrMoved] where somebody else did.
	FindRollback(ctx context.Context, s Site, head int64, token string) (Mark, error)
	// MarkOf reads what a rollback left in its commit; false where the commit is
	// none.
	MarkOf(c Commit) (Mark, bool)
}

// Destination is what a rollback brings back: what a table held at a version, with what
// single later commits changed since. Every other later commit goes.
//
// What is kept is what its commit changed, on top of what is kept before it. Where that
// cannot be told apart, since it removed what a commit that goes had brought, the
// rollback is refused by name: [ErrRefused].
type Destination struct {
	Version int64
	Keep    []int64 // versions after it
}

// Rollback is a commit worked out against one head.
type Rollback interface {
	Facts() RollbackFacts
	// Commit makes it right above the head, and returns its version. Called again
	// with the same token, it finds its first commit and writes nothing. [ErrMoved]
	// says that another commit is there.
	Commit(ctx context.Context, st Stamp) (version int64, wrote bool, err error)
}

// RollbackChecker is a [Rollbacker] that can look at a rollback that was made. It
// shares no way of looking with PlanRollback.
type RollbackChecker interface {
	// Committed looks whether the version is the commit with the mark.
	Committed(ctx context.Context, t Table, version int64, m Mark) Look
	// Undisturbed looks whether no version after one changed data.
	Undisturbed(ctx context.Context, t Table, version int64) Look
	// SameFiles looks whether a version has the logical files that another one has, with
	// those that later versions brought that were kept, and without those that they removed.
	SameFiles(ctx context.Context, t Table, was Snapshot, kept []int64, is Snapshot) Look
	// SameRows looks whether a version reads as another one does, with what each version
	// that was kept changed: the difference to the version before it. What both take from the same
	// objects in the same way is not read: rows are read of files that are recorded
	// otherwise, and of those that the replaced head did not have or that need one of
	// the keys in brought, which must open and hold the rows that the log says.
	SameRows(ctx context.Context, t Table, head int64, was Snapshot, kept []int64, is Snapshot, brought []string) Look
	// MarksHold looks whether nothing that only grows fell below what the replaced
	// head had given out.
	MarksHold(ctx context.Context, t Table, head int64, was, is Snapshot) Look
}

// RollbackFacts are what people approve.
type RollbackFacts struct {
	Head, Target Version
	// Empty says that the head has the target's content already.
	Empty bool
	// Digest is the SHA-256, in hexadecimal, of everything in the commit but its
	// time and its token: equal digests mean equal commits.
	Digest  string
	Key     string // of the one object that Commit writes, in the table's bucket
	Metrics Metrics
	Between Between
	// Added and Removed are the paths of the files that come back and go, in order.
	Added, Removed []string
	Kept           []string // domains of metadata that stay as the head has them
	Outside        []string // folders outside of the table from which files come back
	Retention      Retention
	// Replays are the versions after the target that are kept, in order. Later is what
	// becomes of every version after it, where any was to be kept.
	Replays []int64
	Later   []Later
	// RowsGiven is how many rows are given up at most, -1 where the statistics do not say.
	RowsGiven int64
}

// Later is what becomes of a commit after the target.
type Later struct {
	Event
	Adds    int  // logical files
	Changes bool // data: else it rearranges it alone, or leaves it as it is
	Named   bool // it was to be kept
	Kept    bool // it is
	// Reads says that what a kept commit changed may follow from what it read of the table,
	// which may have been what goes.
	Reads bool
	// Properties says that it changed properties of the table. They become the target's.
	Properties bool
}

// Stamp is who commits, and when.
type Stamp struct {
	Token string    // the same in every attempt, and of no other commit
	Run   string    // for people
	Now   time.Time // of this attempt
}

// Mark is what a rollback leaves in its commit.
type Mark struct {
	Token  string `json:"token"`
	Run    string `json:"run"`
	Plan   string `json:"plan"`    // its digest
	Target int64  `json:"target"`  // whose content came back
	Bad    int64  `json:"badHead"` // the head that it replaced: the evidence (trap 15)
	// Kept are the versions between both whose changes were kept, in order.
	Kept []int64 `json:"kept,omitempty"`
}

// Equal reports whether both are of the same commit.
func (m Mark) Equal(o Mark) bool {
	return m.Token == o.Token && m.Run == o.Run && m.Plan == o.Plan && m.Target == o.Target && m.Bad == o.Bad && slices.Equal(m.Kept, o.Kept)
}

// Metrics count what a rollback does. Sizes are in bytes. Rows are -1 where the
// statistics do not say.
type Metrics struct {
	Restored      int   `json:"restored"`
	RestoredBytes int64 `json:"restored_bytes"`
	Removed       int   `json:"removed"`
	RemovedBytes  int64 `json:"removed_bytes"`
	FilesAfter    int   `json:"files_after"`
	BytesAfter    int64 `json:"bytes_after"`
	RowsBefore    int64 `json:"rows_before"`
	RowsAfter     int64 `json:"rows_after"`
	RowsRemoved   int64 `json:"rows_removed"` // live rows of the files that are removed
}

// Between is what happened from the target to the head that a rollback does not
// take back, or that whoever approves one has to know.
type Between struct {
	// Skipped are the streaming writers whose batches after the target's, up to the
	// head's, are skipped when they are sent again: a rollback does not take what
	// they recorded back (traps 9 and 10).
	Skipped []Skipped `json:"skipped,omitempty"`
	// Vacuum is the last cleanup that was started and of which no end is recorded
	// (trap 13): it may be deleting files now.
	Vacuum *Event `json:"vacuum,omitempty"`
	// Unexplained are commits whose removes their operation does not explain, which
	// can make a loss of files lawful (trap 23).
	Unexplained []Event `json:"unexplained,omitempty"`
	// Commits counts the versions after the target, Unread those among them whose
	// commit the log no longer has.
	Commits int64 `json:"commits"`
	Unread  int64 `json:"unread,omitempty"`
	// Oldest is when the first of the files that come back was removed, zero
	// where no remove says: from then on its retention runs (trap 14).
	Oldest time.Time `json:"oldest,omitzero"`
}

// Skipped is what a streaming writer recorded at the target and at the head.
type Skipped struct {
	App  string `json:"app"`
	Then int64  `json:"then"` // -1 where it had recorded nothing
	Now  int64  `json:"now"`
}

// Event is one commit.
type Event struct {
	Version   int64     `json:"version"`
	Time      time.Time `json:"time,omitzero"` // by what its writer recorded
	Operation string    `json:"operation"`
	Removes   int       `json:"removes,omitempty"`
}
