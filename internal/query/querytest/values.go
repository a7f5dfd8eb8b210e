package querytest

import "github.com/apache/arrow-go/v18/arrow"

// value is one of a table's types with a value, and how an answer writes it.
type value struct {
	typ     arrow.DataType
	in, out string // as Arrow reads it from JSON, and as query.Result has it
}

// values has each type that tables have, with what is easily written in two ways.
func values() []value {
	us := func(zone string) arrow.DataType {
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: zone}
	}
	field := func(name string, typ arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: typ, Nullable: true}
	}
	return []value{
		{arrow.FixedWidthTypes.Boolean, `true`, `true`},
		{arrow.PrimitiveTypes.Int8, `-8`, `-8`},
		{arrow.PrimitiveTypes.Int16, `-300`, `-300`},
		{arrow.PrimitiveTypes.Int32, `70000`, `70000`},
		{arrow.PrimitiveTypes.Int64, `9223372036854775807`, `9223372036854775807`},
		{arrow.PrimitiveTypes.Float32, `0.1`, `0.1`},
		{arrow.PrimitiveTypes.Float64, `0.1`, `0.1`},
		{arrow.PrimitiveTypes.Float64, `1e21`, `1e+21`},
		{arrow.PrimitiveTypes.Float64, `"NaN"`, `"NaN"`},
		{arrow.PrimitiveTypes.Float64, `"-Inf"`, `"-Inf"`},
		{arrow.BinaryTypes.String, `"a<\"ü\n"`, `"a<\"ü\n"`},
		{arrow.BinaryTypes.Binary, `"AAH/"`, `"AAH/"`},
		{arrow.FixedWidthTypes.Date32, `"1969-02-28"`, `"1969-02-28"`},
		{us("UTC"), `"9999-12-31 23:59:59.999999Z"`, `"9999-12-31T23:59:59.999999Z"`},
		{us(""), `"1969-12-31 23:59:59.5"`, `"1969-12-31T23:59:59.5"`},
		{&arrow.Decimal128Type{Precision: 4, Scale: 2}, `"-0.5"`, `-0.50`},
		{&arrow.Decimal128Type{Precision: 18, Scale: 0}, `"-123456789012345678"`, `-123456789012345678`},
		{&arrow.Decimal128Type{Precision: 38, Scale: 3}, `"-12345678901234567890123456789012345.678"`, `-12345678901234567890123456789012345.678`},
		{arrow.ListOf(arrow.PrimitiveTypes.Int32), `[1,null,3]`, `[1,null,3]`},
		{arrow.ListOf(arrow.ListOf(arrow.BinaryTypes.String)), `[["a"],[],null]`, `[["a"],[],null]`},
		{arrow.StructOf(field("b", arrow.PrimitiveTypes.Int64), field("a", arrow.FixedWidthTypes.Date32)), `{"b":1,"a":null}`, `{"a":null,"b":1}`},
		{arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32), `[{"key":"k","value":1},{"key":"l","value":null}]`, `[["k",1],["l",null]]`},
	}
}
