package depot_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"breakwater/internal/backup"
	"breakwater/internal/backup/depot"
	"breakwater/internal/objectstore"
	"breakwater/lab/server/miniotest"
)

// TestCopied describes copies of sources whose ETag is an MD5 and of such that were
// put in parts, where the store has a checksum of the copy and where it has none. A
// copy is what it should be, or nothing.
func TestCopied(t *testing.T) {
	t.Parallel()
	server := miniotest.Shared(t)
	root, lake, vault := server.Client(t), server.Bucket(t, "lake", true), miniotest.Unique("vault")
	if err := root.CreateLockedBucket(t.Context(), vault); err != nil {
		t.Fatal(err)
	}
	d := depot.Depot{Adder: root, Reader: root, Bucket: vault, Prefix: "p/", Mode: objectstore.Governance}
	until := time.Now().AddDate(0, 0, 2).UTC().Truncate(time.Second)
	held := objectstore.Hold{Mode: objectstore.Governance, Until: until}
	content, other := []byte("some bytes"), []byte("same BYTES")
	sum, old := sha256.Sum256(content), md5.Sum(content)

	sources := map[string]objectstore.Object{}
	var err error
	if sources["put"], err = root.Put(t.Context(), lake, "put", content); err != nil {
		t.Fatal(err)
	}
	if sources["in parts"], err = root.PutFrom(t.Context(), lake, "in parts", bytes.NewReader(content), int64(len(content)), hex.EncodeToString(sum[:]), nil); err != nil {
		t.Fatal(err)
	}
	if sources["in parts"].ETag == sources["put"].ETag {
		t.Fatal("both sources have the same ETag")
	}
	n := 0
	for name, o := range sources {
		for _, summed := range []bool{true, false} {
			for what, body := range map[string][]byte{"": content, "other bytes": other, "fewer bytes": content[1:]} {
				n++
				key := fmt.Sprintf("copy-%d", n)
				var made objectstore.Object
				if summed {
					made, err = root.Add(t.Context(), vault, "p/"+key, body, held)
				} else if made, err = root.Put(t.Context(), vault, "p/"+key, body); err == nil {
					err = root.Hold(t.Context(), vault, "p/"+key, made.VersionID, held)
				}
				if err != nil {
					t.Fatal(err)
				}
				need := backup.Need{Key: name, Size: o.Size, ETag: o.ETag, Version: o.VersionID}
				a, err := d.Copied(t.Context(), root, lake, need, key, made.VersionID, until)
				want := depot.Added{
					Stored: backup.Stored{Key: key, Version: made.VersionID, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])},
					MD5:    hex.EncodeToString(old[:]), New: true,
				}
				switch {
				case what == "" && (err != nil || a != want):
					t.Errorf("a source %s, checksum kept %v: Copied = %+v, %v; want %+v", name, summed, a, err, want)
				case what != "" && !errors.Is(err, backup.ErrDamaged):
					t.Errorf("a source %s, checksum kept %v, %s: Copied = %+v, %v; want ErrDamaged", name, summed, what, a, err)
				}
				if _, err := d.Copied(t.Context(), root, lake, need, key, made.VersionID, until.Add(time.Second)); !errors.Is(err, backup.ErrDamaged) {
					t.Errorf("a copy that is held too short: %v; want ErrDamaged", err)
				}
			}
		}
	}
	if _, err := d.Copied(t.Context(), root, lake, backup.Need{}, "missing", "", until); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Copied of nothing = %v, want fs.ErrNotExist", err)
	}
	all, err := d.Copies(t.Context(), "copy")
	if err != nil || len(all) != n || all["-1"] == "" {
		t.Errorf("Copies = %v, %v; want %d, without their prefix", all, err, n)
	}
}
