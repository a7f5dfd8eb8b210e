package rows_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/rows"
	"breakwater/internal/table/tabletest"
)

func withCancel(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

// parquetOf writes rows, given as JSON, in the types of an Arrow schema.
func parquetOf(t *testing.T, s *arrow.Schema, content string) []byte {
	t.Helper()
	b, _, err := array.RecordFromJSON(memory.DefaultAllocator, s, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(s, &out, parquet.NewWriterProperties(parquet.WithMaxRowGroupLength(2)), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(b), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// handmade is a table of one commit and one file. fields are the protocol's.
type handmade struct {
	fields     string
	partitions map[string]string
	config     map[string]string
	hidden     []uint64
	file       []byte
}

func (h handmade) build(t *testing.T) (*tabletest.Store, *delta.Snapshot) {
	t.Helper()
	encode := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	names := []string{}
	for n := range h.partitions {
		names = append(names, n)
	}
	add := map[string]any{"path": "a.parquet", "size": len(h.file), "partitionValues": h.partitions, "modificationTime": 0, "dataChange": true}
	features := `"readerFeatures":["deletionVectors","columnMapping","timestampNtz","typeWidening"],"writerFeatures":["deletionVectors","columnMapping","timestampNtz","typeWidening"]`
	s := &tabletest.Store{}
	if h.hidden != nil {
		vec := inline(t, h.hidden)
		add["deletionVector"] = map[string]any{"storageType": "i", "pathOrInlineDv": z85(vec), "sizeInBytes": len(vec), "cardinality": len(h.hidden)}
	}
	lines := []string{
		`{"commitInfo":{"timestamp":1}}`,
		`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,` + features + `}}`,
		encode(map[string]any{"metaData": map[string]any{
			"id": "x", "format": map[string]any{"provider": "parquet"}, "partitionColumns": names, "configuration": h.config,
			"schemaString": `{"type":"struct","fields":[` + h.fields + `]}`,
		}}),
		encode(map[string]any{"add": add}),
	}
	for key, body := range map[string][]byte{"t/_delta_log/00000000000000000000.json": []byte(strings.Join(lines, "\n")), "t/a.parquet": h.file} {
		if err := s.Put(t.Context(), key, body); err != nil {
			t.Fatal(err)
		}
	}
	return s, snapshot(t, s, "t", 0)
}

// inline serialises a deletion vector as the protocol's RoaringBitmapArray.
func inline(t *testing.T, hidden []uint64) []byte {
	t.Helper()
	bits := roaring64.BitmapOf(hidden...)
	out := bytes.NewBuffer([]byte{0xd1, 0xd3, 0x39, 0x64})
	if _, err := bits.WriteTo(out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// z85 encodes four bytes in five letters.
func z85(b []byte) string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	var out []byte
	for i := 0; i < len(b); i += 4 {
		n := uint32(b[i])<<24 | uint32(b[i+1])<<16 | uint32(b[i+2])<<8 | uint32(b[i+3])
		group := make([]byte, 5)
		for j := 4; j >= 0; j-- {
			group[j], n = letters[n%85], n/85
		}
		out = append(out, group...)
	}
	return string(out)
}

// content reads all rows, as JSON objects by line, in the table's types.
func content(t *testing.T, s table.Store, snap *delta.Snapshot) (string, error) {
	t.Helper()
	tab := reading(t, s, snap)
	r, err := tab.Read(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	var out strings.Builder
	for r.Next() {
		b := r.RecordBatch()
		if !b.Schema().Equal(tab.Schema()) {
			t.Errorf("batch of %s, table of %s", b.Schema(), tab.Schema())
		}
		for i, c := range b.Columns() {
			if !arrow.TypeEqual(c.DataType(), tab.Schema().Field(i).Type) {
				t.Errorf("column %d is %s", i, c.DataType())
			}
		}
		if err := array.RecordToJSON(b, &out); err != nil {
			t.Fatal(err)
		}
	}
	return strings.TrimSpace(out.String()), r.Err()
}

const nestedFields = `
 {"name":"id","type":"long","nullable":true,"metadata":{}},
 {"name":"s","type":{"type":"struct","fields":[
   {"name":"a","type":"double","nullable":true,"metadata":{}},
   {"name":"younger","type":"string","nullable":true,"metadata":{}},
   {"name":"in","type":{"type":"struct","fields":[{"name":"x","type":"long","nullable":true,"metadata":{}}]},"nullable":true,"metadata":{}}]},"nullable":true,"metadata":{}},
 {"name":"l","type":{"type":"array","elementType":"long","containsNull":true},"nullable":true,"metadata":{}},
 {"name":"m","type":{"type":"map","keyType":"string","valueType":{"type":"struct","fields":[{"name":"v","type":"long","nullable":true,"metadata":{}}]},"valueContainsNull":true},"nullable":true,"metadata":{}}`

// Structs, lists and maps are read, inside each other too, with fields that are
// wider or younger than the file, and with hidden rows.
func TestNested(t *testing.T) {
	in := arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int32, Nullable: true})
	s := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "s", Type: arrow.StructOf(
			arrow.Field{Name: "dropped", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
			arrow.Field{Name: "in", Type: in, Nullable: true}, arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Float32, Nullable: true}), Nullable: true},
		{Name: "l", Type: arrow.ListOf(arrow.PrimitiveTypes.Int32), Nullable: true},
		{Name: "m", Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.StructOf(arrow.Field{Name: "v", Type: arrow.PrimitiveTypes.Int16, Nullable: true})), Nullable: true},
	}, nil)
	raw := parquetOf(t, s, `[
	 {"id":1,"s":{"dropped":9,"in":{"x":7},"a":1.5},"l":[1,null,3],"m":[{"key":"k","value":{"v":4}}]},
	 {"id":2,"s":null,"l":[],"m":[]},
	 {"id":3,"s":{"dropped":9,"in":null,"a":null},"l":null,"m":null},
	 {"id":4,"s":{"dropped":9,"in":{"x":8},"a":2.5},"l":[4],"m":[{"key":"p","value":{"v":5}},{"key":"q","value":null}]},
	 {"id":5,"s":{"dropped":9,"in":{"x":null},"a":2.5},"l":[5,6],"m":[{"key":"r","value":{"v":null}}]}]`)
	want := []string{
		`{"id":1,"l":[1,null,3],"m":[{"key":"k","value":{"v":4}}],"s":{"a":1.5,"in":{"x":7},"younger":null}}`,
		`{"id":2,"l":[],"m":[],"s":null}`,
		`{"id":3,"l":null,"m":null,"s":{"a":null,"in":null,"younger":null}}`,
		`{"id":4,"l":[4],"m":[{"key":"p","value":{"v":5}},{"key":"q","value":null}],"s":{"a":2.5,"in":{"x":8},"younger":null}}`,
		`{"id":5,"l":[5,6],"m":[{"key":"r","value":{"v":null}}],"s":{"a":2.5,"in":{"x":null},"younger":null}}`,
	}
	for _, hidden := range [][]uint64{nil, {0}, {1, 3}, {0, 1, 2, 3, 4}} {
		store, snap := handmade{fields: nestedFields, file: raw, hidden: hidden}.build(t)
		var live []string
		for i, line := range want {
			if !bytes.Contains(fmt.Append(nil, hidden), fmt.Append(nil, i)) {
				live = append(live, line)
			}
		}
		got, err := content(t, store, snap)
		if err != nil || got != strings.Join(live, "\n") {
			t.Errorf("without %v: %v\n%s\nwant\n%s", hidden, err, got, strings.Join(live, "\n"))
		}
	}
}

// Every widening that the protocol allows, and every type of a partition value.
func TestTypes(t *testing.T) {
	one := func(name, typ string) string {
		return fmt.Sprintf(`{"name":%q,"type":%q,"nullable":true,"metadata":{}}`, name, typ)
	}
	d := func(p, s int32) arrow.DataType { return &arrow.Decimal128Type{Precision: p, Scale: s} }
	us := &arrow.TimestampType{Unit: arrow.Microsecond}
	for _, tc := range []struct {
		have arrow.DataType
		in   string
		want string // the Delta type
		out  string
	}{
		{arrow.PrimitiveTypes.Int8, `-7`, "short", `-7`},
		{arrow.PrimitiveTypes.Int16, `7`, "integer", `7`},
		{arrow.PrimitiveTypes.Int32, `7`, "byte", `7`}, // an engine that did not say how wide
		{arrow.PrimitiveTypes.Int32, `7`, "long", `7`},
		{arrow.PrimitiveTypes.Int32, `7`, "double", `7`},
		{arrow.PrimitiveTypes.Float32, `1.5`, "double", `1.5`},
		{arrow.PrimitiveTypes.Int32, `7`, "decimal(12,2)", `"7"`},
		{arrow.PrimitiveTypes.Int64, `7`, "decimal(20,0)", `"7"`},
		{d(5, 2), `"1.25"`, "decimal(10,4)", `"1.25"`},
		{d(18, 2), `"-1.25"`, "decimal(38,2)", `"-1.25"`},
		{arrow.FixedWidthTypes.Date32, `"2024-02-29"`, "timestamp_ntz", `"2024-02-29T00:00:00"`},
		{arrow.FixedWidthTypes.Date32, `"0001-01-01"`, "date", `"0001-01-01"`},
		{us, `"2024-02-29 01:02:03.000004"`, "timestamp_ntz", `"2024-02-29T01:02:03.000004"`},
		{us, `"2024-02-29 01:02:03.000004"`, "timestamp", `"2024-02-29T01:02:03.000004Z"`},
		{&arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}, `"2024-02-29 01:02:03.004Z"`, "timestamp", `"2024-02-29T01:02:03.004Z"`},
		{&arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, `"2024-02-29 01:02:03.000004005Z"`, "timestamp", `"2024-02-29T01:02:03.000004Z"`},
		{arrow.BinaryTypes.Binary, `"AAE="`, "binary", `"AAE="`},
		{arrow.BinaryTypes.Binary, `"YWI="`, "string", `"ab"`},
		{arrow.BinaryTypes.String, `"ü"`, "string", `"ü"`},
		{arrow.FixedWidthTypes.Boolean, `true`, "boolean", `true`},
	} {
		raw := parquetOf(t, arrow.NewSchema([]arrow.Field{{Name: "v", Type: tc.have, Nullable: true}}, nil), `[{"v":`+tc.in+`},{"v":null}]`)
		s, snap := handmade{fields: one("v", tc.want), file: raw}.build(t)
		got, err := content(t, s, snap)
		if want := `{"v":` + tc.out + "}\n" + `{"v":null}`; err != nil || got != want {
			t.Errorf("%s as %s: %s, %v; want %s", tc.have, tc.want, got, err, want)
		}
	}
	raw := parquetOf(t, arrow.NewSchema([]arrow.Field{{Name: "v", Type: arrow.PrimitiveTypes.Int64}}, nil), `[{"v":1}]`)
	for _, tc := range []struct{ typ, in, out string }{
		{"string", "a/b ü", `"a/b ü"`}, {"string", "", "null"}, {"binary", "a", `"YQ=="`},
		{"byte", "-1", "-1"}, {"short", "2", "2"}, {"integer", "3", "3"}, {"long", "9223372036854775807", "9223372036854775807"},
		{"float", "1.5", "1.5"}, {"double", "-1e300", "-1e+300"}, {"boolean", "true", "true"}, {"date", "2024-02-29", `"2024-02-29"`},
		{"timestamp", "2024-02-29 01:02:03.5", `"2024-02-29T01:02:03.5Z"`}, {"timestamp", "2024-02-29T01:02:03.000004Z", `"2024-02-29T01:02:03.000004Z"`},
		{"timestamp_ntz", "1969-12-31 23:59:59", `"1969-12-31T23:59:59"`}, {"decimal(10,2)", "-12.30", `"-12.3"`}, {"decimal(38,0)", "99999999999999999999999999999999999999", `"99999999999999999999999999999999999999"`},
	} {
		s, snap := handmade{fields: one("v", "long") + "," + one("p", tc.typ), partitions: map[string]string{"p": tc.in}, file: raw}.build(t)
		got, err := content(t, s, snap)
		if want := `{"p":` + tc.out + `,"v":1}`; err != nil || got != want {
			t.Errorf("partition %q as %s: %s, %v; want %s", tc.in, tc.typ, got, err, want)
		}
	}
}

// What a file holds and the schema does not allow is refused with the table's,
// the file's and the column's name, and so are values that are none of their
// type.
func TestRefused(t *testing.T) {
	raw := parquetOf(t, arrow.NewSchema([]arrow.Field{
		{Name: "text", Type: arrow.BinaryTypes.String}, {Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "d", Type: &arrow.Decimal128Type{Precision: 10, Scale: 4}},
		{Name: "s", Type: arrow.StructOf(arrow.Field{Name: "x", Type: arrow.BinaryTypes.String})},
		{Name: "l", Type: arrow.ListOf(arrow.BinaryTypes.String)},
	}, nil), `[{"text":"a","n":3000000000,"d":"1.25","s":{"x":"a"},"l":["a"]}]`)
	for name, tc := range map[string]struct {
		fields     string
		partitions map[string]string
		config     map[string]string
		want       []string
	}{
		"text for a number":    {`{"name":"text","type":"long","nullable":true,"metadata":{}}`, nil, nil, []string{"column text is int64 in the schema and utf8 in the file"}},
		"a number too wide":    {`{"name":"n","type":"integer","nullable":true,"metadata":{}}`, nil, nil, []string{"column n is int32 in the schema"}},
		"a scale too fine":     {`{"name":"d","type":"decimal(10,2)","nullable":true,"metadata":{}}`, nil, nil, []string{"column d is decimal(10, 2)"}},
		"text in a struct":     {`{"name":"s","type":{"type":"struct","fields":[{"name":"x","type":"long","nullable":true,"metadata":{}}]},"nullable":true,"metadata":{}}`, nil, nil, []string{"column x is int64"}},
		"a list, not a number": {`{"name":"l","type":"long","nullable":true,"metadata":{}}`, nil, nil, []string{"column l is int64"}},
		"a number, not a list": {`{"name":"n","type":{"type":"array","elementType":"long","containsNull":true},"nullable":true,"metadata":{}}`, nil, nil, []string{"column n is list"}},
		"a column not there":   {`{"name":"gone","type":"long","nullable":false,"metadata":{}}`, nil, nil, []string{"no column gone"}},
		"no ids": {
			`{"name":"n","type":"long","nullable":true,"metadata":{"delta.columnMapping.id":1,"delta.columnMapping.physicalName":"n"}}`, nil,
			map[string]string{"delta.columnMapping.mode": "id"}, []string{"mapped by id"},
		},
		"a partition value":           {`{"name":"p","type":"integer","nullable":true,"metadata":{}}`, map[string]string{"p": "x"}, nil, []string{`partition value "x" of column p, int32`}},
		"a partition value too wide":  {`{"name":"p","type":"byte","nullable":true,"metadata":{}}`, map[string]string{"p": "128"}, nil, []string{`partition value "128"`}},
		"a partition value too fine":  {`{"name":"p","type":"decimal(4,2)","nullable":true,"metadata":{}}`, map[string]string{"p": "1.234"}, nil, []string{`partition value "1.234"`}},
		"a partition value too large": {`{"name":"p","type":"decimal(4,2)","nullable":true,"metadata":{}}`, map[string]string{"p": "123.4"}, nil, []string{`partition value "123.4"`}},
	} {
		t.Run(name, func(t *testing.T) {
			s, snap := handmade{fields: tc.fields, partitions: tc.partitions, config: tc.config, file: raw}.build(t)
			got, err := content(t, s, snap)
			if !errors.Is(err, delta.ErrCorrupt) || got != "" {
				t.Fatalf("%s, %v", got, err)
			}
			for _, want := range append(tc.want, "a.parquet", "primary-lake/t") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("it does not say %q: %v", want, err)
				}
			}
		})
	}
}

// A type that nobody here knows is refused by name, inside of others too.
func TestUnknownType(t *testing.T) {
	for _, fields := range []string{
		`{"name":"v","type":"variant","nullable":true,"metadata":{}}`,
		`{"name":"v","type":{"type":"array","elementType":"variant","containsNull":true},"nullable":true,"metadata":{}}`,
		`{"name":"v","type":"decimal(39,2)","nullable":true,"metadata":{}}`,
	} {
		s, snap := handmade{fields: fields}.build(t)
		_, err := rows.Of(s, snap)
		var refused *rows.TypeError
		if !errors.As(err, &refused) || !strings.HasPrefix(refused.Column, "v") {
			t.Errorf("%v", err)
		}
	}
}

// Spark's oldest timestamps are twelve bytes, reach past the year 2262, and may
// lie inside of others.
func TestInt96(t *testing.T) {
	at := func(day uint32, nanos uint64) (v parquet.Int96) {
		for i := range 8 {
			v[i] = byte(nanos >> (8 * i))
		}
		for i := range 4 {
			v[8+i] = byte(day >> (8 * i))
		}
		return v
	}
	node := func(name string) schema.Node {
		return schema.NewInt96Node(name, parquet.Repetitions.Optional, -1)
	}
	inner, err := schema.NewGroupNode("s", parquet.Repetitions.Optional, schema.FieldList{node("x")}, -1)
	if err != nil {
		t.Fatal(err)
	}
	root, err := schema.NewGroupNode("spark", parquet.Repetitions.Required, schema.FieldList{node("v"), inner}, -1)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := file.NewParquetWriter(&out, root)
	g, err := w.AppendRowGroupChecked()
	if err != nil {
		t.Fatal(err)
	}
	values := []parquet.Int96{at(2440588, 1000), at(5373484, 86_399_999_999_000), at(2440587, 0)} // 1970, 9999, 1969
	for _, levels := range [][]int16{{1, 1, 0, 1}, {2, 2, 0, 2}} {
		cw, err := g.NextColumn()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cw.(*file.Int96ColumnChunkWriter).WriteBatch(values, levels, nil); err != nil {
			t.Fatal(err)
		}
		if err := cw.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(g.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	s, snap := handmade{fields: `{"name":"v","type":"timestamp","nullable":true,"metadata":{}},
	 {"name":"s","type":{"type":"struct","fields":[{"name":"x","type":"timestamp_ntz","nullable":true,"metadata":{}}]},"nullable":true,"metadata":{}}`, file: out.Bytes()}.build(t)
	got, err := content(t, s, snap)
	want := []string{
		`{"s":{"x":"1970-01-01T00:00:00.000001"},"v":"1970-01-01T00:00:00.000001Z"}`,
		`{"s":{"x":"9999-12-31T23:59:59.999999"},"v":"9999-12-31T23:59:59.999999Z"}`,
		`{"s":null,"v":null}`,
		`{"s":{"x":"1969-12-31T00:00:00"},"v":"1969-12-31T00:00:00Z"}`,
	}
	if err != nil || got != strings.Join(want, "\n") {
		t.Errorf("%v\n%s", err, got)
	}
}
