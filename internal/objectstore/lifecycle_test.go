package objectstore_test

import (
	"testing"
	"time"

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

func TestRemovalForgets(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	week := objectstore.Days(7)
	for _, tc := range []struct {
		rule objectstore.Removal
		ago  time.Duration
		want bool
	}{
		{objectstore.Removal{What: objectstore.RemovesOldVersions, After: week}, week - time.Second, false},
		{objectstore.Removal{What: objectstore.RemovesOldVersions, After: week}, week, true},
		{objectstore.Removal{What: objectstore.RemovesOldVersions, Keep: 3}, time.Second, true}, // whatever their age
		{objectstore.Removal{What: objectstore.RemovesDeleted, After: week}, week - time.Second, false},
		{objectstore.Removal{What: objectstore.RemovesDeleted, After: week}, week, true},
		{objectstore.Removal{What: objectstore.RemovesEverything, After: week}, time.Second, true},
		{objectstore.Removal{What: objectstore.RemovesObjects}, week, false}, // it leaves a delete marker
		{objectstore.Removal{What: objectstore.RemovesBareMarkers}, week, false},
	} {
		if got := tc.rule.Forgets(now.Add(-tc.ago), now); got != tc.want {
			t.Errorf("%s, %s ago: %v, want %v", tc.rule, tc.ago, got, tc.want)
		}
	}
}
