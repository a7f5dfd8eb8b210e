// Package duckdb answers SQL with DuckDB, which is compiled in: no server, no
// extension, and by its settings no file and no network either.
//
// A table becomes a view over a table function that opens a fresh reader for
// each scan, so that a query may read it any number of times, and reads the
// columns that the query needs and no others. Nothing is materialised but what
// the query itself collects. A scan hands its rows over on one thread, in the
// table's own order: the same query over the same rows gives the same answer,
// sums of floating-point numbers included.
//
// DuckDB is C++ in our process. It can crash it, or be stopped by the system for
// its memory: who serves anything else asks for queries in a process of their
// own (see docs/decisions).
package duckdb

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"breakwater/internal/plural"
	"breakwater/internal/query"
)

// Engine runs each query in a database of its own, in memory. Its zero value is
// ready.
type Engine struct {
	Memory  int64         // bytes that DuckDB may take for one query; 1 GiB if 0
	Threads int           // per query; 2 if 0
	Timeout time.Duration // of one query; an hour if 0
	MaxRows int           // of an answer; 100,000 if 0
}

var _ query.Engine = Engine{}

// Query answers one query.
func (e Engine) Query(ctx context.Context, tables map[string]query.Table, text string) (query.Result, error) {
	limit := cmp.Or(e.Timeout, time.Hour)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: it took longer than %v; let it read less", query.ErrLimit, limit))
	defer cancel()
	r := &run{ctx: ctx}
	defer r.close()
	res, err := e.query(ctx, r, tables, text)
	if err != nil {
		return query.Result{}, r.explain(err)
	}
	return res, nil
}

func (e Engine) query(ctx context.Context, r *run, tables map[string]query.Table, text string) (res query.Result, err error) {
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return res, fmt.Errorf("open DuckDB: %w", err)
	}
	db := sql.OpenDB(connector)
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return res, fmt.Errorf("open DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	settings := []string{
		fmt.Sprintf("SET memory_limit = '%dB'", cmp.Or(e.Memory, 1<<30)),
		fmt.Sprintf("SET threads = %d", cmp.Or(e.Threads, 2)),
		"SET TimeZone = 'UTC'",
		"SET temp_directory = ''",
		"SET autoinstall_known_extensions = false", "SET autoload_known_extensions = false",
		"SET enable_external_access = false",
	}
	for _, s := range settings {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			return res, fmt.Errorf("set up DuckDB: %s: %w", s, err)
		}
	}
	names := make([]string, 0, len(tables))
	for name := range tables {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		if err := r.register(conn, fmt.Sprintf("scan_%d", i), name, tables[name]); err != nil {
			return res, err
		}
	}
	if _, err := conn.ExecContext(ctx, "SET lock_configuration = true"); err != nil {
		return res, fmt.Errorf("set up DuckDB: %w", err)
	}
	rows, err := conn.QueryContext(ctx, text)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	return e.collect(rows)
}

// collect reads an answer.
func (e Engine) collect(rows *sql.Rows) (query.Result, error) {
	res := query.Result{Columns: []query.Column{}}
	types, err := rows.ColumnTypes()
	if err != nil {
		return res, err
	}
	values := make([]any, len(types))
	at := make([]any, len(types))
	for i, t := range types {
		res.Columns = append(res.Columns, query.Column{Name: t.Name(), Type: t.DatabaseTypeName()})
		at[i] = &values[i]
	}
	most := cmp.Or(e.MaxRows, 100_000)
	for rows.Next() {
		if len(res.Rows) == most {
			return res, fmt.Errorf("%w: its answer has more than %s; let it count, group or LIMIT them", query.ErrRows, plural.Of(most, "row"))
		}
		if err := rows.Scan(at...); err != nil {
			return res, err
		}
		row, err := encodeRow(values, res.Columns)
		if err != nil {
			return res, err
		}
		res.Rows = append(res.Rows, row)
	}
	return res, rows.Err()
}

// run is one query: what its scans opened, and what they ended with.
type run struct {
	ctx context.Context // of this one query: DuckDB calls scans back without one

	mu     sync.Mutex
	scans  []*scan
	failed error // the first that a scan ended with
}

// register makes a table known to DuckDB under its name.
func (r *run) register(conn *sql.Conn, function, name string, t query.Table) error {
	src, err := newSource(r, name, t)
	if err != nil {
		return err
	}
	err = duckdb.RegisterTableUDF(conn, function, duckdb.ParallelChunkTableFunction{
		BindArguments: func(map[string]any, ...any) (duckdb.ParallelChunkTableSource, error) { return src, nil },
	})
	if err != nil {
		return fmt.Errorf("register table %s: %w", name, err)
	}
	quoted := `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	if _, err := conn.ExecContext(r.ctx, fmt.Sprintf("CREATE VIEW %s AS SELECT * FROM %s()", quoted, function)); err != nil {
		return fmt.Errorf("register table %s: %w", name, err)
	}
	return nil
}

// fail remembers what a scan ended with: through DuckDB only its text would
// come back.
func (r *run) fail(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = err
	}
	return err
}

// close ends the readings that the query left in the middle.
func (r *run) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.scans {
		s.close()
	}
}

// explain says whose fault an error is.
func (r *run) explain(err error) error {
	r.mu.Lock()
	failed := r.failed
	r.mu.Unlock()
	var d *duckdb.Error
	switch {
	case r.ctx.Err() != nil:
		return context.Cause(r.ctx)
	case failed != nil:
		return failed
	case errors.Is(err, query.ErrLimit), errors.Is(err, query.ErrQuery):
		return err
	case errors.As(err, &d) && d.Type == duckdb.ErrorTypeOutOfMemory:
		return fmt.Errorf("%w: it needs more memory than it may have; let it read or collect less: %w", query.ErrLimit, err)
	case errors.As(err, &d) && (d.Type == duckdb.ErrorTypePermission || d.Type == duckdb.ErrorTypeInvalidConfiguration):
		return fmt.Errorf("%w: a query reads its tables only, no file, no network and no setting: %w", query.ErrQuery, err)
	case errors.As(err, &d) && d.Type != duckdb.ErrorTypeInternal && d.Type != duckdb.ErrorTypeFatal:
		return fmt.Errorf("%w: %w", query.ErrQuery, err)
	}
	return fmt.Errorf("ask DuckDB: %w", err)
}
