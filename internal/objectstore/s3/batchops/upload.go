package batchops

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/batch"
)

// Upload is that of [batch.Copier].
func (c *Client) Upload(ctx context.Context, add objectstore.Keeper, bucket, key string, objects iter.Seq[batch.Object], h objectstore.Hold) (batch.Manifest, error) {
	fail := func(err error) (batch.Manifest, error) {
		return batch.Manifest{}, fmt.Errorf("upload manifest s3://%s/%s: %w", bucket, key, err)
	}
	var size counter
	sum := sha256.New()
	lines, err := batch.WriteManifest(io.MultiWriter(&size, sum), objects)
	if err != nil {
		return fail(err)
	}
	if lines == 0 {
		return fail(errors.New("there is no object to copy; start nothing"))
	}
	want := hex.EncodeToString(sum.Sum(nil))
	body, w := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, err := batch.WriteManifest(w, objects)
		w.CloseWithError(err) // the reader gets it; it returns no error
	}()
	o, err := add.AddFrom(ctx, bucket, key, body, int64(size), want, h)
	body.CloseWithError(io.ErrClosedPipe) // lets a writer go that nobody reads any more
	<-written
	if errors.Is(err, fs.ErrExist) {
		o, err = same(ctx, c.store, bucket, key, want)
	}
	if err != nil {
		return fail(err)
	}
	return batch.Manifest{Bucket: bucket, Key: key, ETag: o.ETag, VersionID: o.VersionID, Lines: lines}, nil
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// same looks at a key that was taken.
func same(ctx context.Context, store objectstore.Versions, bucket, key, want string) (objectstore.Object, error) {
	body, o, err := store.VersionReader(ctx, bucket, key, "")
	if err != nil {
		return o, err
	}
	sum := sha256.New()
	_, err = io.Copy(sum, body)
	if err := errors.Join(err, body.Close()); err != nil {
		return o, batch.Broken(err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		return o, fmt.Errorf("another manifest is there, SHA-256 %s and not %s: %w; plan again under another key", got, want, fs.ErrExist)
	}
	return o, nil
}
