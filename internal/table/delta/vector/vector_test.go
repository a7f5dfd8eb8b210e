package vector

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"slices"
	"testing"

	"breakwater/internal/table/delta"
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
	bits, err := Read(t.Context(), nil, d)
	if err != nil || !slices.Equal(bits.ToArray(), []uint64{3, 4, 7, 11, 18, 29}) {
		t.Errorf("hides %v, %v", bits, err)
	}
	d.Cardinality = 7
	if _, err := Read(t.Context(), nil, d); !errors.Is(err, delta.ErrCorrupt) {
		t.Errorf("with another cardinality: %v", err)
	}
}

// A vector can be damaged and still decode to as many rows: only the checksum
// tells.
func TestVectorFraming(t *testing.T) {
	data := inline(t)
	framed := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	framed = append(framed, data...)
	framed = binary.BigEndian.AppendUint32(framed, crc32.ChecksumIEEE(data))
	if got, err := unframe(framed, int32(len(data))); err != nil || !slices.Equal(got, data) {
		t.Fatalf("%x, %v", got, err)
	}
	for _, at := range []int{3, len(framed) - 6, len(framed) - 1} { // length, last row's number, checksum
		bad := slices.Clone(framed)
		bad[at] ^= 1
		if _, err := unframe(bad, int32(len(data))); !errors.Is(err, delta.ErrCorrupt) {
			t.Errorf("byte %d damaged: %v", at, err)
		}
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
