// Package temporalerr gives the errors of Temporal's clients the house's sentinels, in
// one place for the commands, the worker and the connector of Schedules.
//
// gRPC words what happens below it in texts, and gives all of it the code of a server
// that is away.
package temporalerr

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"breakwater/internal/reach"

	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ways are the words by which gRPC says that the other side answered in another way, with
// what to do.
var ways = []struct{ words, do string }{
	{"first record does not look like a TLS handshake", "it does not speak TLS there; leave TLS out, or correct the port"},
	{"failed to verify certificate", "its certificate is not trusted here; name the authority that signed it, or correct the server's name"},
	{"remote error: tls", "the TLS handshake was refused; it may want a certificate of ours"},
	{"looked like an HTTP/1.1 header", "it speaks HTTP/1.1, and is no Temporal frontend; correct the port"},
	{"received unexpected content-type", "it is no Temporal frontend, or a page stands before it; correct the address"},
}

// gateways are answers of those who stand before a server that is away.
var gateways = []string{"HTTP status code received from server: 502", "HTTP status code received from server: 503", "HTTP status code received from server: 504"}

// Mark adds to err's chain what it means: reach.ErrUnreachable, reach.ErrMisconfigured,
// reach.ErrThrottled, fs.ErrPermission or fs.ErrNotExist; and returns it as it is where it
// means none of them. It keeps nil nil.
func Mark(err error) error {
	if err == nil || errors.Is(err, reach.ErrUnreachable) || errors.Is(err, reach.ErrUnseen) {
		return err
	}
	var (
		gone      *serviceerror.NotFound
		namespace *serviceerror.NamespaceNotFound
		denied    *serviceerror.PermissionDenied
		busy      *serviceerror.ResourceExhausted
		away      *serviceerror.Unavailable
		late      *serviceerror.DeadlineExceeded
		unknown   *serviceerror.Unimplemented
	)
	is := func(kind error) error { return fmt.Errorf("%w: %w", kind, err) }
	for _, g := range gateways {
		if strings.Contains(err.Error(), g) {
			return is(reach.ErrUnreachable)
		}
	}
	for _, w := range ways {
		if strings.Contains(err.Error(), w.words) {
			return fmt.Errorf("%w: %s: %w", reach.ErrMisconfigured, w.do, err)
		}
	}
	switch {
	case errors.As(err, &namespace):
		return fmt.Errorf("%w: correct the namespace: %w", reach.ErrMisconfigured, err)
	case errors.As(err, &gone):
		return is(fs.ErrNotExist)
	case errors.As(err, &denied), status.Code(err) == codes.Unauthenticated:
		return is(fs.ErrPermission)
	case errors.As(err, &busy):
		return is(reach.ErrThrottled)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: it is no Temporal frontend, or an older one; correct the address: %w", reach.ErrMisconfigured, err)
	case (errors.As(err, &away) || errors.As(err, &late)) && strings.Contains(err.Error(), "server preface: EOF"):
		return fmt.Errorf("%w: it closed the connection, as one does that wants TLS: %w", reach.ErrUnreachable, err)
	case errors.As(err, &away), errors.As(err, &late):
		return is(reach.ErrUnreachable)
	}
	return reach.Mark(err)
}
