package storetest

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/objectstore"
)

// testVersions: nothing that was written is lost, whatever comes over it.
func testVersions(t testing.TB, target Target, b objectstore.Bucket, p string) {
	one, two := put(t, b, p+"k", "one"), put(t, b, p+"k", "two")
	other := put(t, b, p+"l", "l")
	_, err := b.Delete(t.Context(), p+"k")
	ok(t, "delete", err)
	for _, o := range []objectstore.Object{one, two} {
		is, err := b.HeadVersion(t.Context(), p+"k", o.VersionID)
		if err != nil || is.ETag != o.ETag || is.VersionID != o.VersionID {
			t.Errorf("HeadVersion beneath a deletion = %+v, %v; want %+v", is, err, o)
		}
	}
	if body, _, err := b.GetVersion(t.Context(), p+"k", one.VersionID); err != nil || string(body) != "one" {
		t.Errorf("GetVersion beneath a deletion = %q, %v", body, err)
	}
	var got []string
	for v, err := range b.ListVersions(t.Context(), p) {
		ok(t, "list versions", err)
		if !v.DeleteMarker {
			got = append(got, v.VersionID)
		}
	}
	if want := []string{two.VersionID, one.VersionID, other.VersionID}; !slices.Equal(got, want) {
		t.Errorf("ListVersions = %q; want by key, and of each the newest first: %q", got, want)
	}
	src := objectstore.Source{Bucket: target.Bucket, Key: p + "k", VersionID: one.VersionID, ETag: one.ETag}
	_, err = target.Store.Copy(t.Context(), src, target.Bucket, p+"old")
	ok(t, "copy a version", err)
	reads(t, "a copy of a version", b, p+"old", "one")
	ok(t, "delete a version", b.DeleteVersion(t.Context(), p+"k", one.VersionID))
	ok(t, "delete a version that is gone", b.DeleteVersion(t.Context(), p+"k", one.VersionID))
	_, _, err = b.GetVersion(t.Context(), p+"k", one.VersionID)
	is(t, "get a version that was deleted for good", err, missing)
	if body, _, err := b.GetVersion(t.Context(), p+"k", two.VersionID); err != nil || string(body) != "two" {
		t.Errorf("GetVersion beside a deleted version = %q, %v", body, err)
	}
}

func testMarkers(t testing.TB, _ Target, b objectstore.Bucket, p string) {
	one, two := put(t, b, p+"k", "one"), put(t, b, p+"k", "two")
	marker, err := b.Delete(t.Context(), p+"k")
	if err != nil || marker == "" {
		t.Fatalf("Delete = %q, %v; want a delete marker's version", marker, err)
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
	_, _, err = b.GetVersion(t.Context(), p+"k", marker)
	is(t, "get a delete marker", err, missing)
	ok(t, "remove the marker", b.DeleteVersion(t.Context(), p+"k", marker))
	reads(t, "after the marker's removal", b, p+"k", "two")
}

func testDescribe(t testing.TB, target Target, b objectstore.Bucket, p string) {
	o := put(t, b, p+"k", "some bytes")
	d, err := b.Describe(t.Context(), p+"k", "")
	if err != nil || d.Key != o.Key || d.Size != o.Size || d.ETag != o.ETag || d.VersionID != o.VersionID || d.CopyOf != "" {
		t.Errorf("Describe = %+v, %v; want %+v", d, err, o)
	}
	put(t, b, p+"equal", "some bytes")
	put(t, b, p+"other", "SOME bytes")
	for key, want := range map[string]bool{"equal": true, "other": false} {
		e, err := b.Describe(t.Context(), p+key, "")
		ok(t, "describe", err)
		if same, known := d.SameChecksum(e); known && same != want {
			t.Errorf("the checksums of k and %s are equal: %v", key, same)
		}
	}
	_, err = b.Describe(t.Context(), p+"none", "")
	is(t, "describe what is missing", err, missing, objectstore.ErrNoBucket)
	store, err := objectstore.As[objectstore.Describer](target.Store, "describe")
	ok(t, "describe", err)
	put(t, b, p+"empty", "")
	for _, key := range []string{"k", "empty"} {
		enc, status, err := store.Decrypt(t.Context(), target.Bucket, p+key)
		ok(t, "decrypt", err)
		how, same, err := store.EncryptionOf(t.Context(), target.Bucket, p+key)
		if err != nil || how != enc || same != status {
			t.Errorf("Decrypt = %+v, %q, and EncryptionOf = %+v, %q, %v", enc, status, how, same, err)
		}
	}
	_, _, err = store.Decrypt(t.Context(), target.Bucket, p+"none")
	is(t, "decrypt what is missing", err, missing)
}

// copier is a copier of the target's, and a request to copy an object over nothing.
func copier(t testing.TB, target Target, b objectstore.Bucket, p string) (objectstore.Copier, objectstore.CopyRequest) {
	t.Helper()
	d, err := objectstore.As[objectstore.Duplicator](target.Store, "make exact copies")
	ok(t, "copier", err)
	o := put(t, b, p+"from", "one")
	return d.Copier(), objectstore.CopyRequest{
		From: objectstore.Source{Bucket: target.Bucket, Key: p + "from", VersionID: o.VersionID, ETag: o.ETag}, Size: o.Size,
		Bucket: target.Bucket, Key: p + "to",
	}
}

func testCopier(t testing.TB, target Target, b objectstore.Bucket, p string) {
	k, r := copier(t, target, b, p)
	o, err := k.Copy(t.Context(), r)
	ok(t, "copy", err)
	reads(t, "copied", b, p+"to", "one")
	d, err := b.Describe(t.Context(), p+"to", o.VersionID)
	if !errors.Is(err, objectstore.ErrLacks) {
		ok(t, "describe a copy", err)
		if d.ETag != r.From.ETag && d.CopyOf != objectstore.SourceName(r.From.VersionID, r.From.ETag) {
			t.Errorf("the copy has ETag %s and says that it is of %q: nobody could tell of what it is", d.ETag, d.CopyOf)
		}
	}
	r.Over = o.ETag
	r.From.ETag = strings.Repeat("0", 32)
	_, err = k.Copy(t.Context(), r)
	is(t, "copy another ETag", err, []error{objectstore.ErrChanged})
	r.From = objectstore.Source{Bucket: target.Bucket, Key: p + "none", VersionID: r.From.VersionID, ETag: o.ETag}
	if _, err := k.Copy(t.Context(), r); err == nil {
		t.Error("copied what is not there")
	}
	reads(t, "refused", b, p+"to", "one")
}

func testConditionalCopy(t testing.TB, target Target, b objectstore.Bucket, p string) {
	k, r := copier(t, target, b, p)
	there := put(t, b, p+"to", "somebody's")
	for over, what := range map[string]string{"": "nothing, and there is something", r.From.ETag: "another ETag"} {
		r.Over = over
		_, err := k.Copy(t.Context(), r)
		is(t, "copy over "+what, err, []error{objectstore.ErrChanged})
		reads(t, "refused", b, p+"to", "somebody's")
	}
	r.Over = there.ETag
	_, err := k.Copy(t.Context(), r)
	ok(t, "copy over what is there", err)
	reads(t, "copied", b, p+"to", "one")
}

// testHolds: what is held is there until its time, whatever is tried.
func testHolds(t testing.TB, target Target, b objectstore.Bucket, p string) {
	store, err := objectstore.AsVault(target.Store)
	ok(t, "the store claims Object Lock", err)
	for bucket, want := range map[string]bool{target.Locked: true, target.Bucket: false} {
		if on, err := store.LockEnabled(t.Context(), bucket); err != nil || on != want {
			t.Errorf("LockEnabled(%s) = %v, %v; want %v", bucket, on, err, want)
		}
	}
	locked := objectstore.Bind(store, target.Locked)
	hold := objectstore.Hold{Mode: objectstore.Governance, Until: time.Now().AddDate(0, 0, 1).UTC().Truncate(time.Second)}
	held := func(when string, o objectstore.Object, want objectstore.Hold) {
		t.Helper()
		s, err := store.Seal(t.Context(), target.Locked, o.Key, o.VersionID)
		if err != nil || s.Hold.Mode != want.Mode || !s.Hold.Until.Equal(want.Until) || s.Size != o.Size || s.ETag != o.ETag {
			t.Errorf("%s: Seal = %+v, %v; want %+v", when, s, err, want)
		}
	}
	o, err := store.Add(t.Context(), target.Locked, p+"k", []byte("held"), hold)
	ok(t, "add", err)
	held("added", o, hold)
	_, err = store.Add(t.Context(), target.Locked, p+"k", []byte("other"), hold)
	is(t, "add what is there", err, []error{fs.ErrExist})
	reads(t, "added twice", locked, p+"k", "held")

	longer := hold
	longer.Until = longer.Until.Add(time.Hour)
	ok(t, "hold longer", store.Hold(t.Context(), target.Locked, p+"k", o.VersionID, longer))
	held("held longer", o, longer)
	if err := store.Hold(t.Context(), target.Locked, p+"k", o.VersionID, hold); err == nil {
		t.Error("a hold was made shorter")
	}
	if err := locked.DeleteVersion(t.Context(), p+"k", o.VersionID); err == nil {
		t.Error("a held version was deleted")
	}
	_, err = locked.Delete(t.Context(), p+"k")
	ok(t, "delete a key whose version is held", err)
	if body, _, err := locked.GetVersion(t.Context(), p+"k", o.VersionID); err != nil || string(body) != "held" {
		t.Errorf("a held version reads as %q, %v", body, err)
	}
	held("after all attempts", o, longer)

	_, err = store.AddFrom(t.Context(), target.Locked, p+"wrong", strings.NewReader("HELD"), 4, sha("held"), hold)
	is(t, "add bytes with another checksum", err, []error{objectstore.ErrChanged})
	reads(t, "refused", locked, p+"wrong", "")
	from, err := store.AddFrom(t.Context(), target.Locked, p+"from", strings.NewReader("held"), 4, sha("held"), hold)
	ok(t, "add from a stream", err)
	held("added from a stream", from, hold)
	_, err = store.AddFrom(t.Context(), target.Locked, p+"from", strings.NewReader("held"), 4, sha("held"), hold)
	is(t, "add from a stream what is there", err, []error{fs.ErrExist})
}
