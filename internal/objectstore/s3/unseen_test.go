package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/reach"
)

// canned is a store that answers everything with one refusal, as S3 documents it: with a
// document that HEAD does not get.
type canned struct {
	status              int
	code, message, page string
	headers             map[string]string
}

func (c canned) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, kind := c.page, "text/html; charset=utf-8"
	if c.code != "" {
		body, kind = fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>`+"\n<Error><Code>%s</Code><Message>%s</Message></Error>", c.code, c.message), "application/xml"
	}
	w.Header().Set("Content-Type", kind)
	for k, v := range c.headers {
		w.Header().Set(k, v)
	}
	w.WriteHeader(c.status)
	if r.Method != http.MethodHead {
		fmt.Fprint(w, body)
	}
}

// Answers that tell nothing of what was asked for are not taken for a denial, for an
// absence, or for a store that is lost; and each names its cause and the next move, also
// where the question was a HEAD, whose answer has no words.
func TestUnseen(t *testing.T) {
	t.Parallel()
	ireland := map[string]string{"X-Amz-Bucket-Region": "eu-west-1"}
	both := []error{fs.ErrPermission, reach.ErrUnseen}
	for bucket, tc := range map[string]struct {
		answer canned
		says   string
		want   []error
	}{
		"skew":        {canned{status: 403, code: "RequestTimeTooSkewed", message: "The difference between the request time and the current time is too large."}, "set the clock", both[1:]},
		"expired":     {canned{status: 400, code: "ExpiredToken", message: "The provided token has expired."}, "the session token has expired", both[1:]},
		"strange":     {canned{status: 400, code: "InvalidToken", message: "The provided token is malformed or otherwise invalid."}, "session token", both[1:]},
		"redirect":    {canned{status: 301, code: "PermanentRedirect", message: "The bucket must be addressed using the specified endpoint.", headers: ireland}, "region eu-west-1", both[1:]},
		"region":      {canned{status: 400, code: "AuthorizationHeaderMalformed", message: "The region 'us-east-1' is wrong; expecting 'eu-west-1'"}, "region eu-west-1", both[1:]},
		"html":        {canned{status: 200, page: "<html><body>Please sign in</body></html>"}, `of type text/html that begins with "<html><body>Please sign in`, both[1:]},
		"html 403":    {canned{status: 403, page: "<!DOCTYPE html><p>Blocked by the gateway"}, `begins with "<!DOCTYPE html><p>Blocked`, both[1:]},
		"html 404":    {canned{status: 404, page: "<html>nginx: no such page</html>"}, `begins with "<html>nginx`, both[1:]},
		"archived":    {canned{status: 403, code: "InvalidObjectState", message: "The operation is not valid for the object's storage class"}, "restore it from the archive", []error{objectstore.ErrArchived}},
		"denied":      {canned{status: 403, code: "AccessDenied", message: "Access Denied"}, "access key a is denied", []error{fs.ErrPermission, objectstore.ErrDenied}},
		"nobody":      {canned{status: 403, code: "InvalidAccessKeyId", message: "no such key"}, "knows no access key a", append([]error{objectstore.ErrNobody}, both...)},
		"signature":   {canned{status: 403, code: "SignatureDoesNotMatch", message: "check your key"}, "check its secret key", both},
		"account":     {canned{status: 403, code: "AccountProblem", message: "There is a problem with your account"}, "account behind the bucket", both},
		"disabled":    {canned{status: 403, code: "AllAccessDisabled", message: "All access to this object has been disabled"}, "account behind the bucket", both},
		"other":       {canned{status: 403, code: "SomethingNew", message: "no"}, "look up what it answered (403 SomethingNew: no)", both},
		"key":         {canned{status: 400, code: "KMS.DisabledException", message: "the key is disabled"}, "check the key there", []error{objectstore.ErrKey}},
		"key's right": {canned{status: 403, code: "AccessDenied", message: "not authorized to perform: kms:Decrypt"}, "kms:Decrypt", []error{fs.ErrPermission, objectstore.ErrDenied}},
	} {
		t.Run(bucket, func(t *testing.T) {
			t.Parallel()
			store := httptest.NewServer(tc.answer)
			t.Cleanup(store.Close)
			c, err := s3.New(s3.Config{Endpoint: store.URL, AccessKey: "a", SecretKey: "b", PathStyle: true})
			must(t, err)
			for doing, ask := range map[string]func() error{
				"list":     func() error { return first(c.List(t.Context(), "lake", "")) },
				"versions": func() error { return first(c.ListVersions(t.Context(), "lake", "")) },
				"settings": func() error { _, err := c.Versioning(t.Context(), "lake"); return err },
				"get":      func() error { _, _, err := c.Get(t.Context(), "lake", "k"); return err },
				"part": func() error {
					_, err := c.ReadPart(t.Context(), objectstore.Source{Bucket: "lake", Key: "k"}, make([]byte, 4), 0)
					return err
				},
				"head":     func() error { _, err := c.Head(t.Context(), "lake", "k"); return err },
				"describe": func() error { _, err := c.Describe(t.Context(), "lake", "k", ""); return err },
				"seal":     func() error { _, err := c.Seal(t.Context(), "lake", "k", ""); return err },
			} {
				err := ask()
				asked := slices.Contains([]string{"head", "describe", "seal"}, doing)
				if asked && bucket == "html 404" {
					// A status alone: that the bucket is not there either says that nothing is known.
					if !errors.Is(err, objectstore.ErrNoBucket) || errors.Is(err, fs.ErrNotExist) {
						t.Errorf("%s: %v", doing, err)
					}
					continue
				}
				says := tc.says
				if asked && bucket == "html" {
					says = "of type text/html without what S3 says of an object"
				}
				if !strings.Contains(fmt.Sprint(err), says) {
					t.Errorf("%s: %v; want that it says %q", doing, err, says)
				}
				for _, kind := range []error{reach.ErrUnreachable, reach.ErrUnseen, objectstore.ErrArchived, objectstore.ErrKey, fs.ErrPermission, objectstore.ErrDenied, objectstore.ErrNobody, fs.ErrNotExist} {
					if errors.Is(err, kind) != slices.Contains(tc.want, kind) {
						t.Errorf("%s: %v: is it %q: %v", doing, err, kind, errors.Is(err, kind))
					}
				}
			}
		})
	}
}

// TestSlowDownEndsInTime: where the caller's time ends before the store's patience, what
// the store said is the cause.
func TestSlowDownEndsInTime(t *testing.T) {
	t.Parallel()
	store := httptest.NewServer(canned{status: 503, code: "SlowDown", message: "Please reduce your request rate."})
	t.Cleanup(store.Close)
	c, err := s3.New(s3.Config{Endpoint: store.URL, AccessKey: "a", SecretKey: "b", PathStyle: true})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err = first(c.List(ctx, "lake", ""))
	if !errors.Is(err, reach.ErrUnseen) || reach.Unreachable(err) || !strings.Contains(err.Error(), "asks to slow down") || ctx.Err() != nil {
		t.Errorf("%v", err)
	}
}

// first is the error that a listing ends with.
func first[T any](all iter.Seq2[T, error]) (failed error) {
	for _, err := range all {
		failed = errors.Join(failed, err)
	}
	return failed
}
