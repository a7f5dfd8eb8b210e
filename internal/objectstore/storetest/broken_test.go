package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
)

// right is a store that keeps every promise. Each of the broken ones is this one but
// for one thing.
type right struct{ *memory.Store }

// The broken stores, each with the promises that it breaks.
var broken = map[string]struct {
	store  func(right) objectstore.Store
	breaks []string
}{
	"put if absent overwrites":          {func(r right) objectstore.Store { return overwrites{r} }, []string{"put if absent"}},
	"equal bytes are called others":     {func(r right) objectstore.Store { return forgetful{r} }, []string{"put if absent"}},
	"put if match ignores the ETag":     {func(r right) objectstore.Store { return unmatched{r} }, []string{"put if match"}},
	"a listing loses a page's last":     {func(r right) objectstore.Store { return skips{r} }, []string{"listing"}},
	"a listing repeats a page's last":   {func(r right) objectstore.Store { return repeats{r} }, []string{"listing"}},
	"a listing is unsorted":             {func(r right) objectstore.Store { return unsorted{r} }, []string{"listing"}},
	"a deletion destroys versions":      {func(r right) objectstore.Store { return destroys{r} }, []string{"versions", "delete markers"}},
	"versions come oldest first":        {func(r right) objectstore.Store { return oldestFirst{r} }, []string{"versions"}},
	"who is denied finds nothing":       {func(r right) objectstore.Store { return polite{r} }, []string{"denied"}},
	"a missing bucket is a missing key": {func(r right) objectstore.Store { return vague{r} }, []string{"a missing bucket"}},
	"a body ends too soon":              {func(r right) objectstore.Store { return short{r} }, []string{"read what was written"}},
	"a part is short":                   {func(r right) objectstore.Store { return shortPart{r} }, []string{"read in parts"}},
	"a part is of another object":       {func(r right) objectstore.Store { return mixes{r} }, []string{"read in parts", "a file is one version"}},
	"a copy ignores its source's ETag":  {func(r right) objectstore.Store { return copies{r} }, []string{"copy"}},
	"a copy ignores what it is over":    {func(r right) objectstore.Store { return careless{r} }, []string{"conditional copies"}},
	"a copy hides what it is of":        {func(r right) objectstore.Store { return anonymous{r} }, []string{"exact copies"}},
	"a stream's checksum is ignored":    {func(r right) objectstore.Store { return unsummed{r} }, []string{"put from"}},
	"a hold is not kept":                {func(r right) objectstore.Store { return letsGo{r} }, []string{"holds"}},
	"what is refused counts as done":    {func(r right) objectstore.Store { return boasts{r} }, []string{"delete many"}},
	"it claims a lock and has none":     {func(r right) objectstore.Store { return lies{r} }, []string{"holds"}},
}

// TestBroken: the suite fails every broken store, by the name of what it breaks.
func TestBroken(t *testing.T) {
	t.Run("none", func(t *testing.T) {
		if got := failures(t, func(r right) objectstore.Store { return r }); len(got) > 0 {
			t.Errorf("the right store fails: %v", got)
		}
	})
	for name, tc := range broken {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := failures(t, tc.store)
			for _, want := range tc.breaks {
				if len(got[want]) == 0 {
					t.Errorf("the suite did not see that %s: it failed %v, and not %q", name, got, want)
				}
			}
		})
	}
}

// failures runs the suite against a store, and says what failed of which promise.
func failures(t *testing.T, wrap func(right) objectstore.Store) map[string][]string {
	t.Helper()
	m := memory.New()
	m.Create("lake", memory.Versioned)
	m.Create("vault", memory.Locked)
	target := Target{Store: wrap(right{m.Owner()}), Stranger: wrap(right{m.Stranger()}), Bucket: "lake", Locked: "vault", Keys: 2500}
	all := map[string][]string{}
	for _, p := range promises {
		if !p.made(target.Store) {
			continue
		}
		r := &recorder{TB: t}
		var done sync.WaitGroup
		done.Go(func() { p.run(r, target) }) // what is fatal ends its goroutine
		done.Wait()
		if len(r.said) > 0 {
			all[p.name] = r.said
		}
	}
	return all
}

// recorder is a test of which nothing is known but what it complained of.
type recorder struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

func (r *recorder) say(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, text)
}

func (r *recorder) Helper()                      {}
func (r *recorder) Error(args ...any)            { r.say(fmt.Sprint(args...)) }
func (r *recorder) Errorf(f string, args ...any) { r.say(fmt.Sprintf(f, args...)) }
func (r *recorder) Fatal(args ...any)            { r.Error(args...); runtime.Goexit() }
func (r *recorder) Fatalf(f string, args ...any) { r.Errorf(f, args...); runtime.Goexit() }

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

func (s unsummed) PutFrom(ctx context.Context, bucket, key string, from io.Reader, size int64, _ string) (objectstore.Object, error) {
	body := make([]byte, size)
	if _, err := io.ReadFull(from, body); err != nil {
		return objectstore.Object{}, err
	}
	return s.Put(ctx, bucket, key, body)
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

// lies is a store that can do no more than every store, and claims all.
type lies struct{ objectstore.Store }
