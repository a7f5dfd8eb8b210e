package scan

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"breakwater/internal/delta"
)

// Kind is what a value is. Integers of all widths are one kind, and so are
// floats and doubles: widening a column does not change what it holds.
type Kind byte

// The kinds. Null is the zero value.
const (
	Null         Kind = 0
	Bool         Kind = 'b'
	Int          Kind = 'i'
	Float        Kind = 'f'
	Bytes        Kind = 's' // string and binary
	Date         Kind = 'D' // days since 1970-01-01
	Timestamp    Kind = 't' // microseconds since 1970-01-01 UTC
	TimestampNTZ Kind = 'n' // microseconds without time zone
	Decimal      Kind = 'd' // unscaled digits in Bytes, scale in Int
)

// Value is one value of a row. Bytes is valid until the next row.
type Value struct {
	Kind  Kind
	Int   int64
	Float float64
	Bytes []byte
}

// append adds the value's canonical encoding: its kind, then eight bytes or a
// length and bytes. It is the same for every file layout and engine.
func (v Value) append(b []byte) []byte {
	b = append(b, byte(v.Kind))
	switch v.Kind {
	case Null:
	case Float:
		bits := math.Float64bits(v.Float)
		if v.Float != v.Float {
			bits = 0x7ff8000000000000 // one NaN stands for all
		}
		b = binary.BigEndian.AppendUint64(b, bits)
	case Bytes:
		b = append(binary.AppendUvarint(b, uint64(len(v.Bytes))), v.Bytes...)
	case Decimal:
		b = binary.BigEndian.AppendUint64(b, uint64(v.Int))
		b = append(binary.AppendUvarint(b, uint64(len(v.Bytes))), v.Bytes...)
	default:
		b = binary.BigEndian.AppendUint64(b, uint64(v.Int))
	}
	return b
}

// julianEpoch is 1970-01-01 as the Julian day that INT96 timestamps count in.
const julianEpoch = 2440588

// value converts what a data file holds to what the schema says, through the
// widenings that the protocol allows.
func (f field) value(v parquet.Value, typ parquet.Type) (Value, error) {
	if v.IsNull() {
		return Value{}, nil
	}
	wrong := func() (Value, error) {
		return Value{}, fmt.Errorf("%w: column %s is %s in the schema and %s in the file", delta.ErrCorrupt, f.name, f.typ, typ)
	}
	integer, isInt := int64(0), true
	switch v.Kind() {
	case parquet.Int32:
		integer = int64(v.Int32())
	case parquet.Int64:
		integer = v.Int64()
	default:
		isInt = false
	}
	logical := typ.LogicalType()
	switch f.typ {
	case "boolean":
		if v.Kind() == parquet.Boolean {
			return truth(v.Boolean()), nil
		}
	case "byte", "short", "integer", "long":
		if isInt {
			return Value{Kind: Int, Int: integer}, nil
		}
	case "float", "double":
		switch {
		case v.Kind() == parquet.Float:
			return Value{Kind: Float, Float: float64(v.Float())}, nil
		case v.Kind() == parquet.Double:
			return Value{Kind: Float, Float: v.Double()}, nil
		case isInt:
			return Value{Kind: Float, Float: float64(integer)}, nil
		}
	case "string", "binary":
		if k := v.Kind(); k == parquet.ByteArray || k == parquet.FixedLenByteArray {
			return Value{Kind: Bytes, Bytes: v.ByteArray()}, nil
		}
	case "date":
		if v.Kind() == parquet.Int32 {
			return Value{Kind: Date, Int: integer}, nil
		}
	case "timestamp", "timestamp_ntz":
		switch k := v.Kind(); {
		case k == parquet.Int96:
			x := v.Int96()
			nanos := int64(uint64(x[1])<<32 | uint64(x[0]))
			return Value{Kind: f.timestamp(), Int: (int64(x[2])-julianEpoch)*86_400_000_000 + nanos/1000}, nil
		case k == parquet.Int32 && f.typ == "timestamp_ntz": // widened from date
			return Value{Kind: TimestampNTZ, Int: integer * 24 * time.Hour.Microseconds()}, nil
		case k == parquet.Int64:
			return Value{Kind: f.timestamp(), Int: micros(integer, logical)}, nil
		}
	default:
		return f.decimal(v, isInt, integer, logical, wrong)
	}
	return wrong()
}

// micros brings a timestamp column's unit to microseconds.
func micros(n int64, logical *format.LogicalType) int64 {
	if logical == nil {
		return n
	}
	if ts, ok := logical.Value.(*format.TimestampType); ok {
		switch ts.Unit.Value.(type) {
		case *format.MilliSeconds:
			return n * 1000
		case *format.NanoSeconds:
			return n / 1000
		}
	}
	return n
}

func (f field) decimal(v parquet.Value, isInt bool, integer int64, logical *format.LogicalType, wrong func() (Value, error)) (Value, error) {
	unscaled := big.NewInt(integer)
	if !isInt {
		if k := v.Kind(); k != parquet.ByteArray && k != parquet.FixedLenByteArray {
			return wrong()
		}
		unscaled = twosComplement(v.ByteArray())
	}
	scale := 0 // an integer column, widened to a decimal
	if logical != nil {
		if d, ok := logical.Value.(*format.DecimalType); ok {
			scale = int(d.Scale)
		}
	}
	if scale < 0 || scale > f.scale {
		return wrong()
	}
	return decimal(unscaled.Mul(unscaled, ten(f.scale-scale)), f.scale), nil
}

func twosComplement(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}

// Row is one live row. It is valid until the next one.
type Row struct {
	fields []field
	values []Value
}

// Value returns a column's value; ok is false for a column that the table does
// not have.
func (r Row) Value(column string) (v Value, ok bool) {
	i := slices.IndexFunc(r.fields, func(f field) bool { return f.name == column })
	if i < 0 {
		return Value{}, false
	}
	return r.values[i], true
}

// append adds the row's canonical encoding: every column in the order of names,
// each as the length of its name, the name, and the value.
func (r Row) append(b []byte) []byte {
	for i, f := range r.fields {
		b = append(binary.AppendUvarint(b, uint64(len(f.name))), f.name...)
		b = r.values[i].append(b)
	}
	return b
}
