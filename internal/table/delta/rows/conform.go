package rows

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// errUnlike says that a file holds another type than the schema allows.
var errUnlike = errors.New("the file is unlike the schema")

// find returns where among a file's fields the column is, or -1. A name that differs
// in case only is the column's where no other one is, as Spark has it: engines that do
// not write through Spark have changed the case of names.
func (c *column) find(fields []arrow.Field) (int, error) {
	if c.id != 0 {
		return slices.IndexFunc(fields, func(f arrow.Field) bool { id, ok := fieldID(f); return ok && id == c.id }), nil
	}
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	i, err := named(names, c.physical)
	if err != nil {
		return -1, fmt.Errorf("%w: column %s: %w", errUnlike, c.name, err)
	}
	return i, nil
}

// named is where a name is: itself, or else the only one that differs from it in case
// alone; -1 where there is none.
func named(names []string, name string) (int, error) {
	if i := slices.Index(names, name); i >= 0 {
		return i, nil
	}
	found := -1
	for i, other := range names {
		if !strings.EqualFold(other, name) {
			continue
		}
		if found >= 0 {
			return -1, fmt.Errorf("%q and %q differ from %q in case only", names[found], other, name)
		}
		found = i
	}
	return found, nil
}

func fieldID(f arrow.Field) (int, bool) {
	s, _ := f.Metadata.GetValue("PARQUET:field_id")
	id, err := strconv.Atoi(s)
	return id, err == nil && id >= 0 // the library says -1 for none
}

// conform gives what a file holds the type that the schema has, through the
// widenings that the protocol allows. The result is the caller's to release.
func (c *column) conform(ctx context.Context, mem memory.Allocator, in arrow.ArrayData) (arrow.ArrayData, error) {
	have := in.DataType()
	wrong := func() (arrow.ArrayData, error) {
		return nil, fmt.Errorf("%w: column %s is %s in the schema and %s in the file", errUnlike, c.name, c.typ, have)
	}
	if len(c.parts) == 0 {
		if !widens(have, c.typ) {
			return wrong()
		}
		return c.leaf(ctx, mem, in)
	}
	var parts []arrow.ArrayData
	var err error
	defer func() {
		for _, p := range parts {
			p.Release()
		}
	}()
	switch have := have.(type) {
	case *arrow.StructType:
		if c.typ.ID() != arrow.STRUCT {
			return wrong()
		}
		if parts, err = conformFields(ctx, mem, c.parts, have.Fields(), in.Children(), in.Offset()+in.Len()); err != nil {
			return nil, err
		}
	case *arrow.MapType: // a list of structs of two
		if c.typ.ID() != arrow.MAP {
			return wrong()
		}
		entries := in.Children()[0]
		for i := range c.parts {
			p, err := c.parts[i].conform(ctx, mem, entries.Children()[i])
			if err != nil {
				return nil, err
			}
			parts = append(parts, p)
		}
		both := array.NewData(c.typ.(*arrow.MapType).Elem(), entries.Len(), entries.Buffers(), parts, entries.NullN(), entries.Offset()) //nolint:errcheck // by its ID
		for _, p := range parts {
			p.Release()
		}
		parts = []arrow.ArrayData{both}
	case *arrow.ListType:
		if c.typ.ID() != arrow.LIST {
			return wrong()
		}
		p, err := c.parts[0].conform(ctx, mem, in.Children()[0])
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	default:
		return wrong()
	}
	return array.NewData(c.typ, in.Len(), in.Buffers(), parts, in.NullN(), in.Offset()), nil
}

// conformFields conforms the fields of a struct, of which some may be younger than the
// file: those are null.
func conformFields(ctx context.Context, mem memory.Allocator, want []column, have []arrow.Field, in []arrow.ArrayData, n int) (out []arrow.ArrayData, err error) {
	for i := range want {
		var p arrow.ArrayData
		at, err := want[i].find(have)
		switch {
		case err != nil:
		case at >= 0:
			p, err = want[i].conform(ctx, mem, in[at])
		default:
			p = nulls(mem, want[i].typ, n)
		}
		if err != nil {
			for _, p := range out {
				p.Release()
			}
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// nulls is an array of n nulls.
func nulls(mem memory.Allocator, typ arrow.DataType, n int) arrow.ArrayData {
	a := array.MakeArrayOfNull(mem, typ, n)
	defer a.Release()
	d := a.Data()
	d.Retain()
	return d
}

// widens reports whether a file may hold one type for a column of another.
func widens(have, want arrow.DataType) bool {
	integer := arrow.IsSignedInteger(have.ID())
	switch w := want.(type) {
	case *arrow.Float64Type:
		return integer || have.ID() == arrow.FLOAT32 || have.ID() == arrow.FLOAT64
	case *arrow.Date32Type:
		return have.ID() == arrow.DATE32 || have.ID() == arrow.INT32
	case *arrow.TimestampType:
		return have.ID() == arrow.TIMESTAMP || have.ID() == arrow.INT64 || isInt96(have) || have.ID() == arrow.DATE32 && w.TimeZone == ""
	case *arrow.StringType, *arrow.BinaryType:
		return have.ID() == arrow.STRING || have.ID() == arrow.BINARY || have.ID() == arrow.FIXED_SIZE_BINARY
	case *arrow.Decimal128Type:
		d, ok := have.(*arrow.Decimal128Type)
		return integer || ok && d.Scale <= w.Scale
	}
	if arrow.IsSignedInteger(want.ID()) {
		return integer
	}
	return have.ID() == want.ID()
}

// leaf widens an array that is not nested.
func (c *column) leaf(ctx context.Context, mem memory.Allocator, in arrow.ArrayData) (arrow.ArrayData, error) {
	have := in.DataType()
	switch {
	case arrow.TypeEqual(have, c.typ):
		in.Retain()
		return in, nil
	case isInt96(have):
		return int96(mem, in, c.typ), nil
	case have.ID() == arrow.TIMESTAMP:
		return micros(mem, in, c.typ), nil
	case have.ID() == arrow.INT64 && c.typ.ID() == arrow.TIMESTAMP, have.ID() == arrow.INT32 && c.typ.ID() == arrow.DATE32,
		have.ID() == arrow.STRING, have.ID() == arrow.BINARY: // the same bytes
		return array.NewData(c.typ, in.Len(), in.Buffers(), nil, in.NullN(), in.Offset()), nil
	}
	a := array.MakeFromData(in)
	defer a.Release()
	out, err := compute.CastArray(compute.WithAllocator(ctx, mem), a, compute.SafeCastOptions(c.typ))
	if err != nil {
		return nil, fmt.Errorf("%w: column %s is %s in the schema and %s in the file: %w", errUnlike, c.name, c.typ, have, err)
	}
	defer out.Release()
	d := out.Data()
	d.Retain()
	return d, nil
}

// timestamps makes an array of microseconds beside the validity of another.
func timestamps(mem memory.Allocator, like arrow.ArrayData, typ arrow.DataType, fill func(out []int64)) arrow.ArrayData {
	buf := memory.NewResizableBuffer(mem)
	defer buf.Release()
	buf.Resize(arrow.Int64Traits.BytesRequired(like.Offset() + like.Len()))
	fill(arrow.Int64Traits.CastFromBytes(buf.Bytes()))
	return array.NewData(typ, like.Len(), []*memory.Buffer{like.Buffers()[0], buf}, nil, like.NullN(), like.Offset())
}

// micros brings a timestamp's unit to microseconds. A zone is only a label: what
// is stored is UTC, or local to nowhere.
func micros(mem memory.Allocator, in arrow.ArrayData, typ arrow.DataType) arrow.ArrayData {
	unit := in.DataType().(*arrow.TimestampType).Unit //nolint:errcheck // by its ID
	if unit == arrow.Microsecond {
		return array.NewData(typ, in.Len(), in.Buffers(), nil, in.NullN(), in.Offset())
	}
	return timestamps(mem, in, typ, func(out []int64) {
		for i, v := range arrow.Int64Traits.CastFromBytes(in.Buffers()[1].Bytes())[:len(out)] {
			switch unit {
			case arrow.Second:
				out[i] = v * 1_000_000
			case arrow.Millisecond:
				out[i] = v * 1000
			default:
				out[i] = v / 1000
			}
		}
	})
}

// int96Size is the width in bytes of the oldest kind of timestamp, which Spark
// still writes: nanoseconds of a day, and the day.
const int96Size = 12

// julianEpoch is 1970-01-01 as the Julian day that INT96 counts in.
const julianEpoch = 2440588

// isInt96 tells a column that was [File]d as bytes from others: see readable.
func isInt96(t arrow.DataType) bool {
	f, ok := t.(*arrow.FixedSizeBinaryType)
	return ok && f.ByteWidth == int96Size
}

func int96(mem memory.Allocator, in arrow.ArrayData, typ arrow.DataType) arrow.ArrayData {
	return timestamps(mem, in, typ, func(out []int64) {
		raw := in.Buffers()[1].Bytes()
		for i := range out {
			v := raw[i*int96Size : (i+1)*int96Size]
			nanos, day := int64(binary.LittleEndian.Uint64(v)), int64(int32(binary.LittleEndian.Uint32(v[8:])))
			out[i] = (day-julianEpoch)*86_400_000_000 + nanos/1000
		}
	})
}
