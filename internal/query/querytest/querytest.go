// Package querytest is what package query promises, as a suite that runs against
// any engine. Its SQL is the standard's; what is an engine's own comes with the
// [Target].
package querytest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"breakwater/internal/promise"
	"breakwater/internal/query"
)

// Target is what the suite runs against.
type Target struct {
	Engine query.Engine
	// Limited is an engine of the same kind that gives no answer of more than so
	// many rows.
	Limited func(rows int) query.Engine
	// Elsewhere are statements in the engine's own words that reach beyond the
	// query's tables: that read the file, which is CSV with one column and a header,
	// write beside it, ask the network or loosen a setting.
	Elsewhere func(file string) []string
}

// Run runs the suite.
func Run(t *testing.T, target Target) {
	t.Helper()
	suite.Run(t, target)
}

var suite = promise.Suite[Target]{
	{Name: "an answer is whole", Check: testWhole},
	{Name: "an answer past the limit is an error", Check: testLimit},
	{Name: "ORDER BY decides the order of rows", Check: testOrder},
	{Name: "a value is written in one way", Check: testValues},
	{Name: "null is no text", Check: testNull},
	{Name: "an answer without rows has its columns", Check: testNoRows},
	{Name: "columns are called as the query says", Check: testNames},
	{Name: "a table is read as often as it is named", Check: testReadAgain},
	{Name: "only what is needed is read", Check: testNeeded},
	{Name: "every reading is released", Check: testReleased},
	{Name: "the same query gives the same answer", Check: testSame},
	{Name: "queries know nothing of one another", Check: testConcurrent},
	{Name: "a query changes nothing", Check: testChanges},
	{Name: "a query reaches nothing but its tables", Check: testElsewhere},
	{Name: "a mistake of the query is an error of the query", Check: testMistakes},
	{Name: "a table that cannot be read ends the query with its error", Check: testUnread},
	{Name: "a query ends with its context", Check: testCancelled},
}

// The statements, which an engine in a test of the suite itself knows by heart.
const (
	selectIDs     = "SELECT id FROM t"
	selectOrdered = "SELECT id, name FROM t ORDER BY id DESC"
	selectNames   = "SELECT name FROM t ORDER BY id"
	selectOne     = "SELECT name FROM t WHERE id = 1"
	selectNone    = "SELECT id, name FROM t WHERE id < 0"
	selectCalled  = `SELECT id AS "a""b", name AS "Name of it" FROM t ORDER BY id`
	selectValues  = "SELECT v FROM t"
	selectFirst   = "SELECT id FROM t LIMIT 1"
	countRows     = "SELECT count(*) FROM t"
	sumAmounts    = "SELECT sum(amount) FROM t"
	joinSelf      = "SELECT count(*) FROM t a JOIN t b ON a.id = b.id"
	joinOther     = `SELECT count(*) FROM t JOIN "other table" o ON t.id = o.id`
	unionSelf     = "SELECT id FROM t UNION ALL SELECT id FROM t"
	crossAll      = "SELECT count(*) FROM t a, t b, t c, t d WHERE a.id + b.id + c.id + d.id < 0" // takes hours
)

// many is how many rows a table has that no engine takes in one piece.
const many = 2500

// patience is how long an engine may take to end what nobody waits for any more.
var patience = 20 * time.Second

type tables = map[string]query.Table

// orders is a table of so many rows, in batches of a thousand, one of which is
// empty: ids from 0 on, names that are null, "null" and "" by turns, and amounts
// whose sum has other last digits in another order.
func orders(rows int) *Table {
	t := &Table{Columns: arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64},
		{Name: "name", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "amount", Type: arrow.PrimitiveTypes.Float64},
	}, nil)}
	names := []string{"null", `"null"`, `""`}
	for from := 0; from < rows; from += 1000 {
		var batch []string
		for i := from; i < min(from+1000, rows); i++ {
			batch = append(batch, fmt.Sprintf(`{"id":%d,"name":%s,"amount":%g}`, i, names[i%3], 1/float64(i+1)))
		}
		t.Batches = append(t.Batches, "["+strings.Join(batch, ",")+"]")
		if from == 0 {
			t.Batches = append(t.Batches, "[]")
		}
	}
	return t
}

func ask(t testing.TB, e query.Engine, from tables, sql string) query.Result {
	t.Helper()
	r, err := e.Query(t.Context(), from, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	for i, row := range r.Rows {
		if len(row) != len(r.Columns) {
			t.Fatalf("%s: row %d has %d values for %d columns", sql, i, len(row), len(r.Columns))
		}
	}
	return r
}

// answers fails the test unless the answer has these rows, in any order.
func answers(t testing.TB, e query.Engine, from tables, sql string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(want, ask(t, e, from, sql).Lines()); diff != "" {
		t.Errorf("%s: other rows (-want +got):\n%s", sql, diff)
	}
}

// refused fails the test unless the query ends with that error and no row, and
// returns what the error says.
func refused(t testing.TB, e query.Engine, from tables, sql string, want error, not ...error) string {
	t.Helper()
	r, err := e.Query(t.Context(), from, sql)
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v and %d rows, want %v in its chain", sql, err, len(r.Rows), want)
	}
	for _, n := range not {
		if errors.Is(err, n) {
			t.Errorf("%s: error %v must not be %v", sql, err, n)
		}
	}
	if len(r.Rows) > 0 || len(r.Columns) > 0 {
		t.Errorf("%s: an answer of %d columns and %d rows beside the error", sql, len(r.Columns), len(r.Rows))
	}
	return fmt.Sprint(err)
}

// ids are the rows of as many ids.
func ids(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("[%d]", i)
	}
	return lines
}

func testWhole(t testing.TB, target Target) {
	answers(t, target.Engine, tables{"t": orders(many)}, selectIDs, ids(many)...)
	answers(t, target.Engine, tables{"t": orders(many)}, countRows, fmt.Sprintf("[%d]", many))
	answers(t, target.Engine, tables{"t": orders(0)}, selectIDs, []string{}...)
	answers(t, target.Engine, tables{"t": orders(0)}, countRows, "[0]")
}

func testLimit(t testing.TB, target Target) {
	e, from := target.Limited(3), tables{"t": orders(3)}
	answers(t, e, from, selectIDs, ids(3)...)
	from["t"] = orders(4)
	refused(t, e, from, selectIDs, query.ErrLimit, query.ErrQuery)
	answers(t, e, from, countRows, "[4]")
}

func testOrder(t testing.TB, target Target) {
	r := ask(t, target.Engine, tables{"t": orders(many)}, selectOrdered)
	if len(r.Rows) != many {
		t.Fatalf("%d rows, want %d", len(r.Rows), many)
	}
	for i, row := range r.Rows {
		if want := fmt.Sprint(many - 1 - i); string(row[0]) != want {
			t.Fatalf("row %d is of id %s, want %s", i, row[0], want)
		}
	}
}

func testValues(t testing.TB, target Target) {
	for _, v := range values() {
		tab := &Table{
			Columns: arrow.NewSchema([]arrow.Field{{Name: "v", Type: v.typ, Nullable: true}}, nil),
			Batches: []string{`[{"v":` + v.in + `},{"v":null}]`},
		}
		want := []string{"[" + v.out + "]", "[null]"}
		slices.Sort(want)
		if diff := cmp.Diff(want, ask(t, target.Engine, tables{"t": tab}, selectValues).Lines()); diff != "" {
			t.Errorf("%s: other values (-want +got):\n%s", v.typ, diff)
		}
	}
}

func testNull(t testing.TB, target Target) {
	r := ask(t, target.Engine, tables{"t": orders(3)}, selectNames)
	var got []string
	for _, row := range r.Rows {
		got = append(got, string(row[0]))
	}
	if diff := cmp.Diff([]string{"null", `"null"`, `""`}, got); diff != "" {
		t.Errorf("other values (-want +got):\n%s", diff)
	}
}

// called are the names of an answer's columns.
func called(r query.Result) []string {
	var names []string
	for _, c := range r.Columns {
		names = append(names, c.Name)
	}
	return names
}

func testNoRows(t testing.TB, target Target) {
	r := ask(t, target.Engine, tables{"t": orders(3)}, selectNone)
	if diff := cmp.Diff([]string{"id", "name"}, called(r)); diff != "" || len(r.Rows) > 0 {
		t.Errorf("%d rows; columns (-want +got):\n%s", len(r.Rows), diff)
	}
	for _, c := range r.Columns {
		if c.Type == "" {
			t.Errorf("column %s has no type", c.Name)
		}
	}
}

func testNames(t testing.TB, target Target) {
	r := ask(t, target.Engine, tables{"t": orders(2)}, selectCalled)
	if diff := cmp.Diff([]string{`a"b`, "Name of it"}, called(r)); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	objects, err := r.Objects()
	if want := `[{"a\"b":0,"Name of it":null},{"a\"b":1,"Name of it":"null"}]`; err != nil || string(objects) != want {
		t.Errorf("Objects = %s, %v; want %s", objects, err, want)
	}
}

func testReadAgain(t testing.TB, target Target) {
	tab := orders(many)
	answers(t, target.Engine, tables{"t": tab}, joinSelf, fmt.Sprintf("[%d]", many))
	answers(t, target.Engine, tables{"t": orders(many)}, unionSelf, append(ids(many), ids(many)...)...)
	answers(t, target.Engine, tables{"t": orders(many), "other table": orders(7)}, joinOther, "[7]")
	// A query that left a table in its middle leaves the next one the whole of it.
	ask(t, target.Engine, tables{"t": tab}, selectFirst)
	answers(t, target.Engine, tables{"t": tab}, countRows, fmt.Sprintf("[%d]", many))
}

func testNeeded(t testing.TB, target Target) {
	for sql, want := range map[string][]string{selectIDs: {"id"}, selectOne: {"id", "name"}, sumAmounts: {"amount"}, countRows: nil} {
		tab := orders(3)
		ask(t, target.Engine, tables{"t": tab, "u": orders(3)}, sql)
		for _, read := range tab.Reads() {
			slices.Sort(read)
			if sql == countRows && len(read) == 1 {
				continue // whichever is counted
			}
			if !slices.Equal(read, want) {
				t.Errorf("%s read the columns %v, want %v", sql, read, want)
			}
		}
	}
}

func testReleased(t testing.TB, target Target) {
	tab := orders(many)
	ask(t, target.Engine, tables{"t": tab}, selectFirst) // leaves it in its middle
	ask(t, target.Engine, tables{"t": tab}, joinSelf)
	if n := tab.Open(); n != 0 {
		t.Errorf("after two answers %d readings are open", n)
	}
	failed := errors.New("no more of it")
	tab.Fail = func(_ context.Context, batch int) error {
		if batch > 1 {
			return failed
		}
		return nil
	}
	refused(t, target.Engine, tables{"t": tab}, joinSelf, failed)
	refused(t, target.Limited(3), tables{"t": orders(many)}, selectIDs, query.ErrLimit)
	if n := tab.Open(); n != 0 {
		t.Errorf("after an error %d readings are open", n)
	}
}

func testSame(t testing.TB, target Target) {
	first := ask(t, target.Engine, tables{"t": orders(many)}, sumAmounts)
	for range 9 {
		if again := ask(t, target.Engine, tables{"t": orders(many)}, sumAmounts); again.Hash() != first.Hash() {
			t.Fatalf("the sum is %v, and %v another time", first.Lines(), again.Lines())
		}
	}
}

func testConcurrent(t testing.TB, target Target) {
	var g errgroup.Group
	for n := range 8 {
		g.Go(func() error {
			for range 3 {
				r, err := target.Engine.Query(t.Context(), tables{"t": orders(n)}, selectIDs)
				if err != nil {
					return err
				}
				if len(r.Rows) != n {
					return fmt.Errorf("an answer of %d rows from a table of %d", len(r.Rows), n)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	refused(t, target.Engine, nil, selectIDs, query.ErrQuery)
}

func testChanges(t testing.TB, target Target) {
	from := tables{"t": orders(3)}
	for _, sql := range []string{"INSERT INTO t VALUES (9, 'new', 1.0)", "UPDATE t SET id = 9", "DELETE FROM t", "DROP TABLE t"} {
		refused(t, target.Engine, from, sql, query.ErrQuery)
		answers(t, target.Engine, from, selectIDs, ids(3)...)
	}
	// An engine may let a query make what is gone with it.
	if _, err := target.Engine.Query(t.Context(), from, "CREATE TABLE kept AS SELECT id FROM t"); err != nil && !errors.Is(err, query.ErrQuery) {
		t.Errorf("CREATE TABLE: %v", err)
	}
	refused(t, target.Engine, from, "SELECT id FROM kept", query.ErrQuery)
}

func testElsewhere(t testing.TB, target Target) {
	const inside = "what-nobody-may-see"
	file := filepath.Join(t.TempDir(), "file.csv")
	if err := os.WriteFile(file, []byte("a\n"+inside+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	statements := target.Elsewhere(file)
	if len(statements) == 0 {
		t.Fatal("no statement that would reach elsewhere: nothing is proven")
	}
	for _, sql := range statements {
		if says := refused(t, target.Engine, tables{"t": orders(1)}, sql, query.ErrQuery); strings.Contains(says, inside) {
			t.Errorf("%s: the error shows the file: %s", sql, says)
		}
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the file there is %v, %v", left, err)
	}
}

func testMistakes(t testing.TB, target Target) {
	for _, sql := range []string{"SELEC 1", "SELECT nope FROM t", "SELECT id FROM tt", "SELECT CAST(name AS INTEGER) FROM t WHERE id = 1"} {
		refused(t, target.Engine, tables{"t": orders(3)}, sql, query.ErrQuery, query.ErrLimit)
	}
	r, err := target.Engine.Query(t.Context(), tables{"t": orders(3)}, selectIDs)
	if err != nil || len(r.Rows) != 3 {
		t.Errorf("after mistakes a query has %d rows, %v", len(r.Rows), err)
	}
}

func testUnread(t testing.TB, target Target) {
	for _, last := range []int{-1, 0, 2} {
		for _, sql := range []string{selectIDs, countRows, joinSelf} {
			tab := orders(many)
			tab.Fail = func(_ context.Context, batch int) error {
				if batch >= last {
					return fmt.Errorf("batch %d: %w", batch, syscall.ECONNREFUSED)
				}
				return nil
			}
			refused(t, target.Engine, tables{"t": tab}, sql, syscall.ECONNREFUSED, query.ErrQuery, query.ErrLimit)
		}
	}
}

func testCancelled(t testing.TB, target Target) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for ctx, want := range map[context.Context]error{ended: context.Canceled, late: context.DeadlineExceeded} {
		if r, err := target.Engine.Query(ctx, tables{"t": orders(1)}, selectIDs); !errors.Is(err, want) || len(r.Rows) > 0 {
			t.Errorf("asked with a context that has ended: %d rows, %v; want %v", len(r.Rows), err, want)
		}
	}
	ends(t, target, "while it reads", countRows, true)
	ends(t, target, "while it works", crossAll, false)
}

// ends cancels a query that has begun to read, and fails the test at once unless
// it ends. stalls says whether its table waits for that, too.
func ends(t testing.TB, target Target, when, sql string, stalls bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	over := make(chan struct{}) // ends a stall that the context does not
	defer close(over)
	began := make(chan struct{}, 100)
	tab := orders(many)
	tab.Fail = func(ctx context.Context, batch int) error {
		if batch < 0 {
			return nil
		}
		select {
		case began <- struct{}{}:
		default:
		}
		if !stalls {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return errors.New("the reading was given up")
		}
	}
	type end struct {
		r   query.Result
		err error
	}
	done := make(chan end, 1)
	go func() {
		r, err := target.Engine.Query(ctx, tables{"t": tab}, sql)
		done <- end{r, err}
	}()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-began:
		cancel()
	case e := <-done:
		t.Fatalf("%s: it ended before it read anything: %v", when, e.err)
	case <-limit.C:
		t.Fatalf("%s: after %v it has not begun to read", when, patience)
	}
	select {
	case e := <-done:
		if !errors.Is(e.err, context.Canceled) || len(e.r.Rows) > 0 {
			t.Errorf("cancelled %s: %d rows, %v; want the context's error", when, len(e.r.Rows), e.err)
		}
		if n := tab.Open(); n != 0 {
			t.Errorf("cancelled %s: %d readings are open", when, n)
		}
	case <-limit.C:
		t.Fatalf("cancelled %s, it goes on after %v", when, patience)
	}
}
