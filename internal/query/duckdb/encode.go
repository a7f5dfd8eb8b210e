package duckdb

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"breakwater/internal/query"
)

// encodeRow writes the values of a row, each in its one way: see
// [query.Result].
func encodeRow(values []any, cols []query.Column) ([]json.RawMessage, error) {
	row := make([]json.RawMessage, len(values))
	for i, v := range values {
		var b bytes.Buffer
		if err := encode(&b, v, cols[i].Type); err != nil {
			return nil, fmt.Errorf("column %s: %w", cols[i].Name, err)
		}
		row[i] = b.Bytes()
	}
	return row, nil
}

// encode writes one value. typ is DuckDB's name for its type, empty inside of
// nested ones.
func encode(b *bytes.Buffer, v any, typ string) error {
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int8, int16, int32, int64, uint8, uint16, uint32, uint64, int, *big.Int:
		fmt.Fprint(b, v)
	case float32:
		return float(b, float64(v), 32)
	case float64:
		return float(b, v, 64)
	case duckdb.Decimal:
		b.WriteString(digits(v))
	case string:
		return text(b, v)
	case []byte:
		if typ == "UUID" && len(v) == 16 {
			return text(b, fmt.Sprintf("%x-%x-%x-%x-%x", v[:4], v[4:6], v[6:8], v[8:10], v[10:]))
		}
		return text(b, base64.StdEncoding.EncodeToString(v))
	case time.Time:
		return text(b, moment(v, typ))
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := encode(b, e, ""); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case map[string]any: // a struct; by name, since Go's map has lost the order
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		b.WriteByte('{')
		for i, name := range names {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := text(b, name); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := encode(b, v[name], ""); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	case duckdb.OrderedMap: // pairs: a key need not be text
		b.WriteByte('[')
		values := v.Values()
		for i, key := range v.Keys() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := encode(b, []any{key, values[i]}, ""); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case fmt.Stringer: // an interval and the like
		return text(b, v.String())
	default:
		return fmt.Errorf("%w: its answer holds a value of type %s, which has no text here; cast it to VARCHAR", query.ErrQuery, typ)
	}
	return nil
}

func text(b *bytes.Buffer, s string) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // its newline
	return nil
}

// float writes the shortest text that reads back as the same number. What JSON
// has no number for is text.
func float(b *bytes.Buffer, v float64, bits int) error {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return text(b, strconv.FormatFloat(v, 'g', -1, bits))
	}
	var raw []byte
	var err error
	if bits == 32 {
		raw, err = json.Marshal(float32(v))
	} else {
		raw, err = json.Marshal(v)
	}
	b.Write(raw)
	return err
}

// digits writes a decimal with all the places of its type.
func digits(d duckdb.Decimal) string {
	s := new(big.Int).Abs(d.Value).String()
	if n := int(d.Scale); n > 0 {
		s = strings.Repeat("0", max(0, n+1-len(s))) + s
		s = s[:len(s)-n] + "." + s[len(s)-n:]
	}
	if d.Value.Sign() < 0 {
		s = "-" + s
	}
	return s
}

// moment writes a date or time as its type has it.
func moment(t time.Time, typ string) string {
	switch {
	case typ == "DATE":
		return t.Format(time.DateOnly)
	case typ == "TIME":
		return t.Format("15:04:05.999999999")
	case strings.HasPrefix(typ, "TIMESTAMP") && typ != "TIMESTAMPTZ":
		return t.Format("2006-01-02T15:04:05.999999999")
	}
	return t.UTC().Format(time.RFC3339Nano)
}
