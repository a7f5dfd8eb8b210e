// Package location opens a table where people say that it is: a folder, a
// file:// or an s3:// URI, with the paths of its log read under other prefixes
// where they were copied.
//
// # Mapping
//
// A log may name objects by absolute URIs: a shallow clone those of its source,
// a table converted or promoted those of where it was. Where the objects were
// copied, [Map] says under which prefix they are found now. Nothing else leads
// out of the table's own bucket: a bucket that is merely reachable does not make
// a copy complete.
package location

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"breakwater/internal/objectstore"
	"breakwater/internal/table"
)

// ErrBad says that what was typed names no place.
var ErrBad = errors.New("not a location")

// Options say how places are reached. The zero value serves files only.
type Options struct {
	// Store opens the object store that s3:// locations lie in; nil where there is none.
	// It is called once per bucket.
	Store func() (objectstore.Store, error)
	// Maps are tried in the order of the length of From, the longest first.
	Maps []Map
}

// Map says that what a log names under From is found under To: both are URIs or
// folders, of a whole bucket or of a part of it.
type Map struct{ From, To string }

// begins is the sign before something that is a location for certain.
var begins = regexp.MustCompile(`=(?:[a-z0-9]+:/|/|\./)`)

// ParseMap reads FROM=TO.
func ParseMap(text string) (Map, error) {
	from, to, ok := strings.Cut(text, "=")
	// The folder of a partition holds the sign too: cut where a location begins.
	if at := begins.FindStringIndex(text); at != nil {
		from, to = text[:at[0]], text[at[0]+1:]
	}
	if !ok || from == "" || to == "" {
		return Map{}, fmt.Errorf("%w: map %q is not FROM=TO, such as s3://primary-lake=s3://standby-lake", ErrBad, text)
	}
	return Map{from, to}, nil
}

// Location is a table's place: what a table format opens.
type Location struct {
	Store table.Store
	Root  table.Root
}

// Open works out where a table is. It asks nothing of the place: who opens the
// table does.
func Open(where string, o Options) (Location, error) {
	at, err := parse(where)
	if err != nil {
		return Location{}, err
	}
	w := &world{options: o, own: at.bucket, clients: map[string]table.Store{}}
	for _, m := range o.Maps {
		from, err := parse(m.From)
		if err != nil {
			return Location{}, err
		}
		to, err := parse(m.To)
		if err != nil {
			return Location{}, err
		}
		w.rules = append(w.rules, rule{from, to})
	}
	slices.SortStableFunc(w.rules, func(a, b rule) int { return cmp.Compare(len(b.from.key), len(a.from.key)) })
	if w.home, err = w.store(at.bucket); err != nil {
		return Location{}, err
	}
	return Location{w, table.Root{Bucket: strings.TrimPrefix(at.bucket, "s3://"), Prefix: at.key}}, nil
}

// spot is a bucket ("s3://name", "file://") and a key in it without slashes
// around it.
type spot struct{ bucket, key string }

// parse reads a location.
func parse(where string) (spot, error) {
	scheme, rest, ok := strings.Cut(where, "://")
	switch {
	case where == "":
		return spot{}, fmt.Errorf("%w: it is empty; give a folder, file:///folder or s3://bucket/prefix", ErrBad)
	case strings.HasPrefix(where, "file:"):
		u, err := url.Parse(where)
		if err != nil || u.Host != "" || u.Path == "" {
			return spot{}, fmt.Errorf("%w: %q; write it as file:///folder", ErrBad, where)
		}
		return spot{filesystem, strings.Trim(filepath.ToSlash(filepath.Clean(u.Path)), "/")}, nil
	case !ok:
		abs, err := filepath.Abs(where)
		if err != nil {
			return spot{}, fmt.Errorf("%w: %q: %w", ErrBad, where, err)
		}
		return spot{filesystem, strings.Trim(filepath.ToSlash(abs), "/")}, nil
	}
	bucket, key, _ := strings.Cut(rest, "/")
	if bucket == "" {
		return spot{}, fmt.Errorf("%w: %q names no bucket", ErrBad, where)
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "s3", "s3a", "s3n":
		scheme = "s3"
	}
	return spot{scheme + "://" + bucket, strings.Trim(key, "/")}, nil
}

// rule is a parsed [Map].
type rule struct{ from, to spot }

// world is every place that a table's log may lead to, seen as one bucket: a key
// that is a URI lies where it says, any other in the table's own bucket.
type world struct {
	options Options
	own     string
	home    table.Store
	rules   []rule

	mu      sync.Mutex
	clients map[string]table.Store
}

var (
	_ table.Store  = (*world)(nil)
	_ table.Mapper = (*world)(nil)

	_ table.Remembering = (*world)(nil)
)

// Map tells where an object is found that a log names by an absolute URI: in
// bucket, as "s3://name" or "file://", under key.
func (w *world) Map(bucket, key string) (string, bool) {
	for _, r := range w.rules {
		rest, ok := strings.CutPrefix(key, r.from.key)
		if !ok || r.from.bucket != bucket || rest != "" && r.from.key != "" && rest[0] != '/' {
			continue
		}
		to := strings.TrimPrefix(r.to.key+"/"+strings.TrimPrefix(rest, "/"), "/")
		if r.to.bucket == w.own {
			return to, true
		}
		return r.to.bucket + "/" + to, true
	}
	return "", false
}

// at finds the store that serves a key, the key there, and what stands before
// it for everybody else.
func (w *world) at(key string) (store table.Store, there, before string, err error) {
	i := strings.Index(key, "://")
	if i < 0 || strings.Contains(key[:i], "/") {
		return w.home, key, "", nil
	}
	n := strings.IndexByte(key[i+3:], '/')
	if n < 0 {
		return nil, "", "", fmt.Errorf("%w: key %q", ErrBad, key)
	}
	bucket := key[:i+3+n]
	store, err = w.store(bucket)
	return store, key[i+3+n+1:], bucket + "/", err
}

// store serves a bucket; it is made once.
func (w *world) store(bucket string) (table.Store, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s, ok := w.clients[bucket]; ok {
		return s, nil
	}
	var s table.Store
	name, isS3 := strings.CutPrefix(bucket, "s3://")
	switch {
	case bucket == filesystem:
		s = files{}
	case isS3 && w.options.Store != nil:
		c, err := w.options.Store()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBad, err)
		}
		s = Bucket{objectstore.Bind(c, name)}
	default:
		return nil, fmt.Errorf("%w: %s: only files and s3:// are served here; map it to where a copy is", ErrBad, bucket)
	}
	w.clients[bucket] = s
	return s, nil
}

// List yields what is under a prefix, keys as they were asked for.
func (w *world) List(ctx context.Context, prefix string) iter.Seq2[table.Object, error] {
	return func(yield func(table.Object, error) bool) {
		s, there, before, err := w.at(prefix)
		if err != nil {
			yield(table.Object{}, err)
			return
		}
		for o, err := range s.List(ctx, there) {
			if before != "" {
				o.Key = before + o.Key
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

// Get reads an object whole.
func (w *world) Get(ctx context.Context, key string) ([]byte, error) {
	s, there, _, err := w.at(key)
	if err != nil {
		return nil, err
	}
	return s.Get(ctx, there)
}

// ReadAt reads a part of an object.
func (w *world) ReadAt(ctx context.Context, key string, p []byte, off int64) (int, error) {
	s, there, _, err := w.at(key)
	if err != nil {
		return 0, err
	}
	return s.ReadAt(ctx, there, p, off)
}

// ListVersions yields what a bucket keeps under a prefix, keys as they were asked for;
// nothing of files.
func (w *world) ListVersions(ctx context.Context, prefix string) iter.Seq2[table.Past, error] {
	return func(yield func(table.Past, error) bool) {
		s, there, before, err := w.at(prefix)
		if err != nil {
			yield(table.Past{}, err)
			return
		}
		r, ok := s.(table.Remembering)
		if !ok {
			return
		}
		for p, err := range r.ListVersions(ctx, there) {
			p.Key = before + p.Key
			if !yield(p, err) {
				return
			}
		}
	}
}

// Unversioned is that of [table.Remembering].
func (w *world) Unversioned(ctx context.Context, key string) (string, error) {
	s, there, _, err := w.at(key)
	if r, ok := s.(table.Remembering); ok && err == nil {
		return r.Unversioned(ctx, there)
	}
	return "", err
}
