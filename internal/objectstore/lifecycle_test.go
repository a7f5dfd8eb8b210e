package objectstore_test

import (
	"testing"

	"breakwater/internal/objectstore"
)

func TestRemovalTouches(t *testing.T) {
	for _, tc := range []struct {
		rule, prefix string
		want         bool
	}{
		{"", "a/", true}, {"a/", "a/", true}, {"a", "a/b/", true}, {"a/b/part", "a/b/", true}, {"a/c", "a/b/", false}, {"b", "", true},
	} {
		if got := (objectstore.Removal{Prefix: tc.rule}).Touches(tc.prefix); got != tc.want {
			t.Errorf("a rule for %q touches %q: %v, want %v", tc.rule, tc.prefix, got, tc.want)
		}
	}
}
