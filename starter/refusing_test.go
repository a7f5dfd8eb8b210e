package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// refusing is a store that answers everything with one refusal, whatever is asked.
type refusing struct {
	status        int
	code, message string // no code is a web page
	headers       map[string]string
}

func (s refusing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, kind := s.message, "text/html"
	if s.code != "" {
		body, kind = fmt.Sprintf("<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>%s</Message></Error>", s.code, s.message), "application/xml"
	}
	w.Header().Set("Content-Type", kind)
	for k, v := range s.headers {
		w.Header().Set(k, v)
	}
	w.WriteHeader(s.status)
	if r.Method != http.MethodHead {
		fmt.Fprint(w, body)
	}
}

// TestStoreThatRefuses: an answer that is about the question, and not about what was asked
// for, ends every command that reads a store with 3: nothing was looked at. It names the
// cause and what to do, and blames no access key for another's doing.
func TestStoreThatRefuses(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	t.Setenv("AWS_REGION", "us-east-1")
	ireland := map[string]string{"X-Amz-Bucket-Region": "eu-west-1"}
	for name, tc := range map[string]struct {
		store     refusing
		says      []string
		estate    int  // how a check of the estate ends; 3 when zero
		estateToo bool // nothing else is asked, since the store is patient
	}{
		"the clock":        {store: refusing{403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", nil}, says: []string{"set the clock"}},
		"the token":        {store: refusing{400, "ExpiredToken", "The provided token has expired.", nil}, says: []string{"token has expired", "get new credentials"}},
		"another region":   {store: refusing{301, "PermanentRedirect", "The bucket must be addressed using the specified endpoint.", ireland}, says: []string{"region eu-west-1", "and its endpoint"}},
		"a wrong region":   {store: refusing{400, "AuthorizationHeaderMalformed", "The region 'us-east-1' is wrong; expecting 'eu-west-1'", nil}, says: []string{"region eu-west-1"}},
		"a web page":       {store: refusing{200, "", "<html><body>Please sign in</body></html>", nil}, says: []string{"Please sign in", "check the endpoint"}},
		"a denying page":   {store: refusing{403, "", "<html><body>Blocked</body></html>", nil}, says: []string{"Blocked", "check the endpoint"}},
		"an empty page":    {store: refusing{404, "", "<html><body>no such page</body></html>", nil}, says: []string{"no such page", "check the endpoint"}},
		"a wrong secret":   {store: refusing{403, "SignatureDoesNotMatch", "The request signature we calculated does not match", nil}, says: []string{"check its secret key"}, estate: exitFailed},
		"nobody":           {store: refusing{403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist", nil}, says: []string{"knows no access key", "check which credentials are given"}, estate: exitFailed},
		"an account":       {store: refusing{403, "AccountProblem", "There is a problem with your account", nil}, says: []string{"account behind the bucket"}, estate: exitFailed},
		"no such bucket":   {store: refusing{404, "NoSuchBucket", "The specified bucket does not exist", nil}, says: []string{"no such bucket", "check the bucket's name", "which store the endpoint is"}, estate: exitFailed},
		"it is asked less": {store: refusing{503, "SlowDown", "Please reduce your request rate.", nil}, says: []string{"slow down", "try again later"}, estateToo: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(tc.store)
			t.Cleanup(srv.Close)
			dir := t.TempDir()
			writeEstate(t, dir, srv.URL, "lake", writeKeys(t, dir))
			text, err := os.ReadFile(filepath.Join(dir, "lab.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "lab.yaml"), bytes.ReplaceAll(text, []byte("nowhere.json"), []byte("credentials.json")), 0o644)
			estate := tc.estate
			if estate == 0 {
				estate = exitUnknown
			}
			for _, c := range []struct {
				args []string
				want int
			}{
				{[]string{"table", "show", "s3://lake/t"}, exitUnknown},
				{[]string{"table", "show", "s3://lake/t", "--version", "3", "--json"}, exitUnknown},
				{[]string{"table", "check", "s3://lake/t"}, exitUnknown},
				{[]string{"table", "history", "s3://lake/t", "--readable"}, exitUnknown},
				{[]string{"table", "query", "s3://lake/t", "select 1"}, exitUnknown},
				{[]string{"verify-evidence", "some-run", "--estates", dir}, exitUnknown},
				{[]string{"report", "some-run", "--estates", dir}, exitUnknown},
				{[]string{"estate", "check", filepath.Join(dir, "lab.yaml"), "--live", "--runbooks", "testdata/runbooks", "--estates", dir}, estate},
			} {
				if tc.estateToo && c.args[0] != "estate" {
					continue
				}
				if c.args[0] == "table" {
					c.args = append(c.args, "--endpoint", srv.URL)
				}
				var printed bytes.Buffer
				code := run(t.Context(), c.args, nil, &printed, &printed)
				out := strings.Join(strings.Fields(printed.String()), " ") // lines are broken for people
				if code != c.want {
					t.Errorf("%q exits with %d, want %d: %s", c.args, code, c.want, out)
				}
				for _, s := range tc.says {
					if !strings.Contains(out, s) {
						t.Errorf("%q does not say %q: %s", c.args, s, out)
					}
				}
				if strings.Contains(out, "check its policies") {
					t.Errorf("%q blames the key: %s", c.args, out)
				}
			}
		})
	}
}
