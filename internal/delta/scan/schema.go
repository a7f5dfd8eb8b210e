package scan

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/delta"
)

// TypeError refuses a column whose type this package cannot read. A digest
// without that column would hide what happened to it.
type TypeError struct {
	Table, Column, Type string
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("delta table %s: column %s has type %s, which cannot be hashed here; compare this table with an engine that reads it", e.Table, e.Column, e.Type)
}

// field is one column of the table's schema.
type field struct {
	name      string // as people know it
	physical  string // in data files and partition values
	id        int    // of column mapping, 0 without
	typ       string
	scale     int // of a decimal
	partition bool
}

var decimalType = regexp.MustCompile(`^decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)$`)

var plainTypes = []string{
	"boolean", "byte", "short", "integer", "long", "float", "double",
	"string", "binary", "date", "timestamp", "timestamp_ntz",
}

// fields reads a snapshot's schema, sorted by name so that a column's place has
// no say in the digest.
func fields(s *delta.Snapshot) ([]field, error) {
	var schema struct {
		Fields []struct {
			Name     string                     `json:"name"`
			Type     json.RawMessage            `json:"type"`
			Metadata map[string]json.RawMessage `json:"metadata"`
		} `json:"fields"`
	}
	if err := json.Unmarshal([]byte(s.Metadata.SchemaString), &schema); err != nil {
		return nil, fmt.Errorf("%w: schema of %s: %w", delta.ErrCorrupt, s.Root, err)
	}
	mapped := s.Metadata.Configuration["delta.columnMapping.mode"]
	var out []field
	for _, f := range schema.Fields {
		col := field{name: f.Name, physical: f.Name, partition: slices.Contains(s.Metadata.PartitionColumns, f.Name)}
		if err := json.Unmarshal(f.Type, &col.typ); err != nil {
			return nil, &TypeError{s.Root.String(), f.Name, string(f.Type)}
		}
		if m := decimalType.FindStringSubmatch(col.typ); m != nil {
			col.scale, _ = strconv.Atoi(m[2]) // digits, by the expression
		} else if !slices.Contains(plainTypes, col.typ) {
			return nil, &TypeError{s.Root.String(), f.Name, col.typ}
		}
		if mapped == "name" || mapped == "id" {
			if err := json.Unmarshal(f.Metadata["delta.columnMapping.physicalName"], &col.physical); err != nil {
				return nil, fmt.Errorf("%w: schema of %s: column %s has no physical name: %w", delta.ErrCorrupt, s.Root, f.Name, err)
			}
		}
		if mapped == "id" {
			if err := json.Unmarshal(f.Metadata["delta.columnMapping.id"], &col.id); err != nil {
				return nil, fmt.Errorf("%w: schema of %s: column %s has no id: %w", delta.ErrCorrupt, s.Root, f.Name, err)
			}
		}
		out = append(out, col)
	}
	slices.SortFunc(out, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// parse reads a partition value as the protocol serialises it. The empty string
// is null.
func (f field) parse(s *string) (Value, error) {
	if s == nil || *s == "" {
		return Value{}, nil
	}
	var v Value
	var err error
	switch f.typ {
	case "string", "binary":
		v = Value{Kind: Bytes, Bytes: []byte(*s)}
	case "boolean":
		var b bool
		b, err = strconv.ParseBool(*s)
		v = truth(b)
	case "byte", "short", "integer", "long":
		v.Kind = Int
		v.Int, err = strconv.ParseInt(*s, 10, 64)
	case "float", "double":
		v.Kind = Float
		v.Float, err = strconv.ParseFloat(*s, 64)
	case "date":
		var t time.Time
		t, err = time.Parse(time.DateOnly, *s)
		v = Value{Kind: Date, Int: t.Unix() / 86400}
	case "timestamp", "timestamp_ntz":
		var t time.Time
		if t, err = time.Parse(time.RFC3339Nano, *s); err != nil {
			t, err = time.Parse("2006-01-02 15:04:05.999999999", *s)
		}
		v = Value{Kind: f.timestamp(), Int: t.UnixMicro()}
	default: // a decimal
		r, ok := new(big.Rat).SetString(*s)
		if !ok || strings.ContainsAny(*s, "/eE") {
			err = fmt.Errorf("not a decimal")
			break
		}
		r.Mul(r, new(big.Rat).SetInt(ten(f.scale)))
		if !r.IsInt() {
			err = fmt.Errorf("more than %d decimal places", f.scale)
			break
		}
		v = decimal(r.Num(), f.scale)
	}
	if err != nil {
		return Value{}, fmt.Errorf("%w: partition value %q of column %s, %s: %w", delta.ErrCorrupt, *s, f.name, f.typ, err)
	}
	return v, nil
}

func (f field) timestamp() Kind {
	if f.typ == "timestamp" {
		return Timestamp
	}
	return TimestampNTZ
}

func ten(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

func truth(b bool) Value {
	if b {
		return Value{Kind: Bool, Int: 1}
	}
	return Value{Kind: Bool}
}

func decimal(unscaled *big.Int, scale int) Value {
	return Value{Kind: Decimal, Int: int64(scale), Bytes: unscaled.Append(nil, 10)}
}
