package credential_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"breakwater/internal/credential"
)

// TestRepeated: what a server repeats of a credential in a refusal is hidden, and what it
// was asked for is not touched.
func TestRepeated(t *testing.T) {
	const secret = ` p%20"<w>ord/+ `
	var status int
	var kind, body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Location", "/login?token="+r.Header.Get("X-Token"))
		if strings.HasPrefix(body, "broken") {
			w.Header().Set("Content-Length", "1000")
		}
		w.WriteHeader(status)
		io.WriteString(w, body) //nolint:errcheck // a test's
	}))
	t.Cleanup(server.Close)
	ask := &http.Client{
		Transport:     credential.Repeated(http.DefaultTransport, secret, "a", ""),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(ask.CloseIdleConnections)
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		status           int
		kind, body, want string
	}{
		{200, "application/json", `{"value":` + string(quoted) + `}`, `{"value":` + string(quoted) + `}`},
		{200, "text/html", "<p>" + secret + "</p>", "<p>[secret]</p>"},
		{302, "text/html", "x" + strings.TrimSpace(secret) + "x", "x[secret]x"},
		{403, "application/json", `{"errors":[` + string(quoted) + `]}`, `{"errors":["[secret]"]}`},
		{403, "text/html", "&#34;", "&#34;"},
		{500, "", "", ""},
		{500, "", "broken " + secret + "|", "broken [secret]|"},
	} {
		status, kind, body = tc.status, tc.kind, tc.body
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Token", secret)
		res, err := ask.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close() //nolint:errcheck // read
		if string(got) != tc.want || (err != nil) != strings.HasPrefix(body, "broken") {
			t.Errorf("%d %s: %q, %v; want %q", tc.status, tc.body, got, err, tc.want)
		}
		if tc.status >= 300 && strings.Contains(res.Header.Get("Location"), "ord/+") {
			t.Errorf("%d: the header shows it: %s", tc.status, res.Header.Get("Location"))
		}
	}
}
