package rows

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// errPartition says that a partition value is not one of its type.
var errPartition = errors.New("partition value")

// valueIn is the column's among a file's partition values, by its name or the only one
// that differs from it in case alone. Some writers leave out nulls, so that a column
// without a value is null; but not where there is a value of which the table has no
// column, which may be this one's.
func (t *Table) valueIn(c *column, values map[string]*string) (*string, error) {
	if v, ok := values[c.physical]; ok {
		return v, nil
	}
	names := slices.Sorted(maps.Keys(values))
	i, err := named(names, c.physical)
	if err != nil {
		return nil, fmt.Errorf("%w of column %s: %w", errPartition, c.name, err)
	}
	if i >= 0 {
		return values[names[i]], nil
	}
	for _, name := range names {
		if !slices.ContainsFunc(t.columns, func(c column) bool { return c.partition && strings.EqualFold(c.physical, name) }) {
			return nil, fmt.Errorf("%w of column %s: the log has none for this file, and has one of %q, which is no column", errPartition, c.name, name)
		}
	}
	return nil, nil
}

// constant is an array of n times a partition value as the protocol serialises
// it. The empty string is null, as is none.
func (c *column) constant(mem memory.Allocator, value *string, n int) (arrow.Array, error) {
	if value == nil || *value == "" {
		return array.MakeArrayOfNull(mem, c.typ, n), nil
	}
	b := array.NewBuilder(mem, c.typ)
	defer b.Release()
	b.Reserve(n)
	one, err := parsed(b, *value)
	if err != nil {
		return nil, fmt.Errorf("%w %q of column %s, %s: %w", errPartition, *value, c.name, c.typ, inWords(err))
	}
	for range n {
		one()
	}
	return b.NewArray(), nil
}

// timeForms are the ways in which engines write a timestamp: without a zone, which is
// then UTC, or with one, after a space or a T. The protocol has the first and the last;
// delta-rs and Spark have written the others.
var timeForms = []string{
	"2006-01-02 15:04:05.999999999",
	"2006-01-02T15:04:05.999999999",
	"2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999Z0700",
	"2006-01-02 15:04:05.999999999Z07",
	"2006-01-02T15:04:05.999999999Z0700",
	"2006-01-02T15:04:05.999999999Z07",
	time.DateOnly,
	time.RFC3339Nano,
}

// instant reads a timestamp. A space before the zone is no matter.
func instant(s string) (t time.Time, err error) {
	if at := strings.LastIndexByte(s, ' '); at > len(time.DateOnly) {
		zone := s[at+1:]
		if zone == "UTC" || zone == "GMT" {
			zone = "Z"
		}
		s = s[:at] + zone
	}
	for _, form := range timeForms {
		if t, err = time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	return t, err
}

// parsed reads a value once, for a builder to append many times.
func parsed(b array.Builder, s string) (appendOne func(), err error) {
	switch b := b.(type) {
	case *array.StringBuilder:
		return func() { b.Append(s) }, nil
	case *array.BinaryBuilder:
		return func() { b.Append([]byte(s)) }, nil
	case *array.BooleanBuilder:
		v, err := strconv.ParseBool(s)
		return func() { b.Append(v) }, err
	case *array.Int8Builder:
		v, err := strconv.ParseInt(s, 10, 8)
		return func() { b.Append(int8(v)) }, err
	case *array.Int16Builder:
		v, err := strconv.ParseInt(s, 10, 16)
		return func() { b.Append(int16(v)) }, err
	case *array.Int32Builder:
		v, err := strconv.ParseInt(s, 10, 32)
		return func() { b.Append(int32(v)) }, err
	case *array.Int64Builder:
		v, err := strconv.ParseInt(s, 10, 64)
		return func() { b.Append(v) }, err
	case *array.Float32Builder:
		v, err := strconv.ParseFloat(s, 32)
		return func() { b.Append(float32(v)) }, err
	case *array.Float64Builder:
		v, err := strconv.ParseFloat(s, 64)
		return func() { b.Append(v) }, err
	case *array.Date32Builder:
		t, err := time.Parse(time.DateOnly, s)
		return func() { b.Append(arrow.Date32(t.Unix() / 86400)) }, err
	case *array.TimestampBuilder:
		t, err := instant(s)
		return func() { b.Append(arrow.Timestamp(t.UnixMicro())) }, err
	case *array.Decimal128Builder:
		typ := b.Type().(*arrow.Decimal128Type) //nolint:errcheck // it is that builder's
		if _, frac, _ := strings.Cut(s, "."); strings.ContainsAny(s, "eE") || len(strings.TrimRight(frac, "0")) > int(typ.Scale) {
			return nil, fmt.Errorf("not a number with %d decimal places", typ.Scale)
		}
		v, err := decimal128.FromString(s, typ.Precision, typ.Scale)
		return func() { b.Append(v) }, err
	}
	return nil, fmt.Errorf("no column can be partitioned by %s", b.Type())
}

// inWords is an error of reading a value without the names of what reads it.
func inWords(err error) error {
	if number := (*strconv.NumError)(nil); errors.As(err, &number) {
		return number.Err
	}
	if date := (*time.ParseError)(nil); errors.As(err, &date) {
		return errors.New("it is no such time")
	}
	return err
}
