package batch_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"breakwater/internal/objectstore/batch"
)

func object(bucket, key, version string) batch.Object {
	return batch.Object{Line: batch.Line{Bucket: bucket, Key: key, VersionID: version}}
}

// roundTrip writes and reads a manifest of one object.
func roundTrip(o batch.Object) (text string, back []batch.Line, err error) {
	var buf bytes.Buffer
	if _, err := batch.WriteManifest(&buf, slices.Values([]batch.Object{o})); err != nil {
		return "", nil, err
	}
	text = buf.String()
	for l, err := range batch.ReadManifest(&buf) {
		if err != nil {
			return text, nil, err
		}
		back = append(back, l)
	}
	return text, back, nil
}

func TestManifestIsWrittenAsDocumented(t *testing.T) {
	text, _, err := roundTrip(object("lake", `p=a b+c%,"ü"/0~.parquet`, "3HL4kqtJ.v_-x"))
	if want := "lake,p%3Da%20b%2Bc%25%2C%22%C3%BC%22/0~.parquet,3HL4kqtJ.v_-x\n"; err != nil || text != want {
		t.Errorf("manifest = %q, %v; want %q", text, err, want)
	}
}

func TestManifestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) batch.Object {
			return object(
				rapid.SampledFrom([]string{"lake", "lake-2", "a.b"}).Draw(rt, "bucket"),
				string(rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(rt, "key")),
				rapid.StringMatching(`v[A-Za-z0-9._-]{1,20}`).Draw(rt, "version"))
		}), 1, 20).Draw(rt, "objects")
		slices.SortFunc(all, func(a, b batch.Object) int {
			return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Key, b.Key))
		})
		all = slices.CompactFunc(all, func(a, b batch.Object) bool { return a.Bucket == b.Bucket && a.Key == b.Key })
		var buf bytes.Buffer
		n, err := batch.WriteManifest(&buf, slices.Values(all))
		if err != nil || n != int64(len(all)) || n != int64(strings.Count(buf.String(), "\n")) {
			rt.Fatalf("wrote %d of %d lines: %v", n, len(all), err)
		}
		var i int
		for l, err := range batch.ReadManifest(&buf) {
			if err != nil || i >= len(all) || l != all[i].Line {
				rt.Fatalf("line %d = %q, %v", i, l, err)
			}
			i++
		}
		if i != len(all) {
			rt.Fatalf("read %d of %d lines", i, len(all))
		}
	})
}

func FuzzManifestKey(f *testing.F) {
	for _, key := range []string{"a", "a b+c", "%2F", "\r\n", `"`, "\xff", "../x", "a,b"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if key == "" {
			return
		}
		o := object("lake", key, "v1")
		if _, back, err := roundTrip(o); err != nil || !slices.Equal(back, []batch.Line{o.Line}) {
			t.Errorf("key %q came back as %q, %v", key, back, err)
		}
	})
}

func FuzzReadManifest(f *testing.F) {
	f.Add("lake,a%20b,v1\n")
	f.Add("lake,\"a\nb\",v1\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		for l, err := range batch.ReadManifest(strings.NewReader(text)) {
			if err != nil {
				return
			}
			if _, back, err := roundTrip(batch.Object{Line: l}); err != nil || !slices.Equal(back, []batch.Line{l}) {
				t.Errorf("%q was read and comes back as %q, %v", l, back, err)
			}
		}
	})
}

func TestManifestRefuses(t *testing.T) {
	ok := object("lake", "m", "v1")
	for name, tc := range map[string]struct {
		objects []batch.Object
		want    string
	}{
		"no version":     {[]batch.Object{object("lake", "k", "")}, "s3://lake/k has no version of its own"},
		"null version":   {[]batch.Object{object("lake", "k", "null")}, "s3://lake/k has no version of its own"},
		"broken version": {[]batch.Object{object("lake", "k", "a,b")}, "is no version"},
		"no key":         {[]batch.Object{object("lake", "", "v1")}, "without a key"},
		"no bucket":      {[]batch.Object{object("", "k", "v1")}, "no bucket's name"},
		"a key twice":    {[]batch.Object{ok, object("lake", "m", "v2")}, "name each key once"},
		"out of order":   {[]batch.Object{ok, object("lake", "b", "v2")}, "sort by bucket and key"},
	} {
		t.Run(name, func(t *testing.T) {
			var buf bytes.Buffer
			if _, err := batch.WriteManifest(&buf, slices.Values(tc.objects)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("WriteManifest: %v; want %q", err, tc.want)
			}
		})
	}
}

func TestManifestRefusesLargeObjectsByName(t *testing.T) {
	var all []batch.Object
	for i := range 10 {
		o := object("lake", fmt.Sprintf("k%d", i), "v1")
		o.Size = batch.Largest + int64(i%2)
		all = append(all, o)
	}
	var buf bytes.Buffer
	_, err := batch.WriteManifest(&buf, slices.Values(all[:1]))
	if err != nil {
		t.Errorf("an object of the largest size: %v", err)
	}
	_, err = batch.WriteManifest(&buf, slices.Values(all))
	if !errors.Is(err, batch.ErrTooLarge) {
		t.Fatalf("WriteManifest: %v; want ErrTooLarge", err)
	}
	for _, want := range []string{"5 objects", "s3://lake/k1 version v1 (5000000001 bytes)", "s3://lake/k9"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want it to say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "k0 ") {
		t.Errorf("%v; names an object that is not too large", err)
	}
}

func TestFits(t *testing.T) {
	large, long := object("lake", "k", "v1"), object("lake", strings.Repeat("k", 1000), "v1")
	large.Size = batch.Largest + 1
	for name, tc := range map[string]struct {
		object batch.Object
		below  int
		want   bool
	}{
		"an object":           {object("lake", "k", "v1"), 100, true},
		"of the largest size": {func() batch.Object { o := large; o.Size--; return o }(), 100, true},
		"too large":           {large, 100, false},
		"without a version":   {object("lake", "k", "null"), 100, false},
		"of the longest key":  {long, 24, true},
		"of too long a key":   {long, 25, false},
	} {
		if got := tc.object.Fits(tc.below); got != tc.want {
			t.Errorf("%s: Fits = %v", name, got)
		}
	}
}
