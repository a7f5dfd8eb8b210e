package s3

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestArchived reads what AWS says of objects in an archive; no server here has one.
func TestArchived(t *testing.T) {
	for name, tc := range map[string]struct {
		headers map[string]string
		want    bool
	}{
		"an object like others":         {nil, false},
		"in Glacier":                    {map[string]string{"X-Amz-Storage-Class": "GLACIER"}, true},
		"in Deep Archive":               {map[string]string{"X-Amz-Storage-Class": "DEEP_ARCHIVE"}, true},
		"read at once from Glacier":     {map[string]string{"X-Amz-Storage-Class": "GLACIER_IR"}, false},
		"a restore is under way":        {map[string]string{"X-Amz-Storage-Class": "GLACIER", "X-Amz-Restore": `ongoing-request="true"`}, true},
		"restored for a while":          {map[string]string{"X-Amz-Storage-Class": "GLACIER", "X-Amz-Restore": `ongoing-request="false", expiry-date="Fri, 21 Dec 2026 00:00:00 GMT"`}, false},
		"tiered, and readable":          {map[string]string{"X-Amz-Storage-Class": "INTELLIGENT_TIERING"}, false},
		"tiered down to an archive":     {map[string]string{"X-Amz-Storage-Class": "INTELLIGENT_TIERING", "X-Amz-Archive-Status": "ARCHIVE_ACCESS"}, true},
		"tiered down to a deep archive": {map[string]string{"X-Amz-Storage-Class": "INTELLIGENT_TIERING", "X-Amz-Archive-Status": "DEEP_ARCHIVE_ACCESS"}, true},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for k, v := range tc.headers {
				w.Header().Set(k, v)
			}
			w.Header().Set("ETag", `"e"`)
			w.Header().Set("Content-Length", "3")
		}))
		c, err := New(Config{Endpoint: srv.URL, AccessKey: "a", SecretKey: "s", PathStyle: true})
		if err != nil {
			t.Fatal(err)
		}
		o, err := c.Head(t.Context(), "lake", "k")
		d, err2 := c.Describe(t.Context(), "lake", "k", "")
		if err != nil || err2 != nil || o.Archived != tc.want || d.Archived != tc.want {
			t.Errorf("%s: archived %v, %v (%v, %v); want %v", name, o.Archived, d.Archived, err, err2, tc.want)
		}
		srv.Close()
	}
}
