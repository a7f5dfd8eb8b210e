package s3

import (
	"context"
	"net"
	"net/http"
	"time"
)

// Transport returns an HTTP transport that gives a connection up after a silence
// of the given length while anything is awaited on it, and a connection attempt
// after connect. A long transfer that keeps moving is never cut off, which an
// overall timeout would do.
func Transport(connect, silence time.Duration) *http.Transport {
	d := &net.Dialer{Timeout: connect, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := d.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			// Later than the header's time-out: on a connection used before, the
			// transport would take this one for a connection gone stale and wait
			// once more on a new one.
			return impatient{c, silence + silence/4}, nil
		},
		ResponseHeaderTimeout: silence,
		TLSHandshakeTimeout:   connect + silence,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       silence,
	}
}

// impatient is a connection on which each byte moved buys another silence.
//
// A write moves the read deadline too: the transport keeps a read waiting on an
// idle connection, and its deadline must count from the request, not from the
// moment at which the connection fell idle.
type impatient struct {
	net.Conn
	silence time.Duration
}

func (c impatient) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c impatient) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
