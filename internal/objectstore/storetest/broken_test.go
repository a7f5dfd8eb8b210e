package storetest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
	"breakwater/internal/promise"
)

// right is a store that keeps every promise. Each of the broken ones is this one but
// for one thing.
type right struct{ *memory.Store }

// broken are stores that are right but for one thing.
var broken = []struct {
	name, breaks string
	store        func(right) objectstore.Store
}{
	{"put if absent overwrites", "put if absent", func(r right) objectstore.Store { return overwrites{r} }},
	{"equal bytes are called others", "put if absent", func(r right) objectstore.Store { return forgetful{r} }},
	{"put if match ignores the ETag", "put if match", func(r right) objectstore.Store { return unmatched{r} }},
	{"a listing loses a page's last", "listing", func(r right) objectstore.Store { return skips{r} }},
	{"a listing repeats a page's last", "listing", func(r right) objectstore.Store { return repeats{r} }},
	{"a listing begins with what it is to come after", "listing from a key on", func(r right) objectstore.Store { return begins{r} }},
	{"a page's end cuts a key's versions off", "listing from a key on", func(r right) objectstore.Store { return cuts{r} }},
	{"keys are ordered as UTF-16", "listing from a key on", func(r right) objectstore.Store { return wide{r} }},
	{"a folder's marker stands for all of it", "listing from a key on", func(r right) objectstore.Store { return folders{r} }},
	{"a listing is unsorted", "listing", func(r right) objectstore.Store { return unsorted{r} }},
	{"a deletion destroys versions", "versions", func(r right) objectstore.Store { return destroys{r} }},
	{"versions come oldest first", "versions", func(r right) objectstore.Store { return oldestFirst{r} }},
	{"a deletion leaves no marker", "delete markers", func(r right) objectstore.Store { return unmarked{r} }},
	{"who is denied finds nothing", "denied", func(r right) objectstore.Store { return polite{r} }},
	{"a missing bucket is a missing key", "a missing bucket", func(r right) objectstore.Store { return vague{r} }},
	{"what is missing is empty", "missing", func(r right) objectstore.Store { return inventive{r} }},
	{"a plus sign is a space", "odd keys", func(r right) objectstore.Store { return decodes{r} }},
	{"a body ends too soon", "read what was written", func(r right) objectstore.Store { return short{r} }},
	{"a part is short", "read in parts", func(r right) objectstore.Store { return shortPart{r} }},
	{"a part is of the current version", "a file is one version", func(r right) objectstore.Store { return mixes{r} }},
	{"a copy ignores its source's ETag", "copy", func(r right) objectstore.Store { return copies{r} }},
	{"a copy ignores what it is over", "conditional copies", func(r right) objectstore.Store { return careless{r} }},
	{"a copy hides what it is of", "exact copies", func(r right) objectstore.Store { return anonymous{r} }},
	{"a description is of the current version", "describe", func(r right) objectstore.Store { return vain{r} }},
	{"a stream's checksum is ignored", "put from", func(r right) objectstore.Store { return unsummed{r} }},
	{"a stream ignores what it is over", "put from, over", func(r right) objectstore.Store { return uploads{r} }},
	{"a condition is held against a moment ago", "race", func(r right) objectstore.Store { return stale{r} }},
	{"a deletion takes what begins with the key", "delete", func(r right) objectstore.Store { return greedy{r} }},
	{"what is refused counts as done", "delete many", func(r right) objectstore.Store { return boasts{r} }},
	{"a deletion ignores the ETag", "conditional deletions", func(r right) objectstore.Store { return deaf{r} }},
	{"a hold is not kept", "holds", func(r right) objectstore.Store { return letsGo{r} }},
	{"it claims a lock and has none", "holds", func(r right) objectstore.Store { return lies{r} }},
}

// TestHonest: the suite fails every broken store, by the name of what it breaks.
func TestHonest(t *testing.T) {
	var all []promise.Broken[Target]
	for _, b := range broken {
		all = append(all, promise.Broken[Target]{Name: b.name, Breaks: b.breaks, Target: func(testing.TB) Target {
			m := memory.New()
			m.Create("lake", memory.Versioned)
			m.Create("vault", memory.Locked)
			return Target{
				Store: b.store(right{m.Owner()}), Stranger: b.store(right{m.Stranger()}), Bucket: "lake", Locked: "vault", Keys: 2500,
			}
		}})
	}
	suite(memory.New().Owner()).Honest(t, all)
}

type overwrites struct{ right }

func (s overwrites) PutIfAbsent(ctx context.Context, bucket, key string, body []byte) (objectstore.Object, error) {
	return s.Put(ctx, bucket, key, body)
}

type forgetful struct{ right }

func (s forgetful) PutIfAbsent(ctx context.Context, bucket, key string, body []byte) (objectstore.Object, error) {
	o, err := s.right.PutIfAbsent(ctx, bucket, key, body)
	if errors.Is(err, objectstore.ErrSame) {
		err = fs.ErrExist
	}
	return o, err
}

type unmatched struct{ right }

func (s unmatched) PutIfMatch(ctx context.Context, bucket, key string, body []byte, etag string) (objectstore.Object, error) {
	if _, err := s.Head(ctx, bucket, key); err != nil {
		return s.right.PutIfMatch(ctx, bucket, key, body, etag)
	}
	return s.Put(ctx, bucket, key, body)
}

// page is where the listings below go wrong: a small one never shows it.
const page = 1000

type skips struct{ right }

func (s skips) List(ctx context.Context, bucket, prefix string) iter.Seq2[objectstore.Object, error] {
	return func(yield func(objectstore.Object, error) bool) {
		n := 0
		for o, err := range s.right.List(ctx, bucket, prefix) {
			if n++; n%page != 0 && !yield(o, err) {
				return
			}
		}
	}
}

type repeats struct{ right }

func (s repeats) ListVersions(ctx context.Context, bucket, prefix string) iter.Seq2[objectstore.Version, error] {
	return func(yield func(objectstore.Version, error) bool) {
		n := 0
		for v, err := range s.right.ListVersions(ctx, bucket, prefix) {
			if n++; n%page == 0 && !yield(v, err) || !yield(v, err) {
				return
			}
		}
	}
}

type unsorted struct{ right }

func (s unsorted) List(ctx context.Context, bucket, prefix string) iter.Seq2[objectstore.Object, error] {
	return func(yield func(objectstore.Object, error) bool) {
		var all []objectstore.Object
		for o, err := range s.right.List(ctx, bucket, prefix) {
			if err != nil {
				yield(o, err)
				return
			}
			all = append(all, o)
		}
		for _, o := range slices.Backward(all) {
			if !yield(o, nil) {
				return
			}
		}
	}
}

type destroys struct{ right }

func (s destroys) Delete(ctx context.Context, bucket, key string) (string, error) {
	for v, err := range s.ListVersions(ctx, bucket, key) {
		if err != nil {
			return "", err
		}
		if v.Key != key {
			continue
		}
		if err := s.DeleteVersion(ctx, bucket, key, v.VersionID); err != nil {
			return "", err
		}
	}
	return "", nil
}

type oldestFirst struct{ right }

func (s oldestFirst) ListVersions(ctx context.Context, bucket, prefix string) iter.Seq2[objectstore.Version, error] {
	return func(yield func(objectstore.Version, error) bool) {
		for h, err := range objectstore.Bind(s.right, bucket).Histories(ctx, prefix) {
			if err != nil {
				yield(objectstore.Version{}, err)
				return
			}
			for _, v := range slices.Backward(h) {
				if !yield(v, nil) {
					return
				}
			}
		}
	}
}

type unmarked struct{ right }

func (s unmarked) Delete(ctx context.Context, bucket, key string) (string, error) {
	_, err := s.right.Delete(ctx, bucket, key)
	return "", err
}

type inventive struct{ right }

func (s inventive) Get(ctx context.Context, bucket, key string) ([]byte, objectstore.Object, error) {
	body, o, err := s.right.Get(ctx, bucket, key)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return body, o, err
}

type decodes struct{ right }

func (s decodes) Put(ctx context.Context, bucket, key string, body []byte) (objectstore.Object, error) {
	return s.right.Put(ctx, bucket, strings.ReplaceAll(key, "+", " "), body)
}

type vain struct{ right }

func (s vain) Describe(ctx context.Context, bucket, key, _ string) (objectstore.Description, error) {
	d, err := s.right.Describe(ctx, bucket, key, "")
	d.Checksums = map[string]string{"CRC32": "AAAAAA=="}
	return d, err
}

type stale struct{ right }

func (s stale) PutIfMatch(ctx context.Context, bucket, key string, body []byte, etag string) (objectstore.Object, error) {
	n := 0
	for v, err := range s.ListVersions(ctx, bucket, key) {
		if err == nil && v.Key == key && v.ETag == etag && n < 2 { // now, or a moment ago
			return s.Put(ctx, bucket, key, body)
		}
		n++
	}
	return s.right.PutIfMatch(ctx, bucket, key, body, etag)
}

type greedy struct{ right }

func (s greedy) Delete(ctx context.Context, bucket, key string) (string, error) {
	for o, err := range s.List(ctx, bucket, key+"k") {
		if err != nil {
			return "", err
		}
		if _, err := s.right.Delete(ctx, bucket, o.Key); err != nil {
			return "", err
		}
	}
	return s.right.Delete(ctx, bucket, key)
}

type polite struct{ right }

func (s polite) Get(ctx context.Context, bucket, key string) ([]byte, objectstore.Object, error) {
	body, o, err := s.right.Get(ctx, bucket, key)
	if errors.Is(err, fs.ErrPermission) {
		err = fs.ErrNotExist
	}
	return body, o, err
}

type vague struct{ right }

func (s vague) Head(ctx context.Context, bucket, key string) (objectstore.Object, error) {
	o, err := s.right.Head(ctx, bucket, key)
	if errors.Is(err, objectstore.ErrNoBucket) {
		err = fs.ErrNotExist
	}
	return o, err
}

type short struct{ right }

func (s short) Get(ctx context.Context, bucket, key string) ([]byte, objectstore.Object, error) {
	body, o, err := s.right.Get(ctx, bucket, key)
	return body[:max(0, len(body)-1)], o, err
}

type shortPart struct{ right }

func (s shortPart) ReadPart(ctx context.Context, from objectstore.Source, p []byte, off int64) (int, error) {
	return s.right.ReadPart(ctx, from, p[:(len(p)+1)/2], off)
}

type mixes struct{ right }

func (s mixes) ReadPart(ctx context.Context, from objectstore.Source, p []byte, off int64) (int, error) {
	from.VersionID, from.ETag = "", ""
	return s.right.ReadPart(ctx, from, p, off)
}

type copies struct{ right }

func (s copies) Copy(ctx context.Context, from objectstore.Source, bucket, key string) (objectstore.Object, error) {
	from.ETag = ""
	return s.right.Copy(ctx, from, bucket, key)
}

// copierFunc makes a copy in its own way.
type copierFunc func(context.Context, objectstore.CopyRequest) (objectstore.Object, error)

func (f copierFunc) Copy(ctx context.Context, r objectstore.CopyRequest) (objectstore.Object, error) {
	return f(ctx, r)
}

type careless struct{ right }

func (s careless) Copier() objectstore.Copier {
	return copierFunc(func(ctx context.Context, r objectstore.CopyRequest) (objectstore.Object, error) {
		return s.Copy(ctx, r.From, r.Bucket, r.Key)
	})
}

type anonymous struct{ right }

func (s anonymous) Describe(ctx context.Context, bucket, key, version string) (objectstore.Description, error) {
	d, err := s.right.Describe(ctx, bucket, key, version)
	if version != "" { // as if it had been encrypted anew
		d.ETag += "-1"
	}
	return d, err
}

type unsummed struct{ right }

func (s unsummed) PutFrom(ctx context.Context, bucket, key string, from io.Reader, size int64, sum string, over *string) (objectstore.Object, error) {
	if over != nil {
		return s.right.PutFrom(ctx, bucket, key, from, size, sum, over)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(from, body); err != nil {
		return objectstore.Object{}, err
	}
	return s.Put(ctx, bucket, key, body)
}

type uploads struct{ right }

func (s uploads) PutFrom(ctx context.Context, bucket, key string, from io.Reader, size int64, sum string, _ *string) (objectstore.Object, error) {
	return s.right.PutFrom(ctx, bucket, key, from, size, sum, nil)
}

type letsGo struct{ right }

func (s letsGo) Hold(ctx context.Context, bucket, key, version string, h objectstore.Hold) error {
	if h.Until.After(time.Now()) {
		return nil
	}
	return s.right.Hold(ctx, bucket, key, version, h)
}

type boasts struct{ right }

func (s boasts) DeleteMany(ctx context.Context, bucket string, all []objectstore.Deletion) (int, error) {
	if _, err := s.right.DeleteMany(ctx, bucket, all); err != nil && !errors.Is(err, fs.ErrPermission) {
		return 0, err
	}
	return len(all), nil
}

type deaf struct{ right }

func (s deaf) DeleteMany(ctx context.Context, bucket string, all []objectstore.Deletion) (int, error) {
	all = slices.Clone(all)
	for i := range all {
		all[i].ETag = ""
	}
	return s.right.DeleteMany(ctx, bucket, all)
}

// lies is a store that can do no more than every store, and claims all.
type lies struct{ objectstore.Store }
