package objectstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"breakwater/internal/reach"
)

// ProbePrefix is where probes write, in every bucket.
const ProbePrefix = ".breakwater/probe/"

// ProbeOutcome is what came of one attempt.
type ProbeOutcome string

// The outcomes of a probe.
const (
	ProbeOther       ProbeOutcome = "other"       // it failed in a way that proves nothing
	ProbeDenied      ProbeOutcome = "denied"      // the store answered AccessDenied
	ProbeAllowed     ProbeOutcome = "allowed"     // it was done
	ProbeUnreachable ProbeOutcome = "unreachable" // no answer came; it may even have been done
)

// Probe attempts to violate a fence with a writer's real credentials, and beside
// it something that must still work: only both together prove the fence, for a
// mistyped key is denied everything.
type Probe struct {
	Writer *Client // the credentials that must be denied
	Bucket string
	Run    string // the run's id; part of the probe's key
	// Control is the positive control, such as [CanRead] with the same
	// credentials, or a write of another principal's elsewhere.
	Control func(context.Context) error
	// Cleaner removes a probe that was let through; Writer does if it is nil.
	Cleaner *Client
}

// ProbeResult is what a [Probe] found: plain data, fit for an observation.
type ProbeResult struct {
	Write        ProbeOutcome `json:"write"`
	WriteError   string       `json:"write_error,omitempty"`
	Control      ProbeOutcome `json:"control"`
	ControlError string       `json:"control_error,omitempty"`
	Key          string       `json:"key"` // unique to this attempt
	// Left is why a probe that was let through is still in the bucket; empty
	// otherwise.
	Left string `json:"left,omitempty"`
}

// Proven reports whether the write was denied while the control worked.
func (r ProbeResult) Proven() bool { return r.Write == ProbeDenied && r.Control == ProbeAllowed }

// Try makes the attempt. A probe object that was written is removed again, its
// version for good. It never fails: whatever went wrong is in the result.
func (p Probe) Try(ctx context.Context) ProbeResult {
	r := ProbeResult{Key: ProbePrefix + p.Run + "/" + rand.Text()}
	o, err := p.Writer.Put(ctx, p.Bucket, r.Key, []byte("A probe of run "+p.Run+": this write should have been denied.\n"))
	r.Write, r.WriteError = Attempted(err), text(err)
	if r.Write == ProbeAllowed {
		r.Left = p.clean(ctx, o)
	}
	err = errors.New("no positive control was given")
	if p.Control != nil {
		err = p.Control(ctx)
	}
	r.Control, r.ControlError = Attempted(err), text(err)
	return r
}

func (p Probe) clean(ctx context.Context, o Object) string {
	c := p.Cleaner
	if c == nil {
		c = p.Writer
	}
	var err error
	if o.VersionID == "" {
		_, err = c.Delete(ctx, p.Bucket, o.Key)
	} else {
		err = c.DeleteVersion(ctx, p.Bucket, o.Key, o.VersionID)
	}
	if err != nil {
		return fmt.Sprintf("%v; remove version %s of it by hand", err, o.VersionID)
	}
	return ""
}

// Attempted classifies the answer to a request that needs a right. Only
// AccessDenied is a denial: other answers with status 403 say that the
// credentials are wrong, disabled or expired, which proves nothing about rights.
func Attempted(err error) ProbeOutcome {
	switch {
	case err == nil:
		return ProbeAllowed
	case reach.Unreachable(err):
		return ProbeUnreachable
	case code(err) == "AccessDenied":
		return ProbeDenied
	}
	return ProbeOther
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// CanRead is a positive control: the principal reads a key that exists.
func CanRead(c *Client, bucket, key string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, _, err := c.Get(ctx, bucket, key)
		return err
	}
}

// CanList is a positive control: the principal lists a bucket, which may be empty
// below the prefix.
func CanList(c *Client, bucket, prefix string) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, err := range c.List(ctx, bucket, prefix) {
			return err
		}
		return nil
	}
}
