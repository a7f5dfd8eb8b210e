// Package madeup is an object store whose listing follows from a formula, for tests of
// what is too large to be stored: it takes no memory, and answers as slowly as it is told.
package madeup

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/poll"
)

// Keys are a number of keys: the key of each number, in the order of their bytes.
type Keys struct {
	N   int64
	Key func(i int64) string
}

// At is how many keys are not after a text.
func (k Keys) At(after string) int64 {
	return int64(sort.Search(int(k.N), func(i int) bool { return k.Key(int64(i)) > after }))
}

// Store lists made-up keys, of a version each. All that is not about listings it leaves to
// a store within, which may be missing.
type Store struct {
	objectstore.Store
	Keys
	// Latency is what a request takes. In a bubble of testing/synctest it takes no time.
	Latency time.Duration
	// Fail is asked before each page of the load, and its error comes in place of it; it
	// may be missing.
	Fail func(page int64) error

	// Load is counted, together with that of other stores which have the same; it may be
	// missing.
	Load *Load
}

// Load is what stores were asked.
type Load struct {
	// Pages are the requests of which the answer had more than one key; Few all others.
	Pages, Few atomic.Int64
	// AtMost is how many were under way at once.
	AtMost   atomic.Int64
	underWay atomic.Int64
}

// Endpoint is that of [objectstore.Store].
func (s *Store) Endpoint() string { return "made up" }

// ListVersions is that of [objectstore.Versions].
func (s *Store) ListVersions(ctx context.Context, bucket, prefix string) iter.Seq2[objectstore.Version, error] {
	return s.ListSpan(ctx, bucket, objectstore.Span{Prefix: prefix})
}

// ListSpan is that of [objectstore.Versions].
func (s *Store) ListSpan(ctx context.Context, _ string, of objectstore.Span) iter.Seq2[objectstore.Version, error] {
	return func(yield func(objectstore.Version, error) bool) {
		size := int64(of.Page)
		if size <= 0 {
			size = 1000
		}
		i := s.At(of.After)
		if of.Prefix > of.After {
			for i < s.N && s.Key(i) < of.Prefix {
				i = s.At(of.Prefix)
				if i > 0 && s.Key(i-1) == of.Prefix {
					i--
				}
			}
		}
		for more := true; more; {
			end := min(i+size, s.N)
			if err := s.request(ctx, size, end-i); err != nil {
				yield(objectstore.Version{}, fmt.Errorf("list versions of made-up keys: %w", err))
				return
			}
			more = end < s.N
			for ; i < end; i++ {
				key := s.Key(i)
				if !strings.HasPrefix(key, of.Prefix) {
					return
				}
				if !yield(Version(key), nil) {
					return
				}
			}
		}
	}
}

// Version is the one version of a key.
func Version(key string) objectstore.Version {
	return objectstore.Version{Latest: true, Object: objectstore.Object{
		Key: key, Size: 1, ETag: "e", VersionID: "v", LastModified: time.Unix(0, 0),
	}}
}

func (s *Store) request(ctx context.Context, size, n int64) error {
	page := int64(0)
	if l := s.Load; l != nil {
		now := l.underWay.Add(1)
		defer l.underWay.Add(-1)
		for at := l.AtMost.Load(); now > at && !l.AtMost.CompareAndSwap(at, now); {
			at = l.AtMost.Load()
		}
		if size > 1 && n > 1 {
			page = l.Pages.Add(1)
		} else {
			l.Few.Add(1)
		}
	}
	if s.Latency > 0 {
		if err := poll.Wait(ctx, s.Latency); err != nil {
			return err
		}
	}
	if s.Fail != nil && page > 0 {
		return s.Fail(page)
	}
	return ctx.Err()
}

// HeadVersion is that of [objectstore.Versions].
func (s *Store) HeadVersion(_ context.Context, _, key, _ string) (objectstore.Object, error) {
	if i := s.At(key); i == 0 || s.Key(i-1) != key {
		return objectstore.Object{}, fs.ErrNotExist
	}
	return Version(key).Object, nil
}

// Shapes are ways in which keys lie, of about n keys each, by what they are like.
func Shapes(n int64) map[string]Keys {
	padded := func(b []byte, i int64, digits int) []byte {
		for limit := int64(10); digits > 1; digits, limit = digits-1, limit*10 {
			if i >= limit {
				continue
			}
			b = append(b, '0')
		}
		return strconv.AppendInt(b, i, 10)
	}
	file := func(b []byte, i int64) string {
		b = append(b, "part-"...)
		b = padded(b, i, 9)
		b = append(b, '-')
		b = strconv.AppendUint(b, uint64(i)*0x9e3779b97f4a7c15, 16)
		return string(append(b, ".snappy.parquet"...))
	}
	start := func(s string) []byte { return append(make([]byte, 0, 96), s...) }
	const days = 1000
	// One partition has half of all, the others the same of the rest.
	skewed := func(i int64) (day, in int64) {
		const large = 700
		each := n / 2 / days
		before := large * each
		switch {
		case i < before:
			return i / each, i % each
		case i < before+n/2:
			return large, i - before
		}
		i -= before + n/2
		return large + 1 + i/each, i % each
	}
	return map[string]Keys{
		"one flat folder": {n, func(i int64) string { return file(start("lake/orders/"), i) }},
		"partitions": {n, func(i int64) string {
			b := padded(start("lake/orders/date=2024-"), i*days/n, 4)
			return file(append(b, '/'), i)
		}},
		"a partition with half": {n, func(i int64) string {
			day, in := skewed(i)
			return file(append(padded(start("lake/orders/date=2024-"), day, 4), '/'), in)
		}},
		"random prefixes": {n, func(i int64) string {
			b := start("lake/")
			h := strconv.FormatInt(i*65536/n+65536, 16)
			return file(append(append(b, h[1:]...), "/orders/"...), i)
		}},
		"tables of all sizes": {n, func(i int64) string { // each has half of what is left
			left, t := n, int64(0)
			for left > 1 && i >= left/2 {
				i, left, t = i-left/2, left-left/2, t+1
			}
			return file(append(padded(start("lake/table-"), t, 2), '/'), i)
		}},
	}
}
