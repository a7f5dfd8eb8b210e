package rows

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"breakwater/internal/strictjson"
	"breakwater/internal/table/delta"
)

// column is a column of the table's schema, or a part of a nested one.
type column struct {
	name      string // as people know it
	physical  string // in data files and partition values
	id        int    // of column mapping by id, 0 without
	typ       arrow.DataType
	parts     []column // of a struct its fields, of a list its element, of a map its key and value
	required  bool     // not null
	partition bool
}

func (c *column) field() arrow.Field {
	return arrow.Field{Name: c.name, Type: c.typ, Nullable: true}
}

// structSchema is the protocol's serialisation of a struct type, which a table's
// schema is too.
type structSchema struct {
	Fields []struct {
		Name     string                     `json:"name"`
		Type     json.RawMessage            `json:"type"`
		Nullable bool                       `json:"nullable"`
		Metadata map[string]json.RawMessage `json:"metadata"`
	} `json:"fields"`
}

// parse reads the snapshot's schema.
func (t *Table) parse() error {
	cols, err := t.fields([]byte(t.snap.Metadata.SchemaString), "")
	if err != nil {
		return err
	}
	names := make([]string, len(cols))
	for i, c := range cols {
		names[i] = c.name
	}
	for _, name := range t.snap.Metadata.PartitionColumns {
		i, err := named(names, name)
		if err != nil {
			return t.bad("partition column %s: %w", name, err)
		}
		if i < 0 {
			return t.bad("it has no partition column %s", name)
		}
		cols[i].partition = true
	}
	for i, c := range cols {
		if cols[i].partition && c.parts != nil {
			return t.bad("partition column %s is nested", c.name)
		}
	}
	t.columns = cols
	return nil
}

// Reading says in full how columns are looked for in files and what they become. Two
// versions that read in the same way give the same rows of the same file.
func (t *Table) Reading() string {
	var text strings.Builder
	fmt.Fprintf(&text, "columns mapped by %q\n", t.mapped)
	var each func(cols []column, in string)
	each = func(cols []column, in string) {
		for _, c := range cols {
			fmt.Fprintf(&text, "%s%q in files %q or %d: %s, required %t, partition %t\n", in, c.name, c.physical, c.id, c.typ, c.required, c.partition)
			each(c.parts, in+" ")
		}
	}
	each(t.columns, "")
	return text.String()
}

// bad is an error about the table's metadata.
func (t *Table) bad(format string, args ...any) error {
	return fmt.Errorf("%w: schema of %s at version %d: %w", delta.ErrCorrupt, t.snap.Root, t.snap.Version.Number, fmt.Errorf(format, args...))
}

// fields reads a struct's fields; within is the column that they are part of.
func (t *Table) fields(raw []byte, within string) ([]column, error) {
	var s structSchema
	if err := strictjson.Unmarshal(raw, &s); err != nil {
		if within == "" {
			return nil, t.bad("%w", err)
		}
		return nil, t.bad("%s: %w", within, err)
	}
	cols := make([]column, 0, len(s.Fields))
	for _, f := range s.Fields {
		path := f.Name
		if within != "" {
			path = within + "." + f.Name
		}
		c, err := t.column(f.Type, path)
		if err != nil {
			return nil, err
		}
		c.name, c.physical, c.required = f.Name, f.Name, !f.Nullable
		if t.mapped == "name" || t.mapped == "id" {
			if err := strictjson.Unmarshal(f.Metadata["delta.columnMapping.physicalName"], &c.physical); err != nil {
				return nil, t.bad("column %s has no physical name: %w", path, err)
			}
		}
		if t.mapped == "id" {
			if err := strictjson.Unmarshal(f.Metadata["delta.columnMapping.id"], &c.id); err != nil {
				return nil, t.bad("column %s has no id: %w", path, err)
			}
		}
		cols = append(cols, c)
	}
	return cols, nil
}

// column reads a type: a name, or an object for a nested one.
func (t *Table) column(raw json.RawMessage, path string) (c column, err error) {
	var name string
	if strictjson.Unmarshal(raw, &name) == nil {
		c.typ = plain(name)
		if c.typ == nil {
			return c, &TypeError{t.snap.Root.String(), path, name}
		}
		return c, nil
	}
	var nested struct {
		Type    string          `json:"type"`
		Element json.RawMessage `json:"elementType"`
		Key     json.RawMessage `json:"keyType"`
		Value   json.RawMessage `json:"valueType"`
	}
	if err := strictjson.Unmarshal(raw, &nested); err != nil {
		return c, t.bad("column %s: %w", path, err)
	}
	part := func(raw json.RawMessage, name string) {
		if err != nil {
			return
		}
		var p column
		p, err = t.column(raw, path+"."+name)
		p.name = name
		c.parts = append(c.parts, p)
	}
	switch nested.Type {
	case "struct":
		c.parts, err = t.fields(raw, path)
		fields := make([]arrow.Field, len(c.parts))
		for i, p := range c.parts {
			fields[i] = p.field()
		}
		c.typ = arrow.StructOf(fields...)
	case "array":
		part(nested.Element, "element")
		if err == nil {
			c.typ = arrow.ListOf(c.parts[0].typ)
		}
	case "map":
		part(nested.Key, "key")
		part(nested.Value, "value")
		if err == nil {
			c.typ = arrow.MapOf(c.parts[0].typ, c.parts[1].typ)
		}
	default:
		err = &TypeError{t.snap.Root.String(), path, string(raw)}
	}
	return c, err
}

var (
	decimalType = regexp.MustCompile(`^decimal\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)$`)
	timestamp   = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	plainTypes  = map[string]arrow.DataType{
		"boolean": arrow.FixedWidthTypes.Boolean,
		"byte":    arrow.PrimitiveTypes.Int8, "short": arrow.PrimitiveTypes.Int16,
		"integer": arrow.PrimitiveTypes.Int32, "long": arrow.PrimitiveTypes.Int64,
		"float": arrow.PrimitiveTypes.Float32, "double": arrow.PrimitiveTypes.Float64,
		"string": arrow.BinaryTypes.String, "binary": arrow.BinaryTypes.Binary,
		"date": arrow.FixedWidthTypes.Date32, "timestamp": timestamp,
		"timestamp_ntz": &arrow.TimestampType{Unit: arrow.Microsecond},
	}
)

// plain is the Arrow type of one that is not nested, or nil.
func plain(name string) arrow.DataType {
	if typ, ok := plainTypes[name]; ok {
		return typ
	}
	m := decimalType.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	precision, _ := strconv.Atoi(m[1]) // digits, by the expression
	scale, _ := strconv.Atoi(m[2])
	if precision < 1 || precision > 38 || scale > precision {
		return nil
	}
	return &arrow.Decimal128Type{Precision: int32(precision), Scale: int32(scale)}
}
