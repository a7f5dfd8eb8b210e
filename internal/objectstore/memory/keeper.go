package memory

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"breakwater/internal/objectstore"
)

// LockEnabled is that of [objectstore.Keeper].
func (s *Store) LockEnabled(ctx context.Context, bucket string) (on bool, err error) {
	err = s.do(ctx, "ask for the object lock of", bucket, "", func(b *shelf) error {
		on = b.kind == Locked
		return nil
	})
	return on, err
}

// Add is that of [objectstore.Keeper].
func (s *Store) Add(ctx context.Context, name, key string, body []byte, h objectstore.Hold) (o objectstore.Object, err error) {
	err = s.change(ctx, "add", name, key, func(b *shelf) error {
		if _, err := b.find(key, ""); err == nil {
			return fs.ErrExist
		}
		if h.Mode != "" && b.kind != Locked {
			return errUnlocked
		}
		v := s.m.put(b, key, body)
		v.hold, o = h, v.Object
		return nil
	})
	return o, err
}

var errUnlocked = errors.New("the bucket has no Object Lock")

// AddFrom is that of [objectstore.Keeper].
func (s *Store) AddFrom(ctx context.Context, bucket, key string, from io.Reader, size int64, sum string, h objectstore.Hold) (objectstore.Object, error) {
	body, err := whole(bucket, key, from, size, sum)
	if err != nil {
		return objectstore.Object{}, err
	}
	return s.Add(ctx, bucket, key, body, h)
}

// Seal is that of [objectstore.Keeper].
func (s *Store) Seal(ctx context.Context, name, key, id string) (sealed objectstore.Sealed, err error) {
	err = s.do(ctx, "head", name, key, func(b *shelf) error {
		v, err := b.find(key, id)
		if err == nil {
			sum := sha256.Sum256(v.body)
			sealed = objectstore.Sealed{Object: v.described(), Hold: v.hold, SHA256: hex.EncodeToString(sum[:])}
		}
		return err
	})
	return sealed, err
}

// Hold is that of [objectstore.Keeper].
func (s *Store) Hold(ctx context.Context, name, key, id string, h objectstore.Hold) error {
	return s.change(ctx, "hold version "+id+" of", name, key, func(b *shelf) error {
		v, err := b.find(key, id)
		switch {
		case err != nil:
			return err
		case b.kind != Locked:
			return errUnlocked
		case time.Now().Before(v.hold.Until) && (h.Until.Before(v.hold.Until) || v.hold.Mode == objectstore.Compliance && h.Mode != v.hold.Mode):
			return fmt.Errorf("a hold only grows: %w", fs.ErrPermission)
		}
		v.hold = h
		return nil
	})
}

// Describe is that of [objectstore.Describer].
func (s *Store) Describe(ctx context.Context, bucket, key, id string) (objectstore.Description, error) {
	body, o, err := s.GetVersion(ctx, bucket, key, id)
	if err != nil {
		return objectstore.Description{}, err
	}
	sum := sha256.Sum256(body)
	return objectstore.Description{
		Object: o, Checksums: map[string]string{"SHA256": base64.StdEncoding.EncodeToString(sum[:])},
		Metadata: map[string]string{}, Headers: map[string]string{},
	}, nil
}

// Decrypt is that of [objectstore.Describer].
func (s *Store) Decrypt(ctx context.Context, bucket, key string) (objectstore.Encryption, string, error) {
	return s.EncryptionOf(ctx, bucket, key)
}

// EncryptionOf is that of [objectstore.Describer].
func (s *Store) EncryptionOf(ctx context.Context, bucket, key string) (objectstore.Encryption, string, error) {
	_, err := s.Head(ctx, bucket, key)
	return objectstore.Encryption{}, "", err
}
