package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"breakwater/internal/objectstore"
)

var missing = []error{fs.ErrNotExist}

func testRoundTrip(t testing.TB, target Target, b objectstore.Bucket, p string) {
	traits := target.Store.Traits()
	if on, err := b.Versioned(t.Context()); err != nil || on != traits.Versions {
		t.Fatalf("Versioned = %v, %v, and the store's traits are %+v: it does not claim what is so, or the suite has the wrong bucket", on, err, traits)
	}
	if target.Store.Endpoint() == "" {
		t.Error("the store does not say where it is")
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
	if o.Key != p+"a" || o.Size != 5 || o.ETag == "" || o.ETag != wrote.ETag || traits.Versions && o.VersionID == "" || o.VersionID != wrote.VersionID || o.LastModified.IsZero() {
		t.Errorf("Get = %+v, Put said %+v", o, wrote)
	}
	body, o, err = b.GetVersion(t.Context(), p+"a", wrote.VersionID)
	if err != nil || string(body) != "hello" || o != head {
		t.Errorf("GetVersion = %q, %+v, %v; Head says %+v", body, o, err, head)
	}
	stream, o, err := target.Store.VersionReader(t.Context(), target.Bucket, p+"a", "")
	ok(t, "VersionReader", err)
	body, err = io.ReadAll(stream)
	if err := errors.Join(err, stream.Close()); err != nil || string(body) != "hello" || o.ETag != head.ETag || o.Size != head.Size {
		t.Errorf("VersionReader = %q, %+v, %v", body, o, err)
	}
	put(t, b, p+"empty", "")
	if body, _, err := b.Get(t.Context(), p+"empty"); err != nil || len(body) != 0 {
		t.Errorf("Get of an empty object = %q, %v", body, err)
	}
}

func testKeys(t testing.TB, target Target, b objectstore.Bucket, p string) {
	for _, k := range []string{"a b", "a+b", "50%", "%20", "é/日本", "q?v=1&x", "k=v/part=1", "'\"<>"} {
		put(t, b, p+k, k)
		if body, _, err := b.Get(t.Context(), p+k); err != nil || string(body) != k {
			t.Errorf("Get(%q) = %q, %v", k, body, err)
		}
		if _, err := target.Store.Copy(t.Context(), objectstore.Source{Bucket: b.Name(), Key: p + k}, b.Name(), p+"copy of "+k); err != nil {
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

func testMissing(t testing.TB, target Target, b objectstore.Bucket, p string) {
	_, _, err := b.Get(t.Context(), p+"none")
	is(t, "get a missing key", err, missing, fs.ErrPermission, objectstore.ErrNoBucket)
	_, err = b.Head(t.Context(), p+"none")
	is(t, "head a missing key", err, missing, fs.ErrPermission, objectstore.ErrNoBucket)
	if there, err := b.Exists(t.Context(), p+"none"); there || err != nil {
		t.Errorf("Exists of a missing key = %v, %v", there, err)
	}
}

func testMissingBucket(t testing.TB, target Target, _ objectstore.Bucket, _ string) {
	none := objectstore.Bind(target.Store, "no-such-bucket-here")
	for name, ask := range map[string]func() error{
		"get":           func() error { _, _, err := none.Get(t.Context(), "k"); return err },
		"head":          func() error { _, err := none.Head(t.Context(), "k"); return err },
		"exists":        func() error { _, err := none.Exists(t.Context(), "k"); return err },
		"read a part":   func() error { _, err := none.ReadAt(t.Context(), "k", make([]byte, 1), 0); return err },
		"put if absent": func() error { _, err := none.PutIfAbsent(t.Context(), "k", nil); return err },
		"put if match":  func() error { _, err := none.PutIfMatch(t.Context(), "k", nil, "0123"); return err },
		"versioned":     func() error { _, err := none.Versioned(t.Context()); return err },
		"list versions": func() error {
			for _, err := range none.ListVersions(t.Context(), "") {
				return err
			}
			return nil
		},
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

func testDenied(t testing.TB, target Target, b objectstore.Bucket, p string) {
	put(t, b, p+"there", "x")
	s := objectstore.Bind(target.Stranger, target.Bucket)
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

func testReaderAt(t testing.TB, target Target, b objectstore.Bucket, p string) {
	content := bytes.Repeat([]byte("0123456789"), 1000)
	put(t, b, p+"k", string(content))
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
	_, err = target.Store.ReadPart(t.Context(), objectstore.Source{Bucket: target.Bucket, Key: p + "k", ETag: "0123"}, part, 0)
	is(t, "read a part of an object with another ETag", err, []error{objectstore.ErrChanged})
	_, err = b.ReadAt(t.Context(), p+"none", part, 0)
	is(t, "read a part of a missing key", err, []error{fs.ErrNotExist})
	_, err = b.ReaderAt(t.Context(), p+"none", "")
	is(t, "open a missing key", err, []error{fs.ErrNotExist})
}

// testFile: what is open is read as it was, whatever is put over it.
func testFile(t testing.TB, target Target, b objectstore.Bucket, p string) {
	content := bytes.Repeat([]byte("0123456789"), 1000)
	first := put(t, b, p+"k", string(content))
	r, err := b.ReaderAt(t.Context(), p+"k", "")
	ok(t, "open", err)
	part := make([]byte, 7)
	put(t, b, p+"k", "replaced")
	if _, err := r.ReadAt(part, 0); err != nil || string(part) != "0123456" {
		t.Errorf("a replaced object is still read in its version: %q, %v", part, err)
	}
	old, err := b.ReaderAt(t.Context(), p+"k", first.VersionID)
	if err != nil || old.Size() != int64(len(content)) {
		t.Errorf("ReaderAt(version) = %v, %v", old, err)
	}
}

func testList(t testing.TB, target Target, b objectstore.Bucket, p string) {
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
		ok(t, "list versions", err)
		if !v.Latest || v.DeleteMarker {
			t.Errorf("ListVersions = %+v; want it the latest", v)
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
