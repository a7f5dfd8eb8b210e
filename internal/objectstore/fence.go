package objectstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ErrFenced means that another run's fence stands where this one was to be
// closed or opened. Only that run's record says what to bring back.
var ErrFenced = errors.New("another run's fence stands here")

// Fence denies the writes of named principals to buckets, and leaves reads.
//
// Closing and opening are conditional on what was read before. No store offers
// compare-and-set on policies, so this is read, write, read: a change that falls
// into the moment between is noticed afterwards, not prevented. Call it under
// the estate's lock and report it as "no concurrency control".
//
// A closed fence is a configuration, not yet a proof: try to write with a principal's
// own credentials, and see [Attempted].
type Fence interface {
	// Name is the name of what Close adds for a run, a policy or a statement of one. It
	// asks nothing.
	Name(run string) (string, error)

	// Read observes the fence and changes nothing.
	Read(ctx context.Context) (FenceState, error)

	// Close denies the writes and marks that with the run's id. seen is what Read
	// returned when the plan was approved; if what is there is no longer that, the
	// error is [ErrChanged] and nothing was written. A fence that this run has
	// closed is left as it is, so a repeated call is harmless; another run's is
	// [ErrFenced].
	Close(ctx context.Context, seen FenceState, run string) error

	// Open takes away what Close(ctx, was, run) added, and nothing else, so that
	// was stands again. If something else was changed meanwhile the error is
	// [ErrChanged] and the fence stays closed, which is the safe side: a person
	// reads again and opens on that state. An open fence is left as it is.
	Open(ctx context.Context, was FenceState, run string) error
}

// FenceState is what [Fence.Read] saw: plain data, fit for a plan document, and
// all that opening needs.
type FenceState struct {
	// Closed means that every named writer is denied by a complete and unchanged
	// fence of Run.
	Closed bool `json:"closed"`
	// Run is the run whose fence, complete or not, is there; empty for none.
	Run string `json:"run,omitempty"`
	// Base is what is there without the fence, in the implementation's own form.
	// It holds policies, no secrets. Equal text means unchanged.
	Base string `json:"base"`
}

// FenceMark begins the name of every fence, whatever the implementation.
const FenceMark = "breakwater-"

var runID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,80}$`)

// FenceName is the mark that a run leaves: breakwater-RUN-SCOPE, where scope
// tells the fences of one run apart. The run's id must consist of letters,
// digits, dots, dashes and underscores, for policy names allow no more.
func FenceName(run, scope string) (string, error) {
	if !runID.MatchString(run) {
		return "", fmt.Errorf("run id %q cannot name a fence: use at most 80 letters, digits, dots, dashes and underscores", run)
	}
	return FenceMark + run + "-" + scope, nil
}

// FenceRun is the inverse of [FenceName]; false for names of other origin or scope.
func FenceRun(name, scope string) (run string, ok bool) {
	rest, ok := strings.CutPrefix(name, FenceMark)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "-"+scope)
}

// FenceScope is a short digest of what a fence covers.
func FenceScope(parts ...[]string) string {
	h := sha256.New()
	for _, p := range parts {
		for _, s := range slices.Sorted(slices.Values(p)) {
			fmt.Fprintf(h, "%d:%s", len(s), s)
		}
		fmt.Fprint(h, ";")
	}
	return hex.EncodeToString(h.Sum(nil))[:8]
}
