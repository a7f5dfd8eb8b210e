package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"breakwater/internal/clip"
	"breakwater/internal/reach"
	"breakwater/internal/secret"
)

// fail words an error and gives it its sentinel.
func (s *Store) fail(ctx context.Context, doing, path string, err error) error {
	err = classify(err)
	if r := (*refusal)(nil); errors.As(err, &r) && r.denied {
		err = &refusal{text: r.text + "; " + s.client.token(ctx), kinds: r.kinds}
	}
	return fmt.Errorf("%s %s: %w", doing, secret.Place(s, path), err)
}

// token says how old the token is, or that nobody knows it: a policy that is too narrow
// and a token that has ended are refused with the same words.
func (c *Client) token(ctx context.Context) string {
	res, err := c.api.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil || res == nil {
		return "it has expired or was revoked, or is none of this server, unless its policies keep it from looking itself up: " +
			"give the estate a new one, and look at its policies"
	}
	ends := "it does not end"
	if text, _ := res.Data["expire_time"].(string); text != "" {
		ends = "it ends at " + text
		if t, err := time.Parse(time.RFC3339, text); err == nil {
			ends = "it ends at " + t.UTC().Format(time.RFC3339)
		}
	}
	return "the server knows it, and " + ends + ": give its policies what is needed here"
}

// refusal is a server's answer no in one line, with its sentinel and the
// library's error, which takes several, in its chain.
type refusal struct {
	text   string
	kinds  []error
	denied bool // by the token's rights
}

func (e *refusal) Error() string   { return e.text }
func (e *refusal) Unwrap() []error { return e.kinds }

// classify is idempotent: what it has worded once it leaves alone.
func classify(err error) error {
	var worded *refusal
	var r *api.ResponseError
	var syntax *json.SyntaxError
	var shape *json.UnmarshalTypeError
	switch {
	case errors.As(err, &worded):
		return err
	case errors.As(err, &r):
		return refused(r, err)
	case errors.As(err, &syntax), errors.As(err, &shape), errors.Is(err, io.EOF) && !reach.Unreachable(err): // which is an empty page
		return &refusal{text: "misconfigured: the answer is no Vault's (" + err.Error() + "); correct the address, or see what stands before it", kinds: []error{reach.ErrMisconfigured, err}}
	}
	return reach.Mark(err)
}

// notServing are the words by which a server says that it has nobody who serves.
var notServing = []string{"active cluster node not found", "no active vault instance", "dr secondary", "not initialized"}

// refused classifies an answer that is no.
func refused(r *api.ResponseError, err error) error {
	words := strings.Join(strings.Fields(strings.Join(r.Errors, "; ")), " ")
	foreign := words == "" || r.RawError // no Vault's own words
	if words == "" {
		words = http.StatusText(r.StatusCode)
	}
	said := clip.Text(fmt.Sprintf("%d %s", r.StatusCode, words), 200)
	lower := strings.ToLower(said)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(lower, w) {
				return true
			}
		}
		return false
	}
	is := func(text string, kind error) error { return &refusal{text: text, kinds: []error{kind, err}} }
	switch r.StatusCode {
	case http.StatusForbidden:
		return &refusal{"the token is denied (" + said + ")", []error{fs.ErrPermission, err}, true}
	case http.StatusTooManyRequests:
		return is("asked to slow down ("+said+"); try again later", reach.ErrThrottled)
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		// A secret that is not there is no error of this kind: this is a path that is none.
		return is("misconfigured: there is no such path at the server ("+said+"); correct the address and the mount", reach.ErrMisconfigured)
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return is("unreachable, a gateway says ("+said+")", reach.ErrUnreachable)
	}
	switch {
	case has("http request to an https server"):
		return is("misconfigured: plain HTTP to a TLS port ("+said+"); write https:// in the address", reach.ErrMisconfigured)
	case has(notServing...), r.StatusCode == 472, r.StatusCode == 473, r.StatusCode == 474:
		return is(secret.ErrNotServing.Error()+" ("+said+"); see which of its servers is active", secret.ErrNotServing)
	case r.StatusCode == http.StatusServiceUnavailable && has("sealed"):
		return is("it is sealed ("+said+"); unseal it", secret.ErrSealed)
	case has("upgrading from non-versioned"):
		return is("the mount is just being made one of KV version 2 ("+said+"); try again in a moment", reach.ErrThrottled)
	case r.StatusCode == http.StatusServiceUnavailable && foreign:
		return is("unreachable, who stands before it says ("+said+")", reach.ErrUnreachable)
	case r.StatusCode >= 300 && r.StatusCode < 400:
		return is("misconfigured: the address sends us elsewhere ("+said+"); correct it", reach.ErrMisconfigured)
	}
	return &refusal{text: "the server answered " + said, kinds: []error{err}}
}

// isCAS tells a lost check-and-set from the other mistakes with status 400.
func isCAS(err error) bool {
	var r *api.ResponseError
	return errors.As(err, &r) && r.StatusCode == http.StatusBadRequest &&
		strings.Contains(strings.Join(r.Errors, " "), "check-and-set parameter did not match")
}
