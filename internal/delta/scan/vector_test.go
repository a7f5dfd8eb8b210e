package scan

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"breakwater/internal/delta"
)

func inline(t testing.TB) []byte {
	t.Helper()
	d := delta.DeletionVector{StorageType: "i", PathOrInlineDv: "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L", SizeInBytes: 44, Cardinality: 6}
	raw, err := d.Inline()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestInlineVector(t *testing.T) {
	d := &delta.DeletionVector{StorageType: "i", PathOrInlineDv: "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L", SizeInBytes: 44, Cardinality: 6}
	bits, err := vector(t.Context(), nil, d)
	if err != nil || !slices.Equal(bits.ToArray(), []uint64{3, 4, 7, 11, 18, 29}) {
		t.Errorf("hides %v, %v", bits, err)
	}
	d.Cardinality = 7
	if _, err := vector(t.Context(), nil, d); !errors.Is(err, delta.ErrCorrupt) {
		t.Errorf("with another cardinality: %v", err)
	}
}

func FuzzDecodeVector(f *testing.F) {
	f.Add(inline(f))
	empty, err := hex.DecodeString("d1d339640000000000000000")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(empty)
	f.Fuzz(func(t *testing.T, data []byte) {
		bits, err := decodeVector(data)
		if (bits == nil) == (err == nil) || err != nil && !errors.Is(err, delta.ErrCorrupt) {
			t.Errorf("%v, %v", bits, err)
		}
		if err == nil && bits.GetCardinality() > 0 {
			bits.Contains(bits.Maximum())
		}
	})
}
