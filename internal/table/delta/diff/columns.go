package diff

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"breakwater/internal/plural"
	"breakwater/internal/table/delta/rows"
	"breakwater/internal/table/difference"
)

// columns pairs the columns of both versions, and gives those that are not the same.
func (c *compared) columns() (changed []difference.Column) {
	was, is := c.from.rows.Columns(), c.to.rows.Columns()
	type pair struct{ from, to string }
	var pairs []pair
	for _, to := range is {
		i := slices.IndexFunc(was, func(from rows.Column) bool { return from.Physical == to.Physical })
		if i < 0 {
			changed = append(changed, difference.Column{Name: to.Name, Is: words(to)})
			continue
		}
		from := was[i]
		same := alike(from.Type) == alike(to.Type)
		if same {
			pairs = append(pairs, pair{from.Name, to.Name})
		}
		if before, after := words(from), words(to); before != after || from.Name != to.Name {
			col := difference.Column{Name: to.Name, Was: before, Is: after, Compared: same}
			if from.Name != to.Name {
				col.Former = from.Name
			}
			changed = append(changed, col)
		}
	}
	for _, from := range was {
		if !slices.ContainsFunc(is, func(to rows.Column) bool { return from.Physical == to.Physical }) {
			changed = append(changed, difference.Column{Name: from.Name, Was: words(from)})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.to, b.to) })
	c.names, c.from.columns, c.to.columns = []string{}, []string{}, []string{}
	for _, p := range pairs {
		c.names = append(c.names, p.to)
		c.from.columns, c.to.columns = append(c.from.columns, p.from), append(c.to.columns, p.to)
	}
	return changed
}

// keyed finds the columns of the key.
func (c *compared) keyed(key []string, changed []difference.Column) error {
	for _, name := range key {
		i := slices.Index(c.names, name)
		if i >= 0 {
			c.key = append(c.key, i)
			continue
		}
		for _, col := range changed {
			if col.Name == name {
				return fmt.Errorf("%w: column %s is not the same in both, which the difference without a key shows; choose other columns", difference.ErrKey, name)
			}
		}
		return fmt.Errorf("%w: there is no column %q; choose from %s", difference.ErrKey, name, plural.Few(c.names))
	}
	return nil
}

// words are what people say of a column.
func words(c rows.Column) string {
	text := typeName(c.Type)
	if c.Required {
		text += ", not null"
	}
	if c.Partition {
		text += ", partition"
	}
	return text
}

// names are the table's words for types.
var names = map[arrow.Type]string{
	arrow.BOOL: "boolean", arrow.INT8: "byte", arrow.INT16: "short", arrow.INT32: "integer", arrow.INT64: "long", arrow.FLOAT32: "float",
	arrow.FLOAT64: "double", arrow.STRING: "string", arrow.BINARY: "binary", arrow.DATE32: "date",
}

func typeName(t arrow.DataType) string { return named(t, names) }

// kinds are types that have the same values for the same rows, whichever of them a column
// is widened from or to.
var kinds = map[arrow.Type]string{
	arrow.BOOL: "boolean", arrow.INT8: "whole", arrow.INT16: "whole", arrow.INT32: "whole", arrow.INT64: "whole", arrow.FLOAT32: "floating",
	arrow.FLOAT64: "floating", arrow.STRING: "string", arrow.BINARY: "binary", arrow.DATE32: "date",
}

// alike is the same for types whose values can be compared.
func alike(t arrow.DataType) string { return named(t, kinds) }

func named(t arrow.DataType, plain map[arrow.Type]string) string {
	switch t := t.(type) {
	case *arrow.Decimal128Type:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	case *arrow.TimestampType:
		if t.TimeZone == "" {
			return "timestamp_ntz"
		}
		return "timestamp"
	case *arrow.MapType:
		return fmt.Sprintf("map<%s,%s>", named(t.KeyType(), plain), named(t.ItemType(), plain))
	case *arrow.ListType:
		return fmt.Sprintf("array<%s>", named(t.Elem(), plain))
	case *arrow.StructType:
		var parts []string
		for _, f := range t.Fields() {
			parts = append(parts, f.Name+":"+named(f.Type, plain))
		}
		return "struct<" + strings.Join(parts, ",") + ">"
	}
	return plain[t.ID()]
}
