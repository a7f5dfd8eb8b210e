package querytest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"breakwater/internal/query"
)

// engine knows the suite's statements by heart and no other. It is as right as the
// port wants it, and links no engine.
type engine struct {
	most int // rows of an answer; any number if 0
}

var _ query.Engine = engine{}

func newTarget() Target {
	return Target{
		Engine:  engine{},
		Limited: func(rows int) query.Engine { return engine{most: rows} },
		Elsewhere: func(file string) []string {
			return []string{"SELECT * FROM '" + file + "'", "COPY t TO '" + file + ".out'"}
		},
	}
}

// TestMemory is how any engine passes.
func TestMemory(t *testing.T) { Run(t, newTarget()) }

type row = []json.RawMessage

// statements answer each of the suite's statements from what read gives.
var statements = map[string]func(ctx context.Context, read reader) (names []string, rows []row, err error){
	selectIDs:  func(_ context.Context, read reader) ([]string, []row, error) { return read("t", "id") },
	selectNone: func(_ context.Context, read reader) ([]string, []row, error) { return kept(read, "id", "name", never) },
	selectFirst: func(_ context.Context, read reader) ([]string, []row, error) {
		names, rows, err := read("t", "id")
		return names, rows[:min(1, len(rows))], err
	},
	selectOne: func(_ context.Context, read reader) ([]string, []row, error) {
		_, rows, err := kept(read, "id", "name", func(id int) bool { return id == 1 })
		return []string{"name"}, second(rows), err
	},
	selectOrdered: func(_ context.Context, read reader) ([]string, []row, error) {
		names, rows, err := read("t", "id", "name")
		slices.SortFunc(rows, func(a, b row) int { return number(b[0]) - number(a[0]) })
		return names, rows, err
	},
	selectNames: func(_ context.Context, read reader) ([]string, []row, error) {
		_, rows, err := byID(read)
		return []string{"name"}, second(rows), err
	},
	selectCalled: func(_ context.Context, read reader) ([]string, []row, error) {
		_, rows, err := byID(read)
		return []string{`a"b`, "Name of it"}, rows, err
	},
	selectValues: func(_ context.Context, read reader) ([]string, []row, error) { return read("t", "v") },
	countRows: func(_ context.Context, read reader) ([]string, []row, error) {
		_, rows, err := read("t", "id")
		return []string{"count"}, count(len(rows)), err
	},
	sumAmounts: func(_ context.Context, read reader) ([]string, []row, error) {
		_, rows, err := read("t", "amount")
		return []string{"sum"}, []row{{sum(rows)}}, err
	},
	joinSelf: func(_ context.Context, read reader) ([]string, []row, error) {
		return join(read, "t", "t")
	},
	joinOther: func(_ context.Context, read reader) ([]string, []row, error) {
		return join(read, "t", "other table")
	},
	unionSelf: func(_ context.Context, read reader) ([]string, []row, error) {
		_, rows, err := read("t", "id")
		if err != nil {
			return nil, nil, err
		}
		names, more, err := read("t", "id")
		return names, append(rows, more...), err
	},
	crossAll: func(ctx context.Context, read reader) ([]string, []row, error) {
		for range 4 {
			if _, _, err := read("t", "id"); err != nil {
				return nil, nil, err
			}
		}
		<-ctx.Done() // it would take hours
		return nil, nil, ctx.Err()
	},
}

func never(int) bool { return false }

// reader reads columns of a table.
type reader func(table string, columns ...string) ([]string, []row, error)

func (e engine) Query(ctx context.Context, from map[string]query.Table, sql string) (query.Result, error) {
	if err := ctx.Err(); err != nil {
		return query.Result{}, err
	}
	statement, ok := statements[sql]
	if !ok {
		return query.Result{}, fmt.Errorf("%w: %s", query.ErrQuery, sql)
	}
	names, rows, err := statement(ctx, func(table string, columns ...string) ([]string, []row, error) {
		t, ok := from[table]
		if !ok {
			return nil, nil, fmt.Errorf("%w: no table %s", query.ErrQuery, table)
		}
		rows, err := readAll(ctx, t, columns)
		return columns, rows, err
	})
	switch {
	case err != nil:
		return query.Result{}, err
	case e.most > 0 && len(rows) > e.most:
		return query.Result{}, fmt.Errorf("%w: %d rows", query.ErrLimit, len(rows))
	}
	r := query.Result{Rows: rows}
	for _, name := range names {
		r.Columns = append(r.Columns, query.Column{Name: name, Type: "any"})
	}
	return r, nil
}

func readAll(ctx context.Context, t query.Table, columns []string) ([]row, error) {
	r, err := t.Read(ctx, columns)
	if err != nil {
		return nil, err
	}
	defer r.Release()
	var rows []row
	for r.Next() {
		b := r.RecordBatch()
		for i := range int(b.NumRows()) {
			values := make(row, b.NumCols())
			for j := range values {
				values[j] = encode(b.Column(j), i)
			}
			rows = append(rows, values)
		}
	}
	return rows, r.Err()
}

func number(v json.RawMessage) int {
	n, err := strconv.Atoi(string(v))
	if err != nil {
		return math.MinInt
	}
	return n
}

func count(n int) []row { return []row{{json.RawMessage(strconv.Itoa(n))}} }

func sum(rows []row) json.RawMessage {
	var all float64
	for _, r := range rows {
		f, err := strconv.ParseFloat(string(r[0]), 64)
		if err != nil {
			return nil
		}
		all += f
	}
	return float(all, 64)
}

func second(rows []row) []row {
	var out []row
	for _, r := range rows {
		out = append(out, r[1:])
	}
	return out
}

func kept(read reader, id, other string, keep func(id int) bool) ([]string, []row, error) {
	names, rows, err := read("t", id, other)
	return names, slices.DeleteFunc(rows, func(r row) bool { return !keep(number(r[0])) }), err
}

func byID(read reader) ([]string, []row, error) {
	names, rows, err := read("t", "id", "name")
	slices.SortFunc(rows, func(a, b row) int { return number(a[0]) - number(b[0]) })
	return names, rows, err
}

func join(read reader, left, right string) ([]string, []row, error) {
	_, a, err := read(left, "id")
	if err != nil {
		return nil, nil, err
	}
	_, b, err := read(right, "id")
	if err != nil {
		return nil, nil, err
	}
	there := map[string]bool{}
	for _, r := range a {
		there[string(r[0])] = true
	}
	b = slices.DeleteFunc(b, func(r row) bool { return !there[string(r[0])] })
	return []string{"count"}, count(len(b)), nil
}

// encode writes a value as query.Result says.
func encode(a arrow.Array, i int) json.RawMessage {
	if a.IsNull(i) {
		return json.RawMessage("null")
	}
	switch a := a.(type) {
	case *array.Float32:
		return float(float64(a.Value(i)), 32)
	case *array.Float64:
		return float(a.Value(i), 64)
	case *array.Binary:
		return text(base64.StdEncoding.EncodeToString(a.Value(i)))
	case *array.String:
		return text(a.Value(i))
	case *array.Date32:
		return text(a.Value(i).ToTime().Format(time.DateOnly))
	case *array.Timestamp:
		form := "2006-01-02T15:04:05.999999999"
		if a.DataType().(*arrow.TimestampType).TimeZone != "" {
			form = time.RFC3339Nano
		}
		return text(time.UnixMicro(int64(a.Value(i))).UTC().Format(form))
	case *array.Decimal128:
		return json.RawMessage(a.Value(i).ToString(a.DataType().(*arrow.Decimal128Type).Scale))
	case *array.Map:
		return list(a, i, func(n int) json.RawMessage {
			return bracket('[', ']', []json.RawMessage{encode(a.Keys(), n), encode(a.Items(), n)})
		})
	case *array.List:
		return list(a, i, func(n int) json.RawMessage { return encode(a.ListValues(), n) })
	case *array.Struct:
		fields := map[string]json.RawMessage{}
		for j, f := range a.DataType().(*arrow.StructType).Fields() {
			fields[f.Name] = encode(a.Field(j), i)
		}
		var pairs []json.RawMessage
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			pairs = append(pairs, slices.Concat(text(name), json.RawMessage(":"), fields[name]))
		}
		return bracket('{', '}', pairs)
	}
	return json.RawMessage(fmt.Sprint(a.GetOneForMarshal(i)))
}

func list(a array.ListLike, i int, element func(int) json.RawMessage) json.RawMessage {
	var elements []json.RawMessage
	from, to := a.ValueOffsets(i)
	for n := from; n < to; n++ {
		elements = append(elements, element(int(n)))
	}
	return bracket('[', ']', elements)
}

func bracket(open, end byte, parts []json.RawMessage) json.RawMessage {
	out := json.RawMessage{open}
	for i, p := range parts {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, p...)
	}
	return append(out, end)
}

func text(s string) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return nil
	}
	return bytes.TrimSpace(b.Bytes())
}

func float(v float64, bits int) json.RawMessage {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return text(strconv.FormatFloat(v, 'g', -1, bits))
	}
	return json.RawMessage(strconv.FormatFloat(v, 'g', -1, bits))
}
