package scan

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// The kinds begin each encoded value. Integers of all widths are one kind, and so
// are floats and doubles: widening a column does not change what it holds.
// Journals of witnesses hold digests, so what is here stays as it is.
const (
	null         = 0
	boolean      = 'b'
	integer      = 'i'
	float        = 'f'
	text         = 's' // string and binary
	date         = 'D' // days since 1970-01-01
	timestamp    = 't' // microseconds since 1970-01-01 UTC
	timestampNTZ = 'n' // microseconds without time zone
	decimal      = 'd' // scale, and unscaled digits
	list         = 'l'
	mapping      = 'm'
	record       = 'S'
)

// encoder appends the canonical encoding of an array's n-th value: its kind, then
// eight bytes, or a length and bytes, or a count and values.
type encoder func(b []byte, n int) []byte

// values is the encoder of an array.
func values(a arrow.Array) (encoder, error) {
	e, err := nonNull(a)
	if err != nil || a.NullN() == 0 {
		return e, err
	}
	return func(b []byte, n int) []byte {
		if a.IsNull(n) {
			return append(b, null)
		}
		return e(b, n)
	}, nil
}

func nonNull(a arrow.Array) (encoder, error) {
	switch a := a.(type) {
	case *array.Boolean:
		return func(b []byte, n int) []byte {
			if a.Value(n) {
				return fixed(b, boolean, 1)
			}
			return fixed(b, boolean, 0)
		}, nil
	case *array.Int8:
		return func(b []byte, n int) []byte { return fixed(b, integer, int64(a.Value(n))) }, nil
	case *array.Int16:
		return func(b []byte, n int) []byte { return fixed(b, integer, int64(a.Value(n))) }, nil
	case *array.Int32:
		return func(b []byte, n int) []byte { return fixed(b, integer, int64(a.Value(n))) }, nil
	case *array.Int64:
		return func(b []byte, n int) []byte { return fixed(b, integer, a.Value(n)) }, nil
	case *array.Float32:
		return func(b []byte, n int) []byte { return double(b, float64(a.Value(n))) }, nil
	case *array.Float64:
		return func(b []byte, n int) []byte { return double(b, a.Value(n)) }, nil
	case *array.String:
		return func(b []byte, n int) []byte { return sized(b, text, a.Value(n)) }, nil
	case *array.Binary:
		return func(b []byte, n int) []byte { return sized(b, text, a.Value(n)) }, nil
	case *array.Date32:
		return func(b []byte, n int) []byte { return fixed(b, date, int64(a.Value(n))) }, nil
	case *array.Timestamp:
		kind := byte(timestamp)
		if a.DataType().(*arrow.TimestampType).TimeZone == "" { //nolint:errcheck // it is that array's
			kind = timestampNTZ
		}
		return func(b []byte, n int) []byte { return fixed(b, kind, int64(a.Value(n))) }, nil
	case *array.Decimal128:
		scale := int64(a.DataType().(*arrow.Decimal128Type).Scale) //nolint:errcheck // it is that array's
		return func(b []byte, n int) []byte {
			b = fixed(b, decimal, scale)
			return digits(b, a.Value(n).BigInt())
		}, nil
	}
	return nested(a)
}

// nested encodes arrays of arrays. A map keeps its order, as engines do.
func nested(a arrow.Array) (encoder, error) {
	switch a := a.(type) {
	case *array.Struct:
		fields := a.DataType().(*arrow.StructType).Fields() //nolint:errcheck // it is that array's
		parts := make([]encoder, len(fields))
		for i := range fields {
			var err error
			if parts[i], err = values(a.Field(i)); err != nil {
				return nil, err
			}
		}
		return func(b []byte, n int) []byte {
			b = binary.AppendUvarint(append(b, record), uint64(len(fields)))
			for i, f := range fields {
				b = append(binary.AppendUvarint(b, uint64(len(f.Name))), f.Name...)
				b = parts[i](b, n)
			}
			return b
		}, nil
	case *array.Map: // before the list that it is too
		key, err := values(a.Keys())
		if err != nil {
			return nil, err
		}
		value, err := values(a.Items())
		if err != nil {
			return nil, err
		}
		return func(b []byte, n int) []byte {
			from, to := a.ValueOffsets(n)
			b = binary.AppendUvarint(append(b, mapping), uint64(to-from))
			for i := from; i < to; i++ {
				b = value(key(b, int(i)), int(i))
			}
			return b
		}, nil
	case *array.List:
		element, err := values(a.ListValues())
		if err != nil {
			return nil, err
		}
		return func(b []byte, n int) []byte {
			from, to := a.ValueOffsets(n)
			b = binary.AppendUvarint(append(b, list), uint64(to-from))
			for i := from; i < to; i++ {
				b = element(b, int(i))
			}
			return b
		}, nil
	}
	return nil, fmt.Errorf("values of type %s have no canonical encoding", a.DataType())
}

func fixed(b []byte, kind byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, kind), uint64(v))
}

func double(b []byte, v float64) []byte {
	bits := math.Float64bits(v)
	if v != v {
		bits = 0x7ff8000000000000 // one NaN stands for all
	}
	return binary.BigEndian.AppendUint64(append(b, float), bits)
}

func sized[T string | []byte](b []byte, kind byte, v T) []byte {
	return append(binary.AppendUvarint(append(b, kind), uint64(len(v))), v...)
}

// digits appends a number's digits behind their count.
func digits(b []byte, v *big.Int) []byte {
	ds := v.Append(nil, 10)
	return append(binary.AppendUvarint(b, uint64(len(ds))), ds...)
}
