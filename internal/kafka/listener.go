package kafka

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"breakwater/internal/reach"
)

// speech is what answers at an address.
type speech int

const (
	nothing   speech = iota // nobody, or somebody who ends the connection without a word
	plainly                 // a broker, without encryption
	encrypted               // a server that speaks TLS
)

// listenFor is how long a listener is listened to.
const listenFor = time.Second

// closed tells why brokers end our connections, where they are there and do so because
// of how we come in: such a broker is neither gone nor silent. It is nil where nobody
// answers at any address, as behind a proxy whose broker is dead.
func (c *Client) closed(ctx context.Context, err error) error {
	first := (*kgo.ErrFirstReadEOF)(nil)
	ended := errors.As(err, &first) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	// A listener with TLS may say so in an alert, in its own words, that the client takes
	// for the length of an answer; it has no type for that.
	alert := strings.Contains(err.Error(), "invalid large response size")
	if !ended && !alert && (!c.tls || !reach.Unreachable(err)) { // who expects no TLS may wait for the rest of a strange request
		return nil
	}
	for _, addr := range c.seeds {
		switch speaks := heard(context.WithoutCancel(ctx), addr); {
		case speaks == encrypted && !c.tls:
			return fmt.Errorf("the listener %s speaks TLS, and this client comes without: give the estate a listener without TLS: %w", addr, reach.ErrMisconfigured)
		case speaks == plainly && c.tls:
			return fmt.Errorf("the listener %s speaks without TLS, and this client comes with it: give the estate a listener with TLS: %w", addr, reach.ErrMisconfigured)
		case speaks != nothing && c.mechanism == "":
			return fmt.Errorf("the listener %s wants authentication (SASL), and this client comes without: name credentials for this kafka in the estate: %w", addr, reach.ErrMisconfigured)
		case speaks != nothing:
			return fmt.Errorf("the listener %s ends the connection when this client authenticates by SASL %s: give the estate a listener that takes it: %w", addr, c.mechanism, reach.ErrMisconfigured)
		}
	}
	return nil
}

// heard asks an address, without credentials, what speaks there. Kafka answers the
// question for its API's versions before anybody is known.
func heard(ctx context.Context, addr string) speech {
	dial := net.Dialer{Timeout: listenFor, Deadline: time.Now().Add(2 * listenFor)}
	ask := func(question []byte) []byte {
		conn, err := dial.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil
		}
		defer func() { _ = conn.Close() }() // it was only listened to
		if conn.SetDeadline(time.Now().Add(listenFor)) != nil {
			return nil
		}
		if _, err := conn.Write(question); err != nil {
			return nil
		}
		head := make([]byte, 8)
		n, err := io.ReadFull(conn, head)
		if err != nil {
			return head[:n]
		}
		return head
	}
	const (
		number      = 0x6272 // ties the answer to the question
		alertRecord = 0x15   // the first byte of a TLS alert; its version follows
	)
	versions := kmsg.NewPtrApiVersionsRequest()
	versions.Version = 0
	question := kmsg.NewRequestFormatter(kmsg.FormatterClientID("breakwater")).AppendRequest(nil, versions, number)
	switch a := ask(question); {
	case len(a) == 8 && binary.BigEndian.Uint32(a[4:]) == number:
		return plainly
	case len(a) > 1 && a[0] == alertRecord && a[1] == 3:
		return encrypted
	}
	//nolint:gosec // nothing is said and nothing believed: does it speak TLS at all?
	secure := tls.Dialer{NetDialer: &dial, Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := secure.DialContext(ctx, "tcp", addr)
	if err == nil {
		_ = conn.Close() // it was only listened to
		return encrypted
	}
	if alert := tls.AlertError(0); errors.As(err, &alert) || remoteAlert(err) {
		return encrypted
	}
	return nothing
}

// remoteAlert reports whether err is an alert that the other side sent.
func remoteAlert(err error) bool {
	op := (*net.OpError)(nil)
	return errors.As(err, &op) && op.Op == "remote error"
}

// unfit tells what answers in a way that says that we come in wrongly, or too often; nil
// if it is no such answer. What TLS says, package reach tells.
func unfit(err error) error {
	switch {
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return fmt.Errorf("the listener does not take this client's SASL mechanism: give the estate a listener that does: %w: %w", reach.ErrMisconfigured, err)
	case errors.Is(err, kerr.IllegalSaslState):
		return fmt.Errorf("the listener takes no SASL: take the credentials out of the estate, or give it a listener that wants them: %w: %w", reach.ErrMisconfigured, err)
	case errors.Is(err, kerr.ThrottlingQuotaExceeded):
		return fmt.Errorf("the broker is too busy for this client: try again, or raise its quota: %w: %w", reach.ErrThrottled, err)
	}
	return nil
}
