// Package query is the port through which SQL is asked of tables. Package duckdb
// below it is the engine that is built in; others (Trino, Databricks SQL) fit
// behind the same [Engine].
//
// An engine reads tables through [Table] and nothing else: no file, no network.
package query

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// Table is what a query reads rows from. Package delta/rows makes one of a
// version of a Delta table.
type Table interface {
	Schema() *arrow.Schema
	// Read begins a reading of the named columns, without any where only the count
	// of rows matters. It is called once for each time that the query reads the
	// table, several times where it names it twice, and gives the same rows each
	// time. The caller releases the reader.
	Read(ctx context.Context, columns []string) (array.RecordReader, error)
}

// Engine answers SQL over tables, each under the name that it has in the map. It
// may be called concurrently. Its errors are [ErrQuery], [ErrLimit], the
// context's, or what reading a table ended with.
type Engine interface {
	Query(ctx context.Context, tables map[string]Table, sql string) (Result, error)
}

// ErrQuery says that the query cannot be answered whatever the tables hold, or
// that they hold what it cannot work with: it is for its author to change.
var ErrQuery = errors.New("the query is at fault")

// ErrLimit says that the query needs more memory or time than it may have.
// Nothing is known of its answer.
var ErrLimit = errors.New("the query went past a limit")

// Column is a column of an answer.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"` // in the engine's words
}

// Result is an answer. Its values are JSON, each written in one way only:
// numbers with all their digits, dates and times as in ISO 8601, binary in
// base64, nested values as arrays and objects.
type Result struct {
	Columns []Column            `json:"columns"`
	Rows    [][]json.RawMessage `json:"rows"`
}

// Lines are the rows as JSON arrays, sorted: without ORDER BY, which row comes
// first says nothing.
func (r Result) Lines() []string {
	lines := make([]string, len(r.Rows))
	for i, row := range r.Rows {
		var b bytes.Buffer
		b.WriteByte('[')
		for j, v := range row {
			if j > 0 {
				b.WriteByte(',')
			}
			b.Write(v)
		}
		b.WriteByte(']')
		lines[i] = b.String()
	}
	slices.Sort(lines)
	return lines
}

// Hash is the SHA-256 in hexadecimal of the answer's values: of how many columns
// it has, and its [Result.Lines]. What columns are called has no say.
func (r Result) Hash() string {
	h := sha256.New()
	fmt.Fprintln(h, len(r.Columns))
	for _, line := range r.Lines() {
		fmt.Fprintln(h, line)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Objects are the rows as JSON objects by the columns' names, in their order. It
// is [ErrQuery] for two columns of one name.
func (r Result) Objects() (json.RawMessage, error) {
	names := make([][]byte, len(r.Columns))
	for i, c := range r.Columns {
		if slices.IndexFunc(r.Columns, func(o Column) bool { return o.Name == c.Name }) != i {
			return nil, fmt.Errorf("%w: two columns of its answer are called %q; name one of them with AS", ErrQuery, c.Name)
		}
		var err error
		if names[i], err = json.Marshal(c.Name); err != nil {
			return nil, err
		}
	}
	b := bytes.NewBufferString("[")
	for i, row := range r.Rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('{')
		for j, v := range row {
			if j > 0 {
				b.WriteByte(',')
			}
			b.Write(names[j])
			b.WriteByte(':')
			b.Write(v)
		}
		b.WriteByte('}')
	}
	b.WriteByte(']')
	return b.Bytes(), nil
}
