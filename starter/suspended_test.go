package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"breakwater/lab/server/miniotest"

	"github.com/minio/minio-go/v7"
	miniocreds "github.com/minio/minio-go/v7/pkg/credentials"
)

// TestCheckUnderSuspendedVersioning: what was deleted while versioning is suspended is
// hidden and not lost. A check says which version is kept, and that versioning has to be on
// before anything is written; with versioning on, the same is a failure that can be mended.
func TestCheckUnderSuspendedVersioning(t *testing.T) {
	s, bucket := miniotest.Shared(t), miniotest.Unique("suspended")
	t.Setenv("AWS_ACCESS_KEY_ID", miniotest.RootUser)
	t.Setenv("AWS_SECRET_ACCESS_KEY", miniotest.RootPassword)
	root := s.Client(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(root.CreateBucket(t.Context(), bucket, true))
	dir := t.TempDir()
	unpackReported(t, dir)
	where := filepath.Join(dir, "c20_clock_skew/copied_same_second/copied_same_second")
	must(filepath.WalkDir(where, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		if err == nil {
			_, err = root.Put(t.Context(), bucket, "t/"+strings.TrimPrefix(path, where+"/"), body)
		}
		return err
	}))
	raw, err := minio.New(strings.TrimPrefix(s.Endpoint, "http://"), &minio.Options{Creds: miniocreds.NewStaticV4(miniotest.RootUser, miniotest.RootPassword, "")})
	must(err)
	old, err := root.Head(t.Context(), bucket, "t/f3.parquet")
	must(err)
	must(raw.SuspendVersioning(t.Context(), bucket))
	_, err = root.Delete(t.Context(), bucket, "t/f3.parquet")
	must(err)
	for _, tc := range []struct {
		on   bool
		want int
	}{{false, exitUnknown}, {true, exitFailed}} {
		if tc.on {
			must(raw.EnableVersioning(t.Context(), bucket))
		}
		code, out := said(t, "table", "check", "s3://"+bucket+"/t", "--endpoint", s.Endpoint)
		out = strings.Join(strings.Fields(out), " ")
		if code != tc.want || !strings.Contains(out, "its version "+old.VersionID+" is kept") || !strings.Contains(out, "storage.undelete") {
			t.Errorf("versioning on %v: exits with %d, want %d: %s", tc.on, code, tc.want, out)
		}
		if strings.Contains(out, "turn versioning on first (aws s3api put-bucket-versioning --bucket "+bucket) == tc.on {
			t.Errorf("versioning on %v: it says %s", tc.on, out)
		}
	}
	if code, out := said(t, "table", "check", "s3://"+bucket+"/t", "--version", "2", "--endpoint", s.Endpoint); code != exitProven {
		t.Errorf("a version that needs nothing of it exits with %d: %s", code, out)
	}
	for key, want := range map[string]error{"t/f3.parquet": fs.ErrNotExist} { // it only looked
		if _, err := root.Head(t.Context(), bucket, key); !errors.Is(err, want) {
			t.Errorf("%s: %v", key, err)
		}
	}
}
