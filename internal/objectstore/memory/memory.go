// Package memory is an object store in memory, for tests: fast, and faithful to what
// package objectstore promises, delete markers, conditions, holds and fences included.
package memory

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"breakwater/internal/objectstore"
)

// Kind is what a bucket keeps.
type Kind int

// The kinds of buckets.
const (
	Plain     Kind = iota // one version of each key
	Versioned             // every version
	Locked                // every version, which can be held
)

// page is how many entries a listing takes at a time. Between two pages the store
// changes under it, as a real one does.
const page = 1000

// Server is what a store is behind its principals. It is safe for concurrent use.
type Server struct {
	mu      sync.Mutex
	buckets map[string]*shelf
	writes  int // so far: what versions are named after
	fences  map[string]denial
	rights  map[string]string
}

// shelf is a bucket.
type shelf struct {
	kind Kind
	// suspended: what is written or deleted now replaces the version null.
	suspended bool
	keys      map[string][]*version // newest first
}

type version struct {
	objectstore.Object
	body   []byte
	marker bool
	hold   objectstore.Hold
	// archived: it must be restored from an archive before it is read.
	archived bool
}

// Archive moves the current version of a key to a storage class that archives, and
// restores it from there for a while if asked.
func (m *Server) Archive(bucket, key, class string, restored bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := m.buckets[bucket].find(key, "")
	if err != nil {
		return fmt.Errorf("archive s3://%s/%s: %w", bucket, key, err)
	}
	v.StorageClass, v.archived = class, !restored
	return nil
}

// Suspend suspends the versioning of a bucket that keeps versions, or turns it on again.
func (m *Server) Suspend(bucket string, suspended bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := m.buckets[bucket]; b != nil && b.kind != Plain {
		b.suspended = suspended
	}
}

// New is a server without buckets.
func New() *Server {
	return &Server{buckets: map[string]*shelf{}, fences: map[string]denial{}, rights: map[string]string{}}
}

// Create makes a bucket. One that is there stays as it is.
func (m *Server) Create(name string, kind Kind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.buckets[name] == nil {
		m.buckets[name] = &shelf{kind: kind, keys: map[string][]*version{}}
	}
}

// Owner is who may do everything, and cannot be fenced.
func (m *Server) Owner() *Store { return &Store{m: m, may: true} }

// Stranger is who may do nothing.
func (m *Server) Stranger() *Store { return &Store{m: m} }

// User is who may do everything that no fence denies: see [Server.Admin].
func (m *Server) User(name string) *Store { return &Store{m: m, may: true, name: name} }

// Store is a server as a principal has it.
type Store struct {
	m    *Server
	may  bool
	name string // of a user
}

var (
	_ objectstore.Vault      = (*Store)(nil)
	_ objectstore.Describer  = (*Store)(nil)
	_ objectstore.Duplicator = (*Store)(nil)
)

// Traits are those of [objectstore.Store]: all that there are.
func (s *Store) Traits() objectstore.Traits {
	return objectstore.Traits{Versions: true, DeleteMarkers: true, ConditionalCopy: true, ConditionalDelete: true, ObjectLock: true}
}

// Endpoint is that of [objectstore.Store].
func (s *Store) Endpoint() string { return "memory" }

// do does one request on a bucket, and words its error.
func (s *Store) do(ctx context.Context, doing, name, key string, do func(*shelf) error) error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	err := ctx.Err()
	switch {
	case err != nil:
	case !s.may:
		err = fmt.Errorf("%w: %w", fs.ErrPermission, objectstore.ErrDenied)
	case s.m.buckets[name] == nil:
		err = objectstore.ErrNoBucket
	default:
		err = do(s.m.buckets[name])
	}
	if err != nil {
		return fmt.Errorf("%s s3://%s/%s in memory: %w", doing, name, key, err)
	}
	return nil
}

// change is do for what a fence denies.
func (s *Store) change(ctx context.Context, doing, name, key string, do func(*shelf) error) error {
	return s.do(ctx, doing, name, key, func(b *shelf) error {
		if s.m.fenced(name, s.name) {
			return fmt.Errorf("%w: %w", fs.ErrPermission, objectstore.ErrDenied)
		}
		return do(b)
	})
}

// find is one version of a key, the current one when id is empty.
func (b *shelf) find(key, id string) (*version, error) {
	all := b.keys[key]
	i := slices.IndexFunc(all, func(v *version) bool { return id == "" || v.VersionID == id })
	if i < 0 || all[i].marker {
		return nil, fs.ErrNotExist
	}
	return all[i], nil
}

// add puts a version on top of a key.
func (m *Server) add(b *shelf, key string, v *version) *version {
	m.writes++
	v.Key, v.LastModified = key, time.Now().UTC()
	if b.kind == Plain {
		b.keys[key] = []*version{v}
		return v
	}
	v.VersionID = fmt.Sprintf("v%08d", m.writes)
	if b.suspended {
		v.VersionID = "null"
		b.keys[key] = slices.DeleteFunc(b.keys[key], func(old *version) bool { return old.VersionID == v.VersionID })
	}
	b.keys[key] = slices.Insert(b.keys[key], 0, v)
	return v
}

// put writes content.
func (m *Server) put(b *shelf, key string, body []byte) *version {
	sum := md5.Sum(body)
	return m.add(b, key, &version{
		Object: objectstore.Object{Size: int64(len(body)), ETag: hex.EncodeToString(sum[:])}, body: slices.Clone(body),
	})
}

var errHeld = errors.New("the version is held")

// remove takes a version away for good.
func (b *shelf) remove(key, id string) error {
	all := b.keys[key]
	i := slices.IndexFunc(all, func(v *version) bool { return v.VersionID == id || v.VersionID == "" && id == "null" })
	if i < 0 {
		return nil
	}
	if time.Now().Before(all[i].hold.Until) {
		return fmt.Errorf("%w until %s: %w", errHeld, all[i].hold.Until, fs.ErrPermission)
	}
	if b.keys[key] = slices.Delete(all, i, i+1); len(b.keys[key]) == 0 {
		delete(b.keys, key)
	}
	return nil
}

// delete deletes a key, and returns the version of its marker.
func (m *Server) delete(b *shelf, key string) string {
	if b.kind == Plain {
		delete(b.keys, key)
		return ""
	}
	return m.add(b, key, &version{marker: true}).VersionID
}

// versions is one page of a listing: of the keys after one, the versions. No key is
// empty, so all of them come after none.
func (b *shelf) versions(of objectstore.Span) (all []objectstore.Version, last string, more bool) {
	var keys []string
	for key := range b.keys {
		if strings.HasPrefix(key, of.Prefix) && key > of.After {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if len(all) >= of.Page {
			return all, last, true
		}
		last = key
		for i, v := range b.keys[key] {
			o := objectstore.Version{Object: v.Object, Latest: i == 0, DeleteMarker: v.marker}
			if o.VersionID == "" {
				o.VersionID = "null"
			}
			all = append(all, o)
		}
	}
	return all, last, false
}
