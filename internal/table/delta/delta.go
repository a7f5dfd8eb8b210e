// Package delta reads a Delta Lake log as recovery needs it: which versions can
// be reconstructed, what objects each needs, which is the newest whose objects
// are all there, and what must move aside to make that one the head.
//
// It follows the Delta transaction log protocol (PROTOCOL.md of delta-io/delta)
// and reads only. It never trusts a hint over a listing: _last_checkpoint may be
// stale or come from elsewhere, so [Open] lists the log and decides itself.
//
// # What is refused
//
// A log that starts neither at 0 nor at a complete checkpoint is not
// reconstructed, however contiguous: replaying half a log gives a plausible
// wrong table. A reader feature that this package does not know is refused by
// name ([FeatureError]). What contradicts itself is [ErrCorrupt].
package delta

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"breakwater/internal/reach"
	"breakwater/internal/table"
)

// ErrNoStart says that a version cannot be reconstructed: no complete
// checkpoint lies at or below it from which the commits are contiguous, and
// they are not contiguous from 0 either. [fs.ErrNotExist] is for a version that
// the log does not know at all.
var ErrNoStart = table.Kind("version cannot be reconstructed from this log", table.ErrLost)

// ErrCorrupt says that an object of the log contradicts the protocol or another
// object.
var ErrCorrupt = table.Kind("corrupt delta log", table.ErrBroken)

// FeatureError refuses a table that asks its readers for more than this package
// knows. Reading it anyway could give a plausible wrong table.
type FeatureError struct {
	Table    string
	Version  int64
	Features []string // reader features, or "minReaderVersion 4"
	// Staged is how many commits lie in _staged_commits or _commits, where only the
	// table's catalog or commit coordinator can say which of them count.
	Staged int
}

// Managed reports whether it is a catalog or a commit coordinator that has to be
// asked, rather than a format that is not known.
func (e *FeatureError) Managed() bool {
	return e.Staged > 0 || slices.ContainsFunc(e.Features, ownedByCatalog)
}

// Unwrap makes it a [table.ErrUnsupported].
func (e *FeatureError) Unwrap() error { return table.ErrUnsupported }

func (e *FeatureError) Error() string {
	switch {
	case !slices.ContainsFunc(e.Features, ownedByCatalog) && e.Staged > 0:
		return fmt.Sprintf("commits of delta table %s at version %d are accepted by a coordinator (%s), and %d lie beside its log above the last published one: which of them count is known to the coordinator alone; have it publish (backfill) them, or move them aside if it is lost and they are given up",
			e.Table, e.Version, strings.Join(e.Features, ", "), e.Staged)
	case slices.ContainsFunc(e.Features, ownedByCatalog):
		return fmt.Sprintf("delta table %s at version %d is managed by a catalog (%s): which commits count is known to the catalog alone, and %d staged ones lie beside the log; reading the files alone could miss or invent versions; recover it through its catalog",
			e.Table, e.Version, strings.Join(e.Features, ", "), e.Staged)
	}
	return fmt.Sprintf("delta table %s at version %d needs reader features that are not known here: %s; use an engine that supports them",
		e.Table, e.Version, strings.Join(e.Features, ", "))
}

// folder is where a table lies, and what knows better where the objects are that
// its log names by absolute URIs.
type folder struct {
	table.Root
	mapper table.Mapper // the store's, or nil
}

// badLog is an error about the content of one log object.
func badLog(key, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", ErrCorrupt, InLog(key), fmt.Errorf(format, args...))
}

// InLog names an object of a log from the table's folder on. Whoever hands its error on
// names the table.
func InLog(key string) string {
	if name, ok := NameInLog(key); ok {
		return logName + name
	}
	return key
}

// Broken reports whether an error says that an object of the log is gone or
// unreadable, which one can step around, rather than that it was not answered.
func Broken(err error) bool { return broken(err) }

// broken tells what can be stepped around (an object of the log that is gone or
// unreadable) from what ends the walk (no answer, a cancelled context).
func broken(err error) bool {
	return !reach.Unreachable(err) && (errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNoStart) || errors.Is(err, fs.ErrNotExist))
}
