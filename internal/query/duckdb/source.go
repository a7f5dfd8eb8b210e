package duckdb

import (
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/duckdb/duckdb-go/v2"

	"breakwater/internal/query"
)

// source is a table as DuckDB sees it.
type source struct {
	run     *run
	name    string
	table   query.Table
	columns []duckdb.ColumnInfo
}

var _ duckdb.ParallelChunkTableSource = (*source)(nil)

func newSource(r *run, name string, t query.Table) (*source, error) {
	s := &source{run: r, name: name, table: t}
	for _, f := range t.Schema().Fields() {
		typ, err := typeInfo(f.Type)
		if err != nil {
			return nil, fmt.Errorf("table %s: column %s: %w", name, f.Name, err)
		}
		s.columns = append(s.columns, duckdb.ColumnInfo{Name: f.Name, T: typ})
	}
	return s, nil
}

// ColumnInfos is the table's schema.
func (s *source) ColumnInfos() []duckdb.ColumnInfo { return s.columns }

// Cardinality tells nothing: it would only order joins.
func (s *source) Cardinality() *duckdb.CardinalityInfo { return nil }

// Init keeps each scan on one thread, so that its rows keep their order.
func (s *source) Init() duckdb.ParallelTableSourceInfo {
	return duckdb.ParallelTableSourceInfo{MaxThreads: 1}
}

// NewLocalState begins a scan.
func (s *source) NewLocalState() any {
	sc := &scan{source: s}
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	s.run.scans = append(s.run.scans, sc)
	return sc
}

// FillChunk gives the next rows of a scan, none at its end. A panic here would
// leave DuckDB waiting for ever.
func (s *source) FillChunk(state any, chunk duckdb.DataChunk) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.run.fail(fmt.Errorf("scan of %s: %v", s.name, p))
		}
	}()
	sc, ok := state.(*scan)
	if !ok {
		return s.run.fail(fmt.Errorf("scan of %s: the engine hands back another state than it was given", s.name))
	}
	n, err := sc.fill(&chunk)
	if err == nil {
		err = chunk.SetSize(n)
	}
	if err != nil {
		return s.run.fail(err)
	}
	return nil
}

// scan is one reading of a table.
type scan struct {
	*source
	mu     sync.Mutex // DuckDB may still be in fill while a cancelled query closes
	reader array.RecordReader
	places []int    // of the columns read, in the table
	set    []setter // for each column read, of the current batch
	row, n int
	ended  bool
}

// fill writes as many rows as fit and the current batch has. The reader is opened
// with the first, which is when it is known which columns the query needs.
func (s *scan) fill(chunk *duckdb.DataChunk) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, nil
	}
	if s.reader == nil {
		names := []string{}
		for i, c := range s.columns {
			if needed(chunk, i) {
				s.places, names = append(s.places, i), append(names, c.Name)
			}
		}
		if s.reader, err = s.table.Read(s.run.ctx, names); err != nil {
			return 0, err
		}
	}
	for s.row == s.n {
		if !s.reader.Next() {
			s.ended = true
			return 0, s.reader.Err()
		}
		if err := s.batch(s.reader.RecordBatch()); err != nil {
			return 0, err
		}
	}
	n = min(duckdb.GetDataChunkCapacity(), s.n-s.row)
	for i, set := range s.set {
		for row := range n {
			if err := set(chunk, s.places[i], row, s.row+row); err != nil {
				return 0, fmt.Errorf("table %s: column %s: %w", s.name, s.columns[s.places[i]].Name, err)
			}
		}
	}
	s.row += n
	return n, nil
}

// needed reports whether the query needs a column. The library tells only by
// taking any value whatever for one that it does not.
func needed(chunk *duckdb.DataChunk, column int) bool {
	type noValue struct{ _ chan int }
	return chunk.SetValue(column, 0, noValue{}) != nil
}

func (s *scan) batch(b arrow.RecordBatch) error {
	s.row, s.n = 0, int(b.NumRows())
	s.set = s.set[:0]
	for i, c := range b.Columns() {
		set, err := setterOf(c)
		if err != nil {
			return fmt.Errorf("table %s: column %s: %w", s.name, s.columns[s.places[i]].Name, err)
		}
		s.set = append(s.set, set)
	}
	return nil
}

func (s *scan) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.reader != nil {
		s.reader.Release()
		s.reader = nil
	}
}

// typeInfo is DuckDB's type for an Arrow type.
func typeInfo(t arrow.DataType) (duckdb.TypeInfo, error) {
	switch t := t.(type) {
	case *arrow.Decimal128Type:
		return duckdb.NewDecimalInfo(uint8(t.Precision), uint8(t.Scale))
	case *arrow.MapType: // before the list that it is too
		key, err := typeInfo(t.KeyType())
		if err != nil {
			return nil, err
		}
		value, err := typeInfo(t.ItemType())
		if err != nil {
			return nil, err
		}
		return duckdb.NewMapInfo(key, value)
	case *arrow.ListType:
		element, err := typeInfo(t.Elem())
		if err != nil {
			return nil, err
		}
		return duckdb.NewListInfo(element)
	case *arrow.StructType:
		var entries []duckdb.StructEntry
		for _, f := range t.Fields() {
			typ, err := typeInfo(f.Type)
			if err != nil {
				return nil, err
			}
			e, err := duckdb.NewStructEntry(typ, f.Name)
			if err != nil {
				return nil, err
			}
			entries = append(entries, e)
		}
		if len(entries) == 0 {
			return nil, fmt.Errorf("a struct without fields cannot be asked for here")
		}
		return duckdb.NewStructInfo(entries[0], entries[1:]...)
	case *arrow.TimestampType:
		if t.TimeZone != "" {
			return duckdb.NewTypeInfo(duckdb.TYPE_TIMESTAMP_TZ)
		}
		return duckdb.NewTypeInfo(duckdb.TYPE_TIMESTAMP)
	}
	plain, ok := map[arrow.Type]duckdb.Type{
		arrow.BOOL: duckdb.TYPE_BOOLEAN, arrow.INT8: duckdb.TYPE_TINYINT, arrow.INT16: duckdb.TYPE_SMALLINT,
		arrow.INT32: duckdb.TYPE_INTEGER, arrow.INT64: duckdb.TYPE_BIGINT, arrow.FLOAT32: duckdb.TYPE_FLOAT,
		arrow.FLOAT64: duckdb.TYPE_DOUBLE, arrow.STRING: duckdb.TYPE_VARCHAR, arrow.BINARY: duckdb.TYPE_BLOB, arrow.DATE32: duckdb.TYPE_DATE,
	}[t.ID()]
	if !ok {
		return nil, fmt.Errorf("type %s cannot be asked for here", t)
	}
	return duckdb.NewTypeInfo(plain)
}

// setter writes the n-th value of an array into a row of a column.
type setter func(chunk *duckdb.DataChunk, column, row, n int) error

// setterOf is the setter of an array. What is not nested goes without boxing.
func setterOf(a arrow.Array) (setter, error) {
	var set setter
	switch a := a.(type) {
	case *array.Boolean:
		set = func(chunk *duckdb.DataChunk, c, row, n int) error {
			return duckdb.SetChunkValue(*chunk, c, row, a.Value(n))
		}
	case *array.Int8:
		set = func(chunk *duckdb.DataChunk, c, row, n int) error {
			return duckdb.SetChunkValue(*chunk, c, row, a.Value(n))
		}
	case *array.Int16:
		set = func(chunk *duckdb.DataChunk, c, row, n int) error {
			return duckdb.SetChunkValue(*chunk, c, row, a.Value(n))
		}
	case *array.Int32:
		set = func(chunk *duckdb.DataChunk, c, row, n int) error {
			return duckdb.SetChunkValue(*chunk, c, row, a.Value(n))
		}
	case *array.Int64:
		set = func(chunk *duckdb.DataChunk, c, row, n int) error {
			return duckdb.SetChunkValue(*chunk, c, row, a.Value(n))
		}
	case *array.Float32:
		set = func(chunk *duckdb.DataChunk, c, row, n int) error {
			return duckdb.SetChunkValue(*chunk, c, row, a.Value(n))
		}
	case *array.Float64:
		set = func(chunk *duckdb.DataChunk, c, row, n int) error {
			return duckdb.SetChunkValue(*chunk, c, row, a.Value(n))
		}
	case *array.String:
		set = func(chunk *duckdb.DataChunk, c, row, n int) error {
			v := a.Value(n)
			if !utf8.ValidString(v) {
				return fmt.Errorf("%w: a value is no UTF-8, which SQL demands of text", query.ErrQuery)
			}
			return duckdb.SetChunkValue(*chunk, c, row, v)
		}
	case *array.Binary:
		set = func(chunk *duckdb.DataChunk, c, row, n int) error {
			return duckdb.SetChunkValue(*chunk, c, row, a.Value(n))
		}
	default:
		value, err := valueOf(a)
		if err != nil {
			return nil, err
		}
		return func(chunk *duckdb.DataChunk, c, row, n int) error { return chunk.SetValue(c, row, value(n)) }, nil
	}
	if a.NullN() == 0 {
		return set, nil
	}
	return func(chunk *duckdb.DataChunk, c, row, n int) error {
		if a.IsNull(n) {
			return chunk.SetValue(c, row, nil)
		}
		return set(chunk, c, row, n)
	}, nil
}

// valueOf gives an array's values as DuckDB's Go library takes them, nil for
// null.
func valueOf(a arrow.Array) (func(n int) any, error) {
	f, err := nonNull(a)
	if err != nil {
		return nil, err
	}
	return func(n int) any {
		if a.IsNull(n) {
			return nil
		}
		return f(n)
	}, nil
}

func nonNull(a arrow.Array) (func(n int) any, error) {
	switch a := a.(type) {
	case *array.Boolean:
		return func(n int) any { return a.Value(n) }, nil
	case *array.Int8:
		return func(n int) any { return a.Value(n) }, nil
	case *array.Int16:
		return func(n int) any { return a.Value(n) }, nil
	case *array.Int32:
		return func(n int) any { return a.Value(n) }, nil
	case *array.Int64:
		return func(n int) any { return a.Value(n) }, nil
	case *array.Float32:
		return func(n int) any { return a.Value(n) }, nil
	case *array.Float64:
		return func(n int) any { return a.Value(n) }, nil
	case *array.String:
		return func(n int) any { return a.Value(n) }, nil
	case *array.Binary:
		return func(n int) any { return a.Value(n) }, nil
	case *array.Date32:
		return func(n int) any { return time.Unix(int64(a.Value(n))*86400, 0).UTC() }, nil
	case *array.Timestamp:
		return func(n int) any { return time.UnixMicro(int64(a.Value(n))).UTC() }, nil
	case *array.Decimal128:
		if a.DataType().(*arrow.Decimal128Type).Precision <= 18 { //nolint:errcheck // it is that array's
			return func(n int) any { return int64(a.Value(n).LowBits()) }, nil
		}
		return func(n int) any { return a.Value(n).BigInt() }, nil
	case *array.Map: // before the list that it is too
		key, err := valueOf(a.Keys())
		if err != nil {
			return nil, err
		}
		value, err := valueOf(a.Items())
		return func(n int) any {
			var m duckdb.OrderedMap
			from, to := a.ValueOffsets(n)
			for i := int(from); i < int(to); i++ {
				m.Set(key(i), value(i))
			}
			return m
		}, err
	case *array.List:
		element, err := valueOf(a.ListValues())
		return func(n int) any {
			from, to := a.ValueOffsets(n)
			list := make([]any, 0, to-from)
			for i := int(from); i < int(to); i++ {
				list = append(list, element(i))
			}
			return list
		}, err
	case *array.Struct:
		fields := a.DataType().(*arrow.StructType).Fields() //nolint:errcheck // it is that array's
		parts := make([]func(int) any, len(fields))
		for i := range fields {
			var err error
			if parts[i], err = valueOf(a.Field(i)); err != nil {
				return nil, err
			}
		}
		return func(n int) any {
			m := make(map[string]any, len(fields))
			for i, f := range fields {
				m[f.Name] = parts[i](n)
			}
			return m
		}, nil
	}
	return nil, fmt.Errorf("values of type %s cannot be asked for here", a.DataType())
}
