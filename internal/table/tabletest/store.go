package tabletest

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
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"breakwater/internal/table"
)

// Store is a bucket in memory that keeps versions. Its zero value is empty and
// ready; it is safe for concurrent use.
type Store struct {
	mu      sync.Mutex
	objects map[string][]version // newest first
	written int
	lists   int
	gets    int
	asked   map[string]int // reads, by key
	puts    int

	// Fail, if set before use, is asked before every call, with list, get or put
	// and the key or prefix. What it returns is what the call returns.
	Fail func(op, key string) error
	// Now, if set before use, dates what is written. Without it, each object is a
	// second younger than the ones before it.
	Now func() time.Time
}

var _ table.Changer = (*Store)(nil)

type version struct {
	id, etag string
	body     []byte
	modified time.Time
	marker   bool
}

func (v version) object(key string) table.Object {
	return table.Object{Key: key, Size: int64(len(v.body)), Modified: v.modified, ETag: v.etag, VersionID: v.id}
}

func etagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:16])
}

func (s *Store) fail(ctx context.Context, op, key string) error {
	err := ctx.Err()
	if s.Fail != nil {
		err = errors.Join(err, s.Fail(op, key))
	}
	return err
}

// List yields what lies under prefix, in key order.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[table.Object, error] {
	return func(yield func(table.Object, error) bool) {
		if err := s.fail(ctx, "list", prefix); err != nil {
			yield(table.Object{}, err)
			return
		}
		for _, p := range s.under(prefix) {
			if p.Latest && !p.Marker && !yield(p.Object, nil) {
				return
			}
		}
	}
}

// ListVersions yields every version under prefix, by key and newest first.
func (s *Store) ListVersions(ctx context.Context, prefix string) iter.Seq2[table.Past, error] {
	return func(yield func(table.Past, error) bool) {
		if err := s.fail(ctx, "list", prefix); err != nil {
			yield(table.Past{}, err)
			return
		}
		for _, p := range s.under(prefix) {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func (s *Store) under(prefix string) []table.Past {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	var out []table.Past
	for _, k := range slices.Sorted(maps.Keys(s.objects)) {
		for i, v := range s.objects[k] {
			if strings.HasPrefix(k, prefix) {
				out = append(out, table.Past{Object: v.object(k), Latest: i == 0, Marker: v.marker})
			}
		}
	}
	return out
}

// Get returns an object, [fs.ErrNotExist] where there is none.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	body, _, err := s.Look(ctx, key)
	return body, err
}

// Look is [Store.Get] with what the object is.
func (s *Store) Look(ctx context.Context, key string) ([]byte, table.Object, error) {
	v, err := s.read(ctx, key, "")
	return v.body, v.object(key), err
}

// Stat tells what an object is.
func (s *Store) Stat(ctx context.Context, key string) (table.Object, error) {
	v, err := s.read(ctx, key, "")
	return v.object(key), err
}

// GetVersion returns one version of an object.
func (s *Store) GetVersion(ctx context.Context, key, versionID string) ([]byte, error) {
	v, err := s.read(ctx, key, versionID)
	return v.body, err
}

func (s *Store) read(ctx context.Context, key, id string) (version, error) {
	if err := s.fail(ctx, "get", key); err != nil {
		return version{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	if s.asked == nil {
		s.asked = map[string]int{}
	}
	s.asked[key]++
	for _, v := range s.objects[key] {
		if id == "" || v.id == id {
			if v.marker {
				break
			}
			return v, nil
		}
	}
	return version{}, fmt.Errorf("get %s: %w", key, fs.ErrNotExist)
}

// ReadAt reads a part of an object.
func (s *Store) ReadAt(ctx context.Context, key string, p []byte, off int64) (int, error) {
	body, err := s.Get(ctx, key)
	if err != nil {
		return 0, err
	}
	if off >= int64(len(body)) {
		return 0, io.EOF
	}
	n := copy(p, body[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// PutIfAbsent stores an object, or answers [fs.ErrExist].
func (s *Store) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	return s.put(ctx, key, body, func(there *version) error {
		if there != nil && !bytes.Equal(there.body, body) {
			return fmt.Errorf("put %s: %w", key, fs.ErrExist)
		}
		return nil
	})
}

// PutIfMatch stores an object over the one with the ETag.
func (s *Store) PutIfMatch(ctx context.Context, key string, body []byte, etag string) error {
	return s.put(ctx, key, body, func(there *version) error {
		if there == nil || there.object(key).ETag != etag && !bytes.Equal(there.body, body) {
			return fmt.Errorf("put %s: %w", key, table.ErrChanged)
		}
		return nil
	})
}

// Put stores an object over what is there.
func (s *Store) Put(ctx context.Context, key string, body []byte) error {
	return s.put(ctx, key, body, func(*version) error { return nil })
}

// put writes what allowed lets through; it is told what is there, nil for nothing.
func (s *Store) put(ctx context.Context, key string, body []byte, allowed func(*version) error) error {
	if err := s.fail(ctx, "put", key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var there *version
	if all := s.objects[key]; len(all) > 0 && !all[0].marker {
		there = &all[0]
	}
	if err := allowed(there); err != nil {
		return err
	}
	at := time.Unix(1_700_000_000+int64(len(s.objects)), 0)
	if s.Now != nil {
		at = s.Now()
	}
	s.puts++
	s.add(key, version{body: bytes.Clone(body), modified: at})
	return nil
}

// Copy copies a version of an object.
func (s *Store) Copy(ctx context.Context, key string, was table.ObjectVersion, to string) error {
	v, err := s.read(ctx, key, was.VersionID)
	if err != nil {
		return err
	}
	if v.object(key).ETag != was.ETag {
		return fmt.Errorf("copy %s: %w", key, table.ErrChanged)
	}
	return s.Put(ctx, to, v.body)
}

// Hide puts a delete marker over an object.
func (s *Store) Hide(ctx context.Context, key, etag string) error {
	if err := s.fail(ctx, "put", key); err != nil {
		return err
	}
	if etag != "" {
		switch v, err := s.read(ctx, key, ""); {
		case err == nil && v.object(key).ETag != etag:
			return fmt.Errorf("hide %s: %w", key, table.ErrChanged)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	s.add(key, version{marker: true})
	return nil
}

func (s *Store) add(key string, v version) {
	if s.objects == nil {
		s.objects = map[string][]version{}
	}
	s.written++
	v.id = strconv.Itoa(s.written)
	if !v.marker {
		v.etag = etagOf(v.body)
	}
	s.objects[key] = append([]version{v}, s.objects[key]...)
}

// Write puts an object with a modification time of the past, and nothing else of
// it is kept.
func (s *Store) Write(key string, body []byte, modified time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	s.add(key, version{body: body, modified: modified})
}

// Delete removes an object for good, with its versions.
func (s *Store) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
}

// Keys returns the keys under prefix that a reader sees, in order.
func (s *Store) Keys(prefix string) []string {
	var keys []string
	for _, p := range s.under(prefix) {
		if p.Latest && !p.Marker {
			keys = append(keys, p.Key)
		}
	}
	return keys
}

// Calls counts listings and reads so far.
func (s *Store) Calls() (lists, gets int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists, s.gets
}

// Damage changes the bytes of an object in place; its size stays.
func (s *Store) Damage(key string, damage func([]byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.objects[key]; len(all) > 0 {
		body := bytes.Clone(all[0].body)
		damage(body)
		s.objects[key] = append([]version{{id: all[0].id, etag: etagOf(body), body: body, modified: all[0].modified}}, all[1:]...)
	}
}

// Touch changes when an object was modified.
func (s *Store) Touch(key string, modified time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := slices.Clone(s.objects[key]); len(all) > 0 {
		all[0].modified = modified
		s.objects[key] = all
	}
}

// Clone returns a store with the same objects, of its own from then on.
func (s *Store) Clone() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Store{objects: maps.Clone(s.objects), written: s.written}
}

// Writes counts what was put or hidden so far.
func (s *Store) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts
}

// Reads counts the reads of the keys that ok accepts.
func (s *Store) Reads(ok func(key string) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, reads := range s.asked {
		if ok(key) {
			n += reads
		}
	}
	return n
}
