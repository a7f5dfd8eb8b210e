package delta

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/table"
)

var fuzzRoot = folder{Root: table.Root{Bucket: "lake", Prefix: "t"}}

func FuzzParseActions(f *testing.F) {
	f.Add([]byte(`{"commitInfo":{"timestamp":1,"operation":"WRITE"}}` + "\n" + `{"add":{"path":"p=a%20b/f","size":3,"dataChange":true,"stats":"{\"numRecords\":2}"}}`))
	f.Add([]byte(`{"remove":{"path":"s3://other/f","deletionVector":{"storageType":"u","pathOrInlineDv":"ab^-aqEH.-t@S}K{vb[*k^","offset":4,"sizeInBytes":40,"cardinality":6}}}`))
	f.Add([]byte(`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"]}}` + "\n" + `{"metaData":{"id":"x"}}`))
	f.Add([]byte(`{"add":{"path":"f","size":-1}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		acts, err := parseActions(fuzzRoot, "k", body)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("not called corrupt: %v", err)
			}
			return
		}
		seen := map[fileID]bool{}
		for _, a := range acts.adds {
			if seen[a.id()] || a.Size < 0 || a.Records < -1 || a.Rows() < -1 || a.at.key == "" {
				t.Errorf("accepted %+v", a)
			}
			seen[a.id()] = true
			for _, n := range a.needs() {
				if n.Size < 0 || n.Key == "" {
					t.Errorf("needs %+v", n)
				}
			}
		}
	})
}

func FuzzResolve(f *testing.F) {
	for _, p := range []string{"f", "p=a%2520b/f", "s3://lake/t/f", "s3a://other/x%20y", "../f", "a/%2e%2e/f", "/f", "%", "gs://b/k", "file:/x", "a:b"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		at, err := fuzzRoot.resolve(path)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("not called corrupt: %v", err)
			}
			return
		}
		if at.key == "" || slices.Contains(strings.Split(at.key, "/"), "..") {
			t.Errorf("%q leads to %+v", path, at)
		}
		_, _, absolute := cutScheme(path)
		if plain := fuzzRoot.Prefix + "/" + path; isPlain(path) && at != (place{key: plain}) {
			t.Errorf("%q is taken for plain, and leads to %+v", path, at)
		}
		if at.bucket == "" && !absolute && !strings.HasPrefix(at.key, "t/") {
			t.Errorf("relative %q leaves the table: %+v", path, at)
		}
	})
}

func FuzzDeletionVector(f *testing.F) {
	f.Add("u", "ab^-aqEH.-t@S}K{vb[*k^", int32(4), int32(40))
	f.Add("i", "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L", int32(0), int32(44))
	f.Add("p", "s3://lake/t/deletion_vector.bin", int32(1), int32(34))
	f.Fuzz(func(t *testing.T, kind, path string, offset, size int32) {
		d := &DeletionVector{StorageType: kind, PathOrInlineDv: path, Offset: &offset, SizeInBytes: size}
		if err := d.locate(fuzzRoot); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("not called corrupt: %v", err)
			}
			return
		}
		bucket, key := d.File()
		if (key == "") != (kind == "i") || kind == "u" && (bucket != "" || !strings.HasPrefix(key, "t/") || !strings.HasSuffix(key, ".bin")) || d.end() < 0 {
			t.Errorf("%+v leads to %q %q", d, bucket, key)
		}
	})
}

func FuzzParseHint(f *testing.F) {
	f.Add([]byte(`{"version":4,"size":3}`))
	f.Add([]byte(`{"version":4,"size":3,"parts":2,"v2Checkpoint":{}}`))
	f.Add([]byte(`{"version":-1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if h, err := ParseHint(body); err == nil && (h.Version < 0 || h.Parts < 0) || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%+v, %v", h, err)
		}
	})
}

// Descriptors as the protocol and its kernel give them for examples.
func TestProtocolExamples(t *testing.T) {
	off := int32(4)
	u := &DeletionVector{StorageType: "u", PathOrInlineDv: "ab^-aqEH.-t@S}K{vb[*k^", Offset: &off, SizeInBytes: 40, Cardinality: 6}
	if err := u.locate(fuzzRoot); err != nil || u.at.key != "t/ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin" || u.end() != 52 {
		t.Errorf("%+v, %v", u.at, err)
	}
	i := &DeletionVector{StorageType: "i", PathOrInlineDv: "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L", SizeInBytes: 44, Cardinality: 6}
	if raw, err := i.Inline(); err != nil || len(raw) != 44 || fmt.Sprintf("%x", raw[:4]) != "d1d33964" {
		t.Errorf("%x, %v", raw, err)
	}
	if u.ID() != "uab^-aqEH.-t@S}K{vb[*k^@4" || i.ID() != "i"+i.PathOrInlineDv || (*DeletionVector)(nil).ID() != "" {
		t.Errorf("ids %q, %q", u.ID(), i.ID())
	}
}
