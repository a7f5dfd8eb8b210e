package duckdb_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"breakwater/internal/query"
	"breakwater/internal/query/duckdb"
	"breakwater/internal/reach"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/rows"
	"breakwater/internal/table/tabletest"
)

// fixture is a version of a table that another engine wrote.
func fixture(t testing.TB, s *tabletest.Store, name string, v int64) *rows.Table {
	t.Helper()
	l, err := delta.Open(t.Context(), s, table.Root{Bucket: deltatest.Bucket, Prefix: "delta/" + name})
	if err != nil {
		t.Fatal(err)
	}
	snap, err := l.Snapshot(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	tab, err := rows.Of(s, snap)
	if err != nil {
		t.Fatal(err)
	}
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	t.Cleanup(func() { mem.AssertSize(t, 0) })
	tab.Memory = mem
	return tab
}

// memTable is a table in memory, given as JSON, that knows how it was read.
type memTable struct {
	schema  *arrow.Schema
	content string
	mu      sync.Mutex
	read    [][]string // the columns of each reading
}

func (m *memTable) Schema() *arrow.Schema { return m.schema }

func (m *memTable) Read(_ context.Context, columns []string) (array.RecordReader, error) {
	m.mu.Lock()
	m.read = append(m.read, columns)
	m.mu.Unlock()
	b, _, err := array.RecordFromJSON(memory.DefaultAllocator, m.schema, strings.NewReader(m.content))
	if err != nil {
		return nil, err
	}
	defer b.Release()
	var fields []arrow.Field
	var cols []arrow.Array
	for _, c := range columns {
		i := m.schema.FieldIndices(c)[0]
		fields, cols = append(fields, m.schema.Field(i)), append(cols, b.Column(i))
	}
	s := arrow.NewSchema(fields, nil)
	part := array.NewRecordBatch(s, cols, b.NumRows())
	defer part.Release()
	return array.NewRecordReader(s, []arrow.RecordBatch{part})
}

func lines(t testing.TB, e duckdb.Engine, tables map[string]query.Table, sql string) string {
	t.Helper()
	r, err := e.Query(t.Context(), tables, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return strings.Join(r.Lines(), "\n")
}

// SQL over every readable version of every fixture gives the engine's own count
// and sum.
func TestAnswersAreTheEngines(t *testing.T) {
	s := deltatest.Loaded(t)
	var asked int
	for truth, v := range deltatest.Readable(t) {
		if v.Version%3 != 0 && len(truth.Versions) > 10 { // a sample of the long histories
			continue
		}
		asked++
		got := lines(t, duckdb.Engine{}, map[string]query.Table{"t": fixture(t, s, truth.Name, v.Version)}, "SELECT count(*), coalesce(sum(id), 0) FROM t")
		if want := fmt.Sprintf("[%d,%d]", v.Rows, v.SumID); got != want {
			t.Errorf("%s at %d: %s, want %s", truth.Name, v.Version, got, want)
		}
	}
	if asked < 80 {
		t.Errorf("only %d versions were asked", asked)
	}
}

// A table may be read as often as the query names it, also under LIMIT, which
// leaves a reading in its middle, and two tables may be joined.
func TestTablesAreReadAgain(t *testing.T) {
	s := deltatest.Loaded(t, "many_commits", "dv")
	tables := map[string]query.Table{"t": fixture(t, s, "many_commits", 20), "other table": fixture(t, s, "dv", 5)}
	n := lines(t, duckdb.Engine{}, tables, "SELECT count(*) FROM t")
	for _, sql := range []string{
		"SELECT count(*) FROM t a JOIN t b USING (id)",
		"WITH x AS NOT MATERIALIZED (SELECT id FROM t) SELECT count(*) FROM x a, x b WHERE a.id = b.id",
		"SELECT count(*) FROM t WHERE id IN (SELECT id FROM t) AND EXISTS (SELECT id FROM t LIMIT 1)",
		"SELECT count(*) // 3 FROM (SELECT id FROM t UNION ALL SELECT id FROM t UNION ALL SELECT id FROM t)",
	} {
		if got := lines(t, duckdb.Engine{}, tables, sql); got != n || n == "[0]" {
			t.Errorf("%s: %s, want %s", sql, got, n)
		}
	}
	if got := lines(t, duckdb.Engine{}, tables, `SELECT count(*) > 0 FROM "other table", (SELECT id FROM t LIMIT 1)`); got != "[true]" {
		t.Error(got)
	}
}

// Every type of a table reaches SQL and comes back, null or not, in one way of
// writing.
func TestTypes(t *testing.T) {
	us := func(zone string) arrow.DataType {
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: zone}
	}
	for _, tc := range []struct {
		typ           arrow.DataType
		in, typ2, out string
	}{
		{arrow.FixedWidthTypes.Boolean, `true`, "BOOLEAN", `true`},
		{arrow.PrimitiveTypes.Int8, `-8`, "TINYINT", `-8`},
		{arrow.PrimitiveTypes.Int16, `-300`, "SMALLINT", `-300`},
		{arrow.PrimitiveTypes.Int32, `70000`, "INTEGER", `70000`},
		{arrow.PrimitiveTypes.Int64, `9223372036854775807`, "BIGINT", `9223372036854775807`},
		{arrow.PrimitiveTypes.Float32, `0.1`, "FLOAT", `0.1`},
		{arrow.PrimitiveTypes.Float64, `0.1`, "DOUBLE", `0.1`},
		{arrow.BinaryTypes.String, `"a<\"ü\n"`, "VARCHAR", `"a<\"ü\n"`},
		{arrow.BinaryTypes.Binary, `"AAH/"`, "BLOB", `"AAH/"`},
		{arrow.FixedWidthTypes.Date32, `"1969-02-28"`, "DATE", `"1969-02-28"`},
		{us("UTC"), `"9999-12-31 23:59:59.999999Z"`, "TIMESTAMPTZ", `"9999-12-31T23:59:59.999999Z"`},
		{us(""), `"1969-12-31 23:59:59.5"`, "TIMESTAMP", `"1969-12-31T23:59:59.5"`},
		{&arrow.Decimal128Type{Precision: 4, Scale: 2}, `"-0.5"`, "DECIMAL(4,2)", `-0.50`},
		{&arrow.Decimal128Type{Precision: 18, Scale: 0}, `"-123456789012345678"`, "DECIMAL(18,0)", `-123456789012345678`},
		{&arrow.Decimal128Type{Precision: 38, Scale: 3}, `"-12345678901234567890123456789012345.678"`, "DECIMAL(38,3)", `-12345678901234567890123456789012345.678`},
		{arrow.ListOf(arrow.PrimitiveTypes.Int32), `[1,null,3]`, "INTEGER[]", `[1,null,3]`},
		{arrow.ListOf(arrow.ListOf(arrow.BinaryTypes.String)), `[["a"],[],null]`, "VARCHAR[][]", `[["a"],[],null]`},
		{
			arrow.StructOf(arrow.Field{Name: "b", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, arrow.Field{Name: "a", Type: arrow.FixedWidthTypes.Date32, Nullable: true}),
			`{"b":1,"a":null}`, `STRUCT("b" BIGINT, "a" DATE)`, `{"a":null,"b":1}`,
		},
		{arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32), `[{"key":"k","value":1},{"key":"l","value":null}]`, "MAP(VARCHAR, INTEGER)", `[["k",1],["l",null]]`},
	} {
		tab := &memTable{schema: arrow.NewSchema([]arrow.Field{{Name: "v", Type: tc.typ, Nullable: true}}, nil), content: `[{"v":` + tc.in + `},{"v":null}]`}
		r, err := duckdb.Engine{}.Query(t.Context(), map[string]query.Table{"t": tab}, "SELECT v FROM t")
		if err != nil {
			t.Errorf("%s: %v", tc.typ, err)
			continue
		}
		if len(r.Rows) != 2 || string(r.Rows[0][0]) != tc.out || string(r.Rows[1][0]) != "null" || r.Columns[0].Type != tc.typ2 {
			t.Errorf("%s: %s of %v, want %s of %s", tc.typ, r.Rows, r.Columns, tc.out, tc.typ2)
		}
	}
	got := lines(t, duckdb.Engine{}, nil, "SELECT sum(x), 1.5::DOUBLE / 0, 'NaN'::FLOAT, TIME '12:00:01', '6f1d1bd5-5c52-4d05-8d0a-6a4a4b6d0001'::UUID, 1e21::DOUBLE FROM (VALUES (1), (2)) v(x)")
	if want := `[3,"+Inf","NaN","12:00:01","6f1d1bd5-5c52-4d05-8d0a-6a4a4b6d0001",1e+21]`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Only the columns that the query needs are read; to count rows, one of them.
func TestReadsWhatIsNeeded(t *testing.T) {
	tab := &memTable{content: `[{"a":1,"b":2,"c":3}]`, schema: arrow.NewSchema([]arrow.Field{
		{Name: "a", Type: arrow.PrimitiveTypes.Int64}, {Name: "b", Type: arrow.PrimitiveTypes.Int64}, {Name: "c", Type: arrow.PrimitiveTypes.Int64},
	}, nil)}
	for sql, want := range map[string]string{
		"SELECT count(*) FROM t": "[[a]]", "SELECT sum(c) FROM t WHERE a = 1": "[[a c]]", "SELECT b FROM t UNION ALL SELECT a FROM t": "[[b] [a]]",
	} {
		tab.read = nil
		lines(t, duckdb.Engine{}, map[string]query.Table{"t": tab}, sql)
		slices.SortFunc(tab.read, func(x, y []string) int { return -strings.Compare(strings.Join(x, " "), strings.Join(y, " ")) })
		if got := fmt.Sprint(tab.read); got != want {
			t.Errorf("%s read %s, want %s", sql, got, want)
		}
	}
}

// A query reads its tables and nothing else, and cannot loosen that.
func TestNothingElseIsReached(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret.csv")
	if err := os.WriteFile(secret, []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"SELECT * FROM '" + secret + "'",
		"SELECT * FROM read_csv('" + secret + "')",
		"SELECT content FROM read_text('" + secret + "')",
		"COPY (SELECT 1) TO '" + secret + ".out'",
		"ATTACH '" + secret + ".db' AS x",
		"SELECT * FROM read_parquet('https://127.0.0.1:1/x.parquet')",
		"INSTALL httpfs", "LOAD httpfs",
		"SET enable_external_access = true", "SET memory_limit = '100GB'", "SET lock_configuration = false",
		"EXPORT DATABASE '" + filepath.Dir(secret) + "'",
	} {
		r, err := duckdb.Engine{}.Query(t.Context(), nil, sql)
		if !errors.Is(err, query.ErrQuery) {
			t.Errorf("%s: %v, %v", sql, r, err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(secret)); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

// What ends a query says whose fault it is.
func TestErrors(t *testing.T) {
	s := deltatest.Loaded(t, "dv")
	tab := fixture(t, s, "dv", 5)
	var fail error
	s.Fail = func(_, key string) error {
		if strings.HasSuffix(key, ".parquet") {
			return fail
		}
		return nil
	}
	tables := map[string]query.Table{"t": tab}
	for _, tc := range []struct {
		sql    string
		engine duckdb.Engine
		fail   error
		want   error
		says   string
	}{
		{"SELEC 1", duckdb.Engine{}, nil, query.ErrQuery, "syntax error"},
		{"SELECT nope FROM t", duckdb.Engine{}, nil, query.ErrQuery, "nope"},
		{"SELECT * FROM tt", duckdb.Engine{}, nil, query.ErrQuery, "tt"},
		{"SELECT 'x'::INTEGER", duckdb.Engine{}, nil, query.ErrQuery, "Could not convert"},
		{"SELECT * FROM t", duckdb.Engine{}, syscall.ECONNREFUSED, reach.ErrUnreachable, "delta/dv"},
		{"SELECT * FROM t", duckdb.Engine{MaxRows: 3}, nil, query.ErrLimit, "more than 3 rows"},
		{"SELECT list(i) FROM range(100000000) r(i)", duckdb.Engine{Memory: 32 << 20}, nil, query.ErrLimit, "memory"},
		{"SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = 1", duckdb.Engine{Timeout: 300 * time.Millisecond}, nil, query.ErrLimit, "longer than 300ms"},
	} {
		fail = tc.fail
		began := time.Now()
		_, err := tc.engine.Query(t.Context(), tables, tc.sql)
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) || reach.Unreachable(err) != errors.Is(tc.want, reach.ErrUnreachable) {
			t.Errorf("%s: %v; want %v, saying %q", tc.sql, err, tc.want, tc.says)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s took %v", tc.sql, took)
		}
	}
}

// A cancelled query ends at once, while it works and while it reads.
func TestCancelled(t *testing.T) {
	s := deltatest.Loaded(t, "many_commits")
	tab := fixture(t, s, "many_commits", 20)
	reading := make(chan struct{})
	var once sync.Once
	ctx, cancel := context.WithCancel(t.Context())
	s.Fail = func(_, key string) error {
		once.Do(func() { close(reading) })
		<-ctx.Done()
		return ctx.Err()
	}
	done := make(chan error, 1)
	go func() {
		_, err := duckdb.Engine{}.Query(ctx, map[string]query.Table{"t": tab}, "SELECT sum(id) FROM t")
		done <- err
	}()
	<-reading
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The order of rows has no say in a hash, every value has.
func TestHash(t *testing.T) {
	hash := func(sql string) string {
		r, err := duckdb.Engine{}.Query(t.Context(), nil, sql)
		if err != nil {
			t.Fatal(err)
		}
		return r.Hash()
	}
	one := hash("SELECT * FROM (VALUES (1, 'a'), (2, NULL)) v(x, y)")
	if one != hash("SELECT x AS p, y AS q FROM (VALUES (2, NULL), (1, 'a')) v(x, y)") {
		t.Error("the order of rows, or the names of columns, moved the hash")
	}
	for _, sql := range []string{
		"SELECT * FROM (VALUES (1, 'a'), (2, 'null')) v(x, y)", "SELECT * FROM (VALUES (1, 'a')) v(x, y)", "SELECT * FROM (VALUES (1, 'a'), (2, NULL), (2, NULL)) v(x, y)",
		"SELECT 1 WHERE false", "SELECT 1, 2 WHERE false",
	} {
		if hash(sql) == one {
			t.Errorf("%s left the hash", sql)
		}
	}
	if hash("SELECT 1 WHERE false") == hash("SELECT 1, 2 WHERE false") {
		t.Error("the number of columns left the hash")
	}
}

func TestObjects(t *testing.T) {
	r, err := duckdb.Engine{}.Query(t.Context(), nil, `SELECT 1 AS b, 'x' AS "a""" UNION ALL SELECT 2, NULL ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Objects(); err != nil || string(got) != `[{"b":1,"a\"":"x"},{"b":2,"a\"":null}]` {
		t.Errorf("%s, %v", got, err)
	}
	r.Columns[1].Name = "b"
	if got, err := r.Objects(); !errors.Is(err, query.ErrQuery) {
		t.Errorf("%s, %v", got, err)
	}
}
