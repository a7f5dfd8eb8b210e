package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxRefusal is how much of an answer that is no is read: nobody reads more of it.
const maxRefusal = 1 << 20

// leastHidden is the length below which a text is met by chance in any sentence.
const leastHidden = 6

// Repeated takes credentials out of what a server says when it refuses, before anybody
// can put its words into an error: proxies and pages of errors repeat what they were asked
// with. What a server gives that was asked for is left as it is.
func Repeated(by http.RoundTripper, secrets ...string) http.RoundTripper {
	secrets = slices.DeleteFunc(slices.Clone(secrets), func(s string) bool { return len(strings.TrimSpace(s)) < leastHidden })
	if len(secrets) == 0 {
		return by
	}
	return &repeated{by, replacer(secrets)}
}

type repeated struct {
	by   http.RoundTripper
	hide *strings.Replacer
}

// RoundTrip asks, and hides what the refusal repeats.
func (r *repeated) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := r.by.RoundTrip(req)
	if err != nil || res.StatusCode < 300 && strings.Contains(res.Header.Get("Content-Type"), "json") {
		return res, err
	}
	for name, values := range res.Header {
		for i, v := range values {
			values[i] = r.hide.Replace(v)
		}
		res.Header[name] = values
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxRefusal))
	said := r.hide.Replace(string(text))
	rest := io.Reader(bytes.NewReader(nil))
	if err != nil { // it broke off: whoever reads it learns that where it did
		rest = &broken{err}
	}
	res.Body = &answer{io.MultiReader(strings.NewReader(said), rest), res.Body}
	if res.ContentLength >= 0 {
		res.ContentLength = int64(len(said))
		res.Header.Del("Content-Length")
	}
	return res, nil
}

// CloseIdleConnections is what [http.Client] asks of who asks for it.
func (r *repeated) CloseIdleConnections() {
	(&http.Client{Transport: r.by}).CloseIdleConnections()
}

type answer struct {
	io.Reader
	io.Closer
}

type broken struct{ err error }

func (b *broken) Read([]byte) (int, error) { return 0, b.err }

// replacer hides texts in the forms in which servers repeat what they were told.
func replacer(secrets []string) *strings.Replacer {
	var forms []string
	for _, s := range secrets {
		// A header's value arrives without the spaces at its ends.
		for _, text := range []string{s, strings.TrimSpace(s)} {
			forms = append(forms, text, url.QueryEscape(text), url.PathEscape(text), html.EscapeString(text),
				base64.StdEncoding.EncodeToString([]byte(text)), base64.RawStdEncoding.EncodeToString([]byte(text)), hex.EncodeToString([]byte(text)))
			if quoted, err := json.Marshal(text); err == nil {
				forms = append(forms, string(quoted[1:len(quoted)-1]))
			}
			var plain bytes.Buffer
			e := json.NewEncoder(&plain)
			e.SetEscapeHTML(false)
			if e.Encode(text) == nil { // it adds a line's end
				forms = append(forms, plain.String()[1:plain.Len()-2])
			}
		}
	}
	// The longest first: of what one ends in another must not be taken out before.
	slices.SortStableFunc(forms, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, f := range slices.Compact(forms) {
		pairs = append(pairs, f, hidden)
	}
	return strings.NewReplacer(pairs...)
}
