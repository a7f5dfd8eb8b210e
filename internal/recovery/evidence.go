package recovery

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Unknown is the value of a count of rows that nobody could tell.
const Unknown int64 = -1

// ErrEmptyGroup means that a group has neither table nor partition: nothing was
// looked at, so nothing is concluded.
var ErrEmptyGroup = errors.New("consistency group is empty")

// ErrNoCut is in the chain of a [NoCutError].
var ErrNoCut = errors.New("no cut exists")

// ErrEvidence is in the chain of an error about evidence that contradicts itself
// or names a dataset twice.
var ErrEvidence = errors.New("evidence contradicts itself")

// NoCutError names the dataset that leaves no moment to go back to. It wraps
// [ErrNoCut].
type NoCutError struct {
	Dataset string // a table, or a topic and partition as "topic/3"
	Reason  string // what was found
	Help    string // what to do next
	// Unchanged is a table or topic that people can take to be unchanged, so that it
	// does not hold the cut back; empty where that helps nothing.
	Unchanged string
	// LeaveOut are the tables or topics of which the group can come back without one.
	LeaveOut []string
}

func (e *NoCutError) Error() string {
	text := fmt.Sprintf("choose the cut: %s: %s; %s", e.Dataset, e.Reason, e.Help)
	if e.Unchanged != "" {
		text += fmt.Sprintf(", or take %s to be unchanged if nobody writes to it (input assume_unchanged)", e.Unchanged)
	}
	return text + fmt.Sprintf(", or let the group come back without %s (input leave_out)", strings.Join(e.LeaveOut, " or "))
}

func (e *NoCutError) Unwrap() error { return ErrNoCut }

// NotMonotoneError names a table whose commit times run backwards, so that "the
// version at a moment" has no meaning. It wraps [ErrEvidence].
type NotMonotoneError struct {
	Table          string
	Earlier, Later Version // Later has the larger number and the earlier time
}

func (e *NotMonotoneError) Error() string {
	return fmt.Sprintf("choose the cut: %s: version %d was committed at %s, before version %d at %s; "+
		"enable in-commit timestamps or repair the times, or take the table out of the group",
		e.Table, e.Later.Version, stamp(e.Later.CommittedAt), e.Earlier.Version, stamp(e.Earlier.CommittedAt))
}

func (e *NotMonotoneError) Unwrap() error { return ErrEvidence }

// Version is one version of a table of which the target holds something: its
// log entry, a checkpoint, or all of it.
type Version struct {
	Version int64 `json:"version"`
	// CommittedAt is the source's commit time. Zero means that the time did not
	// arrive (a checkpoint without its log entry): the version then bounds the
	// loss, but no cut can land on it.
	CommittedAt time.Time `json:"committed_at,omitzero"`
	// Rows is the number of rows of the table at this version, or Unknown.
	Rows int64 `json:"rows"`
	// Appended is the number of rows that this version added, without rows only
	// moved by a rewrite, or Unknown.
	Appended int64 `json:"appended"`
	// Complete means that every object the version needs is at the target at its
	// size. False also stands for "not looked at".
	Complete bool `json:"complete"`
}

// Head is a table as one reader saw it at the source.
type Head struct {
	At          time.Time `json:"at"` // on the reader's clock
	Version     int64     `json:"version"`
	Rows        int64     `json:"rows"` // or Unknown
	CommittedAt time.Time `json:"committed_at,omitzero"`
}

// Peak is the declared limit on what can be written: in any interval of s
// seconds at most PerSecond × s + Burst rows or messages are acknowledged.
// Burst is the largest single commit or batch. PerSecond must be positive; a
// peak that is not counts as undeclared.
type Peak struct {
	PerSecond float64 `json:"per_second"`
	Burst     int64   `json:"burst,omitzero"`
}

func (p *Peak) declared() bool { return p != nil && p.PerSecond > 0 && p.Burst >= 0 }

// TableState is what is known of one table.
type TableState struct {
	Name string `json:"name"`
	// Versions in any order, those beyond the newest complete one included.
	Versions []Version `json:"versions"`
	// Heads are the witness's journal, in any order.
	Heads []Head `json:"heads,omitempty"`
	// Source is the head as the source told it after its writers were fenced;
	// nil when it did not answer.
	Source *Head `json:"source,omitempty"`
	Peak   *Peak `json:"peak,omitempty"`
	// Unchanged means that people take it that nothing was written since the table was
	// last known: then it does not hold the cut back, and they risk what was.
	Unchanged bool `json:"unchanged,omitzero"`
	// LeftOut says why the table does not come back here; empty where it may. It then
	// counts neither for the cut nor against it, and nothing is known of its loss.
	LeftOut string `json:"left_out,omitempty"`
	// RPOSeconds is the objective; zero means that none is declared.
	RPOSeconds float64 `json:"rpo_seconds,omitzero"`
}

// End is a partition's end offset at the source, as seen at one time.
type End struct {
	At     time.Time `json:"at"` // on the reader's clock
	Offset int64     `json:"offset"`
	// Open means that a transaction was open, so that what lies below the offset may
	// yet be no record.
	Open bool `json:"open,omitzero"`
}

// Counted is how many records were counted.
type Counted struct {
	Records int64 `json:"records"`
	Whole   bool  `json:"whole"` // all of them; else there are at least so many
}

// PartitionState is what is known of one partition.
type PartitionState struct {
	Partition int32 `json:"partition"`
	// MirroredThrough is the first source offset that is not at the target.
	MirroredThrough int64 `json:"mirrored_through"`
	// From is the first source offset that the target may lack, where that is another
	// than MirroredThrough: of a log that was created anew, or begins later.
	From *int64 `json:"from,omitempty"`
	// Odd says for people what contradicts MirroredThrough. What was lost is then not
	// known, whatever was counted.
	Odd string `json:"odd,omitempty"`
	// Anew means that MirroredThrough is of another log: the topic was created anew.
	Anew bool `json:"anew,omitzero"`
	// Lacking means that the target has no such partition.
	Lacking bool `json:"lacking,omitzero"`
	// Left are the committed records that the source has from there on, if it was asked.
	Left *Counted `json:"left,omitempty"`
	// TargetEnd is the end offset at the target. It is recorded, never compared:
	// the two clusters number the same records differently.
	TargetEnd int64 `json:"target_end"`
	// NewestAt is the largest timestamp of a mirrored record; zero when there is
	// none, or where the timestamps are not those of the source, in order: then
	// Untimed says why not, for people.
	NewestAt time.Time `json:"newest_at,omitzero"`
	Untimed  string    `json:"untimed,omitempty"`
	// Journal holds the source's ends as seen before the outage, in any order.
	Journal []End `json:"journal,omitempty"`
	// Source is the end as the source told it after its producers were fenced;
	// nil when it did not answer.
	Source *End `json:"source,omitempty"`
}

// from is the first source offset that the target may lack.
func (p *PartitionState) from() int64 {
	if p.From != nil {
		return *p.From
	}
	return p.MirroredThrough
}

// TopicState is what is known of one topic.
type TopicState struct {
	Name       string           `json:"name"`
	Partitions []PartitionState `json:"partitions"`
	Peak       *Peak            `json:"peak,omitempty"`     // of all partitions together
	Unchanged  bool             `json:"unchanged,omitzero"` // as of a table
	LeftOut    string           `json:"left_out,omitempty"` // as of a table
	RPOSeconds float64          `json:"rpo_seconds,omitzero"`
}

// usable tells a real time from a missing one. UnixNano is defined from 1678 to
// 2262; the margin leaves room for adding skews.
func usable(t time.Time) bool { return t.Year() >= 1700 && t.Year() <= 2200 }

func moment(ns int64) time.Time { return time.Unix(0, ns).UTC() }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// observations are the usable sightings of a table's head, the source's own
// answer among them.
func (t *TableState) observations(yield func(Head) bool) {
	for _, h := range t.Heads {
		if usable(h.At) && !yield(h) {
			return
		}
	}
	if t.Source != nil && usable(t.Source.At) {
		yield(*t.Source)
	}
}

// observations are the usable sightings of a partition's end.
func (p *PartitionState) observations(yield func(End) bool) {
	for _, e := range p.Journal {
		if usable(e.At) && !yield(e) {
			return
		}
	}
	if p.Source != nil && usable(p.Source.At) {
		yield(*p.Source)
	}
}
