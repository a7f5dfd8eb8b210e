// Package mirror is the port to whatever copies the topics of one Kafka cluster,
// the source, into another, the target: how it is stopped and resumed, how far it
// has come, and what it knows about consumer groups. A provider is a package below
// this one; package mm2 is MirrorMaker 2.
//
// A topic may have another name at the target than at the source, see [Names]. What is
// asked for by topics, how far they are mirrored, names and is told the source's; what
// groups are placed by, [Translation], names the target's.
//
// A [Mirror] is one mirror into one target. What not every mirror can do is an
// ability, and a caller asks for it with a type assertion: [Translator],
// [GroupSyncer], [Writer], [Teller], [Auditor]. A mirror without it does not do that at
// all, which is an answer too: one that is no GroupSyncer never moves a consumer group. A [Foreteller]
// alone can be told before it is asked to stop that it will not, and a [Conformer] be
// held against what was declared of it.
//
// # Adding a provider
//
// Write a package below this one, pass the suite of package mirrortest by one line
// in a test, and let package system open it where the estate names it.
//
// # Errors
//
// No call waits longer for an answer than its provider's own limit or its context.
// An error that means that no answer came carries reach.ErrUnreachable, a refusal
// fs.ErrPermission. All others are worth no second try.
//
// All methods may be called at the same time.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"breakwater/internal/kafka"
)

// ErrNone means that nothing copies topics into a region. It is an fs.ErrNotExist
// and has its words; only this one says what does not exist.
var ErrNone = fmt.Errorf("%w", fs.ErrNotExist)

// ErrStill means that a link was told to stop or to go on, and has not in the time that
// there was, though the mirror answers.
var ErrStill = errors.New("it has not done so in time")

// State is how a link is, as coarse as a plan needs it: whether its single tasks
// work changes from one moment to the next, and is [Link].Works.
type State string

// The states.
const (
	Running  State = "running"   // it is meant to run; parts of it may have failed
	Paused   State = "paused"    // a person holds it up; it may go on without being asked to
	Stopping State = "stopping"  // it was told to stop, and parts of it still run
	Stopped  State = "stopped"   // nothing of it runs, as the mirror says
	Missing  State = "not there" // the mirror knows no such link
)

// Link is one part of a mirror that can be stopped by itself, such as a connector
// or a cluster link, as it is at one moment.
type Link struct {
	Name  string
	State State
	Works bool   // it is Running, and so is everything of it, as the mirror says
	Tasks int    // how many parts of it there are, running or not; of a stopped one, none
	Said  string // how the mirror itself puts it, for a person
}

// Switch stops and resumes the links of a mirror.
type Switch interface {
	// Links names the links that the estate declares; the one that copies records
	// comes first. Nobody is asked, and the caller may keep the slice.
	Links() []string

	// Known names the links that the mirror knows, declared or not, in any order.
	Known(ctx context.Context) ([]string, error)

	// Look tells how a link is. One that is not there is [Missing], and no error.
	Look(ctx context.Context, link string) (Link, error)

	// Stop ends a link, and returns when nothing of it runs any more, as the mirror
	// says, or with an error when ctx ends: with a dead source that takes minutes.
	// How far it has come is kept, other links are left alone, and stopping what is
	// stopped changes nothing. A link that is not there is fs.ErrNotExist.
	//
	// A mirror can be mistaken about what still runs. Who must be sure looks twice
	// at what it writes: the mirrored topics, and [Switch.Own].
	Stop(ctx context.Context, link string) error

	// Resume starts a stopped or paused link where it ended, and returns when all of
	// it runs, or with an error when ctx ends. One that is idle had no part while it
	// ran, as long as it has nothing to do, and runs again without any; of every other
	// one part at least must run. Resuming what runs changes nothing. A link that is
	// not there is fs.ErrNotExist.
	Resume(ctx context.Context, link string, idle bool) error

	// Own names topics of the target into which the mirror writes notes of its own,
	// such as how far it has come. They move while it copies, and stand still when
	// all of its links are stopped. Not every one need be there; a mirror that
	// writes none names none. Nobody is asked.
	Own() []string
}

// Idle reports whether a link runs and has no part that could: it has nothing to do, as a
// checkpoint connector while there is no consumer group.
func (l Link) Idle() bool { return l.State == Running && l.Tasks == 0 }

// Foreteller is the ability of a mirror to say beforehand whether it can stop a link.
type Foreteller interface {
	// CanStop asks and changes nothing. errors.ErrUnsupported is in the chain where a
	// [Switch.Stop] of the link cannot come about; nil says that it can be tried.
	CanStop(ctx context.Context, link string) error
}

// Source is the cluster that is copied from, as far as a mirror asks it.
type Source interface {
	// Ends is [kafka.Client.Ends].
	Ends(ctx context.Context, topics ...string) (map[kafka.Partition]kafka.Ends, error)
}

// Mirror is what every mirror can do.
type Mirror interface {
	Switch

	// Names says what the source's topics are called at the target. Nobody is asked.
	Names() Names

	// Positions reads how far every partition of the source's topics has come, from the
	// target. The source may be nil, or not answer: then its part of each position
	// is unknown, and silence is the error of that. Any other refusal by the source
	// is an error, and so is a topic that the target lacks, or a partition that the
	// source lacks: fs.ErrNotExist. A partition that the target alone lacks is Missing.
	//
	// Each position holds when the call returns, and later ones are the same or
	// better: what is copied meanwhile can only make the mirror look worse than it is.
	Positions(ctx context.Context, source Source, topics ...string) (at map[kafka.Partition]Position, silence, err error)
}

// Position is how far a partition was mirrored, and what is known of the rest.
type Position struct {
	Next int64 // first offset of the source not known to be at the target; 0 if none is known
	// Fell is when Next was last moved back, as far as the mirror remembers it: the
	// source's topic was created anew, or somebody let the mirror begin again. Else zero.
	Fell time.Time

	Target kafka.Ends   // the copy's log
	Newest kafka.Stamps // of the newest copied records; zero if there is none
	// Missing means that the target has no such partition, and the source does.
	Missing bool

	// Source is nil when the source did not answer: then nothing is known about
	// the records from Next on, not even whether there are any.
	Source *kafka.Ends
}

// Rest is what of a source is yet to be looked for in the target.
type Rest struct {
	From int64  // the first offset of the source that the target may lack
	Odd  string // what contradicts [Position].Next, for people; empty if nothing does
	Anew bool   // Next, and every sync and commit of its time, are of another log
}

// Rest begins at Next, unless that is of another log, or of records that the source has
// no more.
func (p Position) Rest() Rest {
	s := p.Source
	switch {
	case s == nil:
		return Rest{From: p.Next}
	case p.Next > s.End:
		return Rest{s.Start, fmt.Sprintf("the mirror had come to %d, and the source ends at %d: its topic was created anew, or its log was cut", p.Next, s.End), true}
	case p.Next > 0 && p.Next < s.Start:
		return Rest{s.Start, fmt.Sprintf("the mirror had come to %d, and the source begins at %d: %d to %d are at neither side, since retention was faster than the mirror",
			p.Next, s.Start, p.Next, s.Start-1), false}
	case p.Next > 0 && p.Target.End == 0 && !p.Missing:
		return Rest{s.Start, fmt.Sprintf("the mirror had come to %d, and the target's log is empty: its topic was created anew", p.Next), true}
	}
	return Rest{From: max(p.Next, s.Start)}
}

// Drained reports whether every committed record of the source is at the
// target, and whether that is known at all. It may say "not drained" where only
// control markers are left, never the reverse; records of an open transaction,
// which lie above the last stable offset, keep it from being drained.
func (p Position) Drained() (drained, known bool) {
	if p.Source == nil {
		return false, false
	}
	return p.Source.Stable == p.Source.End && p.Rest().From >= p.Source.End, true
}

// Teller is the ability of a mirror to say in its own words what it delivered,
// besides what [Mirror.Positions] finds in the target: a second opinion.
type Teller interface {
	// Delivered tells for every partition of the source of which a record was delivered the
	// first offset that was not. Of a running mirror the answer may be old;
	// of a stopped one it is what Positions says. A mirror that is not there is
	// fs.ErrNotExist.
	Delivered(ctx context.Context) (map[kafka.Partition]int64, error)
}

// Auditor is the ability of a mirror to be held against what the estate declares of it.
type Auditor interface {
	// Contradictions asks, changes nothing, and names what is otherwise than declared,
	// each in a sentence that says what to correct; none where all is as declared, or
	// nothing says otherwise.
	Contradictions(ctx context.Context) ([]string, error)
}

// GroupSyncer is the ability of a mirror to move consumer groups of the target,
// while they are idle, forward to where they are in the source.
type GroupSyncer interface {
	// GroupSync tells how often that is done; a negative time if never. When nobody
	// answers, every is what a mirror of this kind does unless it is told otherwise,
	// beside the error.
	GroupSync(ctx context.Context) (every time.Duration, err error)
}

// Writer is the ability of a mirror to say as which user of the target it moves groups.
type Writer interface {
	// WritesAs is that user's name; empty where the mirror keeps it to itself.
	WritesAs(ctx context.Context) (user string, err error)
}
