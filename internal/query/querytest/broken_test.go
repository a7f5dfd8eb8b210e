package querytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"breakwater/internal/promise"
	"breakwater/internal/query"
)

// asked is a query as a broken engine gets it; next answers it rightly.
type asked struct {
	ctx  context.Context
	from map[string]query.Table
	sql  string
	next query.Engine
}

func (a asked) answer() (query.Result, error) { return a.next.Query(a.ctx, a.from, a.sql) }

// wrapped is an engine that answers in its own way.
type wrapped struct {
	query.Engine
	answer func(asked) (query.Result, error)
}

func (w wrapped) Query(ctx context.Context, from map[string]query.Table, sql string) (query.Result, error) {
	return w.answer(asked{ctx, from, sql, w.Engine})
}

// broken is a target whose engines all answer in that way.
func broken(answer func(asked) (query.Result, error)) func(testing.TB) Target {
	return func(testing.TB) Target {
		target := newTarget()
		limited := target.Limited
		target.Engine = wrapped{target.Engine, answer}
		target.Limited = func(rows int) query.Engine { return wrapped{limited(rows), answer} }
		return target
	}
}

// after answers rightly, and then changes the answer.
func after(change func(*query.Result)) func(testing.TB) Target {
	return broken(func(a asked) (query.Result, error) {
		r, err := a.answer()
		change(&r)
		return r, err
	})
}

// each changes every value of an answer.
func each(change func(string) string) func(testing.TB) Target {
	return after(func(r *query.Result) {
		for _, row := range r.Rows {
			for i, v := range row {
				row[i] = json.RawMessage(change(string(v)))
			}
		}
	})
}

// through reads every table in another way.
func through(way func(ctx context.Context, t query.Table, columns []string) (array.RecordReader, error)) func(testing.TB) Target {
	return broken(func(a asked) (query.Result, error) {
		from := map[string]query.Table{}
		for name, t := range a.from {
			from[name] = detour{t, way}
		}
		a.from = from
		return a.answer()
	})
}

// detour is a table that is read in another way.
type detour struct {
	query.Table
	way func(ctx context.Context, t query.Table, columns []string) (array.RecordReader, error)
}

func (d detour) Read(ctx context.Context, columns []string) (array.RecordReader, error) {
	return d.way(ctx, d.Table, columns)
}

// shuffled is a reading whose batches come in an order of their own.
type shuffled struct {
	array.RecordReader
	batches []arrow.RecordBatch
	now     int
}

func (s *shuffled) Next() bool {
	s.now++
	return s.now <= len(s.batches)
}

func (s *shuffled) RecordBatch() arrow.RecordBatch { return s.batches[s.now-1] }

// TestBroken proves that the suite can fail: each of these engines is right but
// for one thing.
func TestBroken(t *testing.T) {
	defer func(d time.Duration) { patience = d }(patience)
	patience = time.Second
	suite.Honest(t, []promise.Broken[Target]{
		{Name: "ends after a thousand rows", Breaks: "an answer is whole", Target: after(func(r *query.Result) {
			r.Rows = r.Rows[:min(1000, len(r.Rows))]
		})},
		{Name: "gives what is below the limit", Breaks: "an answer past the limit is an error", Target: broken(func(a asked) (query.Result, error) {
			r, err := a.answer()
			if e, ok := a.next.(engine); ok && errors.Is(err, query.ErrLimit) {
				r, err = engine{}.Query(a.ctx, a.from, a.sql)
				r.Rows = r.Rows[:e.most]
			}
			return r, err
		})},
		{Name: "rows come in the order of their texts", Breaks: "ORDER BY decides the order of rows", Target: after(func(r *query.Result) {
			slices.SortFunc(r.Rows, func(a, b []json.RawMessage) int { return strings.Compare(string(a[0]), string(b[0])) })
		})},
		{Name: "numbers have fifteen digits", Breaks: "a value is written in one way", Target: each(func(v string) string {
			var f float64
			if len(v) > 17 && v[0] != '"' && json.Unmarshal([]byte(v), &f) == nil {
				return fmt.Sprintf("%.15g", f)
			}
			return v
		})},
		{Name: "lists have spaces", Breaks: "a value is written in one way", Target: each(func(v string) string {
			if strings.HasPrefix(v, "[") {
				return strings.ReplaceAll(v, ",", ", ")
			}
			return v
		})},
		{Name: "null is a text", Breaks: "null is no text", Target: each(func(v string) string {
			if v == "null" {
				return `"null"`
			}
			return v
		})},
		{Name: "no rows, no columns", Breaks: "an answer without rows has its columns", Target: after(func(r *query.Result) {
			if len(r.Rows) == 0 {
				r.Columns = nil
			}
		})},
		{Name: "columns have small letters", Breaks: "columns are called as the query says", Target: after(func(r *query.Result) {
			for i := range r.Columns {
				r.Columns[i].Name = strings.ToLower(r.Columns[i].Name)
			}
		})},
		{Name: "a table is read once", Breaks: "a table is read as often as it is named", Target: broken(func(a asked) (query.Result, error) {
			from := map[string]query.Table{}
			for name, t := range a.from {
				var read bool
				from[name] = detour{t, func(ctx context.Context, t query.Table, columns []string) (array.RecordReader, error) {
					if read {
						return array.NewRecordReader(arrow.NewSchema(nil, nil), nil)
					}
					read = true
					return t.Read(ctx, columns)
				}}
			}
			a.from = from
			return a.answer()
		})},
		{Name: "every column is read", Breaks: "only what is needed is read", Target: through(func(ctx context.Context, t query.Table, columns []string) (array.RecordReader, error) {
			all, err := t.Read(ctx, called(query.Result{Columns: columnsOf(t)}))
			if err != nil {
				return nil, err
			}
			all.Release()
			return t.Read(ctx, columns)
		})},
		{Name: "readings are held", Breaks: "every reading is released", Target: through(func(ctx context.Context, t query.Table, columns []string) (array.RecordReader, error) {
			r, err := t.Read(ctx, columns)
			if err == nil {
				r.Retain()
			}
			return r, err
		})},
		{Name: "batches come as they are done", Breaks: "the same query gives the same answer", Target: func(tb testing.TB) Target {
			var turn int
			return through(func(ctx context.Context, t query.Table, columns []string) (array.RecordReader, error) {
				r, err := t.Read(ctx, columns)
				if err != nil || !slices.Equal(columns, []string{"amount"}) {
					return r, err
				}
				s := &shuffled{RecordReader: r}
				for r.Next() {
					s.batches = append(s.batches, r.RecordBatch())
				}
				turn++
				for range turn % max(1, len(s.batches)) {
					s.batches = append(s.batches[1:], s.batches[0])
				}
				return s, nil
			})(tb)
		}},
		{Name: "tables stay from one query to the next", Breaks: "queries know nothing of one another", Target: func(tb testing.TB) Target {
			var mu sync.Mutex
			known := map[string]query.Table{}
			return broken(func(a asked) (query.Result, error) {
				mu.Lock()
				for name, t := range a.from {
					known[name] = t
				}
				if len(a.from) == 0 {
					a.from = known
				}
				mu.Unlock()
				return a.answer()
			})(tb)
		}},
		{Name: "a query may delete rows", Breaks: "a query changes nothing", Target: broken(func(a asked) (query.Result, error) {
			if a.sql == "DELETE FROM t" {
				if t, ok := a.from["t"].(*Table); ok {
					t.Batches = nil
				}
				return query.Result{}, nil
			}
			return a.answer()
		})},
		{Name: "files can be read", Breaks: "a query reaches nothing but its tables", Target: broken(func(a asked) (query.Result, error) {
			if _, file, ok := strings.Cut(a.sql, "SELECT * FROM '"); ok {
				text, err := os.ReadFile(strings.TrimSuffix(file, "'"))
				return query.Result{Columns: []query.Column{{Name: "a", Type: "text"}}, Rows: [][]json.RawMessage{{json.RawMessage(`"` + string(text) + `"`)}}}, err
			}
			return a.answer()
		})},
		{Name: "a file is written before it is refused", Breaks: "a query reaches nothing but its tables", Target: broken(func(a asked) (query.Result, error) {
			if _, file, ok := strings.Cut(a.sql, "COPY t TO '"); ok {
				if err := os.WriteFile(strings.TrimSuffix(file, "'"), nil, 0o600); err != nil {
					return query.Result{}, err
				}
			}
			return a.answer()
		})},
		{Name: "a mistake answers with nothing", Breaks: "a mistake of the query is an error of the query", Target: broken(func(a asked) (query.Result, error) {
			r, err := a.answer()
			if errors.Is(err, query.ErrQuery) {
				return query.Result{}, nil
			}
			return r, err
		})},
		{Name: "a table ends where it cannot be read", Breaks: "a table that cannot be read ends the query with its error", Target: through(func(ctx context.Context, t query.Table, columns []string) (array.RecordReader, error) {
			r, err := t.Read(ctx, columns)
			return silent{r}, err
		})},
		{Name: "an unreadable table is the query's mistake", Breaks: "a table that cannot be read ends the query with its error", Target: broken(func(a asked) (query.Result, error) {
			r, err := a.answer()
			if err != nil && a.ctx.Err() == nil && !errors.Is(err, query.ErrQuery) && !errors.Is(err, query.ErrLimit) {
				err = fmt.Errorf("%w: %w", query.ErrQuery, err)
			}
			return r, err
		})},
		{Name: "goes on when it is cancelled", Breaks: "a query ends with its context", Target: broken(func(a asked) (query.Result, error) {
			a.ctx = context.WithoutCancel(a.ctx)
			return a.answer()
		})},
	})
}

// silent is a reading that keeps its error to itself.
type silent struct{ array.RecordReader }

func (silent) Err() error { return nil }

func columnsOf(t query.Table) []query.Column {
	var cols []query.Column
	for _, f := range t.Schema().Fields() {
		cols = append(cols, query.Column{Name: f.Name})
	}
	return cols
}
