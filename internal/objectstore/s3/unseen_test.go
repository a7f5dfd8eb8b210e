package s3_test

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/reach"
)

// Answers that tell nothing of what was asked for are not taken for a denial, for an
// absence, or for a store that is lost; and each names the next move.
func TestUnseen(t *testing.T) {
	t.Parallel()
	for bucket, tc := range map[string]struct {
		status              int
		code, message, says string
		want                error
	}{
		"skew":     {403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", "set the clock", reach.ErrUnseen},
		"expired":  {400, "ExpiredToken", "The provided token has expired.", "the session token has expired", reach.ErrUnseen},
		"strange":  {400, "InvalidToken", "The provided token is malformed or otherwise invalid.", "session token", reach.ErrUnseen},
		"redirect": {301, "PermanentRedirect", "The bucket must be addressed using the specified endpoint.", "region eu-west-1", reach.ErrUnseen},
		"region":   {400, "AuthorizationHeaderMalformed", "The region 'us-east-1' is wrong; expecting 'eu-west-1'", "region eu-west-1", reach.ErrUnseen},
		"html":     {200, "", "<html><body>Please sign in</body></html>", "check the endpoint", reach.ErrUnseen},
		"archived": {403, "InvalidObjectState", "The operation is not valid for the object's storage class", "restore it from the archive", objectstore.ErrArchived},
		"denied":   {403, "AccessDenied", "Access Denied", "is denied", fs.ErrPermission},
		"nobody":   {403, "InvalidAccessKeyId", "no such key", "is denied", fs.ErrPermission},
	} {
		t.Run(bucket, func(t *testing.T) {
			t.Parallel()
			store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if tc.code == "" {
					w.Header().Set("Content-Type", "text/html")
					fmt.Fprint(w, tc.message)
					return
				}
				if tc.status == http.StatusMovedPermanently {
					w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
				}
				w.WriteHeader(tc.status)
				fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message></Error>`, tc.code, tc.message)
			}))
			t.Cleanup(store.Close)
			c, err := s3.New(s3.Config{Endpoint: store.URL, AccessKey: "a", SecretKey: "b", PathStyle: true})
			must(t, err)
			for doing, ask := range map[string]func() error{
				"list":     func() error { return first(c.List(t.Context(), bucket, "")) },
				"versions": func() error { return first(c.ListVersions(t.Context(), bucket, "")) },
				"settings": func() error { _, err := c.Versioning(t.Context(), bucket); return err },
				"get": func() error {
					if tc.code == "" {
						return nil // an object may hold a web page
					}
					_, _, err := c.Get(t.Context(), bucket, "k")
					return err
				},
			} {
				err := ask()
				if err == nil && tc.code == "" && doing != "list" && doing != "versions" {
					continue
				}
				if !errors.Is(err, tc.want) || !strings.Contains(fmt.Sprint(err), tc.says) {
					t.Errorf("%s: %v; want %v, saying %q", doing, err, tc.want, tc.says)
				}
				for _, other := range []error{reach.ErrUnreachable, reach.ErrUnseen, objectstore.ErrArchived, fs.ErrPermission, fs.ErrNotExist} {
					if !errors.Is(tc.want, other) && errors.Is(err, other) {
						t.Errorf("%s: %v is also taken for %v", doing, err, other)
					}
				}
			}
		})
	}
}

// first is the error that a listing ends with.
func first[T any](all iter.Seq2[T, error]) (failed error) {
	for _, err := range all {
		failed = errors.Join(failed, err)
	}
	return failed
}
