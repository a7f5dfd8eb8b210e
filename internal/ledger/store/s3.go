package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"breakwater/internal/objectstore"
)

// Bucket is what of an objectstore.Bucket is needed here.
type Bucket interface {
	Get(ctx context.Context, key string) ([]byte, objectstore.Object, error)
	List(ctx context.Context, prefix string) iter.Seq2[objectstore.Object, error]
	PutIfAbsent(ctx context.Context, key string, body []byte) (objectstore.Object, error)
	PutIfMatch(ctx context.Context, key string, body []byte, etag string) (objectstore.Object, error)
}

var _ Bucket = objectstore.Bucket{}

// S3 keeps ledgers below a prefix of a bucket. The store must honour conditional
// writes (If-None-Match, If-Match), as AWS and MinIO do.
type S3 struct {
	bucket Bucket
	prefix string
}

// NewS3 returns the location below prefix in a bucket; an empty prefix is the
// whole bucket. A prefix without a slash at its end gets one.
func NewS3(bucket Bucket, prefix string) S3 {
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return S3{bucket, prefix}
}

var _ Store = S3{}

// Get is that of ledger.Reader. A missing bucket is objectstore.ErrNoBucket and
// not fs.ErrNotExist: nobody may conclude from a mistyped name that an entry is
// gone or a lock is free.
func (s S3) Get(ctx context.Context, key string) ([]byte, error) {
	data, _, err := s.bucket.Get(ctx, s.prefix+key)
	return data, err
}

// List is that of ledger.Reader.
func (s S3) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for o, err := range s.bucket.List(ctx, s.prefix+prefix) {
			if !yield(strings.TrimPrefix(o.Key, s.prefix), err) {
				return
			}
		}
	}
}

// PutIfAbsent is that of [Store].
func (s S3) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	_, err := s.bucket.PutIfAbsent(ctx, s.prefix+key, data)
	if errors.Is(err, objectstore.ErrSame) {
		return nil
	}
	return err
}

// Swap is that of [Store]. Between reading and writing, the object's ETag keeps
// others out.
func (s S3) Swap(ctx context.Context, key string, old, fresh []byte) error {
	if old == nil {
		err := s.PutIfAbsent(ctx, key, fresh)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: %w", ErrMoved, err)
		}
		return err
	}
	there, object, err := s.bucket.Get(ctx, s.prefix+key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("replace %s: it is gone: %w", key, ErrMoved)
	case err != nil:
		return err
	case bytes.Equal(there, fresh):
		return nil
	case !bytes.Equal(there, old):
		return fmt.Errorf("replace %s: %w", key, ErrMoved)
	}
	_, err = s.bucket.PutIfMatch(ctx, s.prefix+key, fresh, object.ETag)
	switch {
	case errors.Is(err, objectstore.ErrSame):
		return nil
	case errors.Is(err, objectstore.ErrChanged):
		return fmt.Errorf("replace %s: %w: %w", key, ErrMoved, err)
	}
	return err
}
