package listing

import (
	"context"
	"iter"

	"breakwater/internal/objectstore"
)

// page is how many versions are taken out of a listing at a time: as many as a store
// gives in one answer.
const page = 1000

// bucket is the listing of one bucket, and what was read of it ahead.
type bucket struct {
	objectstore.Bucket
	number int
	next   func() ([]objectstore.Version, error, bool)
	close  func()
	ahead  []objectstore.Version // in the end of buffer
	buffer []objectstore.Version
	last   string // the key that was read last
	ended  bool
}

func open(ctx context.Context, b objectstore.Bucket, number int, of objectstore.Span) *bucket {
	s := &bucket{Bucket: b, number: number, last: of.After}
	s.next, s.close = iter.Pull2(pages(b.ListSpan(ctx, of)))
	return s
}

// pages is a listing in slices, which are used again: to change between two coroutines
// for each version would take longer than all else.
func pages(listing iter.Seq2[objectstore.Version, error]) iter.Seq2[[]objectstore.Version, error] {
	return func(yield func([]objectstore.Version, error) bool) {
		all := make([]objectstore.Version, 0, page)
		for v, err := range listing {
			if err != nil {
				if len(all) > 0 && !yield(all, nil) {
					return
				}
				yield(nil, err)
				return
			}
			if all = append(all, v); len(all) == page {
				if !yield(all, nil) {
					return
				}
				all = all[:0]
			}
		}
		if len(all) > 0 {
			yield(all, nil)
		}
	}
}

// more reads a page. What [take] has given before is gone then.
func (s *bucket) more() error {
	got, err, ok := s.next()
	switch {
	case !ok:
		s.ended = true
		return nil
	case err != nil:
		return err
	}
	s.buffer = append(s.buffer[:copy(s.buffer, s.ahead)], got...)
	s.ahead = s.buffer
	for i, v := range got {
		// The versions of a key come together, and only the first of them can be out of
		// order. What was asked for begins after a key.
		if v.Key < s.last || i == 0 && v.Key == s.last && len(s.ahead) == len(got) {
			return disorder(s.Bucket, s.last, v.Key)
		}
		s.last = v.Key
	}
	return nil
}

// head is how many versions the next key has in each bucket.
type head [2]int

// next is the next key up to one, or which bucket has to be asked before it can be told.
func next(all []*bucket, until string) (h head, asks *bucket) {
	first := ""
	for i, s := range all {
		if len(s.ahead) == 0 {
			if !s.ended && (until == "" || s.last <= until) {
				return head{}, s
			}
			continue
		}
		key := s.ahead[0].Key
		if until != "" && key > until || first != "" && key > first {
			continue
		}
		n := 1
		for n < len(s.ahead) && s.ahead[n].Key == key {
			n++
		}
		if n == len(s.ahead) && !s.ended {
			return head{}, s // there may be more versions of it
		}
		if first == "" || key < first {
			first, h = key, head{}
		}
		h[i] = n
	}
	return h, nil
}

// take takes a key off the buckets.
func take(all []*bucket, h head) (k Key) {
	for i, s := range all {
		if h[i] > 0 {
			k[i], s.ahead = s.ahead[:h[i]:h[i]], s.ahead[h[i]:]
		}
	}
	return k
}
