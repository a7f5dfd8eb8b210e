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
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
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

// What an [ErrUnseen] can be, where a package tells them apart. Who is unreachable, who
// refuses (fs.ErrPermission) and what is not there (fs.ErrNotExist) have their own.
var (
	// ErrMisconfigured means that the estate and the other side do not speak the same
	// way: a certificate that is not trusted, plain HTTP to a TLS port, a page of a login,
	// a path or a mount that is none. A person must correct it; waiting cures nothing.
	ErrMisconfigured error = unseen("misconfigured")

	// ErrThrottled means that the other side is too busy, or has had enough of us. Asking
	// later, or less, cures it.
	ErrThrottled error = unseen("asked to slow down")
)

// unseen is a kind of [ErrUnseen].
type unseen string

func (u unseen) Error() string { return string(u) }

func (unseen) Is(target error) bool { return target == ErrUnseen }

// misconfigured says why a connection that was answered came to nothing; empty where err
// does not say that.
func misconfigured(err error) string {
	if err == nil {
		return ""
	}
	var (
		untrusted *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		header    tls.RecordHeaderError
		op        *net.OpError
	)
	switch {
	case errors.As(err, &untrusted), errors.As(err, &authority):
		return "its certificate is not trusted here; name the authority that signed it, or correct the host name"
	case errors.As(err, &header), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"): // as package net/http words it
		return "it does not speak TLS there; leave TLS out (http:// in a URL), or correct the port"
	case errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"):
		// How Go words a TLS alert: the other side answered, and would not have us.
		return "the TLS handshake was refused; it may want a certificate of ours, or another version of TLS"
	}
	return ""
}

// Unreachable reports whether err means that no answer came: a refused or reset
// connection, a failed name lookup, a timeout, or an error marked by [Mark]. A
// cancelled context is not one, since then it was we who stopped asking, and neither is
// an answer that says nothing: [ErrUnseen], or a TLS handshake that failed.
func Unreachable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrUnseen) || misconfigured(err) != "" {
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

// Mark adds [ErrUnreachable] to err's chain where [Unreachable] holds,
// [ErrMisconfigured] where TLS did not come about, and returns err as it is otherwise.
// It keeps nil nil.
func Mark(err error) error {
	if err == nil || errors.Is(err, ErrUnreachable) || errors.Is(err, ErrUnseen) {
		return err
	}
	if why := misconfigured(err); why != "" {
		return fmt.Errorf("%w: %s: %w", ErrMisconfigured, why, err)
	}
	if !Unreachable(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}
