package location_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/location"
)

// unpack writes fixtures as files.
func unpack(t testing.TB, dir string, names ...string) {
	t.Helper()
	s, err := deltatest.Load(names...)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range s.Keys("") {
		body, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, key)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, body, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	unpack(t, dir, "partition_values")
	for _, where := range []string{dir + "/delta/partition_values/", "file://" + dir + "/delta/partition_values", "file:" + dir + "/delta/partition_values"} {
		loc, err := location.Open(where, location.Options{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := delta.Open(t.Context(), loc.Store, loc.Root)
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.Point(t.Context(), table.Choice{})
		if err != nil || p.Snapshot.Version.Number != l.Head() {
			t.Errorf("%s: %+v, %v", where, p, err)
		}
		if got := loc.Root.String(); got != "file://"+dir+"/delta/partition_values" {
			t.Errorf("it is called %s", got)
		}
	}
}

// A folder is listed as a bucket would list it, also where the order of names
// and that of paths differ.
func TestFilesAreInTheOrderOfKeys(t *testing.T) {
	dir := t.TempDir()
	names := []string{"a-b", "a/x", "a/y/z", "a0", "b"}
	for _, n := range names {
		path := filepath.Join(dir, n)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(n), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	loc, err := location.Open(dir, location.Options{})
	if err != nil {
		t.Fatal(err)
	}
	list := func(prefix string) (got []string) {
		for o, err := range loc.Store.List(t.Context(), loc.Root.Prefix+"/"+prefix) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.TrimPrefix(o.Key, loc.Root.Prefix+"/"))
		}
		return got
	}
	for prefix, want := range map[string][]string{"": names, "a": names[:4], "a/": names[1:3], "a/y": {"a/y/z"}, "nothing/": nil} {
		if got := list(prefix); !slices.Equal(got, want) {
			t.Errorf("under %q: %q, want %q", prefix, got, want)
		}
	}
	p := make([]byte, 4)
	if n, err := loc.Store.ReadAt(t.Context(), loc.Root.Prefix+"/a/x", p, 1); n != 2 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d past the end: %v", n, err)
	}
}

// A clone's files are read where the map says, and nowhere else.
func TestMap(t *testing.T) {
	dir := t.TempDir()
	unpack(t, dir, "clone_shallow", "clone_source")
	moved := t.TempDir()
	if err := os.Rename(dir+"/delta/clone_source", moved+"/it"); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		maps []string
		ok   bool
	}{
		"none":        {nil, false},
		"table":       {[]string{"s3://primary-lake/delta/clone_source=" + moved + "/it"}, true},
		"s3a":         {[]string{"s3a://primary-lake/delta/clone_source/=file://" + moved + "/it/"}, true},
		"longest":     {[]string{"s3://primary-lake=/nowhere", "s3://primary-lake/delta/clone_source=" + moved + "/it"}, true},
		"half a name": {[]string{"s3://primary-lake/delta/clone=" + moved}, false},
	} {
		var o location.Options
		for _, m := range tc.maps {
			parsed, err := location.ParseMap(m)
			if err != nil {
				t.Fatal(err)
			}
			o.Maps = append(o.Maps, parsed)
		}
		loc, err := location.Open(dir+"/delta/clone_shallow", o)
		if err != nil {
			t.Fatal(err)
		}
		l, err := delta.Open(t.Context(), loc.Store, loc.Root)
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.Point(t.Context(), table.Choice{})
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, table.ErrNoneComplete) {
			t.Errorf("%s: %v", name, err)
		}
		if tc.ok && p.Snapshot.Version.Number != l.Head() {
			t.Errorf("%s: newest complete is %d", name, p.Snapshot.Version.Number)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, where := range []string{"", "s3://", "gs://b/t", "s3://b/t", "file://host/x"} {
		if _, err := location.Open(where, location.Options{}); !errors.Is(err, location.ErrBad) {
			t.Errorf("%q: %v", where, err)
		}
	}
	for _, m := range []string{"", "a", "=b", "a="} {
		if _, err := location.ParseMap(m); !errors.Is(err, location.ErrBad) {
			t.Errorf("map %q: %v", m, err)
		}
	}
	got, err := location.ParseMap("s3://a/p=1=s3://b/p=1")
	if err != nil || got.From != "s3://a/p=1" || got.To != "s3://b/p=1" {
		t.Errorf("a map of a partition: %+v, %v", got, err)
	}
}
