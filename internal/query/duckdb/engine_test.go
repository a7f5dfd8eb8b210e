package duckdb_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"breakwater/internal/query"
	"breakwater/internal/query/duckdb"
	"breakwater/internal/query/querytest"
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

// TestPort is what every engine promises.
func TestPort(t *testing.T) {
	querytest.Run(t, querytest.Target{
		Engine:  duckdb.Engine{},
		Limited: func(rows int) query.Engine { return duckdb.Engine{MaxRows: rows} },
		Elsewhere: func(file string) []string {
			return []string{
				"SELECT * FROM '" + file + "'",
				"SELECT * FROM read_csv('" + file + "')",
				"SELECT content FROM read_text('" + file + "')",
				"COPY (SELECT 1) TO '" + file + ".out'",
				"ATTACH '" + file + ".db' AS x",
				"SELECT * FROM read_parquet('https://127.0.0.1:1/x.parquet')",
				"INSTALL httpfs", "LOAD httpfs",
				"SET enable_external_access = true", "SET memory_limit = '100GB'", "SET lock_configuration = false",
				"EXPORT DATABASE '" + filepath.Dir(file) + "'",
			}
		},
	})
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

// Types have DuckDB's names, and its own values are written in one way, too.
func TestTypes(t *testing.T) {
	us := func(zone string) arrow.DataType {
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: zone}
	}
	types := []arrow.DataType{
		arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64,
		arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64, arrow.BinaryTypes.String, arrow.BinaryTypes.Binary, arrow.FixedWidthTypes.Date32,
		us("UTC"), us(""), &arrow.Decimal128Type{Precision: 4, Scale: 2}, &arrow.Decimal128Type{Precision: 18, Scale: 0}, &arrow.Decimal128Type{Precision: 38, Scale: 3},
		arrow.ListOf(arrow.PrimitiveTypes.Int32), arrow.ListOf(arrow.ListOf(arrow.BinaryTypes.String)),
		arrow.StructOf(arrow.Field{Name: "b", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, arrow.Field{Name: "a", Type: arrow.FixedWidthTypes.Date32, Nullable: true}),
		arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32),
	}
	tab := &querytest.Table{}
	var fields []arrow.Field
	for i, typ := range types {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%d", i), Type: typ, Nullable: true})
	}
	tab.Columns = arrow.NewSchema(fields, nil)
	r, err := duckdb.Engine{}.Query(t.Context(), map[string]query.Table{"t": tab}, "SELECT * FROM t")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range r.Columns {
		names = append(names, c.Type)
	}
	want := []string{
		"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "VARCHAR", "BLOB", "DATE", "TIMESTAMPTZ", "TIMESTAMP",
		"DECIMAL(4,2)", "DECIMAL(18,0)", "DECIMAL(38,3)", "INTEGER[]", "VARCHAR[][]", `STRUCT("b" BIGINT, "a" DATE)`, "MAP(VARCHAR, INTEGER)",
	}
	if !slices.Equal(names, want) {
		t.Errorf("types are %q, want %q", names, want)
	}
	got := lines(t, duckdb.Engine{}, nil, "SELECT sum(x), 1.5::DOUBLE / 0, 'NaN'::FLOAT, TIME '12:00:01', '6f1d1bd5-5c52-4d05-8d0a-6a4a4b6d0001'::UUID, 1e21::DOUBLE FROM (VALUES (1), (2)) v(x)")
	if want := `[3,"+Inf","NaN","12:00:01","6f1d1bd5-5c52-4d05-8d0a-6a4a4b6d0001",1e+21]`; got != want {
		t.Errorf("%s, want %s", got, want)
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
