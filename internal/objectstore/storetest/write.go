package storetest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"breakwater/internal/objectstore"
)

func testPutIfAbsent(t testing.TB, _ Target, b objectstore.Bucket, p string) {
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

func testPutIfMatch(t testing.TB, _ Target, b objectstore.Bucket, p string) {
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

// sha is the SHA-256 of a text in hex.
func sha(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func testPutFrom(t testing.TB, _ Target, b objectstore.Bucket, p string) {
	const content = "some bytes"
	want := sha(content)
	_, err := b.PutFrom(t.Context(), p+"k", strings.NewReader("SOME bytes"), int64(len(content)), want, nil)
	is(t, "put bytes with another checksum", err, []error{objectstore.ErrChanged})
	if _, err := b.PutFrom(t.Context(), p+"k", strings.NewReader(content[1:]), int64(len(content)), want, nil); err == nil {
		t.Error("put what ends too soon: no error")
	}
	reads(t, "refused", b, p+"k", "")
	o, err := b.PutFrom(t.Context(), p+"k", strings.NewReader(content), int64(len(content)), want, nil)
	if err != nil || o.Size != int64(len(content)) || o.ETag == "" {
		t.Errorf("PutFrom = %+v, %v", o, err)
	}
	reads(t, "put", b, p+"k", content)
}

// testPutFromOver: what is uploaded in parts comes over what was seen, and over nothing
// else, however long the upload takes.
func testPutFromOver(t testing.TB, _ Target, b objectstore.Bucket, p string) {
	one := put(t, b, p+"k", "one")
	over := func(key, content, etag string) error {
		_, err := b.PutFrom(t.Context(), p+key, strings.NewReader(content), int64(len(content)), sha(content), &etag)
		return err
	}
	is(t, "a key that exists, where none must be", over("k", "two", ""), []error{fs.ErrExist})
	is(t, "a missing key, where one must be", over("none", "two", one.ETag), []error{fs.ErrNotExist})
	reads(t, "refused", b, p+"k", "one")
	reads(t, "refused", b, p+"none", "")
	if err := over("k", "two", one.ETag); err != nil {
		t.Error(err)
	}
	is(t, "a stale ETag", over("k", "three", one.ETag), []error{fs.ErrExist}, fs.ErrNotExist)
	reads(t, "put over what was seen", b, p+"k", "two")
	if err := over("new", "first", ""); err != nil {
		t.Error(err)
	}
	reads(t, "put where nothing was", b, p+"new", "first")
}

func testRace(t testing.TB, _ Target, b objectstore.Bucket, p string) {
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

func testCopy(t testing.TB, target Target, b objectstore.Bucket, p string) {
	one := put(t, b, p+"k", "one")
	src := objectstore.Source{Bucket: target.Bucket, Key: p + "k", ETag: one.ETag}
	if o, err := target.Store.Copy(t.Context(), src, target.Bucket, p+"copy"); err != nil || o.Key != p+"copy" || o.ETag == "" {
		t.Errorf("Copy = %+v, %v", o, err)
	}
	reads(t, "copied", b, p+"copy", "one")
	put(t, b, p+"k", "two")
	_, err := b.Copy(t.Context(), src, p+"stale")
	is(t, "copy what has changed", err, []error{objectstore.ErrChanged})
	if there, err := b.Exists(t.Context(), p+"stale"); there || err != nil {
		t.Errorf("the refused copy is there: %v, %v", there, err)
	}
	_, err = b.Copy(t.Context(), objectstore.Source{Key: p + "none"}, p+"x")
	is(t, "copy what is missing", err, []error{fs.ErrNotExist})
}

// testDelete: a deleted key is gone, and to delete nothing is nothing.
func testDelete(t testing.TB, _ Target, b objectstore.Bucket, p string) {
	put(t, b, p+"k", "x")
	put(t, b, p+"kk", "y")
	for range 2 {
		_, err := b.Delete(t.Context(), p+"k")
		ok(t, "delete", err)
		reads(t, "deleted", b, p+"k", "")
	}
	reads(t, "another was deleted", b, p+"kk", "y")
	if err := b.DeleteVersion(t.Context(), p+"kk", ""); err == nil {
		t.Error("a version was deleted that was not named")
	}
}

func testDeleteMany(t testing.TB, target Target, b objectstore.Bucket, p string) {
	var all []objectstore.Deletion
	for _, k := range []string{"a b", "new\nline", "\x01control", "cr\r", "ü&<>\"'", "100%+"} {
		put(t, b, p+k, "x")
		all = append(all, objectstore.Deletion{Key: p + k})
	}
	put(t, b, p+"stays", "y")
	if n, err := target.Stranger.DeleteMany(t.Context(), target.Bucket, all); err == nil || n != 0 {
		t.Errorf("DeleteMany by a stranger = %d, %v", n, err)
	}
	all = append(all, objectstore.Deletion{Key: p + "was never there"})
	if n, err := b.DeleteMany(t.Context(), all); err != nil || n != len(all) {
		t.Errorf("DeleteMany = %d, %v; want %d", n, err, len(all))
	}
	var left []string
	for o, err := range b.List(t.Context(), p) {
		ok(t, "list", err)
		left = append(left, o.Key)
	}
	if len(left) != 1 || left[0] != p+"stays" {
		t.Errorf("DeleteMany left %q", left)
	}
}

func testConditionalDelete(t testing.TB, _ Target, b objectstore.Bucket, p string) {
	old := put(t, b, p+"changed", "seen")
	put(t, b, p+"changed", "somebody's")
	same := put(t, b, p+"same", "seen, too")
	n, err := b.DeleteMany(t.Context(), []objectstore.Deletion{
		{Key: p + "changed", ETag: old.ETag}, {Key: p + "same", ETag: same.ETag}, {Key: p + "none", ETag: old.ETag},
	})
	is(t, "delete what changed", err, []error{objectstore.ErrChanged})
	if n != 2 {
		t.Errorf("DeleteMany of three, one of them changed = %d, want 2", n)
	}
	reads(t, "refused", b, p+"changed", "somebody's")
	reads(t, "deleted", b, p+"same", "")
}
