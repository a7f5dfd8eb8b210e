package objectstore

import (
	"context"
	"errors"

	"breakwater/internal/reach"
)

// ProbePrefix is where rights are tried in a bucket in which no table lies.
const ProbePrefix = ".breakwater/probe/"

// ProbeOutcome is what came of one attempt.
type ProbeOutcome string

// The outcomes of a probe.
const (
	ProbeOther       ProbeOutcome = "other"       // it failed in a way that proves nothing
	ProbeDenied      ProbeOutcome = "denied"      // the store answered that the principal may not
	ProbeAllowed     ProbeOutcome = "allowed"     // it was done
	ProbeUnreachable ProbeOutcome = "unreachable" // no answer came; it may even have been done
)

// Attempted classifies the answer to a request that needs a right. Only
// [ErrDenied] is a denial: what is [fs.ErrPermission] without it says that the
// credentials are wrong, disabled or expired, which proves nothing about rights.
func Attempted(err error) ProbeOutcome {
	switch {
	case err == nil:
		return ProbeAllowed
	case reach.Unreachable(err):
		return ProbeUnreachable
	case errors.Is(err, ErrDenied):
		return ProbeDenied
	}
	return ProbeOther
}

// CanList asks for a listing, of which one object is enough: a positive control
// beside denials. The bucket may be empty below the prefix.
func CanList(ctx context.Context, s Reader, bucket, prefix string) error {
	for _, err := range s.List(ctx, bucket, prefix) {
		return err
	}
	return nil
}
