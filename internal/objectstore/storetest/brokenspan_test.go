package storetest

import (
	"context"
	"iter"
	"slices"
	"strings"
	"unicode/utf16"

	"breakwater/internal/objectstore"
)

// begins takes the key that is to be passed over for the first.
type begins struct{ right }

func (s begins) ListSpan(ctx context.Context, bucket string, of objectstore.Span) iter.Seq2[objectstore.Version, error] {
	return s.of(ctx, bucket, of, func(v objectstore.Version) bool { return v.Key >= of.After })
}

// of yields what a listing of all shows, and keep takes.
func (s right) of(ctx context.Context, bucket string, of objectstore.Span, keep func(objectstore.Version) bool) iter.Seq2[objectstore.Version, error] {
	return func(yield func(objectstore.Version, error) bool) {
		for v, err := range s.ListVersions(ctx, bucket, of.Prefix) {
			if (err != nil || keep(v)) && !yield(v, err) {
				return
			}
		}
	}
}

// cuts goes on after a page with the next key, whatever of the last one is left.
type cuts struct{ right }

func (s cuts) ListSpan(ctx context.Context, bucket string, of objectstore.Span) iter.Seq2[objectstore.Version, error] {
	n, last := 0, ""
	return s.of(ctx, bucket, of, func(v objectstore.Version) bool {
		if v.Key <= of.After || of.Page > 0 && n > 0 && n%of.Page == 0 && v.Key == last {
			return false
		}
		n, last = n+1, v.Key
		return true
	})
}

// wide orders keys by UTF-16, as a store does that is written in Java.
type wide struct{ right }

func (s wide) ListSpan(ctx context.Context, bucket string, of objectstore.Span) iter.Seq2[objectstore.Version, error] {
	after := utf16.Encode([]rune(of.After))
	return s.of(ctx, bucket, of, func(v objectstore.Version) bool {
		return slices.Compare(utf16.Encode([]rune(v.Key)), after) > 0
	})
}

// folders passes over what lies in the folder that it is to come after.
type folders struct{ right }

func (s folders) ListSpan(ctx context.Context, bucket string, of objectstore.Span) iter.Seq2[objectstore.Version, error] {
	return s.of(ctx, bucket, of, func(v objectstore.Version) bool {
		return v.Key > of.After && (!strings.HasSuffix(of.After, "a/") || !strings.HasPrefix(v.Key, of.After))
	})
}
