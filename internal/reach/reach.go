// Package reach tells "it could not be reached" from "it answered no".
//
// The difference decides a verdict: what answered can pass or fail, what did
// not answer is unknown, and only an unknown whose one cause is an unreachable
// source may become an obligation. Every package that talks to an outside
// system marks such errors with [Mark], so that callers ask [Unreachable] and
// never look at driver-specific errors.
package reach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"syscall"
)

// ErrUnreachable is in the chain of an error that says only that the other side
// did not answer. Nothing is known about its state.
var ErrUnreachable = errors.New("unreachable")

// ErrUnseen is in the chain of an error that says that an answer came, and that it is
// about the question and not about what was asked for: a token has expired, the clocks
// differ, the data is in another region, the other side is too busy, or a proxy sent a
// page of its own. Nothing was looked at. Unlike [ErrUnreachable] it is no sign that the
// other side is lost.
var ErrUnseen = errors.New("nothing was looked at")

// Unreachable reports whether err means that no answer came: a refused or reset
// connection, a failed name lookup, a timeout, or an error marked by [Mark]. A
// cancelled context is not one, since then it was we who stopped asking.
func Unreachable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if errors.Is(err, ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	for _, no := range []error{
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE,
		syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, no) {
			return true
		}
	}
	var (
		op  *net.OpError
		dns *net.DNSError
		ne  net.Error
		ue  *url.Error
	)
	switch {
	case errors.As(err, &op) && op.Op == "remote error":
		return false // a TLS alert: somebody is there, and does not like how we come in
	case errors.As(err, &op), errors.As(err, &dns):
		return true
	case errors.As(err, &ne) && ne.Timeout():
		return true
	case errors.As(err, &ue):
		// A server that dies in the middle of an answer.
		return errors.Is(ue.Err, io.EOF) || errors.Is(ue.Err, io.ErrUnexpectedEOF)
	}
	return false
}

// Mark adds [ErrUnreachable] to err's chain where [Unreachable] holds, and
// returns err as it is otherwise. It keeps nil nil.
func Mark(err error) error {
	if !Unreachable(err) || errors.Is(err, ErrUnreachable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}
