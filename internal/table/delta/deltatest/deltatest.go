// Package deltatest has an object store in memory and tables that real engines
// wrote, for the tests of everything that reads Delta tables.
package deltatest

import (
	"archive/zip"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"breakwater/internal/table"
)

// Store is an object store in memory. Its zero value is empty and ready; it is
// safe for concurrent use.
type Store struct {
	mu      sync.Mutex
	objects map[string]object
	lists   int
	gets    int

	// Fail, if set before use, is asked before every call, with list, get or put
	// and the key or prefix. What it returns is what the call returns.
	Fail func(op, key string) error
}

type object struct {
	body     []byte
	modified time.Time
}

func (s *Store) fail(op, key string) error {
	if s.Fail == nil {
		return nil
	}
	return s.Fail(op, key)
}

// List yields what lies under prefix, in key order.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[table.Object, error] {
	return func(yield func(table.Object, error) bool) {
		if err := errors.Join(ctx.Err(), s.fail("list", prefix)); err != nil {
			yield(table.Object{}, err)
			return
		}
		for _, o := range s.under(prefix) {
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (s *Store) under(prefix string) []table.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	var out []table.Object
	for k, o := range s.objects {
		if strings.HasPrefix(k, prefix) {
			out = append(out, table.Object{Key: k, Size: int64(len(o.body)), Modified: o.modified})
		}
	}
	slices.SortFunc(out, func(a, b table.Object) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// Get returns an object, [fs.ErrNotExist] where there is none.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := errors.Join(ctx.Err(), s.fail("get", key)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	o, ok := s.objects[key]
	if !ok {
		return nil, fmt.Errorf("get %s: %w", key, fs.ErrNotExist)
	}
	return o.body, nil
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
	return s.put(ctx, key, body, false)
}

// Put stores an object over what is there.
func (s *Store) Put(ctx context.Context, key string, body []byte) error {
	return s.put(ctx, key, body, true)
}

func (s *Store) put(ctx context.Context, key string, body []byte, over bool) error {
	if err := errors.Join(ctx.Err(), s.fail("put", key)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[key]; ok && !over {
		return fmt.Errorf("put %s: %w", key, fs.ErrExist)
	}
	if s.objects == nil {
		s.objects = map[string]object{}
	}
	s.objects[key] = object{bytes.Clone(body), time.Unix(1_700_000_000+int64(len(s.objects)), 0)}
	return nil
}

// Delete removes an object, if it is there.
func (s *Store) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
}

// Keys returns the keys under prefix, in order.
func (s *Store) Keys(prefix string) []string {
	var keys []string
	for _, o := range s.under(prefix) {
		keys = append(keys, o.Key)
	}
	return keys
}

// Calls counts listings and reads so far.
func (s *Store) Calls() (lists, gets int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists, s.gets
}

// Bucket is the bucket that the fixtures' absolute paths name.
const Bucket = "primary-lake"

// Truth is what the engine that wrote a table says of it.
type Truth struct {
	Name     string         `json:"name"`
	Prefix   string         `json:"prefix"`
	Features []string       `json:"features"`
	Versions []VersionTruth `json:"versions"`

	// Of the newest version. TableFeatures and Properties are Spark's; delta-rs
	// tells neither.
	Partition     []string          `json:"partition_columns"`
	MinReader     int               `json:"min_reader"`
	MinWriter     int               `json:"min_writer"`
	TableFeatures []string          `json:"table_features"`
	Properties    map[string]string `json:"properties"`
}

// VersionTruth is what the engine says of one version. SumID is the sum of the
// column id, CRC32Sum that of the CRC-32 of its decimal text, over all rows.
// Rows and the sums hold where Readable. Millis is what the engine's history
// said when: an in-commit timestamp where enabled, else the time of a log object
// that these copies do not keep.
type VersionTruth struct {
	Version   int64  `json:"version"`
	Readable  bool   `json:"readable"`
	Rows      int64  `json:"rows"`
	SumID     int64  `json:"sum_id"`
	CRC32Sum  int64  `json:"crc32_sum"`
	LiveFiles int    `json:"live_files"`
	LiveBytes int64  `json:"live_bytes"`
	DVFiles   int    `json:"dv_files"`
	DVRows    int64  `json:"dv_rows"`
	FilesSHA  string `json:"live_files_sha256,omitempty"`    // Spark's
	PathsSHA  string `json:"decoded_paths_sha256,omitempty"` // delta-rs's
	Operation string `json:"operation"`
	Millis    int64  `json:"timestamp_ms"`
}

//go:embed fixtures.zip
var fixtures []byte

// Tables returns what Spark 4.1 with Delta 4.4 and delta-rs 1.6 say of the 31
// tables that they wrote.
func Tables() ([]Truth, error) {
	var truths []Truth
	r, err := zip.NewReader(bytes.NewReader(fixtures), int64(len(fixtures)))
	if err != nil {
		return nil, err
	}
	f, err := r.Open("truth.json")
	if err != nil {
		return nil, err
	}
	return truths, errors.Join(json.NewDecoder(f).Decode(&truths), f.Close())
}

// Load returns a store with the given tables' objects, or with all of them.
func Load(names ...string) (*Store, error) {
	r, err := zip.NewReader(bytes.NewReader(fixtures), int64(len(fixtures)))
	if err != nil {
		return nil, err
	}
	s := &Store{objects: map[string]object{}}
	for _, f := range r.File {
		dir, _, _ := strings.Cut(strings.TrimPrefix(f.Name, "delta/"), "/")
		if f.Name == "truth.json" || len(names) > 0 && !slices.Contains(names, dir) {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil {
			return nil, fmt.Errorf("unpack %s: %w", f.Name, err)
		}
		s.objects[f.Name] = object{body, f.Modified}
	}
	return s, nil
}

// Damage changes the bytes of an object in place; its size stays.
func (s *Store) Damage(key string, damage func([]byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[key]
	o.body = bytes.Clone(o.body)
	damage(o.body)
	s.objects[key] = o
}

// Clone returns a store with the same objects, of its own from then on.
func (s *Store) Clone() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Store{objects: maps.Clone(s.objects)}
}

// Touch changes when an object was modified.
func (s *Store) Touch(key string, modified time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[key]
	o.modified = modified
	s.objects[key] = o
}
