// Package vector reads the deletion vectors of live files: which rows of a data
// file are deleted.
package vector

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"breakwater/internal/plural"
	"breakwater/internal/reach"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
)

// ErrElsewhere says that an object lies in a bucket that the store does not
// serve.
var ErrElsewhere = errors.New("lies in another bucket")

// vectorMagic begins a serialised deletion vector in the portable format, the
// only one the protocol names.
const vectorMagic = 1681511377

// maxVector bounds what a descriptor alone can make us allocate.
const maxVector = 1 << 30

// Read reads the deletion vector of a live file: nil without one. Its size,
// checksum and cardinality must be as recorded, or it is [delta.ErrCorrupt]. Bits
// are the numbers of the rows that it hides, from 0.
func Read(ctx context.Context, store table.Store, d *delta.DeletionVector) (*roaring64.Bitmap, error) {
	if d == nil {
		return nil, nil
	}
	bucket, key := d.File()
	fail := func(err error) (*roaring64.Bitmap, error) {
		return nil, fmt.Errorf("deletion vector %s in %s: %w", d.ID(), key, err)
	}
	var data []byte
	switch {
	case bucket != "":
		return fail(fmt.Errorf("%w: %s", ErrElsewhere, bucket))
	case key == "":
		inline, err := d.Inline()
		if err != nil {
			return fail(err)
		}
		data = inline
	case d.SizeInBytes > maxVector:
		return fail(fmt.Errorf("%w: %s", delta.ErrCorrupt, plural.Of(d.SizeInBytes, "byte")))
	default:
		var off int64
		if d.Offset != nil {
			off = int64(*d.Offset)
		}
		framed := make([]byte, 4+int(d.SizeInBytes)+4)
		n, err := store.ReadAt(ctx, key, framed, off)
		if err != nil && n < len(framed) {
			return fail(reach.Mark(err))
		}
		if data, err = unframe(framed, d.SizeInBytes); err != nil {
			return fail(err)
		}
	}
	bits, err := decodeVector(data)
	if err != nil {
		return fail(err)
	}
	if n := bits.GetCardinality(); n != uint64(d.Cardinality) {
		return fail(fmt.Errorf("%w: hides %s, recorded %d", delta.ErrCorrupt, plural.Of(n, "row"), d.Cardinality))
	}
	return bits, nil
}

// unframe checks the length before and the CRC-32 after a vector in a file.
func unframe(framed []byte, size int32) ([]byte, error) {
	data := framed[4 : 4+size]
	if n := binary.BigEndian.Uint32(framed); n != uint32(size) {
		return nil, fmt.Errorf("%w: %s in its file, recorded %d", delta.ErrCorrupt, plural.Of(n, "byte"), size)
	}
	if want, got := binary.BigEndian.Uint32(framed[4+size:]), crc32.ChecksumIEEE(data); want != got {
		return nil, fmt.Errorf("%w: checksum %08x, recorded %08x", delta.ErrCorrupt, got, want)
	}
	return data, nil
}

// decodeVector reads the protocol's RoaringBitmapArray: a magic number, then
// 64-bit Roaring in its portable format. The library panics on some hostile
// input, which is an error here.
func decodeVector(data []byte) (bits *roaring64.Bitmap, err error) {
	defer func() {
		if p := recover(); p != nil {
			bits, err = nil, fmt.Errorf("%w: deletion vector: %v", delta.ErrCorrupt, p)
		}
	}()
	if len(data) < 4 || binary.LittleEndian.Uint32(data) != vectorMagic {
		return nil, fmt.Errorf("%w: not a deletion vector in the portable format", delta.ErrCorrupt)
	}
	r := bytes.NewReader(data[4:])
	bits = roaring64.New()
	if _, err := bits.ReadPortableFrom(r); err != nil {
		return nil, fmt.Errorf("%w: deletion vector: %w", delta.ErrCorrupt, err)
	}
	if r.Len() > 0 {
		return nil, fmt.Errorf("%w: %s after the deletion vector", delta.ErrCorrupt, plural.Of(r.Len(), "byte"))
	}
	return bits, nil
}
