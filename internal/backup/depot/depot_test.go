package depot_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"testing"
	"time"

	"breakwater/internal/backup"
	"breakwater/internal/backup/depot"
	"breakwater/internal/objectstore"
	"breakwater/lab/server/miniotest"
)

// TestLargeObjects backs up and restores an object that is sent in parts: held from
// its first moment, named by its content, copied once, and refused when its bytes
// are not those of its name.
func TestLargeObjects(t *testing.T) {
	t.Parallel()
	server := miniotest.Shared(t)
	root, lake, vault := server.Client(t), server.Bucket(t, "lake", true), miniotest.Unique("vault")
	for range 2 {
		if err := root.CreateLockedBucket(t.Context(), vault); err != nil {
			t.Fatal(err)
		}
	}
	if on, err := root.LockEnabled(t.Context(), vault); err != nil || !on {
		t.Errorf("LockEnabled = %v, %v", on, err)
	}
	if on, err := root.LockEnabled(t.Context(), lake); err != nil || on {
		t.Errorf("LockEnabled of a bucket without = %v, %v", on, err)
	}
	d := depot.Depot{Adder: root, Reader: root, Bucket: vault, Prefix: "p/", Mode: objectstore.Governance}
	content := make([]byte, depot.Whole+12345)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	name := hex.EncodeToString(sum[:])
	if _, err := root.Put(t.Context(), lake, "big", content); err != nil {
		t.Fatal(err)
	}
	until := time.Now().AddDate(0, 0, 2).UTC().Truncate(time.Second)
	first, o, err := d.AddContent(t.Context(), "orders", 1, root, lake, "big", int64(len(content)), until)
	if err != nil || !first.New || first.SHA256 != name || first.Key != backup.DataKey("orders", 1, name) || o.VersionID == "" {
		t.Fatalf("AddContent = %+v of %+v, %v", first, o, err)
	}
	if wrong, err := d.Held(t.Context(), first.Stored, until); wrong != "" || err != nil {
		t.Errorf("Held = %q, %v", wrong, err)
	}
	later := until.AddDate(0, 0, 1)
	if wrong, err := d.Held(t.Context(), first.Stored, later); wrong == "" || err != nil {
		t.Errorf("held until %s passes for %s: %v", until, later, err)
	}
	again, _, err := d.AddContent(t.Context(), "orders", 1, root, lake, "big", int64(len(content)), later)
	if err != nil || again.New || again.Version != first.Version {
		t.Errorf("AddContent again = %+v, %v; want the version that is there", again, err)
	}
	if wrong, err := d.Held(t.Context(), first.Stored, later); wrong != "" || err != nil {
		t.Errorf("the lock did not grow: %q, %v", wrong, err)
	}
	if err := root.DeleteVersion(t.Context(), vault, "p/"+first.Key, first.Version); err == nil {
		t.Error("a held version was deleted")
	}
	// Somebody who may put writes over it: what the manifest names is still read.
	if _, err := root.Put(t.Context(), vault, "p/"+first.Key, []byte("other")); err != nil {
		t.Fatal(err)
	}
	to := root.Bucket(lake)
	object := backup.Object{Key: "back", Copy: first.Stored}
	if err := d.WriteOver(t.Context(), object, to, "back", ""); err != nil {
		t.Fatal(err)
	}
	if got, _, err := to.Get(t.Context(), "back"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	if err := d.WriteOver(t.Context(), object, to, "back", "another"); !errors.Is(err, objectstore.ErrChanged) {
		t.Errorf("WriteOver of something else = %v, want ErrChanged", err)
	}
	if err := d.WriteTo(t.Context(), object, to, "back"); err != nil {
		t.Error(err)
	}

	// Bytes that are not those of the checksum come to nothing.
	object.Copy.SHA256 = hex.EncodeToString(make([]byte, sha256.Size))
	if err := d.WriteTo(t.Context(), object, to, "wrong"); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("WriteTo of other bytes = %v, want ErrDamaged", err)
	}
	_, err = root.AddFrom(t.Context(), vault, "p/wrong", bytes.NewReader(content), int64(len(content)), object.Copy.SHA256, objectstore.Hold{})
	if !errors.Is(err, objectstore.ErrChanged) {
		t.Errorf("AddFrom of other bytes = %v, want ErrChanged", err)
	}
	if there, err := to.Exists(t.Context(), "wrong"); err != nil || there {
		t.Errorf("they are there: %v, %v", there, err)
	}
	_, err = root.AddFrom(t.Context(), lake, "back", bytes.NewReader(content), int64(len(content)), name, objectstore.Hold{})
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("AddFrom over an object = %v, want fs.ErrExist", err)
	}
}

// TestSmallObjects holds what a manifest names against what is there.
func TestSmallObjects(t *testing.T) {
	t.Parallel()
	root, vault := miniotest.Shared(t).Client(t), miniotest.Unique("vault")
	if err := root.CreateLockedBucket(t.Context(), vault); err != nil {
		t.Fatal(err)
	}
	d := depot.Depot{Adder: root, Reader: root, Bucket: vault, Mode: objectstore.Governance}
	until := time.Now().AddDate(0, 0, 2).UTC().Truncate(time.Second)
	a, err := d.Add(t.Context(), "key", []byte("one"), until)
	if err != nil || !a.New {
		t.Fatalf("Add = %+v, %v", a, err)
	}
	if b, err := d.Add(t.Context(), "key", []byte("one"), until); err != nil || b.New || b.Version != a.Version {
		t.Errorf("Add again = %+v, %v", b, err)
	}
	if _, err := d.Add(t.Context(), "key", []byte("two"), until); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Add of other bytes = %v, want fs.ErrExist", err)
	}
	if body, err := d.Get(t.Context(), a.Stored); err != nil || string(body) != "one" {
		t.Errorf("Get = %q, %v", body, err)
	}
	bad := a.Stored
	bad.SHA256 = hex.EncodeToString(make([]byte, sha256.Size))
	if _, err := d.Get(t.Context(), bad); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("Get of other bytes = %v, want ErrDamaged", err)
	}
	for what, s := range map[string]backup.Stored{
		"gone":             {Key: "other", Size: 3, SHA256: a.SHA256},
		"of another size":  {Key: a.Key, Version: a.Version, Size: 4, SHA256: a.SHA256},
		"of another bytes": bad,
	} {
		if wrong, err := d.Held(t.Context(), s, until); wrong == "" || err != nil {
			t.Errorf("an object %s: Held = %q, %v", what, wrong, err)
		}
	}
}
