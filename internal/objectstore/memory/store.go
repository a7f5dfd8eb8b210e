package memory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
)

// Get is that of [objectstore.Reader].
func (s *Store) Get(ctx context.Context, bucket, key string) ([]byte, objectstore.Object, error) {
	return s.GetVersion(ctx, bucket, key, "")
}

// GetVersion is that of [objectstore.Versions].
func (s *Store) GetVersion(ctx context.Context, bucket, key, id string) (body []byte, o objectstore.Object, err error) {
	err = s.do(ctx, "get", bucket, key, func(b *shelf) error {
		v, err := b.find(key, id)
		switch {
		case err != nil:
		case v.archived:
			err = objectstore.ErrArchived
		default:
			body, o = bytes.Clone(v.body), v.described()
		}
		return err
	})
	return body, o, err
}

// described is the version as other answers than a listing have it.
func (v *version) described() objectstore.Object {
	o := v.Object
	o.StorageClass, o.Archived = "", v.archived
	return o
}

// Head is that of [objectstore.Reader].
func (s *Store) Head(ctx context.Context, bucket, key string) (objectstore.Object, error) {
	return s.HeadVersion(ctx, bucket, key, "")
}

// HeadVersion is that of [objectstore.Versions].
func (s *Store) HeadVersion(ctx context.Context, bucket, key, id string) (objectstore.Object, error) {
	var o objectstore.Object
	err := s.do(ctx, "head", bucket, key, func(b *shelf) error {
		v, err := b.find(key, id)
		if err == nil {
			o = v.described()
		}
		return err
	})
	return o, err
}

// VersionReader is that of [objectstore.Versions].
func (s *Store) VersionReader(ctx context.Context, bucket, key, id string) (io.ReadCloser, objectstore.Object, error) {
	body, o, err := s.GetVersion(ctx, bucket, key, id)
	if err != nil {
		return nil, o, err
	}
	return io.NopCloser(bytes.NewReader(body)), o, nil
}

// ReadPart is that of [objectstore.Reader].
func (s *Store) ReadPart(ctx context.Context, from objectstore.Source, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read s3://%s/%s: negative offset %d", from.Bucket, from.Key, off)
	}
	body, o, err := s.GetVersion(ctx, from.Bucket, from.Key, from.VersionID)
	switch {
	case err != nil:
		return 0, err
	case from.ETag != "" && from.ETag != o.ETag:
		return 0, fmt.Errorf("read part of s3://%s/%s: it has ETag %s: %w", from.Bucket, from.Key, o.ETag, objectstore.ErrChanged)
	}
	return bytes.NewReader(body).ReadAt(p, off)
}

// List is that of [objectstore.Reader].
func (s *Store) List(ctx context.Context, bucket, prefix string) iter.Seq2[objectstore.Object, error] {
	return func(yield func(objectstore.Object, error) bool) {
		for v, err := range s.ListVersions(ctx, bucket, prefix) {
			if err != nil {
				yield(objectstore.Object{}, err)
				return
			}
			if !v.Latest || v.DeleteMarker {
				continue
			}
			v.VersionID = ""
			if !yield(v.Object, nil) {
				return
			}
		}
	}
}

// ListVersions is that of [objectstore.Versions].
func (s *Store) ListVersions(ctx context.Context, bucket, prefix string) iter.Seq2[objectstore.Version, error] {
	return s.ListSpan(ctx, bucket, objectstore.Span{Prefix: prefix})
}

// ListSpan is that of [objectstore.Versions].
func (s *Store) ListSpan(ctx context.Context, bucket string, of objectstore.Span) iter.Seq2[objectstore.Version, error] {
	return func(yield func(objectstore.Version, error) bool) {
		of, more := of, true
		if of.Page <= 0 {
			of.Page = page
		}
		for more {
			var all []objectstore.Version
			err := s.do(ctx, "list", bucket, of.Prefix, func(b *shelf) error {
				all, of.After, more = b.versions(of)
				return nil
			})
			if err != nil {
				yield(objectstore.Version{}, err)
				return
			}
			for _, v := range all {
				if !yield(v, nil) {
					return
				}
			}
		}
	}
}

// Versioning is that of [objectstore.Versions].
func (s *Store) Versioning(ctx context.Context, bucket string) (v objectstore.Versioning, err error) {
	err = s.do(ctx, "read versioning of", bucket, "", func(b *shelf) error {
		v.On, v.Suspended = b.kind != Plain && !b.suspended, b.suspended
		return nil
	})
	return v, err
}

// Put is that of [objectstore.Writer].
func (s *Store) Put(ctx context.Context, bucket, key string, body []byte) (o objectstore.Object, err error) {
	err = s.change(ctx, "put", bucket, key, func(b *shelf) error {
		o = s.m.put(b, key, body).Object
		return nil
	})
	return o, err
}

// PutIfAbsent is that of [objectstore.Writer].
func (s *Store) PutIfAbsent(ctx context.Context, bucket, key string, body []byte) (o objectstore.Object, err error) {
	err = s.change(ctx, "put if absent", bucket, key, func(b *shelf) error {
		there, err := b.find(key, "")
		if errors.Is(err, fs.ErrNotExist) {
			o = s.m.put(b, key, body).Object
			return nil
		}
		o = there.Object
		return refused(fs.ErrExist, there, body)
	})
	return o, err
}

// PutIfMatch is that of [objectstore.Writer].
func (s *Store) PutIfMatch(ctx context.Context, bucket, key string, body []byte, etag string) (o objectstore.Object, err error) {
	err = s.change(ctx, "put if unchanged", bucket, key, func(b *shelf) error {
		there, err := b.find(key, "")
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", objectstore.ErrChanged, err)
		case there.ETag == etag:
			o = s.m.put(b, key, body).Object
			return nil
		}
		o = there.Object
		return refused(objectstore.ErrChanged, there, body)
	})
	return o, err
}

// refused says what a conditional write found in its place.
func refused(why error, there *version, body []byte) error {
	if bytes.Equal(there.body, body) {
		return fmt.Errorf("%w: %w", why, objectstore.ErrSame)
	}
	return why
}

// PutFrom is that of [objectstore.Writer].
func (s *Store) PutFrom(ctx context.Context, bucket, key string, from io.Reader, size int64, sum string, over *string) (o objectstore.Object, err error) {
	body, err := whole(bucket, key, from, size, sum)
	if err != nil {
		return o, err
	}
	err = s.change(ctx, "put from", bucket, key, func(b *shelf) error {
		if over != nil {
			switch there, err := b.find(key, ""); {
			case errors.Is(err, fs.ErrNotExist) && *over == "":
			case err != nil:
				return err
			case there.ETag != *over:
				return fs.ErrExist
			}
		}
		o = s.m.put(b, key, body).Object
		return nil
	})
	return o, err
}

// whole reads what is to be written, and holds it against its checksum.
func whole(bucket, key string, from io.Reader, size int64, want string) ([]byte, error) {
	body := make([]byte, size)
	if _, err := io.ReadFull(from, body); err != nil {
		return nil, fmt.Errorf("read what to add as s3://%s/%s: %w", bucket, key, err)
	}
	if got := sha256.Sum256(body); hex.EncodeToString(got[:]) != want {
		return nil, fmt.Errorf("add s3://%s/%s: %w: its bytes have SHA-256 %x, and should have %s", bucket, key, objectstore.ErrChanged, got, want)
	}
	return body, nil
}

// Copy is that of [objectstore.Writer].
func (s *Store) Copy(ctx context.Context, from objectstore.Source, bucket, key string) (objectstore.Object, error) {
	return s.copied(ctx, from, bucket, key, func(*shelf) error { return nil })
}

// copied copies if the destination is as it should be.
func (s *Store) copied(ctx context.Context, from objectstore.Source, bucket, key string, over func(*shelf) error) (o objectstore.Object, err error) {
	body, is, err := s.GetVersion(ctx, from.Bucket, from.Key, from.VersionID)
	if err != nil {
		return o, err
	}
	if from.ETag != "" && from.ETag != is.ETag {
		return o, fmt.Errorf("copy s3://%s/%s: it has ETag %s: %w", from.Bucket, from.Key, is.ETag, objectstore.ErrChanged)
	}
	err = s.change(ctx, "copy to", bucket, key, func(b *shelf) error {
		if err := over(b); err != nil {
			return err
		}
		o = s.m.put(b, key, body).Object
		return nil
	})
	return o, err
}

// Copier is that of [objectstore.Duplicator].
func (s *Store) Copier() objectstore.Copier { return copier{s} }

type copier struct{ s *Store }

// Copy is that of [objectstore.Copier].
func (c copier) Copy(ctx context.Context, r objectstore.CopyRequest) (objectstore.Object, error) {
	return c.s.copied(ctx, r.From, r.Bucket, r.Key, func(b *shelf) error {
		there, err := b.find(r.Key, "")
		if (err != nil) != (r.Over == "") || err == nil && there.ETag != r.Over {
			return fmt.Errorf("what is there has not ETag %q: %w", r.Over, objectstore.ErrChanged)
		}
		return nil
	})
}

// Delete is that of [objectstore.Remover].
func (s *Store) Delete(ctx context.Context, bucket, key string) (marker string, err error) {
	err = s.change(ctx, "delete", bucket, key, func(b *shelf) error {
		marker = s.m.delete(b, key)
		return nil
	})
	return marker, err
}

// DeleteVersion is that of [objectstore.Remover].
func (s *Store) DeleteVersion(ctx context.Context, bucket, key, id string) error {
	return s.change(ctx, "delete version "+id+" of", bucket, key, func(b *shelf) error {
		if id == "" {
			return errors.New("no version given; list the versions and name one")
		}
		return b.remove(key, id)
	})
}

// deleteIfMatch deletes a key that has the ETag; one that is not there is no error.
func (s *Store) deleteIfMatch(ctx context.Context, bucket, key, etag string) error {
	return s.change(ctx, "delete", bucket, key, func(b *shelf) error {
		there, err := b.find(key, "")
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if there.ETag != etag {
			return fmt.Errorf("what is there has not ETag %q: %w", etag, objectstore.ErrChanged)
		}
		s.m.delete(b, key)
		return nil
	})
}

// DeleteMany is that of [objectstore.Remover].
func (s *Store) DeleteMany(ctx context.Context, bucket string, all []objectstore.Deletion) (done int, err error) {
	var errs []error
	for _, d := range all {
		switch {
		case d.VersionID != "":
			err = s.DeleteVersion(ctx, bucket, d.Key, d.VersionID)
		case d.ETag != "":
			err = s.deleteIfMatch(ctx, bucket, d.Key, d.ETag)
		default:
			_, err = s.Delete(ctx, bucket, d.Key)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		done++
	}
	if len(errs) > 0 {
		return done, fmt.Errorf("delete: refused for %s, the first: %w", plural.Of(len(errs), "key"), errs[0])
	}
	return done, nil
}
