// Package rewind works out how a prefix of a versioned bucket comes back to what
// it was at a moment: the state of a version listing at T, the difference to what
// is there now, and the exact plan of the requests that close it.
//
// It is pure: entries of a listing in, lines of a plan out. It holds one key's
// state at a time, however many versions the key has.
//
// # As at T
//
// A key is, as at T, the newest of its versions and delete markers whose
// modification time is not after T, in the order in which the store lists them.
// A T without a fraction of a second stands for the whole second: stores list
// times in seconds, and 12:00:00 means everything stamped 12:00:00. until is
// that bound.
//
// What the times do not settle is reported as ambiguous, for people to look at:
//
//   - every version within a second of T: clocks are not better than that;
//   - a version uploaded in parts (its ETag ends in a dash and a number) whose
//     time lies in the hour before T: AWS stamps such an object with the start of
//     the upload, so it may have come into being after T.
//
// A replica has the time of its original, not of its arrival: at a standby, "as at
// T" is what the primary had acknowledged at T, which may not have arrived then.
//
// # Unknown at T
//
// A listing shows what was not removed. That a key has no entry as at T does not say
// that it was not there: see [Loss] and [History.Why]. Such a key is left as it is, or
// hidden where people decide so, and is no part of the [State]. What somebody removed
// for good by its version leaves no trace, and nothing here can tell.
//
// # Equal
//
// Two versions are equal if they are the same one, or have the same ETag and
// size. Where a copy's ETag is another one (parts, SSE-KMS) the caller asks the
// object itself what it is a copy of; see [Line.Ask]. Metadata and tags of
// versions with equal content are not compared.
package rewind

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"iter"
	"strings"
	"time"
)

// Entry is one version or delete marker as a listing shows it.
type Entry struct {
	Key string
	Version
	Modified time.Time
	Latest   bool
}

// Version is what identifies a version of a key and its content. The zero
// Version is that of a key that never was.
type Version struct {
	ID     string
	ETag   string
	Size   int64  // bytes
	Class  string // storage class
	Marker bool   // a delete marker: nothing can be read
}

// There reports whether there is something to read.
func (v Version) There() bool { return v.ID != "" && !v.Marker }

// Same reports whether two versions are known to have the same content, as
// listings show it; two that cannot be read are the same.
func (v Version) Same(o Version) bool {
	if !v.There() || !o.There() {
		return v.There() == o.There()
	}
	return v.ETag == o.ETag && v.Size == o.Size
}

// until is the last moment that belongs to T.
func until(t time.Time) time.Time {
	if t.Nanosecond() == 0 {
		return t.Add(time.Second - time.Nanosecond)
	}
	return t
}

const (
	near      = time.Second
	partsNear = time.Hour
	// atMost bounds what is kept of one key, however long its history is.
	atMost = 64
)

// History is what a key is now and was at T.
type History struct {
	Key  string
	Now  Version
	Then Version // zero where the key was not there yet
	// Markers are the delete markers that hide Then, newest first, if nothing
	// else is newer than Then and they are few.
	Markers []string
	// Ambiguous are entries whose time does not settle whether they were there
	// at T; a long history is cut off.
	Ambiguous []Entry
	Entries   int  // how many versions and delete markers the key has
	Watched   bool // whether the version asked for was among them
	Found     bool // whether there is an entry as at T: a version, or a delete marker
	Kept      bool // whether an entry as old as T shows that versions were kept then
	// Unkept is the time of the version "null" if that is newer than T: it was written
	// while the store kept no versions of the key, and replaced the one before. Zero
	// otherwise.
	Unkept time.Time
	// Unknown says why it cannot be known what the key was at T; empty where it can.
	// The caller sets it, from Why.
	Unknown string
}

// Null is the version of what was written while no versions were kept.
const Null = "null"

// Loss is something that may have removed what was there at T, so that no listing
// shows it any more.
type Loss struct {
	Why      string // what it is, for people
	Prefix   string // the keys that it takes; empty for all
	Narrowed bool   // it takes only some of a key's versions, such as large ones
	Keep     int    // how many of the newest versions that are not current it leaves
}

// Why says why it cannot be known what the key was at T, and is empty where it can.
func (h History) Why(losses []Loss) string {
	if !h.Unkept.IsZero() {
		return "its version null was written at " + h.Unkept.UTC().Format(time.RFC3339) + ", without keeping what was null before"
	}
	for _, l := range losses {
		// What replaced it is newer than T, and no loss takes what is current.
		may := !h.Found || l.Narrowed && h.Now.ID != h.Then.ID
		if may && h.Entries > l.Keep && strings.HasPrefix(h.Key, l.Prefix) {
			return l.Why
		}
	}
	return ""
}

// ErrOrder says that a listing is not in the order that everything here relies
// on. Nothing can be concluded from it.
var ErrOrder = errors.New("the listing is not in the order of its keys")

// Histories takes a listing of versions apart by key. watch names, per key, a
// version to look for; nil asks for none. It ends after the first error.
func Histories(listing iter.Seq2[Entry, error], at time.Time, watch func(key string) string) iter.Seq2[History, error] {
	last := until(at)
	return func(yield func(History, error) bool) {
		var h History
		var found, hidden bool
		var wanted string
		started := false
		for e, err := range listing {
			if err != nil {
				yield(History{}, err)
				return
			}
			if !started || e.Key != h.Key {
				if started && e.Key < h.Key {
					yield(History{}, fmt.Errorf("%w: %q comes after %q", ErrOrder, e.Key, h.Key))
					return
				}
				if started && !yield(h, nil) {
					return
				}
				started, found, hidden = true, false, false
				h = History{Key: e.Key, Now: e.Version}
				if wanted = ""; watch != nil {
					wanted = watch(e.Key)
				}
			}
			if e.Latest {
				h.Now = e.Version
			}
			h.Entries++
			if late := e.Modified.After(last); e.ID == Null && late {
				h.Unkept = e.Modified
			} else if e.ID != Null && !late {
				h.Kept = true
			}
			h.Watched = h.Watched || wanted != "" && e.ID == wanted
			if ambiguous(e, at, last, found) && len(h.Ambiguous) < atMost {
				h.Ambiguous = append(h.Ambiguous, e)
			}
			switch {
			case found:
			case !e.Modified.After(last):
				found, h.Found, h.Then = true, true, e.Version
				if hidden || e.Marker {
					h.Markers = nil
				}
			case e.Marker && len(h.Markers) < atMost:
				h.Markers = append(h.Markers, e.ID)
			default:
				hidden = true
			}
		}
		if started {
			if !found {
				h.Markers = nil
			}
			yield(h, nil)
		}
	}
}

// ambiguous reports whether the time of an entry leaves open if it was there at T.
// Of the versions uploaded in parts only those matter that nothing at T covers.
func ambiguous(e Entry, at, until time.Time, covered bool) bool {
	if d := e.Modified.Sub(at); d >= -near && d <= until.Sub(at)+near {
		return true
	}
	return !covered && strings.Contains(e.ETag, "-") && !e.Modified.After(until) && at.Sub(e.Modified) <= partsNear
}

// State sums up what was there at T: the state's digest, by which it is
// recognised again, and its extent.
type State struct {
	Objects int64
	Bytes   int64
	h       hash.Hash
}

// Add counts a key. Keys come in the listing's order.
func (s *State) Add(h History) {
	if !h.Then.There() {
		return
	}
	if s.h == nil {
		s.h = sha256.New()
	}
	s.Objects++
	s.Bytes += h.Then.Size
	fmt.Fprintf(s.h, "%q %q %q %d\n", h.Key, h.Then.ID, h.Then.ETag, h.Then.Size)
}

// Digest identifies the state: every key with its version.
func (s *State) Digest() string {
	if s.h == nil {
		return "empty"
	}
	return "sha256:" + hex.EncodeToString(s.h.Sum(nil))
}
