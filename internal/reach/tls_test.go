package reach_test

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"breakwater/internal/reach"
)

// Whoever answers in another way than was expected is not silent: a person could
// accept silence as the sign of a dead source.
func TestAnswersInAnotherWay(t *testing.T) {
	answers := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	start := func(with func(*httptest.Server)) *httptest.Server {
		s := httptest.NewUnstartedServer(answers)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		with(s)
		t.Cleanup(s.Close)
		return s
	}
	secured := start((*httptest.Server).StartTLS)
	plain := start((*httptest.Server).Start)
	mutual := start(func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.StartTLS()
	})
	modern := start(func(s *httptest.Server) {
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
		s.StartTLS()
	})
	old := modern.Client().Transport.(*http.Transport).Clone()
	old.TLSClientConfig.MaxVersion = tls.VersionTLS12
	named := secured.Client().Transport.(*http.Transport).Clone()
	named.TLSClientConfig.ServerName = "elsewhere.example.org"
	for name, tc := range map[string]struct {
		with http.RoundTripper
		url  string
		says string
	}{
		"an authority of its own":      {http.DefaultTransport, secured.URL, "not trusted"},
		"a certificate for another":    {named, secured.URL, "not trusted"},
		"TLS to a plain port":          {http.DefaultTransport, strings.Replace(plain.URL, "http:", "https:", 1), "does not speak TLS"},
		"it wants a certificate of us": {mutual.Client().Transport, mutual.URL, "handshake was refused"},
		"another version of TLS":       {old, modern.URL, "handshake was refused"},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := (&http.Client{Transport: tc.with}).Get(tc.url)
			if err == nil {
				res.Body.Close()
				t.Fatal("it is no error: the test proves nothing")
			}
			marked := reach.Mark(err)
			if reach.Unreachable(err) || reach.Unreachable(marked) || !errors.Is(marked, reach.ErrMisconfigured) || !errors.Is(marked, reach.ErrUnseen) {
				t.Errorf("marked as %v, unreachable %t; want misconfigured, which is an answer", marked, reach.Unreachable(marked))
			}
			if !strings.Contains(marked.Error(), tc.says) || !errors.Is(marked, err) {
				t.Errorf("marked as %v; want %q in it, and the cause", marked, tc.says)
			}
			if again := reach.Mark(marked); again.Error() != marked.Error() {
				t.Errorf("marked twice: %v", again)
			}
		})
	}
}
