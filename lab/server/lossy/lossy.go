// Package lossy stands before a server and loses answers, as a broken connection does.
package lossy

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// Front passes requests on to the server at an address, until the test ends, and
// returns its own address. Of the next answers to a PUT, as many as swallow says are
// lost, each after the server has done what was asked; swallow counts down, and
// below zero nothing was lost.
func Front(t testing.TB, server string) (address string, swallow *atomic.Int32) {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	swallow = new(atomic.Int32)
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }, // signatures cover the host
		ModifyResponse: func(r *http.Response) error {
			if r.Request.Method == http.MethodPut && swallow.Add(-1) >= 0 {
				return errors.New("swallowed")
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return // the client has gone
			}
			if tcp, ok := conn.(*net.TCPConn); !ok || errors.Join(tcp.SetLinger(0), tcp.Close()) != nil {
				t.Errorf("the connection from %s was not broken", conn.RemoteAddr())
			}
		},
	})
	t.Cleanup(front.Close)
	return front.URL, swallow
}
