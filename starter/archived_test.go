package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shelf is a store that gives out a folder, read only. Each file below a prefix has the
// storage class of that prefix where class names one: its listing says so, and reading one
// that is archived is refused as S3 refuses it.
type shelf struct {
	dir   string
	class map[string]string // by "PREFIX/FILE"
	away  map[string]bool   // those that must be restored first
}

func (s shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/"), "lake")
	key = strings.TrimPrefix(key, "/")
	refuse := func(status int, code string) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
		}
	}
	if key == "" {
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprint(w, `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>lake</Name><IsTruncated>false</IsTruncated>`)
		prefix, after := r.URL.Query().Get("prefix"), r.URL.Query().Get("start-after")
		for prefixed := range map[string]bool{"t": true, "u": true, "w": true, "ir": true} {
			err := filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				name := prefixed + "/" + strings.TrimPrefix(path, s.dir+"/")
				info, err := d.Info()
				if err != nil || !strings.HasPrefix(name, prefix) || name <= after {
					return err
				}
				class := "STANDARD"
				if c := s.class[name]; c != "" {
					class = c
				}
				fmt.Fprintf(w, `<Contents><Key>%s</Key><LastModified>%s</LastModified><ETag>"1"</ETag><Size>%d</Size><StorageClass>%s</StorageClass></Contents>`,
					name, info.ModTime().UTC().Format("2006-01-02T15:04:05.000Z"), info.Size(), class)
				return nil
			})
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}
		fmt.Fprint(w, "</ListBucketResult>")
		return
	}
	_, name, _ := strings.Cut(key, "/")
	f, err := os.Open(filepath.Join(s.dir, filepath.FromSlash(name)))
	if err != nil {
		refuse(http.StatusNotFound, "NoSuchKey")
		return
	}
	defer f.Close() //nolint:errcheck // it is only read
	if c := s.class[key]; c != "" {
		w.Header().Set("X-Amz-Storage-Class", c)
		if !s.away[key] && c != "GLACIER_IR" {
			w.Header().Set("X-Amz-Restore", `ongoing-request="false", expiry-date="Fri, 21 Dec 2096 00:00:00 GMT"`)
		}
	}
	if s.away[key] && r.Method == http.MethodGet {
		refuse(http.StatusForbidden, "InvalidObjectState")
		return
	}
	info, err := f.Stat()
	if err != nil {
		refuse(http.StatusInternalServerError, "InternalError")
		return
	}
	w.Header().Set("ETag", `"1"`)
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// TestArchivedFileOfATable: a table with a live file in an archive is not complete; the
// next move is to restore that file, and nobody's key is to blame. One that was restored,
// or that is read at once from where it is, is a file as any other.
func TestArchivedFileOfATable(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	t.Setenv("AWS_REGION", "us-east-1")
	dir := t.TempDir()
	unpackReported(t, dir)
	srv := httptest.NewServer(shelf{
		dir:   filepath.Join(dir, "c20_clock_skew/copied_same_second/copied_same_second"),
		class: map[string]string{"t/f1.parquet": "GLACIER", "u/f1.parquet": "GLACIER", "w/f1.parquet": "DEEP_ARCHIVE", "ir/f1.parquet": "GLACIER_IR"},
		away:  map[string]bool{"t/f1.parquet": true, "w/f1.parquet": true},
	})
	t.Cleanup(srv.Close)
	for _, tc := range []struct {
		prefix string
		whole  bool
	}{{"t", false}, {"u", true}, {"w", false}, {"ir", true}} {
		code, out := said(t, "table", "check", "s3://lake/"+tc.prefix, "--endpoint", srv.URL)
		out = strings.Join(strings.Fields(out), " ")
		if tc.whole {
			if code != exitProven {
				t.Errorf("check of %s exits with %d: %s", tc.prefix, code, out)
			}
			if code, out := said(t, "table", "query", "s3://lake/"+tc.prefix, "select count(*) as n from t", "--endpoint", srv.URL, "--json"); code != exitProven || !strings.Contains(out, `"n":6`) && !strings.Contains(out, `"n":"6"`) {
				t.Errorf("query of %s exits with %d: %s", tc.prefix, code, out)
			}
			continue
		}
		if code != exitFailed || !strings.Contains(out, "f1.parquet") || !strings.Contains(out, "restore it from there first") || strings.Contains(out, "policies") {
			t.Errorf("check of %s exits with %d: %s", tc.prefix, code, out)
		}
		if code, out := said(t, "table", "query", "s3://lake/"+tc.prefix, "select count(*) as n from t", "--version", "5", "--endpoint", srv.URL); code != exitFailed || !strings.Contains(out, "archive") || strings.Contains(out, "policies") {
			t.Errorf("query of %s exits with %d: %s", tc.prefix, code, out)
		}
	}
}
