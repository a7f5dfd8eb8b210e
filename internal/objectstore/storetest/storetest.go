// Package storetest is what package objectstore promises, as a test that runs
// against any S3 endpoint.
package storetest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"breakwater/internal/objectstore"
)

// Target is what the suite runs against.
type Target struct {
	// Client may do everything in Bucket, which has versioning and may hold
	// other things: the suite writes below a prefix of its own.
	Client *objectstore.Client
	Bucket string
	// Stranger is a principal that may do nothing in Bucket.
	Stranger *objectstore.Client
	// Keys is how many keys the listing test makes; more than 2,000, so that
	// three pages are needed.
	Keys int
}

// Run runs the suite.
func Run(t *testing.T, target Target) {
	b, prefix := target.Client.Bucket(target.Bucket), "storetest/"+rand.Text()+"/"
	for name, test := range map[string]func(*testing.T, Target, objectstore.Bucket, string){
		"read what was written": testRoundTrip,
		"odd keys":              testKeys,
		"missing":               testMissing,
		"denied":                testDenied,
		"put if absent":         testPutIfAbsent,
		"put if match":          testPutIfMatch,
		"race":                  testRace,
		"versions":              testVersions,
		"copy":                  testCopy,
		"read in parts":         testReaderAt,
		"listing":               testList,
	} {
		t.Run(name, func(t *testing.T) { test(t, target, b, prefix+name+"/") })
	}
}

// is fails the test unless err has all of want and none of not in its chain.
func is(t *testing.T, doing string, err error, want []error, not ...error) {
	t.Helper()
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Errorf("%s: got error %v, want %v in its chain", doing, err, w)
		}
	}
	for _, n := range not {
		if errors.Is(err, n) {
			t.Errorf("%s: error %v must not be %v", doing, err, n)
		}
	}
}

func put(t *testing.T, b objectstore.Bucket, key, body string) objectstore.Object {
	t.Helper()
	o, err := b.Put(t.Context(), key, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func testRoundTrip(t *testing.T, target Target, b objectstore.Bucket, p string) {
	if on, err := target.Client.BucketVersioning(t.Context(), target.Bucket); err != nil || !on {
		t.Fatalf("BucketVersioning = %v, %v; the suite needs a versioned bucket", on, err)
	}
	wrote := put(t, b, p+"a", "hello")
	body, o, err := b.Get(t.Context(), p+"a")
	if err != nil || string(body) != "hello" {
		t.Fatalf("Get = %q, %v", body, err)
	}
	head, err := b.Head(t.Context(), p+"a")
	if err != nil {
		t.Fatal(err)
	}
	if head != o {
		t.Errorf("Head = %+v, Get says %+v", head, o)
	}
	if o.Key != p+"a" || o.Size != 5 || o.ETag == "" || o.ETag != wrote.ETag || o.VersionID == "" || o.VersionID != wrote.VersionID || o.LastModified.IsZero() {
		t.Errorf("Get = %+v, Put said %+v", o, wrote)
	}
	put(t, b, p+"empty", "")
	if body, _, err := b.Get(t.Context(), p+"empty"); err != nil || len(body) != 0 {
		t.Errorf("Get of an empty object = %q, %v", body, err)
	}
}

func testKeys(t *testing.T, target Target, b objectstore.Bucket, p string) {
	for _, k := range []string{"a b", "a+b", "50%", "%20", "é/日本", "q?v=1&x", "k=v/part=1", "'\"<>"} {
		put(t, b, p+k, k)
		if body, _, err := b.Get(t.Context(), p+k); err != nil || string(body) != k {
			t.Errorf("Get(%q) = %q, %v", k, body, err)
		}
		if _, err := target.Client.Copy(t.Context(), objectstore.Source{Bucket: b.Name(), Key: p + k}, b.Name(), p+"copy of "+k); err != nil {
			t.Errorf("Copy(%q): %v", k, err)
		} else if body, _, err := b.Get(t.Context(), p+"copy of "+k); err != nil || string(body) != k {
			t.Errorf("Get(copy of %q) = %q, %v", k, body, err)
		}
		var listed bool
		for o, err := range b.List(t.Context(), p+k) {
			if err != nil {
				t.Fatal(err)
			}
			listed = listed || o.Key == p+k
		}
		if !listed {
			t.Errorf("List does not name %q", k)
		}
	}
}

func testMissing(t *testing.T, target Target, b objectstore.Bucket, p string) {
	missing := []error{fs.ErrNotExist}
	_, _, err := b.Get(t.Context(), p+"none")
	is(t, "get a missing key", err, missing, fs.ErrPermission, objectstore.ErrNoBucket)
	_, err = b.Head(t.Context(), p+"none")
	is(t, "head a missing key", err, missing, fs.ErrPermission, objectstore.ErrNoBucket)
	if there, err := b.Exists(t.Context(), p+"none"); there || err != nil {
		t.Errorf("Exists of a missing key = %v, %v", there, err)
	}
	o := put(t, b, p+"gone", "x")
	marker, err := b.Delete(t.Context(), p+"gone")
	if err != nil || marker == "" {
		t.Fatalf("Delete = %q, %v; want a delete marker's version", marker, err)
	}
	_, _, err = b.Get(t.Context(), p+"gone")
	is(t, "get a deleted key", err, missing)
	_, _, err = target.Client.GetVersion(t.Context(), target.Bucket, p+"gone", marker)
	is(t, "get a delete marker", err, missing)
	if body, _, err := target.Client.GetVersion(t.Context(), target.Bucket, p+"gone", o.VersionID); err != nil || string(body) != "x" {
		t.Errorf("GetVersion beneath a delete marker = %q, %v", body, err)
	}
	if err := b.DeleteVersion(t.Context(), p+"gone", marker); err != nil {
		t.Fatal(err)
	}
	if body, _, err := b.Get(t.Context(), p+"gone"); err != nil || string(body) != "x" {
		t.Errorf("Get after the marker's removal = %q, %v", body, err)
	}
	none := target.Client.Bucket("no-such-bucket-here")
	for name, ask := range map[string]func() error{
		"get":           func() error { _, _, err := none.Get(t.Context(), "k"); return err },
		"head":          func() error { _, err := none.Head(t.Context(), "k"); return err },
		"exists":        func() error { _, err := none.Exists(t.Context(), "k"); return err },
		"read a part":   func() error { _, err := none.ReadAt(t.Context(), "k", make([]byte, 1), 0); return err },
		"put if absent": func() error { _, err := none.PutIfAbsent(t.Context(), "k", nil); return err },
		"put if match":  func() error { _, err := none.PutIfMatch(t.Context(), "k", nil, "0123"); return err },
		"list": func() error {
			for _, err := range none.List(t.Context(), "") {
				return err
			}
			return nil
		},
	} {
		is(t, name+" in a missing bucket", ask(), []error{objectstore.ErrNoBucket}, fs.ErrNotExist, fs.ErrExist, objectstore.ErrChanged)
	}
}

func testDenied(t *testing.T, target Target, b objectstore.Bucket, p string) {
	put(t, b, p+"there", "x")
	s := target.Stranger.Bucket(target.Bucket)
	denied := []error{fs.ErrPermission}
	for _, key := range []string{p + "there", p + "none"} {
		_, _, err := s.Get(t.Context(), key)
		is(t, "get as a stranger", err, denied, fs.ErrNotExist)
		_, err = s.Head(t.Context(), key)
		is(t, "head as a stranger", err, denied, fs.ErrNotExist)
		if there, err := s.Exists(t.Context(), key); err == nil {
			t.Errorf("Exists as a stranger = %v without an error", there)
		}
		_, err = s.PutIfAbsent(t.Context(), key, []byte("y"))
		is(t, "put if absent as a stranger", err, denied, fs.ErrExist, objectstore.ErrSame)
		_, err = s.PutIfMatch(t.Context(), key, []byte("y"), "0123")
		is(t, "put if match as a stranger", err, denied, objectstore.ErrChanged)
		_, err = s.Delete(t.Context(), key)
		is(t, "delete as a stranger", err, denied)
	}
	seen := 0
	for _, err := range s.List(t.Context(), p) {
		seen++
		is(t, "list as a stranger", err, denied, fs.ErrNotExist)
	}
	if seen != 1 {
		t.Errorf("list as a stranger yielded %d times, want its one error", seen)
	}
}

func testPutIfAbsent(t *testing.T, _ Target, b objectstore.Bucket, p string) {
	first, err := b.PutIfAbsent(t.Context(), p+"k", []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := b.PutIfAbsent(t.Context(), p+"k", []byte("one"))
	is(t, "the same bytes again", err, []error{fs.ErrExist, objectstore.ErrSame}, fs.ErrNotExist)
	if o.VersionID != first.VersionID {
		t.Errorf("the same bytes again: got version %s, want the first, %s", o.VersionID, first.VersionID)
	}
	_, err = b.PutIfAbsent(t.Context(), p+"k", []byte("two"))
	is(t, "other bytes", err, []error{fs.ErrExist}, objectstore.ErrSame, fs.ErrNotExist)
	if body, o, err := b.Get(t.Context(), p+"k"); err != nil || string(body) != "one" || o.VersionID != first.VersionID {
		t.Errorf("afterwards Get = %q, %+v, %v; want the first, untouched", body, o, err)
	}
}

func testPutIfMatch(t *testing.T, _ Target, b objectstore.Bucket, p string) {
	one := put(t, b, p+"k", "one")
	two, err := b.PutIfMatch(t.Context(), p+"k", []byte("two"), one.ETag)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.PutIfMatch(t.Context(), p+"k", []byte("three"), one.ETag)
	is(t, "a stale ETag", err, []error{objectstore.ErrChanged}, objectstore.ErrSame, fs.ErrNotExist)
	o, err := b.PutIfMatch(t.Context(), p+"k", []byte("two"), one.ETag)
	is(t, "a stale ETag, the same bytes", err, []error{objectstore.ErrChanged, objectstore.ErrSame})
	if o.VersionID != two.VersionID {
		t.Errorf("a stale ETag, the same bytes: got version %s, want %s", o.VersionID, two.VersionID)
	}
	_, err = b.PutIfMatch(t.Context(), p+"none", []byte("x"), one.ETag)
	is(t, "a missing key", err, []error{objectstore.ErrChanged, fs.ErrNotExist}, objectstore.ErrSame)
}

func testRace(t *testing.T, _ Target, b objectstore.Bucket, p string) {
	const racers = 20
	start := put(t, b, p+"k", "start")
	for what, write := range map[string]func(body []byte) error{
		"PutIfMatch": func(body []byte) error {
			_, err := b.PutIfMatch(t.Context(), p+"k", body, start.ETag)
			return err
		},
		"PutIfAbsent": func(body []byte) error {
			_, err := b.PutIfAbsent(t.Context(), p+"new", body)
			return err
		},
	} {
		errs := make([]error, racers)
		var g errgroup.Group
		for i := range racers {
			g.Go(func() error {
				errs[i] = write(fmt.Appendf(nil, "racer %d", i))
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		winners := 0
		for i, err := range errs {
			switch {
			case err == nil:
				winners++
			case !errors.Is(err, objectstore.ErrChanged) && !errors.Is(err, fs.ErrExist), errors.Is(err, objectstore.ErrSame):
				t.Errorf("%s: racer %d lost with %v", what, i, err)
			}
		}
		if winners != 1 {
			t.Errorf("%s: %d winners among %d racers, want 1", what, winners, racers)
		}
	}
}

func testVersions(t *testing.T, _ Target, b objectstore.Bucket, p string) {
	one, two := put(t, b, p+"k", "one"), put(t, b, p+"k", "two")
	marker, err := b.Delete(t.Context(), p+"k")
	if err != nil {
		t.Fatal(err)
	}
	other := put(t, b, p+"l", "l")
	type entry struct {
		id             string
		latest, marker bool
	}
	var got []entry
	for v, err := range b.ListVersions(t.Context(), p) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, entry{v.VersionID, v.Latest, v.DeleteMarker})
	}
	for _, want := range []entry{{one.VersionID, false, false}, {two.VersionID, false, false}, {marker, true, true}, {other.VersionID, true, false}} {
		if !slices.Contains(got, want) {
			t.Errorf("ListVersions = %+v, want %+v among them", got, want)
		}
	}
	if len(got) != 4 {
		t.Errorf("ListVersions = %+v, want 4 entries", got)
	}
}

func testCopy(t *testing.T, target Target, b objectstore.Bucket, p string) {
	one := put(t, b, p+"k", "one")
	put(t, b, p+"k", "two")
	src := objectstore.Source{Bucket: target.Bucket, Key: p + "k", VersionID: one.VersionID, ETag: one.ETag}
	if _, err := target.Client.Copy(t.Context(), src, target.Bucket, p+"old"); err != nil {
		t.Fatal(err)
	}
	if body, _, err := b.Get(t.Context(), p+"old"); err != nil || string(body) != "one" {
		t.Errorf("copy of a version = %q, %v", body, err)
	}
	src.VersionID = ""
	_, err := b.Copy(t.Context(), src, p+"stale")
	is(t, "copy what has changed", err, []error{objectstore.ErrChanged})
	if there, err := b.Exists(t.Context(), p+"stale"); there || err != nil {
		t.Errorf("the refused copy is there: %v, %v", there, err)
	}
	_, err = b.Copy(t.Context(), objectstore.Source{Key: p + "none"}, p+"x")
	is(t, "copy what is missing", err, []error{fs.ErrNotExist})
}

func testReaderAt(t *testing.T, _ Target, b objectstore.Bucket, p string) {
	content := bytes.Repeat([]byte("0123456789"), 1000)
	first := put(t, b, p+"k", string(content))
	r, err := b.ReaderAt(t.Context(), p+"k", "")
	if err != nil {
		t.Fatal(err)
	}
	if r.Size() != int64(len(content)) {
		t.Fatalf("Size = %d, want %d", r.Size(), len(content))
	}
	got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("reading it all: %d bytes, %v", len(got), err)
	}
	part := make([]byte, 7)
	if n, err := r.ReadAt(part, 13); n != 7 || err != nil || string(part) != "3456789" {
		t.Errorf("ReadAt(13) = %q, %d, %v", part, n, err)
	}
	if n, err := r.ReadAt(part, r.Size()-3); n != 3 || err != io.EOF || string(part[:3]) != "789" { //nolint:errorlint // io.ReaderAt's contract
		t.Errorf("ReadAt(end-3) = %q, %d, %v", part[:n], n, err)
	}
	if n, err := r.ReadAt(part, r.Size()); n != 0 || err != io.EOF { //nolint:errorlint // io.ReaderAt's contract
		t.Errorf("ReadAt(end) = %d, %v", n, err)
	}
	if n, err := b.ReadAt(t.Context(), p+"k", part, 13); n != 7 || err != nil || string(part) != "3456789" {
		t.Errorf("Bucket.ReadAt(13) = %q, %d, %v", part, n, err)
	}
	if n, err := b.ReadAt(t.Context(), p+"k", part, r.Size()-3); n != 3 || err != io.EOF || string(part[:3]) != "789" { //nolint:errorlint // io.ReaderAt's contract
		t.Errorf("Bucket.ReadAt(end-3) = %q, %d, %v", part[:n], n, err)
	}
	if n, err := b.ReadAt(t.Context(), p+"k", part, r.Size()); n != 0 || err != io.EOF { //nolint:errorlint // io.ReaderAt's contract
		t.Errorf("Bucket.ReadAt(end) = %d, %v", n, err)
	}
	put(t, b, p+"k", "replaced")
	if _, err := r.ReadAt(part, 0); err != nil || string(part) != "0123456" {
		t.Errorf("a replaced object is still read in its version: %q, %v", part, err)
	}
	old, err := b.ReaderAt(t.Context(), p+"k", first.VersionID)
	if err != nil || old.Size() != int64(len(content)) {
		t.Errorf("ReaderAt(version) = %v, %v", old, err)
	}
	_, err = b.ReadAt(t.Context(), p+"none", part, 0)
	is(t, "read a part of a missing key", err, []error{fs.ErrNotExist})
	_, err = b.ReaderAt(t.Context(), p+"none", "")
	is(t, "open a missing key", err, []error{fs.ErrNotExist})
}

func testList(t *testing.T, target Target, b objectstore.Bucket, p string) {
	var g errgroup.Group
	g.SetLimit(16)
	want := make([]string, target.Keys)
	for i := range want {
		want[i] = fmt.Sprintf("%s%05d", p, i)
		g.Go(func() error {
			_, err := b.Put(t.Context(), want[i], []byte("x"))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for o, err := range b.List(t.Context(), p) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, o.Key)
	}
	if !slices.Equal(got, want) {
		t.Errorf("List = %d keys, want %d in order", len(got), len(want))
	}
	got = got[:0]
	for v, err := range b.ListVersions(t.Context(), p) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v.Key)
	}
	if !slices.Equal(got, want) {
		t.Errorf("ListVersions = %d keys, want %d in order", len(got), len(want))
	}
	n := 0
	for _, err := range b.List(t.Context(), p) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("List broken off after %d", n)
	}
}
