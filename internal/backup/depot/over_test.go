package depot_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"testing"

	"breakwater/internal/backup"
	"breakwater/internal/backup/depot"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
)

// raced is a store to which somebody writes while an upload in parts is under way.
type raced struct {
	*memory.Store
	theirs []byte
}

func (r raced) PutFrom(ctx context.Context, bucket, key string, from io.Reader, size int64, sum string, over *string) (objectstore.Object, error) {
	if _, err := r.Put(ctx, bucket, key, r.theirs); err != nil {
		return objectstore.Object{}, err
	}
	return r.Store.PutFrom(ctx, bucket, key, from, size, sum, over)
}

// TestLargeObjectIsNotWrittenOverAnother: what comes while a large object is uploaded
// stays, unless it is that object.
func TestLargeObjectIsNotWrittenOverAnother(t *testing.T) {
	m := memory.New()
	m.Create("lake", memory.Versioned)
	m.Create("vault", memory.Versioned)
	content := bytes.Repeat([]byte("large"), depot.Whole/5+1)
	sum := sha256.Sum256(content)
	copied, err := m.Owner().Put(t.Context(), "vault", "p/o", content)
	if err != nil {
		t.Fatal(err)
	}
	d := depot.Depot{Adder: m.Owner(), Reader: m.Owner(), Bucket: "vault", Prefix: "p/"}
	o := backup.Object{Copy: backup.Stored{Key: "o", Version: copied.VersionID, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}}
	for name, tc := range map[string]struct {
		there  bool
		theirs []byte
		want   error
	}{
		"where nothing was":      {false, []byte("theirs"), objectstore.ErrChanged},
		"over what was seen":     {true, []byte("theirs"), objectstore.ErrChanged},
		"of the very same bytes": {false, content, nil},
	} {
		b, etag := objectstore.Bind(raced{m.Owner(), tc.theirs}, "lake"), ""
		if tc.there {
			was, err := b.Put(t.Context(), name, []byte("was"))
			if err != nil {
				t.Fatal(err)
			}
			etag = was.ETag
		}
		if err := d.WriteOver(t.Context(), o, b, name, etag); !errors.Is(err, tc.want) || errors.Is(err, backup.ErrDamaged) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
		if got, _, err := b.Get(t.Context(), name); err != nil || !bytes.Equal(got, tc.theirs) {
			t.Errorf("%s: what somebody wrote is covered: %d bytes, %v", name, len(got), err)
		}
	}
}
