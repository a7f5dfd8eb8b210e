package storetest

import (
	"slices"
	"strings"
	"testing"

	"breakwater/internal/objectstore"
)

// spanned are keys in the order of their bytes, which is neither that of a folder's
// names, where a slash comes before all, nor that of UTF-16, where what begins with a
// surrogate comes before U+FFEE. None is a folder of another: MinIO hides what lies
// below an object.
var spanned = []string{
	"a!", "a-b", "a.b", "a/", "a/b", "a/bb/", "a/bb/c", "a/bc", "a0", "a b/é", "b+c", "b=1/x", "b=1/x%2F", "b=10/x", "c&<\"'>", "k/0001", "k/0002", "k0",
	"z", "~", "é", "日本", "\uffee/x", "\uffef", "\U0001f600", "\U0001f601/x",
}

// testSpan lists from every key on, and from between them, in pages of all sizes: what
// comes after is all there, and nothing of what lies before.
func testSpan(t testing.TB, target Target, b objectstore.Bucket, p string) {
	keys := slices.Sorted(slices.Values(spanned))
	type entry struct {
		key, id string
		marker  bool
	}
	var all []entry
	for i, k := range keys {
		var of []entry
		folder := strings.HasSuffix(k, "/") // a store may keep no versions of it
		for n := range 1 + i%3 {
			if folder && n > 0 {
				break
			}
			o := put(t, b, p+k, k)
			if folder {
				o.VersionID = ""
			}
			of = append(of, entry{p + k, o.VersionID, false})
		}
		if target.Store.Traits().DeleteMarkers && i%4 == 1 && !folder {
			marker, err := b.Delete(t.Context(), p+k)
			ok(t, "delete", err)
			of = append(of, entry{p + k, marker, true})
		}
		if !target.Store.Traits().Versions {
			of = of[len(of)-1:]
		}
		slices.Reverse(of)
		all = append(all, of...)
	}
	from := []string{"", p}
	for _, k := range keys {
		from = append(from, p+k, p+k+"\U0010ffff")
	}
	for n, after := range from {
		for _, prefix := range []string{p, p + "a/", p + "k"}[:1+2*(n%2)] {
			var want, got []entry
			for _, e := range all {
				if e.key > after && strings.HasPrefix(e.key, prefix) {
					want = append(want, e)
				}
			}
			size := []int{0, 1, 2, 3, 7}[n%5]
			for v, err := range b.ListSpan(t.Context(), objectstore.Span{Prefix: prefix, After: after, Page: size}) {
				ok(t, "list a span", err)
				if strings.HasSuffix(v.Key, "/") {
					v.VersionID = ""
				}
				got = append(got, entry{v.Key, v.VersionID, v.DeleteMarker})
			}
			if !slices.Equal(got, want) {
				keys := func(all []entry) (s []string) {
					for _, e := range all {
						s = append(s, strings.TrimPrefix(e.key, p))
					}
					return s
				}
				t.Errorf("ListSpan(%q after %q, %d at a time) = %q, want %q", strings.TrimPrefix(prefix, p), strings.TrimPrefix(after, p), size, keys(got), keys(want))
			}
		}
	}
}
