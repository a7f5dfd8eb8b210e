package tap

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// reader makes requests of what was asked of one kind of HTTP server, and answered
// without an error.
type reader interface {
	// reads reports whether the body of a request is wanted, too: others are streamed.
	reads(r *http.Request) bool
	// asked lists what a request changed, by the body where that was wanted.
	asked(r *http.Request, body []byte, answer *http.Response) []string
}

type bodyKey struct{}

// http stands before a server, and returns its own address.
func (t *Tap) http(tb testing.TB, server string, as reader) string {
	tb.Helper()
	to, err := url.Parse(server)
	if err != nil {
		tb.Fatal(err)
	}
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // signatures cover the host
			if as.reads(r.In) {
				body, err := io.ReadAll(r.In.Body)
				if err != nil {
					return // the client has gone
				}
				r.Out.Body = io.NopCloser(bytes.NewReader(body))
				r.Out = r.Out.WithContext(context.WithValue(r.Out.Context(), bodyKey{}, body))
			}
		},
		ModifyResponse: func(res *http.Response) error {
			body, _ := res.Request.Context().Value(bodyKey{}).([]byte)
			if m := res.Request.Method; res.StatusCode < 300 && m != http.MethodGet && m != http.MethodHead {
				for _, a := range as.asked(res.Request, body, res) {
					t.saw("%s", a)
				}
			}
			return nil
		},
		// A server that gives no answer looks the same from behind the tap.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return // the client has gone
			}
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // broken, not ended; else it ends
			}
			_ = conn.Close()
		},
	})
	tb.Cleanup(front.Close)
	return front.URL
}
