// Package query is the port through which SQL is asked of tables. Package duckdb
// below it is the engine that is built in; others (Trino, Databricks SQL) fit
// behind the same [Engine]. Package querytest holds every promise made here as a
// test.
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
// version of a Delta table. It may be used concurrently.
type Table interface {
	// Schema is the table's columns, the same each time.
	Schema() *arrow.Schema
	// Read begins a reading of the named columns, in that order; without any where
	// only the count of rows matters. It gives the same rows in the same order each
	// time, and it may be called again while other readings go on. The reading ends
	// with ctx. The caller releases the reader.
	Read(ctx context.Context, columns []string) (array.RecordReader, error)
}

// Source is what a [Table] can be made of, such as a version of a table whose
// format can be read here.
type Source interface {
	Queryable() (Table, error)
}

// Engine answers SQL over tables. It may be called concurrently, and as often as
// one likes: a query changes nothing, and nothing of it stays for the next one.
//
// A query knows the tables of its map, each under the name that it has there,
// which may be any text, and reaches nothing else: no file, no network, no other
// database, no setting of the engine. It calls [Table.Read] once for each time
// that it reads a table, with the columns that it needs and, to count rows, one
// more at most, and has released each reader when it returns.
//
// An answer is whole: it has all its rows, or there is an error and no row. Its
// rows are in the order that ORDER BY asks for, and in any where it does not. The
// same query over the same rows has the same values each time, the last digits of
// a floating-point sum included.
//
// An error is one of these:
//   - [ErrQuery] and [ErrLimit]: asking again is of no use;
//   - that of ctx, soon after its end, in whatever the engine is at;
//   - what reading a table ended with, in the chain, and then it is none of the
//     others.
type Engine interface {
	Query(ctx context.Context, tables map[string]Table, sql string) (Result, error)
}

// ErrQuery says that the query cannot be answered whatever the tables hold, that
// they hold what it cannot work with, or that it asks for more than its tables: it
// is for its author to change.
var ErrQuery = errors.New("the query is at fault")

// ErrLimit says that the query needs more memory, time or rows than it may have.
// Nothing is known of its answer.
var ErrLimit = errors.New("the query went past a limit")

// ErrRows says that the answer has more rows than it may have, so that it has some. It is
// an [ErrLimit], too.
var ErrRows = fmt.Errorf("%w of rows", ErrLimit)

// Column is a column of an answer.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"` // in the engine's words
}

// Result is an answer. Its values are JSON, each written in one way only, so that
// equal values are equal texts:
//   - null is null;
//   - integers and decimals are numbers with all their digits, decimals with all
//     the places of their type;
//   - a floating-point number is the shortest number that reads back as the same,
//     or the text "NaN", "+Inf" or "-Inf";
//   - dates and times are texts as in ISO 8601: a date alone, a time without a zone
//     without one, and every other one in UTC, with as many digits of a second as
//     it needs;
//   - binary is text in base64;
//   - a list is an array, a struct an object with sorted names, and a map an array
//     of pairs in its order;
//   - there are no spaces, and a text escapes only what JSON must.
type Result struct {
	// Columns are those of the answer, with the names that the query gives them,
	// also where there are no rows.
	Columns []Column            `json:"columns"`
	Rows    [][]json.RawMessage `json:"rows"` // of one value for each column
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
